"""Who goes on at a rung: hand-worked cases, and what must hold for any scores."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.core.status import Stage
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.rungs import Entry, RungPolicy, audits, compared, going_on, rank

LATE, EARLY = 0.5, 0.1
"""Shares of the budget beyond and below the grace share."""
POLICY = RungPolicy(keep=1 / 3, grace=0.2, audit_trials=0)


def entry(name: str, gain: float, forgetting: float = 0.0, **more: object) -> Entry:
    """Numbered by its letter: a is 0."""
    return Entry(name, ord(name) - ord("a"), 0, gain, forgetting, **more)  # type: ignore[arg-type]


def order(entries: list[Entry], share: float = LATE, policy: RungPolicy = POLICY) -> str:
    return "".join(e.run_key for e in rank(entries, policy, share).order)


def goers(entries: list[Entry], share: float = LATE, policy: RungPolicy = POLICY) -> str:
    members = {e.run_key for e in entries}
    return "".join(going_on(rank(entries, policy, share), members, policy))


def test_layers_come_one_after_the_other() -> None:
    # (gain, forgetting): a and b are the front; c is dominated by a, d by c as well.
    entries = [entry("d", 0.1, 0.4), entry("c", 0.3, 0.3), entry("a", 0.5, 0.2), entry("b", 0.2, 0)]
    assert order(entries) == "abcd"


def test_inside_a_layer_the_extremes_come_first_and_then_the_farthest() -> None:
    # One front: gain 1, .9, .6, .5, 0 with forgetting 1, .9, .6, .5, 0 (scaled distances likewise).
    # After a (most gain) and e (least forgetting), d at .5 is .5 from both, c only .4 from a;
    # then b is .1 from a, c .1 from d: the lower number.
    entries = [
        entry("a", 1.0, 1.0), entry("b", 0.9, 0.9), entry("c", 0.6, 0.6),
        entry("d", 0.5, 0.5), entry("e", 0.0, 0.0),
    ]  # fmt: skip
    assert order(entries) == "aedbc"


def test_beyond_the_limit_the_smaller_excess_is_better_and_all_within_are_better_still() -> None:
    entries = [
        entry("a", 0.9, 0.30, excess=0.2),
        entry("b", 0.8, 0.15, excess=0.05),
        entry("c", 0.1, 0.05),
        entry("d", 0.7, 0.15, excess=0.05),
    ]
    assert order(entries) == "cbda"


def test_below_the_grace_share_forgetting_stops_nobody() -> None:
    """c gains most and forgets far too much: dominated by nobody, but beyond the limit; b gains
    second most and is dominated by nothing but forgetting's share in the layers."""
    entries = [entry("a", 0.1, 0.0), entry("b", 0.2, 0.1), entry("c", 0.3, 0.9, excess=0.8)]
    assert goers(entries, LATE) == "b"
    assert goers(entries, EARLY) == "c"
    assert goers(entries, POLICY.grace) == "b", "the grace share itself is not below it"


def test_below_the_grace_share_gain_and_layers_take_turns() -> None:
    entries = [
        entry("a", 0.1, 0.00), entry("b", 0.5, 0.5), entry("c", 0.4, 0.6),
        entry("d", 0.3, 0.7), entry("e", 0.2, 0.8), entry("f", 0.0, 0.9),
    ]  # fmt: skip
    # On gain: bcdeaf. In layers: ba|c|d|e|f. In turn b (b) c a d (c) e (d) (a) (e) f.
    assert order(entries, EARLY) == "bcadef"
    assert goers(entries, EARLY) == "bc"
    assert goers(entries, EARLY, replace(POLICY, keep=0.5)) == "bca"


def test_below_the_grace_share_a_smooth_measure_makes_the_layers_and_not_the_order_by_gain() -> (
    None
):
    """c has learnt nothing that an exact match shows, but most of all by bits per byte."""
    entries = [
        entry("a", 0.3, 0.5, proxy_gain=0.2),
        entry("b", 0.2, 0.5, proxy_gain=0.1),
        entry("c", 0.0, 0.1, proxy_gain=0.4),
    ]
    assert order(entries, EARLY) == "acb"
    assert order(entries, LATE) == "acb", "a and c are the first layer by what is asked for"
    assert goers(entries, EARLY, replace(POLICY, keep=2 / 3)) == "ac"
    assert order([replace(e, proxy_gain=None) for e in entries], EARLY) == "abc"


def test_ties_go_to_the_lower_number_and_so_does_a_search_with_one_objective() -> None:
    assert order([entry("c", 0.5), entry("a", 0.5), entry("b", 0.7)]) == "bac"


@pytest.mark.parametrize(("count", "places"), [(1, 0), (2, 0), (3, 1), (8, 2), (9, 3), (10, 3)])
def test_a_third_of_the_trials_compared_has_a_place(count: int, places: int) -> None:
    entries = [entry(chr(ord("a") + i), 1 - i / 10) for i in range(count)]
    assert rank(entries, POLICY, LATE).places == places
    assert len(goers(entries)) == max(places, 1), "but one of a generation always goes on"


def test_a_lost_trial_gives_its_place_to_the_next_best() -> None:
    entries = [entry(n, 1 - i / 10) for i, n in enumerate("abcdef")]
    assert goers(entries) == "ab"
    assert goers([replace(e, lost=e.run_key == "a") for e in entries]) == "abc"
    assert goers([replace(e, lost=e.run_key in "ab") for e in entries]) == "abcd"
    assert goers([replace(e, lost=True) for e in entries]) == "abcdef"


def test_audits_go_on_and_hold_only_the_place_at_which_they_rank() -> None:
    entries = [entry(n, 1 - i / 10) for i, n in enumerate("abcdef")]
    audited = [replace(e, audit=e.run_key in "af") for e in entries]
    assert goers(audited) == "abf", "a holds a place, f holds none and goes on all the same"


def test_a_generation_is_compared_with_those_before_it_and_not_with_later_ones() -> None:
    first = [entry(n, g) for n, g in (("a", 0.9), ("b", 0.8), ("c", 0.1))]
    second = [replace(entry(n, g), generation=1) for n, g in (("d", 0.95), ("e", 0.85), ("f", 0.0))]
    third = [replace(entry("g", 1.0), generation=2)]
    members = {"d", "e", "f"}

    def going(policy: RungPolicy) -> str:
        pool = compared([*first, *second, *third], 1)
        return "".join(going_on(rank(pool, policy, LATE), members, policy))

    assert going(POLICY) == "d", "places for two of six: d, and a of the generation before"
    assert going(replace(POLICY, keep=0.5)) == "de"


def test_audits_are_the_first_quasi_random_draws_of_each_base_model() -> None:
    def asked(key: str, model: str, number: int, origin: str) -> Asked:
        return Asked(
            run_key=key, trial_id=key, seed=0, stage=Stage.SEARCH, kind="trial", model=model,
            number=number, generation=0, index=0, origin=origin, config={},
        )  # fmt: skip

    draws = [
        asked("m0", "m", 0, "list"), asked("m2", "m", 2, "quasi_random"),
        asked("m1", "m", 1, "quasi_random"), asked("m3", "m", 3, "quasi_random"),
        asked("n0", "n", 0, "quasi_random"), asked("n1", "n", 1, "sampler"),
    ]  # fmt: skip
    assert audits(draws, 2) == {"m1", "m2", "n0"}
    assert audits(draws, 0) == set()


scores = st.integers(0, 6).map(lambda i: i / 6)
"""Few values, so that ties are common."""


@st.composite
def rungs(draw: st.DrawFn) -> list[Entry]:
    count = draw(st.integers(1, 25))
    return [
        Entry(
            f"r{i}", i, draw(st.integers(0, 2)), draw(scores), draw(scores),
            excess=draw(st.sampled_from([0.0, 0.0, 0.1, 0.2])),
            proxy_gain=draw(st.none() | scores), audit=draw(st.booleans()),
            lost=draw(st.sampled_from([False, False, False, True])),
        )
        for i in range(count)
    ]  # fmt: skip


policies = st.builds(
    RungPolicy,
    keep=st.sampled_from([0.2, 1 / 3, 0.5, 1.0]),
    minimum=st.integers(0, 2),
)
shares = st.sampled_from([0.1, 0.2, 0.6])


def decided(
    entries: list[Entry], policy: RungPolicy, share: float, generation: int
) -> tuple[str, ...]:
    pool = compared(entries, generation)
    members = {e.run_key for e in entries if e.generation == generation}
    return going_on(rank(pool, policy, share), members, policy)


@settings(max_examples=300, deadline=None)
@given(rungs(), policies, shares, st.integers(0, 2), st.randoms(use_true_random=False))
def test_what_holds_for_any_scores(
    entries: list[Entry], policy: RungPolicy, share: float, generation: int, random: object
) -> None:
    own = {e.run_key: e for e in entries if e.generation == generation}
    pool = compared(entries, generation)
    ranking = rank(pool, policy, share)
    going = decided(entries, policy, share, generation)
    assert set(going) <= set(own)
    assert {k for k, e in own.items() if e.audit} <= set(going), "audits are never stopped"
    # Never more than the share, but for audits that ranked badly and places of lost trials.
    limit = max(policy.minimum, len(pool) * policy.keep + 1e-9)
    good = {e.run_key for e in ranking.order[: ranking.places]}
    assert len([k for k in going if not own[k].lost and (k in good or not own[k].audit)]) <= limit
    # The order in which reports came does not matter.
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decided(shuffled, policy, share, generation) == going
    # Whether others are audits does not matter to those that are not.
    plain = decided([replace(e, audit=False) for e in entries], policy, share, generation)
    assert [k for k in going if not own[k].audit] == [k for k in plain if not own[k].audit]
    if share < policy.grace:  # forgetting alone stops none of the best on gain
        by_gain = sorted(pool, key=lambda e: (-e.gain, e.forgetting, e.number))
        first = {e.run_key for e in by_gain[: (ranking.places + 1) // 2]}
        assert first & set(own) <= set(going)
    else:  # nobody that goes on in its own right is dominated by one within the limit that does not
        rank_of = {e.run_key: i for i, e in enumerate(ranking.order)}
        for better in pool:
            for worse in pool:
                if _dominates(better, worse):
                    assert rank_of[better.run_key] < rank_of[worse.run_key]


def _dominates(a: Entry, b: Entry) -> bool:
    if a.excess > 0 or b.excess > 0:
        return a.excess < b.excess
    better = a.gain >= b.gain and a.forgetting <= b.forgetting
    return better and (a.gain, a.forgetting) != (b.gain, b.forgetting)
