"""Several training processes behind one: started by torchrun, each request goes to all, rank 0 answers.

    parent ◄─ pipe, stdin ─► this process (srs.child) ◄─ Unix socket, JSON lines ─► rank 0 … rank N-1

Ranks stay alive between requests, waiting on their sockets rather than in a collective, which would time out.
torchrun's agent runs in a thread here; when a rank fails it ends the others, and the reason goes to the parent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from srs.types import UserError

logger = logging.getLogger(__name__)
SOCKET = "ranks"
ENDING_S = 60.0


class RankError(Exception):
    """A training process failed or died, and all are gone. The message ends with its traceback, if any."""


class Ranks:
    """A `srs.child.Handler` that has ``target`` serve in ``processes`` ranks.

    ``folder``: an empty one with a short path, for the socket and for what failing ranks leave there; whoever
    made it removes it. Construction waits for all ranks. Raises UserError, RankError.
    """

    def __init__(
        self, processes: int, target: str, arguments: Mapping[str, Any], folder: str
    ) -> None:
        self._folder = Path(folder)
        self._processes = processes
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(self._folder / SOCKET))
            listener.listen(processes)
            self._agent = _Agent(processes, self._folder)
            self._links = self._accept(listener)
        self._send({"target": target, "arguments": dict(arguments)})
        (self._description,) = self._answers()

    def describe(self) -> dict[str, Any]:
        description: dict[str, Any] = self._description
        return description

    def close(self) -> None:
        """End the ranks. When it returns they are gone, and what they held of the devices is free."""
        for link in self._links:
            with contextlib.suppress(OSError):
                link.close()
        self._agent.join()

    def __getattr__(self, call: str) -> Callable[..., Iterator[Any]]:
        if call.startswith("_"):
            raise AttributeError(call)

        def request(**arguments: Any) -> Iterator[Any]:
            self._send({"call": call, "arguments": arguments})
            yield from self._answers()

        return request

    def _accept(self, listener: socket.socket) -> list[io.BufferedRWPair]:
        """One link per rank, by rank."""
        listener.settimeout(0.2)
        links: dict[int, io.BufferedRWPair] = {}
        while len(links) < self._processes:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if not self._agent.is_alive():
                    raise self._failure() from None
                continue
            connection.settimeout(None)
            with connection:  # from here on open as long as its link is
                link = connection.makefile("rwb")
            links[int(json.loads(link.readline())["rank"])] = link
        return [links[rank] for rank in range(self._processes)]

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        try:
            for link in self._links:
                link.write(line)
                link.flush()
        except (BrokenPipeError, ConnectionResetError):
            raise self._failure() from None

    def _answers(self) -> Iterator[Any]:
        """Rank 0's items, then every rank's end. All ranks meet the same bad input, so one raises for all."""
        refused: str | None = None
        for rank, link in enumerate(self._links):
            while True:
                try:
                    line = link.readline()
                except ConnectionResetError:
                    line = b""
                if not line.endswith(b"\n"):
                    raise self._failure()
                answer = json.loads(line)
                if "item" not in answer:
                    refused = refused or answer.get("refused")
                    break
                if rank == 0:
                    yield answer["item"]
        if refused:
            raise UserError(refused)

    def _failure(self) -> RankError:
        self._agent.join(ENDING_S)
        return RankError(self._agent.reason or "the training processes stopped answering")


class _Agent(threading.Thread):
    """torchrun's elastic agent: starts the ranks, and ends all when one fails."""

    def __init__(self, processes: int, folder: Path) -> None:
        super().__init__(name="torchrun", daemon=True)
        self._processes = processes
        self._folder = folder
        self.reason: str | None = None
        self.start()

    def run(self) -> None:
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=self._processes,
            run_id=self._folder.name,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,  # a round is resumed by a new process, from its files
            logs_specs=DefaultLogsSpecs(log_dir=str(self._folder / "torchrun")),
        )
        rank = ("-m", "srs.tuning.rank", str(self._folder), str(os.getpid()))
        try:
            elastic_launch(config, sys.executable)(*rank)
        except ChildFailedError as e:
            exits = {number: failure.exitcode for number, failure in e.failures.items()}
            self.reason = first_cause(exits, read_errors(self._folder), self._processes)
        except Exception as e:  # the boundary: whoever waits for the ranks raises it
            logger.exception("torchrun failed")
            self.reason = f"torchrun failed: {type(e).__name__}: {e}"
        else:
            self.reason = "the training processes ended"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RankFailure:
    """What a rank wrote about the exception that ended it, at ``time_s`` since the epoch."""

    rank: int
    time_s: float
    error: str
    traceback: str


def write_error(folder: Path, failure: RankFailure) -> None:
    """Read by `read_errors`; whole or absent."""
    partial = folder / f".error-{failure.rank}"
    partial.write_text(json.dumps(dataclasses.asdict(failure)), encoding="utf-8")
    partial.rename(folder / f"error-{failure.rank}.json")


def read_errors(folder: Path) -> list[RankFailure]:
    files = sorted(folder.glob("error-*.json"))
    return [RankFailure(**json.loads(file.read_text(encoding="utf-8"))) for file in files]


def first_cause(exits: Mapping[int, int], errors: list[RankFailure], ranks: int) -> str:
    """Why the ranks ended: the failure that made the others fail.

    ``exits``: exit codes by rank, negative for a signal. A rank that ended without a word was the first:
    others notice by an exception, which they write down. Else the earliest exception was. SIGTERM is what
    torchrun ends the others with.
    """
    told = {failure.rank for failure in errors}
    silent = {rank: code for rank, code in exits.items() if rank not in told and code}
    died = {rank: code for rank, code in silent.items() if code != -signal.SIGTERM}
    if errors and not died:
        first = min(errors, key=lambda failure: failure.time_s)
        return f"rank {first.rank} of {ranks}: {first.error}\n{first.traceback}"
    if not silent:
        return "the training processes ended"
    rank, code = min((died or silent).items())
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited ({code})"
    if code == -signal.SIGKILL:
        how += ", perhaps for lack of memory"
    return f"rank {rank} of {ranks} {how}"
