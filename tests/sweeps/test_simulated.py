"""Recorded curves under a virtual clock: who runs when, and that the real program runs on them."""

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import run_key
from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.job import Execution, Job
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.protocol import Verdict
from keepgain.sweeps.search.draws import Draw
from keepgain.sweeps.search.ledger import Asked, read_events
from keepgain.sweeps.search.replay import replay
from keepgain.sweeps.simulated.curves import Curve, Curves, Recorded, curves_of
from keepgain.sweeps.simulated.runner import Step, run_program
from keepgain.sweeps.simulated.sweep import simulate_search
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.stages.trials import search_job
from tests.sweeps.stand_in import pseudo_random
from tests.sweeps.tiny_models import make_world

RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
WIDTHS = (8, 16)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Two base models with a grid of twelve configurations each, three rungs."""
    path = make_world(tmp_path_factory.mktemp("world"))
    text = path.read_text()
    start, end = text.index("space:"), text.index("search:")
    space = f"space: {{learning_rate: {{ordered: {list(RATES)}}}, batch_size: {list(WIDTHS)}}}\n"
    training = "training: {budget_tokens: 900, rungs: [0.111111, 0.333333, 1]}\n"
    text = text[:start] + space + training + text[end:]
    search = "search: {trials_per_model: 12, generation_size: 6, stopping: {audit_trials: 2}}"
    path.write_text(text.replace("search: {trials_per_model: 12}", search, 1))
    return prepare(load_spec(path), None)


def report_of(trial_id: str, rung: int, *, rungs: int = 3, metrics: dict[str, float]) -> RungReport:
    tokens = (100, 300, 900)[rung] if rungs == 3 else 0
    return RungReport(
        run_key=run_key(trial_id, 0),
        rung=rung,
        tokens=tokens,
        examples=0,
        final=rung == rungs - 1,
        metrics=metrics,
        items_path="",
        checkpoint=None if rung == rungs - 1 else "simulated",
        cost={"train_seconds": float(tokens), "score_seconds": 5.0},
    )


def grid_curves(prepared: Prepared) -> Curves:
    """A curve for each configuration and base; figures follow from its id alone."""
    names = [s.name for s in prepared.score_suites("validation")]
    found: dict[str, tuple[Curve, ...]] = {}
    for model in prepared.models:
        base = prepared.base_config(model.ref.name).trial_id
        metrics = {f"validation/{n}": 0.0 for n in names}
        found[base] = (
            Curve((Recorded(report_of(base, 0, rungs=1, metrics=metrics), seconds=5.0),)),
        )
        for rate in RATES:
            for width in WIDTHS:
                params = {"learning_rate": rate, "batch_size": width}
                trial_id = prepared.trial_config(model.ref.name, params).trial_id
                rungs = [
                    report_of(
                        trial_id,
                        r,
                        metrics={f"validation/{n}": pseudo_random(trial_id, r, n) for n in names},
                    )
                    for r in range(3)
                ]
                seconds = (105.0, 205.0, 605.0)
                pairs = zip(rungs, seconds, strict=True)
                found[trial_id] = (Curve(tuple(Recorded(r, s) for r, s in pairs)),)
    return Curves(found)


def settings(prepared: Prepared, **search: Any) -> Prepared:
    spec = prepared.spec
    changed = spec.search.model_copy(update=search)
    changed_spec = spec.model_copy(update={"search": changed})
    return replace(prepared, loaded=replace(prepared.loaded, spec=changed_spec))


# -- the clock -------------------------------------------------------------------------------------


def job(prepared: Prepared, number: int) -> Job:
    params = {"learning_rate": RATES[number], "batch_size": WIDTHS[0]}
    return search_job(prepared, Path(), Draw("m0", number, 0, number, "sampler", {}, params))


@dataclass
class Script:
    """A program whose every answer is written down."""

    jobs: deque[Job]
    verdicts: dict[tuple[str, int], Verdict]
    """(run key, rung) → verdict; CONTINUE until the last rung otherwise."""
    wake: dict[str, int] = field(default_factory=dict)
    """Run key → number of reports after which it is awake."""
    drop: dict[str, int] = field(default_factory=dict)
    """Run key → number of reports after which it is dropped."""
    said: list[str] = field(default_factory=list)
    reports: int = 0
    live: int = 0

    def next_job(self) -> Job | None:
        return self.jobs.popleft() if self.jobs else None

    def awake(self) -> tuple[str, ...]:
        return tuple(k for k, count in self.wake.items() if self.reports >= count)

    def take_dropped(self) -> tuple[str, ...]:
        due = tuple(k for k, count in self.drop.items() if self.reports >= count)
        for key in due:
            del self.drop[key]
        return due

    @property
    def finished(self) -> bool:
        return not self.jobs and not self.live

    def on_started(self, job: Job) -> None:
        self.live += 1
        if job.run_key in self.awake():
            del self.wake[job.run_key]
        self.said.append(f"start {job.asked.number}")

    def on_report(self, job: Job, report: RungReport, execution: Execution) -> Verdict:
        self.reports += 1
        self.said.append(f"report {job.asked.number} r{report.rung} at {execution.ended:g}")
        default = Verdict.STOP if report.final else Verdict.CONTINUE
        verdict = self.verdicts.get((job.run_key, report.rung), default)
        self.live -= verdict is not Verdict.CONTINUE
        return verdict

    def on_failed(self, job: Job, cause: FailureCause, detail: str) -> None:
        self.live -= 1
        self.said.append(f"failed {job.asked.number}: {cause}: {detail}")

    def on_tick(self) -> None:
        pass


def test_two_slots_share_a_clock_and_a_continued_job_keeps_its_slot(prepared: Prepared) -> None:
    jobs = [job(prepared, n) for n in range(3)]
    program = Script(deque(jobs), {(jobs[0].run_key, 0): Verdict.STOP})
    steps = run_program(program, grid_curves(prepared), slots=2)
    assert program.said == [
        "start 0",
        "start 1",
        "report 0 r0 at 105",  # stopped: its slot goes to the third job
        "start 2",
        "report 1 r0 at 105",
        "report 2 r0 at 210",
        "report 1 r1 at 310",
        "report 2 r1 at 415",
        "report 1 r2 at 915",
        "report 2 r2 at 1020",
    ]
    assert [s.tokens for s in steps] == [100, 100, 100, 200, 200, 600, 600]


def test_a_free_slot_goes_to_a_new_job_before_a_paused_one(prepared: Prepared) -> None:
    jobs = [job(prepared, n) for n in range(2)]
    keys = [j.run_key for j in jobs]
    program = Script(
        deque(jobs),
        {(keys[0], 0): Verdict.PAUSE, (keys[1], 0): Verdict.STOP},
        wake={keys[0]: 1},
    )
    run_program(program, grid_curves(prepared), slots=1)
    assert program.said[:5] == [
        "start 0",
        "report 0 r0 at 105",
        "start 1",
        "report 1 r0 at 210",
        "start 0",
    ]
    assert program.said[5:] == ["report 0 r1 at 415", "report 0 r2 at 1020"]


def test_a_dropped_job_is_never_woken(prepared: Prepared) -> None:
    jobs = [job(prepared, n) for n in range(2)]
    keys = [j.run_key for j in jobs]
    program = Script(
        deque(jobs), {(keys[0], 0): Verdict.PAUSE}, wake={keys[0]: 2}, drop={keys[0]: 2}
    )
    steps = run_program(program, grid_curves(prepared), slots=1)
    assert [s.job.asked.number for s in steps] == [0, 1, 1, 1]


def test_a_recorded_failure_is_reported_after_the_rungs_before_it(prepared: Prepared) -> None:
    one = job(prepared, 0)
    curves = grid_curves(prepared)
    whole = curves.of(one.asked.trial_id, 0)
    cut = Curve(whole.rungs[:1], FailureCause.NAN, "loss at step 7")
    program = Script(deque([one]), {})
    run_program(program, Curves({one.asked.trial_id: (cut,)}), slots=1)
    assert program.said == ["start 0", "report 0 r0 at 105", "failed 0: nan: loss at step 7"]


def test_recorded_seeds_take_turns_by_the_seed_of_the_run(prepared: Prepared) -> None:
    whole = grid_curves(prepared).of(job(prepared, 0).asked.trial_id, 0)
    curves = Curves({"a": (whole, Curve(whole.rungs[:1], FailureCause.NAN))})
    assert [curves.of("a", seed).cause for seed in (6, 7, 8)] == [None, FailureCause.NAN, None]


def test_a_configuration_that_was_not_recorded_is_refused(prepared: Prepared) -> None:
    with pytest.raises(UserError, match="was not recorded"):
        run_program(Script(deque([job(prepared, 0)]), {}), Curves({}), slots=1)


# -- the real program ------------------------------------------------------------------------------


def trained(steps: list[Step]) -> Counter[str]:
    """Run key → rungs."""
    return Counter(s.job.run_key for s in steps if s.job.purpose == "search")


def test_a_search_without_stopping_trains_the_whole_grid_and_ends_before_confirmation(
    prepared: Prepared, tmp_path: Path
) -> None:
    stopping = prepared.spec.search.stopping.model_copy(update={"enabled": False})
    whole = settings(prepared, stopping=stopping)
    steps = simulate_search(whole, grid_curves(prepared), slots=3, folder=tmp_path)
    assert len(trained(steps)) == 24
    assert set(trained(steps).values()) == {3}
    state = replay(read_events(tmp_path / "ledger.jsonl"))
    searched = [r for r in state.runs.values() if r.asked.stage is Stage.SEARCH]
    assert {r.status for r in searched} == {TrialStatus.COMPLETED}
    assert not any(r.asked.stage is Stage.CONFIRM for r in state.runs.values())


def test_rungs_stop_trials_but_no_audit_trial(prepared: Prepared, tmp_path: Path) -> None:
    steps = simulate_search(prepared, grid_curves(prepared), slots=3, folder=tmp_path)
    rungs = trained(steps)
    assert len(rungs) == 24
    assert 0 < sum(n == 3 for n in rungs.values()) < 16
    asked = [s.job.asked for s in steps if s.job.purpose == "search"]
    for model in ("m0", "m1"):
        quasi = {a.number: a.run_key for a in asked if a.model == model}
        first = sorted(n for n in quasi if n is not None)[:2]
        assert [rungs[quasi[n]] for n in first] == [3, 3]


def test_generations_decide_alike_on_any_number_of_slots(
    prepared: Prepared, tmp_path: Path
) -> None:
    curves = grid_curves(prepared)
    found = [
        simulate_search(prepared, curves, slots=slots, folder=tmp_path / str(slots))
        for slots in (1, 5)
    ]
    assert trained(found[0]) == trained(found[1])
    assert max(s.ended for s in found[0]) > max(s.ended for s in found[1])


def test_a_finished_sweep_can_be_replayed_from_its_ledger(
    prepared: Prepared, tmp_path: Path
) -> None:
    stopping = prepared.spec.search.stopping.model_copy(update={"enabled": False})
    whole = settings(prepared, stopping=stopping)
    simulate_search(whole, grid_curves(prepared), slots=3, folder=tmp_path / "first")
    recorded = curves_of(read_events(tmp_path / "first" / "ledger.jsonl"))
    again = simulate_search(prepared, recorded, slots=3, folder=tmp_path / "again")
    direct = simulate_search(prepared, grid_curves(prepared), slots=3, folder=tmp_path / "direct")
    assert [(s.job.run_key, s.began, s.ended) for s in again] == [
        (s.job.run_key, s.began, s.ended) for s in direct
    ]


def test_curves_of_a_ledger_leave_out_what_was_stopped(prepared: Prepared, tmp_path: Path) -> None:
    simulate_search(prepared, grid_curves(prepared), slots=3, folder=tmp_path)
    events = read_events(tmp_path / "ledger.jsonl")
    runs = replay(events).runs.values()
    completed = {r.asked.trial_id for r in runs if r.status is TrialStatus.COMPLETED}
    stopped = {r.asked.trial_id for r in runs if r.status is TrialStatus.PRUNED}
    assert stopped
    assert set(curves_of(events).runs) == completed
    assert any(isinstance(e, Asked) for e in events)
