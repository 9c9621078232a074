"""One training process of several: what torchrun starts for `srs.tuning.launch`.

python -m srs.tuning.rank FOLDER LAUNCHER_PID
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from srs.child import die_with, resolve
from srs.tuning.launch import SOCKET, RankFailure, write_error
from srs.types import UserError


def main(folder: Path, launcher: int) -> int:
    """Build the handler, then serve until the launcher's socket ends. 1 when an exception ended it."""
    # At once, also while a collective waits for a rank that is gone.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(launcher, signal.SIGKILL)
    rank = int(os.environ["RANK"])
    logging.basicConfig(
        level=logging.INFO if rank == 0 else logging.WARNING,
        format=f"%(asctime)s [rank {rank}] %(name)s: %(message)s",
    )
    try:
        _serve(folder, rank)
    except Exception as e:  # the boundary: the launcher raises it
        error = str(e) if isinstance(e, UserError) else f"{type(e).__name__}: {e}".strip()
        write_error(
            folder,
            RankFailure(
                rank=rank,
                time_s=time.time(),
                error=error.split("\n")[0],
                traceback=traceback.format_exc(),
            ),
        )
        traceback.print_exc()
        return 1
    return 0


def _serve(folder: Path, rank: int) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(folder / SOCKET))
    link = connection.makefile("rwb")

    def answer(**message: Any) -> None:
        link.write(json.dumps(message).encode() + b"\n")
        link.flush()

    answer(rank=rank)
    handler: Any = None
    while line := link.readline():
        request = json.loads(line)
        try:
            if handler is None:
                gc.disable()  # imports take a third less time without collections
                handler = resolve(request["target"])(**request["arguments"])
                gc.enable()
                answer(item=handler.describe())
            else:
                for item in getattr(handler, request["call"])(**request["arguments"]):
                    answer(item=item)
            answer(done=True)
        except UserError as e:
            answer(refused=str(e))


if __name__ == "__main__":
    status = main(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
