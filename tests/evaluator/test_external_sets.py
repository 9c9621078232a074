"""Other people's data: prompt sets without tests, preference pairs, and the pairs that DPO reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.imports import is_prompt_set, main, read_preferences, read_prompt_set
from srs.preferences import load_pairs
from srs.types import PreferencePair, UserError, to_json

PAIR = PreferencePair(
    task="t", prompt="p", chosen="a", rejected="b", chosen_round=1, rejected_round=0, chosen_policy="base",
    rejected_policy="file", rejected_outcome="failed", rejected_tests_passed=0.5,
)  # fmt: skip
PROGRAM, OTHER = "def f():\n    return 1\n", "def f():\n    return 2\n"


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    return path


@given(
    st.integers(0, 9), st.floats(0, 1), st.sampled_from(["passed", "tampered"]), st.text(min_size=1)
)
def test_pairs_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, round: int, share: float, outcome: str, text: str
) -> None:
    row = {
        **to_json(PAIR), "chosen": "x" + text, "rejected": "y" + text, "chosen_round": round,
        "rejected_tests_passed": share, "rejected_outcome": outcome,
    }  # fmt: skip
    path = write(tmp_path_factory.getbasetemp() / "pairs.jsonl", row)
    assert load_pairs(path) == [PreferencePair(**row)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": None}, "prompt must be text"),
        ({"chosen_round": "1"}, "chosen_round must be a whole number"),
        ({"rejected_round": True}, "rejected_round must be a whole number"),
        ({"chosen_round": -1}, "chosen_round must be a whole number, 0 or more"),
        ({"rejected_outcome": "bad"}, "rejected_outcome must be one of passed, failed"),
        ({"rejected_tests_passed": 1.5}, "from 0 to 1"),
        ({"rejected_tests_passed": float("nan")}, "from 0 to 1"),
        ({"rejected": " "}, "rejected is empty"),
        ({"rejected": "a"}, "the same text"),
        ({"score": 1}, "score unknown"),
    ],
)
def test_bad_pairs_are_named_by_line(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    path = write(tmp_path / "p.jsonl", to_json(PAIR), {**to_json(PAIR), **change})
    with pytest.raises(UserError, match=reason) as error:
        load_pairs(path)
    assert f"{path}:2: " in str(error.value)
    assert f"{path}:1: " not in str(error.value)


def test_every_bad_line_and_unusable_files(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", "{", "", to_json(PAIR), [1], {"prompt": "x"})
    with pytest.raises(UserError) as error:
        load_pairs(path)
    assert [f"{path}:{n}: " in str(error.value) for n in range(1, 6)] == [True, False, False, True, True]  # fmt: skip
    assert "task, chosen, rejected" in str(error.value)
    with pytest.raises(UserError, match="holds no pair"):
        load_pairs(write(tmp_path / "empty.jsonl"))
    with pytest.raises(UserError, match="cannot read the pairs"):
        load_pairs(tmp_path / "gone.jsonl")


def test_a_prompt_set(tmp_path: Path) -> None:
    rows = [
        {"prompt": "One.", "code-reference": PROGRAM},
        {"prompt": "Two.", "code-reference": "", "id": 7},
    ]
    path = write(tmp_path / "multi.jsonl", *rows)
    assert is_prompt_set(path)
    one, two = read_prompt_set(path)
    assert (one.id, one.question, one.reference, one.test) == ("multi_1", "One.", PROGRAM, "")
    assert (two.id, two.reference) == ("7", None)
    (tmp_path / "multi.json").write_text(json.dumps(rows))
    assert [t.id for t in read_prompt_set(tmp_path / "multi.json")] == ["multi_1", "7"]
    (tmp_path / "multi.csv").write_text('prompt,code-reference\n"One\n.",x\nTwo.,\n')
    assert [t.question for t in read_prompt_set(tmp_path / "multi.csv")] == ["One\n.", "Two."]


def test_what_is_no_prompt_set(tmp_path: Path) -> None:
    kodcode = {"question_id": "a", "question": "q", "test": "def test(): pass"}
    assert not is_prompt_set(write(tmp_path / "a.jsonl", kodcode))
    tested = {"prompt": "p", "code-reference": "c", "test": "t"}
    assert not is_prompt_set(write(tmp_path / "b.jsonl", tested))
    assert not is_prompt_set(tmp_path / "c.parquet")
    twice = {"id": "x", "prompt": "p", "code-reference": "c"}
    with pytest.raises(UserError, match="two rows have the id x"):
        read_prompt_set(write(tmp_path / "d.jsonl", twice, twice))
    with pytest.raises(UserError, match=r"e\.jsonl:1: prompt is empty"):
        read_prompt_set(write(tmp_path / "e.jsonl", {"prompt": "", "code-reference": "c"}))


def test_preferences(tmp_path: Path) -> None:
    rows = [
        {"input": "One?", "accepted": f"Sure:\n```python\n{PROGRAM}```", "rejected": OTHER},
        {"input": "Why?", "accepted": "Because.", "rejected": "No idea, sorry."},
    ]
    path = write(tmp_path / "prefs.jsonl", *rows)
    code, text = read_preferences(path, prompt_of=lambda asked: f"<{asked}>", chat=True)
    assert (code.prompt, code.chosen, code.rejected) == (
        "<One?>", f"```python\n{PROGRAM}```", f"```python\n{OTHER}```",
    )  # fmt: skip
    assert (text.chosen, text.rejected, text.chosen_policy) == (
        "Because.",
        "No idea, sorry.",
        "external",
    )
    assert (code.task, text.task) == ("prefs_1", "prefs_2")
    code, text = read_preferences(path, prompt_of=str, chat=False)
    assert (code.chosen, text.chosen) == (f"{PROGRAM}```\n", "Because.\n```\n")


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.jsonl", '{"input": "x", "accepted": "a b", "rejected": "c d"}\n{"input": "x"}\n\n{\n', [":2: accepted is missing", ":4: not valid JSON"]),
        ("a.json", '[{"input": "x", "accepted": 3, "rejected": "c"}, 4]', [": row 1: accepted must be text", ": row 2: expected an object"]),
        ("a.csv", 'input,accepted,rejected\n"x\ny",a b,c d\nq,a\nz,,b\n', [":4: has another number of columns", ":5: accepted is empty"]),
        ("a.jsonl", '{"input": "x", "accepted": "a", "rejected": "a"}', [":1: accepted and rejected are the same"]),
        ("a.json", "{}", ["expected a list of rows"]),
        ("a.csv", 'input,accepted,rejected\n"x', ["not CSV"]),
        ("a.csv", "", ["holds no rows"]),
        ("a.txt", "x", ["expected a file that ends in"]),
    ],
)  # fmt: skip
def test_bad_rows_are_named(tmp_path: Path, name: str, content: str, places: list[str]) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError) as error:
        read_preferences(path, prompt_of=str, chat=True)
    assert all(place in str(error.value) for place in places), str(error.value)
    assert str(error.value).count(str(path)) == len(places), "only bad rows are named"


def test_the_command_writes_pairs_that_dpo_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    path = tmp_path / "prefs.csv"
    path.write_text(f'input,accepted,rejected\nOne?,"{PROGRAM}","{OTHER}"\n')
    out = tmp_path / "pairs.jsonl"
    assert main([str(path), "--model", "tiny", "--out", str(out)]) == 0
    (pair,) = load_pairs(out)
    assert "One?\n\nAnswer with one Python code block." in pair.prompt
    assert pair.prompt != "One?\n\nAnswer with one Python code block.", "as the model is asked"
    assert PROGRAM in pair.chosen
    path.write_text("input,accepted\nx,y\n")
    out.write_text("old")
    assert main([str(path), "--model", "tiny", "--out", str(out)]) == 2
    assert f"{path}:2: rejected is missing" in capsys.readouterr().err
    assert out.read_text() == "old"
