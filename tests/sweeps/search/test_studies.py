"""One study a rung: what each is told, and which one the sampler is fitted on."""

import pytest
from optuna.trial import TrialState

from keepgain.core.status import TrialStatus
from keepgain.sweeps.search.draws import Result, RungResult, outcome_at
from tests.sweeps.search.searches import (
    facts,
    from_journal,
    history,
    make_search,
    measure,
    run,
    through_json,
)

DONE, PRUNED, FAILED = TrialStatus.COMPLETED, TrialStatus.PRUNED, TrialStatus.FAILED
LOW = RungResult(0, (1.0, 2.0), {"over_limit": 0.5})
HIGH = RungResult(1, (3.0, 4.0), {"over_limit": -0.5})


@pytest.mark.parametrize(
    ("result", "rung", "state"),
    [
        (Result(PRUNED, rungs=(LOW,)), 0, TrialState.COMPLETE),
        (Result(PRUNED, rungs=(LOW,)), 1, TrialState.PRUNED),
        (Result(PRUNED, rungs=(HIGH,)), 0, TrialState.FAIL),
        (Result(DONE, (5, 6), {"over_limit": 0}, rungs=(LOW, HIGH)), 1, TrialState.COMPLETE),
        (Result(DONE, (5, 6), {"over_limit": 0}), 0, TrialState.FAIL),
        (Result(FAILED, rungs=(LOW,)), 0, TrialState.FAIL),
        (Result(DONE, rungs=(RungResult(0, (float("nan"), 1), {"over_limit": 0}),)), 0, "FAIL"),
        (Result(DONE, rungs=(RungResult(0, (1.0, 1.0)),)), 0, TrialState.FAIL),
    ],
    ids=[
        "stopped after it",
        "stopped before it",
        "went further unmeasured",
        "ran to the end",
        "reused without rungs",
        "failed later",
        "not a number",
        "without its constraint",
    ],
)
def test_what_the_study_of_a_rung_is_told(result, rung, state):
    told, found = outcome_at(result, rung, ["gain", "forgetting"], ["over_limit"])
    assert told.name == getattr(state, "name", state)
    assert (found is not None) == (told is TrialState.COMPLETE)


def staged(draw):
    """Rung 0 shows half of the gain; every third trial goes to rung 1, every sixth to the end."""
    full = measure(draw)
    gain, forgetting = full.values
    rungs = [RungResult(0, (gain / 2, forgetting), full.constraints)]
    if draw.number % 3 == 0:
        rungs.append(RungResult(1, (gain * 0.9, forgetting), full.constraints))
    if draw.number % 6 == 0:
        return Result(DONE, full.values, full.constraints, rungs=tuple(rungs))
    return Result(PRUNED, rungs=tuple(rungs))


def make(folder, name="journal", **more):
    return make_search(
        folder,
        name,
        **{"models": ["xs"], "trials_per_model": 36, "generation_size": 9, "rungs": 3, **more},
    )


def test_each_rung_has_a_study_with_the_same_trials_and_its_own_values(tmp_path):
    dealt = run(make(tmp_path), staged)
    studies = from_journal(tmp_path / "journal")
    prefix = "sweep-1a2b3c/xs"
    assert set(studies) == {prefix, f"{prefix}@rung0", f"{prefix}@rung1"}
    low, high, full = (studies[f"{prefix}{end}"].trials for end in ("@rung0", "@rung1", ""))
    for draw, a, b, c in zip(dealt, low, high, full, strict=True):
        result = staged(draw)
        assert a.params == b.params == c.params == draw.raw
        assert (a.state, tuple(a.values)) == (TrialState.COMPLETE, result.rungs[0].values)
        reached = [True, draw.number % 3 == 0, draw.number % 6 == 0]
        assert [t.state == TrialState.COMPLETE for t in (a, b, c)] == reached
        assert {t.state for t in (b, c)} <= {TrialState.COMPLETE, TrialState.PRUNED}
        assert all(t.constraints == measure(draw).constraints for t in (a, b, c) if t.values)


def test_the_sampler_is_fitted_on_the_deepest_rung_with_ten_results(tmp_path):
    """After 9, 18, 27, 36 trials rung 0 has as many results, rung 1 has 3, 6, 9, 12."""
    search = make(tmp_path, trials_per_model=45)
    fitted = []
    while not search.done:
        while search.next():
            fitted.append(search.fitted_rungs["xs"])
        for draw in search.open_draws():
            search.tell(draw, staged(draw))
    assert fitted == [0] * 36 + [1] * 9


@pytest.mark.parametrize(
    ("sampler", "matters"), [("tpe", True), ("nsga2", True), ("random", False)]
)
def test_results_of_a_low_rung_lead_the_sampler(sampler, matters, tmp_path):
    """No trial reaches the end: without the studies of the rungs nothing could be learned."""

    def ends(sign):
        def end(draw):
            gain, forgetting = measure(draw).values
            low = RungResult(0, (sign * gain, sign * forgetting), {"over_limit": 0.0})
            return Result(PRUNED, rungs=(low,))

        return end

    one = run(make(tmp_path, "one", sampler=sampler), ends(1))
    other = run(make(tmp_path, "other", sampler=sampler), ends(-1))
    assert [d.raw for d in one[:9]] == [d.raw for d in other[:9]]
    assert ([d.raw for d in one] != [d.raw for d in other]) == matters


@pytest.mark.parametrize("sampler", ["tpe", "nsga3"])
def test_all_studies_are_rebuilt_from_the_ledger(sampler, tmp_path):
    def create(name):
        return make(tmp_path, name, sampler=sampler, trials_per_model=24)

    def result_of(state):
        return staged(state.asked)  # has the number and the settings, as a draw has

    whole = create("whole")
    events = history(whole, staged, shuffle=1)
    for stop in (5, 23, 31, len(events)):
        again = create("again")
        again.restore(through_json(events[:stop]), result_of)
        run(again, staged)
        one, two = from_journal(tmp_path / "whole"), from_journal(tmp_path / "again")
        assert {n: facts(s) for n, s in one.items()} == {n: facts(s) for n, s in two.items()}


@pytest.mark.fault("P5")
def test_interrupted_no_study_has_a_running_trial(tmp_path):
    search = make(tmp_path)
    draws = [search.next() for _ in range(4)]
    search.tell(draws[1], staged(draws[1]))
    search.close(interrupted=True)
    for study in from_journal(tmp_path / "journal").values():
        assert [t.state.name for t in study.trials].count("FAIL") == 3
        assert TrialState.RUNNING not in {t.state for t in study.trials}
