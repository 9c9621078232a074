"""Frames on a stream: 4 bytes of length, then JSON."""

from __future__ import annotations

import json
import os
from typing import Any

FRAME_BYTES_MAX = 64 << 20
HEAD_BYTES, READ_BYTES = 4, 1 << 16


def pack(message: dict[str, Any]) -> bytes:
    """One frame. JSON's ASCII form carries null characters and lone surrogates unharmed."""
    body = json.dumps(message).encode("ascii")
    return len(body).to_bytes(HEAD_BYTES, "big") + body


def send(fd: int, message: dict[str, Any]) -> None:
    data = memoryview(pack(message))
    while data:
        data = data[os.write(fd, data) :]


def receive(fd: int, limit: int | None = None) -> dict[str, Any]:
    """The one frame that the other side sends before it waits for an answer.

    Raises EOFError at the end, ValueError for what is not one frame or is larger than ``limit`` bytes.
    """
    data = os.read(fd, READ_BYTES)
    while len(data) < HEAD_BYTES:
        data += _more(fd, HEAD_BYTES - len(data))
    size = HEAD_BYTES + int.from_bytes(data[:HEAD_BYTES], "big")
    if limit is not None and size > limit:
        raise ValueError(f"a message of {size} bytes; the limit is {limit}")
    if len(data) < size:
        whole = bytearray(data)
        while len(whole) < size:
            whole += _more(fd, size - len(whole))
        data = bytes(whole)
    if len(data) > size:
        raise ValueError("more than one message")
    message: dict[str, Any] = json.loads(data[HEAD_BYTES:])
    return message


def _more(fd: int, n: int) -> bytes:
    chunk = os.read(fd, n)
    if not chunk:
        raise EOFError
    return chunk
