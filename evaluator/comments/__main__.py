"""``python -m evaluator.comments convert|questions|answer|score``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from evaluator.comments import records, scores
from evaluator.judging import prompts
from evaluator.judging.command import Benchmark, Loop, main


def offline(
    tasks: Sequence[records.CommentTask], answers: Mapping[str, str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary and a row for each answer, in the tasks' order."""
    found = [scores.score(task, answers[task.id]) for task in tasks]
    rows = [{**dataclasses.asdict(s), "overall": s.overall} for s in found]
    return scores.summarize(found), rows


def loop() -> Loop:
    """The parts of the training loop that a local model needs."""
    from srs import child, config, generate, progress

    return Loop(config=config, generate=generate, progress=progress, child=child)


BENCHMARK = Benchmark(
    kind="comments",
    forms=records.FORMS,
    read=records.read,
    to_row=records.to_row,
    question=prompts.comment_question,
    judged=prompts.judge_comment,
    offline=offline,
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, loop))
