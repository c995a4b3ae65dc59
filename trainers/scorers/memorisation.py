"""Scores of what a model has learnt by heart: likelihood of canaries, verbatim continuations."""

import math

from keepgain.core.extraction import reference
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.scorers.likelihood import Likelihood


def canary_bits(given: Likelihood, _: Row, __: ScorerOptions) -> float:
    """-log2 of the likelihood of the code after its prompt: over all its tokens, not per token, as
    the rank of Carlini et al. 2019 (arXiv 1802.08232, definition 1) goes by."""
    return given.nats / math.log(2)


def verbatim(answer: str, row: Row, _: ScorerOptions) -> float:
    """1 if the greedy continuation begins with the words of the reference; white space between
    them does not count, and what comes after them does not either."""
    wanted = reference(row).split()
    return float(answer.split()[: len(wanted)] == wanted)
