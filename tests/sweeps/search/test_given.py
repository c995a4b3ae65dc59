"""Given configurations: the raw values of settings, and what is refused."""

from itertools import islice

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.core.identity import canonical_json
from keepgain.sweeps.search.given import SHARE_TOLERANCE, raw_of
from keepgain.sweeps.search.space import Space, parse_space

SOURCES = ("tickets", "general", "synthetic")


def space_of(raw: dict) -> Space:
    return parse_space(raw, sources=SOURCES, where="sweep.yaml")


def values(name: str, allowed: st.SearchStrategy) -> st.SearchStrategy:
    """Entries of one parameter in every form that a grid may have, as (name, entry)."""
    some = st.lists(allowed, min_size=1, max_size=4, unique=True)
    return some.flatmap(
        lambda v: st.sampled_from([v, {"ordered": sorted(v)}, v[0], {"choice": v}])
    ).map(lambda entry: (name, entry))


ENTRIES = st.lists(
    st.one_of(
        values("learning_rate", st.floats(1e-6, 1).map(lambda x: float(f"{x:.3g}"))),
        values("batch_size", st.integers(1, 256)),
        values("rows", st.integers(1, 5000)),
        values("duration", st.floats(0.1, 4).map(lambda x: float(f"{x:.3g}"))),
        values("replay_share", st.floats(0, 1).map(lambda x: round(x, 3))),
        values("lora.rank", st.integers(1, 64)),
        st.tuples(st.integers(0, 9), st.integers(1, 9), st.integers(1, 4)).map(
            lambda t: ("max_length", {"int": [8 + t[0], 8 + t[0] + t[1] * t[2]], "step": t[2]})
        ),
        st.tuples(st.integers(0, 40), st.integers(1, 9)).map(
            lambda t: ("warmup_share", {"uniform": [t[0] / 100, t[0] / 100 + 0.3], "step": 0.033})
        ),
        st.just(("lora.targets", ["all-linear", ["v_proj", "q_proj"], ["up_proj"]])),
    ),
    max_size=5,
    unique_by=lambda e: e[0],
)


@st.composite
def grids(draw: st.DrawFn) -> dict:
    """Spaces without a continuum, some parameters under conditions."""
    raw = dict(draw(ENTRIES))
    raw["method"] = ["full", "lora"]
    if "batch_size" in raw and draw(st.booleans()):
        entry = raw["batch_size"]
        ranged = entry if isinstance(entry, dict) else {"choice": [entry]}
        ranged = {"choice": entry} if isinstance(entry, list) else ranged
        raw["batch_size"] = {**ranged, "when": {"method": "full"}}
    return raw


@settings(max_examples=150, deadline=None)
@given(grids())
def test_a_grid_has_as_many_different_points_as_it_says(raw: dict) -> None:
    space = space_of(raw)
    count = space.grid_points()
    assert count is not None and not space.continuous
    points = list(islice(space.grid(), 3000))
    assert len(points) == min(count, 3000)
    resolved = [space.resolve(point) for point in points]
    assert len({canonical_json(p) for p in resolved}) == len(points)
    box = space.raw_distributions()
    for point, params in islice(zip(points, resolved, strict=True), 50):
        assert all(box[name]._contains(box[name].to_internal_repr(v)) for name, v in point.items())
        assert space.active_raw(point) == point
        assert raw_of(space, params) == pytest.approx(point)
        assert ("lora.rank" in params) == ("lora.rank" in raw and params["method"] == "lora")


@settings(max_examples=60, deadline=None)
@given(grids(), st.randoms())
def test_identity_and_order_do_not_follow_the_order_of_keys(raw: dict, random) -> None:
    keys = list(raw)
    random.shuffle(keys)
    space, again = space_of(raw), space_of({k: raw[k] for k in keys})
    assert space.identity == again.identity
    assert list(islice(space.grid(), 20)) == list(islice(again.grid(), 20))


DRAWN = {
    "method": ["full", "lora"],
    "learning_rate": {"log": [1e-5, 1e-3]},
    "lora.rank": {"log_int": [4, 64]},
    "weight_decay": {"uniform": [0, 0.1]},
    "batch_size": {"ordered": [8, 16, 64]},
    "mixture": {"tickets": [0.3, 1], "general": [0, 0.5], "synthetic": [0.05, 0.4]},
}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000))
def test_settings_of_a_draw_lead_back_to_themselves(seed: int) -> None:
    space = space_of(DRAWN)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    params = space(trial)
    back = space.resolve(raw_of(space, params))
    assert back.keys() == params.keys()
    for name, value in params.items():
        close = SHARE_TOLERANCE if name.startswith("mixture.") else 0
        assert back[name] == value or abs(back[name] - value) <= close


def test_settings_as_people_write_them() -> None:
    space = space_of(
        {"lora.targets": ["all-linear", ["q_proj", "v_proj"]], "method": "lora", **MIXED}
    )
    raw = raw_of(
        space, {"lora.targets": ["v_proj", "q_proj"], "mixture": {"tickets": 0.8, "general": 0.2}}
    )
    assert raw["lora.targets"] == "q_proj,v_proj"
    params = space.resolve(raw)
    assert params["mixture.tickets"] == pytest.approx(0.8, abs=1e-6)
    assert params["mixture.synthetic"] == 0


MIXED = {"mixture": {"tickets": [0.5, 1], "general": [0, 0.5]}}


@pytest.mark.parametrize(
    ("raw", "params", "words"),
    [
        ({"batch_size": [8, 16]}, {}, "batch_size is missing"),
        ({"batch_size": [8, 16]}, {"batch_size": 9}, "batch_size = 9 is not in the space"),
        ({"batch_size": {"ordered": [8, 16]}}, {"batch_size": 0}, "batch_size: .*greater than"),
        ({"batch_size": {"ordered": [8, 16]}}, {"batch_size": 9}, "one of 8, 16, in this order"),
        ({"batch_size": {"int": [8, 16]}}, {"batch_size": 17}, "8 to 16"),
        ({"batch_size": 8}, {"batch_size": 16}, "batch_size = 16 is not in the space"),
        ({"learning_rate": {"log": [1e-5, 1]}}, {"learning_rate": 2}, "1e-05 to 1, log"),
        ({"batch_size": [8]}, {"batch_size": 8, "batch_sise": 8}, "Did you mean batch_size"),
        (
            {"method": ["full", "lora"], "lora.rank": [4, 8]},
            {"method": "full", "lora.rank": 4},
            "lora.rank is not a setting of this trial.*when method = lora",
        ),
        (MIXED, {"mixture.tickets": 0.8}, "sum to 0.8"),
        (
            MIXED,
            {"mixture.tickets": 0.4, "mixture.general": 0.6},
            "share 0.6 of 'general' is not from 0 to 0.5",
        ),
        (MIXED, {"mixture": {"ticket": 1}}, "unknown source 'ticket'"),
    ],
)
def test_what_the_space_does_not_allow_is_refused(raw: dict, params: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        raw_of(space_of(raw), params)
