"""One contract for every sampler: counts, states, constraints, and draws that follow from history.

The searches here are real ones on a closed-form objective; only the training is left out.
"""

import math
import random
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from keepgain.core.errors import UserError
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.search.ledger import Asked, Finished
from keepgain.sweeps.search.space import parse_space
from keepgain.sweeps.search.stratified import (
    Draw,
    Result,
    StratifiedSearch,
    default_generation_size,
)
from keepgain.sweeps.search.stratum import outcome

SAMPLERS = ["tpe", "random", "quasi_random", "nsga2"]
BOTH = {"gain": "maximize", "forgetting": "minimize"}
SPACE = {
    "method": ["full", "lora"],
    "learning_rate": {"log": [1e-5, 1e-1]},
    "lora.rank": {"log_int": [4, 64]},
    "mixture": {"tickets": [0.5, 1], "general": [0, 0.5]},
}


def space_of(raw=SPACE):
    return parse_space(raw, sources=["tickets", "general"], where="sweep.yaml")


def make_search(folder, name="journal", space=None, **more):
    settings = {
        "models": ["xs", "s"],
        "trials_per_model": 8,
        "generation_size": 4,
        "seed": 1,
        "objectives": BOTH,
        "constraints": ["over_limit"],
        "study_prefix": "sweep-1a2b3c",
        **more,
    }
    return StratifiedSearch(space or space_of(), journal=folder / name, **settings)


def measure(draw: Draw) -> Result:
    """Gain peaks at 1e-3, forgetting grows with the rate and shrinks with replay."""
    p = draw.params
    off = abs(math.log10(p["learning_rate"] / 1e-3))
    forgetting = 0.1 * off + 0.2 * p.get("mixture.tickets", 1)
    values = (1 - off - 0.05 * (p["method"] == "lora"), forgetting)
    return Result(TrialStatus.COMPLETED, values, {"over_limit": forgetting - 0.25})


def run(search, result=measure, shuffle=None):
    """Runs a search to its end, results of a generation arriving in index or shuffled order."""
    dealt = []
    while not search.done:
        while draw := search.next():
            dealt.append(draw)
        waiting = search.open_draws()
        if shuffle is not None:
            random.Random(shuffle).shuffle(waiting)
        for draw in waiting:
            search.tell(draw, result(draw))
    search.close(interrupted=False)
    return dealt


def trials(search):
    """What Optuna knows, free of clocks."""
    return {
        name: [
            (t.number, t.state, t.params, t.values, t.constraints, t.user_attrs) for t in s.trials
        ]
        for name, s in search.studies.items()
    }


def from_journal(path):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    names = [s.study_name for s in storage.get_all_studies()]
    return {n: optuna.load_study(study_name=n, storage=storage) for n in names}


@pytest.mark.parametrize("sampler", SAMPLERS)
class TestEverySampler:
    def test_completes_balanced_and_leaves_nothing_running(self, sampler, tmp_path):
        search = make_search(tmp_path, sampler=sampler)
        dealt = run(search)
        assert search.done
        new = [d for d in dealt if d.repeats is None]
        assert [d.model for d in new] == ["xs", "s"] * 8
        assert [d.generation for d in new] == [0] * 8 + [1] * 8
        for model in ("xs", "s"):
            mine = [d for d in dealt if d.model == model]
            assert [d.number for d in mine] == list(range(len(mine)))
            assert all(d.origin == "quasi_random" for d in mine if d.generation == 0)
            later = {d.origin for d in mine if d.generation == 1}
            assert later == {"quasi_random" if sampler == "quasi_random" else "sampler"}
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
        assert a != run(make_search(tmp_path, "b", sampler=sampler, seed=2))
        if sampler in ("tpe", "nsga2"):
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
        assert any(t.constraints["over_limit"] > 0 for t in found.trials)
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


# --- continuing -------------------------------------------------------------------------------


def history(search, result, shuffle):
    """Runs a search to its end and writes the ledger that a driver would have written."""
    events = [search.started()]
    keys = {}
    while not search.done:
        while draw := search.next():
            key = f"{draw.model}{len(keys)}-s1"
            keys[draw.model, draw.number] = key
            if draw.repeats is not None:
                key = keys[draw.model, draw.repeats]
            events.append(asked_event(draw, key))
        waiting = search.open_draws()
        random.Random(shuffle).shuffle(waiting)
        for draw in waiting:
            found = result(draw)
            search.tell(draw, found)
            key = keys[draw.model, draw.number]
            events.append(Finished(run_key=key, status=found.status))
    search.close(interrupted=False)
    return events


def asked_event(draw, key):
    return Asked(
        run_key=key,
        trial_id=key.split("-")[0],
        seed=1,
        stage=Stage.SEARCH,
        kind="trial",
        model=draw.model,
        number=draw.number,
        generation=draw.generation,
        index=draw.index,
        origin=draw.origin,
        raw=draw.raw,
        params=draw.params,
        config={},
    )


def mixed(draw: Draw) -> Result:
    """Now and then a failure or a pruned trial."""
    if draw.number % 5 == 3:
        return Result(TrialStatus.FAILED)
    return Result(TrialStatus.PRUNED) if draw.number % 5 == 4 else measure(draw)


def result_of(state):
    asked = state.asked
    draw = Draw(
        asked.model,
        asked.number,
        asked.generation,
        asked.index,
        asked.origin,
        asked.raw,
        asked.params,
    )
    return mixed(draw)


def draws_of(events):
    return [e for e in events if isinstance(e, Asked)]


@pytest.mark.parametrize(("sampler", "step"), [("tpe", 1), ("nsga2", 3), ("random", 7)])
def test_continued_after_any_event_it_is_the_undisturbed_search(sampler, step, tmp_path):
    def make(name):
        return make_search(tmp_path, name, sampler=sampler, trials_per_model=5, generation_size=2)

    undisturbed = make("whole")
    events = history(undisturbed, mixed, shuffle=3)
    expected = [(e.model, e.number, e.raw, e.params) for e in draws_of(events)]
    for stop in range(0, len(events) + 1, step):
        search = make("again")
        search.restore(_through_json(events[:stop]), result_of)
        recorded = [(e.model, e.number, e.raw, e.params) for e in draws_of(events[:stop])]
        waiting = [e.number for e in draws_of(events[:stop])]
        assert len(search.open_draws()) <= len(waiting)
        rest = run(search, mixed)
        assert recorded + [(d.model, d.number, d.raw, d.params) for d in rest] == expected
        assert trials(search) == trials(undisturbed)


def _through_json(events):
    return [type(e).model_validate_json(e.model_dump_json()) for e in events]


def test_open_draws_of_a_continued_search_can_be_told(tmp_path):
    search = make_search(tmp_path, "one")
    events = [search.started(), *(asked_event(search.next(), f"r{n}-s1") for n in range(3))]
    waiting = search.open_draws()
    events.append(Finished(run_key="r1-s1", status="interrupted"))
    again = make_search(tmp_path, "two")
    again.restore(events, result_of)
    assert again.open_draws() == waiting
    again.tell(waiting[1], measure(waiting[1]))
    assert again.open_draws() == [waiting[0], waiting[2]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 2}, "seed"),
        ({"objectives": {"gain": "maximize"}}, "objectives"),
        ({"space": space_of({**SPACE, "batch_size": 8})}, "space"),
        ({"sampler": "random"}, "sampler"),
        ({"models": ["s", "xs"]}, "models"),
    ],
)
def test_a_ledger_of_another_design_is_refused(change, named, tmp_path):
    events = [make_search(tmp_path).started()]
    with pytest.raises(UserError, match=named):
        make_search(tmp_path, "other", **change).restore(events, result_of)


def test_a_changed_ledger_is_refused(tmp_path):
    search = make_search(tmp_path)
    started = search.started()
    draws = [asked_event(search.next(), f"r{n}-s1") for n in range(4)]
    for events in (
        draws,
        [started, *draws[1:]],
        [started, draws[0], draws[2]],
        [started, draws[0].model_copy(update={"params": {"learning_rate": 1}})],
        [started, draws[0].model_copy(update={"raw": {}})],
        [started, draws[0].model_copy(update={"generation": 1})],
    ):
        with pytest.raises(UserError):
            make_search(tmp_path, "other").restore(events, result_of)


# --- repeats ----------------------------------------------------------------------------------

GRID = {"method": ["full", "lora"], "learning_rate": [1e-4, 1e-3, 1e-2]}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_repeat_takes_the_known_result_and_no_budget(sampler, tmp_path):
    search = make_search(
        tmp_path, sampler=sampler, space=space_of(GRID), models=["xs"], trials_per_model=5
    )
    dealt = run(search)
    new = [d for d in dealt if d.repeats is None]
    assert len(new) == 5
    told = search.studies["xs"].trials
    for draw in dealt:
        if draw.repeats is not None:
            assert draw.params == dealt[draw.repeats].params
            assert draw.repeats < draw.number
            assert told[draw.number].values == told[draw.repeats].values
    with pytest.raises(ValueError, match="does not wait"):
        search.tell(dealt[0], measure(dealt[0]))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_space_with_fewer_points_than_trials_ends(sampler, tmp_path):
    search = make_search(tmp_path, sampler=sampler, space=space_of(GRID), trials_per_model=20)
    dealt = run(search)
    assert search.exhausted == ("xs", "s")
    assert sum(d.repeats is None for d in dealt) == 12
    single = make_search(tmp_path, space=space_of({"learning_rate": 1e-3, "method": "full"}))
    assert len(run(single)) == 2


def test_repeats_need_not_be_in_the_ledger(tmp_path):
    def make(name):
        return make_search(tmp_path, name, space=space_of(GRID), trials_per_model=6)

    whole = make("whole")
    events = history(whole, mixed, shuffle=1)
    keys = [e.run_key for e in draws_of(events)]
    assert len(set(keys)) < len(keys), "the example should have repeats"
    seen = set()
    kept = []
    for event in events:
        if isinstance(event, Asked):
            if event.run_key in seen:
                continue
            seen.add(event.run_key)
        kept.append(event)
    for stop in range(0, len(kept) + 1, 5):
        search = make("again")
        search.restore(kept[:stop], result_of)
        run(search, mixed)
        assert trials(search) == trials(whole)


# --- the design -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trials_per_model", "size"), [(1, 1), (12, 6), (17, 9), (40, 9), (100, 20)]
)
def test_default_generation_size(trials_per_model, size):
    assert default_generation_size(trials_per_model) == size


def test_a_fifth_is_quasi_random_even_in_small_generations(tmp_path):
    search = make_search(tmp_path, models=["xs"], trials_per_model=20, generation_size=3)
    origins = [d.origin for d in run(search) if d.repeats is None]
    assert origins == ["quasi_random"] * 4 + ["sampler"] * 16


def test_generations_are_a_barrier(tmp_path):
    search = make_search(tmp_path)
    first = search.draws(0)
    assert len(first) == 8 and search.next() is None
    with pytest.raises(ValueError, match="generation 0 is not complete"):
        search.draws(1)
    for draw in first[:-1]:
        search.tell(draw, measure(draw))
    assert search.next() is None and search.open_draws() == [first[-1]]
    search.tell(first[-1], measure(first[-1]))
    assert search.generation == 1
    assert {d.generation for d in search.draws(1)} == {1}
    assert search.draws(0) == first


def test_an_unfinished_status_is_no_result(tmp_path):
    search = make_search(tmp_path)
    draw = search.next()
    with pytest.raises(ValueError, match="not an end"):
        search.tell(draw, Result(TrialStatus.INTERRUPTED))


def test_tpe_is_in_charge_after_the_quasi_random_draws(tmp_path):
    """By its concentration: late draws lie nearer the optimum than random ones.

    Measured over 12 seeds: mean distance .59 (standard error .02) against 1.03 (.05); TPE asked
    in the same batches without our seeding: .61 (.02).
    """

    def distance(sampler, seed):
        search = make_search(
            tmp_path,
            sampler=sampler,
            seed=seed,
            models=["xs"],
            trials_per_model=32,
            generation_size=8,
            objectives={"gain": "maximize"},
            constraints=[],
        )
        dealt = run(search, lambda d: Result(TrialStatus.COMPLETED, measure(d).values[:1]))
        late = [abs(math.log10(d.params["learning_rate"] / 1e-3)) for d in dealt[-16:]]
        return sum(late) / 16

    seeds = range(4)
    assert sum(distance("tpe", s) for s in seeds) < 0.8 * sum(distance("random", s) for s in seeds)


@pytest.mark.parametrize(
    "change",
    [
        {"models": []},
        {"models": ["a", "a"]},
        {"trials_per_model": 0},
        {"generation_size": 0},
        {"objectives": {}},
    ],
)
def test_faulty_designs_are_refused(change, tmp_path):
    with pytest.raises(UserError):
        make_search(tmp_path, **change)


def test_outcome_of_plain_cases():
    done = Result(TrialStatus.COMPLETED, (1.0,))
    assert outcome(done, ["gain"], []) == TrialState.COMPLETE
    assert outcome(done, ["gain", "forgetting"], []) == TrialState.FAIL
