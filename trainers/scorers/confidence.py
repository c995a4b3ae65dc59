"""How sure a model is of its choice, and which label it gives: item scores from the probabilities
of the choices, or labels, of an item.

Probabilities are the softmax of the log-likelihoods after the prompt, over the choices alone.
"""

import numpy as np

from keepgain.core.items import Floats
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.scorers.choices import ChoiceLikelihoods


def brier(given: ChoiceLikelihoods, row: Row, _: ScorerOptions) -> float:
    """Sum over the choices of (p - y)^2 with y = 1 for the right one, in [0, 2] (Brier 1950,
    Monthly Weather Review 78): 0 sure and right, 2 sure and wrong, 1 - 1/k for k equal ones."""
    right = np.zeros(len(given.texts))
    right[_right(given, row)] = 1.0
    return float(np.sum((probabilities(given.logs) - right) ** 2))


def signed_confidence(given: ChoiceLikelihoods, row: Row, _: ScorerOptions) -> float:
    """Probability of the likeliest choice, with a minus sign where it is the wrong one: whether an
    item is right, and how sure the model was, in one number. Never 0."""
    right = int(np.argmax(given.logs)) == _right(given, row)
    confidence = float(probabilities(given.logs).max())
    return confidence if right else -confidence


def selected(given: ChoiceLikelihoods, _: Row, options: ScorerOptions) -> float:
    """1 if the likeliest label is the positive one, whatever the right one is."""
    return float(given.likeliest() == options.positive)


def _right(given: ChoiceLikelihoods, row: Row) -> int:
    """Place of the right choice; those of `pairs` keep the blanks at their ends."""
    return [text.strip() for text in given.texts].index(row.answer.strip())


def probabilities(logs: Floats) -> Floats:
    """Softmax, shape [choices]; no overflow."""
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)
