"""``python -m evaluator.issues convert|questions|answer|score``."""

from __future__ import annotations

import sys

from evaluator.issues import records
from evaluator.judging import prompts
from evaluator.judging.command import Benchmark, Loop, main


def loop() -> Loop:
    """The parts of the training loop that a local model needs."""
    from srs import child, config, generate, progress

    return Loop(config=config, generate=generate, progress=progress, child=child)


BENCHMARK = Benchmark(
    kind="issues",
    forms=records.FORMS,
    read=records.read,
    to_row=records.to_row,
    question=prompts.issue_question,
    judged=prompts.judge_issue,
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, loop))
