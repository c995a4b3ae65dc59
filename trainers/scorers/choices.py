"""Multiple choice and classification: item scores, calibration, figures per class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.core.items import Floats
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions

BINS = 15
"""Equal-width bins of the calibration error, as in Guo et al. 2017."""


@dataclass(frozen=True)
class ChoiceLikelihoods:
    """What the model gives for the choices, or labels, of one item."""

    texts: tuple[str, ...]
    logs: Floats
    """Shape [choices]: ln p of each choice after the prompt."""

    @property
    def per_byte(self) -> Floats:
        """`logs` over the UTF-8 bytes of the choices."""
        return self.logs / np.array([len(t.encode()) for t in self.texts], dtype=np.float64)

    def likeliest(self, per_byte: bool = False) -> str:
        """The choice that the model would give; of equal ones the first."""
        return self.texts[int(np.argmax(self.per_byte if per_byte else self.logs))]


def multiple_choice(given: ChoiceLikelihoods, row: Row, _: ScorerOptions) -> float:
    """1 if the right choice is the likeliest; of equal ones the first counts."""
    return float(given.likeliest() == row.answer)


def multiple_choice_normalised(given: ChoiceLikelihoods, row: Row, _: ScorerOptions) -> float:
    """As `multiple_choice`, by the log-likelihood per byte, so that short choices are not
    favoured (acc_norm of lm-evaluation-harness)."""
    return float(given.likeliest(per_byte=True) == row.answer)


def classification(given: ChoiceLikelihoods, row: Row, _: ScorerOptions) -> float:
    """1 if the right label is the likeliest."""
    return float(given.likeliest() == row.answer.strip())


def calibration(
    given: Sequence[ChoiceLikelihoods], _: Sequence[Row], scores: Floats, __: ScorerOptions
) -> dict[str, float]:
    """`ece` of the softmax over the choices."""
    return {"ece": _ece_of([g.logs for g in given], scores)}


def calibration_normalised(
    given: Sequence[ChoiceLikelihoods], _: Sequence[Row], scores: Floats, __: ScorerOptions
) -> dict[str, float]:
    """`ece` of the softmax over the log-likelihoods per byte."""
    return {"ece": _ece_of([g.per_byte for g in given], scores)}


def classification_report(
    given: Sequence[ChoiceLikelihoods], rows: Sequence[Row], scores: Floats, options: ScorerOptions
) -> dict[str, float]:
    """`class_report` of the likeliest labels, and their `ece`."""
    predicted = [g.likeliest() for g in given]
    return class_report([r.answer.strip() for r in rows], predicted, options.labels) | {
        "ece": _ece_of([g.logs for g in given], scores)
    }


def generated_report(
    answers: Sequence[str], rows: Sequence[Row], _: Floats, options: ScorerOptions
) -> dict[str, float]:
    """`class_report` of the generated labels, and `no_label`: the share that is none of them."""
    predicted = [a.strip() for a in answers]
    none = sum(p not in options.labels for p in predicted) / len(predicted)
    report = class_report([r.answer.strip() for r in rows], predicted, options.labels)
    return {**report, "no_label": none}


def class_report(
    wanted: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> dict[str, float]:
    """Figures of a confusion matrix; a rate without any item under it is left out.

    Returns:
        `accuracy`; of each label `precision/LABEL`, `recall/LABEL`, `f1/LABEL`, `n/LABEL` (items
        that have it); `macro_f1`, the plain mean over labels that were wanted or predicted;
        `worst_recall` over the labels with items, with the `worst_recall_n` of that label.
    """
    report = {"accuracy": float(np.mean([w == p for w, p in zip(wanted, predicted, strict=True)]))}
    f1s: list[float] = []
    recalls: list[tuple[float, int]] = []
    for label in labels:
        hits = sum(w == p == label for w, p in zip(wanted, predicted, strict=True))
        n, given = sum(w == label for w in wanted), sum(p == label for p in predicted)
        report[f"n/{label}"] = float(n)
        if given:
            report[f"precision/{label}"] = hits / given
        if n:
            report[f"recall/{label}"] = hits / n
            recalls.append((hits / n, n))
        if n + given:
            report[f"f1/{label}"] = 2 * hits / (n + given)
            f1s.append(2 * hits / (n + given))
    report["macro_f1"] = float(np.mean(f1s))
    report["worst_recall"], report["worst_recall_n"] = min(recalls)
    return report


def ece(confidence: Floats, correct: Floats) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599, eq. 3).

    Args:
        confidence: Shape [n], the probability of the predicted choice, in (0, 1].
        correct: Shape [n], 1 where the prediction is right.

    Returns:
        Sum over bins (a, b] of share of items * |mean correct - mean confidence|.
    """
    bins: npt.NDArray[np.int64] = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(int)
    gaps = [abs(float((correct[bins == b] - confidence[bins == b]).sum())) for b in np.unique(bins)]
    return float(sum(gaps) / len(confidence))


def _ece_of(logs: Sequence[Floats], correct: Floats) -> float:
    return ece(np.array([_top_probability(item) for item in logs]), correct)


def _top_probability(logs: Floats) -> float:
    """Softmax probability of the likeliest choice."""
    return float(1 / np.exp(logs - logs.max()).sum())
