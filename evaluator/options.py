"""What the command line of ``python -m evaluator.run`` asks for, read and checked."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluator.benchmarks import Benchmark
from evaluator.generations import read_answers
from evaluator.results import Settings, read_json
from srs.types import UserError

DEFAULT_KS = (1, 5, 10)
Answers = Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA adapter in PEFT's format: its folder, its rank, and a hash of its weights."""

    path: Path
    rank: int
    sha256: str


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m evaluator.run",
        description="Benchmarks through the hard grader. The same command again continues a run.",
    )
    p.add_argument("--model", metavar="M", help="a folder, a hub id, or tiny")
    p.add_argument("--adapter", type=Path, metavar="DIR", help="a LoRA adapter (PEFT) on the model")
    p.add_argument(
        "--benchmark",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="HumanEval, MBPP, EvalPlus or KodCode rows; may be repeated",
    )
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="the result folder")
    p.add_argument("--n", type=int, default=10, help="samples per task, beside one greedy answer; 0 = greedy only (default: 10)")  # fmt: skip
    p.add_argument("--temperature", type=float, default=0.8, help="of the samples (default: 0.8)")
    p.add_argument("--k", metavar="1,5,10", help="pass@k for these k (default: those of 1,5,10 up to n)")  # fmt: skip
    p.add_argument("--limit", type=int, default=0, metavar="N", help="the first N tasks of each benchmark; 0 = all")  # fmt: skip
    p.add_argument("--challenge-tests", action="store_true", help="grade MBPP's challenge_test_list too; not the standard score")  # fmt: skip
    p.add_argument("--engine", choices=("auto", "vllm", "transformers"))
    p.add_argument("--sandbox", choices=("auto", "docker", "process"))
    p.add_argument("--timeout-s", type=float, metavar="S", help="of one program on all tests of its task")  # fmt: skip
    p.add_argument("--config", type=Path, metavar="F.toml", help="for what has no flag: top_p, max_tokens, template, seed, …")  # fmt: skip
    p.add_argument("--set", action="append", default=[], metavar="section.key=value", help="override one config key; may be repeated")  # fmt: skip
    only = p.add_mutually_exclusive_group()
    only.add_argument("--generate-only", action="store_true", help="write answers, grade nothing")
    only.add_argument("--grade-only", action="append", default=[], metavar="[NAME=]FILE", help="grade the answers in a generations.json or samples.jsonl; may be repeated")  # fmt: skip
    return p


def check(args: argparse.Namespace) -> None:
    """Raises UserError for numbers and combinations that can't be."""
    if args.model is None and not args.grade_only:
        raise UserError("--model is missing: a folder, a hub id, or tiny")
    for flag, value in (("--n", args.n), ("--limit", args.limit)):
        if value < 0:
            raise UserError(f"{flag} {value}: must be 0 or more")
    if not 0 < args.temperature <= 10:
        raise UserError(f"--temperature {args.temperature}: must be above 0; the greedy answer is there anyway")  # fmt: skip


def ks_of(text: str | None, n: int) -> list[int]:
    """The k of pass@k. Raises UserError for one that ``n`` samples can't estimate."""
    if text is None:
        return [k for k in DEFAULT_KS if k <= n]
    try:
        ks = sorted({int(part) for part in text.split(",")})
    except ValueError as e:
        raise UserError(f"--k {text}: write numbers, such as 1,5,10") from e
    for k in ks:
        if not 1 <= k <= max(n, 1):
            raise UserError(f"--k {k}: needs --n {k} or more; there are {n} samples per task")
    return ks


def read_adapter(path: Path) -> Adapter:
    """Raises UserError when the folder holds no LoRA adapter in PEFT's format."""
    config = path / "adapter_config.json"
    if not config.is_file():
        raise UserError(f"--adapter {path}: holds no adapter_config.json: not an adapter in PEFT's format")  # fmt: skip
    rank = read_json(config).get("r")
    weights = sorted(path.glob("adapter_model.*"))
    if not isinstance(rank, int) or not weights:
        raise UserError(f"--adapter {path}: not a LoRA adapter: needs r in adapter_config.json, and weights")  # fmt: skip
    with weights[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Adapter(path=path.resolve(), rank=rank, sha256=digest)


def given_answers(
    asked: Sequence[str], benchmarks: Mapping[str, Benchmark]
) -> tuple[dict[str, Answers], dict[str, str]]:
    """By benchmark: the answers of ``--grade-only``, and a hash of the file that they came from.

    Raises UserError when a benchmark has no file, two, or one that doesn't fit it.
    """
    files: dict[str, Path] = {}
    for text in asked:
        name, equals, file = text.partition("=")
        if not (equals and name in benchmarks):
            if len(benchmarks) > 1:
                raise UserError(f"--grade-only {text}: with several benchmarks write it as NAME=FILE")  # fmt: skip
            name, file = next(iter(benchmarks)), text
        if name in files:
            raise UserError(f"--grade-only {text}: {name} has a file already")
        files[name] = Path(file)
    missing = [name for name in benchmarks if files and name not in files]
    if missing:
        raise UserError(f"--grade-only: no file for {', '.join(missing)}")
    answers = {name: read_answers(file, benchmarks[name]) for name, file in files.items()}
    hashes = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    return dict(answers), hashes


def settings_of(
    args: argparse.Namespace,
    adapter: Adapter | None,
    benchmarks: Mapping[str, Benchmark],
    limits: Mapping[str, Any],
    sampling: Mapping[str, Any],
    answers: Mapping[str, Any],
) -> Settings:
    """What decides the results, for ``settings.json``: equal settings may be continued and compared.

    ``sampling``: how answers are generated; empty when ``answers`` says which files they are from.
    """
    settings = {
        "model": args.model,
        "adapter": adapter and {"path": str(adapter.path), "sha256": adapter.sha256},
        "benchmarks": {
            b.name: {"sha256": b.sha256, "schema": b.schema, "tasks": len(b.tasks)}
            for b in benchmarks.values()
        },
        "challenge_tests": args.challenge_tests,
        "limits": dict(limits),
        "sampling": dict(sampling),
        "answers": dict(answers),
    }
    result: Settings = json.loads(json.dumps(settings))
    return result
