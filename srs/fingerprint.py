"""A program's identity without its layout: equal for two texts that differ in comments, docstrings
and formatting only.

The input is whatever a model wrote, so nothing here recurses: a thousand nested operators, or an
integer of a million digits, must not end a run.
"""

from __future__ import annotations

import ast
import hashlib


def fingerprint(code: str) -> str:
    """Hex digest of the syntax tree; of the stripped text when the code can't be parsed. Never raises."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        digest.update(b"text\0" + code.strip().encode("utf-8", "surrogatepass"))
        return digest.hexdigest()
    # Each node is written as its type, then its fields in order; a list with its length. That is a
    # prefix code of the tree, so two trees write the same bytes only when they are equal.
    todo: list[object] = [tree]
    while todo:
        item = todo.pop()
        if isinstance(item, ast.AST):
            digest.update(f"node {type(item).__name__}\n".encode())
            values = [
                _body(item) if name == "body" else getattr(item, name, None)
                for name in item._fields
            ]
            todo.extend(reversed(values))
        elif isinstance(item, list):
            digest.update(f"list {len(item)}\n".encode())
            todo.extend(reversed(item))
        else:
            value = _literal(item)
            digest.update(f"{type(item).__name__} {len(value)}\n".encode() + value)
    return digest.hexdigest()


def _body(node: ast.AST) -> object:
    body = getattr(node, "body")  # noqa: B009
    documented = isinstance(
        node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    )
    if documented and body and _is_text(body[0]):
        # `pass` keeps a function that holds only its docstring equal to one that holds `pass`.
        return body[1:] or [ast.Pass()]
    return body


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _literal(value: object) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int):
        return repr(value).encode("utf-8", "surrogatepass")
    return hex(value).encode()  # decimal text is refused beyond 4,300 digits, hexadecimal never is
