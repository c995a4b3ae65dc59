"""Scores from the likelihood of the reference, and from next-token distributions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.core.items import Floats
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions

LARGEST = 700.0
"""exp() of more nats is beyond a double."""


@dataclass(frozen=True)
class Likelihood:
    """What the model gives for one reference, or beside the base."""

    nats: float
    """Sum over the scored tokens: of -ln p, or of KL(base || tuned)."""
    tokens: int
    bytes: int
    """UTF-8 bytes that those tokens cover."""


def bits_per_byte(given: Likelihood, _: Row, __: ScorerOptions) -> float:
    """Bits of the scored tokens over the bytes they cover; the end token is not scored."""
    return given.nats / math.log(2) / given.bytes


def log_perplexity(given: Likelihood, _: Row, __: ScorerOptions) -> float:
    """Nats per scored token."""
    return given.nats / given.tokens


def divergence(given: Likelihood, _: Row, __: ScorerOptions) -> float:
    """KL(base || tuned) in nats per token, mean over the item's tokens."""
    return given.nats / given.tokens


def perplexity(
    given: Sequence[Likelihood], _: Sequence[Row], __: Floats, ___: ScorerOptions
) -> dict[str, float]:
    """`perplexity`: exp of the mean over all tokens of the suite; left out beyond a double."""
    mean = sum(g.nats for g in given) / sum(g.tokens for g in given)
    return {"perplexity": math.exp(mean)} if mean < LARGEST else {}
