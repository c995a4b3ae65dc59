"""Points of sweeps and of tables: values, why some are missing, and draws in bounded memory."""

import numpy as np
import pytest

from keepgain.analysis import points as points_module
from keepgain.analysis.measures import Measures
from keepgain.analysis.objectives import NAMES, Objective
from keepgain.analysis.points import Points, of_arrays, of_measures
from keepgain.analysis.table import build_table
from tests.analysis.evidence import Trial, base, build

GAIN = Objective("gain", "maximize", "share", 1)
COST = Objective("parameters", "minimize", "parameters", 1)


def sweep(seeds: int = 3) -> Measures:
    trials = [
        base("s"),
        base("m"),
        Trial("small", "s", 0.7, 0.75, seeds=seeds),
        Trial("large", "m", 0.8, 0.78, seeds=seeds),
        Trial("prompt", "s", 0.3, general=None, arm="few_shot", seeds=1),
    ]
    return Measures(build_table(build(trials, n_items=400, seed_sd=0.02)))


def drawn(points: Points, draws: int = 1000) -> np.ndarray:
    chunks = points.draws(draws)
    assert chunks is not None
    return np.concatenate(list(chunks))


def test_a_sweeps_points_are_its_measures_and_costs() -> None:
    m = sweep()
    who = m.table.configurations
    points = of_measures(m, "test", who, [*NAMES, "parameters"])
    pairs = zip(points.ids, points.values, strict=True)
    row = {i: dict(zip(points.names, v, strict=True)) for i, v in pairs}
    small = next(c for c in who if c.trial_id == "small")
    for name in set(NAMES) - {"max_forgetting"}:
        assert row["small"][name] == m.point(small, "test", name)
    assert row["small"]["max_forgetting"] == m.worst_drop(small, "test")
    assert row["large"]["parameters"] == 1_000_000
    assert points.maximise == (True, False, False, False, True, True, False)
    assert set(points.excluded) == {"prompt"}
    assert points.excluded["prompt"].startswith("no forgetting and no relative_forgetting")


def test_draws_have_the_measures_mean_and_spread() -> None:
    m = sweep()
    who = [c for c in m.table.configurations if c.kind == "trial"]
    names = ["gain", "forgetting", "relative_forgetting", "task_score", "general_score"]
    points = of_measures(m, "test", who, [*names, "parameters"])
    found = drawn(points, 4000)
    assert found.shape == (4000, 2, 6)
    for i, c in enumerate(who):
        for k, name in enumerate(names):
            known = m.uncertain(c, "test", name)
            assert known is not None
            scale = np.sqrt(known.variance)
            assert found[:, i, k].mean() == pytest.approx(known.value, abs=0.1 * scale)
            # Heavier tails than the normal: the seeds' variance is itself uncertain.
            middle = np.subtract(*np.quantile(found[:, i, k], (0.75, 0.25)))
            assert 0.75 < middle / (1.349 * scale) < 1.3
    assert (found[:, :, 5] == points.column("parameters")).all()


def test_draws_of_the_largest_drop_are_the_largest_of_the_drawn_drops() -> None:
    m = sweep()
    who = [c for c in m.table.configurations if c.kind == "trial"]
    both = drawn(of_measures(m, "test", who, ["max_forgetting", "forgetting"]))
    assert (both[:, :, 0] >= both[:, :, 1] - 1e-12).all()


def test_without_a_replicate_nothing_is_drawn() -> None:
    m = sweep(seeds=0)
    who = [c for c in m.table.configurations if c.kind == "trial"]
    assert of_measures(m, "validation", who, ["gain"]).draws() is None


def test_draws_come_in_chunks_of_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(20.0).reshape(10, 2)
    points = of_arrays(list("abcdefghij"), (GAIN, COST), values, standard_errors=np.ones((10, 2)))
    monkeypatch.setattr(points_module, "CHUNK_BYTES", 8 * 20 * 30)
    chunks = list(points.draws(100) or ())
    assert [len(c) for c in chunks] == [30, 30, 30, 10]
    whole = np.concatenate(chunks)
    assert len(np.unique(whole[:, 0, 0])) == 100  # no chunk repeats another
    assert whole.mean(axis=0) == pytest.approx(values, abs=0.4)
    assert (drawn(points, 100) == whole).all()


def test_a_table_says_what_is_missing_and_draws_only_what_is_known() -> None:
    values = np.array([[0.5, 1.0], [np.inf, 2.0], [0.7, 3.0]])
    errors = np.array([[0.1, 0.0], [np.nan, 0.0], [0.2, 0.0]])
    points = of_arrays(
        ["a", "b", "c"], (GAIN, COST), values, standard_errors=errors, missing={"b": "row 7: inf"}
    )
    assert points.excluded == {"b": "row 7: inf"}
    found = drawn(points, 3000)
    assert np.isnan(found[:, 1]).all()
    assert found[:, [0, 2], 0].std(axis=0) == pytest.approx([0.1, 0.2], rel=0.05)
    part = points.keep([2, 0])
    assert part.ids == ("c", "a") and part.values[:, 1].tolist() == [3.0, 1.0]
    assert of_arrays(["a", "b", "c"], (GAIN, COST), values).draws() is None


def test_ids_must_differ_and_shapes_agree() -> None:
    with pytest.raises(ValueError, match="same id"):
        of_arrays(["a", "a"], (GAIN,), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="values"):
        of_arrays(["a", "b"], (GAIN,), np.zeros((2, 2)))
