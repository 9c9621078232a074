"""A test file's text, the places of its syntax nodes in it, and copies with other text in some places."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A copy of a test file with one expectation altered: an honest solution that passes the original fails it.

    ``source``: the altered file, complete. ``test``: the id of the altered test without parameters,
    ``test_f`` or ``TestC::test_m``. ``change``: in words, as in ``line 12: 3 became 4``.
    """

    source: str
    test: str
    change: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Text to put in the place of nodes of the tree, and what that changes, in words."""

    splices: tuple[tuple[ast.expr, str], ...]
    words: str


class Source:
    """A file's text and where its syntax nodes stand in it; their columns count UTF-8 bytes."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.bytes = text.encode()
        self.lines = [0, *(m.end() for m in re.finditer(rb"\r\n|\r|\n", self.bytes))]

    def span(self, node: ast.expr) -> tuple[int, int]:
        start = self.lines[node.lineno - 1] + node.col_offset
        line, column = end_of(node)
        return start, self.lines[line - 1] + column

    def text(self, node: ast.expr) -> str:
        start, end = self.span(node)
        return self.bytes[start:end].decode()

    def spliced(self, edit: Edit) -> str:
        return self._between(0, len(self.bytes), edit)

    def part(self, node: ast.expr, edit: Edit) -> str:
        """The node's own text, with what of the edit is in it."""
        return self._between(*self.span(node), edit)

    def holds(self, node: ast.expr, other: ast.expr) -> bool:
        (start, end), (first, last) = self.span(node), self.span(other)
        return start <= first and last <= end

    def _between(self, start: int, end: int, edit: Edit) -> str:
        parts, at = [], start
        for (first, last), text in sorted((self.span(n), text) for n, text in edit.splices):
            if start <= first and last <= end:
                parts += [self.bytes[at:first], text.encode()]
                at = last
        return b"".join([*parts, self.bytes[at:end]]).decode()


def start_of(node: ast.AST) -> tuple[int, int] | None:
    return (node.lineno, node.col_offset) if isinstance(node, ast.expr) and is_real(node) else None


def end_of(node: ast.stmt | ast.expr) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or node.col_offset


def is_real(node: ast.AST) -> bool:
    """Whether the node stands in the file, and was not made up while resolving a loop."""
    return hasattr(node, "lineno")


def key_of(node: ast.AST) -> str | None:
    """The name of a variable, of an attribute of one, or of a constant item of one; else None."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value) | ast.Subscript(value=value, slice=ast.Constant()):
            return ast.unparse(node) if key_of(value) is not None else None
        case _:
            return None


def keys_of(node: ast.AST) -> Iterator[str]:
    key = key_of(node)
    if key is not None:
        yield key
    else:
        for child in ast.iter_child_nodes(node):
            yield from keys_of(child)


def called_name(node: ast.AST) -> str:
    """What is called, without the module or object that it belongs to."""
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
        case _:
            return ""


def preorder(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, ast.expr):
        for child in ast.iter_child_nodes(node):
            yield from preorder(child)
