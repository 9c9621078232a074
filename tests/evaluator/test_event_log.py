import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.acceptance import Acceptance, Background, Kept, Origin, Suggestion, tally
from evaluator.event_log import BadLine, Log, join, read_log
from evaluator.events import AnyEvent, Key, parse
from srs.types import UserError


def event(kind: str, user: str = "ann", **keys: Any) -> dict[str, Any]:
    return {"event": kind, "user": user} | keys


def write(path: Path, events: list[Any]) -> Path:
    lines = [e if isinstance(e, str) else json.dumps(e) for e in events]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path, events: list[Any], **keys: Any) -> Log:
    return read_log(write(path / "events.jsonl", events), **keys)


FULL = [
    event("opportunity", id="s1", language="python"),
    event("attempt", id="s1", session="1"),
    event("shown", id="s1"),
    event("accepted", id="s1", text="if x:\n\n    y()\n", tokens=7),
    event("kept", id="s1", after_s=600.5, text="if x:\n\n    z()\n", session="2"),
]


def test_the_lines_of_an_id_become_one_suggestion(tmp_path: Path) -> None:
    background = [event("opportunity", count=5), event("typed", characters=40)]
    log = read(tmp_path, [*FULL, *background])
    assert log.bad == ()
    assert log.n_lines == 7
    assert log.kinds == {"opportunity", "attempt", "shown", "accepted", "kept", "typed"}
    assert log.records == (
        Background(origin=Origin(user="ann"), opportunities=5),
        Background(origin=Origin(user="ann"), typed_characters=40),
        Suggestion(
            origin=Origin(user="ann", session="1", language="python"),
            at_opportunity=True,
            attempted=True,
            shown=True,
            accepted=Acceptance(
                characters=15,
                lines=2,
                tokens=7,
                kept=(Kept(after_s=600.5, distance=1, characters=15),),
            ),
        ),
    )


def test_a_log_without_texts_gives_the_same(tmp_path: Path) -> None:
    bare = [
        *FULL[:3],
        event("accepted", id="s1", characters=15, lines=2, tokens=7),
        event("kept", id="s1", after_s=600.5, distance=1, characters=15),
    ]
    assert read(tmp_path, bare).records == read(tmp_path, FULL).records


def test_kinds_that_the_log_lacks_are_not_asked_for(tmp_path: Path) -> None:
    log = read(tmp_path, [event("accepted", id="s1", text="x")])
    assert log.bad == ()
    assert log.kinds == {"accepted"}
    log = read(tmp_path, [FULL[0], FULL[2], event("shown", id="s2")])
    assert log.bad == (BadLine(line=3, why="id 's2': shown, but no opportunity line can be used"),)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "Invalid JSON"),
        ("[]", "should be an object|dictionary"),
        ('"shown"', "object|dictionary"),
        ({"user": "ann"}, "discriminator 'event'|tag"),
        (event("seen"), "'opportunity', .*'typed'"),
        ({"event": "shown", "id": "a"}, "user: Field required"),
        (event("shown"), "id: Field required"),
        (event("shown", id=3), "id: Input should be a valid string"),
        (event("shown", id=""), "id: must not be empty"),
        (event("typed", user="", characters=1), "user: must not be empty"),
        (event("typed", characters="4"), "characters: Input should be a valid integer"),
        (event("typed", characters=True), "characters: Input should be a valid integer"),
        (event("typed", characters=-1), "characters must be 0 or more"),
        (event("opportunity", count=0), "count must be 1 or more"),
        (event("opportunity", id="a", count=2), "and 1 beside an id"),
        (event("accepted", id="a"), "give text, or characters and lines"),
        (event("accepted", id="a", characters=3), "give text, or characters and lines"),
        (event("accepted", id="a", text="x", lines=1), "give text, or characters and lines"),
        (event("accepted", id="a", text=""), "1 or more characters"),
        (event("accepted", id="a", text="x", tokens=0), "1 or more characters and tokens"),
        (event("kept", id="a", text="x"), "after_s: Field required"),
        (event("kept", id="a", text="x", after_s=-1), "after_s must be 0 or more"),
        ('{"event": "kept", "user": "u", "id": "a", "text": "", "after_s": Infinity}', "after_s"),
        (event("kept", id="a", after_s=1), "give text, or distance and characters"),
        (event("kept", id="a", after_s=1, text="", distance=1), "give text, or distance"),
    ],
)
def test_a_line_that_is_no_event_says_why(tmp_path: Path, line: Any, why: str) -> None:
    log = read(tmp_path, [event("typed", characters=1), line])
    assert [bad.line for bad in log.bad] == [2]
    assert re.search(why, log.bad[0].why), log.bad[0].why
    assert "\n" not in log.bad[0].why
    assert len(log.records) == 1


@pytest.mark.parametrize(
    ("events", "bad"),
    [
        ([*FULL, FULL[2]], {6: "a second shown line"}),
        ([*FULL, FULL[4]], {6: "a second look after 600.5 s"}),
        ([*FULL, event("rejected", id="s1")], {6: "rejected, and accepted"}),
        ([*FULL, event("shown", "bob", id="s1")], {6: "second"}),
        ([*FULL[:2], event("shown", "bob", id="s1")], {3: "user is 'bob', but 'ann' in another"}),
        (
            [*FULL[:2], event("shown", id="s1", language="go")],
            {3: "language is 'go', but 'python'"},
        ),
        ([*FULL[:2], event("shown", id="s1", session="2")], {3: "session is '2', but '1'"}),
        (
            [event("attempt", id="s2"), *FULL, event("shown", id="s2")],
            {1: "attempt, but no opportunity", 7: "shown, but no attempt line"},
        ),
        ([*FULL, event("rejected", id="s2")], {6: "rejected, but no shown line"}),
        ([event("kept", id="s1", after_s=1, text="x")], {1: "no accepted line"}),
        (
            [event("accepted", id="s1", characters=2, lines=1), FULL[4]],
            {2: "has text where the acceptance has none"},
        ),
        (
            [
                event("accepted", id="s1", text="abcd"),
                event("kept", id="s1", after_s=1, distance=1, characters=2),
                event("kept", id="s1", after_s=2, distance=5, characters=2),
                event("kept", id="s1", after_s=3, distance=2, characters=2),
                event("kept", id="s1", after_s=4, distance=3, characters=-1),
            ],
            {2: "distance must be 2 … 4", 3: "distance must be 2 … 4", 5: "characters must be 0"},
        ),
    ],
)
def test_lines_that_do_not_fit_together(
    tmp_path: Path, events: list[Any], bad: dict[int, str]
) -> None:
    log = read(tmp_path, events)
    assert [line.line for line in log.bad] == list(bad)
    for line in log.bad:
        assert bad[line.line] in line.why


def test_a_required_key_may_be_said_on_any_line_of_an_id(tmp_path: Path) -> None:
    required: list[Key] = ["language", "session"]
    assert read(tmp_path, FULL, required=required).bad == ()
    log = read(tmp_path, [*FULL, event("typed", characters=1)], required=required)
    assert log.bad == (BadLine(line=6, why="no language and no session, which is asked for"),)
    log = read(tmp_path, FULL, required=["model"])
    assert [line.line for line in log.bad] == [1, 2, 3, 4, 5]
    assert log.records == ()


def test_unknown_keys_blank_lines_and_a_byte_order_mark_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"event": "typed", "user": "ann", "characters": 2, "time": "noon"}\r\n'
        b"\r\n   \n"
        b'{"event": "typed", "user": "b\xff", "characters": 2}'
    )
    log = read_log(path)
    assert log.records == (Background(origin=Origin(user="ann"), typed_characters=2),)
    assert [(line.line, line.why[:12]) for line in log.bad] == [(4, "Invalid JSON")]
    assert log.n_lines == 2


def test_files_that_hold_no_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("\n \n")
    with pytest.raises(UserError, match=r"events\.jsonl: no events"):
        read_log(path)
    with pytest.raises(UserError, match="cannot read the events: No such file"):
        read_log(tmp_path / "nothing.jsonl")
    with pytest.raises(UserError, match="cannot read the events: Is a directory"):
        read_log(tmp_path)


def test_progress_counts_every_line(tmp_path: Path) -> None:
    seen: list[int] = []
    read(tmp_path, [*FULL, "{", ""], advance=seen.append)
    assert sum(seen) == 7


texts = st.sampled_from(["x", "xy\n", "a\n\nb"])
users = st.sampled_from(["ann", "bob"])
ids = st.sampled_from(["1", "2"])
any_event = st.one_of(
    st.builds(lambda u, i: event("opportunity", u, id=i), users, ids),
    st.builds(lambda u, n: event("opportunity", u, count=n), users, st.integers(1, 3)),
    st.builds(lambda k, u, i: event(k, u, id=i), st.sampled_from(["attempt", "shown", "rejected"]), users, ids),
    st.builds(lambda u, i, t: event("accepted", u, id=i, text=t, tokens=1), users, ids, texts),
    st.builds(lambda u, i, s, t: event("kept", u, id=i, after_s=s, text=t), users, ids, st.sampled_from([1.0, 9.0]), texts | st.just("")),
    st.builds(lambda u, n: event("typed", u, characters=n), users, st.integers(0, 9)),
)  # fmt: skip


def parsed(events: list[dict[str, Any]]) -> list[tuple[int, AnyEvent]]:
    return [(n, parse(json.dumps(e).encode())) for n, e in enumerate(events, 1)]


@settings(deadline=None)
@given(st.lists(any_event, max_size=14), st.randoms())
def test_what_is_left_without_the_bad_lines_is_a_good_log(
    events: list[dict[str, Any]], random: Random
) -> None:
    lines = parsed(events)
    records, bad = join(lines)
    left_out = {line.line for line in bad}
    good = [line for line in lines if line[0] not in left_out]
    # A good log may be written in any order.
    for order in (good, random.sample(good, len(good))):
        again, bad_again = join(order)
        assert bad_again == []
        assert tally(again, window_s=1) == tally(records, window_s=1)


@settings(deadline=None)
@given(st.lists(any_event, max_size=14))
def test_no_step_of_a_recorded_kind_is_skipped(events: list[dict[str, Any]]) -> None:
    lines = parsed(events)
    kinds = {line[1].event for line in lines}
    for counts in tally(join(lines)[0], window_s=1).get("all", []):
        assert counts.attempts <= counts.opportunities or "opportunity" not in kinds
        assert counts.shown <= counts.attempts or "attempt" not in kinds
        assert counts.accepted + counts.rejected <= counts.shown or "shown" not in kinds
        assert counts.unchanged <= counts.retained <= counts.looked_at <= counts.accepted
