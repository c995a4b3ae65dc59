"""Overlap with a reference by the field's own libraries, imported when first used."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from keepgain.core.items import Floats
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions


def rouge_1(answer: str, row: Row, _: ScorerOptions) -> float:
    """F1 of ROUGE-1 with Porter stemming, as rouge-score gives it."""
    return float(_rouge().score(row.answer, answer)["rouge1"].fmeasure)


def rouge_l(answer: str, row: Row, _: ScorerOptions) -> float:
    """F1 of ROUGE-L with Porter stemming, as rouge-score gives it."""
    return float(_rouge().score(row.answer, answer)["rougeL"].fmeasure)


def bleu(answer: str, row: Row, _: ScorerOptions) -> float:
    """Sentence BLEU over 100: 13a tokens, exponential smoothing, effective order."""
    return float(_bleu(effective_order=True).sentence_score(answer, [row.answer]).score) / 100


def chrf(answer: str, row: Row, _: ScorerOptions) -> float:
    """Sentence chrF2 over 100."""
    return float(_chrf().sentence_score(answer, [row.answer]).score) / 100


def corpus_bleu(
    answers: Sequence[str], rows: Sequence[Row], _: Floats, __: ScorerOptions
) -> dict[str, float]:
    """`corpus_bleu` of all items together, over 100."""
    found = _bleu(effective_order=False).corpus_score(list(answers), [[r.answer for r in rows]])
    return {"corpus_bleu": float(found.score) / 100}


def corpus_chrf(
    answers: Sequence[str], rows: Sequence[Row], _: Floats, __: ScorerOptions
) -> dict[str, float]:
    """`corpus_chrf` of all items together, over 100."""
    found = _chrf().corpus_score(list(answers), [[r.answer for r in rows]])
    return {"corpus_chrf": float(found.score) / 100}


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"], use_stemmer=True)


@cache
def _bleu(*, effective_order: bool) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(effective_order=effective_order)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()
