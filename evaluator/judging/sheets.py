"""Sheets on which people judge answers: what to show, and CSV out and in. `sheet_page` has the HTML.

A sheet doesn't say which model answered. Each item carries a check, a digest of what was shown, so that
verdicts are never counted for an answer that has changed since.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluator.comments.records import CommentTask
from evaluator.comments.records import reference as comment_reference
from evaluator.issues.records import IssueTask, joined
from evaluator.judging import files
from evaluator.judging.rubric import RUBRICS, Judgement, Kind
from srs.types import UserError

FORMAT = "srs-verdicts-1"
MAX_CELL = 32_000
"""Characters; Excel's cells hold 32,767."""
FORMULA = re.compile(r"[=+\-@\t\r]")
VALUE = re.compile(
    r"[^A-Za-z_]|(true|false)$|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[\W_]*\d",
    re.I,
)
"""Ids that a spreadsheet may take for a number, a date or a truth value, and save as it shows them."""
CHECK = "c"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One answer to be judged, with what a rater needs to see: (heading, text) in order."""

    id: str
    shown: tuple[tuple[str, str], ...]

    @property
    def check(self) -> str:
        """Begins with a letter: twelve hexadecimal digits may be a number, which a spreadsheet rounds."""
        return CHECK + files.digest(self.id, self.shown)


def comment_item(task: CommentTask, answer: str) -> Item:
    """A commented program to judge."""
    reference = comment_reference(task) or "(none)"
    shown = (("Code", task.code), ("Reference comments", reference), ("Answer", answer))
    return Item(id=task.id, shown=shown)


def issue_item(task: IssueTask, answer: str) -> Item:
    """An answer to an issue to judge."""
    issue = f"{task.title}\n\n{task.body}"
    shown = (("Issue", issue), ("Answers by people", joined(task.answers)), ("Answer", answer))
    return Item(id=task.id, shown=shown)


def to_csv(items: Sequence[Item], kind: Kind) -> str:
    """A sheet for a spreadsheet: one row per item, the rater's columns empty at the right.

    Text that a spreadsheet would take for a formula, and an id that it would take for a number, get an
    apostrophe before them; text too long for a cell is cut, which is said at its end.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    headings = [heading for heading, _ in items[0].shown]
    fields = [f"{f.name} ({_choice(f.values)})" for f in RUBRICS[kind]]
    writer.writerow(["id", "check", *headings, *fields, "note"])
    for item in items:
        texts = [_cell(text) for _, text in item.shown]
        id = f"'{item.id}" if VALUE.match(item.id) else _cell(item.id)
        writer.writerow([id, item.check, *texts, *[""] * len(fields), ""])
    return "\ufeff" + out.getvalue()  # Excel takes UTF-8 for what it is only with this mark


def read(path: Path, items: Sequence[Item], kind: Kind, rater: str) -> tuple[list[Judgement], list[str]]:  # fmt: skip
    """The judgements of a filled-in sheet (``.csv``, or the ``.json`` that the HTML sheet saves), in the
    order of ``items``, and the ids without one.

    An item left wholly blank has none. ``rater``: who judged; empty takes the name in the JSON.
    Raises UserError naming every unknown or repeated id, changed answer and unusable value: then
    nothing of the sheet counts.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not UTF-8 text; save the sheet as CSV UTF-8") from e
    except OSError as e:
        raise UserError(f"{path}: cannot read the sheet: {e.strerror}") from e
    if path.suffix.lower() == ".json":
        named, filled = _from_json(path, text, kind)
        rater = rater or named
    else:
        filled = _from_csv(path, text, kind)
    if not rater:
        raise UserError(f"{path}: say who judged with --rater NAME")
    by_id = {item.id: item for item in items}
    bad: list[str] = []
    found: dict[str, Judgement] = {}
    for where, id, check, values, note in filled:
        item = by_id.get(id)
        try:
            if item is None:
                raise ValueError(f"unknown id {id!r}")
            if id in found:
                raise ValueError(f"id {id!r} is there already")
            older = item.check.removeprefix(CHECK)  # sheets had no letter once
            if check not in (item.check, older):
                raise ValueError(
                    f"{id}: the task or its answer has changed since the sheet was made"
                )
            if any(values.values()):
                numbers = {f.name: f.number(values.get(f.name, "")) for f in RUBRICS[kind]}
                found[id] = Judgement(id=id, rater=rater, values=numbers, note=note)
        except ValueError as e:
            bad.append(f"{path}{where}: {e}")
    if bad:
        raise UserError("unusable verdicts:\n  " + files.listed(bad, sep="\n  "))
    return [found[i] for i in by_id if i in found], [i for i in by_id if i not in found]


Filled = tuple[str, str, str, Mapping[str, str], str]
"""Place, id, check, value by field as it was written, note."""


def _from_csv(path: Path, text: str, kind: Kind) -> list[Filled]:
    csv.field_size_limit(10_000_000)
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)  # spreadsheets of some countries write semicolons
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as e:
        raise UserError(f"{path}: not a CSV file: {e}") from e
    header = [cell.partition(" (")[0].strip().lower() for cell in lines[0]] if lines else []
    names = ["id", "check", *(f.name for f in RUBRICS[kind]), "note"]
    if missing := [name for name in names if name not in header]:
        raise UserError(
            f"{path}: the sheet has no column {', '.join(missing)}: is it one of {kind}?"
        )
    filled: list[Filled] = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cells):
            continue
        row = dict(zip(header, cells, strict=False))
        values = {f.name: row.get(f.name, "").strip() for f in RUBRICS[kind]}
        id, check = (row.get(name, "").removeprefix("'") for name in ("id", "check"))
        filled.append((f": row {number}", id, check, values, row.get("note", "").strip()))
    return filled


def _from_json(path: Path, text: str, kind: Kind) -> tuple[str, list[Filled]]:
    try:
        sheet: Any = json.loads(text)
        if sheet["format"] != FORMAT or sheet["kind"] != kind:
            raise UserError(f"{path}: a sheet of {sheet['kind']} ({sheet['format']}), not of {kind} ({FORMAT})")  # fmt: skip
        filled: list[Filled] = [
            (f": verdict {n}", str(v["id"]), str(v["check"]), _texts(v["values"]), str(v["note"]))
            for n, v in enumerate(sheet["verdicts"], 1)
        ]
        return str(sheet["rater"]).strip(), filled
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise UserError(f"{path}: not what an HTML sheet saves ({type(e).__name__}: {e})") from e


def _texts(values: Any) -> dict[str, str]:
    return {str(name): str(value or "") for name, value in values.items()}


def _choice(values: Sequence[str]) -> str:
    return " or ".join(values) if len(values) == 2 else f"{values[0]} to {values[-1]}"


def _cell(text: str) -> str:
    if len(text) > MAX_CELL:
        text = f"{text[:MAX_CELL]}\n[{len(text) - MAX_CELL:,} more characters: see the HTML sheet]"
    text = text.replace("\x00", "\\x00")
    return f"'{text}" if FORMULA.match(text) else text
