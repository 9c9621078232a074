import random
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srs.examples import REJECTED, Target, preference_pairs, sft_examples, step_batches
from srs.fingerprint import fingerprint
from srs.prompts import extract_code
from srs.types import Candidate, Outcome, PreferencePair, SftExample, Task, Verdict

Graded = tuple[Candidate, Verdict]


def program(body: str) -> str:
    return f"def f(a):\n    return {body}\n"


def task(name: str, reference: str | None = "def f(a):\n    return 'reference'\n") -> Task:
    return Task(id=name, group=name, kind="pytest", style="instruct", subset="x", question="?", declaration=None, entry_point="f", test="", reference=reference)  # fmt: skip


def graded(
    name: str,
    code: str | None,
    outcome: Outcome,
    *,
    index: int = 0,
    round: int = 1,
    tests: tuple[int, int] = (0, 4),
    truncated: bool = False,
    prompt: str | None = None,
) -> Graded:
    candidate = Candidate(task=name, round=round, index=index, prompt=prompt or f"prompt of {name}", completion="said more than the code", code=code, policy=f"round-{round:04d}", seed=0, n_tokens=9, truncated=truncated)  # fmt: skip
    n_passed, n_collected = (4, 4) if outcome == "passed" else tests
    return candidate, Verdict(task=name, round=round, index=index, outcome=outcome, n_passed=n_passed, n_collected=n_collected, wall_s=0.1)  # fmt: skip


def examples(
    history: list[Graded], *, target: Target = "mix", max_per_task: int = 1, chat: bool = False
) -> list[SftExample]:
    tasks = {candidate.task: task(candidate.task) for candidate, _ in history}
    return sft_examples(tasks, history, target=target, max_per_task=max_per_task, chat=chat)


def pairs(
    history: list[Graded],
    *,
    round: int = 9,
    max_per_task: int = 0,
    max_age_rounds: int = 0,
    max_pairs: int = 0,
    seed: int = 0,
) -> list[PreferencePair]:
    return preference_pairs(history, round=round, max_per_task=max_per_task, max_age_rounds=max_age_rounds, max_pairs=max_pairs, seed=seed, chat=False)  # fmt: skip


SOLVED = graded("solved", program("a"), "passed")
UNSOLVED = graded("unsolved", program("0"), "failed")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("self", {"solved": "self"}),
        ("reference", {"solved": "reference", "unsolved": "reference"}),
        ("mix", {"solved": "self", "unsolved": "reference"}),
    ],
)
def test_targets(target: Target, expected: dict[str, str]) -> None:
    found = examples([SOLVED, UNSOLVED], target=target)
    assert {example.task: example.source for example in found} == expected
    for example in found:
        shown = "a" if example.source == "self" else "'reference'"
        assert example.completion == f"{program(shown)}```\n"
        assert example.prompt == f"prompt of {example.task}"


def test_nothing_passed_and_no_reference_teaches_nothing() -> None:
    assert examples([UNSOLVED], target="self") == []
    assert examples([], target="mix") == []
    without = {"unsolved": task("unsolved", reference=None)}
    assert sft_examples(without, [UNSOLVED], target="mix", max_per_task=1, chat=False) == []


def test_own_programs_are_distinct_and_the_shortest_come_first() -> None:
    history = [
        graded("t", program("a + a + a"), "passed", index=0),
        graded("t", program("a * 3  # thrice"), "passed", index=1),
        graded("t", program("a * 3"), "passed", index=2),
        graded("t", program("3 * a"), "failed", index=3),
    ]
    found = examples(history, target="self", max_per_task=5)
    assert [e.completion for e in found] == [f"{program(b)}```\n" for b in ("a * 3", "a + a + a")]
    assert examples(history, target="self", max_per_task=1) == examples(
        history[::-1], max_per_task=1
    )


def test_an_answer_is_rendered_so_that_its_code_is_found_again() -> None:
    (example,) = examples([SOLVED], chat=True)
    assert extract_code(example.completion) == program("a")


@given(
    passes=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    max_per_task=st.integers(1, 4),
    target=st.sampled_from(get_args(Target)),
)
def test_every_task_weighs_the_same_and_the_mean_is_one(
    passes: list[int], max_per_task: int, target: Target
) -> None:
    history = [UNSOLVED] + [
        graded(f"t{t}", program(f"a + {i}"), "passed", index=i)
        for t, n in enumerate(passes)
        for i in range(n)
    ]
    found = examples(history, target=target, max_per_task=max_per_task)
    weights: Counter[str] = Counter()
    for example in found:
        weights[example.task] += example.weight  # type: ignore[assignment]
    if found:
        assert sum(e.weight for e in found) / len(found) == pytest.approx(1)
        assert list(weights.values()) == pytest.approx([len(found) / len(weights)] * len(weights))
    assert max(Counter(e.task for e in found).values(), default=0) <= max_per_task


def test_a_verdict_of_another_candidate_is_refused() -> None:
    swapped = (SOLVED[0], UNSOLVED[1])
    with pytest.raises(ValueError, match="was given the verdict of"):
        examples([swapped])
    with pytest.raises(ValueError, match="was given the verdict of"):
        pairs([swapped])


def test_a_pair_keeps_where_both_sides_came_from() -> None:
    history = [
        graded("t", program("a"), "passed", round=3),
        graded("t", program("0"), "failed", round=1, tests=(3, 4)),
    ]
    assert pairs(history) == [
        PreferencePair(
            task="t",
            prompt="prompt of t",
            chosen=f"{program('a')}```\n",
            rejected=f"{program('0')}```\n",
            chosen_round=3,
            rejected_round=1,
            chosen_policy="round-0003",
            rejected_policy="round-0001",
            rejected_outcome="failed",
            rejected_tests_passed=0.75,
        )
    ]


def test_pairs_need_the_same_task_and_the_same_prompt() -> None:
    assert pairs([SOLVED, UNSOLVED]) == []
    other = graded("solved", program("0"), "failed", index=1, prompt="asked differently")
    assert pairs([SOLVED, other]) == []


def test_near_misses_come_first() -> None:
    rejected: list[tuple[str, Outcome, tuple[int, int]]] = [
        ("tampering", "tampered", (4, 4)),
        ("raising", "error", (0, 4)),
        ("far", "failed", (1, 4)),
        ("near", "failed", (3, 4)),
        ("greedy", "memory", (2, 4)),
    ]
    history = [graded("t", program("a"), "passed")] + [
        graded("t", program(name), outcome, index=i, tests=tests)
        for i, (name, outcome, tests) in enumerate(rejected, start=1)
    ]
    order = ["near", "far", "raising", "greedy", "tampering"]
    assert [p.rejected for p in pairs(history)] == [f"{program(name)}```\n" for name in order]
    assert [p.rejected for p in pairs(history, max_per_task=2)] == [f"{program(n)}```\n" for n in order[:2]]  # fmt: skip


@pytest.mark.parametrize(
    "left_out",
    [
        graded("solved", program("0"), "timeout", index=1),
        graded("solved", None, "no_code", index=1),
        graded("solved", program("0"), "failed", index=1, truncated=True),
        graded("solved", program("a  # the same program"), "failed", index=1),
    ],
    ids=["timeout", "no code", "truncated", "flaky"],
)
def test_what_is_no_evidence_of_a_wrong_program_is_not_rejected(left_out: Graded) -> None:
    assert pairs([SOLVED, graded("solved", program("1"), "failed", index=2)]) != []
    assert pairs([SOLVED, left_out]) == []


def test_a_truncated_program_is_not_chosen_even_if_it_passed() -> None:
    chosen = graded("t", program("a"), "passed", truncated=True)
    assert pairs([chosen, graded("t", program("0"), "failed", index=1)]) == []


def test_every_outcome_is_chosen_rejected_or_left_out_on_purpose() -> None:
    assert set(get_args(Outcome)) - set(REJECTED) == {"passed", "timeout", "no_code"}


def test_age_is_counted_from_the_given_round() -> None:
    history = [
        graded("t", program("a"), "passed", round=6),
        graded("t", program("0"), "failed", round=5),
        graded("t", program("1"), "failed", round=6, index=1),
    ]
    assert [p.rejected_round for p in pairs(history, round=9, max_age_rounds=3)] == [6]
    assert len(pairs(history, round=9, max_age_rounds=4)) == 2
    assert pairs(history, round=10, max_age_rounds=3) == []


def test_programs_are_reused_as_late_as_possible() -> None:
    history = [graded("t", program(f"a + {i}"), "passed", index=i) for i in range(2)] + [
        graded("t", program(str(i)), "failed", index=2 + i) for i in range(4)
    ]
    found = pairs(history)
    assert len({(p.chosen, p.rejected) for p in found}) == len(found) == 8
    assert len({p.rejected for p in found[:4]}) == 4
    assert Counter(p.chosen for p in found[:4]).most_common(1)[0][1] == 2


def test_the_bound_on_all_pairs_keeps_as_many_tasks_as_it_can() -> None:
    history = [
        one
        for t in range(10)
        for one in (
            graded(f"t{t}", program("a"), "passed"),
            graded(f"t{t}", program("0"), "failed", index=1, tests=(1, 4)),
            graded(f"t{t}", program("1"), "failed", index=2, tests=(3, 4)),
        )
    ]
    found = pairs(history, max_pairs=12)
    assert len(found) == 12
    assert len({p.task for p in found}) == 10
    six = pairs(history, max_pairs=6, seed=1)
    assert {p.rejected_tests_passed for p in six} == {0.75}
    assert six == pairs(history, max_pairs=6, seed=1) != pairs(history, max_pairs=6, seed=2)


outcomes = st.sampled_from(get_args(Outcome))
histories = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), outcomes, st.integers(1, 4)), max_size=25
)


@given(histories, st.integers(0, 4), st.integers(0, 5), st.randoms(use_true_random=False))
def test_pairs_keep_their_laws_in_any_order_of_history(
    drawn: list[tuple[str, int, Outcome, int]], per_task: int, bound: int, rng: random.Random
) -> None:
    history = [
        graded(name, program(str(body)), outcome, round=round, index=i, tests=(body % 4, 4))
        for i, (name, body, outcome, round) in enumerate(drawn)
    ]
    found = pairs(history, max_per_task=per_task, max_pairs=bound)
    rng.shuffle(history)
    assert found == pairs(history, max_per_task=per_task, max_pairs=bound)
    per = Counter(p.task for p in found)
    assert not per_task or max(per.values(), default=0) <= per_task
    assert not bound or len(found) <= bound
    programs = [(p.task, fingerprint(p.chosen[:-4]), fingerprint(p.rejected[:-4])) for p in found]
    assert len(set(programs)) == len(programs)
    passed = {(c.task, c.code) for c, v in history if v.passed}
    failed = {(c.task, c.code) for c, v in history if v.outcome in REJECTED}
    for p in found:
        assert (p.task, p.chosen[:-4]) in passed - failed
        assert (p.task, p.rejected[:-4]) in failed - passed


def test_a_history_is_read_once() -> None:
    history = [
        graded(f"t{t}", program(f"a + {i + t % 7}"), "passed" if i == t % 5 else "failed", index=i)
        for t in range(300)
        for i in range(5)
    ]
    tasks = {f"t{t}": task(f"t{t}") for t in range(300)}
    found = preference_pairs(iter(history), round=9, max_per_task=2, max_age_rounds=0, max_pairs=0, seed=0, chat=False)  # fmt: skip
    assert len(found) == 600
    assert len(sft_examples(tasks, iter(history), target="self", max_per_task=1, chat=False)) == 300


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=30),
    tokens=st.integers(0, 2000),
    steps=st.integers(0, 12),
    epochs=st.integers(1, 3),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
)
def test_a_budget_is_exact_in_steps_and_within_an_example_in_tokens(
    sizes: list[int], tokens: int, steps: int, epochs: int, batch_size: int, seed: int
) -> None:
    def batches() -> list[list[int]]:
        return step_batches(
            sizes, tokens=tokens, steps=steps, epochs=epochs, batch_size=batch_size, seed=seed
        )

    made = batches()
    assert made == batches(), "the same seed draws the same"
    drawn = [index for batch in made for index in batch]
    lengths = {len(batch) for batch in made}
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1
    if steps:
        assert len(made) == steps
    else:
        assert max(lengths) <= batch_size
        assert len(made) == -(-len(drawn) // batch_size)
    times = [drawn.count(index) for index in range(len(sizes))]
    assert max(times) - min(times) <= 1, "none comes again before all have come"
    spent = sum(sizes[index] for index in drawn)
    if tokens and len(drawn) > max(steps, 1):
        assert abs(spent - tokens) <= max(sizes) / 2
    if not tokens:
        assert len(drawn) == max(epochs * len(sizes), steps)


def test_a_budget_too_small_for_its_steps_gives_each_step_one_example() -> None:
    made = step_batches([10, 10, 10], tokens=5, steps=4, epochs=1, batch_size=8, seed=0)
    assert [len(batch) for batch in made] == [1, 1, 1, 1]


def test_the_order_of_a_budget_is_the_seeds() -> None:
    orders = {
        tuple(step_batches([1] * 12, tokens=0, steps=1, epochs=1, batch_size=8, seed=seed)[0])
        for seed in range(6)
    }
    assert len(orders) == 6


@pytest.mark.parametrize("sizes", [[], [3, 0]])
def test_a_budget_of_nothing_is_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="one token or more"):
        step_batches(sizes, tokens=10, steps=1, epochs=1, batch_size=1, seed=0)
