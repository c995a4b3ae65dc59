"""One contract for every sampler: counts, states, constraints, draws that follow from history."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from keepgain.core.status import TrialStatus
from keepgain.sweeps.search.draws import Result
from tests.sweeps.search.searches import (
    DISCRETE,
    draws_of,
    from_journal,
    history,
    make_search,
    measure,
    mixed,
    result_of,
    run,
    space_of,
    through_json,
    trials,
)

SAMPLERS = ["random", "quasi_random", "grid", "tpe", "nsga2", "nsga3", "gp", "list"]
ROOT = Path(__file__).resolve().parents[3]
SMALL = {"method": ["full", "lora"], "learning_rate": [1e-4, 1e-3, 1e-2]}
LEARNS = ("tpe", "nsga2", "nsga3", "gp")


@pytest.mark.parametrize("sampler", SAMPLERS)
class TestEverySampler:
    def test_completes_balanced_and_leaves_nothing_running(self, sampler, tmp_path):
        search = make_search(tmp_path, sampler=sampler)
        dealt = run(search)
        assert search.done
        new = [d for d in dealt if d.repeats is None]
        assert [d.model for d in new] == ["xs", "s"] * 6
        assert [d.generation for d in new] == [0] * 8 + [1] * 4
        for model in ("xs", "s"):
            mine = [d for d in dealt if d.model == model]
            assert [d.number for d in mine] == list(range(len(mine)))
            fixed = {"list": "list", "quasi_random": "quasi_random"}.get(sampler)
            assert {d.origin for d in mine if d.generation == 0} == {fixed or "quasi_random"}
            assert {d.origin for d in mine if d.generation == 1} == {fixed or "sampler"}
        studies = from_journal(tmp_path / "journal")
        assert set(studies) == {"sweep-1a2b3c/xs", "sweep-1a2b3c/s"}
        for study in studies.values():
            assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
            assert {t.state for t in study.trials} == {TrialState.COMPLETE}
            mine = [d for d in dealt if study.study_name.endswith(f"/{d.model}")]
            for t, d in zip(study.trials, mine, strict=True):
                assert t.params == d.raw
                assert tuple(t.values) == measure(d).values
                assert t.constraints == measure(d).constraints

    def test_draws_do_not_depend_on_the_order_of_arrival(self, sampler, tmp_path):
        one, two = (make_search(tmp_path, n, sampler=sampler) for n in ("one", "two"))
        assert run(one) == run(two, shuffle=5)
        assert trials(one) == trials(two)

    def test_seed_and_results_matter(self, sampler, tmp_path):
        a = run(make_search(tmp_path, "a", sampler=sampler))
        same = a == run(make_search(tmp_path, "b", sampler=sampler, seed=2))
        assert same == (sampler == "list")
        if sampler in LEARNS:
            other = run(
                make_search(tmp_path, "c", sampler=sampler),
                lambda d: replace(measure(d), values=measure(d).values[::-1]),
            )
            assert [d.raw for d in a[:8]] == [d.raw for d in other[:8]]
            assert [d.raw for d in a] != [d.raw for d in other]

    def test_every_kind_of_end(self, sampler, tmp_path):
        ends = [
            (Result(TrialStatus.PRUNED, truncated=True), TrialState.PRUNED),
            (Result(TrialStatus.PRUNED, (0.1, 0.2), {"over_limit": 1}), TrialState.PRUNED),
            (Result(TrialStatus.COMPLETED, (1, 1), {"over_limit": -1}, True), TrialState.PRUNED),
            (Result(TrialStatus.FAILED), TrialState.FAIL),
            (Result(TrialStatus.COMPLETED, (math.nan, 1), {"over_limit": 0}), TrialState.FAIL),
            (Result(TrialStatus.COMPLETED, (math.inf, 1), {"over_limit": 0}), TrialState.FAIL),
            (Result(TrialStatus.COMPLETED, (1,), {"over_limit": 0}), TrialState.FAIL),
            (Result(TrialStatus.COMPLETED, None, {"over_limit": 0}), TrialState.FAIL),
            (Result(TrialStatus.COMPLETED, (1, 1), {}), TrialState.FAIL),
            (Result(TrialStatus.COMPLETED, (1, 1), {"over_limit": math.nan}), TrialState.FAIL),
            (Result(TrialStatus.COMPLETED, (1, 1), {"over_limit": 0.0}), TrialState.COMPLETE),
            (Result(TrialStatus.COMPLETED, (2, 2), {"over_limit": 0.1}), TrialState.COMPLETE),
        ]
        search = make_search(
            tmp_path, sampler=sampler, models=["xs"], trials_per_model=14, generation_size=6
        )
        dealt = run(search, lambda d: ends[d.number % len(ends)][0])
        study = search.studies["xs"]
        for t, d in zip(study.trials, dealt, strict=True):
            told = d.number if d.repeats is None else d.repeats
            assert t.state == ends[told % len(ends)][1]
        assert all(t.constraints["over_limit"] <= 0 for t in study.best_trials)
        assert study.best_trials

    def test_the_front_respects_constraints(self, sampler, tmp_path):
        search = make_search(tmp_path, sampler=sampler, models=["xs"])
        run(search)
        found = search.studies["xs"]
        assert {t.constraints["over_limit"] > 0 for t in found.trials} == {True, False}
        assert found.best_trials
        assert all(t.constraints["over_limit"] <= 0 for t in found.best_trials)

    def test_one_objective(self, sampler, tmp_path):
        search = make_search(
            tmp_path, sampler=sampler, objectives={"gain": "maximize"}, constraints=[]
        )
        run(search, lambda d: Result(TrialStatus.COMPLETED, measure(d).values[:1]))
        assert search.studies["xs"].best_value <= 1

    def test_interrupted_in_the_middle_nothing_stays_running(self, sampler, tmp_path):
        search = make_search(tmp_path, sampler=sampler)
        first = [search.next() for _ in range(5)]
        search.tell(first[2], measure(first[2]))
        search.close(interrupted=True)
        search.close(interrupted=True)
        studies = from_journal(tmp_path / "journal")
        found = [t for s in studies.values() for t in s.trials]
        states = [t.state for t in found]
        assert sorted(s.name for s in states) == ["COMPLETE"] + ["FAIL"] * 4
        assert all(
            (t.user_attrs.get("unfinished") == "interrupted") == (t.state == TrialState.FAIL)
            for t in found
        )

    def test_all_failed_and_it_still_ends(self, sampler, tmp_path):
        search = make_search(tmp_path, sampler=sampler, models=["xs"])
        run(search, lambda d: Result(TrialStatus.FAILED))
        assert {t.state for t in search.studies["xs"].trials} == {TrialState.FAIL}

    def test_draws_lie_in_the_space_and_give_the_recorded_settings(self, sampler, tmp_path):
        search = make_search(tmp_path, sampler=sampler, models=["xs"])
        space = search.design.space
        box = space.raw_distributions()
        for draw in run(search):
            assert all(box[n]._contains(box[n].to_internal_repr(v)) for n, v in draw.raw.items())
            assert space.resolve(draw.raw) == draw.params
            assert ("lora.rank" in draw.params) == (draw.params["method"] == "lora")

    def test_continued_after_any_event_it_is_the_undisturbed_search(self, sampler, tmp_path):
        """Also in the middle of a generation; the runs end failed, pruned and completed."""

        def make(name):
            return make_search(
                tmp_path, name, sampler=sampler, trials_per_model=5, generation_size=2
            )

        undisturbed = make("whole")
        events = history(undisturbed, mixed, shuffle=3)
        expected = [(e.model, e.number, e.raw, e.params) for e in draws_of(events)]
        step = {"tpe": 1, "gp": 13}.get(sampler, 5)
        for stop in range(0, len(events) + 1, step):
            search = make("again")
            search.restore(through_json(events[:stop]), result_of)
            recorded = [(e.model, e.number, e.raw, e.params) for e in draws_of(events[:stop])]
            assert len(search.open_draws()) <= len(recorded)
            rest = run(search, mixed)
            assert recorded + [(d.model, d.number, d.raw, d.params) for d in rest] == expected
            assert trials(search) == trials(undisturbed)

    def test_a_repeat_takes_the_known_result_and_no_budget(self, sampler, tmp_path):
        grid = space_of(SMALL)
        more = {"configs": _with_repeats(grid)} if sampler == "list" else {}
        search = make_search(
            tmp_path, sampler=sampler, space=grid, models=["xs"], trials_per_model=5, **more
        )
        dealt = run(search)
        assert len([d for d in dealt if d.repeats is None]) == 5
        told = search.studies["xs"].trials
        for draw in dealt:
            if draw.repeats is not None:
                assert draw.params == dealt[draw.repeats].params
                assert draw.repeats < draw.number
                assert told[draw.number].values == told[draw.repeats].values
        if sampler != "list":
            return
        assert [d.repeats for d in dealt] == [None, 0, None, None, 2, None, None]

    def test_every_point_of_a_small_space_is_drawn_once_and_then_it_ends(self, sampler, tmp_path):
        raw = SMALL if sampler == "gp" else DISCRETE  # GP takes a second a draw
        search = make_search(tmp_path, sampler=sampler, space=space_of(raw), trials_per_model=40)
        dealt = run(search)
        assert search.done
        assert search.exhausted == ("xs", "s")
        new = [d for d in dealt if d.repeats is None]
        points = [search.design.space.resolve(raw) for raw in search.design.space.grid()]
        assert len(new) == 2 * len(points) == 2 * (6 if sampler == "gp" else 16)
        for model in ("xs", "s"):
            mine = [d.params for d in new if d.model == model]
            assert sorted(map(str, mine)) == sorted(map(str, points))

    def test_a_space_of_one_point(self, sampler, tmp_path):
        one = space_of({"learning_rate": 1e-3, "method": "full"})
        assert len(run(make_search(tmp_path, sampler=sampler, space=one))) == 2

    def test_without_a_barrier_counts_are_exact_and_nothing_is_drawn_twice(self, sampler, tmp_path):
        def make(name):
            return make_search(tmp_path, name, sampler=sampler, mode="async")

        undisturbed = make("whole")
        events = history(undisturbed, mixed, shuffle=3, slots=3)
        recorded = [(e.model, e.raw) for e in draws_of(events)]
        for stop in (0, 9, 16):
            search = make("again")
            search.restore(through_json(events[:stop]), result_of)
            rest = run(search, mixed)
            whole = draws_of(events[:stop]) + [d for d in rest if d.repeats is None]
            assert recorded[: len(draws_of(events[:stop]))] == [
                (d.model, d.raw) for d in whole[: len(draws_of(events[:stop]))]
            ]
            for model in ("xs", "s"):
                assert len({str(d.params) for d in whole if d.model == model}) == 6
            states = [t.state for s in search.studies.values() for t in s.trials]
            assert TrialState.RUNNING not in states


def _with_repeats(space):
    configs = [space.resolve(raw) for raw in space.grid()]
    return [configs[i] for i in (0, 0, 1, 2, 1, 3, 4)]


def test_gp_alone_imports_torch_and_only_when_it_draws():
    """In a process of its own: other tests have torch loaded."""
    script = """
import sys
from pathlib import Path
from tests.sweeps.search.searches import make_search, measure, run
make_search(Path("."), journal=None, sampler="gp")
run(make_search(Path("."), journal=None, sampler="tpe"))
assert "torch" not in sys.modules
run(make_search(Path("."), journal=None, sampler="gp", models=["xs"], trials_per_model=5))
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
