"""How probable it is that a size is adequate: joint draws of what the size rule asks (`sizes`)."""

from collections.abc import Mapping, Sequence

import numpy as np

from keepgain.analysis.checks import forgetting_checks
from keepgain.analysis.draws import draw_scores
from keepgain.analysis.measures import Measures
from keepgain.analysis.sizes import Size, lost_level
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.items import Floats
from keepgain.core.record import Question

DRAWS = 2000
"""Monte-Carlo error of a share: at most .011."""


def probabilities(
    measures: Measures, split: Split, sizes: Sequence[Size], question: Question
) -> Mapping[str, float]:
    """`probability_adequate` by model: share of joint draws in which (a) and (b) hold.

    Guards are left out: slices have no draws.

    Empty where a size's seed variance is unknown (no draw could be made for it), and where there is
    no level to hold.
    """
    if lost_level(sizes) is not None:
        return {}
    candidates = [s.candidate for s in sizes if s.candidate is not None]
    bases = {c.model: measures.base(c.model) for c in candidates}
    who = [*candidates, *(b for b in bases.values() if b is not None and b.has(split))]
    drawn = draw_scores(measures, split, who, DRAWS) if candidates else None
    if drawn is None:
        return {}
    column = {c.trial_id: n for n, c in enumerate(who)}
    return {
        c.model: float(
            np.mean(_adequate(measures, split, drawn, column, c, candidates[0], question))
        )
        for c in candidates
        if _measurable(measures, split, c, question)
    }


def _measurable(measures: Measures, split: Split, who: Configuration, question: Question) -> bool:
    return measures.point(who, split, "task_score") is not None and all(
        c.uncertain is not None for c in forgetting_checks(measures, split, who, question)
    )


def _adequate(
    measures: Measures,
    split: Split,
    drawn: Mapping[str, Floats],
    column: Mapping[str, int],
    who: Configuration,
    largest: Configuration,
    question: Question,
) -> Floats:
    """Which draws fulfil all conditions for one candidate; shape [draws]."""
    mine = column[who.trial_id]
    base = measures.base(who.model)
    difference, gains = np.zeros(DRAWS), 0
    holds = np.ones(DRAWS, dtype=bool)
    for name, suite in measures.table.suites[split].items():
        scores = drawn[name]
        if suite.info.measures == "gain":
            difference += suite.sign * (scores[:, mine] - scores[:, column[largest.trial_id]])
            gains += 1
        elif question.max_forgetting is not None and base is not None:
            drop = suite.sign * (scores[:, column[base.trial_id]] - scores[:, mine])
            holds &= drop <= question.max_forgetting
    if who.trial_id != largest.trial_id:
        holds &= difference / max(1, gains) > -question.delta
    return holds.astype(np.float64)
