"""Frames on a stream: 4 bytes of length, then JSON."""

from __future__ import annotations

import json
import os
from typing import Any

FRAME_BYTES_MAX = 64 << 20


def pack(message: dict[str, Any]) -> bytes:
    """One frame. JSON's ASCII form carries null characters and lone surrogates unharmed."""
    body = json.dumps(message).encode("ascii")
    return len(body).to_bytes(4, "big") + body


def send(fd: int, message: dict[str, Any]) -> None:
    data = memoryview(pack(message))
    while data:
        data = data[os.write(fd, data) :]


def receive(fd: int, limit: int | None = None) -> dict[str, Any]:
    """Raises EOFError at the end, ValueError for what is no frame or is larger than ``limit`` bytes."""
    size = int.from_bytes(_exactly(fd, 4), "big")
    if limit is not None and size > limit:
        raise ValueError(f"a message of {size} bytes; the limit is {limit}")
    message: dict[str, Any] = json.loads(_exactly(fd, size))
    return message


def _exactly(fd: int, n: int) -> bytes:
    chunk = os.read(fd, n)
    if len(chunk) == n:
        return chunk
    parts = bytearray(chunk)
    while len(parts) < n:
        if not chunk:
            raise EOFError
        chunk = os.read(fd, n - len(parts))
        parts += chunk
    return bytes(parts)
