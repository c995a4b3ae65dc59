"""Answers held against the passage that the prompt shows: supported, abstained, asked back,
rejected. Rules and the user's patterns alone decide, no model. Free of torch.

Near relatives: SQuAD 2.0 (Rajpurkar et al. 2018, arXiv 1806.03822) has questions that the passage
does not answer, AmbigQA (Min et al. 2020, arXiv 2004.10645) ambiguous ones, CREPE (Yu et al. 2023,
arXiv 2211.17257) and FalseQA (Hu et al. 2023, arXiv 2307.02394) false premises, RAGTruth (Niu et
al. 2024, arXiv 2401.00396) answers with unsupported spans. Their scores are not computed here.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from keepgain.core.items import Floats
from keepgain.core.rows import Row
from keepgain.core.safe_patterns import texts_found
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.scorers.text import normalised

CONTENT_LETTERS = 4
"""Shorter words without a digit are taken for words that say nothing by themselves."""
_WORD = re.compile(r"[^\W_]+(?:(?:['’\-]|(?<=\d)[.,](?=\d))[^\W_]+)*")
"""P-12, don't, 3.5 and 1,000 are one each."""


def grounded(answer: str, row: Row, options: ScorerOptions) -> float:
    """By the item's `kind`, in [0, 1].

    * answerable: share of the answer's different parts that stand in the passage. Parts are what
      `entities` finds, else words with a digit or at least `CONTENT_LETTERS` letters, else all
      words. 0 of an answer that abstains or says nothing, and with `equals_reference` of one that
      differs from the reference after SQuAD's normalisation.
    * unanswerable: 1 if one of `abstains` is found in the answer.
    * ambiguous: 1 if one of `asks_back` is; without any, if the answer ends with a question mark.
    * false_premise: 1 if one of `rejects` is.
    """
    return _RULES[row.fact("kind")](answer, row, options)


def cited(answer: str, row: Row, options: ScorerOptions) -> float:
    """Share of the different texts that `entities` finds in the answer which are in the item's
    `allowed`, or stand in its passage; of an answer without any, 1 if the reference has none."""
    return _share_supported(answer, row, options.entities, _known(row))


def abstentions(
    answers: Sequence[str], rows: Sequence[Row], _: Floats, options: ScorerOptions
) -> dict[str, float]:
    """`abstained_KIND`: share of the items of each kind whose answer abstains; with `abstains`."""
    if not options.abstains:
        return {}
    given: dict[str, list[bool]] = {}
    for answer, row in zip(answers, rows, strict=True):
        given.setdefault(row.fact("kind"), []).append(_finds(options.abstains, answer))
    return {f"abstained_{kind}": sum(found) / len(found) for kind, found in sorted(given.items())}


def grounded_fault(row: Row, options: ScorerOptions) -> str | None:
    """Why the item cannot be scored by `grounded`; its own reference must score 1."""
    kind = row.fact("kind")
    if not isinstance(kind, str) or kind not in _RULES:
        return f"`kind` is {kind!r:.40}; it must be one of {', '.join(_RULES)}."
    if needed := _pattern_missing(kind, options):
        return f"an item of kind {kind} needs the suite's key `{needed}`."
    must = kind in ("answerable", "unanswerable")
    if fault := _passage_fault(row, must):
        return fault
    if grounded(row.answer, row, options) < 1:
        return (
            f"the item's own answer {row.answer!r:.60} does not score 1 as {kind}: "
            f"{_WHY[kind]} it does not fit."
        )
    return None


def cited_fault(row: Row, options: ScorerOptions) -> str | None:
    """Why the item cannot be scored by `cited`; its own reference must score 1."""
    allowed = row.fact("allowed")
    if not options.entities:
        return "the scorer cited needs the suite's key `entities`, a pattern."
    if allowed is not None and not (
        isinstance(allowed, list) and all(isinstance(a, str) and a.strip() for a in allowed)
    ):
        return "`allowed` must be a list of texts."
    if fault := _passage_fault(row, must=allowed is None):
        return fault
    if cited(row.answer, row, options) < 1:
        return (
            f"the item's own answer {row.answer!r:.60} does not score 1: `entities` finds in it "
            "what is neither in `allowed` nor in `passage`."
        )
    return None


def _supported(answer: str, row: Row, options: ScorerOptions) -> float:
    if options.abstains and _finds(options.abstains, answer):
        return 0.0
    if options.equals_reference and normalised(answer) != normalised(row.answer):
        return 0.0
    return _share_supported(answer, row, options.entities, _known(row))


def _share_supported(
    answer: str, row: Row, entities: str | None, known: Callable[[str], bool]
) -> float:
    parts = _parts(answer, entities)
    if not parts:
        # Nothing is claimed: as right as the reference, where it claims nothing either.
        silent = entities is not None and not _parts(row.answer, entities)
        return float(silent and bool(answer.strip()))
    return sum(map(known, parts)) / len(parts)


def _parts(answer: str, entities: str | None) -> set[str]:
    """What is looked for in the passage, plain."""
    if entities is not None:
        return _different(texts_found(entities, answer))
    words = [m.group() for m in _WORD.finditer(answer)]
    content = [w for w in words if len(w) >= CONTENT_LETTERS or re.search(r"\d", w)]
    return _different(content or words)


def _different(texts: Iterable[str]) -> set[str]:
    return {plain for text in texts if (plain := _plain(text))}


def _known(row: Row) -> Callable[[str], bool]:
    """Whether a plain text is in the item's list, or stands in its passage as whole words."""
    allowed = {_plain(text) for text in row.fact("allowed") or ()}
    passage = _plain(row.fact("passage") or "")

    def known(part: str) -> bool:
        # A number is no part of a longer one: 3 does not stand in 3.5, nor in 13. What begins or
        # ends with a mark that is not of numbers, as [2], may stand right beside a word.
        before = r"(?<![^\W_])(?<!\d[.,])" if _in_words(part[0]) else ""
        after = r"(?![^\W_])(?![.,]\d)" if _in_words(part[-1]) else ""
        whole = before + re.escape(part) + after
        return part in allowed or re.search(whole, passage) is not None

    return known


def _in_words(character: str) -> bool:
    return character.isalnum() or character in "+-−.,"


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _finds(patterns: Sequence[str], answer: str) -> bool:
    return any(next(texts_found(pattern, answer), None) is not None for pattern in patterns)


def _abstains(answer: str, _: Row, options: ScorerOptions) -> float:
    return float(_finds(options.abstains, answer))


def _asks_back(answer: str, _: Row, options: ScorerOptions) -> float:
    return float(_finds(options.asks_back or (r"[?？]\s*\Z",), answer))


def _rejects(answer: str, _: Row, options: ScorerOptions) -> float:
    return float(_finds(options.rejects, answer))


_RULES: Mapping[str, Callable[[str, Row, ScorerOptions], float]] = {
    "answerable": _supported,
    "unanswerable": _abstains,
    "ambiguous": _asks_back,
    "false_premise": _rejects,
}
_WHY = {
    "answerable": "the passage, `abstains` or `entities`",
    "unanswerable": "`abstains`",
    "ambiguous": "`asks_back`, or the question mark at the end,",
    "false_premise": "`rejects`",
}


def _pattern_missing(kind: str, options: ScorerOptions) -> str | None:
    needed = {"unanswerable": options.abstains, "false_premise": options.rejects}
    names = {"unanswerable": "abstains", "false_premise": "rejects"}
    return names[kind] if kind in needed and not needed[kind] else None


def _passage_fault(row: Row, must: bool) -> str | None:
    passage = row.fact("passage")
    if passage is None:
        return "the row has no `passage` to hold answers against." if must else None
    if not isinstance(passage, str) or not passage.strip():
        return "`passage` must be text."
    if passage not in row.question():
        return "the prompt does not show the text of `passage`, so no answer can go by it."
    return None
