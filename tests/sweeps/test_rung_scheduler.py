"""Early stopping in the course of a sweep, with the stand-in worker of `test_program`."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.job import Job
from keepgain.sweeps.reuse import finished_elsewhere
from keepgain.sweeps.search.ledger import Event, Finished, Promoted
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.search.rungs import RungPolicy, rank
from tests.sweeps.test_program import STAGES, Sweep, comparable, edit
from tests.sweeps.tiny_models import make_world

AUDITS = 2
GENERATION = 6
TRIALS = 12
SHARES = (0.1, 0.5, 1.0)
"""The first is below the grace share."""


def write(folder: Path, *, mode: str = "generations", keep: float = 1 / 3, more: str = "") -> Path:
    path = make_world(folder, models=2, rows=200)
    search = (
        f"search: {{trials_per_model: {TRIALS}, generation_size: {GENERATION}, mode: {mode}, "
        f"stopping: {{keep: {keep}, audit_trials: {AUDITS}{more}}}}}\n"
    )
    edit(path, "search: {trials_per_model: 12}\n", search)
    edit(path, "confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 1, seeds: 1}")
    edit(path, "prices:", f"training: {{budget_tokens: 1000, rungs: {list(SHARES)}}}\nprices:")
    edit(path, "max_forgetting: 0.03", "max_forgetting: 0.5")
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def undisturbed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(world, tmp_path_factory.mktemp("undisturbed")).run()


def decisions(events: Iterable[Event]) -> set[tuple[Any, ...]]:
    """Who was promoted where, and who was stopped why."""
    return {(e.run_key, e.rung) for e in events if isinstance(e, Promoted)} | {
        (e.run_key, e.reason)
        for e in events
        if isinstance(e, Finished) and e.status is TrialStatus.PRUNED
    }


def told(sweep: Sweep) -> dict[str, list[tuple[TrialState, Any]]]:
    return {
        model: [(t.state, t.values) for t in study.get_trials()]
        for model, study in sweep.search.studies.items()
    }


def generation(sweep: Sweep, model: str, number: int) -> list[RunState]:
    runs = sweep.by_stage(Stage.SEARCH)
    return [r for r in runs if (r.asked.model, r.asked.generation) == (model, number)]


def rungs_reached(run: RunState) -> list[int]:
    return [report.rung for report in run.reports]


def ranked(sweep: Sweep, runs: Iterable[RunState]) -> list[str]:
    """Run keys at the first rung, best first; `search/test_rungs.py` works it out by hand."""
    entries = [sweep.program.results.entry(r, 0, audit=False) for r in runs]
    policy = RungPolicy(keep=1 / 3, audit_trials=AUDITS)
    return [e.run_key for e in rank([e for e in entries if e], policy, SHARES[0]).order]


def test_the_first_generation(undisturbed: Sweep) -> None:
    """Six trials, two places, two audits."""
    for model in ("m0", "m1"):
        runs = generation(undisturbed, model, 0)
        assert len(runs) == GENERATION
        audits = [r.run_key for r in runs if r.asked.number in range(AUDITS)]
        order = ranked(undisturbed, runs)
        best = order[:2]
        gains = {r.run_key: r.reports[0].metrics["validation/gain"] for r in runs}
        assert best[0] == max(gains, key=lambda k: gains[k]), "below the grace share"
        assert {r.run_key for r in runs if len(r.reports) > 1} == {*best, *audits}
        for run in runs:
            if run.run_key in audits:
                assert (run.status, rungs_reached(run)) == (TrialStatus.COMPLETED, [0, 1, 2])
        stopped = [r for r in runs if len(r.reports) == 1]
        for run in stopped:
            place = order.index(run.run_key) + 1
            assert run.status is TrialStatus.PRUNED
            assert run.reason == (
                f"ranked {place} of 6 trials of {model} at 10% of the budget; the best 2 go on"
            )


def test_fewer_go_on_at_every_rung_and_no_model_is_ranked_with_another(undisturbed: Sweep) -> None:
    for model in ("m0", "m1"):
        searched = [r for r in undisturbed.by_stage(Stage.SEARCH) if r.asked.model == model]
        assert len(searched) == TRIALS
        reached = Counter(r for run in searched for r in rungs_reached(run))
        assert reached[0] == TRIALS > reached[1] >= reached[2] > 0
        others = {r.asked.model for r in searched}
        for run in searched:
            assert run.reason is None or f"trials of {model} at" in run.reason
        assert others == {model}


@pytest.mark.fault("N9")
def test_truncated_trials_are_told_pruned_recorded_and_never_compete(undisturbed: Sweep) -> None:
    runs = {r.run_key: r for r in undisturbed.by_stage(Stage.SEARCH)}
    pruned = {k for k, r in runs.items() if r.status is TrialStatus.PRUNED}
    assert pruned and {r.status for r in runs.values()} == {
        TrialStatus.PRUNED,
        TrialStatus.COMPLETED,
    }
    states = Counter(state for trials in told(undisturbed).values() for state, _ in trials)
    assert states == {
        TrialState.PRUNED: len(pruned),
        TrialState.COMPLETE: 2 * TRIALS - len(pruned),
    }
    records = {r.run_key: r for r in undisturbed.evidence().sweep.runs}
    assert all(records[k].status is TrialStatus.PRUNED and records[k].reason for k in pruned)
    confirmed = {r.asked.trial_id for r in undisturbed.by_stage(Stage.CONFIRM)}
    assert not confirmed & {runs[k].asked.trial_id for k in pruned}
    lines = (undisturbed.folder / "spool" / "driver.jsonl").read_text().splitlines()
    for event in map(json.loads, lines):
        if event["run_key"] in pruned and event["event"] == "metrics":
            assert not any(name.startswith("final/") for name in event["values"])
    assert "stopped: ranked" in undisturbed.said.getvalue()


def test_checkpoints_are_kept_while_a_trial_waits_and_removed_when_it_is_stopped(
    undisturbed: Sweep,
) -> None:
    """That they are there while it waits is asserted by the stand-in worker."""
    for run in undisturbed.by_stage(Stage.SEARCH):
        folder = undisturbed.folder / "runs" / run.run_key
        if run.status is TrialStatus.PRUNED:
            assert not list(folder.glob("checkpoint-*"))


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_breadth_first_at_any_number_of_slots(
    world: Path, tmp_path: Path, undisturbed: Sweep, slots: int
) -> None:
    sweep = Sweep(world, tmp_path).run(slots=slots)
    for model in ("m0", "m1"):
        for number in range(TRIALS // GENERATION):
            keys = {r.run_key for r in generation(sweep, model, number)}
            order = [rung for key, rung in sweep.reported if key in keys]
            for rung in (1, 2):
                last = max(i for i, r in enumerate(order) if r == rung - 1)
                assert rung not in order[:last], "one was ahead of another by a rung"
    assert comparable(sweep.evidence()) == comparable(undisturbed.evidence())
    assert decisions(sweep.ledger.events()) == decisions(undisturbed.ledger.events())
    assert told(sweep) == told(undisturbed)


@pytest.mark.fault("P5")
def test_killed_at_any_line_of_the_ledger_the_decisions_are_the_same(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    lines = (undisturbed.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    events = undisturbed.ledger.events()
    expected = comparable(undisturbed.evidence()), decisions(events), told(undisturbed)
    reports = sum(undisturbed.worker.worked.values())
    for count in range(1, len(lines), 3):
        folder = tmp_path / f"after-{count}"
        (folder / "runs").mkdir(parents=True)
        for key, run in _as_of(events[:count]).items():
            shutil.copytree(undisturbed.folder / "runs" / key, folder / "runs" / key)
            if run.last_report is not None and run.last_report.checkpoint is not None:
                (folder / run.last_report.checkpoint).mkdir(exist_ok=True)
        (folder / "ledger.jsonl").write_text("".join(lines[:count]))
        again = Sweep(world, folder).run()
        found = comparable(again.evidence()), decisions(again.ledger.events()), told(again)
        assert found == expected, f"after line {count}"
        before = sum(len(r.reports) for r in _as_of(events[:count]).values())
        assert sum(again.worker.worked.values()) == reports - before, "no rung is trained twice"


def _as_of(events: Iterable[Event]) -> dict[str, RunState]:
    from keepgain.sweeps.search.replay import replay

    runs = replay(events).runs
    return {k: r for k, r in runs.items() if r.reports}


@pytest.mark.parametrize("steps", [5, 17, 24, 31])
def test_an_interrupted_sweep_marks_who_waits_and_continues_alike(
    world: Path, tmp_path: Path, undisturbed: Sweep, steps: int
) -> None:
    stopped = Sweep(world, tmp_path).run(steps=steps)
    states = {r.status for r in stopped.state.runs.values()}
    assert states <= {TrialStatus.INTERRUPTED, TrialStatus.COMPLETED, TrialStatus.PRUNED}
    again = Sweep(world, tmp_path).run()
    assert comparable(again.evidence()) == comparable(undisturbed.evidence())
    assert decisions(again.ledger.events()) == decisions(undisturbed.ledger.events())


def fail_at(key: str, rung: int, cause: FailureCause) -> Callable[[Job, int], FailureCause | None]:
    """The run fails on its way to a rung, each time."""

    def fail(job: Job, attempt: int) -> FailureCause | None:
        at = getattr(job.request, "rung", None)
        return cause if (job.run_key, at) == (key, rung) else None

    return fail


def test_the_next_best_goes_on_in_place_of_a_promoted_one_that_fails(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    runs = {r.run_key: r for r in generation(undisturbed, "m0", 0)}
    order = ranked(undisturbed, runs.values())
    audits = {k for k, r in runs.items() if r.asked.number in range(AUDITS)}
    promoted = next(k for k in order[:2])
    substitute = next(k for k in order[2:] if k not in audits)
    assert len(runs[substitute].reports) == 1, "undisturbed it is stopped at the first rung"
    fail = fail_at(promoted, 1, FailureCause.NAN)
    for slots in (1, 3):
        sweep = Sweep(world, tmp_path / f"{slots}", fail=fail).run(slots=slots)
        assert sweep.stages == STAGES
        found = {r.run_key: r for r in generation(sweep, "m0", 0)}
        assert found[promoted].status is TrialStatus.FAILED
        up = {k for k, r in found.items() if r.promoted >= 1}
        expected = {*order[:2], *audits}
        # A third that is an audit takes the free place: it goes on anyway.
        assert up == expected | ({order[2]} if order[2] not in audits else set())


@pytest.mark.fault("P1")
def test_a_lost_worker_of_a_promoted_trial_costs_no_one_a_place(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    once: set[tuple[str, int]] = set()

    def fail(job: Job, attempt: int) -> FailureCause | None:
        at = (job.run_key, getattr(job.request, "rung", 0))
        if job.purpose != "search" or at[1] == 0 or any(k == job.run_key for k, _ in once):
            return None
        once.add(at)
        return FailureCause.WORKER_LOST

    sweep = Sweep(world, tmp_path, fail=fail).run()
    assert once and decisions(sweep.ledger.events()) == decisions(undisturbed.ledger.events())
    assert comparable(sweep.evidence()) == comparable(undisturbed.evidence())


@pytest.mark.fault("N6")
def test_a_generation_of_which_all_fail_or_repeat_does_not_hang(
    world: Path, tmp_path: Path
) -> None:
    def fail(job: Job, attempt: int) -> FailureCause | None:
        gone = job.purpose == "search" and job.asked.model == "m0" and job.asked.generation == 1
        return FailureCause.NAN if gone else None

    sweep = Sweep(world, tmp_path, fail=fail).run()
    assert sweep.stages == STAGES and sweep.program.aborted is None
    assert {r.status for r in generation(sweep, "m0", 1)} == {TrialStatus.FAILED}


def test_a_sweep_that_must_stop_gives_up_its_paused_trials(world: Path, tmp_path: Path) -> None:
    """Too many failures at the second rung, while others wait at the first."""

    def fail(job: Job, attempt: int) -> FailureCause | None:
        return FailureCause.NAN if getattr(job.request, "rung", 0) == 1 else None

    sweep = Sweep(world, tmp_path, fail=fail).run(slots=1)
    assert sweep.program.aborted is not None and "trials failed" in sweep.program.aborted
    assert sweep.program.finished and not sweep.paused, "the runner has no trial left"
    waiting = [r for r in sweep.by_stage(Stage.SEARCH) if not r.status.is_final]
    assert waiting, "they are there to be continued"


def test_with_the_finished_runs_of_another_sweep_everything_is_decided_alike(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    work = tmp_path / "sweeps"
    shutil.copytree(undisturbed.folder, work / "earlier-000000")
    reusable = finished_elsewhere(work, "later-000000", undisturbed.prepared.runtime, print)
    later = Sweep(world, work / "later-000000", reusable=reusable).run()
    assert later.stages == STAGES
    assert told(later) == told(undisturbed)
    ours, theirs = (
        {key: (r.status, r.reason, rungs_reached(r)) for key, r in s.state.runs.items()}
        for s in (later, undisturbed)
    )
    assert ours == theirs
    stopped = {r.run_key for r in later.state.runs.values() if r.status is TrialStatus.PRUNED}
    assert {key for key, _ in later.worker.worked} == stopped, "only these are trained again"


def test_disabled_every_trial_goes_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "world", more=", enabled: false")
    sweep = Sweep(path, tmp_path / "sweep").run()
    assert {r.status for r in sweep.by_stage(Stage.SEARCH)} == {TrialStatus.COMPLETED}
    assert not decisions(sweep.ledger.events())


def test_below_the_grace_share_a_proxy_stands_in_for_its_suite(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "world")
    proxy = "{from: tickets, scorer: bits_per_byte, measures: behaviour, proxy_for: gain}"
    edit(path, "  forgetting: {", f"  smooth: {proxy}\n  forgetting: {{")
    sweep = Sweep(path, tmp_path / "sweep").run()
    runs = generation(sweep, "m0", 0)
    bits = {r.run_key: r.reports[0].metrics["validation/smooth"] for r in runs}
    best = ranked(sweep, runs)[:2]
    gains = {r.run_key: r.reports[0].metrics["validation/gain"] for r in runs}
    assert best[0] == max(gains, key=lambda k: gains[k])
    fewest = min(bits, key=lambda k: bits[k])  # fewer bits are better
    assert best[1] == fewest or best[0] == fewest
    audits = {r.run_key for r in runs if r.asked.number in range(AUDITS)}
    assert {r.run_key for r in runs if len(r.reports) > 1} == {*best, *audits}
    completed = next(r for r in runs if r.status is TrialStatus.COMPLETED)
    base = next(r for r in sweep.by_stage(Stage.BASE)
                if (r.asked.model, r.asked.kind) == ("m0", "base"))  # fmt: skip
    result = sweep.program.results.result(completed)
    assert result is not None and result.values is not None
    last, scores = completed.reports[-1].metrics, base.reports[-1].metrics
    assert result.values[0] == pytest.approx(last["validation/gain"] - scores["validation/gain"])
    first = result.rungs[0].values
    rise = gains[completed.run_key] - scores["validation/gain"]
    assert first[0] == pytest.approx(rise), "the sampler is told what is asked for, at every rung"


@pytest.mark.parametrize("slots", [1, 3])
def test_asynchronously_no_slot_waits_for_a_generation(tmp_path: Path, slots: int) -> None:
    path = write(tmp_path / "world", mode="async")
    sweep = Sweep(path, tmp_path / "sweep").run(slots=slots)
    assert sweep.stages == STAGES
    runs = sweep.by_stage(Stage.SEARCH)
    assert len({r.run_key for r in runs}) == 2 * TRIALS
    statuses = Counter(r.status for r in runs)
    assert set(statuses) == {TrialStatus.COMPLETED, TrialStatus.PRUNED}
    for model in ("m0", "m1"):
        own = [r for r in runs if r.asked.model == model]
        audits = [r for r in own if r.asked.origin == "quasi_random"][:AUDITS]
        assert {r.status for r in audits} == {TrialStatus.COMPLETED}
        keys = [r.run_key for r in own]
        order = [(key, rung) for key, rung in sweep.reported if key in keys]
        first_end = next(i for i, (_, rung) in enumerate(order) if rung == 2)
        assert any(rung == 0 for _, rung in order[first_end:]), "it waited for all to begin"


@pytest.mark.parametrize("steps", [9, 20, 40])
def test_asynchronously_an_interruption_loses_and_repeats_nothing(
    tmp_path: Path, steps: int
) -> None:
    path = write(tmp_path / "world", mode="async")
    stopped = Sweep(path, tmp_path / "sweep").run(steps=steps)
    again = Sweep(path, tmp_path / "sweep").run()
    assert again.stages[-1] is Stage.TEST
    assert not set(stopped.worker.worked) & set(again.worker.worked)
    assert len(again.by_stage(Stage.SEARCH)) == 2 * TRIALS
    assert all(r.status.is_final for r in again.by_stage(Stage.SEARCH))


def test_a_limited_search_is_balanced_over_base_models_at_every_rung(tmp_path: Path) -> None:
    """Whoever goes first at a rung, no base model gets ahead of another by more than a trial."""
    for limit in (5000, 6000, 7000):
        spec = write(tmp_path / str(limit))
        with spec.open("a") as file:
            file.write(f"limits: {{tokens: {limit}}}\n")
        sweep = Sweep(spec, tmp_path / f"sweep-{limit}").run(slots=1)
        completed = Counter(
            r.asked.model for r in sweep.by_stage(Stage.SEARCH) if r.status is TrialStatus.COMPLETED
        )
        assert sweep.program.aborted is None
        assert max(completed.values()) <= min(completed["m0"], completed["m1"]) + 1, limit
        assert {r.asked.model for r in sweep.by_stage(Stage.CONFIRM)} == {"m0", "m1"}


def test_a_trial_that_fails_after_it_was_stopped_stays_stopped(world: Path, tmp_path: Path) -> None:
    """It may still write what it needs to wait when others settle its rung."""

    class Late(Sweep):
        late: str | None = None

        def _drop(self) -> None:
            for key in self.program.take_dropped():
                job = self.paused.pop(key)
                if self.late is None and self.search.generation > 0:
                    self.late = key
                    self.program.on_failed(job, FailureCause.EXCEPTION, "no room for a checkpoint")

    sweep = Late(world, tmp_path).run(steps=60)
    assert sweep.late is not None, "the case occurred"
    assert sweep.state.runs[sweep.late].status is TrialStatus.PRUNED
    again = Sweep(world, tmp_path).run()
    assert again.program.finished and again.program.aborted is None
