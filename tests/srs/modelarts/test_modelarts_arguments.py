"""Arguments come in any order, some twice, some not ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srs.modelarts.arguments import parse
from srs.types import UserError

WORDS = st.text("abcdefghij0123456789/.:_-", min_size=1, max_size=12).filter(
    lambda word: not word.startswith("-")
)


def test_the_last_of_a_name_wins_and_unknown_ones_are_named() -> None:
    found = parse(
        ["--data_url=/in", "--rounds=3", "--run-url", "obs://a/b", "stray", "--rounds=5",
         "--finetune.learning_rate=1e-4", "--set", "run.seed=1", "--run.seed=2", "--train_url", "/out"],
        {"SRS_SET": '["run.seed=0", "model.path=/m"]'},
    )  # fmt: skip
    assert (found.rounds, found.run_url) == ("5", "obs://a/b")
    assert found.overrides == ("run.seed=2", "model.path=/m", "finetune.learning_rate=1e-4")
    assert found.ignored == ("--data_url=/in", "stray", "--train_url")


@given(
    st.permutations(["rounds", "config", "tasks", "run_url"]),
    st.lists(WORDS, min_size=4, max_size=4),
    st.lists(st.sampled_from(["--data_url=/x", "--num_gpus=8", "--init_method=tcp://h:1"])),
    st.randoms(use_true_random=False),
)
def test_order_and_strangers_change_nothing(names, values, strangers, stream) -> None:  # type: ignore[no-untyped-def]
    words = [f"--{name}={value}" for name, value in zip(names, values, strict=True)]
    mixed = words + strangers
    stream.shuffle(mixed)
    found = parse(mixed, {})
    for name, value in zip(names, values, strict=True):
        assert getattr(found, name) == value
    assert sorted(found.ignored) == sorted(strangers)


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '["run.seed"]'])
def test_an_unusable_variable_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"SRS_SET|section\.key=value"):
        parse([], {"SRS_SET": text})
