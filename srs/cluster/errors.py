"""Errors across hosts: what an actor's method raised is raised here, and a lost actor is a `HostLost`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from srs.child import ChildError
from srs.types import UserError


class HostLost(ChildError):
    """The actor or its host is gone, or never came: nothing is said about the work it had."""


@contextlib.contextmanager
def from_actor(what: str) -> Iterator[None]:
    """Around calls of an actor that generates or trains. Raises UserError, ChildError, HostLost."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as e:
        cause: BaseException = e.cause
        if isinstance(cause, UserError | ChildError):
            raise cause from e
        if isinstance(cause, ray.exceptions.RayError):  # what it was to fetch was lost on the way
            raise HostLost(f"{what}: {first_line(cause)}") from e
        raise
    except ray.exceptions.RayError as e:
        raise HostLost(f"{what}: its host is lost: {first_line(e)}") from e


@contextlib.contextmanager
def on_host(host: str) -> Iterator[None]:
    """In an actor: a failed child process is told with the host, where its log is."""
    try:
        yield
    except ChildError as e:
        raise ChildError(f"{host}: {e}") from e


def first_line(error: BaseException) -> str:
    """What Ray's errors say, without their page of context."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
