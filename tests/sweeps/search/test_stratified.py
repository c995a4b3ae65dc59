"""The search as a whole: continuation, repeats, budgets, generations, given configurations."""

import math

import pytest
from optuna.trial import TrialState

from keepgain.core.errors import UserError
from keepgain.core.status import TrialStatus
from keepgain.sweeps.search.design import default_generation_size
from keepgain.sweeps.search.draws import Result, outcome
from keepgain.sweeps.search.ledger import Asked, Finished, Learned, Retried, Steered
from tests.sweeps.search.searches import (
    DISCRETE,
    SPACE,
    asked_event,
    draws_of,
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

# --- continuing -------------------------------------------------------------------------------


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
    first = [search.next() for _ in range(8)]
    assert search.next() is None
    for draw in first[:-1]:
        search.tell(draw, measure(draw))
    assert search.next() is None and search.open_draws() == [first[-1]]
    search.tell(first[-1], measure(first[-1]))
    assert search.generation == 1
    assert search.next().generation == 1


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


# --- budgets of base models -------------------------------------------------------------------


def test_unequal_budgets_are_interleaved_in_proportion(tmp_path):
    search = make_search(
        tmp_path, models=["a", "b"], trials_per_model={"b": 4, "a": 12}, generation_size=6
    )
    dealt = run(search, mixed)
    assert [d.model for d in dealt[:8]] == ["a", "a", "b", "a", "a", "a", "b", "a"]
    for n in range(1, 17):
        drawn = sum(d.model == "b" for d in dealt[:n])
        assert abs(drawn - n / 4) <= 1
    assert [sum(d.model == m for d in dealt) for m in ("a", "b")] == [12, 4]
    assert [(d.model, d.generation) for d in dealt].count(("b", 0)) == 2
    assert search.expected == 16


def test_a_base_model_goes_on_when_a_larger_budget_is_exhausted(tmp_path):
    """`b` has more trials than the space has points; `a` has 4 of the 16."""
    search = make_search(
        tmp_path,
        models=["b", "a"],
        space=space_of(DISCRETE),
        trials_per_model={"b": 80, "a": 4},
        generation_size=8,
    )
    dealt = [d for d in run(search) if d.repeats is None]
    assert [sum(d.model == m for d in dealt) for m in ("b", "a")] == [16, 4]


def test_quasi_random_draws_suffice_for_an_audit_but_never_fill_the_search(tmp_path):
    def quasi(trials, least):
        search = make_search(
            tmp_path, models=["xs"], trials_per_model=trials, quasi_random_at_least=least
        )
        return search.design.quasi_random("xs")

    assert [quasi(40, 0), quasi(40, 12), quasi(16, 12), quasi(6, 12)] == [8, 12, 8, 4]


# --- without a barrier ------------------------------------------------------------------------


def test_async_a_result_reaches_optuna_at_once_and_no_slot_waits(tmp_path):
    search = make_search(tmp_path, mode="async", models=["xs"])
    assert search.started().settings["mode"] == "async"
    draws = [search.next() for _ in range(4)]
    search.tell(draws[2], measure(draws[2]))
    states = [t.state.name for t in search.studies["xs"].trials]
    assert states == ["RUNNING", "RUNNING", "COMPLETE", "RUNNING"]
    draws += [search.next(), search.next()]
    assert search.next() is None and not search.done
    for draw in draws[:2] + draws[3:]:
        search.tell(draw, measure(draw))
    assert search.done
    assert {d.generation for d in draws} == {0}


def test_async_results_are_rebuilt_in_the_order_in_which_they_arrived(tmp_path):
    """NSGA counts its generations by what is told before an ask, so the order shows."""

    def create(name):
        return make_search(tmp_path, name, mode="async", sampler="nsga2", trials_per_model=10)

    whole = create("whole")
    events = history(whole, mixed, shuffle=4, slots=3)
    again = create("again")
    again.restore(events, result_of)
    assert again.done and trials(again) == trials(whole)

    def told_at(search):
        key = "NSGAIISampler:generation"
        return [t.system_attrs[key] for s in search.studies.values() for t in s.trials]

    assert told_at(again) == told_at(whole)
    assert len(set(told_at(whole))) > 1


def test_async_a_repeat_of_what_is_known_is_told_at_once(tmp_path):
    space = space_of({"method": ["full", "lora"], "learning_rate": [1e-4, 1e-3, 1e-2]})
    search = make_search(tmp_path, mode="async", space=space, models=["xs"])
    seen = 0
    while draw := search.next():
        if draw.repeats is None:
            search.tell(draw, measure(draw))
        else:
            seen += 1
        assert search.studies["xs"].trials[draw.number].values is not None
    assert seen and search.done


# --- warm start -------------------------------------------------------------------------------


def known(rate, **more):
    fields = {"values": (0.5, 0.1), "constraints": {"over_limit": -0.1}, **more}
    params = {"method": "full", "learning_rate": rate, "mixture.tickets": 1, "mixture.general": 0}
    return Learned(source=f"old/{rate}", params=params, **fields)


OUTSIDE = [
    known(1.0),
    known(1e-3, values=(0.5,)),
    known(1e-3, constraints={}),
    known(1e-3).model_copy(update={"params": {"learning_rate": 1e-3}}),
]


def test_learned_trials_are_in_the_study_and_are_no_draws(tmp_path):
    search = make_search(tmp_path)
    assert search.learn("xs", [known(1e-3), *OUTSIDE, known(1e-4)]) == 4
    started = search.started()
    assert started.left_out == {"xs": 4}
    assert [k.source for k in started.learned["xs"]] == ["old/0.001", "old/0.0001"]
    dealt = run(search)
    assert len([d for d in dealt if d.repeats is None]) == 12
    assert min(d.number for d in dealt if d.model == "xs") == 0
    first, second, *rest = search.studies["xs"].trials
    assert [t.user_attrs["learned_from"] for t in (first, second)] == ["old/0.001", "old/0.0001"]
    assert (first.state, first.values) == (TrialState.COMPLETE, [0.5, 0.1])
    assert first.constraints == {"over_limit": -0.1}
    assert first.params["learning_rate"] == 1e-3
    assert not any("learned_from" in t.user_attrs for t in rest)
    assert len(search.studies["s"].trials) == len([d for d in dealt if d.model == "s"])


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_what_was_learned_leads_the_sampler_and_a_continuation_needs_no_other_sweep(
    sampler, tmp_path
):
    def create(name, rates):
        search = make_search(tmp_path, name, sampler=sampler, models=["xs"])
        search.learn("xs", [known(r) for r in rates])
        return search

    whole = create("whole", [1e-3, 2e-3, 3e-3])
    events = history(whole, mixed, shuffle=1)
    drawn = [e.raw for e in draws_of(events)]
    other = [d.raw for d in run(create("other", [1e-5, 2e-5, 3e-5]), mixed)]
    assert drawn[:4] == other[:4] and drawn != other
    again = make_search(tmp_path, "again", sampler=sampler, models=["xs"])
    again.restore(through_json(events[:6]), result_of)
    run(again, mixed)
    assert trials(again) == trials(whole)
    with pytest.raises(UserError, match="another warm start"):
        create("third", [1e-5]).restore(events, result_of)


# --- given configurations ---------------------------------------------------------------------

GIVEN = {"method": "full", "learning_rate": 2e-3, "mixture.tickets": 1, "mixture.general": 0}


def test_a_given_configuration_is_the_next_draw_and_costs_no_planned_trial(tmp_path):
    search = make_search(tmp_path, models=["xs", "s"])
    before = [search.next() for _ in range(3)]
    search.enqueue("s", GIVEN)
    assert search.expected == 13
    extra = search.next()
    assert (extra.model, extra.origin, extra.generation) == ("s", "list", 0)
    assert extra.params == GIVEN
    rest = []
    while draw := search.next():
        rest.append(draw)
    assert len(before) + len(rest) == 8
    assert [d.model for d in rest] == ["s", "xs", "s", "xs", "s"]


def test_a_full_generation_waits_for_a_given_configuration_too(tmp_path):
    search = make_search(tmp_path, models=["xs"])
    draws = [search.next() for _ in range(4)]
    assert search.next() is None
    search.enqueue("xs", GIVEN)
    extra = search.next()
    for draw in draws:
        search.tell(draw, measure(draw))
    assert search.generation == 0 and search.next() is None
    search.tell(extra, measure(extra))
    assert search.generation == 1


def test_a_search_that_has_ended_takes_given_configurations_until_it_is_closed(tmp_path):
    search = make_search(tmp_path, models=["xs"])
    while not search.done:
        while search.next():
            pass
        for draw in search.open_draws():
            search.tell(draw, measure(draw))
    search.enqueue("xs", GIVEN)
    assert not search.done
    extra = search.next()
    search.tell(extra, measure(extra))
    assert search.done and len(search.studies["xs"].trials) == 7


@pytest.mark.parametrize("mode", ["generations", "async"])
def test_given_configurations_are_given_again_from_the_ledger(mode, tmp_path):
    """Steered before the first draw, in the middle, and when the generation is full."""

    def create(name):
        return make_search(tmp_path, name, mode=mode, journal=None)

    whole = create("whole")
    events = [whole.started()]
    places = {0: ("xs", 1e-3), 3: ("s", 2e-3), 9: ("xs", 3e-3), 11: ("s", 4e-3)}
    keys = {}
    while not whole.done:
        if len(keys) in places:
            model, rate = places.pop(len(keys))
            config = {"model": model, "params": {**GIVEN, "learning_rate": rate}}
            whole.enqueue(model, config["params"])
            steered = {"do": "add", "by": "a@b", "configs": (config,), "outcome": "added"}
            events.append(Steered(id=str(rate), **steered))
        if draw := whole.next():
            keys[draw.model, draw.number] = f"r{len(keys)}-s1"
            events.append(asked_event(draw, keys[draw.model, draw.number]))
            continue
        for draw in whole.open_draws():
            whole.tell(draw, mixed(draw))
            key = keys[draw.model, draw.number]
            events.append(Finished(run_key=key, status=mixed(draw).status))
    assert len(keys) == 16 and not places
    for stop in [*range(0, len(events), 4), len(events)]:
        if events[stop - 1 : stop] and isinstance(events[stop - 1], Steered):
            continue  # the driver draws right after
        again = create("again")
        again.restore(through_json(events[:stop]), result_of)
        asked = [(e.model, e.number, e.raw) for e in draws_of(events)]
        mine = [(d.model, d.number, d.raw) for d in again._dealt]
        assert mine == asked[: len(mine)] and len(mine) == len(draws_of(events[:stop]))
    assert trials(again) == trials(whole)


def test_a_given_configuration_that_cannot_be_is_refused(tmp_path):
    search = make_search(tmp_path)
    with pytest.raises(UserError, match="no base model 'm'"):
        search.enqueue("m", GIVEN)
    with pytest.raises(UserError, match="learning_rate"):
        search.enqueue("xs", {**GIVEN, "learning_rate": 5})
    search.finish()
    with pytest.raises(UserError, match="has ended"):
        search.enqueue("xs", GIVEN)


# --- ended early ------------------------------------------------------------------------------


def test_a_finished_search_draws_nothing_more_and_hears_what_is_open(tmp_path):
    search = make_search(tmp_path)
    draws = [search.next() for _ in range(3)]
    search.tell(draws[0], measure(draws[0]))
    search.finish()
    assert search.next() is None and not search.done
    for draw in draws[1:]:
        search.tell(draw, measure(draw))
    assert search.done and search.next() is None
    states = [t.state for s in search.studies.values() for t in s.trials]
    assert states == [TrialState.COMPLETE] * 3


def test_a_retried_run_stays_failed_for_the_sampler(tmp_path):
    whole = make_search(tmp_path, models=["xs"])
    events = history(whole, mixed, shuffle=1)
    key = next(e.run_key for e in draws_of(events) if e.number == 3)
    events += [Retried(run_key=key, told=True), Finished(run_key=key, status="completed")]

    def better_now(state):
        good = Result(TrialStatus.COMPLETED, (9.0, 0.0), {"over_limit": -1.0})
        return good if state.run_key == key else result_of(state)

    again = make_search(tmp_path, "again", models=["xs"])
    again.restore(through_json(events), better_now)
    assert again.done and trials(again) == trials(whole)
    assert again.studies["xs"].trials[3].state == TrialState.FAIL
