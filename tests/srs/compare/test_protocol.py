"""What is fixed before the first run stays fixed; seeds may be added."""

import dataclasses
import json
from pathlib import Path

import pytest

from srs import config as configs
from srs.compare import protocol
from srs.compare.arms import Arm, parse
from srs.compare.protocol import Protocol, agree, read
from srs.types import UserError


def wanted(arms: str = "uniform,sm2", *, seeds: int = 3, rounds: int = 4, sets: tuple[str, ...] = (), code: str = "abc") -> Protocol:  # fmt: skip
    return Protocol(
        arms=parse(arms),
        rounds=rounds,
        seed_batches=(tuple(range(seeds)),),
        config=configs.load(None, sets),
        codes=(code,),
    )


def refusal(out: Path, other: Protocol) -> str:
    with pytest.raises(UserError) as caught:
        agree(out, other)
    assert str(out / "protocol.json") in str(caught.value)
    return str(caught.value)


def test_it_is_written_once_and_asking_again_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new" / "comparison"
    assert agree(out, wanted()) == wanted()
    text = (out / "protocol.json").read_text()
    assert "beats both random_review and learnability" in text
    assert "averaged over the last three evaluations" in text
    assert protocol.analysis()["averaged"] == 3
    assert agree(out, wanted("sm2,uniform")) == read(out), "the order of arms means nothing"
    assert (out / "protocol.json").read_text() == text


def test_another_protocol_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    agree(tmp_path, wanted())
    before = (tmp_path / "protocol.json").read_bytes()
    assert "--arms" in refusal(tmp_path, wanted("uniform,sm2,leitner"))
    assert "--rounds = 4, not 5" in refusal(tmp_path, wanted(rounds=5))
    changed = refusal(tmp_path, wanted(sets=("generate.n=7",)))
    assert "generate.n = 5, not 7" in changed
    assert "eval.n" in refusal(tmp_path, wanted(sets=("eval.n=1",)))
    assert "--arms" in refusal(tmp_path, wanted("uniform,x=sm2+scheduler.new_share=0.2"))
    assert "seeds can be added" in refusal(tmp_path, wanted(seeds=2))
    assert (tmp_path / "protocol.json").read_bytes() == before


def test_the_number_of_final_evaluations_is_part_of_the_rule(tmp_path: Path) -> None:
    five = dataclasses.replace(wanted(), analysis=protocol.analysis(5))
    agree(tmp_path, five)
    assert read(tmp_path) == five
    assert "averaged over the last five evaluations" in read(tmp_path).analysis["rule"]
    assert "--final-evaluations = 5, not 3" in refusal(tmp_path, wanted())
    assert "the last evaluation of" in protocol.analysis(1)["rule"]
    for n in (0, 10):
        with pytest.raises(UserError, match="--final-evaluations: must be from 1 to 9"):
            protocol.analysis(n)


def test_what_changes_no_result_may_change(tmp_path: Path) -> None:
    agree(tmp_path, wanted())
    agree(tmp_path, wanted(sets=("sandbox.workers=1", "sandbox.backend=process")))


def test_added_seeds_are_remembered_as_added(tmp_path: Path) -> None:
    agree(tmp_path, wanted())
    later = agree(tmp_path, wanted(seeds=5))
    assert later.seed_batches == ((0, 1, 2), (3, 4))
    assert read(tmp_path) == later
    assert read(tmp_path).seeds == (0, 1, 2, 3, 4)


def test_other_code_goes_on_only_when_it_is_allowed_and_is_remembered(tmp_path: Path) -> None:
    agree(tmp_path, wanted())
    before = (tmp_path / "protocol.json").read_bytes()
    for code in ("def", "abc+changes", "unknown"):
        refused = refusal(tmp_path, wanted(seeds=4, code=code))
        assert f"commit abc, and this is {code}" in refused
        assert "--allow-other-code" in refused
    assert (tmp_path / "protocol.json").read_bytes() == before
    agree(tmp_path, wanted(code="def"), allow_other_code=True)
    assert read(tmp_path).codes == ("abc", "def")
    agree(tmp_path, wanted(code="def"))
    agree(tmp_path, wanted())
    assert read(tmp_path).codes == ("abc", "def")


def test_the_code_is_that_of_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert protocol.this_code() == "unknown"


def test_a_comparison_from_before_the_code_was_kept_has_another_rule(tmp_path: Path) -> None:
    agree(tmp_path, wanted())
    stored = json.loads((tmp_path / "protocol.json").read_text())
    del stored["codes"], stored["analysis"]["averaged"]
    stored["config"]["scheduler"]["gone_since"] = 1
    (tmp_path / "protocol.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match="another rule or analysis"):
        read(tmp_path)


def test_another_rule_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agree(tmp_path, wanted())
    monkeypatch.setattr(protocol, "rule", lambda _: "whatever wins")
    with pytest.raises(UserError, match="another rule"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"arms": 3}'])
def test_a_damaged_protocol_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "protocol.json").write_text(text)
    with pytest.raises(UserError, match=r"protocol\.json"):
        read(tmp_path)


def test_no_protocol_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no comparison here"):
        read(tmp_path)


def test_a_key_that_is_newer_than_the_protocol_has_its_default(tmp_path: Path) -> None:
    agree(tmp_path, wanted())
    stored = json.loads((tmp_path / "protocol.json").read_text())
    del stored["config"]["eval"]["panel"]
    (tmp_path / "protocol.json").write_text(json.dumps(stored))
    agree(tmp_path, wanted())


def test_arms_are_policies_or_labelled_variants() -> None:
    assert parse("uniform, slow=sm2+scheduler.new_share=0.3+scheduler.audit_every=0") == (
        Arm(name="uniform", policy="uniform"),
        Arm(name="slow", policy="sm2", overrides=("scheduler.new_share=0.3", "scheduler.audit_every=0")),
    )  # fmt: skip
    slow = parse("slow=sm2+scheduler.new_share=0.3")[0]
    assert slow.is_spaced
    config = slow.config(configs.load(None), seed=7, rounds=9)
    assert (config.scheduler.policy, config.scheduler.new_share) == ("sm2", 0.3)
    assert (config.run.seed, config.run.rounds) == (7, 9)
    base = configs.load(None)
    assert dataclasses.replace(config, run=base.run, scheduler=base.scheduler) == base


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unifrom", "did you mean 'uniform'"),
        ("sm2,uniform,sm2", "sm2 stands twice"),
        ("a/b=sm2", "label=policy"),
        ("", "label=policy"),
        ("x=sm2+generate.n=9", "generate.n must be the same for all arms"),
        ("x=sm2+scheduler.tasks_per_round=9", "must be the same"),
        ("uniform=sm2", "uniform is a control"),
        ("random_review+scheduler.new_share=0.1", "is a control"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse(text)
