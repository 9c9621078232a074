"""What the task page shows: each task's rounds and candidates, newest first, within a size bound."""

from __future__ import annotations

import dataclasses
import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from srs.runview import records, round_dirs
from srs.types import Candidate, Outcome, Task, UserError, Verdict

BUDGET_BYTES = 8_500_000
"""For all tasks together; plots, tables and the page around them take well under 1.5 MB more."""
MAX_TASKS = 3_000
MAX_ANSWERS = 20
"""Different answers shown for one task."""
MAX_HISTORY = 24
MAX_TEXT = 12_000
"""Characters of any one text: code, question, tests."""
MAX_DETAIL = 3_000
TASK_BYTES, ROUND_BYTES, ANSWER_BYTES = 1_400, 300, 700
"""The markup around one task, round or answer, rounded up."""

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text made safe to look at, and how many of its characters were cut off."""

    shown: str
    cut: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Candidates of one round that are the same: same program, same outcome, same reason."""

    outcome: Outcome
    count: int
    text: Text
    is_code: bool
    detail: Text
    n_passed: int
    n_collected: int
    wall_s: float
    truncated: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskRound:
    """One task in one round; ``answers`` come best first, ``left_out`` counts candidates not shown."""

    round: int
    policy: str
    n_passed: int
    n_graded: int
    answers: tuple[Answer, ...]
    left_out: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """``n_passed`` of ``n_graded`` candidates passed in ``round``."""

    round: int
    n_passed: int
    n_graded: int

    @property
    def step(self) -> int:
        """0 (none passed) … 4 (all passed): the shade of a history cell."""
        if self.n_passed == self.n_graded:
            return 4
        return 0 if not self.n_passed else 1 + min(2, 3 * self.n_passed // self.n_graded)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """One task's row and what it opens to. ``history`` is oldest first, the latest rounds only."""

    id: str
    label: Text
    facts: str
    question: Text | None
    prompt: Text | None
    reference: Text | None
    test: Text | None
    history: tuple[Score, ...]
    n_rounds: int
    rounds: tuple[TaskRound, ...]
    older_rounds: int

    @property
    def state(self) -> str:
        """``all``, ``some`` or ``none`` of the latest round's candidates passed."""
        return {0: "none", 4: "all"}.get(self.history[-1].step, "some")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """``n_tasks`` were tried; ``tasks`` are listed; ``n_closed`` of those have no candidates shown."""

    tasks: tuple[TaskView, ...]
    n_tasks: int
    n_closed: int
    outcomes: Mapping[int, Mapping[Outcome, int]]


def load(run_dir: Path, tasks: Mapping[str, Task], budget: int = BUDGET_BYTES) -> TaskPage:
    """Read a run's graded candidates, newest rounds first, until ``budget`` bytes of page are full.

    Raises UserError when a file in the run directory is damaged.
    """
    graded = [
        (number, folder)
        for number, folder in round_dirs(run_dir)
        if (folder / "candidates.jsonl").exists() and (folder / "verdicts.jsonl").exists()
    ]
    histories, outcomes = _histories(graded)
    latest_first = sorted(histories, key=lambda task: (-histories[task][-1].round, task))
    listed = latest_first[:MAX_TASKS]
    shelf = _Shelf(budget - TASK_BYTES * len(listed), frozenset(listed), tasks)
    for number, folder in reversed(graded):
        if not shelf.open:
            break
        verdicts = {(v.task, v.index): v for v in records(folder / "verdicts.jsonl", Verdict)}
        try:
            shelf.add(number, records(folder / "candidates.jsonl", Candidate), verdicts)
        except KeyError as e:
            raise UserError(f"{folder / 'verdicts.jsonl'}: damaged: no verdict for {e}") from e
    views = tuple(shelf.view(task, histories[task]) for task in listed)
    return TaskPage(
        tasks=views,
        n_tasks=len(histories),
        n_closed=sum(not view.rounds for view in views),
        outcomes=outcomes,
    )


def visible(text: str, limit: int) -> Text:
    """Cut to ``limit`` characters; control, bidirectional and invisible characters become escapes."""
    shown = CONTROL.sub(_escape, text[:limit].replace("\r\n", "\n"))
    return Text(shown=shown, cut=max(0, len(text) - limit))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _histories(
    graded: Iterable[tuple[int, Path]],
) -> tuple[dict[str, list[Score]], dict[int, Counter[Outcome]]]:
    histories: dict[str, list[Score]] = {}
    outcomes: dict[int, Counter[Outcome]] = {}
    for number, folder in graded:
        outcomes[number] = Counter()
        passed: Counter[str] = Counter()
        total: Counter[str] = Counter()
        for verdict in records(folder / "verdicts.jsonl", Verdict):
            outcomes[number][verdict.outcome] += 1
            passed[verdict.task] += verdict.passed
            total[verdict.task] += 1
        for task, n in total.items():
            score = Score(round=number, n_passed=passed[task], n_graded=n)
            histories.setdefault(task, []).append(score)
    return histories, outcomes


class _Shelf:
    """Collects the answers that fit, and knows when no more do."""

    def __init__(self, budget: int, listed: frozenset[str], tasks: Mapping[str, Task]) -> None:
        self.open = budget > 0
        self._left = budget
        self._listed = listed
        self._tasks = tasks
        self._rounds: dict[str, list[TaskRound]] = {}
        self._texts: dict[str, dict[str, Text | None]] = {}
        self._n_answers: Counter[str] = Counter()

    def add(
        self,
        number: int,
        candidates: Iterable[Candidate],
        verdicts: Mapping[tuple[str, int], Verdict],
    ) -> None:
        by_task: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            if candidate.task in self._listed:
                by_task.setdefault(candidate.task, []).append(candidate)
        for task, group in by_task.items():
            if self._n_answers[task] < MAX_ANSWERS and self.open:
                self._add_round(task, number, group, [verdicts[c.task, c.index] for c in group])

    def _add_round(
        self, task: str, number: int, group: list[Candidate], verdicts: list[Verdict]
    ) -> None:
        if task not in self._texts:
            self._texts[task] = self._task_texts(task, group[0].prompt)
        answers = sorted(_answers(group, verdicts), key=lambda a: (-a.n_passed, -a.count))
        shown = []
        self._spend(ROUND_BYTES)
        for answer in answers[: MAX_ANSWERS - self._n_answers[task]]:
            self._spend(ANSWER_BYTES, answer.text, answer.detail)
            if not self.open:
                break
            shown.append(answer)
        self._n_answers[task] += len(shown)
        self._rounds.setdefault(task, []).append(
            TaskRound(
                round=number,
                policy=group[0].policy,
                n_passed=sum(v.passed for v in verdicts),
                n_graded=len(verdicts),
                answers=tuple(shown),
                left_out=len(group) - sum(answer.count for answer in shown),
            )
        )

    def _task_texts(self, task: str, prompt: str) -> dict[str, Text | None]:
        known = self._tasks.get(task)
        sources = {
            "question": known.question if known else None,
            "prompt": prompt,
            "reference": known.reference if known else None,
            "test": known.test if known else None,
        }
        texts = {k: visible(v, MAX_TEXT) if v is not None else None for k, v in sources.items()}
        self._spend(0, *(text for text in texts.values() if text))
        return texts

    def _spend(self, markup: int, *texts: Text) -> None:
        self._left -= markup + sum(len(html.escape(t.shown).encode()) for t in texts)
        self.open = self._left > 0

    def view(self, task: str, history: list[Score]) -> TaskView:
        known = self._tasks.get(task)
        rounds = self._rounds.get(task, [])
        nothing: dict[str, Text | None] = dict.fromkeys(("question", "prompt", "reference", "test"))
        facts = (known.subset, known.style, known.difficulty) if known else ()
        first_line = known.question.strip().split("\n", 1)[0] if known else ""
        return TaskView(
            id=visible(task, 200).shown,
            label=visible(first_line, 140),
            facts=visible(" · ".join(fact for fact in facts if fact), 200).shown,
            **self._texts.get(task, nothing),
            history=tuple(history[-MAX_HISTORY:]),
            n_rounds=len(history),
            rounds=tuple(rounds),
            older_rounds=len(history) - len(rounds),
        )


def _answers(group: list[Candidate], verdicts: list[Verdict]) -> list[Answer]:
    same: dict[tuple[str, Outcome, str], list[tuple[Candidate, Verdict]]] = {}
    for candidate, verdict in zip(group, verdicts, strict=True):
        text = candidate.completion if candidate.code is None else candidate.code
        same.setdefault((text, verdict.outcome, verdict.detail), []).append((candidate, verdict))
    return [
        Answer(
            outcome=outcome,
            count=len(pairs),
            text=visible(text, MAX_TEXT),
            is_code=pairs[0][0].code is not None,
            detail=visible(detail, MAX_DETAIL),
            n_passed=pairs[0][1].n_passed,
            n_collected=pairs[0][1].n_collected,
            wall_s=max(verdict.wall_s for _, verdict in pairs),
            truncated=pairs[0][0].truncated,
        )
        for (text, outcome, detail), pairs in same.items()
    ]
