"""The part of the JSON on who could be best, on luck, and on what the items can show."""

from typing import Literal

from keepgain.analysis.contract_parts import EstimatePart, estimate_part
from keepgain.analysis.inference import Inference
from keepgain.analysis.stats import SeedVariance
from keepgain.core.config import Split
from keepgain.core.schema import StrictModel


class AgainstBasePart(StrictModel):
    """A test of whether a trial gained anything."""

    trial: str
    p: float
    adjusted: float
    """Benjamini and Hochberg's, over all of these tests."""


class BestSetPart(StrictModel):
    """Trials that cannot be told from the best one by task score."""

    model: str | None
    """Null: over all base models."""
    compared: int
    confidence: float
    trials: list[str] | None
    """Null: unknown."""
    cheapest: str | None


class LuckPart(StrictModel):
    """The winner's curse of a provisional decision."""

    trial: str
    model: str
    split: Split
    trials: int
    score: float
    expected: float
    seeds_counted: bool


class OptimismPart(StrictModel):
    """Validation minus test of the decision's trial, beyond that of what nobody selected."""

    trial: str
    others: list[str]
    bare: float
    optimism: EstimatePart


class ResolutionPart(StrictModel):
    """What a comparison of task scores can show at 80 % power."""

    trial: str
    other: str
    against: str
    difference: EstimatePart
    discordance: float | None
    detectable: float | None
    target: float
    items_needed: int | None


class InferencePart(StrictModel):
    """Beside the decision."""

    against_base: list[AgainstBasePart]
    best: list[BestSetPart]
    luck: LuckPart | None
    optimism: OptimismPart | None
    resolutions: list[ResolutionPart]


def inference_part(found: Inference) -> InferencePart:
    """The figures as the contract's model."""
    luck, optimism = found.luck, found.optimism
    return InferencePart(
        against_base=[AgainstBasePart(**vars(t)) for t in found.against_base],
        best=[
            BestSetPart(
                model=b.model,
                compared=len(b.field),
                confidence=b.confidence,
                trials=None if b.trials is None else list(b.trials),
                cheapest=b.cheapest,
            )
            for b in found.best
        ],
        luck=None if luck is None else LuckPart(**vars(luck)),
        optimism=None
        if optimism is None
        else OptimismPart(
            trial=optimism.trial,
            others=list(optimism.others),
            bare=optimism.bare,
            optimism=estimate_part(optimism.uncertain.estimate()),
        ),
        resolutions=[
            ResolutionPart(
                trial=r.a,
                other=r.b,
                against=r.against,
                difference=estimate_part(r.difference.estimate()),
                discordance=r.discordance,
                detectable=r.detectable,
                target=r.target,
                items_needed=r.items_needed,
            )
            for r in found.resolutions
        ],
    )


def seed_variance_part(
    found: Inference, model: str
) -> tuple[float | Literal["unknown"] | None, int | None]:
    """Variance of a single run's task score that more items would not remove, and its df.

    `unknown`: no configuration of the size was trained twice. None: not asked (no item scores).
    """
    pooled = dict(found.seed_variances).get(model, "absent")
    if isinstance(pooled, SeedVariance):
        return pooled.component, pooled.df
    return ("unknown", None) if pooled is None else (None, None)
