"""The search space: what YAML means, what a draw becomes, and what is refused."""

import pickle

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from keepgain.core.config import LoraSettings, RetentionSettings, TrialConfig
from keepgain.core.errors import UserError
from keepgain.sweeps.search.searchable import SEARCHABLE
from keepgain.sweeps.search.space import parse_space

SOURCES = ("tickets", "general", "synthetic")
FULL = {
    "method": ["full", "lora"],
    "learning_rate": {"log": [1e-5, 1e-3]},
    "lora.rank": {"log_int": [4, 64], "when": {"method": "lora"}},
    "lora.dropout": {"uniform": [0, 0.3], "step": 0.1},
    "batch_size": {"int": [8, 64], "step": 8},
    "warmup_share": {"uniform": [0, 0.2]},
    "schedule": "wsd",
    "mixture": {"tickets": [0.5, 1], "general": [0, 0.4], "synthetic": 0.1},
}


def space_of(raw, sources=SOURCES):
    return parse_space(raw, sources=sources, where="sweep.yaml")


def draws(space, n, seed=0):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(n):
        trial = study.ask()
        yield space(trial), trial.params


def test_forms_become_distributions():
    found = space_of(FULL).raw_distributions()
    assert found == {
        "method": CategoricalDistribution(("full", "lora")),
        "learning_rate": FloatDistribution(1e-5, 1e-3, log=True),
        "lora.rank": IntDistribution(4, 64, log=True),
        "lora.dropout": FloatDistribution(0, 0.3, step=0.1),
        "batch_size": IntDistribution(8, 64, step=8),
        "warmup_share": FloatDistribution(0, 0.2),
        "mixture#0": FloatDistribution(0, 1),
    }


def test_settings_of_draws():
    space = space_of(FULL)
    seen = set()
    for params, raw in draws(space, 200):
        seen.add(params["method"])
        assert params["schedule"] == "wsd"
        assert params["batch_size"] in range(8, 65, 8)
        assert params["mixture.synthetic"] == 0.1
        assert 0.5 <= params["mixture.tickets"] <= 0.9
        assert 0 <= params["mixture.general"] <= 0.4
        shares = [v for k, v in params.items() if k.startswith("mixture.")]
        assert sum(round(v * 1e6) for v in shares) == 10**6
        is_lora = params["method"] == "lora"
        assert ("lora.rank" in params) == ("lora.dropout" in params) == is_lora
        assert ("lora.rank" in raw) == is_lora
        if is_lora:
            assert params["lora.dropout"] in (0, 0.1, 0.2, 0.3)  # not 0.30000000000000004
            assert params["lora.rank"] in range(4, 65)
        assert 1e-5 <= params["learning_rate"] <= 1e-3
        assert float(f"{params['learning_rate']:.6g}") == params["learning_rate"]
        assert space.resolve(raw) == params
        assert space.active_raw({**raw, "lora.rank": 8, "lora.dropout": 0.1}).keys() >= raw.keys()
    assert seen == {"full", "lora"}


def test_settings_fit_the_trial_configuration():
    names = set(TrialConfig.model_fields) | {f"lora.{n}" for n in LoraSettings.model_fields}
    names |= {f"retention.{n}" for n in RetentionSettings.model_fields}
    of_several = {"duration", "replay_share", "synthetic_share"}
    assert set(SEARCHABLE) - of_several <= names


def test_a_space_is_pickled_and_identified_by_content():
    space = space_of(FULL)
    again = space_of(dict(reversed(FULL.items())))
    assert pickle.loads(pickle.dumps(space)) == space == again
    assert space.identity == again.identity
    assert space.identity != space_of({**FULL, "schedule": "cosine"}).identity
    assert [p for p, _ in draws(space, 5)] == [p for p, _ in draws(again, 5)]


def test_description():
    lines = space_of(FULL).describe()
    assert "learning_rate: 1e-05 to 0.001, log" in lines
    assert "lora.rank: 4 to 64, whole, log; when method = lora" in lines
    assert "mixture.synthetic: 0.1 (fixed)" in lines


def test_a_source_left_out_gets_nothing():
    params, _ = next(draws(space_of({"mixture": {"tickets": [0, 1], "general": [0, 1]}}), 1))
    assert params["mixture.synthetic"] == 0


@pytest.mark.parametrize(
    ("raw", "points"),
    [
        ({"learning_rate": [1e-4, 1e-3], "batch_size": [8, 16, 32]}, 6),
        ({"method": ["full", "lora"], "lora.rank": [4, 8, 16]}, 4),
        ({"method": ["full", "lora"], "lora.rank": {"int": [4, 16], "step": 4}}, 5),
        ({"batch_size": {"log_int": [4, 64]}}, 61),
        ({"warmup_share": {"uniform": [0, 0.5], "step": 0.1}}, 6),
        ({"learning_rate": 1e-3}, 1),
        ({"learning_rate": {"log": [1e-5, 1e-3]}}, None),
        ({"mixture": {"tickets": [0.5, 1], "general": [0, 0.5]}}, None),
        ({"batch_size": [8, 16], "mixture": {"tickets": 0.8, "general": 0.2}}, 2),
    ],
)
def test_grid_points(raw, points):
    space = space_of(raw)
    assert space.grid_points() == points
    if points:
        found = {repr(sorted(p.items())) for p, _ in draws(space, 60 * points)}
        assert len(found) == points


@pytest.mark.parametrize(
    ("raw", "allowed"),
    [
        ({"uniform": [0, 1], "step": 0.3}, {0, 0.3, 0.6, 0.9}),
        ({"uniform": [0.1, 0.5], "step": 0.2}, {0.1, 0.3, 0.5}),
    ],
)
def test_steps_that_do_not_reach_the_upper_end(raw, allowed, recwarn):
    space = space_of({"warmup_share": raw})
    assert {p["warmup_share"] for p, _ in draws(space, 100)} == allowed
    assert not recwarn.list


NUMBERS = st.floats(1e-6, 1, allow_nan=False).map(lambda x: float(f"{x:.4g}"))


@settings(max_examples=60, deadline=None)
@given(st.tuples(NUMBERS, NUMBERS), st.sampled_from(["log", "uniform"]), st.integers(0, 99))
def test_reals_stay_in_range_and_replay(ends, form, seed):
    low, high = sorted(ends)
    if low == high:
        return
    space = space_of({"learning_rate": {form: [low, high]}})
    for params, raw in draws(space, 5, seed):
        assert low <= params["learning_rate"] <= high
        assert space.resolve(raw) == params


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 40), st.integers(0, 99))
def test_whole_numbers_follow_their_step(a, b, step, seed):
    low, high = sorted([a, b])
    if high - low < step:
        return
    space = space_of({"batch_size": {"int": [low, high], "step": step}})
    for params, raw in draws(space, 5, seed):
        assert params["batch_size"] in range(low, high + 1, step)
        assert space.resolve(raw) == params


def test_ordered_numbers_are_drawn_by_their_place():
    space = space_of({"batch_size": {"ordered": [8, 16, 64]}})
    assert space.raw_distributions() == {"batch_size": IntDistribution(0, 2)}
    assert [space.resolve({"batch_size": i})["batch_size"] for i in range(3)] == [8, 16, 64]
    for params, raw in draws(space, 30):
        assert params["batch_size"] == (8, 16, 64)[raw["batch_size"]]
    for wrong in (3, -1, 0.5, True, "8"):
        with pytest.raises(UserError, match="batch_size"):
            space.resolve({"batch_size": wrong})


def test_tpe_finds_the_neighbours_of_a_good_place():
    """The best of 40 places is 31; half of the late draws are within 5, by chance a quarter."""
    space = space_of({"rows": {"ordered": list(range(100, 4100, 100))}})
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=10))
    near = 0
    for i in range(40):
        trial = study.ask()
        place = (space(trial)["rows"] - 100) // 100
        near += i >= 20 and abs(place - 31) <= 5
        study.tell(trial, float((place - 31) ** 2))
    assert near >= 10


def test_a_condition_on_ordered_numbers():
    space = space_of(
        {"rows": {"ordered": [250, 1000]}, "duration": {"choice": [1, 2], "when": {"rows": 250}}}
    )
    assert space.grid_points() == 3
    assert [space.resolve(r) for r in space.grid()] == [
        {"rows": 250, "duration": 1.0},
        {"rows": 250, "duration": 2.0},
        {"rows": 1000},
    ]


def test_the_grid_goes_through_the_first_parameter_slowest():
    space = space_of({"learning_rate": [0.1, 0.2], "batch_size": {"ordered": [8, 16]}})
    assert [tuple(space.resolve(r).values()) for r in space.grid()] == [
        (8, 0.1),
        (8, 0.2),
        (16, 0.1),
        (16, 0.2),
    ]


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ({"batch_size": [8, 16]}, ()),
        ({"learning_rate": {"log": [1e-5, 1]}, "batch_size": [8, 16]}, ("learning_rate",)),
        ({"mixture": {"tickets": [0.5, 1], "general": [0, 0.5]}}, ("mixture",)),
    ],
)
def test_what_has_no_grid_is_named(raw, names):
    assert space_of(raw).continuous == names


def test_points_of_a_fine_grid_stay_apart():
    space = space_of({"learning_rate": {"uniform": [1000, 1000.01], "step": 0.001}})
    found = [space.resolve(r)["learning_rate"] for r in space.grid()]
    assert found == [pytest.approx(1000 + i / 1000, abs=1e-9) for i in range(11)]
    assert len(set(found)) == 11


def test_lists_of_modules_are_choices():
    space = space_of({"method": "lora", "lora.targets": ["all-linear", ["v_proj", "q_proj"]]})
    assert {p["lora.targets"] for p, _ in draws(space, 20)} == {"all-linear", "q_proj,v_proj"}


def test_a_draw_of_another_space_is_refused():
    space = space_of(FULL)
    good = {"method": "full", "learning_rate": 1e-4, "batch_size": 8, "warmup_share": 0.1}
    good["mixture#0"] = 0.5
    assert space.resolve(good)
    for change in ({"batch_size": 9}, {"learning_rate": 1}, {"method": "x"}, {"mixture#0": 2}):
        with pytest.raises(UserError, match=next(iter(change))):
            space.resolve({**good, **change})
    with pytest.raises(UserError, match=r"lora\."):
        space.resolve({**good, "method": "lora"})


LORA = {"method": ["full", "lora"]}
FAULTS = [
    ({}, "space", "at least one parameter"),
    (None, "space", "at least one parameter"),
    ([1], "space", "at least one parameter"),
    ({"learning_rat": 1e-3}, "space.learning_rat", "Did you mean learning_rate"),
    ({"rank": 8}, "space.rank", "Did you mean lora.rank"),
    ({"lora": {"rank": 8}}, "space.lora", "lora.rank"),
    ({"colour": 1}, "space.colour", "Known: method"),
    ({"model": ["a"]}, "space.model", "unknown parameter"),
    ({"learning_rate": []}, "space.learning_rate", "at least one value"),
    ({"learning_rate": [1, 1.0]}, "space.learning_rate", "in the list twice"),
    ({"method": ["full", "qlra"]}, "space.method", "'full', 'lora', 'rslora', 'dora', 'qlora' or"),
    ({"batch_size": 0}, "space.batch_size", "greater than or equal to 1"),
    ({"batch_size": "8"}, "space.batch_size", "valid integer"),
    ({"batch_size": True}, "space.batch_size", "valid integer"),
    ({"batch_size": {"uniform": [8, 64]}}, "space.batch_size", "use int or log_int"),
    ({"learning_rate": True}, "space.learning_rate", "valid number"),
    ({"learning_rate": float("nan")}, "space.learning_rate", "finite"),
    ({"learning_rate": {"log": [1e-3, 1e-5]}}, "space.learning_rate", "Swap them"),
    ({"learning_rate": {"log": [1e-3, 1e-3]}}, "space.learning_rate", "without a range"),
    ({"learning_rate": {"log": [0, 1e-3]}}, "space.learning_rate", "above 0"),
    ({"learning_rate": {"log": [1e-5]}}, "space.learning_rate", "two numbers"),
    ({"learning_rate": {"log": [1e-5, "1e-3"]}}, "space.learning_rate", "finite number"),
    ({"learning_rate": {"log": [1e-5, float("inf")]}}, "space.learning_rate", "finite number"),
    ({"learning_rate": {"log": [1e-5, 1], "int": [1, 2]}}, "space.learning_rate", "log and int"),
    ({"learning_rate": {}}, "space.learning_rate", "given: none"),
    ({"learning_rate": {"lin": [0, 1]}}, "space.learning_rate", "unknown key 'lin'"),
    ({"learning_rate": {"log": [1e-5, 1], "step": 1}}, "space.learning_rate", "no meaning"),
    ({"warmup_share": {"uniform": [0, 2]}}, "space.warmup_share", "less than or equal to 1"),
    ({"warmup_share": {"uniform": [0, 1], "step": 2}}, "space.warmup_share", "does not fit"),
    ({"warmup_share": {"uniform": [0, 1], "step": -1}}, "space.warmup_share", "does not fit"),
    ({"batch_size": {"int": [1, 8.5]}}, "space.batch_size", "whole numbers"),
    ({"batch_size": {"int": [1, 8], "step": 0.5}}, "space.batch_size", "`step` must be a whole"),
    ({"batch_size": {"log_int": [0, 8]}}, "space.batch_size", "above 0"),
    ({**LORA, "lora.rank": {"int": [4, 8], "when": "lora"}}, "space.lora.rank", "mapping"),
    (
        {**LORA, "batch_size": {"choice": [8], "when": {"metod": "lora"}}},
        "space.batch_size",
        "Did you mean method",
    ),
    (
        {**LORA, "batch_size": {"choice": [8], "when": {"method": "qlora"}}},
        "space.batch_size",
        "never drawn",
    ),
    (
        {
            "learning_rate": {"log": [1e-5, 1]},
            "batch_size": {"value": 8, "when": {"learning_rate": 1}},
        },
        "space.batch_size",
        "which is a range",
    ),
    (
        {"batch_size": {"choice": [8, 16], "when": {"batch_size": 8}}},
        "space.batch_size",
        "in a circle",
    ),
    (
        {
            "batch_size": {"choice": [8, 16], "when": {"max_length": 64}},
            "max_length": {"choice": [64, 128], "when": {"batch_size": 8}},
        },
        "space.batch_size",
        "in a circle",
    ),
    ({"lora.rank": [4, 8]}, "space.lora.rank", "no trial has the method lora"),
    ({"method": "full", "lora.rank": 4}, "space.lora.rank", "no trial has the method lora"),
    (
        {**LORA, "lora.rank": {"choice": [4, 8], "when": {"method": "full"}}},
        "space.lora.rank",
        "only where the method is lora",
    ),
    (
        {**LORA, "lora.rank": {"choice": [4, 8], "when": {"method": ["full", "lora"]}}},
        "space.lora.rank",
        "only where the method is lora",
    ),
    ({"batch_size": {"ordered": [16, 8]}}, "space.batch_size", "ascending"),
    ({"batch_size": {"ordered": 8}}, "space.batch_size", "a list with at least one"),
    ({"batch_size": {"ordered": [8, 8]}}, "space.batch_size", "in the list twice"),
    ({"batch_size": {"ordered": [8, 16.5]}}, "space.batch_size", "valid integer"),
    ({"schedule": {"ordered": ["cosine", "wsd"]}}, "space.schedule", "needs numbers"),
    ({"batch_size": {"ordered": [8, 16], "step": 1}}, "space.batch_size", "no meaning"),
    ({"method": "lora", "lora.targets": ["q_proj"]}, "space.lora.targets", "A list is a choice"),
    ({"method": "lora", "lora.targets": [[]]}, "space.lora.targets", "a list of module names"),
    ({"rows": [0]}, "space.rows", "greater than or equal to 1"),
    ({"duration": 0}, "space.duration", "greater than 0"),
    ({"replay_share": {"uniform": [0, 2]}}, "space.replay_share", "less than or equal to 1"),
    (
        {"replay_share": [0, 0.1], "mixture": {"tickets": 1}},
        "space.replay_share",
        "both `replay_share` and `mixture`",
    ),
    ({"mixture": {"ticket": [0, 1]}}, "space.mixture.ticket", "Did you mean tickets"),
    ({"mixture": {}}, "space.mixture", "mapping of sources"),
    ({"mixture": {"tickets": [0.6, 1], "general": [0.6, 1]}}, "space.mixture", "sum to 1.2"),
    ({"mixture": {"tickets": [0, 0.5], "general": 0.2}}, "space.mixture", "sum to 0.7"),
    ({"mixture": {"tickets": 0.8}}, "space.mixture", "sum to 0.8"),
    ({"mixture": {"tickets": [0.9, 0.5]}}, "space.mixture.tickets", "Swap them"),
    ({"mixture": {"tickets": [0, 1.5]}}, "space.mixture.tickets", "from 0 to 1"),
    ({"mixture": {"tickets": "much"}}, "space.mixture.tickets", "from 0 to 1"),
    ({"mixture": {"tickets": True}}, "space.mixture.tickets", "from 0 to 1"),
]


@pytest.mark.parametrize(("raw", "key", "message"), FAULTS)
def test_faults_name_the_key_and_what_to_do(raw, key, message):
    with pytest.raises(UserError) as error:
        space_of(raw)
    assert error.value.where == f"sweep.yaml:{key}"
    assert message in str(error.value)


def test_settings_of_adapters_exist_for_every_method_of_the_family():
    methods = ["full", "lora", "dora", "peft"]
    space = space_of({"method": methods, "lora.rank": [4, 8]})
    drawn = {p["method"]: "lora.rank" in p for p, _ in draws(space, 100)}
    assert drawn == {"full": False, "lora": True, "dora": True, "peft": False}
    narrow = {"choice": [4, 8], "when": {"method": "dora"}}
    space = space_of({"method": methods, "lora.rank": narrow})
    drawn = {p["method"]: "lora.rank" in p for p, _ in draws(space, 100)}
    assert drawn == {"full": False, "lora": False, "dora": True, "peft": False}
    with pytest.raises(UserError, match="only where the method is lora, rslora, dora or qlora"):
        space_of({"method": methods, "lora.rank": {"value": 4, "when": {"method": "peft"}}})


def test_conditions_on_conditions():
    space = space_of(
        {
            "method": ["full", "lora"],
            "lora.rank": {"choice": [4, 64], "when": {"method": "lora"}},
            "lora.alpha": {"uniform": [1, 8], "when": {"lora.rank": [4]}},
        }
    )
    for params, _ in draws(space, 100):
        assert ("lora.rank" in params) == (params["method"] == "lora")
        assert ("lora.alpha" in params) == (params.get("lora.rank") == 4)
