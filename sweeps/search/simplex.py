"""Uniform draws of mixture weights on a simplex with bounds, from plain uniforms.

A mixture of K sources has K - 1 degrees of freedom. This module maps K - 1 independent uniforms to
weights that are uniform (Dirichlet(1)) on `{w : low <= w <= high, sum w = 1}`, so that a sampler
sees K - 1 ordinary parameters and a record of them replays to the same weights.

**Method.** Sequential conditional inversion. Write `y = w - low`, `c = high - low`,
`s = 1 - sum low`; then y is uniform on the slice `{0 <= y <= c, sum y = s}`. Given y_1, the others
are uniform on the same kind of slice with total s - y_1, so the density of y_1 is proportional to
the volume of that slice, and its distribution function follows from the volume of the box below a
plane (inclusion-exclusion over the caps exceeded; c_2 .. c_K are the caps, m = K - 1 of them)::

    W(x) = vol{0 <= y <= c, sum y <= x} * m! = sum over A of (-1)^|A| (x - sum of c over A)_+^m
    P(y_1 <= t) = (W(s - a) - W(s - t)) / (W(s - a) - W(s - b)),  a = max(0, s - sum c_2..c_K),
                                                                  b = min(c_1, s)

Without bounds W(x) = x^m, and t = s (1 - (1 - u)^(1/(K-1))): stick-breaking with Beta(1, K - k)
quantiles.

**Exactness.** W suffers cancellation in floating point where some caps are small (five sources with
caps of .001 lose every digit). Amounts are therefore whole numbers of 1e-12, W is computed in exact
integers, and the inverse is found by bisection to one such grain: the same weights everywhere.
"""

from collections.abc import Callable, Sequence

from keepgain.core.errors import UserError

ONE = 10**12
"""Grains in the whole: the resolution of a weight before it is rounded."""
MAX_FREE = 10
"""Sources with a range; W has 2^(K-1) terms."""
_U_BITS = 53


def check_feasible(
    low: Sequence[float], high: Sequence[float], *, where: str | None = None
) -> None:
    """Refuses bounds that no mixture satisfies, or that are too many.

    Raises:
        UserError: `sum low > 1`, `sum high < 1` (both beyond 5e-7), or more than `MAX_FREE` ranges.
    """
    if sum(low) > 1 + 5e-7:
        raise UserError(
            f"the lower bounds sum to {sum(low):.6g}, more than 1: no mixture satisfies them.",
            where=where,
            hint="Lower them until they sum to at most 1.",
        )
    if sum(high) < 1 - 5e-7:
        raise UserError(
            f"the upper bounds sum to {sum(high):.6g}, less than 1: no mixture satisfies them.",
            where=where,
            hint="Shares are of all training tokens; raise a bound or add a source.",
        )
    free = sum(a < b for a, b in zip(low, high, strict=True))
    if free > MAX_FREE:
        raise UserError(
            f"{free} sources have a range; at most {MAX_FREE} may.",
            where=where,
            hint="Fix the share of some sources with a number.",
        )


def simplex_weights(
    uniforms: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[float, ...]:
    """Maps K - 1 uniforms to K weights, uniformly over the bounded simplex.

    The k-th weight does not decrease in the k-th uniform, and depends on the first k only.

    Args:
        uniforms: K - 1 numbers in [0, 1].
        low: Lower bounds, feasible (see `check_feasible`).
        high: Upper bounds.

    Returns:
        Weights within the bounds, to 1e-12, that sum to 1.
    """
    assert len(uniforms) == len(low) - 1 == len(high) - 1, "K sources need K - 1 uniforms"
    floors = [round(a * ONE) for a in low]
    caps = [round(b * ONE) - a for a, b in zip(floors, high, strict=True)]
    # Bounds are rounded to shares by the caller, so any excess here is below 5e-7 (check_feasible).
    rest = max(0, min(ONE - sum(floors), sum(caps)))
    excess = []
    for k, u in enumerate(uniforms):
        excess.append(_quantile(u, rest, caps[k], caps[k + 1 :]))
        rest -= excess[-1]
    excess.append(rest)
    return tuple((a + y) / ONE for a, y in zip(floors, excess, strict=True))


def simplex_uniforms(
    weights: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[float, ...]:
    """The uniforms that `simplex_weights` maps to these weights (the Rosenblatt transform).

    Uniforms have 53 bits, and a corner of a simplex of many sources has little volume: there they
    stand for the weights to about 2^(-53/(K-1)) only. Weights beyond their bounds are moved inside.
    """
    floors = [round(a * ONE) for a in low]
    caps = [round(b * ONE) - a for a, b in zip(floors, high, strict=True)]
    rest = max(0, min(ONE - sum(floors), sum(caps)))
    uniforms = []
    for k, floor in enumerate(floors[:-1]):
        others = caps[k + 1 :]
        least, most = max(0, rest - sum(others)), min(caps[k], rest)
        amount = min(max(round(weights[k] * ONE) - floor, least), most)
        volume = _volume_below(others, rest)
        span = volume(rest - least) - volume(rest - most)
        used = volume(rest - least) - volume(rest - amount)
        uniforms.append(used / span if span else 0.0)
        rest -= amount
    return tuple(uniforms)


def round_shares(
    weights: Sequence[float], low: Sequence[float], high: Sequence[float], digits: int = 6
) -> tuple[float, ...]:
    """Rounds weights to `digits` decimals so that they still sum to 1 and keep their bounds.

    Largest remainders: every weight is cut, and what is missing goes, a unit each, to those that
    lost most and have room. Bounds must themselves have at most `digits` decimals.
    """
    unit = 10**digits
    cut = [int(w * unit + 1e-6) for w in weights]
    cut = [max(c, round(a * unit)) for c, a in zip(cut, low, strict=True)]
    caps = [round(b * unit) for b in high]
    by_loss = sorted(range(len(cut)), key=lambda i: (cut[i] - weights[i] * unit, i))
    missing = unit - sum(cut)
    while missing > 0:
        room = [i for i in by_loss if cut[i] < caps[i]]
        assert room, "bounds with more digits than the shares"
        for i in room[:missing]:
            cut[i] += 1
            missing -= 1
    assert missing == 0, "weights that sum to more than 1"
    return tuple(c / unit for c in cut)


def _quantile(u: float, total: int, cap: int, others: Sequence[int]) -> int:
    """The u-quantile of the first of several capped amounts that are uniform given their total."""
    least, most = max(0, total - sum(others)), min(cap, total)
    if least >= most:
        return most
    volume = _volume_below(others, total)
    start = volume(total - least)
    span = start - volume(total - most)
    target = round(u * (1 << _U_BITS)) * span
    below, above = least, most
    while below < above:  # the smallest amount whose probability reaches u
        middle = (below + above) // 2
        if (start - volume(total - middle)) << _U_BITS >= target:
            above = middle
        else:
            below = middle + 1
    return below


def _volume_below(caps: Sequence[int], most: int) -> Callable[[int], int]:
    """W of the module's text for these caps, as a function of x <= `most`."""
    m = len(caps)
    terms = _subset_sums(caps, below=most)
    return lambda x: sum(sign * (x - shift) ** m for shift, sign in terms if x > shift)


def _subset_sums(caps: Sequence[int], below: int) -> list[tuple[int, int]]:
    """(sum, (-1)^size) of every subset whose sum is below `below`; others add nothing to W."""
    terms = [(0, 1)]
    for cap in caps:
        terms += [(shift + cap, -sign) for shift, sign in terms if shift + cap < below]
    return terms
