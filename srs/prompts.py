"""The one place that renders a prompt, writes an answer, and finds the code in a completion.

Pure: a tokenizer is passed in, nothing is loaded here.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from srs.types import Task, UserError

FENCE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<ticks>`{3,})[ \t]*(?P<tag>[\w+-]*)[^\n`]*\n"
    r"(?P<body>.*?)(?:^[ \t]*(?P=ticks)`*[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
PYTHON_TAGS = frozenset({"", "py", "python", "python3"})
PLAIN_STOPS = ("\n```",)
AnswerKind = Literal["code", "text"]
TEXT = "text"
"""The style of a task that wants words and not a program: a judge's verdict, an answer to an issue."""
PROBLEMS_SHOWN, PROBLEM_CHARACTERS = 10, 600


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that rendering and encoding need."""

    chat_template: Any
    eos_token_id: Any

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...

    def encode(self, text: str, **kwargs: Any) -> list[int]: ...


def uses_chat(tokenizer: Tokenizer, template: Literal["auto", "chat", "plain"]) -> bool:
    """Whether prompts go through the tokenizer's chat template.

    ``auto`` trusts the tokenizer; some base models ship the chat template of their instruct sibling
    (Qwen2.5-Coder does) and want ``plain``. Raises UserError for ``chat`` without a template.
    """
    has_template = bool(tokenizer.chat_template)
    if template == "chat" and not has_template:
        raise UserError(
            "model.template: chat, but the model's tokenizer has no chat template: use plain"
        )
    return has_template and template != "plain"


def answer_kind(task: Task) -> AnswerKind:
    """What a task wants: ``text`` when its style is `TEXT` and it has no test to run, else ``code``."""
    return "text" if task.style == TEXT and not task.test else "code"


def user_message(task: Task) -> str:
    """What the user asks: the question, the declaration the tests call, the form of the answer.

    Of a task that wants text, the question alone: it says itself what is wanted.
    """
    parts = [task.question.strip()]
    if answer_kind(task) == "text":
        return parts[0]
    if task.kind == "stdio":
        parts.append("Read from standard input and write to standard output.")
    elif task.declaration:
        parts.append(f"Start from this declaration:\n```python\n{task.declaration.strip()}\n```")
    parts.append("Answer with one Python code block.")
    return "\n\n".join(parts)


def repair_prompt(task: Task, code: str | None, problems: Sequence[str]) -> str:
    """A question that asks for the task again, with an earlier answer and what is wrong with it.

    It stands in for ``task.question``; `user_message` adds the rest as ever, so that the task itself is
    never dropped. ``code`` None = the earlier answer held no program. At most `PROBLEMS_SHOWN` problems
    are told, each cut to `PROBLEM_CHARACTERS`. Raises ValueError when there is no problem to tell.
    """
    if not problems:
        raise ValueError(f"{task.id}: nothing to repair")
    parts = [task.question.strip()]
    if code is not None:
        longest = max(map(len, re.findall("`+", code)), default=0)
        fence = "`" * max(3, longest + 1)
        parts.append(f"An earlier answer was:\n{fence}python\n{code.strip(chr(10))}\n{fence}")
    lines = [_problem(text) for text in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        lines.append(f"- and {len(problems) - PROBLEMS_SHOWN} more")
    parts.append("What is wrong with the earlier answer:\n" + "\n".join(lines))
    parts.append("Write the whole program again, with this put right.")
    return "\n\n".join(parts)


def _problem(text: str) -> str:
    text = text.strip()
    if len(text) > PROBLEM_CHARACTERS:
        text = text[:PROBLEM_CHARACTERS].rstrip() + " …"
    return "- " + textwrap.indent(text, "  ").lstrip()


def render(task: Task, tokenizer: Tokenizer, *, chat: bool) -> str:
    """The exact prompt text, up to where the model's own tokens begin.

    A plain one ends in an open code block, also for text, so that the same `stops` end both; an answer
    in words then can't hold a code block of its own.
    """
    message = user_message(task)
    if chat:
        text: str = tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
        return text
    block = "python" if answer_kind(task) == "code" else "text"
    return f"### Problem\n{message}\n\n### Answer\n```{block}\n"


def answer(code: str, *, chat: bool) -> str:
    """Code as a model should answer it: the completion that belongs after `render`."""
    body = code.strip("\n") + "\n"
    return f"```python\n{body}```" if chat else f"{body}```\n"


def stops(*, chat: bool) -> tuple[str, ...]:
    """Strings that end a completion, beside the model's end tokens; not part of the completion."""
    return () if chat else PLAIN_STOPS


def prompt_ids(prompt: str, tokenizer: Tokenizer, *, chat: bool) -> list[int]:
    """The tokens a model is given. A chat template writes its own special tokens."""
    return list(tokenizer.encode(prompt, add_special_tokens=not chat))


def completion_ids(
    prompt: str, completion: str, tokenizer: Tokenizer, *, chat: bool
) -> tuple[list[int], list[int]]:
    """Training tokens: those of the prompt, exactly as in generation, and those that follow it.

    The two texts are encoded together, as a model would continue; where a token would span both, the
    completion is encoded by itself instead, so that the prompt's tokens stay a prefix. A chat answer
    ends with the end token; a plain one ends where its closing fence stops generation.
    """
    before = prompt_ids(prompt, tokenizer, chat=chat)
    joint = prompt_ids(prompt + completion, tokenizer, chat=chat)
    if joint[: len(before)] == before:
        after = joint[len(before) :]
    else:
        after = list(tokenizer.encode(completion, add_special_tokens=False))
    if chat:
        after.append(int(tokenizer.eos_token_id))
    return before, after


def extract_code(completion: str, entry_point: str | None = None) -> str | None:
    """The Python program in a completion, or None when there is none that parses.

    Of the fenced Python blocks that parse, the last that defines ``entry_point`` is taken (of several
    names, joined with commas as by `srs.kodcode.to_task`, the last of those that define most), else the last
    that defines anything, else the last; text before any fence comes after them. Blocks are not joined.
    What a model thinks aloud before ``</think>`` doesn't count.
    """
    wanted = {name.strip() for name in (entry_point or "").split(",")} - {""}
    if "</think>" in completion:
        completion = completion.rpartition("</think>")[2]
    elif completion.lstrip().startswith("<think>"):
        return None
    blocks = [
        textwrap.dedent(match["body"]) if match["indent"] else match["body"]
        for match in FENCE.finditer(completion)
        if match["tag"].lower() in PYTHON_TAGS
    ]
    # A plain completion begins inside the block; what looks like an opening fence then closes it.
    unfenced = completion.split("\n```", 1)[0]
    parsed = [
        (code, names) for code in (*blocks[::-1], unfenced) if (names := _defined(code)) is not None
    ]
    ranked = sorted(parsed, key=lambda pair: (len(wanted.difference(pair[1])), not pair[1]))
    return ranked[0][0] if ranked else None


def _defined(code: str) -> Sequence[str] | None:
    """Functions and classes at the top level; None when the code is empty or doesn't parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the model's code, which is only read
            body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not body:
        return None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [statement.name for statement in body if isinstance(statement, kinds)]
