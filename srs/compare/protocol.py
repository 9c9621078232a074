"""What a comparison will do and how it will be judged, on disk before the first run starts."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from srs import config as configs
from srs.compare.arms import CONTROLS, SPACED, TARGET, Arm
from srs.config import Config
from srs.environment import environment
from srs.rundir import MAY_CHANGE
from srs.types import UserError, to_json

FILE: Final = "protocol.json"
AVERAGED: Final = 3
"""Evaluations that make up a final pass@1, unless asked otherwise: one alone is too noisy to judge by."""
NUMBERS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""In words, as in the protocols that comparisons were begun with."""
LEVEL: Final = 0.95
RESAMPLES: Final = 10_000
MIN_SEEDS: Final = 5
LAGS: Final = (1, 2, 4, 8)
"""Rounds between two looks at the panel, for forgetting; each starts from the same rounds."""
UNKNOWN: Final = "unknown"
OWN = ("run.seed", "run.rounds", "scheduler.policy")
"""Keys of the common config that the protocol or the arms decide."""


def rule(averaged: int) -> str:
    """The rule in words, for a final pass@1 of so many evaluations."""
    last = "evaluation" if averaged == 1 else f"{NUMBERS[averaged - 1]} evaluations"
    return (
        "Spacing helps only if a spaced arm beats both random_review and learnability on final held-out "
        f"pass@1, averaged over the last {last} of the last fifth of its rounds, with the paired "
        "bootstrap 95% interval of each difference above 0."
    )


def analysis(averaged: int = AVERAGED) -> dict[str, Any]:
    """How a comparison is judged. Raises UserError for a number of evaluations that has no word."""
    if not 1 <= averaged <= len(NUMBERS):
        raise UserError(f"--final-evaluations: must be from 1 to {len(NUMBERS)}")
    return {
        "rule": rule(averaged),
        "spaced": list(SPACED),
        "controls": list(CONTROLS),
        "target": TARGET,
        "averaged": averaged,
        "level": LEVEL,
        "resamples": RESAMPLES,
        "min_seeds": MIN_SEEDS,
        "lags": list(LAGS),
    }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """``seed_batches``: the seeds asked for first, then those that later calls added.

    ``codes``: the commit that began the comparison, then those that went on with it (`this_code`).
    """

    arms: tuple[Arm, ...]
    rounds: int
    seed_batches: tuple[tuple[int, ...], ...]
    config: Config
    codes: tuple[str, ...]
    analysis: dict[str, Any] = dataclasses.field(default_factory=analysis)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(seed for batch in self.seed_batches for seed in batch)

    def to_json(self) -> dict[str, Any]:
        return {
            "arms": [to_json(arm) for arm in self.arms],
            "rounds": self.rounds,
            "seed_batches": [list(batch) for batch in self.seed_batches],
            "config": _common(configs.to_dict(self.config)),
            "codes": list(self.codes),
            "analysis": self.analysis,
        }

    @classmethod
    def from_json(cls, obj: dict[str, Any], where: str) -> Self:
        """Keys that the config lacks take their defaults. Raises UserError naming ``where``."""
        try:
            return cls(
                arms=tuple(
                    Arm(name=a["name"], policy=a["policy"], overrides=tuple(a["overrides"]))
                    for a in obj["arms"]
                ),
                rounds=obj["rounds"],
                seed_batches=tuple(tuple(batch) for batch in obj["seed_batches"]),
                config=configs.from_dict(obj["config"], where),
                codes=tuple(obj["codes"]),
                analysis=obj["analysis"],
            )
        except (KeyError, TypeError) as e:
            raise UserError(f"{where}: damaged: {e!r}; use a new --out") from e

    def extended(self, wanted: Protocol, where: str, *, allow_other_code: bool) -> Protocol:
        """This protocol with the seeds that ``wanted`` adds, and its code.

        Raises UserError when the two differ in anything else, ``wanted`` lacks a seed, or its code is
        another and that isn't allowed.
        """
        for key, before, after in _differences(self, wanted):
            raise UserError(
                f"{where}: this comparison was begun with {key} = {json.dumps(before)}, not "
                f"{json.dumps(after)}; ask for the same again, or use a new --out"
            )
        if missing := [seed for seed in self.seeds if seed not in wanted.seeds]:
            raise UserError(
                f"{where}: this comparison was begun with seed {missing[0]} as well: seeds can be "
                "added, not taken away; raise --seeds, or use a new --out"
            )
        added = tuple(seed for seed in wanted.seeds if seed not in self.seeds)
        batches = (*self.seed_batches, added) if added else self.seed_batches
        others = tuple(code for code in wanted.codes if code not in self.codes)
        if others and not allow_other_code:
            raise UserError(
                f"{where}: this comparison was begun by the code of commit {self.codes[0]}, and this is "
                f"{others[0]}; check that out, judge what is finished with --analyze-only, or add "
                "--allow-other-code"
            )
        return dataclasses.replace(self, seed_batches=batches, codes=self.codes + others)


def this_code() -> str:
    """The commit that runs here, with ``+changes`` when it isn't clean; ``unknown`` outside a checkout."""
    return environment()["commit"] or UNKNOWN


def agree(out: Path, wanted: Protocol, *, allow_other_code: bool = False) -> Protocol:
    """Write the protocol of a new comparison, or extend the stored one, in a folder that is held.

    Raises UserError.
    """
    file = out / FILE
    protocol = wanted
    if file.exists():
        stored = read(out)
        protocol = stored.extended(wanted, str(file), allow_other_code=allow_other_code)
        if protocol == stored:
            return stored
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(protocol.to_json(), indent=1) + "\n")
    except OSError as e:
        raise UserError(f"{file}: cannot be written: {e.strerror}") from e
    return protocol


def read(out: Path) -> Protocol:
    """The protocol of the comparison in ``out``. Raises UserError when there is none to use."""
    file = out / FILE
    try:
        obj = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise UserError(f"{out}: no comparison here (no {FILE}); start one with --arms") from e
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read: {e}; use a new --out") from e
    if not isinstance(obj, dict):
        raise UserError(f"{file}: damaged: not an object; use a new --out")
    if obj.get("analysis") not in [analysis(n + 1) for n in range(len(NUMBERS))]:
        raise UserError(
            f"{file}: this comparison was begun under another rule or analysis; judge it with the "
            "code that began it, or use a new --out"
        )
    return Protocol.from_json(obj, str(file))


def write_whole(file: Path, text: str) -> None:
    """Write a file that is there whole or not at all. Raises OSError."""
    partial = file.with_name(file.name + ".partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)


def _common(config: dict[str, Any]) -> dict[str, Any]:
    """The nested config without what the protocol says elsewhere or what changes no result."""
    left_out = {*OWN, *MAY_CHANGE}
    return {
        section: {k: v for k, v in keys.items() if f"{section}.{k}" not in left_out}
        for section, keys in config.items()
    }


def _differences(a: Protocol, b: Protocol) -> Iterator[tuple[str, Any, Any]]:
    if {*a.arms} != {*b.arms}:
        yield "--arms", [to_json(arm) for arm in a.arms], [to_json(arm) for arm in b.arms]
    if a.rounds != b.rounds:
        yield "--rounds", a.rounds, b.rounds
    if a.analysis["averaged"] != b.analysis["averaged"]:
        yield "--final-evaluations", a.analysis["averaged"], b.analysis["averaged"]
    before, after = (_common(configs.to_dict(p.config)) for p in (a, b))
    for section, keys in before.items():
        for key, value in keys.items():
            if value != after[section][key]:
                yield f"{section}.{key}", value, after[section][key]
