"""Several nodes: the first runs the loop and Ray's head, the others lend it their devices until it is done.

    node 0   the others call ── ray start --head ── all are in Ray ── srs.train ── "done CODE" to each
    node i   calls node 0 ── "ray ADDRESS" ── ray start --address=ADDRESS … "done CODE" ── ends too

The call stays open for the whole run: when node 0 dies it breaks, or keeps silent when asked; the others
end with an error, and ModelArts starts the job again.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from srs.child import die_with
from srs.modelarts.environment import Node
from srs.types import UserError

RAY_PORT, STATUS_PORT = 6379, 29490
JOIN_S = 1800.0
"""Nodes of one job start minutes apart: each pulls its image first."""
HEAD_S = 120.0
STOP_S = 30.0
OVERRIDE = "devices.cluster=ray"
RESTART_S = 10.0
POLL_S = 0.5
EXIT_LOST = 1
KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 6}
"""Seconds of silence before the kernel asks, seconds between its questions, how many stay unanswered."""
ROOT = Path(__file__).parents[2]
RAY_VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""No reports to Ray's makers; and what stands for "no devices" is left to `srs.device`."""
logger = logging.getLogger(__name__)


class NodeLost(Exception):
    """Another node of the job did not appear, or went away."""


def ports(environment: Mapping[str, str]) -> tuple[int, int]:
    """Ray's and the call's; ``SRS_RAY_PORT`` and ``SRS_STATUS_PORT`` override."""
    try:
        return (
            int(environment.get("SRS_RAY_PORT", RAY_PORT)),
            int(environment.get("SRS_STATUS_PORT", STATUS_PORT)),
        )
    except ValueError as e:
        raise UserError(f"SRS_RAY_PORT, SRS_STATUS_PORT: {e}") from e


class Leader:
    """Node 0's side. Use as a context; set ``code`` before leaving it."""

    def __init__(self, node: Node, environment: Mapping[str, str], log_dir: Path | None) -> None:
        self.code = EXIT_LOST
        self._node, self._environment, self._log_dir = node, environment, log_dir
        self._ray_port, self._status_port = ports(environment)
        self._calls: list[socket.socket] = []
        self._ray: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """For `srs.train`. Not its config: a resumed run's must be the same, and addresses change."""
        return {"RAY_ADDRESS": self._address, **RAY_VARIABLES}

    @property
    def _address(self) -> str:
        return f"{self._node.address}:{self._ray_port}"

    def __enter__(self) -> Leader:
        """Start the head and wait until every node is in the cluster. Raises NodeLost, UserError.

        The calls come first: what fails after them ends the others too, at once.
        """
        try:
            self._collect(len(self._node.hosts) - 1)
            self._ray = _ray(
                self._environment, self._log_dir, 0, "--head", f"--port={self._ray_port}",
                f"--node-ip-address={self._node.address}", "--include-dashboard=false",
            )  # fmt: skip
            self._wait_for_head()
            self._tell(f"ray {self._address}\n")
            self._wait_for_nodes()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._tell(f"done {self.code}\n")
        self._close()

    def _wait_for_head(self) -> None:
        assert self._ray is not None
        deadline = time.monotonic() + HEAD_S
        while self._ray.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self._node.address, self._ray_port), POLL_S),
            ):
                return
            time.sleep(POLL_S)
        raise NodeLost(f"Ray's head does not answer at {self._address}: see ray-0.log")

    def _wait_for_nodes(self) -> None:
        """`srs.cluster` divides the devices that it finds at its start."""
        words = ["-m", "srs.modelarts.ray_nodes", self._address, str(len(self._node.hosts))]
        env = {**self._environment, **RAY_VARIABLES}
        try:
            subprocess.run(
                [sys.executable, *words], env=env, cwd=ROOT, timeout=JOIN_S, check=True,
                stdin=subprocess.DEVNULL, preexec_fn=_tied(),
            )  # fmt: skip
        except subprocess.TimeoutExpired as e:
            raise NodeLost(f"not all nodes joined Ray in {JOIN_S:.0f} s: see ray-*.log") from e
        except subprocess.CalledProcessError as e:
            raise NodeLost(f"Ray at {self._address} cannot be asked for its nodes") from e

    def _collect(self, others: int) -> None:
        deadline = time.monotonic() + JOIN_S
        with socket.create_server(("", self._status_port), backlog=max(others, 1)) as server:
            while len(self._calls) < others:
                server.settimeout(max(deadline - time.monotonic(), 0.01))
                try:
                    call, (host, *_) = server.accept()
                except TimeoutError as e:
                    here = len(self._calls)
                    raise NodeLost(f"{others - here} of {others} other nodes did not call") from e
                logger.info("node at %s is here", host)
                self._calls.append(call)

    def _tell(self, line: str) -> None:
        for call in self._calls:
            with contextlib.suppress(OSError):  # that node is gone; Ray notices it
                call.sendall(line.encode())

    def _close(self) -> None:
        for call in self._calls:
            call.close()
        _stop(self._ray)


def follow(node: Node, environment: Mapping[str, str], log_dir: Path | None) -> int:
    """Another node's whole life; node 0's exit code. Raises NodeLost when node 0 goes away."""
    host, (_, port) = node.hosts[0], ports(environment)
    address = ""
    ray: subprocess.Popen[bytes] | None = None
    started = -RESTART_S
    with _call(host, port) as call:
        try:
            for line in _lines(call):
                key, _, rest = (line or "").partition(" ")
                if key == "done":
                    return int(rest)
                if key == "ray":
                    address = rest
                ended = ray is None or ray.poll() is not None
                if address and ended and time.monotonic() - started >= RESTART_S:
                    logger.info("joining Ray at %s", address)
                    ray, started = (
                        _ray(environment, log_dir, node.index, f"--address={address}"),
                        time.monotonic(),
                    )
        finally:
            _stop(ray)
    raise NodeLost(f"node 0 ({host}) went away before the run was done")


def _call(host: str, port: int) -> socket.socket:
    deadline = time.monotonic() + JOIN_S
    while time.monotonic() < deadline:
        try:
            call = socket.create_connection((host, port), POLL_S * 4)
        except OSError:
            time.sleep(POLL_S)
        else:
            # A node without power or network closes nothing.
            call.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE.items():
                call.setsockopt(socket.IPPROTO_TCP, option, value)
            return call
    raise NodeLost(f"node 0 ({host}) does not answer on port {port}")


def _lines(call: socket.socket) -> Iterator[str | None]:
    """Lines as they come, and None every `POLL_S` seconds between them; ends when the call breaks,
    or two minutes after the other end fell silent."""
    call.settimeout(POLL_S)
    received = b""
    while True:
        while b"\n" in received:
            line, _, received = received.partition(b"\n")
            yield line.decode(errors="replace")
        try:
            part = call.recv(4096)
        except OSError as e:
            if isinstance(e, TimeoutError) and e.errno is None:  # our own; the kernel's is an end
                yield None
                continue
            return
        if not part:
            return
        received += part


def _ray(
    environment: Mapping[str, str], log_dir: Path | None, node: int, *arguments: str
) -> subprocess.Popen[bytes]:
    program = shutil.which("ray", path=environment.get("PATH"))
    if program is None:
        raise UserError("several nodes need Ray, and this image has none: pip install 'ray>=2.50'")
    env = {**environment, **RAY_VARIABLES}
    with (log_dir / f"ray-{node}.log" if log_dir else Path("/dev/null")).open("ab") as log:

        def started(*words: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [program, *words], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_tied(),
            )  # fmt: skip

        # An attempt before, in this container, may have left its own: it would be taken for this one.
        started("stop", "--force").wait()
        return started("start", "--block", *arguments)


def _tied() -> Callable[[], None]:
    """What a program is started with that shall end when this process does, however that ends."""
    return functools.partial(die_with, os.getpid(), signal.SIGTERM)


def _stop(ray: subprocess.Popen[bytes] | None) -> None:
    if ray is None or ray.poll() is not None:
        return
    ray.terminate()
    try:
        ray.wait(STOP_S)
    except subprocess.TimeoutExpired:
        ray.kill()
        ray.wait()
