"""The connection to a Ray cluster and the hosts in it.

Ray places actors and notices lost hosts; what an actor runs is what one machine runs as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from srs import device as devices
from srs.device import Device, Kind
from srs.types import UserError

ROOT = Path(__file__).resolve().parents[2]
CODE = ("evaluator", "sandbox", "scheduler", "srs")
DEVICES: dict[Kind, str] = {"cuda": "GPU", "npu": "NPU"}
"""Ray's names for the kinds of `srs.device.Device`."""
ANSWER_S = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One node of the cluster that may run actors: ``devices`` maps Ray's names to counts."""

    id: str
    name: str
    cores: float
    devices: tuple[tuple[str, int], ...] = ()


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Join the cluster as its driver; what the driver started ends with it.

    Raises UserError when Ray is not installed or no cluster answers at ``address``.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # What stands for "no devices" here is our own business (`srs.device`).
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as e:
        raise UserError(
            "devices.cluster = ray needs the package ray: pip install 'srs-code[ray]'"
        ) from e
    _answers(address or os.environ.get("RAY_ADDRESS", ""))
    with _own_signals():
        try:
            ray.init(
                address=address or None,
                namespace=f"srs-{os.getpid()}",
                include_dashboard=False,
                configure_logging=False,
                log_to_driver=False,
                runtime_env={"env_vars": {"PYTHONPATH": _import_path()}},
            )
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as e:
            where = address or os.environ.get("RAY_ADDRESS") or "on this machine"
            reason = " ".join(str(e).split())[:300]
            raise UserError(
                f"devices.ray_address: no Ray cluster can be used {where}: {reason}"
            ) from e
    try:
        yield
    finally:
        with _own_signals():
            ray.shutdown()


def _answers(address: str) -> None:
    """Raises UserError when nobody listens there: Ray itself would wait for minutes."""
    if address in ("", "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise UserError(
            f"devices.ray_address = {address}: give HOST:PORT of the head, and run on one of its hosts"
        )
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as e:
        raise UserError(
            f"devices.ray_address = {address}: nobody answers there ({e}): start the head with "
            "`ray start --head`, or correct the address"
        ) from e


def _ray() -> Any:
    """Ray; much of it has no types."""
    import ray

    return ray


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray sets handlers of its own; those of the entry point decide how a run is interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _import_path() -> str:
    """Actors import this package from the place where the driver has it."""
    known = os.environ.get("PYTHONPATH")
    return f"{ROOT}{os.pathsep}{known}" if known else str(ROOT)


def hosts() -> list[Host]:
    """The living hosts that offer cores, by name. Raises UserError when there are none."""
    found = [
        Host(
            id=node["NodeID"],
            name=f"{node['NodeManagerHostname']}/{node['NodeID'][:6]}",
            cores=node["Resources"]["CPU"],
            devices=tuple(
                (name, int(node["Resources"][name]))
                for name in DEVICES.values()
                if node["Resources"].get(name, 0) >= 1
            ),
        )
        for node in _ray().nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) > 0
    ]
    if not found:
        raise UserError("devices.ray_address: the Ray cluster has no host with CPUs to work on")
    return sorted(found, key=lambda host: (host.name, host.id))


def code() -> dict[str, str]:
    """Digests of this project's source files as they are now, by path."""
    return {
        path.relative_to(ROOT).as_posix(): _digest(path)
        for package in CODE
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def check_host(expected: dict[str, str]) -> str:
    """In an actor: this host's name. Raises UserError when its code is not the driver's `code`."""
    name = socket.gethostname()
    # Ray sets it from an actor's share of the cores; how many threads run is decided in `srs.device`.
    os.environ.pop("OMP_NUM_THREADS", None)
    for path, digest in expected.items():
        if _digest(ROOT / path) != digest:
            raise UserError(
                f"{name}: {ROOT / path} differs from that of the host where the run was started: "
                "bring both to one version"
            )
    return name


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def device_here(kind: Kind) -> Device:
    """In an actor: the devices that Ray gave it. Raises UserError when they are of another kind."""
    device = devices.detect()
    if device.kind != kind:
        raise UserError(
            f"{socket.gethostname()}: Ray offers {kind} devices and this project finds {device.kind}: "
            "check the drivers and the build of torch there, or what `ray start` was told"
        )
    return device


def log_path(name: str) -> Path:
    """In an actor: where its child process logs."""
    folder = Path(tempfile.gettempdir()) / f"srs-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{name}-{os.getpid()}.log"


def start(cls: type, **options: Any) -> Any:
    """Start an actor; calls in its concurrency group ``closing`` run beside the others."""
    return _ray().remote(concurrency_groups={"closing": 1})(cls).options(**options).remote()


def free() -> dict[str, float]:
    """What the cluster could still give, by Ray's names."""
    found = _ray().available_resources()
    return {name: found[name] for name in ("CPU", *DEVICES.values()) if name in found}


def end(actors: Sequence[Any], closing: Sequence[Any] = (), *, patience_s: float = 0.0) -> None:
    """End actors and all their processes, once they did what ``closing`` refers to.

    Any thread may call it, also after the connection was closed.
    """
    import ray

    with contextlib.suppress(ValueError, ray.exceptions.RayError):
        if closing:
            ray.wait(list(closing), num_returns=len(closing), timeout=patience_s)
        for actor in actors:
            ray.kill(actor)
