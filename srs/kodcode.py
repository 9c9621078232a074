"""One row in KodCode's schema → `Task`, with all the shapes the schema has had.

Columns read: ``question_id, question, test`` (older: ``test_code``), ``solution, style, subset, test_info,
gpt_difficulty``. Everything else (``metadata``, also its ``split``; trials; the R1 columns) is ignored.
Source: https://huggingface.co/datasets/KodCode/KodCode-V1 and arXiv 2503.02951.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from srs.declaration import entry_points
from srs.splits import STYLE_SUFFIXES, base_id
from srs.types import Task

COLUMNS = (
    "question_id",
    "question",
    "test",
    "test_code",
    "solution",
    "style",
    "subset",
    "test_info",
    "gpt_difficulty",
)
SUBSETS = frozenset(
    [
        "Prefill",
        "Leetcode",
        "Codeforces",
        "Apps",
        "Taco",
        "Code_Contests",
        "Algorithm",
        "Data_Structure",
        "Docs",
        "Filter",
        "Package",
        "Evol",
    ]
)
LICENCE = (
    "KodCode data: licence CC BY-NC 4.0 (non-commercial, with attribution)."
    " https://huggingface.co/datasets/KodCode/KodCode-V1"
)
STYLE_OF_SUFFIX = dict(zip(STYLE_SUFFIXES, ("instruct", "complete", "online_judge"), strict=True))


class BadRow(ValueError):
    """A row that can't be a task; the message is the reason, without file and line."""


def to_task(row: object) -> Task:
    """The row as a task, its ``group`` still the base id alone. Raises BadRow with the reason.

    ``entry_point`` holds the names that the test takes from the solution, joined with commas.
    ``question`` may be missing (grading doesn't need it); then it is empty.
    """
    if not isinstance(row, Mapping):
        raise BadRow(f"expected an object, got {type(row).__name__}")
    task_id = _text(row, "question_id").strip()
    if not task_id:
        raise BadRow("question_id is missing")
    key = "test" if row.get("test") else "test_code"
    test = row.get(key)
    if not test:
        raise BadRow("test is missing")
    base = base_id(task_id)
    suffix = task_id[len(base) + 1 :]
    style = _text(row, "style").strip().lower().replace("-", "_").replace(" ", "_")
    style = style or STYLE_OF_SUFFIX.get(suffix, "instruct")
    stdio = style == "online_judge" or isinstance(test, Mapping)
    names: tuple[str, ...] = ()
    declaration = None
    reference = _text(row, "solution")
    if stdio:
        test = _stdio_test(test, key)
    else:
        test = _text(row, key)
        try:
            names, declaration = entry_points(test, reference, _declared(row.get("test_info")))
        except RecursionError as e:
            raise BadRow("solution: a signature is nested too deeply to be read") from e
    return Task(
        id=task_id,
        group=base,
        kind="stdio" if stdio else "pytest",
        style=sys.intern(style),
        subset=sys.intern(_text(row, "subset").strip() or base.rpartition("_")[0]),
        question=_text(row, "question"),
        declaration=declaration,
        entry_point=",".join(names) or None,
        test=test,
        reference=reference if reference.strip() else None,
        difficulty=sys.intern(_text(row, "gpt_difficulty").strip().lower()) or None,
    )


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow(f"{key} must be text, got {type(value).__name__}")
    if "\0" in value:
        raise BadRow(f"{key} holds a null byte")
    if not _encodable(value):
        raise BadRow(f"{key} holds half of a surrogate pair, which is no character")
    return value


def _stdio_test(test: object, key: str) -> str:
    """``{'stdin': [...], 'stdout': [...]}`` as a mapping, JSON or a Python literal → JSON."""
    cases = _literal(test, key) if isinstance(test, str) else test
    if not isinstance(cases, Mapping) or not {"stdin", "stdout"} <= set(cases):
        raise BadRow(f"{key} of an online_judge row must hold stdin and stdout")
    stdin, stdout = cases["stdin"], cases["stdout"]
    for side, values in (("stdin", stdin), ("stdout", stdout)):
        if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
            raise BadRow(f"{key}: {side} must be a list of texts")
        if not all(_encodable(v) for v in values):
            raise BadRow(f"{key}: {side} holds half of a surrogate pair, which is no character")
    if len(stdin) != len(stdout) or not stdin:
        raise BadRow(
            f"{key}: {len(stdin)} stdin for {len(stdout)} stdout; need as many, one or more"
        )
    return json.dumps({"stdin": list(stdin), "stdout": list(stdout)}, ensure_ascii=False)


def _declared(test_info: object) -> dict[str, str]:
    """Function name → declaration. Takes a list, one record, a record of lists, their text, or null."""
    if isinstance(test_info, str):
        test_info = _literal(test_info, "test_info") if test_info.strip() else None
    result: dict[str, str] = {}
    for entry in _entries(test_info):
        if not isinstance(entry, Mapping):
            raise BadRow(f"test_info: expected an object, got {type(entry).__name__}")
        name, line = entry.get("function_name"), entry.get("function_declaration")
        if isinstance(name, str) and name.isidentifier():
            parameters = entry.get("parameter_list")
            if isinstance(line, str) and line.strip():
                result.setdefault(name, line.strip())
            elif isinstance(parameters, str) and parameters.strip():
                result.setdefault(name, f"def {name}{parameters.strip()}:")
    return result


def _entries(test_info: object) -> Iterator[object]:
    match test_info:
        case None:
            return
        case list() | tuple():
            yield from test_info
        case Mapping() if isinstance(test_info.get("function_name"), list):
            keys = [k for k, v in test_info.items() if isinstance(v, list)]
            columns = zip(*(test_info[k] for k in keys), strict=False)
            yield from (dict(zip(keys, values, strict=True)) for values in columns)
        case Mapping():
            yield test_info
        case _:
            raise BadRow(
                f"test_info must be a list, object or null, not {type(test_info).__name__}"
            )


def _literal(text: str, key: str) -> object:
    """JSON, or a Python literal, never evaluated."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as e:
        raise BadRow(f"{key} is neither JSON nor a Python literal") from e


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
