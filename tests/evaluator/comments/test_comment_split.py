"""Code and comments told apart, by syntax and line by line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.comments.split import DASHES, HASHES, SLASHES, aligned, same_code, split

PROGRAM = '''\
# at the top
import os  # why

class A:
    """What A is.

    In two parts.
    """

    # about f
    # still about f
    def f(self):
        \'\'\'Does f.\'\'\'
        url = "http://x#y"  # an address

        return url
    # after all
'''


def test_python_by_syntax() -> None:
    found = split(PROGRAM, "python")
    assert found.method == "syntax"
    assert [(c.line, c.text) for c in found.comments] == [
        (1, "at the top"),
        (1, "why"),
        (3, "What A is. In two parts."),
        (11, "about f"),
        (11, "still about f"),
        (11, "Does f."),
        (13, "an address"),
        (15, "after all"),
    ]
    assert [code for _, code in found.normal] == [
        "import os",
        "class A:",
        "def f(self):",
        'url = "http://x#y"',
        "return url",
    ]


def test_python_that_does_not_parse_is_read_line_by_line() -> None:
    found = split("x = (1  # one\nif:\n# two", "python")
    assert found.method == "lines"
    assert [(c.line, c.text) for c in found.comments] == [(0, "one"), (1, "two")]


def test_indented_snippets_parse() -> None:
    assert split("    # a\n    return x", "python").comments[0].line == 1
    assert same_code("    x = 1", "x = 1  # one", "python") == (True, "syntax")


def test_java_line_by_line() -> None:
    program = (
        "/** Doc\n * of it. */\nint f() { // why\n"
        '  String s = "http://x /* no */"; /* mid */ char c = \'"\'; // tail\n}\n'
    )
    found = split(program, "Java".lower())
    assert [(c.line, c.text) for c in found.comments] == [
        (2, "Doc"),
        (2, "of it."),
        (2, "why"),
        (3, "mid tail"),
    ]
    assert found.normal[1] == (3, 'String s = "http://x /* no */"; char c = \'"\';')


def test_marks_of_other_languages() -> None:
    assert split("echo a#b # c", "bash").normal == [(0, "echo a#b")]
    assert split("SELECT 1 -- one\n/* two */ FROM t", "sql").normal == [(0, "SELECT 1"), (1, "FROM t")]  # fmt: skip
    assert split("let s = `a\n// b`; // c", "js").normal == [(0, "let s = `a"), (1, "// b`;")]
    with pytest.raises(ValueError, match="brainfuck"):
        split("+", "brainfuck")


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("x=1", "x = 1  # one\n\n", True),
        ("def f():\n    return 1", 'def f():\n    """Doc."""\n    return 1', True),
        ("def f():\n    pass", 'def f():\n    """Doc."""', True),
        ("x = '# no'", "x = '# yes'", False),
        ("x = 1", "x = 2  # x = 1", False),
        ("x = 1\ny = 2", "x = 1", False),
        ("f('a')", 'f("a")', True),
    ],
)
def test_same_code_in_python(a: str, b: str, same: bool) -> None:
    assert same_code(a, b, "python") == (same, "syntax")
    assert same_code(b, a, "python")[0] == same


def test_same_code_elsewhere() -> None:
    assert same_code("int  x;\nint y;", "int x; // a\n/* b */\nint y;", "c") == (True, "lines")
    assert same_code("int x;", "int x; int y;", "c") == (False, "lines")


def test_lines_are_found_again() -> None:
    before = split("a = 1\nb = 2\nc = 3", "python")
    after = split("# one\na = 1\n# two\nb = 2\nd = 4\nc = 3  # three", "python")
    assert aligned(before, after) == {0: 1, 1: 3, 2: 5}


@settings(deadline=None)
@given(st.text() | st.text(alphabet="#'\"\n\r\x0c\\ \tdefx:()=/*-`"), st.sampled_from(["python", "c", "sql", "bash"]))  # fmt: skip
def test_any_text_is_split_and_the_same_as_itself(text: str, language: str) -> None:
    found = split(text, language)
    assert same_code(text, text, language)[0]
    lines = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    assert len(found.code) == lines
    assert all(0 <= comment.line < lines for comment in found.comments)


statements = st.sampled_from(["x = 1", "if x:\n    y = 'a # b'", "def f(a):\n    return {a: 2}", "pass"])  # fmt: skip


@settings(deadline=None)
@given(st.lists(statements, min_size=1), st.data())
def test_comments_change_no_code(parts: list[str], data: st.DataObject) -> None:
    lines = "\n".join(parts).split("\n")
    remarks = st.sampled_from(["", "# a", "#", "\t# b # c"])
    commented = []
    for line in lines:
        above = data.draw(remarks).strip()
        commented += [above] if above else []
        commented.append(line + "  " + data.draw(remarks))
    before, after = "\n".join(lines), "\n".join(commented)
    assert same_code(before, after, "python") == (True, "syntax")
    assert [c for _, c in split(before, "python").normal] == [
        c for _, c in split(after, "python").normal
    ]


def test_no_language_is_of_two_kinds() -> None:
    assert not SLASHES & HASHES
    assert not DASHES & (SLASHES | HASHES)
