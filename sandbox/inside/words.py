"""What went wrong, in a few words that any pipe and any JSON carries."""

from __future__ import annotations

import traceback

MESSAGE_CHARS = 600


def short(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8").strip()
    return text if len(text) <= MESSAGE_CHARS else text[: MESSAGE_CHARS - 1] + "…"


def exception(error: BaseException) -> str:
    """As pytest words it: a failed ``assert`` without its class's name."""
    text = "".join(traceback.format_exception_only(error)).strip()
    bare = text.removeprefix("AssertionError: ")
    return short(bare if bare.startswith("assert ") else text)
