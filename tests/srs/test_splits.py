"""Laws of the split: groups stay whole, order never matters, more rows move nobody."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from srs.splits import Groups, base_id, draw, fraction, held_out_groups, normalised
from srs.types import Task


def task(task_id: str, question: str, test: str) -> Task:
    return Task(
        id=task_id,
        group=base_id(task_id),
        kind="pytest",
        style="instruct",
        subset="S",
        question=question,
        declaration=None,
        entry_point=None,
        test=test,
        reference=None,
    )


def grouped(tasks: Sequence[Task]) -> dict[str, str]:
    groups = Groups()
    nodes = {t.id: groups.add(t) for t in tasks}
    assert groups.names() == {groups.name(n) for n in nodes.values()}
    return {task_id: groups.name(node) for task_id, node in nodes.items()}


tasks_strategy = st.lists(
    st.builds(
        task,
        st.builds("S_{}_{}".format, st.integers(0, 15), st.sampled_from(["I", "C", "OJ"])),
        st.sampled_from(["Add.", "add", "ADD!", "Sort it", "Count", "", "  "])
        | st.integers(0, 30).map("Question {}".format),
        st.integers(0, 25).map("def test_{}(): pass".format),
    ),
    max_size=25,
    unique_by=lambda t: t.id,
)


@given(tasks_strategy, st.randoms(use_true_random=False))
def test_rows_that_share_anything_share_a_group_in_any_order(tasks: list[Task], random) -> None:
    names = grouped(tasks)
    for a in tasks:
        for b in tasks:
            same_question = a.question.strip() and normalised(a.question) == normalised(b.question)
            if base_id(a.id) == base_id(b.id) or a.test == b.test or same_question:
                assert names[a.id] == names[b.id]
    shuffled = random.sample(tasks, len(tasks))
    assert grouped(shuffled) == names


@given(tasks_strategy)
def test_a_group_is_only_as_large_as_its_links(tasks: list[Task]) -> None:
    """Against the plain definition: connected components, named by their smallest base id."""
    component = {t.id: {t.id} for t in tasks}

    def keys(t: Task) -> set[str]:
        question = {f"q {normalised(t.question)}"} if t.question.strip() else set()
        return {f"i {base_id(t.id)}", f"t {t.test}"} | question

    for a in tasks:
        for b in tasks:
            if keys(a) & keys(b) and component[a.id] is not component[b.id]:
                joined = component[a.id] | component[b.id]
                for member in joined:
                    component[member] = joined
    assert grouped(tasks) == {t: min(map(base_id, c)) for t, c in component.items()}


names_strategy = st.sets(st.integers(0, 10_000).map("Prefill_{}".format), min_size=2, max_size=60)
shares = st.floats(0.01, 0.99)


@given(names_strategy, shares, st.integers(0, 5))
def test_neither_side_of_a_split_is_empty(names: set[str], share: float, seed: int) -> None:
    held_out = held_out_groups(names, share, seed)
    assert held_out <= names
    assert 0 < len(held_out) < len(names)


@given(names_strategy, names_strategy, st.integers(0, 5))
def test_more_groups_move_none_across(names: set[str], more: set[str], seed: int) -> None:
    """But for the one group that keeps a tiny split's side from being empty."""
    before = held_out_groups(names, 0.4, seed)
    after = held_out_groups(names | more, 0.4, seed) & names
    assert len(before ^ after) <= 1


@given(names_strategy, shares, shares, st.integers(0, 5))
def test_a_larger_share_only_adds(names: set[str], a: float, b: float, seed: int) -> None:
    small, large = sorted((a, b))
    assert held_out_groups(names, small, seed) <= held_out_groups(names, large, seed)


def test_the_share_is_met_and_seeds_differ() -> None:
    names = {f"Prefill_{i}" for i in range(10_000)}
    one, two = (held_out_groups(names, 0.2, seed) for seed in (0, 1))
    assert abs(len(one) / len(names) - 0.2) < 0.015  # 3.75 standard deviations
    assert abs(len(one & two) / len(one) - 0.2) < 0.04


def test_hashes_are_fixed_forever() -> None:
    """A golden value: another hash would move the tasks of every published split."""
    assert fraction("split 0", "Prefill_12") == 0.8341545170723018
    assert 0 <= fraction("", "") < 1


@given(tasks_strategy, st.integers(1, 30), st.integers(0, 3))
def test_a_larger_draw_keeps_the_smaller_one(tasks: list[Task], n: int, seed: int) -> None:
    few, more = draw(tasks, n, seed), draw(tasks, n + 1, seed)
    assert len(few) == min(n, len(tasks))
    assert {t.id for t in few} <= {t.id for t in more}
    assert [t for t in tasks if t in few] == few
    assert draw(tasks, 0, seed) == tasks
