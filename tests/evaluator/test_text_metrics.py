import functools
import importlib.util
import math
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.text_metrics import (
    UnavailableError,
    bleu,
    code_bleu,
    edit_similarity,
    exact_match,
    levenshtein,
    normalised,
    text_scores,
)

words = st.text(alphabet="abc \n\té😀", max_size=12)
RETURN_SUM = "def add(a, b):\n    return a + b\n"


def by_definition(a: str, b: str) -> int:
    """The recurrence of the definition, cell by cell."""

    @functools.cache
    def distance(i: int, j: int) -> int:
        if not (i and j):
            return i + j
        substituted = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, substituted)

    return distance(len(a), len(b))


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        ("intention", "execution", 5),
        ("ab", "ba", 2),  # no transpositions
        ("é", "e", 1),
    ],
)
def test_levenshtein_by_hand(a: str, b: str, distance: int) -> None:
    assert levenshtein(a, b) == levenshtein(b, a) == distance


@given(words, words)
def test_levenshtein_is_the_textbook_recurrence(a: str, b: str) -> None:
    assert levenshtein(a, b) == by_definition(a, b)


@given(words, words, words)
def test_levenshtein_is_a_metric(a: str, b: str, c: str) -> None:
    assert (levenshtein(a, b) == 0) == (a == b)
    assert levenshtein(a, b) == levenshtein(b, a)
    assert levenshtein(a, c) <= levenshtein(a, b) + levenshtein(b, c)
    assert abs(len(a) - len(b)) <= levenshtein(a, b) <= max(len(a), len(b))


def test_levenshtein_of_long_texts() -> None:
    a = "x = 1\n" * 2_000
    assert levenshtein(a, a[:-1]) == 1
    assert levenshtein(a, a.replace("1", "2", 700)) == 700


def test_what_an_editor_hides_is_no_difference() -> None:
    assert normalised("\r\n\n  x = 1  \r\n\n\ty\t\n\n") == "  x = 1\n\n\ty"
    assert exact_match("x = 1\n", "\nx = 1   \r\n")
    assert not exact_match("  x = 1", "x = 1")  # indentation is Python
    assert not exact_match("x\n\ny", "x\ny")


def test_edit_similarity_by_hand() -> None:
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert edit_similarity("abc", "xyz") == 0
    assert edit_similarity("", "abc") == 0
    assert edit_similarity("", "\n") == 1


@given(words, words)
def test_edit_similarity_is_bounded_symmetric_and_1_where_texts_match(a: str, b: str) -> None:
    similarity = edit_similarity(a, b)
    assert 0 <= similarity <= 1
    assert similarity == edit_similarity(b, a)
    assert (similarity == 1) == exact_match(a, b)


def test_bleu_by_hand() -> None:
    # 1-grams 5/6, 2-grams 3/5, 3-grams 1/4, 4-grams 0/3, which exponential smoothing makes 1/(2·3).
    # Equal lengths: no brevity penalty.
    result = bleu(["the cat sat on the mat"], ["the cat sat in the mat"])
    by_hand = 100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25
    assert result.score == pytest.approx(by_hand)
    assert (result.low, result.high) == (None, None)
    assert "tok:13a" in result.signature
    assert "version:" in result.signature


def test_bleu_is_of_the_corpus_and_short_answers_pay() -> None:
    # 13 + 3 unigrams and so on, all found: precisions 1. BP = exp(1 - r/c) over both pairs together.
    long, short = "a b c d e f g h i j k l m", "n o p"
    result = bleu([long, short], [long, short + " q r s t u"])
    assert result.score == pytest.approx(100 * math.exp(1 - 21 / 16))


@settings(deadline=None)  # the first call loads sacrebleu
@given(st.permutations(range(4)))
def test_bleu_does_not_depend_on_the_order_of_pairs(order: list[int]) -> None:
    candidates = ["a b c d e", "x = 1", "return a + b", "for i in range ( 3 ) :"]
    references = ["a b c e d", "x = 2", "return a - b", "for j in range ( 3 ) :"]
    shuffled = bleu([candidates[i] for i in order], [references[i] for i in order])
    assert shuffled == bleu(candidates, references)
    assert 0 < shuffled.score < 100
    assert bleu(references, references).score == pytest.approx(100)


def test_bleu_names_its_tokenizer_and_has_an_interval() -> None:
    pairs = (["return a+b", "x = 1", "y = f(2)"], ["return a + b", "x = 2", "y = f(2)"])
    by_character = bleu(*pairs, tokenize="char", n_resamples=200)
    assert "tok:char" in by_character.signature
    assert by_character.low is not None
    assert by_character.high is not None
    assert 0 <= by_character.low < by_character.score < by_character.high <= 100.001
    assert by_character == bleu(*pairs, tokenize="char", n_resamples=200)


def test_bleu_interval_draws_whole_pairs() -> None:
    # One pair all right, one all wrong: a quarter of the resamples hold only the first, a quarter only
    # the second.
    found = bleu(["a b c d e", "v w x y z"], ["a b c d e", "p q r s t"], n_resamples=300)
    assert found.low == pytest.approx(0)
    assert found.high == pytest.approx(100)
    same = bleu(["a b c d e"] * 3, ["a b c d e"] * 3, n_resamples=20)
    assert same.low == same.high == pytest.approx(100)


def test_text_scores_by_hand() -> None:
    scores = text_scores(
        [RETURN_SUM, None, "abcd"], [RETURN_SUM + "\n", "xyz", "abcx"], n_resamples=500
    )
    assert scores["n"] == 3
    assert scores["exact_match"]["value"] == pytest.approx(1 / 3)
    assert scores["edit_similarity"]["value"] == pytest.approx((1 + 0 + 3 / 4) / 3)
    for name in ("exact_match", "edit_similarity"):
        assert 0 <= scores[name]["low"] <= scores[name]["value"] <= scores[name]["high"] <= 1
    assert set(scores["bleu"]) == {"score", "signature", "low", "high"}
    assert scores["codebleu"].keys() in ({"skipped"}, {"score", "ngram", "weighted_ngram", "syntax", "dataflow"})  # fmt: skip


@pytest.mark.parametrize(
    ("candidates", "references", "said"),
    [
        (["a"], ["a", "b"], "1 candidates for 2 references"),
        ([], [], "0 candidates for 0"),
        (["a"], [" \n"], "blank reference"),
    ],
)
def test_pairs_that_mean_nothing_are_refused(
    candidates: list[str | None], references: list[str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        text_scores(candidates, references)


def test_codebleu_says_why_it_was_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codebleu", None)
    with pytest.raises(
        UnavailableError, match=r"not installed .* pip install 'srs-code\[codebleu\]'"
    ):
        code_bleu(["x"], ["x"])
    assert "not installed" in text_scores(["x"], ["x"], n_resamples=10)["codebleu"]["skipped"]


def test_codebleu_with_another_treesitter_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What codebleu 0.7 does beside tree-sitter-python 0.25, and for a language it doesn't know."""

    def refuse(language: str) -> None:
        assert language == "python", f"Language {language} not available."
        raise TypeError("an integer is required")

    package, utils = types.ModuleType("codebleu"), types.ModuleType("codebleu.utils")
    package.__dict__["calc_codebleu"] = None
    utils.__dict__["get_tree_sitter_language"] = refuse
    monkeypatch.setitem(sys.modules, "codebleu", package)
    monkeypatch.setitem(sys.modules, "codebleu.utils", utils)
    with pytest.raises(UnavailableError, match=r"python grammar .*an integer is required"):
        code_bleu(["x"], ["x"])
    with pytest.raises(UnavailableError, match="cobol grammar"):
        code_bleu(["x"], ["x"], language="cobol")


@pytest.mark.skipif(
    importlib.util.find_spec("codebleu") is None,
    reason="the optional package codebleu is not installed (pip install 'srs-code[codebleu]')",
)
def test_codebleu_of_the_real_package() -> None:
    same = code_bleu([RETURN_SUM], [RETURN_SUM])
    assert same.score == pytest.approx(1)
    # Same tree and data flow, other tokens: "a+b" is one token where the reference has three.
    spaced = code_bleu(["def add(a, b):\n    return a+b"], [RETURN_SUM])
    assert (spaced.syntax, spaced.dataflow) == (1, 1)
    assert spaced.ngram < 1
    assert spaced.score == pytest.approx((spaced.ngram + spaced.weighted_ngram + 2) / 4)
    # The package counts no data flow as 1: what the docstring warns of.
    assert code_bleu([""], ["x = 1"]).score == pytest.approx(0.25)
