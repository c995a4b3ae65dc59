"""What is told of a configuration beside its objectives, and decides nothing: its slices, the
answers that flipped, and what describes gain and forgetting."""

import math

from keepgain.analysis.churn import Churn, Flip, beyond_chance
from keepgain.analysis.measures import Measures
from keepgain.analysis.slices import SliceEstimate, SliceFigure, cautious, slices_of
from keepgain.analysis.stats import DESCRIPTION, Estimate, Uncertain
from keepgain.analysis.table import Configuration, SuiteItems
from keepgain.core.config import Split


def slice_estimates(
    measures: Measures, who: Configuration, split: Split
) -> tuple[SliceEstimate, ...]:
    """One configuration on every slice of the suites that it was scored on."""
    found = []
    for name, suite in measures.table.suites.get(split, {}).items():
        for part in slices_of(suite) if name in who.scores.get(split, {}) else ():
            score, gain = (
                cautious(measures.measure(who, split, SliceFigure(part, gain=gain)))
                for gain in (False, True)
            )
            found.append(SliceEstimate(part, score, gain))
    return tuple(found)


def churn_of(measures: Measures, who: Configuration, split: Split) -> tuple[Churn, ...]:
    """Answers that flipped against the base, on every suite whose scores are 0 or 1."""
    found = []
    for name, suite in measures.table.suites.get(split, {}).items():
        lost, won = (measures.measure(who, split, Flip(name, lost)) for lost in (True, False))
        if lost is not None:
            told = (cautious(lost), cautious(won))
            after = measures.measure(who, split, f"score:{name}")
            guessed = _beyond_chance(suite, lost, won, after)
            found.append(Churn(name, suite.info.measures, *told, guessed))
    return tuple(found)


def _beyond_chance(
    suite: SuiteItems, lost: Uncertain, won: Uncertain | None, after: Uncertain | None
) -> tuple[float, float] | None:
    chance = suite.info.chance
    if won is None or after is None or suite.sign < 0 or chance is None or not 0 < chance < 1:
        return None
    before = after.value + lost.value - won.value
    return (
        beyond_chance(lost.value, before, after.value, chance),
        beyond_chance(won.value, before, after.value, chance),
    )


def descriptions(measures: Measures, who: Configuration, split: Split) -> dict[str, Estimate]:
    """`objectives.DESCRIPTIONS` of one configuration."""
    gain = measures.uncertain(who, split, "normalised_gain")
    drops = measures.drops(who, split)
    clipped = Estimate()
    if drops and measures.scorer("forgetting"):
        clipped = Estimate(
            math.fsum(max(0.0, d.value) for d in drops) / len(drops),
            n_items=sum(d.uncertain.n_items for d in drops),
            n_seeds=drops[0].uncertain.n_seeds,
            interval_method=DESCRIPTION,
        )
    return {
        "normalised_gain": gain.estimate() if gain else Estimate(),
        "clipped_forgetting": clipped,
    }
