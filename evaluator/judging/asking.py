"""Questions to a model, each asked once: every reply is kept in a log, and a second run asks the rest."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Protocol

from evaluator.judging import files
from srs.prompts import AnswerKind
from srs.types import UserError

log = logging.getLogger(__name__)


class AskError(Exception):
    """The model can't be asked: it is not there, or fails again and again. Nothing was judged by it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question: instructions (may be empty), what is asked, and the kind of answer wanted.

    ``answer``: what a local model's prompt asks for in the end. An endpoint is sent the words alone.
    """

    id: str
    system: str
    user: str
    answer: AnswerKind = "text"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The model's words. ``attempts`` counts requests, ``wall_s`` spans all of them."""

    id: str
    text: str
    attempts: int = 1
    wall_s: float = 0.0


class Asker(Protocol):
    """A model that answers questions."""

    @property
    def name(self) -> str:
        """The model and every setting that changes its replies; part of what a reply is kept under."""
        ...

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """A reply to each question, in any order. Raises AskError, and UserError for bad settings."""
        ...


def ask_all(
    questions: Sequence[Question],
    asker: Asker,
    log_path: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, str]:
    """The reply to each question by its id; those in the log already are not asked again.

    A line of the log holds ``id, key, model, system, user, reply, attempts, wall_s``; ``key`` stands for
    the question and the model with its settings, so that a changed one is asked anew. A line cut off by
    a crash is dropped. ``advance`` is called with the number of replies that came.

    Raises AskError (the replies that came before are in the log), and UserError when the log is
    unusable or another process writes it.
    """
    keys = {q.id: files.digest(asker.name, q.system, q.user, q.answer) for q in questions}
    by_id = {q.id: q for q in questions}
    with _opened(log_path) as (stream, kept):
        replies = {id: kept[id, key] for id, key in keys.items() if (id, key) in kept}
        advance(len(replies))
        missing = [q for q in questions if q.id not in replies]
        for reply in asker.ask(missing) if missing else ():
            question = by_id[reply.id]
            line = {
                "id": reply.id,
                "key": keys[reply.id],
                "model": asker.name,
                "system": question.system,
                "user": question.user,
                "reply": reply.text,
                "attempts": reply.attempts,
                "wall_s": round(reply.wall_s, 3),
            }
            try:
                data = json.dumps(line).encode("ascii") + b"\n"
                if stream.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as e:
                raise UserError(f"{log_path}: cannot write the log of replies: {e.strerror}") from e
            replies[reply.id] = reply.text
            advance(1)
        os.fsync(stream.fileno())
    return replies


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[FileIO, dict[tuple[str, str], str]]]:
    """The log, locked and at its end, and the replies in it by (id, key)."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+b", buffering=0)
    except OSError as e:
        raise UserError(f"{path}: cannot open the log of replies: {e.strerror}") from e
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise UserError(f"{path}: another process writes this log; wait for it") from e
        stream.seek(0)
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            log.warning("%s: its last line was cut off, and is asked again", path)
            stream.truncate(whole)
        kept: dict[tuple[str, str], str] = {}
        for number, row in files.rows(path):
            if isinstance(row, ValueError):
                raise UserError(f"{path}:{number}: {row}; mend or delete the log")
            try:
                kept[row["id"], row["key"]] = row["reply"]
            except KeyError as e:
                raise UserError(
                    f"{path}:{number}: no {e.args[0]}; is this a log of replies?"
                ) from e
        yield stream, kept
