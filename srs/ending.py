"""How a command ends: an exit code, and one line on stderr when it isn't 0."""

from __future__ import annotations

import sys
from collections.abc import Callable

from srs.types import UserError

CRASHED, UNUSABLE, SANDBOX, INTERRUPTED = 1, 2, 3, 130


def exit_code(work: Callable[[], object], *, again: str = "") -> int:
    """Do ``work``: 0 done, 1 a model's process died, 2 unusable input, 3 a broken sandbox, 130 interrupted.

    ``again`` says how to go on, after anything but unusable input. Other exceptions pass through.
    """
    from sandbox.runner import SandboxError
    from srs.child import ChildError

    goes_on = again and f"; {again}"
    try:
        work()
    except UserError as e:
        return failed(str(e), UNUSABLE)
    except ChildError as e:
        # Its message ends with lines of the process's log.
        return failed(f"{e}\n{again}" if again else str(e), CRASHED)
    except SandboxError as e:
        return failed(f"the sandbox failed: {e}{goes_on}", SANDBOX)
    except KeyboardInterrupt:
        return failed(f"interrupted{goes_on}", INTERRUPTED)
    return 0


def failed(message: str, code: int) -> int:
    """Print the line; give the code."""
    print(f"error: {message}", file=sys.stderr)
    return code
