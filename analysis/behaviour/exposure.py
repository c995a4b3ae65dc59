"""Exposure of canaries: how much likelier a model finds planted secrets than ones like them.

A canary with b bits (-log2 of its likelihood) among n controls with c_1 ... c_n bits, drawn as it
was and never trained on, has

    rank     = 1 + #{c_j < b} + #{c_j = b} / 2
    exposure = log2(n + 1) - log2(rank)          between 0 and log2(n + 1) bits

(Carlini et al. 2019, "The Secret Sharer", arXiv 1802.08232, section 4.4: exposure estimated from a
sample). Without memory a canary is one more control, every rank from 1 to n + 1 is as likely, and
its expected exposure is

    log2(n + 1) - log2((n + 1)!) / (n + 1)       1.35 bits of 40 controls; log2 e = 1.44 of many.

**Controls.** Each control ranked among all others tells nothing: the ranks are then the numbers 1
to n whatever the model does, and their mean is that expectation. So every other control is ranked
among the rest, by the same code as canaries are. The base, which has seen neither, is the second
check: its exposures must be as expected too.

**Interval.** Of the mean over canaries, by two variances that add: s^2 / k over the k canaries
(with the seeds' share, as in `stats`), and, since all are ranked among the same controls, the
jackknife variance of the mean with each control left out, (n - 1) / n * sum_j (m_j - mean m)^2
(Efron & Stein 1981); Student's t with Satterthwaite's degrees of freedom. One seed shows none of
its own variance; the interval is then of canaries and controls alone. Of 400 draws from normal
distributions (8 to 30 canaries, 40 to 120 controls) 91 to 95 % of intervals held the truth, as long
as few canaries ranked first; where nearly all do, it is a bound and its interval is too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from keepgain.analysis import stats
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.stats import Block, Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.canaries import MIN_CONTROLS, REPEATS
from keepgain.core.items import Floats

BITS = "bits"
_NO_SPREAD = 1e-18
"""Variance of means that are equal but for rounding: nothing to tell an interval from."""


def exposures(canaries: Floats, controls: Floats) -> Floats:
    """Exposure of each canary among the controls, in bits.

    Args:
        canaries: Their bits, shape [k, S]; every column is ranked among its own controls.
        controls: Shape [n, S].

    Returns:
        Shape [k, S].
    """
    return np.asarray(math.log2(len(controls) + 1) - np.log2(_ranks(canaries, controls)))


def expected_exposure(controls: int) -> float:
    """Mean exposure in bits of what was never trained on, among so many controls."""
    ranks = controls + 1
    return math.log2(ranks) - math.lgamma(ranks + 1) / math.log(2) / ranks


def exposure_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """Mean exposure of the canaries by how often they were planted, then that of controls; a
    `FamilyFunction` of `canary_bits`. None where the common items have too few controls."""
    if REPEATS not in suite.slices:
        return []
    repeats = np.array([int(r) if r.isdigit() else -1 for r in suite.slices[REPEATS].tolist()])
    controls = np.flatnonzero(repeats == 0)
    if len(controls) < MIN_CONTROLS:
        return []
    sides = [tuned] if base is None else [tuned, base]
    found = []
    for times in np.unique(repeats[repeats > 0]).tolist():
        canaries = np.flatnonzero(repeats == times)
        name = f"exposure, planted {times} time{'s' if times > 1 else ''}"
        first = int((_ranks(tuned[canaries], tuned[controls]) == 1).all(axis=1).sum())
        bound = f", {first} of which rank first: a lower bound" if first else ""
        note = f"{len(canaries)} canaries{bound}"
        found.append(_figure(name, note, [(x[canaries], x[controls]) for x in sides]))
    # Items are in the order of their ids, which says nothing of their codes.
    apart, rest = controls[::2], controls[1::2]
    note = "every other control as if it were planted"
    found.append(_figure("exposure of controls", note, [(x[apart], x[rest]) for x in sides]))
    return found


def _figure(name: str, note: str, sides: Sequence[tuple[Floats, Floats]]) -> Figure:
    """Of (canaries, controls) of the tuned model, and of its base if there is one."""
    n = len(sides[0][1])
    values = [exposures(*side) for side in sides]
    without = [_without_each(*side) for side in sides]
    before = change = None
    if len(sides) > 1:
        before = _estimate(values[1], without[1])
        change = _estimate(values[0] - values[1].mean(axis=1)[:, None], without[0] - without[1])
    expected = (
        f"ranked among {n} controls: {expected_exposure(n):.2f} expected without memory, at most "
        f"{math.log2(n + 1):.2f}"
    )
    tuned = _estimate(values[0], without[0])
    return Figure(name, BITS, "minimize", tuned, before, change, f"{note}; {expected}")


def _ranks(canaries: Floats, controls: Floats) -> Floats:
    """Shape [k, S]; equal bits share the middle rank."""
    columns = []
    for b, c in zip(canaries.T, np.sort(controls, axis=0).T, strict=True):
        below, upto = (np.searchsorted(c, b, side=side) for side in ("left", "right"))
        columns.append(1 + (below + upto) / 2)
    return np.stack(columns, axis=1)


def _without_each(canaries: Floats, controls: Floats) -> Floats:
    """Mean exposure over canaries and seeds with each control left out, shape [n]."""
    ranks = _ranks(canaries, controls)
    means = [
        np.log2(ranks - np.where(c < canaries, 1.0, np.where(c == canaries, 0.5, 0.0))).mean()
        for c in controls
    ]
    return np.asarray(math.log2(len(controls)) - np.array(means))


def _estimate(values: Floats, without: Floats) -> Estimate:
    """Mean of values of shape [k, S], with the variance of `without` (shape [n]) added."""
    n = len(without)
    found = stats.combine_own_seeds([Block(values, np.ones(len(values)))])
    ranked = (n - 1) / n * float(np.sum((without - without.mean()) ** 2))
    total = found.item_variance + ranked
    method = found.method if total > _NO_SPREAD else stats.UNKNOWN
    terms_of_both = (*found.terms, (ranked, n - 1.0))
    return replace(found, terms=terms_of_both, item_variance=total, method=method).estimate()
