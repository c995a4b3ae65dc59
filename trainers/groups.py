"""Rows of unequal kinds: drawn evenly, or weighed towards the kind that is learnt worst."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from keepgain.core.config import TrialConfig
from keepgain.trainers.encode import Encoded
from keepgain.trainers.token_store import TokenRows

UNNAMED = ""
"""Group of the rows that have none."""


def draw_weights(
    config: TrialConfig, rows: Mapping[str, TokenRows]
) -> dict[str, npt.NDArray[np.float64]]:
    """How often each row of the balanced sources is drawn, in proportion.

    A row of a class with n rows weighs n^-s, s being `balance_strength`: 0 is the natural mixture,
    1 draws every class equally often. Sources of replay are left as they are.

    Returns:
        Source -> float64 of shape [rows]; empty without `balance_by`.
    """
    if config.balance_by is None:
        return {}
    replayed = {ref.name for ref in config.sources if ref.role == "replay"}
    return {
        name: _inverse_sizes(own.classes(config.balance_by), config.balance_strength)
        for name, own in rows.items()
        if name not in replayed
    }


def _inverse_sizes(classes: npt.NDArray[np.int64], strength: float) -> npt.NDArray[np.float64]:
    _, class_of, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    return np.array([float(size) ** -strength for size in sizes])[class_of]


class GroupWeights:
    """Group DRO: the weight of a group grows with its loss (Sagawa et al. 2020, arXiv 1911.08731,
    Algorithm 1, by whole batches).

    Args:
        step_size: Their eta_q: after each step a group's weight is multiplied by
            exp(step_size * its mean loss in nats per token).
        weights: Group -> weight so far; a new group begins at the mean of the others. The mapping
            is changed in place, being part of the run's progress.
    """

    def __init__(self, step_size: float, weights: dict[str, float]) -> None:
        self._step_size = step_size
        self._weights = weights

    def of_tokens(self, rows: Sequence[Encoded]) -> dict[str, float]:
        """Group -> weight of one of its loss tokens in a batch.

        The groups in the batch share a weight of 1 in proportion to theirs, and a group's share is
        spread evenly over its loss tokens: with equal groups of equal size this is the plain mean.
        """
        tokens = loss_tokens(rows)
        for group in tokens:
            known = list(self._weights.values()) or [1.0]
            self._weights.setdefault(group, sum(known) / len(known))
        present = sum(self._weights[g] for g in tokens)
        return {g: self._weights[g] / present / tokens[g] for g in tokens}

    def update(self, rows: Sequence[Encoded], losses: Mapping[str, float]) -> None:
        """After a step. Groups that are not in the batch count as learnt like those that are:
        else the ones in every batch would win by their number alone.

        Args:
            rows: Of the batch.
            losses: Group -> sum of its cross-entropy in nats.
        """
        tokens = loss_tokens(rows)
        means = {g: loss / tokens[g] for g, loss in losses.items()}
        present = sum(self._weights[g] for g in means)
        middle = sum(self._weights[g] * mean for g, mean in means.items()) / present
        for group, mean in means.items():
            self._weights[group] *= math.exp(self._step_size * (mean - middle))
        total = sum(self._weights.values())
        for group in self._weights:
            self._weights[group] /= total


def group_of(row: Encoded) -> str:
    """The row's group, `UNNAMED` where it has none."""
    return row.group or UNNAMED


def loss_tokens(rows: Sequence[Encoded]) -> dict[str, int]:
    """Group -> loss tokens of its rows, sorted by group."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[group_of(row)] += row.loss_tokens
    return dict(sorted(counts.items()))
