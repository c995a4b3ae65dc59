"""Scores of generated text against a reference, and figures of generated text as such."""

import re
import string
from collections import Counter
from collections.abc import Sequence

from keepgain.core.items import Floats
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = set(string.punctuation)


def exact_match(answer: str, row: Row, _: ScorerOptions) -> float:
    """1 if the answer is the reference, both stripped of white space at their ends."""
    return float(answer.strip() == row.answer.strip())


def normalised_match(answer: str, row: Row, _: ScorerOptions) -> float:
    """1 if answer and reference are equal after `normalised`."""
    return float(normalised(answer) == normalised(row.answer))


def token_f1(answer: str, row: Row, _: ScorerOptions) -> float:
    """F1 of the multisets of words after `normalised` (Rajpurkar et al. 2016, arXiv 1606.05250).

    As in SQuAD 2.0, two texts without words agree (1), and one alone does not (0).
    """
    return _f1(Counter(normalised(answer).split()), Counter(normalised(row.answer).split()))


def span_f1(answer: str, row: Row, options: ScorerOptions) -> float:
    """F1 of the sets of spans; two empty sets agree (1)."""
    return _f1(Counter(_spans(answer, options)), Counter(_spans(row.answer, options)))


def span_report(
    answers: Sequence[str], rows: Sequence[Row], _: Floats, options: ScorerOptions
) -> dict[str, float]:
    """`micro_precision`, `micro_recall`, `micro_f1` over the spans of all items; a rate without any
    span under it is left out."""
    found = [
        (_spans(a, options), _spans(r.answer, options)) for a, r in zip(answers, rows, strict=True)
    ]
    hits = sum(len(given & wanted) for given, wanted in found)
    given, wanted = (sum(len(pair[side]) for pair in found) for side in (0, 1))
    rates = {
        "micro_precision": (hits, given),
        "micro_recall": (hits, wanted),
        "micro_f1": (2 * hits, given + wanted),
    }
    return {name: part / whole for name, (part, whole) in rates.items() if whole}


def normalised(text: str) -> str:
    """SQuAD's normalisation: lower case, no ASCII punctuation, no articles, single spaces."""
    kept = "".join(c for c in text.lower() if c not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams of words over all n-grams of all texts (Li et al. 2016, arXiv 1510.03055).

    None without any n-gram.
    """
    grams = [
        tuple(words[at : at + n])
        for words in (text.split() for text in texts)
        for at in range(len(words) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else None


def length_ratio(texts: Sequence[str], references: Sequence[str]) -> float | None:
    """Mean length of the stripped texts over that of the references, in characters; None if the
    references are empty."""
    wanted = sum(len(r.strip()) for r in references)
    return sum(len(t.strip()) for t in texts) / wanted if wanted else None


def _spans(text: str, options: ScorerOptions) -> set[str]:
    return {part for piece in text.split(options.separator) if (part := piece.strip())}


def _f1(given: Counter[str], wanted: Counter[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    return 2 * (given & wanted).total() / (given.total() + wanted.total())
