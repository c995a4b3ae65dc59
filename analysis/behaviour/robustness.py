"""What a change of the prompt that leaves the answer alone costs: score drops and flips.

Of suites with `perturb`, which hold each item as it is and changed, so that both are compared item
by item. The change from the base says whether tuning made the model more brittle, or less. Flips in
both directions are counted, because equal means can hide them (CheckList's invariance tests;
Ribeiro et al. 2020, arXiv 2005.04118).
"""

import numpy as np

from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.paired import Named, figure, members
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.made_items import PERTURBATION, UNCHANGED
from keepgain.core.scorers import unit_of


def robustness_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """`drop under KIND` and, of scores that are all 0 or 1, `flips under KIND`, for each kind.

    A drop is the score as it is minus the score changed, in the suite's unit, turned so that more
    is worse. Kinds follow each other by name. A `FamilyFunction`; empty for items that were not
    made by `perturb`.
    """
    found: list[Figure] = []
    by_parent = members(suite, PERTURBATION)
    kinds = sorted({kind for made in by_parent.values() for kind in made} - {UNCHANGED})
    for kind in kinds:
        pairs = [m for m in by_parent.values() if UNCHANGED in m and kind in m]
        both = [(m[UNCHANGED], m[kind]) for m in pairs]
        if len(both) < 2:
            continue
        plain, changed = ([pair[side] for pair in both] for side in (0, 1))
        before_after = [(x[plain], x[changed]) for x in (tuned, base) if x is not None]
        drops = [suite.sign * (before - after) for before, after in before_after]
        unit = unit_of(suite.info.scorer)
        asked = Named(f"drop under {kind}", unit, "minimize", _levels(before_after))
        found.append(figure(asked, suite, plain, drops[0], drops[1] if base is not None else None))
        if all(_binary(x) for pair in before_after for x in pair):
            flips = [np.abs(before - after) for before, after in before_after]
            asked = Named(f"flips under {kind}", "share of items", "minimize", _ways(drops))
            only = flips[1] if base is not None else None
            found.append(figure(asked, suite, plain, flips[0], only))
    return found


def _binary(scores: Floats) -> bool:
    return bool(np.all((scores == 0) | (scores == 1)))


def _levels(before_after: list[tuple[Floats, Floats]]) -> str:
    """Mean scores behind a drop; weights of a suite are not in them where they differ."""
    sides = [f"{b.mean():.3f} as they are, {a.mean():.3f} changed" for b, a in before_after]
    return sides[0] + (f" (base {sides[1]})" if len(sides) > 1 else "")


def _ways(drops: list[Floats]) -> str:
    sides = [
        f"right to wrong {np.mean(d > 0):.3f}, wrong to right {np.mean(d < 0):.3f}" for d in drops
    ]
    return sides[0] + (f" (base {sides[1]})" if len(sides) > 1 else "")
