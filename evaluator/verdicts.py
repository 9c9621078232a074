"""Verdicts of people: writes sheets to fill in, and reads them back.

    python -m evaluator.verdicts export --kind issues --data F --answers A --out sheet.html   # or .csv
    python -m evaluator.verdicts import --kind issues --data F --answers A --rater ann \\
                                        --sheet verdicts.json --out ann.jsonl
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluator.comments import records as comments
from evaluator.issues import records as issues
from evaluator.judging import answers, files, sheets
from evaluator.judging.rubric import to_row
from srs.types import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 done, 2 unusable input."""
    args = _parser().parse_args(argv)
    try:
        items = _items(args)
        if args.command == "export":
            return _export(items, args)
        return _import(items, args)
    except UserError as e:
        print(f"evaluator.verdicts: {e}", file=sys.stderr)
        return 2


def _items(args: argparse.Namespace) -> list[sheets.Item]:
    """What there is to judge: the tasks that have an answer."""
    if args.kind == "comments":
        comment_tasks = comments.read(args.data)
        said = answers.read(args.answers, [task.id for task in comment_tasks])
        return [sheets.comment_item(t, said[t.id]) for t in comment_tasks if t.id in said]
    issue_tasks = issues.read(args.data)
    said = answers.read(args.answers, [task.id for task in issue_tasks])
    return [sheets.issue_item(t, said[t.id]) for t in issue_tasks if t.id in said]


def _export(items: Sequence[sheets.Item], args: argparse.Namespace) -> int:
    from evaluator.judging import sheet_page

    if args.limit < 0:
        raise UserError("--limit must be 0 or more")
    shown = items[: args.limit] if args.limit else items
    match args.out.suffix.lower():
        case ".csv":
            files.write_text(args.out, sheets.to_csv(shown, args.kind))
        case ".html" | ".htm":
            files.write_text(args.out, sheet_page.render(shown, args.kind))
        case _:
            raise UserError(f"{args.out}: name a .csv or an .html file")
    print(f"{args.out}: {len(shown)} answers to judge")
    return 0


def _import(items: Sequence[sheets.Item], args: argparse.Namespace) -> int:
    found, missing = sheets.read(args.sheet, items, args.kind, args.rater)
    if not found:
        raise UserError(f"{args.sheet}: nothing is filled in")
    files.write(args.out, (to_row(judgement) for judgement in found))
    print(
        f"{args.out}: {len(found)} verdicts by {found[0].rater}, {len(missing)} answers without one"
    )
    if missing:
        print(f"without a verdict: {files.listed(missing)}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluator.verdicts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--kind", choices=("comments", "issues"), required=True)
    both.add_argument("--data", type=Path, required=True, help="the tasks, in any of their forms")
    both.add_argument("--answers", type=Path, required=True, help="id and answer, one JSON object per line")  # fmt: skip
    export = commands.add_parser("export", parents=[both], help="write a sheet to fill in")
    export.add_argument("--out", type=Path, required=True, help="a .csv or an .html file")
    export.add_argument("--limit", type=int, default=0, metavar="N", help="the first N answers only")  # fmt: skip
    read = commands.add_parser("import", parents=[both], help="read a filled-in sheet")
    read.add_argument("--sheet", type=Path, required=True, help="the .csv, or the .json that the HTML sheet saved")  # fmt: skip
    read.add_argument("--rater", default="", metavar="NAME", help="who judged; the JSON says it itself")  # fmt: skip
    read.add_argument("--out", type=Path, required=True, help="verdicts, one JSON object per line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
