"""The endpoint client against a real local server: what it sends, retries, refuses and hides."""

from __future__ import annotations

import dataclasses
import logging
import socket
import time

import pytest
from judge_server import Answered, Asked, serving

from evaluator.judging.asking import AskError, Question
from evaluator.judging.endpoint import MANY_FAILED, Endpoint, EndpointAsker
from srs.types import UserError

KEY = "sk-very-secret-4711"
QUESTIONS = [Question(id=f"q{i}", system="be fair", user=f"question {i}") for i in range(6)]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("JUDGE_KEY", KEY)


def asker(url: str, **settings: object) -> EndpointAsker:
    quick = Endpoint(
        url=url, model="judge-1", key_variable="JUDGE_KEY", backoff_s=0.01, timeout_s=5, retries=2
    )
    return EndpointAsker(dataclasses.replace(quick, **settings))


def test_what_is_sent_and_what_comes_back() -> None:
    with serving(lambda asked: asked.user.upper()) as server:
        replies = {r.id: r for r in asker(server.url).ask(QUESTIONS)}
    assert {id: r.text for id, r in replies.items()} == {q.id: q.user.upper() for q in QUESTIONS}
    assert all(r.attempts == 1 and r.wall_s > 0 for r in replies.values())
    first = next(a for a in server.asked if a.user == "question 0")
    assert first.path == "/v1/chat/completions"
    assert first.headers["Authorization"] == f"Bearer {KEY}"
    assert first.body == {
        "model": "judge-1",
        "messages": [
            {"role": "system", "content": "be fair"},
            {"role": "user", "content": "question 0"},
        ],
        "temperature": 0.0,
        "max_tokens": 1024,
        "seed": 0,
    }


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY")
    with serving(lambda _: "fine") as server:
        assert len(list(asker(server.url).ask(QUESTIONS[:1]))) == 1
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    "failure",
    [
        Answered("down", status=500),
        Answered("slow down", status=429, headers={"Retry-After": "0.05"}),
        Answered(b"<html>not JSON</html>"),
        Answered(b'{"choices": []}'),
        Answered(b'{"choices": [{"message": {"content": "cut'),
        Answered("cut off", cut=True),
    ],
    ids=["500", "429", "html", "no-choice", "bad-json", "cut"],
)
def test_failures_that_may_pass_are_tried_again(failure: Answered) -> None:
    def script(asked: Asked) -> Answered | str:
        return failure if asked.n < 3 else "at last"

    with serving(script) as server:
        (reply,) = asker(server.url).ask(QUESTIONS[:1])
    assert (reply.text, reply.attempts, len(server.asked)) == ("at last", 3, 3)


def test_a_timeout_is_tried_again() -> None:
    def script(asked: Asked) -> Answered:
        return Answered("late", after_s=1.0 if asked.n == 1 else 0.0)

    with serving(script) as server:
        (reply,) = asker(server.url, timeout_s=0.2).ask(QUESTIONS[:1])
    assert (reply.text, reply.attempts) == ("late", 2)


def test_retry_after_is_waited_for() -> None:
    def script(asked: Asked) -> Answered | str:
        return Answered("", status=503, headers={"Retry-After": "0.4"}) if asked.n == 1 else "yes"

    with serving(script) as server:
        (reply,) = asker(server.url).ask(QUESTIONS[:1])
    assert reply.wall_s >= 0.4


def test_one_question_that_fails_leaves_the_others_their_replies() -> None:
    def script(asked: Asked) -> Answered | str:
        return Answered("no", status=500) if asked.user == "question 2" else "yes"

    with serving(script) as server:
        replies = asker(server.url, parallel=2).ask(QUESTIONS)
        came = [next(replies).id for _ in range(5)]
        with pytest.raises(AskError, match=r"q2: .*HTTP 500.*3 attempts"):
            next(replies)
    assert sorted(came) == ["q0", "q1", "q3", "q4", "q5"]


def test_a_dead_server_is_given_up_early() -> None:
    many = [Question(id=f"q{i}", system="", user=f"{i}") for i in range(200)]
    with serving(lambda _: Answered("no", status=502)) as server:
        with pytest.raises(AskError, match="HTTP 502"):
            list(asker(server.url, parallel=2, retries=1).ask(many))
        assert len(server.asked) < 2 * (MANY_FAILED + 4)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(AskError, match="refused"):
        list(asker(f"http://127.0.0.1:{port}/v1", retries=1).ask(QUESTIONS[:1]))


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, r"HTTP 401.*\$JUDGE_KEY is set"), (404, "HTTP 404"), (400, "HTTP 400")],
)
def test_refusals_stop_at_once_and_name_no_key(
    status: int, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    def script(asked: Asked) -> Answered:
        return Answered(f"bad key {KEY} {asked.headers}".encode(), status=status)

    caplog.set_level(logging.DEBUG)
    with serving(script) as server, pytest.raises(UserError, match=message) as caught:
        list(asker(server.url).ask(QUESTIONS[:1]))
    assert len(server.asked) == 1
    assert KEY not in str(caught.value) + caplog.text
    assert "***" in str(caught.value)


def test_the_key_is_in_no_log_of_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        serving(lambda _: Answered(f"overloaded; you sent {KEY}".encode(), status=500)) as server,
        pytest.raises(AskError) as caught,
    ):
        list(asker(server.url).ask(QUESTIONS[:1]))
    assert "again in" in caplog.text
    assert KEY not in str(caught.value) + caplog.text + repr(caught.value.__context__)


def test_redirects_are_not_followed() -> None:
    with serving(lambda _: "stolen") as elsewhere:

        def script(_: Asked) -> Answered:
            return Answered("", status=307, headers={"Location": elsewhere.url})

        with serving(script) as server, pytest.raises(UserError, match="final address"):
            list(asker(server.url).ask(QUESTIONS[:1]))
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://h/v1", "http://user:pw@h/v1", "http://h/v1?key=1", "file:///etc/passwd"],
)  # fmt: skip
def test_addresses_that_cannot_work(url: str) -> None:
    with pytest.raises(UserError, match="endpoint") as caught:
        asker(url)
    assert "pw" not in str(caught.value)


def test_an_unencrypted_way_for_the_key_is_said(caplog: pytest.LogCaptureFixture) -> None:
    asker("http://judge.invalid/v1")
    assert "$JUDGE_KEY goes there unencrypted" in caplog.text
    assert KEY not in caplog.text


def test_leaving_early_does_not_wait_for_what_hangs() -> None:
    def script(asked: Asked) -> Answered:
        return Answered("x", after_s=0.0 if asked.user == "question 0" else 3.0)

    with serving(script) as server:
        replies = asker(server.url, parallel=2).ask(QUESTIONS)
        assert next(replies).id == "q0"
        start = time.monotonic()
        replies.close()  # type: ignore[attr-defined]
        assert time.monotonic() - start < 1.0
