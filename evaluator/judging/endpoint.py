"""A model behind an OpenAI-compatible endpoint: ``POST …/chat/completions``."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import logging
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

from evaluator.judging.asking import AskError, Question, Reply
from srs.types import UserError

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_WAIT_S = 60.0
MANY_FAILED = 4
"""Questions that got no reply after every attempt, before the rest isn't tried."""
MAX_BODY = 8 * 2**20
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where and how to ask. ``url`` is the API's base, such as ``http://localhost:8000/v1``.

    ``key_variable`` names the environment variable that holds the key, if the server wants one.
    A request is tried up to 1 + ``retries`` times, with ``backoff_s`` (doubled each time) between.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = 120.0
    retries: int = 4
    backoff_s: float = 1.0
    parallel: int = 4
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0


class EndpointAsker:
    """An `Asker` that sends requests from a few threads. The key is sent nowhere else and not logged."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises UserError for an address or a setting that can't work."""
        parts = urllib.parse.urlsplit(endpoint.url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UserError("endpoint: no user, password or query in the address; the key goes into the variable that --key-variable names")  # fmt: skip
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"endpoint {endpoint.url!r}: write it as http://host:port/v1")
        if endpoint.timeout_s <= 0 or endpoint.retries < 0 or endpoint.parallel < 1:
            raise UserError("endpoint: timeout above 0, retries 0 or more, parallel 1 or more")
        self._endpoint = endpoint
        self._key = os.environ.get(endpoint.key_variable, "").strip()
        if self._key and not re.fullmatch(r"[\x21-\x7e]+", self._key):
            raise UserError(f"${endpoint.key_variable}: holds characters that no key has")
        if self._key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            log.warning("%s: the key in $%s goes there unencrypted", endpoint.url, endpoint.key_variable)  # fmt: skip
        self._opener = urllib.request.build_opener(_NoRedirects)

    @property
    def name(self) -> str:
        e = self._endpoint
        return (
            f"{e.model} (temperature {e.temperature:g}, max_tokens {e.max_tokens}, seed {e.seed})"
        )

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Replies as they come. Raises AskError when a question got none, after the others were tried; at
        once when several did."""
        todo: queue.SimpleQueue[Question] = queue.SimpleQueue()
        done: queue.SimpleQueue[Reply | BaseException] = queue.SimpleQueue()
        stop = threading.Event()
        for question in questions:
            todo.put(question)

        def work() -> None:
            while not stop.is_set():
                try:
                    done.put(self._one(todo.get_nowait(), stop))
                except queue.Empty:
                    return
                except BaseException as e:  # the thread's boundary: raised where replies are taken
                    done.put(e)

        # Daemons: a request that hangs must not keep an interrupted program from ending.
        for _ in range(min(self._endpoint.parallel, len(questions))):
            threading.Thread(target=work, daemon=True).start()
        failed: list[AskError] = []
        try:
            for _ in questions:
                match done.get():
                    case Reply() as reply:
                        yield reply
                    case AskError() as e:
                        failed.append(e)
                        if len(failed) >= MANY_FAILED:
                            break  # the server is down: no use in trying the rest
                    case error:
                        raise error
        finally:
            stop.set()
        if failed:
            raise failed[0]

    def _one(self, question: Question, stop: threading.Event) -> Reply:
        start = time.monotonic()
        for attempt in range(1, self._endpoint.retries + 2):
            try:
                text = self._request(question)
            except _Passing as e:
                reason, wait_s = str(e), e.wait_s
            else:
                wall_s = time.monotonic() - start
                return Reply(id=question.id, text=text, attempts=attempt, wall_s=wall_s)
            if attempt <= self._endpoint.retries:
                pause = min(MAX_WAIT_S, max(wait_s, self._endpoint.backoff_s * 2 ** (attempt - 1)))
                log.info("%s: %s; again in %.1f s", question.id, reason, pause)
                if stop.wait(pause):
                    break
        raise AskError(f"{question.id}: {reason}, after {attempt} attempts")

    def _request(self, question: Question) -> str:
        """The reply's text. Raises _Passing for what may work later, UserError for what won't."""
        e = self._endpoint
        system = [{"role": "system", "content": question.system}] if question.system else []
        body = {
            "model": e.model,
            "messages": [*system, {"role": "user", "content": question.user}],
            "temperature": e.temperature,
            "max_tokens": e.max_tokens,
            "seed": e.seed,
        }
        request = urllib.request.Request(
            e.url.rstrip("/") + "/chat/completions",
            data=json.dumps(body).encode("ascii"),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=e.timeout_s) as response:
                content = response.read(MAX_BODY)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise _Passing(f"{e.url}: {type(error).__name__}: {reason}") from None
        return self._text_of(content)

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        """What a status says, as the exception to raise."""
        with error:
            try:
                body = error.read(2000).decode("utf-8", "replace")
            except (OSError, http.client.HTTPException):
                body = ""
        said = (
            f"{self._endpoint.url}: HTTP {error.code}: {self._hidden(' '.join(body.split())[:300])}"
        )
        if error.code in RETRIED:
            return _Passing(said, _seconds(error.headers.get("Retry-After")))
        if error.code in (401, 403):
            has = "is" if self._key else "is not"
            return UserError(f"{said}; ${self._endpoint.key_variable} {has} set")
        if 300 <= error.code < 400:
            return UserError(f"{said}; it points elsewhere: give the final address")
        return UserError(said)

    def _text_of(self, content: bytes) -> str:
        """The message in a response. Raises _Passing when there is none."""
        try:
            reply: Any = json.loads(content)
            text = reply["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            start = self._hidden(content[:200].decode("utf-8", "replace"))
            raise _Passing(f"{self._endpoint.url}: not a chat completion: {start!r}") from None
        return text if isinstance(text, str) else ""

    def _hidden(self, text: str) -> str:
        """A server may repeat the key that it refuses."""
        return text.replace(self._key, "***") if self._key else text


class _Passing(Exception):
    """A failure that may be over at the next attempt, ``wait_s`` from now or later."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the question, and with it what is judged, to an address nobody named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _seconds(header: str | None) -> float:
    """Retry-After in seconds; 0 for a date or nothing."""
    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, float(header or 0))
    return 0.0
