"""Programs that try to cheat, break or escape the sandbox, and honest ones that look odd: data only."""

from sandbox.battery import (
    arguments,
    escapes,
    exits,
    floods,
    forgeries,
    framework,
    honest_effects,
    honest_tests,
    honest_values,
    leftovers,
    lies,
    peeks,
)  # fmt: skip

ATTACKS = (
    *lies.ATTACKS,
    *arguments.ATTACKS,
    *exits.ATTACKS,
    *framework.ATTACKS,
    *forgeries.ATTACKS,
    *peeks.ATTACKS,
    *escapes.ATTACKS,
    *leftovers.ATTACKS,
    *floods.ATTACKS,
)
HONEST = (
    *honest_values.PROGRAMS,
    *arguments.HONEST,
    *honest_effects.PROGRAMS,
    *honest_tests.PROGRAMS,
)
