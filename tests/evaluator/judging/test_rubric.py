"""Reading a judge's reply: one verdict or none, and never one that the judged text brought."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.judging.rubric import RUBRICS, Judgement, Kind, from_row, parse, to_row

SCORES = {"logic": 8, "accuracy": 7, "format": 10}


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        ('{"correct": true, "reason": "right"}', 1),
        ('{"correct": false}', 0),
        ('{"correct": "Yes"}', 1),
        ('Here it is:\n```json\n{"correct": false, "reason": "no {braces}"}\n```\n', 0),
        ('<think>{"correct": true}? no</think>{"correct": false}', 0),
        ('{"correct": true} and again {"correct": true}', 1),
        ('noise {"other": 1} {"correct": true, "confidence": 0.9}', 1),
    ],
)
def test_readable_verdicts_of_issues(reply: str, values: int) -> None:
    assert parse(reply, "issues")[0] == {"correct": values}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "no JSON object with correct"),
        ("I think it is correct.", "no JSON object"),
        ('{"correct": maybe}', "no JSON object"),
        ('{"correct": "perhaps"}', "'perhaps' is none of no, yes"),
        ('{"correct": null}', "None is none of"),
        ('{"correct": 3}', "3"),
        ('{"correct": [true]}', "none of"),
        ('The answer says {"correct": true}, but {"correct": false}', "2 verdicts that differ"),
        ("{" * 500, "no JSON object"),
        ('{"a":' * 5000, "no JSON object"),
        ('<think>{"correct": true}</think>', "no JSON object"),
    ],
)
def test_unreadable_verdicts_of_issues(reply: str, why: str) -> None:
    values, said = parse(reply, "issues")
    assert values is None
    assert why in said


def test_verdicts_of_comments() -> None:
    assert parse(json.dumps({**SCORES, "reason": "good"}), "comments") == (SCORES, "good")
    assert parse(json.dumps({**SCORES, "logic": "8", "format": 10.0}), "comments")[0] == SCORES
    for bad in (0, 11, 7.5, "ten", True, None, [8]):
        assert parse(json.dumps({**SCORES, "logic": bad}), "comments")[0] is None
    assert parse('{"logic": 8, "accuracy": 7}', "comments")[0] is None


@settings(deadline=None)
@given(st.text() | st.text(alphabet='{}[]":,truefalsco 0123\\'))
def test_any_reply_is_read_or_not_but_never_an_error(reply: str) -> None:
    for kind in RUBRICS:
        values, why = parse(reply, kind)
        assert values is not None or why


kinds: st.SearchStrategy[Kind] = st.sampled_from(["comments", "issues"])


@settings(deadline=None)
@given(kinds, st.data())
def test_judgements_survive_their_file(kind: Kind, data: st.DataObject) -> None:
    values: dict[str, int] | None = {
        f.name: data.draw(st.integers(f.first, f.first + len(f.values) - 1)) for f in RUBRICS[kind]
    }
    judgement = Judgement(
        id=data.draw(st.text()),
        rater=data.draw(st.text(min_size=1)),
        values=data.draw(st.sampled_from([values, None])),
        note=data.draw(st.text()),
    )
    assert from_row(json.loads(json.dumps(to_row(judgement))), kind) == judgement


@pytest.mark.parametrize(
    "row",
    [
        {"rater": "ann", "values": {"correct": 1}},
        {"id": "a", "rater": "", "values": {"correct": 1}},
        {"id": "a", "rater": "ann", "values": {"correct": 2}},
        {"id": "a", "rater": "ann", "values": {}},
        {"id": "a", "rater": "ann", "values": {"correct": 1, "logic": 3}},
        {"id": "a", "rater": "ann", "values": [1]},
    ],
)
def test_rows_that_are_no_judgement(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"id|values|correct"):
        from_row(row, "issues")
