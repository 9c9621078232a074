"""Data that others collected: prompt sets without tests, and preference pairs for DPO.

``python -m evaluator.imports FILE --model M --out pairs.jsonl`` turns rows of ``input, accepted, rejected``
into pairs that `srs.preferences.load_pairs` reads, with the prompt as model M is asked.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from srs.prompts import answer, extract_code, render, uses_chat
from srs.types import PreferencePair, Task, UserError, to_json

SUFFIXES = (".jsonl", ".json", ".csv")
BAD_ROWS_SHOWN = 20
WITHOUT_TESTS = "no tests in this set: answers are judged by analyzers alone (EFR); whether they work isn't known"


def is_prompt_set(path: Path) -> bool:
    """Whether the file's first row asks with ``prompt`` beside a ``code-reference``, without tests.

    Raises UserError when the file can't be read.
    """
    if path.suffix.lower() not in SUFFIXES:
        return False
    first = next((row for _, row in _rows(path)), None)
    has_tests = isinstance(first, Mapping) and ({"test", "test_code", "test_list"} & set(first))
    return isinstance(first, Mapping) and "code-reference" in first and not has_tests


def read_prompt_set(path: Path) -> list[Task]:
    """Rows of ``prompt, code-reference`` as tasks whose ``test`` is empty: say `WITHOUT_TESTS` with them.

    A row's ``id`` (or ``task_id``, ``question_id``) is its task's; else the file's name and the row's
    number. An empty reference is None. Raises UserError naming every unusable row.
    """

    def task(row: Mapping[str, Any], number: int) -> Task:
        names = [row[key] for key in ("id", "task_id", "question_id") if row.get(key) not in (None, "")]  # fmt: skip
        name = str(names[0]) if names else f"{path.stem}_{number}"
        reference = _text(row, "code-reference", may_be_empty=True)
        return Task(
            id=name,
            group=name,
            kind="pytest",
            style="instruct",
            subset=path.stem,
            question=_text(row, "prompt"),
            declaration=None,
            entry_point=None,
            test="",
            reference=reference if reference.strip() else None,
        )

    tasks = _collect(path, task)
    seen: set[str] = set()
    for one in tasks:
        if one.id in seen:
            raise UserError(f"{path}: two rows have the id {one.id}")
        seen.add(one.id)
    return tasks


def read_preferences(
    path: Path, *, prompt_of: Callable[[str], str], chat: bool
) -> list[PreferencePair]:
    """Rows of ``input, accepted, rejected`` as pairs; ``prompt_of`` renders an input as the model's prompt.

    Where both sides hold a program, the programs alone are compared, rendered as every pair of this
    project (`srs.prompts.answer`); else both texts stand as given. What made the rejected side worse
    isn't known: its outcome says ``failed`` and its policy ``external``. Raises UserError naming every
    unusable row.
    """

    def pair(row: Mapping[str, Any], number: int) -> PreferencePair:
        asked, accepted, rejected = (_text(row, key) for key in ("input", "accepted", "rejected"))
        programs = extract_code(accepted), extract_code(rejected)
        chosen, other = accepted, rejected
        if programs[0] is not None and programs[1] is not None:
            chosen, other = (answer(code or "", chat=chat) for code in programs)
        elif not chat:  # a plain answer stands in the code block that the prompt opens
            chosen, other = answer(accepted, chat=False), answer(rejected, chat=False)
        if chosen == other:
            raise ValueError("accepted and rejected are the same")
        return PreferencePair(
            task=f"{path.stem}_{number}",
            prompt=prompt_of(asked),
            chosen=chosen,
            rejected=other,
            chosen_round=0,
            rejected_round=0,
            chosen_policy="external",
            rejected_policy="external",
            rejected_outcome="failed",
            rejected_tests_passed=0.0,
        )

    return _collect(path, pair)


def _collect(path: Path, make: Callable[[Mapping[str, Any], int], Any]) -> list[Any]:
    made, bad = [], []
    for number, (place, row) in enumerate(_rows(path), 1):
        try:
            if isinstance(row, ValueError):
                raise row
            if not isinstance(row, Mapping):
                raise ValueError(f"expected an object, got {type(row).__name__}")
            made.append(make(row, number))
        except ValueError as e:
            bad.append(f"{path}{place}: {e}")
    if bad:
        more = [f"and {len(bad) - BAD_ROWS_SHOWN} more"] if len(bad) > BAD_ROWS_SHOWN else []
        raise UserError("unusable rows:\n  " + "\n  ".join(bad[:BAD_ROWS_SHOWN] + more))
    if not made:
        raise UserError(f"{path}: holds no rows")
    return made


def _rows(path: Path) -> Iterator[tuple[str, object]]:
    """(place, row): ``:12`` is line 12 of the file, ``: row 12`` the 12th of a list. A ValueError in a
    row's place says why it can't be read. Raises UserError when the file as a whole is unusable."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not UTF-8 text (byte {e.start})") from e
    if suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield f":{number}", _loads(line)
    elif suffix == ".json":
        rows = _loads(text)
        if not isinstance(rows, list):
            reason = rows if isinstance(rows, ValueError) else "expected a list of rows"
            raise UserError(f"{path}: {reason}")
        for number, row in enumerate(rows, 1):
            yield f": row {number}", row
    else:
        yield from _csv(path, text)


def _csv(path: Path, text: str) -> Iterator[tuple[str, object]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    begins = 2
    while True:
        try:
            row = next(reader, None)
        except csv.Error as e:
            raise UserError(f"{path}:{reader.line_num}: not CSV: {e}") from e
        if row is None:
            return
        fits = None not in row and None not in row.values()
        yield f":{begins}", row if fits else ValueError("has another number of columns than line 1")
        begins = reader.line_num + 1


def _loads(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as e:
        return ValueError(f"not valid JSON: {e}")
    return value


def _text(row: Mapping[str, Any], key: str, *, may_be_empty: bool = False) -> str:
    value = row.get(key)
    if value is None and may_be_empty:
        return ""
    if value is None:
        raise ValueError(f"{key} is missing")
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, got {type(value).__name__}")
    if not value.strip() and not may_be_empty:
        raise ValueError(f"{key} is empty")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 when the pairs are written, 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m evaluator.imports", description=__doc__)
    parser.add_argument("file", type=Path, help="rows of input, accepted, rejected: .jsonl, .json or .csv")  # fmt: skip
    parser.add_argument("--model", required=True, help="whose prompts: a folder, a hub id, or tiny")
    parser.add_argument("--out", type=Path, required=True, help="pairs, one JSON object per line")
    args = parser.parse_args(argv)
    try:
        pairs = _convert(args.file, args.model)
        _write(args.out, pairs)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    print(f"{len(pairs)} pairs: {args.out}")
    return 0


def _convert(path: Path, model: str) -> list[PreferencePair]:
    from srs.config import ModelConfig
    from srs.models import load_tokenizer, locate

    # Before the tokenizer: a mistake in the file is told at once.
    read_preferences(path, prompt_of=lambda text: text, chat=True)
    config = ModelConfig(path=model)
    tokenizer = load_tokenizer(locate(config), config)
    chat = uses_chat(tokenizer, config.template)
    bare = Task(
        id="", group="", kind="pytest", style="instruct", subset="", question="", declaration=None,
        entry_point=None, test="", reference=None,
    )  # fmt: skip

    def prompt_of(text: str) -> str:
        return render(dataclasses.replace(bare, question=text), tokenizer, chat=chat)

    return read_preferences(path, prompt_of=prompt_of, chat=chat)


def _write(path: Path, pairs: Sequence[PreferencePair]) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text("".join(json.dumps(to_json(pair)) + "\n" for pair in pairs))
        temporary.replace(path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {e.strerror}") from e


if __name__ == "__main__":
    sys.exit(main())
