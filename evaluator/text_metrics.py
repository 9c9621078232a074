"""How close a candidate's text is to a reference's: reported beside pass rates, never a reward. Pure.

None of these numbers runs anything: a right program in other words scores low, a wrong one that copies
the reference scores high.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from evaluator.metrics import mean_with_interval


class UnavailableError(Exception):
    """A metric whose optional package isn't usable here. The text says why, and how to get it."""


def normalised(text: str) -> str:
    r"""``text`` without what an editor hides: ``\r``, blanks at line ends, blank lines at both ends.

    Indentation and inner blank lines stay.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def exact_match(candidate: str, reference: str) -> bool:
    """Whether the two are the same text once `normalised` (CodeXGLUE's EM, Lu et al. 2021, arXiv:2102.04664)."""
    return normalised(candidate) == normalised(reference)


def levenshtein(a: str, b: str) -> int:
    """Fewest insertions, deletions and substitutions of one character that turn ``a`` into ``b``.

    Levenshtein 1966, on Unicode code points; computed a column of the table at a time, as bits of one
    integer (Myers 1999, J. ACM 46(3), in the form of Hyyrö 2003): O(len(a)·len(b)/64) word operations,
    less what the two have in common at both ends.
    """
    shorter = min(len(a), len(b))
    start = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    end = next((i for i in range(shorter - start) if a[-1 - i] != b[-1 - i]), shorter - start)
    a, b = a[start : len(a) - end], b[start : len(b) - end]
    if not a:
        return len(b)
    where: dict[str, int] = {}
    for i, character in enumerate(a):
        where[character] = where.get(character, 0) | 1 << i
    full = (1 << len(a)) - 1
    last = 1 << (len(a) - 1)
    distance = len(a)
    up, down = full, 0  # rows where the column rises, or falls, by one
    for character in b:
        equal = where.get(character, 0)
        level = equal | down
        diagonal = (((equal & up) + up) ^ up) | equal
        right_up = down | (full & ~(diagonal | up))
        right_down = up & diagonal
        distance += bool(right_up & last) - bool(right_down & last)
        right_up = (right_up << 1) | 1
        right_down <<= 1
        up = full & (right_down | ~(level | right_up))
        down = full & right_up & level
    return distance


def edit_similarity(candidate: str, reference: str) -> float:
    """1 - Levenshtein distance / length of the longer, of the `normalised` texts: 0 … 1, 1 when equal.

    Levenshtein similarity was used for code by Svyatkovskiy et al. 2020 (IntelliCode Compose,
    arXiv:2005.08025); dividing by the longer text is what bounds it. CodeXGLUE's "edit sim" is another
    number: fuzzywuzzy's ratio, where a substitution costs two and the lengths are added.
    """
    a, b = normalised(candidate), normalised(reference)
    longer = max(len(a), len(b))
    return 1 - levenshtein(a, b) / longer if longer else 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bleu:
    """Corpus BLEU, 0 … 100, with sacrebleu's signature: scores with different ones don't compare.

    ``low`` and ``high`` bound its 95% bootstrap interval over pairs; None when not asked for.
    """

    score: float
    signature: str
    low: float | None = None
    high: float | None = None


def bleu(
    candidates: Sequence[str],
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    seed: int = 0,
    n_resamples: int = 0,
) -> Bleu:
    """Corpus BLEU (Papineni et al. 2002) as sacrebleu computes it (Post 2018, arXiv:1804.08771).

    100 · BP · exp(mean of ln p_n, n = 1 … 4), BP = min(1, exp(1 - r/c)): clipped n-gram precisions and
    lengths summed over all pairs, with sacrebleu's exponential smoothing. ``13a`` was made for prose and
    ignores line breaks and indentation; ``char`` and ``none`` are among the other tokenizers.

    ``n_resamples`` > 0 adds a percentile interval over pairs drawn with replacement (Koehn 2004); the one
    that sacrebleu offers is centred, and can leave 0 … 100. Raises ValueError when the lengths differ or
    there are none.
    """
    import numpy as np
    from sacrebleu.metrics.bleu import BLEU

    _check(candidates, references)
    metric = BLEU(tokenize=tokenize, force=True)  # force: code often ends like tokenized prose
    score = metric.corpus_score(list(candidates), [list(references)]).score
    low = high = None
    if n_resamples:
        pairs = [
            metric.corpus_score([candidate], [[reference]])
            for candidate, reference in zip(candidates, references, strict=True)
        ]
        counts = np.array([[*p.counts, *p.totals, p.sys_len, p.ref_len] for p in pairs])
        orders, n = metric.max_ngram_order, len(pairs)
        rng = np.random.default_rng(seed)
        scores = []
        for _ in range(n_resamples):
            sums = counts[rng.integers(n, size=n)].sum(0).tolist()
            resampled = BLEU.compute_bleu(
                correct=sums[:orders],
                total=sums[orders : 2 * orders],
                sys_len=sums[-2],
                ref_len=sums[-1],
                smooth_method=metric.smooth_method,
                effective_order=metric.effective_order,
            )
            scores.append(resampled.score)
        low, high = np.quantile(scores, [0.025, 0.975]).tolist()
    return Bleu(score=score, signature=str(metric.get_signature()), low=low, high=high)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CodeBleu:
    """CodeBLEU and its four parts, each 0 … 1. ``dataflow`` 0 means none matched or none was found."""

    score: float
    ngram: float
    weighted_ngram: float
    syntax: float
    dataflow: float


def code_bleu(
    candidates: Sequence[str], references: Sequence[str], *, language: str = "python"
) -> CodeBleu:
    """CodeBLEU (Ren et al. 2020, arXiv:2009.10297) as the package ``codebleu`` computes it.

    ¼ n-gram match + ¼ keyword-weighted n-gram match + ¼ syntax-tree match + ¼ data-flow match. Report it,
    never train on it: tokens are split at blanks, so spacing alone moves it, and the package counts a
    data flow of 0 as 1, so that an empty answer scores 0.25.

    Raises UnavailableError where the package or the grammar of ``language`` can't be used, ValueError
    when the lengths differ or there are none.
    """
    _check(candidates, references)
    how = "pip install 'srs-code[codebleu]'"
    try:
        from codebleu import calc_codebleu
        from codebleu.utils import get_tree_sitter_language
    except ImportError as e:
        raise UnavailableError(f"the package codebleu is not installed ({e}): {how}") from e
    try:
        get_tree_sitter_language(language)
    except (ImportError, AssertionError, TypeError, ValueError) as e:
        # What tree-sitter raises for a grammar of another version differs from version to version.
        raise UnavailableError(
            f"codebleu can't use the {language} grammar ({type(e).__name__}: {e}): {how}"
        ) from e
    parts: dict[str, float] = calc_codebleu(list(references), list(candidates), lang=language)
    return CodeBleu(
        score=float(parts["codebleu"]),
        ngram=float(parts["ngram_match_score"]),
        weighted_ngram=float(parts["weighted_ngram_match_score"]),
        syntax=float(parts["syntax_match_score"]),
        dataflow=float(parts["dataflow_match_score"]),
    )


def text_scores(
    candidates: Sequence[str | None],
    references: Sequence[str],
    *,
    seed: int = 0,
    n_resamples: int = 1_000,
) -> dict[str, Any]:
    """All of the above over pairs, ready for JSON; None as a candidate (no code) counts as empty text.

    ``exact_match`` and ``edit_similarity``: `evaluator.metrics.mean_with_interval` over the pairs. A metric
    that can't be computed here is ``{"skipped": why}``. Raises ValueError when the lengths differ, there
    are no pairs, or a reference is blank.
    """
    _check(candidates, references)
    if any(not normalised(reference) for reference in references):
        raise ValueError("a blank reference is matched by no answer at all")
    texts = [candidate or "" for candidate in candidates]
    pairs = list(zip(texts, references, strict=True))
    scores: dict[str, Any] = {"n": len(pairs)}
    for name, values in (
        ("exact_match", [float(exact_match(*pair)) for pair in pairs]),
        ("edit_similarity", [edit_similarity(*pair) for pair in pairs]),
    ):
        scores[name] = mean_with_interval(values, seed=seed, n_resamples=n_resamples)
    scores["bleu"] = dataclasses.asdict(bleu(texts, references, seed=seed, n_resamples=n_resamples))
    try:
        scores["codebleu"] = dataclasses.asdict(code_bleu(texts, references))
    except UnavailableError as e:
        scores["codebleu"] = {"skipped": str(e)}
    return scores


def _check(candidates: Sequence[str | None], references: Sequence[str]) -> None:
    if len(candidates) != len(references) or not candidates:
        raise ValueError(f"{len(candidates)} candidates for {len(references)} references")
