"""Which modules programs in a sandbox can import."""

from __future__ import annotations

import json

from sandbox.runner import Job, Sandbox, SandboxError

PROGRAM = """\
import json, pkgutil, sys
names = {module.name for module in pkgutil.iter_modules()} | set(sys.stdlib_module_names)
print(json.dumps(sorted(names)))
"""


def importable_modules(sandbox: Sandbox) -> frozenset[str]:
    """Top-level module names, asked of the sandbox itself. Raises SandboxError when it can't tell."""
    (result,) = sandbox.run([Job(solution=PROGRAM, stdin=("",))])
    if result.status != "finished":
        raise SandboxError(f"cannot list the sandbox's modules: {result.status} {result.detail}")
    return frozenset(json.loads(result.outputs[0]))
