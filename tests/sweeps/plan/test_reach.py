"""How many trials reach which rung: hand-worked, and held against the rule that promotes them."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.sweeps.plan.reach import (
    MINIMUM,
    Generation,
    at_least,
    at_most,
    ceiling,
    expected,
)
from keepgain.sweeps.search.rungs import Entry, RungPolicy, compared, going_on, rank

THIRD = 1 / 3


def test_the_floor_of_a_third_at_each_rung_is_a_quarter_of_all_tokens() -> None:
    """Rungs 1/9, 1/3, 1 and no audits: 1/9 + 1/3 · 2/9 + 1/9 · 2/3 = 0.259 of the full budget."""
    one = [Generation(27, 0)]
    reach = at_least(one, 3, THIRD)
    assert reach.counts == ((27, 9, 3),)
    assert reach == at_most(one, 3, THIRD) == expected(one, 3, THIRD)
    assert reach.amount((100, 300, 900)) == 27 * 100 + 9 * 200 + 3 * 600
    assert (
        round(reach.amount((100, 300, 900)) / ceiling(one, 3).amount((100, 300, 900)), 3) == 0.259
    )


def test_audits_run_to_the_end_on_top_of_the_places_or_within_them() -> None:
    one = [Generation(12, 6)]
    assert at_least(one, 2, THIRD).counts == ((12, 6),), "4 places, all of them audits"
    assert at_most(one, 2, THIRD).counts == ((12, 10),), "4 places, none of them an audit"
    assert expected(one, 2, THIRD).counts == ((12, 8),), "4 places, 2 of them audits"


def test_a_later_generation_is_ranked_with_those_before_it() -> None:
    two = [Generation(9, 0), Generation(9, 0)]
    assert at_least(two, 2, THIRD).counts == ((9, 3), (9, MINIMUM))
    assert at_most(two, 2, THIRD).counts == ((9, 3), (9, 6))


def generations(trials: int, audits: int, size: int) -> tuple[Generation, ...]:
    """Audits are the first trials drawn."""
    starts = range(0, trials, size)
    sizes = [min(size, trials - start) for start in starts]
    return tuple(
        Generation(n, max(0, min(n, audits - start)))
        for n, start in zip(sizes, starts, strict=True)
    )


def test_without_stopping_everything_is_the_ceiling() -> None:
    made = generations(20, 3, 9)
    assert at_least(made, 2, 1.0) == at_most(made, 2, 1.0) == ceiling(made, 2)


@settings(max_examples=60, deadline=None)
@given(
    trials=st.integers(1, 40),
    audits=st.integers(0, 12),
    size=st.integers(1, 27),
    rungs=st.integers(2, 4),
    keep=st.sampled_from([0.2, THIRD, 0.5]),
    drift=st.floats(-0.5, 0.5),
    seed=st.integers(0, 10_000),
)
def test_the_rule_itself_stays_within_the_range(
    trials: int, audits: int, size: int, rungs: int, keep: float, drift: float, seed: int
) -> None:
    """Whatever the results, and however much better or worse later generations are."""
    made = generations(trials, audits, size)
    found = tuple(_promote(made, rungs, RungPolicy(keep=keep, audit_trials=audits), drift, seed))
    low, high = at_least(made, rungs, keep), at_most(made, rungs, keep)
    for counts, least, most in zip(found, low.counts, high.counts, strict=True):
        assert all(a <= n <= b for n, a, b in zip(counts, least, most, strict=True))


def _promote(
    made: tuple[Generation, ...], rungs: int, policy: RungPolicy, drift: float, seed: int
) -> list[tuple[int, ...]]:
    """A search of random results, promoted by `search.rungs`."""
    chance = random.Random(seed)
    pools: list[list[Entry]] = [[] for _ in range(rungs)]
    counts, number = [], 0
    for g, generation in enumerate(made):
        members = []
        for index in range(generation.trials):
            members.append((str(number), number, index < generation.audits))
            number += 1
        row = [len(members)]
        for rung in range(rungs - 1):
            for key, n, audit in members:
                gain = chance.random() + drift * g
                pools[rung].append(Entry(key, n, g, gain, chance.random(), audit=audit))
            ranking = rank(compared(pools[rung], g), policy, (rung + 1) / rungs)
            on = set(going_on(ranking, {key for key, _, _ in members}, policy))
            members = [m for m in members if m[0] in on]
            row.append(len(members))
        counts.append(tuple(row))
    return counts
