"""Rows of benchmark files in their authors' schemas, each as a row in KodCode's schema. Nothing of them is run."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from evaluator import mbpp_plus
from evaluator.plus_tests import input_test

Schema = Literal["kodcode", "humaneval", "evalplus", "mbpp"]
CHECK = re.compile(r"^def[ \t]+check[ \t]*\([ \t]*(\w+)[ \t]*\)[ \t]*:", re.MULTILINE)
KEYS: dict[Schema, tuple[frozenset[str], ...]] = {
    "kodcode": (frozenset({"question_id", "test"}), frozenset({"question_id", "test_code"})),
    "evalplus": (
        frozenset({"task_id", "prompt", "canonical_solution", "entry_point", "base_input", "plus_input"}),
    ),
    "humaneval": (
        frozenset({"task_id", "prompt", "canonical_solution", "entry_point", "test"}),
    ),
    "mbpp": (
        frozenset({"task_id", "text", "code", "test_list"}),
        frozenset({"task_id", "prompt", "code", "test_list"}),
    ),
}  # fmt: skip
"""What a row must have to be taken for one; tried in this order."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a task's program begins, where the prompt is the beginning of one.

    ``head``: the prompt, which a completion may continue. ``preamble``: what stands in it before the
    function that is asked for, imports and helpers, which belongs to every program.
    """

    head: str = ""
    preamble: str = ""


def schema_of(row: Mapping[str, Any]) -> Schema | None:
    """The schema that a row's keys tell, None for any other."""
    return next((s for s, wanted in KEYS.items() if any(keys <= set(row) for keys in wanted)), None)


def unknown(row: Mapping[str, Any]) -> str:
    """What to say of a row without a schema."""
    keys = ", ".join(sorted(map(str, row))) or "none that is known"
    return (
        f"not a benchmark's row; its keys: {keys}. Known are KodCode's (question_id, test), HumanEval's "
        "(task_id, prompt, canonical_solution, entry_point, test), EvalPlus' (the same with base_input "
        "and plus_input) and MBPP's (task_id, text or prompt, code, test_list)"
    )


def kodcode_row(
    schema: Schema, row: Mapping[str, Any], challenge_tests: bool
) -> tuple[Mapping[str, Any], Opening]:
    """The row in KodCode's schema, and how its program begins.

    ``challenge_tests``: MBPP's ``challenge_test_list`` is graded too. Raises ValueError saying what can't
    be used.
    """
    match schema:
        case "kodcode":
            head = str(row.get("question")) if str(row.get("style")).lower() == "complete" else ""
            return row, Opening(head=head)
        case "mbpp":
            return _mbpp(row, challenge_tests), Opening()
        case "humaneval":
            return _humaneval(row, _text(row, "test"))
        case "evalplus":
            if _id(row).startswith(mbpp_plus.PREFIX):
                return _mbpp_plus(row), Opening()
            return _humaneval(row, None)


def _humaneval(row: Mapping[str, Any], test: str | None) -> tuple[dict[str, Any], Opening]:
    prompt, entry_point = _text(row, "prompt"), _entry_point(row)
    reference = prompt + _text(row, "canonical_solution")
    preamble = _before(prompt, entry_point)
    built = (
        input_test(row, entry_point, reference)
        if test is None
        else _pytest_module(test, entry_point, preamble)
    )
    converted = {
        "question_id": _id(row),
        "question": prompt,
        "style": "complete",
        "subset": _id(row).partition("/")[0],
        "solution": reference,
        "test": built,
    }
    return converted, Opening(head=prompt, preamble=preamble)


def _mbpp(row: Mapping[str, Any], challenge_tests: bool) -> dict[str, Any]:
    """The question with its tests below it, as Austin et al. 2021 (arXiv:2108.07732) prompt it."""
    shown = _texts(row, "test_list")
    if not shown:
        raise ValueError("test_list is empty")
    extra = _texts(row, "challenge_test_list") if challenge_tests else []
    question = _text(row, "text" if "text" in row else "prompt").strip()
    before = [*_texts(row, "test_imports"), *_texts(row, "test_setup_code")]
    if isinstance(row.get("test"), str) and row["test"].strip():  # MBPP+ as on the hub
        names = sorted(_called(shown) & _defined(_text(row, "code")))
        if not names:
            raise ValueError("test_list calls nothing that code defines")
        test = _pytest_module(row["test"], names[0], "")
    else:
        names = sorted(_called(shown + extra) & _defined(_text(row, "code")))
        renamed = {name: asked for name in names if (asked := _alias(name)) != name}
        imports = [f"from solution import {name} as {asked}" for name, asked in renamed.items()]
        first = [f"{name} = {asked}" for name, asked in renamed.items()]
        functions = [
            f"def test_{number}():\n"
            + "\n".join(f"    {line}" for line in [*first, *text.splitlines()])
            for number, text in enumerate([*shown, *extra], 1)
        ]
        test = "\n\n\n".join([*imports, *filter(str.strip, before), *functions]) + "\n"
        _parsed(test, "test_list")
    return {
        "question_id": _id(row),
        "question": f"{question}\n\nYour code should pass these tests:\n\n" + "\n".join(shown),
        "style": "instruct",
        "subset": "MBPP",
        "solution": _text(row, "code"),
        "test": test,
    }


def _mbpp_plus(row: Mapping[str, Any]) -> dict[str, Any]:
    """EvalPlus' MBPP+: its prompt is a docstring, with an assert of the original below the question."""
    prompt, entry_point = _text(row, "prompt"), _entry_point(row)
    reference = f"{prompt.rstrip()}\n{_text(row, 'canonical_solution')}"
    _parsed(reference, "canonical_solution")
    return {
        "question_id": _id(row),
        "question": (ast.get_docstring(_parsed(prompt, "prompt")) or prompt).strip(),
        "style": "instruct",
        "subset": "MBPP",
        "solution": reference,
        "test": input_test(row, entry_point, reference),
    }


def _entry_point(row: Mapping[str, Any]) -> str:
    name = _text(row, "entry_point")
    if not name.isidentifier():
        raise ValueError(f"entry_point {name!r} is not a name")
    return name


def _pytest_module(test: str, entry_point: str, preamble: str) -> str:
    """A published test text as a pytest module.

    ``check(candidate)`` becomes a test whose candidate is the solution's function; loose statements at
    the end become a test; helpers that the prompt defines and the tests use come along. Raises
    ValueError when the text has none of these forms.
    """
    tree = _parsed(test, "test")
    asked = _alias(entry_point)
    start = f"from solution import {entry_point}{'' if asked == entry_point else f' as {asked}'}\n"
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if (_defined(preamble) - _defined(test)) & used:
        start += f"{preamble.strip()}\n"
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if any(name.startswith("test") for name in names):
        return f"{start}\n\n{test}"
    lines = test.splitlines()
    if "check" in names:
        if "check" in used:  # it calls its own check at the end
            return f"{start}\n\n{test}\n\n\ndef test_check():\n    check({asked})\n"
        renamed, n = CHECK.subn(rf"def test_check(\1={asked}):", test)
        if n != 1:
            raise ValueError("test: check must take the candidate and nothing else")
        return f"{start}\n\n{renamed}"
    loose = [
        node.lineno
        for node in tree.body
        if isinstance(node, ast.For | ast.Assert | ast.Expr | ast.With)
        and any(isinstance(n, ast.Name) and n.id == entry_point for n in ast.walk(node))
    ]
    if not loose:
        raise ValueError(f"test: neither a check function nor a statement that uses {entry_point}")
    before, after = lines[: loose[0] - 1], lines[loose[0] - 1 :]
    indented = [f"    {line}" if line.strip() else line for line in after]
    named = [] if asked == entry_point else [f"    {entry_point} = {asked}"]
    module = "\n".join([start, *before, "", "", "def test_all():", *named, *indented]) + "\n"
    _parsed(module, "test")
    return module


def _alias(name: str) -> str:
    """A name that pytest doesn't take for a test's, for a function such as MBPP's test_duplicate."""
    return f"asked_{name}" if name.lower().startswith("test") else name


def _before(prompt: str, entry_point: str) -> str:
    """What a prompt holds before the function it asks for; empty when it isn't a program's beginning."""
    try:
        tree = ast.parse(prompt)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == entry_point:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            return "\n".join(prompt.splitlines()[: first - 1]).strip("\n")
    return ""


def _defined(source: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in _parsed(source, "code").body if isinstance(node, kinds)}


def _called(asserts: Sequence[str]) -> set[str]:
    nodes = (node for text in asserts for node in ast.walk(_parsed(text, "test_list")))
    return {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def _parsed(source: str, key: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise ValueError(f"{key} is not Python: {e}") from e


def _id(row: Mapping[str, Any]) -> str:
    """EvalPlus' ``Mbpp/2`` for MBPP's 2, so that its sample files fit."""
    value = row["task_id"]
    return f"Mbpp/{value}" if isinstance(value, int) else _text(row, "task_id")


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, got {type(value).__name__}")
    return value


def _texts(row: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts, or one text; missing or null is none."""
    value = row.get(key) or []
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ValueError(f"{key} must be a list of texts")
    return list(values)
