"""A program's code and its comments, told apart. Pure.

Python is read by its own tokenizer and parser, and docstrings count as comments. For other languages a
scan line by line knows the usual comment marks and quotes, and no more: not raw strings, regular
expression literals, here-documents or nested comments.
"""

from __future__ import annotations

import ast
import bisect
import contextlib
import dataclasses
import difflib
import re
import textwrap
import tokenize
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

Method = Literal["syntax", "lines"]
PYTHON = frozenset({"python", "py", "python3"})
SLASHES = frozenset(["c", "c++", "cc", "cpp", "h", "hpp", "java", "javascript", "js", "jsx", "typescript", "ts", "tsx", "go", "golang", "rust", "rs", "kotlin", "kt", "swift", "scala", "csharp", "cs", "c#", "php", "dart", "cuda", "cangjie"])  # fmt: skip
HASHES = frozenset(["sh", "bash", "shell", "zsh", "ruby", "rb", "perl", "pl", "r", "yaml", "yml", "toml", "make", "makefile", "dockerfile", "elixir", "julia"])  # fmt: skip
DASHES = frozenset(["sql", "lua", "haskell", "hs", "ada", "vhdl"])
OPENS_COMMENT = re.compile(r"^[\s/*#\-!]+|[\s*/]+$")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """``line``: the line of code it belongs to, from 0; its own, or the next one for a line of comment."""

    line: int
    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """``code`` has the program's lines without comments, as many as the program has."""

    code: tuple[str, ...]
    comments: tuple[Comment, ...]
    method: Method

    @property
    def normal(self) -> list[tuple[int, str]]:
        """(line, its code with single blanks) for each line that has code."""
        return [(i, " ".join(line.split())) for i, line in enumerate(self.code) if line.strip()]

    def at(self, line: int) -> list[str]:
        """The comments that belong to a line of code."""
        return [comment.text for comment in self.comments if comment.line == line]


def is_known(language: str) -> bool:
    """Whether this language's comments can be told from its code."""
    return language in PYTHON | SLASHES | HASHES | DASHES


def split(program: str, language: str) -> Split:
    """Raises ValueError for a language that isn't known."""
    if not is_known(language):
        raise ValueError(f"{language}: its comments are not known here")
    program = program.replace("\r\n", "\n").replace("\r", "\n")
    if language in PYTHON:
        text = textwrap.dedent(program)
        if (tree := _parsed(text)) is not None:
            with contextlib.suppress(tokenize.TokenError, SyntaxError):
                return _split_python(text, tree)
    return _split_lines(program, language)


def same_code(a: str, b: str, language: str) -> tuple[bool, Method]:
    """Whether two programs are the same but for comments, blank lines and, where parsed, formatting.

    Python's are compared as syntax trees without docstrings when both parse; anything else line by line
    without comments, blanks within a line counted as one. Raises ValueError for an unknown language.
    """
    if language in PYTHON:
        trees = [_parsed(textwrap.dedent(program)) for program in (a, b)]
        if all(tree is not None for tree in trees):
            with contextlib.suppress(RecursionError):  # an expression nested in the thousands
                x, y = (ast.dump(_without_docstrings(tree)) for tree in trees if tree is not None)
                return x == y, "syntax"
    x_lines, y_lines = ([code for _, code in _split_lines(p, language).normal] for p in (a, b))
    return x_lines == y_lines, "lines"


def aligned(before: Split, after: Split) -> Mapping[int, int]:
    """Line of code in ``before`` → the same line in ``after``, for lines that are in both."""
    x, y = before.normal, after.normal
    matcher = difflib.SequenceMatcher(None, [c for _, c in x], [c for _, c in y], autojunk=False)
    return {
        x[block.a + i][0]: y[block.b + i][0]
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    }


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the model's code, which is only read
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


Documented = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _docstrings(tree: ast.Module) -> Iterator[tuple[Documented, ast.Expr, str]]:
    for node in ast.walk(tree):
        if isinstance(node, Documented) and node.body:
            match node.body[0]:
                case ast.Expr(value=ast.Constant(value=str(text))) as statement:
                    yield node, statement, text


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node, statement, _ in list(_docstrings(tree)):
        node.body.remove(statement)
        if not node.body and not isinstance(node, ast.Module):
            node.body.append(ast.Pass())
    return tree


def _split_python(text: str, tree: ast.Module) -> Split:
    lines = text.split("\n")
    found: list[tuple[int, str, bool]] = []
    """Line, text, and whether the line's own code is what it belongs to."""
    source = iter([line + "\n" for line in lines])
    for token in tokenize.generate_tokens(lambda: next(source, "")):
        if token.type == tokenize.COMMENT:
            row, column = token.start[0] - 1, token.start[1]
            lines[row] = lines[row][:column]
            found.append((row, _bare(token.string), bool(lines[row].strip())))
    for node, statement, said in _docstrings(tree):
        first, last = statement.lineno - 1, (statement.end_lineno or statement.lineno) - 1
        head = lines[first].encode()[: statement.col_offset].decode()
        tail = lines[last].encode()[statement.end_col_offset :].decode()
        for row in range(first, last + 1):
            lines[row] = ""
        lines[first] = head + tail
        at = first if isinstance(node, ast.Module) else node.lineno - 1
        found.append((at, _bare(said), not isinstance(node, ast.Module)))
    return _attached(lines, found, "syntax")


def _split_lines(program: str, language: str) -> Split:
    if language in SLASHES:
        mark, block = "//", ("/*", "*/")
    elif language in DASHES:
        mark, block = "--", None
    else:
        mark, block = "#", None
    if language == "sql":
        block = ("/*", "*/")
    lines: list[str] = []
    found: list[tuple[int, str, bool]] = []
    in_block = False
    quote = ""
    for row, line in enumerate(program.split("\n")):
        code, comment, in_block, quote = _scan(line, mark, block, in_block, quote)
        lines.append(code.rstrip())
        if comment.strip():
            found.append((row, _bare(comment), bool(code.strip())))
    return _attached(lines, found, "lines")


def _scan(
    line: str, mark: str, block: tuple[str, str] | None, in_block: bool, quote: str
) -> tuple[str, str, bool, str]:
    """Code and comment of one line, and the state after it. Only backticks quote across lines."""
    code, comment, i = "", "", 0
    while i < len(line):
        if in_block and block:
            end = line.find(block[1], i)
            comment += line[i:] if end < 0 else line[i:end] + " "
            in_block = end < 0
            i = len(line) if end < 0 else end + len(block[1])
        elif quote:
            size = 2 if line[i] == "\\" else 1
            quote = "" if line[i] == quote else quote
            code += line[i : i + size]
            i += size
        elif line.startswith(mark, i) and (mark != "#" or i == 0 or line[i - 1].isspace()):
            comment += line[i + len(mark) :]
            break
        elif block and line.startswith(block[0], i):
            in_block = True
            i += len(block[0])
        else:
            quote = line[i] if line[i] in "\"'`" else ""
            code += line[i]
            i += 1
    return code, comment, in_block, quote if quote == "`" else ""


def _attached(lines: Sequence[str], found: list[tuple[int, str, bool]], method: Method) -> Split:
    """Comments on lines of their own belong to the next line of code, after the last one to that."""
    with_code = [i for i, line in enumerate(lines) if line.strip()]
    comments = []
    for row, text, own in sorted(found):
        if text:
            after = min(bisect.bisect_left(with_code, row), len(with_code) - 1)
            line = row if own or not with_code else with_code[after]
            comments.append(Comment(line=line, text=text))
    return Split(
        code=tuple(line.rstrip() for line in lines), comments=tuple(comments), method=method
    )


def _bare(comment: str) -> str:
    """A comment's words on one line, without its marks."""
    inner = "\n".join(OPENS_COMMENT.sub("", line) for line in comment.split("\n"))
    return " ".join(inner.split())
