"""The Docker backend: one long-lived container per worker, which ends when its stdin closes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox import image
from sandbox.link import Link, WorkerDied
from sandbox.runner import SandboxConfig, SandboxError
from sandbox.seccomp import docker_profile

NAME = "docker"
OWNER_LABEL = "srs.sandbox.owner"
START_S = 60.0
CONNECT_S = 120
SPARE_MEMORY_MIB = 320  # the worker and what the tmpfs mounts below may hold
CAPABILITIES = ["SETUID", "SETGID", "KILL"]
"""What the worker needs to run tests and candidates as users of their own; those users have none."""
NOT_COVERED = ("the system calls are those of the host kernel, behind a seccomp profile",)
FIRST_UID, UIDS = 20_000, 40_000  # within the 65,536 that a remapped daemon has
_numbers = itertools.count()


def connect() -> Any:
    """A docker.DockerClient. Raises SandboxError when no daemon answers."""
    import docker
    from docker.errors import DockerException

    client = None
    try:
        client = docker.from_env(timeout=CONNECT_S)
        client.ping()
    except (DockerException, OSError) as e:  # a time-out of the ping is none of the SDK's own
        if client is not None:
            client.close()
        raise SandboxError(f"no Docker daemon answers: {e}") from e
    return client


def unavailable(config: SandboxConfig) -> str:
    """Why the Docker backend can't be used here, or an empty string. Builds the image when needed."""
    try:
        with contextlib.closing(connect()) as client:
            _image(client, config)
    except SandboxError as e:
        return str(e)
    return ""


def starter(config: SandboxConfig) -> Callable[[], DockerWorker]:
    """What starts one worker; containers that a killed run left on this host are removed first.

    Raises SandboxError when no daemon answers or the image can't be had.
    """
    with contextlib.closing(connect()) as client:
        name = _image(client, config)
        remove_leftovers(client)
    return lambda: DockerWorker(name, config)


def _image(client: Any, config: SandboxConfig) -> str:
    if not config.image:
        return image.ensure(client)
    if not image.present(client, config.image):
        raise SandboxError(f"no image {config.image}: build it, or leave sandbox.image empty")
    return config.image


class DockerWorker:
    """One container. Raises SandboxError when it doesn't start."""

    def __init__(self, name: str, config: SandboxConfig) -> None:
        self._client = connect()
        self._api = self._client.api
        self._id, self._fd = "", -1
        self._killing = threading.Lock()
        tmpfs = "rw,nosuid,nodev,nr_inodes=65536"
        uid = _free_uid()
        settings = {
            "root": "/work",
            "scratch": ["/tmp", "/dev/shm"],
            "readable": [],
            "candidate_uid": uid,
            "tests_uid": uid + 1,
            "nproc": True,
            "preload": [],
            "not_covered": NOT_COVERED,
        }
        host = self._api.create_host_config(
            auto_remove=True,
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            cap_add=CAPABILITIES,
            security_opt=["no-new-privileges", f"seccomp={docker_profile()}"],
            pids_limit=config.processes + 16,
            mem_limit=f"{config.memory_mib + SPARE_MEMORY_MIB}m",
            memswap_limit=f"{config.memory_mib + SPARE_MEMORY_MIB}m",
            nano_cpus=10**9,
            shm_size="64m",
            ipc_mode="private",
            tmpfs={
                "/work": f"{tmpfs},exec,size=128m,mode=711",
                "/tmp": f"{tmpfs},size=64m,mode=1777",
            },
            log_config={"type": "none"},
            runtime=config.runtime or None,
        )
        try:
            self._id = self._api.create_container(
                name,
                command=[json.dumps(settings)],
                user="0:0",
                hostname="sandbox",
                stdin_open=True,
                detach=False,  # together with stdin_open: the container's stdin closes with ours
                labels={OWNER_LABEL: owner()},
                host_config=host,
            )["Id"]
            streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            self._stream = self._api.attach_socket(self._id, params=streams)
            self._fd = os.dup(self._stream.fileno())
            self.link = Link(self._fd, self._fd, multiplexed=True)
            self._api.start(self._id)
        except OSError as e:  # the SDK's and the connection's errors are, too
            self.kill()
            raise SandboxError(f"no container: {getattr(e, 'explanation', None) or e}") from e
        self.ready: dict[str, Any]
        try:
            self.ready = self.link.receive(START_S)
        except WorkerDied as e:
            lines = self.link.stderr.decode("utf-8", "replace").strip().splitlines()
            self.kill()
            raise SandboxError(f"no worker in {name}: {lines[-1] if lines else e}") from e
        self.ready["identity"] += f", image {name}"

    def kill(self) -> None:
        with self._killing:
            if self._fd >= 0:
                with contextlib.suppress(OSError):  # the other end may be closed already
                    self._stream._sock.shutdown(socket.SHUT_RDWR)
            if self._id:
                # Already gone, or going; or the daemon is, which removes it when it comes back.
                with contextlib.suppress(OSError):
                    self._api.remove_container(self._id, force=True)
                self._id = ""
            if self._fd >= 0:
                with self.link.busy:
                    os.close(self._fd)
                    self._stream._response.close()  # the SDK leaves the connection to the caller
                self._fd = -1
            self._client.close()


def _free_uid() -> int:
    """The first of two user ids that no other worker on this host has: their processes are counted."""
    return FIRST_UID + (os.getpid() * 128 + next(_numbers) % 64 * 2) % UIDS


def owner(pid: int | None = None) -> str:
    """``host/boot/pid/start``: names one process for good, so that its leftovers can be told apart."""
    pid = os.getpid() if pid is None else pid
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    try:
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        start = "gone"
    return f"{socket.gethostname()}/{boot}/{pid}/{start}"


def remove_leftovers(client: Any) -> int:
    """Remove the containers whose owner on this host is dead; returns how many. Others are not touched.

    Raises SandboxError when the daemon doesn't say which there are.
    """
    removed = 0
    try:
        found = client.api.containers(all=True, filters={"label": OWNER_LABEL})
    except OSError as e:
        raise SandboxError(f"the Docker daemon does not list its containers: {e}") from e
    for container in found:
        label = container["Labels"][OWNER_LABEL]
        parts = label.split("/")
        if len(parts) != 4 or parts[0] != socket.gethostname() or not parts[2].isdigit():
            continue
        if owner(int(parts[2])) != label:
            with contextlib.suppress(OSError):
                client.api.remove_container(container["Id"], force=True)
                removed += 1
    return removed
