"""``python -P -s -B main.py OPTIONS``: becomes a worker. OPTIONS is JSON:

``root``: the work directory; ``scratch``: other directories that programs may write to, emptied after each
run; ``readable``: directories that programs may read besides the system's; ``candidate_uid``, ``tests_uid``:
whom forks become, null where this user can't become another; ``nproc``: whether a limit on that user's
processes is of use; ``preload``: modules that every fork starts with; ``not_covered``: passed on.
"""

import json
import os
import signal
import sys
from pathlib import Path

PACKAGE = str(Path(__file__).parents[2])
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "USER": "candidate",
    "LOGNAME": "candidate",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}


def main() -> None:
    options = json.loads(sys.argv[1])
    stdin, stdout = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    sys.path.insert(0, PACKAGE)
    from sandbox.inside import confine, fork, frames
    from sandbox.inside.worker import Worker

    sys.path.remove(PACKAGE)
    fork.libc.prctl(fork.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    fork.libc.prctl(fork.PR_SET_SUBREAPER, 1, 0, 0, 0)
    fork.libc.prctl(fork.PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody of this user reads our memory
    seccomp = confine.seccomp_filter(own_users=options["candidate_uid"] is not None)
    if seccomp is not None:
        confine.install_seccomp(seccomp)  # every fork inherits it
    worker = Worker(options, stdin, stdout)
    version = ".".join(map(str, sys.version_info[:3]))
    identity = f"{sys.implementation.name} {version}, {worker.identity}"
    not_covered = [*options["not_covered"], *confine.missing()]
    frames.send(stdout, {"ready": True, "identity": identity, "not_covered": not_covered})
    try:
        worker.serve()
    except (EOFError, BrokenPipeError):
        worker.close()
    except (RuntimeError, OSError) as e:  # a part of the worker: says nothing about the program
        frames.send(stdout, {"broken": str(e)})
        worker.close()
    os._exit(0)


if __name__ == "__main__":
    main()
