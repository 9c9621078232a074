"""Groups of tasks that belong together, and which side of a split a group falls on.

Pure. Nothing depends on the order of the rows: a group is named by its smallest base id, and a salted
hash of that name decides. Adding rows therefore moves no other task, unless a new row joins two groups
or brings a group a smaller base id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Iterable, Sequence

from srs.types import Task

STYLE_SUFFIXES = ("I", "C", "OJ")
WORD = re.compile(r"\w+")


def base_id(task_id: str) -> str:
    """``Code_Contests_12_I`` → ``Code_Contests_12``; an id without a style suffix is its own base."""
    base, _, suffix = task_id.rpartition("_")
    return base if base and suffix in STYLE_SUFFIXES else task_id


def normalised(text: str) -> str:
    """Lower-case words and digits of a text; the text itself when it has none."""
    return " ".join(WORD.findall(text.lower())) or text


class Groups:
    """Union-find over base ids, questions and tests: rows that share any of the three are one group."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._name: list[str] = []
        self._first_with: dict[Hashable, int] = {}

    def add(self, task: Task) -> int:
        """Take the task in; its handle is for `name`, once all tasks are in."""
        node = len(self._parent)
        self._parent.append(node)
        self._name.append(base_id(task.id))
        keys = [_digest("id", self._name[node]), _digest("test", " ".join(task.test.split()))]
        if task.question.strip():
            keys.append(_digest("question", normalised(task.question)))
        for key in keys:
            self._union(self._first_with.setdefault(key, node), node)
        return node

    def name(self, node: int) -> str:
        """The smallest base id of the group."""
        return self._name[self._root(node)]

    def names(self) -> set[str]:
        """The names of all groups."""
        return {self._name[n] for n, parent in enumerate(self._parent) if n == parent}

    def _root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def _union(self, a: int, b: int) -> None:
        a, b = self._root(a), self._root(b)
        if self._name[b] < self._name[a]:
            a, b = b, a
        self._parent[b] = a


def fraction(salt: str, name: str) -> float:
    """A number in [0, 1) fixed by its arguments: the first 53 bits of SHA-256 of ``salt`` and ``name``."""
    digest = hashlib.sha256(f"{salt}\0{name}".encode()).digest()
    return float(int.from_bytes(digest[:8], "big") >> 11) / 2**53


def held_out_groups(names: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """The groups kept for evaluation: those whose hash falls below ``share``.

    With two groups or more, neither side is left empty: the group nearest the border crosses it.
    """
    hashes = sorted((fraction(f"split {seed}", name), name) for name in set(names))
    n = sum(h < share for h, _ in hashes)
    if len(hashes) >= 2:
        n = min(max(n, 1), len(hashes) - 1)
    return frozenset(name for _, name in hashes[:n])


def draw(tasks: Sequence[Task], n: int, seed: int) -> list[Task]:
    """``n`` tasks chosen by the hash of their group, in the order given; all of them when ``n`` is 0.

    A larger ``n`` keeps what a smaller one chose, and members of a group are chosen next to each other.
    """
    if not n or n >= len(tasks):
        return list(tasks)
    ranked = sorted(tasks, key=lambda t: (fraction(f"draw {seed}", t.group), t.group, t.id))
    chosen = {task.id for task in ranked[:n]}
    return [task for task in tasks if task.id in chosen]


def _digest(kind: str, text: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{kind}\0{text}".encode(), digest_size=16).digest())
