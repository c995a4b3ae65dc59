import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.trainers.mixture import Mixture

worlds = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(0.05, 1), min_size=n, max_size=n),
        st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=9), min_size=n, max_size=n),
        st.integers(0, 1000),
    )
)


def make(world) -> Mixture:
    weights, lengths, seed = world
    shares = {f"s{i}": w / sum(weights) for i, w in enumerate(weights)}
    return Mixture(shares, {f"s{i}": rows for i, rows in enumerate(lengths)}, seed)


@settings(max_examples=60, deadline=None)
@given(worlds, st.integers(0, 200))
@pytest.mark.fault("N8")
def test_realised_token_shares_follow_the_asked_ones_within_a_row(world, draws):
    mixture = make(world)
    longest = max(max(rows) for rows in world[1])
    for _ in mixture.rows(draws):
        total = sum(c.tokens for c in mixture.cursors.values())
        for name, share in mixture.shares.items():
            over = mixture.cursors[name].tokens - share * total
            # No source is ahead by more than a row, so none is behind by more than the others.
            assert over <= longest + 1
            assert over >= -(longest + 1) * max(len(mixture.shares) - 1, 1)


@settings(max_examples=40, deadline=None)
@given(worlds, st.integers(0, 80), st.integers(1, 80))
def test_a_restored_or_replayed_mixture_goes_on_as_if_never_stopped(world, before, after):
    whole = make(world)
    list(whole.rows(before))
    state = json.loads(json.dumps(whole.state()))
    expected = list(whole.rows(after))
    restored, replayed = make(world), make(world)
    restored.restore(state)
    replayed.replay(before)
    assert list(restored.rows(after)) == expected == list(replayed.rows(after))
    assert restored.drawn() == whole.drawn()


def test_each_epoch_is_another_permutation_of_all_rows():
    mixture = Mixture({"a": 1.0}, {"a": [3] * 20}, seed=4)
    epochs = [[i for _, i in mixture.rows(20)] for _ in range(3)]
    assert all(sorted(e) == list(range(20)) for e in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_another_seed_draws_otherwise_and_the_order_of_the_shares_does_not_matter():
    lengths = {"a": [2] * 30, "b": [5] * 30}
    one = list(Mixture({"a": 0.5, "b": 0.5}, lengths, 1).rows(30))
    assert one == list(Mixture({"b": 0.5, "a": 0.5}, lengths, 1).rows(30))
    assert one != list(Mixture({"a": 0.5, "b": 0.5}, lengths, 2).rows(30))


@pytest.mark.fault("N8")
def test_a_source_without_a_share_is_never_read():
    mixture = Mixture({"a": 1.0, "b": 0.0}, {"a": [1, 2]}, seed=0)
    list(mixture.rows(10))
    assert mixture.drawn() == {"a": {"rows": 10, "tokens": 15}}


@pytest.mark.fault("N8")
def test_bad_shares_and_empty_sources_are_refused():
    with pytest.raises(UserError, match="not 1"):
        Mixture({"a": 0.5}, {"a": [1]}, 0)
    with pytest.raises(UserError, match="'b' has a share but no rows"):
        Mixture({"a": 0.5, "b": 0.5}, {"a": [1], "b": []}, 0)
    with pytest.raises(UserError, match="cannot continue"):
        Mixture({"a": 1.0}, {"a": [1]}, 0).restore({"z": {}})
