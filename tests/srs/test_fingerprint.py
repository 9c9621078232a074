import pytest
from hypothesis import given
from hypothesis import strategies as st

from srs.fingerprint import fingerprint

PLAIN = "def f(a, b):\n    return a + b\n"


@pytest.mark.parametrize(
    "same",
    [
        "def f(a,b): return a+b",
        "def f(a, b):  # adds\n\n    return (a + b)\n",
        'def f(a, b):\n    """Adds."""\n    return a + b\n',
        '"""A module."""\ndef f(a, b):\n    "Adds."\n    return a + b\n',
    ],
)
def test_layout_comments_and_docstrings_do_not_count(same: str) -> None:
    assert fingerprint(same) == fingerprint(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        "def f(a, b):\n    return b + a\n",
        "def g(a, b):\n    return a + b\n",
        "def f(a, b):\n    return a - b\n",
        "async def f(a, b):\n    return a + b\n",
        "def f(a, b=0):\n    return a + b\n",
        "def f(a, *, b):\n    return a + b\n",
        PLAIN + "f(1, 2)\n",
    ],
)
def test_the_program_counts(other: str) -> None:
    assert fingerprint(other) != fingerprint(PLAIN)


def test_literals_of_different_types_differ() -> None:
    literals = ["1", "1.0", "True", "'1'", "b'1'", "1j", "None", "...", "-1", "'1', ''", "'1, '"]
    assert len({fingerprint(f"x = {text}") for text in literals}) == len(literals)


def test_structure_is_not_flattened() -> None:
    nested = ["[1, [2], 3]", "[1, [2, 3]]", "[[1, 2], 3]", "[1, 2, 3]", "[[], 1, 2, 3]"]
    assert len({fingerprint(text) for text in nested}) == len(nested)
    assert fingerprint("if a:\n  b\n  c") != fingerprint("if a:\n  b\nc")
    assert fingerprint("if a:\n  b\nelse:\n  c") != fingerprint("if a:\n  b\n  c")


def test_a_body_of_only_a_docstring_is_a_pass() -> None:
    assert fingerprint('def f():\n    "Nothing."') == fingerprint("def f():\n    pass")


@pytest.mark.parametrize(
    "hostile",
    [
        "x = " + "+".join(["1"] * 4_000),
        "x = " + "(" * 5_000 + ")" * 5_000,
        "x = " + "[" * 150 + "]" * 150,
        "x = " + "-" * 3_000 + "1",
        "x = 0x" + "f" * 100_000,
        "x = " + "9" * 10_000,
        "x = '\\ud800'",
        "x = '\ud800'",
        "x = 1\0",
        "def f(:",
        "",
    ],
    ids=["sum", "parens", "lists", "minus", "hex", "digits", "escaped surrogate", "surrogate", "null", "syntax", "empty"],
)  # fmt: skip
def test_hostile_programs_get_a_stable_fingerprint(hostile: str) -> None:
    assert fingerprint(hostile) == fingerprint(hostile)
    assert fingerprint(hostile) != fingerprint(PLAIN)


def test_unparsed_text_is_told_apart_by_its_text() -> None:
    assert fingerprint("def f(:") == fingerprint("def f(:\n")
    assert fingerprint("def f(:") != fingerprint("def g(:")


@given(st.text(max_size=60))
def test_any_text_has_a_fingerprint(text: str) -> None:
    assert len(fingerprint(text)) == 32
