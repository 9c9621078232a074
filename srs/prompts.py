"""The one place that renders a prompt, writes an answer, and finds the code in a completion.

Pure: a tokenizer is passed in, nothing is loaded here.
"""

from __future__ import annotations

import ast
import re
from typing import Any, Protocol

from srs.types import Task

FENCE = re.compile(r"^```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^```|\Z)", re.MULTILINE | re.DOTALL)
PLAIN_STOPS = ("\n```",)


class ChatTokenizer(Protocol):
    """The part of a transformers tokenizer that rendering needs."""

    chat_template: Any

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...


def user_message(task: Task) -> str:
    """What the user asks: the question, the declaration the tests call, the form of the answer."""
    parts = [task.question.strip()]
    if task.kind == "stdio":
        parts.append("Read from standard input and write to standard output.")
    elif task.declaration:
        parts.append(f"Start from this declaration:\n```python\n{task.declaration.strip()}\n```")
    parts.append("Answer with one Python code block.")
    return "\n\n".join(parts)


def render(task: Task, tokenizer: ChatTokenizer, *, chat: bool) -> str:
    """The exact prompt text, up to where the model's own tokens begin."""
    message = user_message(task)
    if chat:
        text: str = tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
        return text
    return f"### Problem\n{message}\n\n### Answer\n```python\n"


def answer(code: str, *, chat: bool) -> str:
    """Code as a model should answer it: the completion that belongs after `render`."""
    body = code.strip("\n") + "\n"
    return f"```python\n{body}```" if chat else f"{body}```\n"


def extract_code(completion: str) -> str | None:
    """The Python program in a completion, or None when there is none that parses.

    A fenced block is preferred (the last Python block that parses and defines something, else the
    last that parses); without fences the whole text is tried.
    """
    blocks = [
        body for tag, body in FENCE.findall(completion) if tag in ("", "python", "py", "python3")
    ]
    candidates = blocks[::-1] or [completion.split("\n```", 1)[0]]
    parsed = [code for code in candidates if code.strip() and _parses(code)]
    return next(
        (code for code in parsed if re.search(r"^(def|class|async def) ", code, re.M)),
        parsed[0] if parsed else None,
    )


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
