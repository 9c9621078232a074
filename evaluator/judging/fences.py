"""Code inside text: a Markdown block that the code itself can't close."""

from __future__ import annotations

import re

BLOCK = re.compile(
    r"^(?P<ticks>`{3,})[ \t]*(?P<tag>[\w+#.-]*)[ \t]*\n(?P<code>.*?)\n?^(?P=ticks)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
QUOTED = re.compile(r"function\s*[\"“](?P<code>.+)[\"”]", re.DOTALL)


def fenced(code: str, tag: str) -> str:
    """A block whose fence is longer than any run of backticks in ``code``."""
    ticks = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", code)), 3)
    return f"{ticks}{tag}\n{code}\n{ticks}"


def code_in(text: str) -> tuple[str, str] | None:
    """(code, tag) of the first block, or of what stands in quotes after "function" with no tag."""
    if block := BLOCK.search(text):
        return block["code"], block["tag"]
    if quoted := QUOTED.search(text):
        return quoted["code"], ""
    return None
