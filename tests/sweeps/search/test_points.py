"""Points known beforehand: the grid, its refusals, lists checked against the space."""

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.search.points import QuasiRandomPoints, check_points, grid_points
from tests.sweeps.search.searches import DISCRETE, SPACE, make_search, run, space_of


def refused(space, sampler, configs=None):
    with pytest.raises(UserError) as caught:
        check_points(space, sampler, configs, lambda key: f"sweep.yaml:{key}")
    return caught.value


def test_a_grid_has_every_point_once_in_an_order_that_follows_from_the_seed():
    space = space_of(DISCRETE)
    points = grid_points(space, 1)
    assert sorted(map(str, points)) == sorted(map(str, space.grid()))
    assert len(points) == 16 and points != list(space.grid())
    assert points == grid_points(space, 1) != grid_points(space, 2)


def test_a_continuous_space_has_no_grid():
    assert grid_points(space_of(SPACE), 1) == []


def test_quasi_random_points_cover_each_half_of_a_range_equally():
    points = QuasiRandomPoints(space_of({"weight_decay": {"uniform": [0, 0.1]}}), 7)
    values = [points[i]["weight_decay"] for i in range(16)]
    assert sum(v < 0.05 for v in values) == 8
    assert sum(v < 0.025 for v in values) == 4


@pytest.mark.parametrize(
    ("raw", "key", "hint"),
    [
        (SPACE, "space.learning_rate", "`learning_rate: [A, B, C]`"),
        (
            {"learning_rate": [1e-4], "mixture": {"tickets": [0, 1], "general": [0, 1]}},
            "space.mixture",
            "replay_share",
        ),
        (
            {"learning_rate": [1e-4], "lora.rank": {"int": [1, 500]}, "method": "lora"}
            | {"batch_size": {"int": [1, 500]}},
            "search.sampler",
            "sampler: random",
        ),
    ],
)
def test_a_grid_without_a_list_of_points_is_refused(raw, key, hint):
    error = refused(space_of(raw), "grid")
    assert error.where == f"sweep.yaml:{key}"
    assert hint in error.hint


def test_a_list_is_checked_value_by_value():
    space = space_of({"method": ["full", "lora"], "learning_rate": {"log": [1e-5, 1e-3]}})
    good = {"method": "full", "learning_rate": 1e-4}
    check_points(space, "list", [good], str)
    for config, key in [
        ({**good, "learning_rate": 1}, "search.configs.1.learning_rate"),
        ({**good, "method": "prefix"}, "search.configs.1.method"),
        ({**good, "batch_size": 8}, "search.configs.1.batch_size"),
        ({"method": "full"}, "search.configs.1"),
    ]:
        assert refused(space, "list", [good, config]).where == f"sweep.yaml:{key}"
    assert refused(space, "list").where == "sweep.yaml:search.sampler"
    assert refused(space, "list", []).where == "sweep.yaml:search.sampler"
    assert refused(space, "tpe", [good]).where == "sweep.yaml:search.configs"


def test_a_list_is_drawn_in_its_order_for_each_base_model(tmp_path):
    configs = [{"learning_rate": rate} for rate in (1e-3, 1e-5, 1e-4)]
    space = space_of({"learning_rate": {"log": [1e-5, 1e-2]}, "method": "full"})
    search = make_search(tmp_path, sampler="list", space=space, configs=configs)
    dealt = run(search)
    assert [(d.model, d.params["learning_rate"]) for d in dealt] == [
        (model, rate) for rate in (1e-3, 1e-5, 1e-4) for model in ("xs", "s")
    ]
    assert {d.origin for d in dealt} == {"list"}


def test_a_grid_cut_short_begins_with_quasi_random_points(tmp_path):
    dealt = run(make_search(tmp_path, sampler="grid", trials_per_model=10, models=["xs"]))
    new = [d for d in dealt if d.repeats is None]
    assert [d.origin for d in new] == ["quasi_random"] * 4 + ["sampler"] * 6
    assert len({str(d.params) for d in new}) == 10
