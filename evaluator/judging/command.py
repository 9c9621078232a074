"""The command line that the comment and the issue benchmark share: convert, questions, answer, score."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from evaluator.judging import answers, files, rubric
from evaluator.judging.asking import Asker, AskError, Question, ask_all
from evaluator.judging.asking_options import add_options, opened
from evaluator.judging.report import lines
from evaluator.judging.rubric import RUBRICS, Judgement, Kind
from evaluator.judging.summary import majority, summarize
from srs.types import UserError

Offline = Callable[[Sequence[Any], Mapping[str, str]], tuple[dict[str, Any], list[dict[str, Any]]]]
LEVELS = ("level_1_dim", "level_2_dim", "level_3_dim", "level_4_dim")
EXIT_UNUSABLE, EXIT_NO_JUDGE, EXIT_INTERRUPTED = 2, 3, 130


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What differs between the two. ``offline``: summary and row per answer, without any judge."""

    kind: Kind
    forms: Sequence[str]
    read: Callable[..., list[Any]]
    to_row: Callable[[Any, Any], dict[str, Any]]
    question: Callable[[Any], Question]
    judged: Callable[[Any, str], Question]
    offline: Offline | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Modules of the training loop, which only programs may import: they pass them in."""

    config: ModuleType
    generate: ModuleType
    progress: ModuleType
    child: ModuleType


def main(benchmark: Benchmark, loop: Callable[[], Loop], argv: Sequence[str] | None = None) -> int:
    """Exit 0 done, 2 unusable input, 3 the model that is asked fails, 130 interrupted.

    What was asked before a 3 or 130 is kept: the same command goes on.
    """
    args = _parser(benchmark).parse_args(argv)
    name = f"evaluator.{benchmark.kind}"
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        match args.command:
            case "convert":
                _convert(benchmark, args)
            case "questions":
                _questions(benchmark, args)
            case "answer":
                _answer(benchmark, args, loop)
            case _:
                _score(benchmark, args, loop)
    except UserError as e:
        print(f"{name}: {e}", file=sys.stderr)
        return EXIT_UNUSABLE
    except AskError as e:
        print(f"{name}: {e}; the replies that came are kept, the same command goes on", file=sys.stderr)  # fmt: skip
        return EXIT_NO_JUDGE
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _convert(benchmark: Benchmark, args: argparse.Namespace) -> None:
    tasks = benchmark.read(args.source, skip_bad=args.skip_bad)
    try:
        rows = [benchmark.to_row(task, args.to) for task in tasks]
    except ValueError as e:
        raise UserError(f"{args.source}: cannot be written as {args.to}: {e}") from e
    files.write(args.out, rows)
    print(f"{args.out}: {len(rows)} rows as {args.to}")
    metadata = args.out.with_name("metadata.json")
    if args.to == "ianvs" and args.out.name == "data.jsonl" and not metadata.exists():
        # Ianvs is pointed at this file, and reads the data.jsonl beside it.
        held = {"dataset": benchmark.kind, "description": f"{len(rows)} tasks: {benchmark.kind}"}
        held |= {key: rows[0][key] for key in LEVELS}
        files.write_text(metadata, json.dumps(held, indent=1) + "\n")
        print(f"{metadata}: what Ianvs' train_data_info or test_data_info names")


def _questions(benchmark: Benchmark, args: argparse.Namespace) -> None:
    asked = [benchmark.question(t) for t in benchmark.read(args.data, skip_bad=args.skip_bad)]
    files.write(args.out, ({"id": q.id, "prompt": q.user} for q in asked))
    print(f"{args.out}: {len(asked)} questions")


def _answer(benchmark: Benchmark, args: argparse.Namespace, loop: Callable[[], Loop]) -> None:
    tasks = _limited(benchmark.read(args.data, skip_bad=args.skip_bad), args.limit)
    log_path = args.out.with_suffix(".log.jsonl")
    with opened(args, "", loop, args.out.with_suffix(".generate.log")) as asker:
        if asker is None:
            raise UserError("say who answers: --endpoint URL --model NAME, or --local PATH")
        replies = _asked([benchmark.question(t) for t in tasks], asker, log_path, loop, "answer")
        name = asker.name
    files.write(args.out, ({"id": t.id, "answer": replies[t.id], "model": name} for t in tasks))
    empty = sum(not replies[t.id].strip() for t in tasks)
    print(
        f"{args.out}: {len(replies)} answers by {name}"
        + (f", {empty} of them empty" if empty else "")
    )


def _score(benchmark: Benchmark, args: argparse.Namespace, loop: Callable[[], Loop]) -> None:
    tasks = benchmark.read(args.data, skip_bad=args.skip_bad)
    ids = [task.id for task in tasks]
    said = answers.read(args.answers, ids)
    tasks = [task for task in tasks if task.id in said]
    missing = [id for id in ids if id not in said]
    if missing and not args.answered_only:
        raise UserError(f"{args.answers}: {len(missing)} of {len(ids)} tasks have no answer ({files.listed(missing)}); --answered-only scores the others")  # fmt: skip
    people = _people(args.verdicts, benchmark.kind, [task.id for task in tasks])
    raters: dict[str, dict[str, Judgement]] = {}
    with opened(args, "judge-", loop, args.out / "judge.generate.log") as asker:
        if asker is None and not people and benchmark.offline is None:
            raise UserError("issues can't be scored without a judge: --judge-endpoint URL --judge-model NAME, --judge-local PATH, or --verdicts FILE of people")  # fmt: skip
        if asker is not None:
            questions = [benchmark.judged(task, said[task.id]) for task in tasks]
            replies = _asked(questions, asker, args.out / "judge.jsonl", loop, "judge")
            raters[f"judge: {asker.name}"] = {
                id: _judged(id, reply, asker.name, benchmark.kind) for id, reply in replies.items()
            }
    raters |= people
    sources = {
        "files": {str(path): _sha256(path) for path in (args.data, args.answers, *args.verdicts)},
        "tasks": len(tasks),
        "without_answer": len(missing),
    }
    _conclude(benchmark, tasks, said, raters, list(people), sources, args.out)


def _conclude(
    benchmark: Benchmark,
    tasks: Sequence[Any],
    said: Mapping[str, str],
    raters: Mapping[str, Mapping[str, Judgement]],
    people: Sequence[str],
    sources: Mapping[str, Any],
    out: Path,
) -> None:
    """Write results.json and items.jsonl, and print the numbers."""
    ids = [task.id for task in tasks]
    results: dict[str, Any] = {"kind": benchmark.kind, **sources}
    items: dict[str, dict[str, Any]] = {id: {"id": id} for id in ids}
    if benchmark.offline is not None:
        results["offline"], scored = benchmark.offline(tasks, said)
        for row in scored:
            items[row["id"]]["offline"] = row
    if raters:
        results["judged"] = summarize(ids, raters, benchmark.kind)
        for name, found in raters.items():
            for id, judgement in found.items():
                items[id].setdefault("verdicts", {})[name] = {"values": judgement.values, "note": judgement.note}  # fmt: skip
    fields = RUBRICS[benchmark.kind]
    if len(people) > 1 and fields[0].is_binary:
        voted, ties = majority(ids, {name: raters[name] for name in people}, fields[0])
        results["majority"] = {
            **summarize(ids, {"majority": voted}, benchmark.kind)["raters"]["majority"],
            "ties": ties,
        }
    files.write(out / "items.jsonl", items.values())
    files.write_text(out / "results.json", json.dumps(results, indent=1) + "\n")
    print("\n".join(lines(results)))
    print(f"written: {out / 'results.json'}, {out / 'items.jsonl'}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _judged(id: str, reply: str, rater: str, kind: Kind) -> Judgement:
    values, note = rubric.parse(reply, kind)
    return Judgement(id=id, rater=rater, values=values, note=note)


def _people(
    paths: Sequence[Path], kind: Kind, ids: Sequence[str]
) -> dict[str, dict[str, Judgement]]:
    """Rater → id → judgement. Raises UserError for unknown and repeated ids."""
    known = set(ids)
    raters: dict[str, dict[str, Judgement]] = {}

    def take(row: dict[str, Any]) -> Judgement:
        judgement = rubric.from_row(row, kind)
        if judgement.id not in known:
            raise ValueError(f"id {judgement.id!r} is not among the tasks with an answer")
        found = raters.setdefault(judgement.rater, {})
        if judgement.id in found:
            raise ValueError(f"{judgement.rater} judged {judgement.id!r} already")
        found[judgement.id] = judgement
        return judgement

    for path in paths:
        try:
            files.read(path, take, "verdicts")
        except UserError as e:
            raise UserError(str(e).replace("; --skip-bad leaves them out", "")) from e
    for name, found in raters.items():
        if without := [id for id in ids if id not in found]:
            print(f"{name}: no verdict on {len(without)} answers: {files.listed(without)}", file=sys.stderr)  # fmt: skip
    return raters


def _asked(
    questions: Sequence[Question], asker: Asker, log_path: Path, loop: Callable[[], Loop], name: str
) -> dict[str, str]:
    from rich.console import Console

    with _child_errors(loop), loop().progress.Progress(0, Console(stderr=True)) as progress:  # noqa: SIM117
        with progress.phase(name, len(questions), unit="replies") as advance:
            return ask_all(questions, asker, log_path, advance)


@contextlib.contextmanager
def _child_errors(loop: Callable[[], Loop]) -> Iterator[None]:
    """A model process that died is a model that can't be asked."""
    try:
        yield
    except loop().child.ChildError as e:
        raise AskError(str(e)) from e


def _limited(tasks: list[Any], limit: int) -> list[Any]:
    if limit < 0:
        raise UserError("--limit must be 0 or more")
    return tasks[:limit] if limit else tasks


def _parser(benchmark: Benchmark) -> argparse.ArgumentParser:
    kind = benchmark.kind
    parser = argparse.ArgumentParser(
        prog=f"python -m evaluator.{kind}", description=f"The benchmark of {kind}: see docs/comments_and_issues.md."
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("--data", type=Path, required=True, help="the tasks, in any of their forms")
    skip = argparse.ArgumentParser(add_help=False)
    skip.add_argument("--skip-bad", action="store_true", help="leave bad lines out, and say so, instead of stopping")  # fmt: skip

    convert = commands.add_parser("convert", parents=[skip], help="write tasks in another form")
    convert.add_argument("source", type=Path)
    convert.add_argument("out", type=Path)
    convert.add_argument("--to", choices=benchmark.forms, required=True)

    questions = commands.add_parser("questions", parents=[data, skip], help="write id and prompt of each task, to be answered elsewhere")  # fmt: skip
    questions.add_argument("--out", type=Path, required=True)

    answer = commands.add_parser("answer", parents=[data, skip], help="let a model answer; goes on where it stopped")  # fmt: skip
    answer.add_argument("--out", type=Path, required=True, help="answers, one JSON object per line")
    answer.add_argument("--limit", type=int, default=0, metavar="N", help="the first N tasks only")
    add_options(answer, "")

    score = commands.add_parser("score", parents=[data, skip], help="score answers; goes on where it stopped")  # fmt: skip
    score.add_argument("--answers", type=Path, required=True, help="id and answer, one JSON object per line")  # fmt: skip
    score.add_argument("--answered-only", action="store_true", help="score what has an answer")
    score.add_argument("--verdicts", type=Path, nargs="+", default=[], metavar="FILE", help="of people: see evaluator.verdicts")  # fmt: skip
    score.add_argument("--out", type=Path, required=True, metavar="DIR")
    add_options(score, "judge-")
    return parser
