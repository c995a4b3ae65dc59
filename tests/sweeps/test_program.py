"""The course of a sweep without Ray and without training.

The worker here is a small stand-in (`stand_in.py`): what is tested is the program's logic. Real
workers are in `tests/sweeps/e2e`.
"""

import io
import json
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from rich.console import Console

from keepgain.core.config import TrialConfig
from keepgain.core.record import Evidence, RungReport
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.core.store.location import resolve_store
from keepgain.core.store.spool import Spool
from keepgain.core.work import TrainRequest
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.evidence import build_evidence
from keepgain.sweeps.job import Execution, Job
from keepgain.sweeps.keeper import Keeper
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.program import SweepProgram
from keepgain.sweeps.progress import Progress
from keepgain.sweeps.protocol import Verdict
from keepgain.sweeps.recorder import DRIVER, Recorder
from keepgain.sweeps.reuse import Finished as FinishedElsewhere
from keepgain.sweeps.reuse import finished_elsewhere
from keepgain.sweeps.run import Outcome, make_search
from keepgain.sweeps.search.ledger import Finished, Ledger, Reused, StageFinished
from keepgain.sweeps.search.replay import SweepState, replay
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_sweep import SweepSpec
from keepgain.sweeps.stages.trials import confirm_jobs
from tests.sweeps.stand_in import answer
from tests.sweeps.tiny_models import make_world

SEARCH = "search: {trials_per_model: 3, generation_size: 2}\n"
STAGES = [Stage.BASE, Stage.SEARCH, Stage.CONFIRM, Stage.TEST]
Failures = dict[str, FailureCause]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec of two base models, three trials each, two rungs."""
    path = make_world(tmp_path_factory.mktemp("world"))
    edit(path, "search: {trials_per_model: 12}\n", SEARCH)
    edit(path, "confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 1, seeds: 2}")
    edit(path, "prices:", "training: {budget_tokens: 1000, rungs: [0.5, 1]}\nprices:")
    edit(path, "max_forgetting: 0.03", "max_forgetting: 0.5")
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@dataclass
class StandInWorker:
    """Answers every job at once; its figures follow from configuration, seed and rung alone."""

    folder: Path
    fail: Callable[[Job, int], FailureCause | None] = lambda job, attempt: None
    worked: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(run key, rung) → how often it was reported."""
    attempts: Counter[str] = field(default_factory=Counter)

    def work(self, job: Job) -> RungReport:
        report = answer(job.request, self.folder)
        self.worked[job.run_key, report.rung] += 1
        return report


class Sweep:
    """A program over a real ledger, search and recorder in `folder`."""

    def __init__(
        self,
        spec: Path,
        folder: Path,
        *,
        fail: Callable[[Job, int], FailureCause | None] = lambda job, attempt: None,
        reusable: dict[str, FinishedElsewhere] | None = None,
        retry_failed: bool = False,
    ) -> None:
        self.folder = folder
        self.prepared: Prepared = prepare(load_spec(spec), folder)
        self.worker = StandInWorker(folder, fail)
        self.ledger = Ledger.open(folder / "ledger.jsonl")
        self.said = io.StringIO()
        self.saved: list[Stage] = []
        """Stages at whose end the record was saved."""
        self.reported: list[tuple[str, int]] = []
        """(run key, rung) in the order of work."""
        self.known = len(self.ledger.events())
        self.opened: list[list[str]] = []
        self.spool = Spool(folder / "spool", DRIVER)
        self.search = make_search(self.prepared, folder)
        console = Console(file=self.said, width=200)
        self.program = SweepProgram(
            prepared=self.prepared,
            folder=folder,
            ledger=self.ledger,
            search=self.search,
            recorder=Recorder(self.spool, folder),
            progress=Progress("test", dict.fromkeys(Stage, 0), console),
            reusable=reusable or {},
            on_test=self.opened.append,
            on_stage=self.saved.append,
            retry_failed=retry_failed,
        )

    def tick(self) -> None:
        """Before each step of the work."""
        self.program.on_tick()

    def run(self, *, slots: int = 2, steps: int | None = None) -> "Sweep":
        """To the end, or for some reports and then interrupted."""
        live: deque[Job] = deque()
        self.paused: dict[str, Job] = {}
        while not self.program.finished and steps != 0:
            self.tick()
            while len(live) < slots and (job := self._next()) is not None:
                live.append(job)
                self.program.on_started(job)
            self._drop()
            if not live and self.program.reins.paused:
                continue
            if not live:
                assert self.program.finished, "nothing runs, nothing is left, and no end"
                break
            self._step(live)
            steps = None if steps is None else steps - 1
        self._drop()
        if not self.program.finished:
            self.program.interrupt()
        self.search.close(interrupted=not self.program.finished)
        self.spool.close()
        self.ledger.close()
        return self

    def _drop(self) -> None:
        for key in self.program.take_dropped():
            del self.paused[key]

    def _next(self) -> Job | None:
        """What has not begun before what is paused."""
        job = self.program.next_job()
        woken = next(iter(self.program.awake()), None)
        return job or (None if woken is None else self.paused.pop(woken))

    def _step(self, live: deque[Job]) -> None:
        job = live.popleft()
        attempt = self.worker.attempts[job.run_key]
        cause = self.worker.fail(job, attempt)
        if cause is not None:
            self.worker.attempts[job.run_key] += 1
            self.program.on_failed(job, cause, "as the test wants")
            return
        report = self.worker.work(job)
        self.reported.append((job.run_key, report.rung))
        verdict = self.program.on_report(job, report, Execution("here", 1, 0.0, 1.0))
        assert (verdict is Verdict.STOP) or not report.final
        if verdict is Verdict.CONTINUE:
            live.append(job.resumed(report))
        elif verdict is Verdict.PAUSE:
            self.paused[job.run_key] = job.resumed(report)

    @property
    def stages(self) -> list[Stage]:
        """Finished under this driver."""
        events = self.ledger.events()[self.known :]
        return [e.stage for e in events if isinstance(e, StageFinished)]

    @property
    def state(self) -> SweepState:
        return replay(self.ledger.events())

    def by_stage(self, stage: Stage) -> list[Any]:
        return [r for r in self.state.runs.values() if r.asked.stage is stage]

    def evidence(self) -> Evidence:
        return build_evidence(
            self.prepared, self.state, self.folder, stage=Stage.TEST, store="s", test_opened=1
        )

    def recorded(self) -> Counter[str]:
        """What MLflow is told, without clocks and folders; order does not count."""
        lines = (self.folder / "spool" / f"{DRIVER}.jsonl").read_text().splitlines()
        said: Counter[str] = Counter()
        for line in lines:
            event = json.loads(line)
            del event["time_ms"], event["attempt"]
            if event["run_key"] == "parent" or event["event"] == "start":
                continue  # counts of trials so far, and what may be repeated
            if any(k.startswith("keepgain.execution") for k in event.get("tags", {})):
                continue  # where and when: only the one who did it knows
            said[json.dumps(event, sort_keys=True).replace(str(self.folder), "FOLDER")] += 1
        return said


@pytest.fixture(scope="module")
def undisturbed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(world, tmp_path_factory.mktemp("undisturbed")).run()


def comparable(evidence: Evidence) -> tuple[Any, ...]:
    """Runs by key; items by run, suite, split and value."""
    runs = {r.run_key: r.model_dump() for r in evidence.sweep.runs}
    items = sorted(
        (key, s.suite, s.split, s.tokens, s.values.tolist()) for key, s in evidence.items
    )
    return runs, items


def test_the_stages_follow_each_other(undisturbed: Sweep) -> None:
    assert undisturbed.stages == STAGES
    # Once a transition; after the test stage the decision saves it.
    assert undisturbed.saved == [Stage.SEARCH, Stage.CONFIRM]
    assert [e.stage for e in undisturbed.ledger.events() if isinstance(e, StageFinished)] == STAGES
    assert undisturbed.program.stage is Stage.DECIDED and undisturbed.program.aborted is None
    counts = {s: len(undisturbed.by_stage(s)) for s in STAGES}
    assert counts[Stage.SEARCH] == 6
    bases = counts[Stage.BASE]
    assert counts[Stage.CONFIRM] in (4, 6)  # one finalist a model; perhaps the best random one
    assert counts[Stage.TEST] == bases + counts[Stage.CONFIRM]
    (candidates,) = undisturbed.opened
    assert len(candidates) == counts[Stage.TEST]
    assert set(undisturbed.worker.worked.values()) == {1}


def test_test_items_are_scored_only_after_confirmation(undisturbed: Sweep) -> None:
    events = undisturbed.ledger.events()
    confirmed = next(
        i for i, e in enumerate(events)
        if isinstance(e, StageFinished) and e.stage is Stage.CONFIRM
    )  # fmt: skip
    asked = [i for i, e in enumerate(events) if getattr(e, "stage", None) is Stage.TEST]
    assert min(asked) > confirmed
    for run in undisturbed.by_stage(Stage.SEARCH):
        assert not any(m.startswith("test/") for r in run.reports for m in r.metrics)


def test_confirmation_uses_fresh_seeds(undisturbed: Sweep) -> None:
    searched = {r.asked.trial_id: r.asked.seed for r in undisturbed.by_stage(Stage.SEARCH)}
    for run in undisturbed.by_stage(Stage.CONFIRM):
        assert run.asked.trial_id in searched
        assert run.asked.seed != searched[run.asked.trial_id]


def test_no_optuna_trial_is_left_running(undisturbed: Sweep) -> None:
    for study in undisturbed.search.studies.values():
        assert [t.state for t in study.get_trials()] == [TrialState.COMPLETE] * 3


@pytest.mark.parametrize("slots", [1, 3, 5])
@pytest.mark.fault("N10")
def test_the_number_of_slots_changes_nothing(
    world: Path, tmp_path: Path, undisturbed: Sweep, slots: int
) -> None:
    other = Sweep(world, tmp_path).run(slots=slots)
    assert comparable(other.evidence()) == comparable(undisturbed.evidence())


@pytest.mark.parametrize(("spool", "stride"), [("nothing was said", 1), ("everything was said", 4)])
@pytest.mark.fault("P5")
def test_continued_at_any_line_of_the_ledger_the_sweep_ends_alike(
    world: Path, tmp_path: Path, undisturbed: Sweep, spool: str, stride: int
) -> None:
    """A driver may be killed after any line; what MLflow was told by then may lag or not."""
    lines = (undisturbed.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    expected, record = comparable(undisturbed.evidence()), undisturbed.recorded()
    for count in range(0, len(lines), stride):
        folder = tmp_path / f"after-{count}"
        shutil.copytree(undisturbed.folder / "runs", folder / "runs")
        (folder / "ledger.jsonl").write_text("".join(lines[:count]))
        done = known_reports(replay_of(folder))
        if spool == "everything was said":
            (folder / "spool").mkdir()
            said = undisturbed.folder / "spool" / f"{DRIVER}.jsonl"
            text = said.read_text().replace(str(undisturbed.folder), str(folder))
            (folder / "spool" / said.name).write_text(text)
        again = Sweep(world, folder).run()
        assert comparable(again.evidence()) == expected, f"after line {count}"
        assert set(again.worker.worked) | done == set(undisturbed.worker.worked)
        assert not set(again.worker.worked) & done, "trained twice"
        if spool == "nothing was said":
            assert set(again.recorded()) == set(record), f"after line {count}"
            assert max(again.recorded().values()) == 1
        stages = [e.stage for e in again.ledger.events() if isinstance(e, StageFinished)]
        assert stages == STAGES


def replay_of(folder: Path) -> SweepState:
    with Ledger.open(folder / "ledger.jsonl") as ledger:
        return replay(ledger.events())


def known_reports(state: SweepState) -> set[tuple[str, int]]:
    return {(key, r.rung) for key, run in state.runs.items() for r in run.reports}


def test_a_finished_sweep_run_again_changes_nothing(world: Path, tmp_path: Path) -> None:
    Sweep(world, tmp_path).run()
    files = [tmp_path / "ledger.jsonl", tmp_path / "spool" / f"{DRIVER}.jsonl"]
    before = [f.read_bytes() for f in files]
    again = Sweep(world, tmp_path).run()
    assert again.worker.worked == Counter() and again.stages == []
    assert [f.read_bytes() for f in files] == before


@pytest.mark.parametrize("steps", [1, 4, 9, 20])
def test_an_interrupted_sweep_continues_to_the_same_end(
    world: Path, tmp_path: Path, undisturbed: Sweep, steps: int
) -> None:
    stopped = Sweep(world, tmp_path).run(steps=steps)
    assert not stopped.program.finished
    assert TrialStatus.INTERRUPTED in {r.status for r in stopped.state.runs.values()}
    for study in stopped.search.studies.values():
        assert TrialState.RUNNING not in {t.state for t in study.get_trials()}
    again = Sweep(world, tmp_path).run()
    assert not set(again.worker.worked) & set(stopped.worker.worked)
    assert comparable(again.evidence()) == comparable(undisturbed.evidence())


def fail_search(causes: Iterable[FailureCause | None]) -> Callable[..., FailureCause | None]:
    """The n-th search trial, in the order of asking, fails with the n-th cause each time."""
    order: dict[str, FailureCause | None] = {}
    left = iter(causes)

    def fail(job: Job, attempt: int) -> FailureCause | None:
        if job.purpose != "search":
            return None
        if job.run_key not in order:
            order[job.run_key] = next(left, None)
        return order[job.run_key]

    return fail


@pytest.mark.fault("N1")
def test_a_failed_trial_is_recorded_and_not_repeated(world: Path, tmp_path: Path) -> None:
    sweep = Sweep(world, tmp_path, fail=fail_search([None, FailureCause.NAN])).run()
    (failed,) = [r for r in sweep.by_stage(Stage.SEARCH) if r.status is TrialStatus.FAILED]
    assert (failed.cause, failed.reason) == (FailureCause.NAN, "as the test wants")
    assert sweep.worker.attempts[failed.run_key] == 1
    assert sweep.stages == STAGES
    states = [t.state for s in sweep.search.studies.values() for t in s.get_trials()]
    assert Counter(states) == {TrialState.COMPLETE: 5, TrialState.FAIL: 1}
    confirmed = {r.asked.trial_id for r in sweep.by_stage(Stage.CONFIRM)}
    assert failed.asked.trial_id not in confirmed
    assert "FAILED: nan: as the test wants" in sweep.said.getvalue()


@pytest.mark.fault("P1")
def test_a_lost_worker_is_replaced_once_and_goes_on_from_the_last_rung(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    lost: set[str] = set()

    def fail(job: Job, attempt: int) -> FailureCause | None:
        request = job.request
        if isinstance(request, TrainRequest) and request.rung == 1 and attempt == 0:
            lost.add(job.run_key)
            return FailureCause.WORKER_LOST
        return None

    sweep = Sweep(world, tmp_path, fail=fail).run()
    assert lost and set(sweep.worker.worked.values()) == {1}, "the first rung is not trained again"
    assert comparable(sweep.evidence()) == comparable(undisturbed.evidence())
    assert "trying once more" in sweep.said.getvalue()


@pytest.mark.fault("P1")
def test_a_worker_may_be_lost_at_every_rung(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    def fail(job: Job, attempt: int) -> FailureCause | None:
        request = job.request
        lost = isinstance(request, TrainRequest) and request.rung == attempt
        return FailureCause.WORKER_LOST if lost else None

    sweep = Sweep(world, tmp_path, fail=fail).run()
    searched = [r.run_key for r in sweep.by_stage(Stage.SEARCH)]
    assert {sweep.worker.attempts[key] for key in searched} == {2}, "once at each of two rungs"
    assert comparable(sweep.evidence()) == comparable(undisturbed.evidence())


@pytest.mark.fault("P2")
def test_a_worker_lost_twice_is_a_failure(world: Path, tmp_path: Path) -> None:
    sweep = Sweep(world, tmp_path, fail=fail_search([FailureCause.WORKER_LOST])).run()
    (failed,) = [r for r in sweep.by_stage(Stage.SEARCH) if r.status is TrialStatus.FAILED]
    assert failed.cause is FailureCause.WORKER_LOST
    assert sweep.worker.attempts[failed.run_key] == 2
    assert sweep.stages == STAGES


@pytest.mark.fault("N6")
def test_too_many_failures_stop_the_sweep_and_it_stays_stopped(world: Path, tmp_path: Path) -> None:
    nan = FailureCause.NAN
    sweep = Sweep(world, tmp_path, fail=fail_search([nan, None, nan, nan])).run()
    assert sweep.program.aborted is not None
    assert "3 of 4 trials failed, more than search.max_failure_rate 0.5" in sweep.program.aborted
    assert "nan: as the test wants" in sweep.program.aborted
    assert sweep.stages == [] and not sweep.by_stage(Stage.CONFIRM)
    again = Sweep(world, tmp_path).run()
    assert again.program.aborted == sweep.program.aborted
    assert again.worker.worked == Counter()


@pytest.mark.parametrize("cause", [FailureCause.WORKER_LOST, FailureCause.DISK_FULL])
@pytest.mark.fault("P2", "R1")
def test_what_the_machine_failed_is_tried_again_by_the_next_driver(
    world: Path, tmp_path: Path, undisturbed: Sweep, cause: FailureCause
) -> None:
    fail = fail_search([cause, None, cause, cause])
    stopped = Sweep(world, tmp_path, fail=fail).run()
    assert stopped.program.aborted is not None and "3 of 4 trials failed" in stopped.program.aborted
    again = Sweep(world, tmp_path).run()
    assert again.program.aborted is None and again.stages == STAGES
    assert comparable(again.evidence()) == comparable(undisturbed.evidence())
    states = [t.state for s in again.search.studies.values() for t in s.get_trials()]
    assert Counter(states) == {TrialState.COMPLETE: 6}
    lines = (tmp_path / "spool" / f"{DRIVER}.jsonl").read_text().splitlines()
    tags = [(e["run_key"], e["tags"]) for e in map(json.loads, lines) if e["event"] == "tags"]
    told = {key: t["keepgain.optuna_state"] for key, t in tags if "keepgain.optuna_state" in t}
    assert set(told.values()) == {"COMPLETE"}, "the last word counts"


def test_a_lost_trial_that_later_draws_follow_from_stays_failed(
    world: Path, tmp_path: Path
) -> None:
    stopped = Sweep(world, tmp_path, fail=fail_search([FailureCause.WORKER_LOST])).run(steps=18)
    (failed,) = [r for r in stopped.by_stage(Stage.SEARCH) if r.status is TrialStatus.FAILED]
    assert any(r.asked.generation == 1 for r in stopped.by_stage(Stage.SEARCH))
    again = Sweep(world, tmp_path).run()
    assert again.stages[-1] is Stage.TEST
    assert again.state.runs[failed.run_key].status is TrialStatus.FAILED


def fail_test(wanted: Callable[[Job], bool]) -> Callable[..., FailureCause | None]:
    return lambda job, attempt: (
        FailureCause.OUT_OF_MEMORY if job.purpose == "test" and wanted(job) else None
    )


@pytest.mark.parametrize("what", ["base", "trial"])
def test_without_needed_test_scores_nothing_is_decided_and_they_are_tried_again(
    world: Path, tmp_path: Path, undisturbed: Sweep, what: str
) -> None:
    def needed(job: Job) -> bool:
        return job.asked.model == "m1" and job.asked.kind == what

    sweep = Sweep(world, tmp_path, fail=fail_test(needed)).run()
    assert sweep.program.finished and sweep.stages == STAGES[:-1]
    aborted = sweep.program.aborted
    assert aborted is not None and "out_of_memory: as the test wants" in aborted
    assert ("base m1" in aborted) == (what == "base") and "m1 " in aborted
    again = Sweep(world, tmp_path).run()
    assert again.program.aborted is None and again.stages == [Stage.TEST]
    failed = {r.run_key for r in sweep.by_stage(Stage.TEST) if r.status is TrialStatus.FAILED}
    assert {key for key, _ in again.worker.worked} == failed
    assert comparable(again.evidence()) == comparable(undisturbed.evidence())


def test_a_reference_arm_or_one_seed_without_test_scores_is_a_warning(
    world: Path, tmp_path: Path
) -> None:
    seen: set[str] = set()

    def wanted(job: Job) -> bool:
        if job.asked.kind == "reference":
            return True
        first = job.asked.kind == "trial" and job.asked.model not in seen
        if first:
            seen.add(job.asked.model)
        return first

    sweep = Sweep(world, tmp_path, fail=fail_test(wanted)).run()
    assert sweep.program.aborted is None and sweep.stages == STAGES
    failed = [r for r in sweep.by_stage(Stage.TEST) if r.status is TrialStatus.FAILED]
    assert len(failed) > 2
    assert sweep.said.getvalue().count("has no test scores (out_of_memory") == len(failed)


def test_confirmation_uses_the_files_and_the_runtime_of_its_own_driver(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    moved = tmp_path / "moved" / "sweep.yaml"
    shutil.copytree(world.parent, moved.parent)
    edit(moved, "rungs: [0.5, 1]}", "rungs: [0.5, 1]}\nresources: {device: cpu}")
    prepared = prepare(load_spec(moved), tmp_path / "elsewhere")
    asked = undisturbed.by_stage(Stage.SEARCH)[0].asked
    job = confirm_jobs(prepared, tmp_path / "elsewhere", [asked])[0]
    config = TrialConfig.model_validate(job.asked.config)
    assert config == job.request.config and config.trial_id == asked.trial_id
    assert config.runtime.device == "cpu"
    paths = [config.model.path, *(s.path for s in (*config.sources, *config.suites))]
    assert all(Path(p).is_relative_to(tmp_path) for p in paths)


def test_the_record_has_the_spec_as_it_is_run(world: Path, tmp_path: Path) -> None:
    """Beside the file, which does not say which profile was merged in."""
    shutil.copy(world, tmp_path / "sweep.yaml")
    prepared = prepare(load_spec(world, "smoke"), None)
    with Ledger.open(tmp_path / "ledger.jsonl") as ledger:
        spool = Spool(tmp_path / "spool", DRIVER)
        store = resolve_store(str(tmp_path), create=True)
        Keeper(prepared, store, tmp_path, ledger, Recorder(spool, tmp_path), (), None)
        spool.close()
    resolved = json.loads((tmp_path / "spec.resolved.json").read_text())
    assert resolved["search"]["trials_per_model"] == 4 and resolved["confirm"]["finalists"] == 2
    assert SweepSpec.model_validate(resolved) == prepared.spec
    said = (tmp_path / "spool" / f"{DRIVER}.jsonl").read_text()
    assert '"keepgain.profile": "smoke"' in said.replace('":"', '": "')
    assert "spec.resolved.json" in said


@pytest.mark.parametrize(
    ("option", "variable", "shown"),
    [
        ("sqlite:///runs/track.db", None, " --store sqlite:///runs/track.db"),
        (None, "my store", " --store 'my store'"),
        (None, "postgresql://me:secret@db/m", " --store 'postgresql://me:***@db/m'"),
        (None, None, ""),
    ],
)
def test_the_commands_that_come_next_name_the_store_as_it_was_given(
    option: str | None,
    variable: str | None,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome = Outcome(0, "tiny-000000", tmp_path, resolve_store(str(tmp_path), create=True))
    monkeypatch.setattr("keepgain.sweeps.run.run_sweep", lambda *given: outcome)
    if variable is not None:
        monkeypatch.setenv("KEEPGAIN_STORE", variable)
    assert main(["run", "sweep.yaml", *(["--store", option] if option else [])]) == 0
    assert capsys.readouterr().out.strip().splitlines() == [
        f"analyze tiny-000000{shown}",
        f"sweep ui tiny-000000{shown}",
    ]


@pytest.mark.fault("N6")
def test_half_of_the_trials_may_fail(world: Path, tmp_path: Path) -> None:
    nan = FailureCause.NAN
    sweep = Sweep(world, tmp_path, fail=fail_search([None, None, None, nan, nan, nan])).run()
    assert sweep.program.aborted is None and sweep.stages == STAGES


@pytest.mark.fault("N6")
def test_a_base_that_cannot_be_scored_stops_the_sweep_and_does_not_hang_the_next(
    world: Path, tmp_path: Path
) -> None:
    def fail(job: Job, attempt: int) -> FailureCause | None:
        is_base = job.purpose == "base" and job.asked.model == "m1"
        return FailureCause.OUT_OF_MEMORY if is_base else None

    sweep = Sweep(world, tmp_path, fail=fail).run()
    again = Sweep(world, tmp_path).run()
    for one in (sweep, again):
        assert one.program.aborted is not None
        assert "the base m1 could not be scored" in one.program.aborted
        assert "out_of_memory" in one.program.aborted


@pytest.mark.fault("N6")
def test_without_a_completed_trial_there_is_nothing_to_confirm(world: Path, tmp_path: Path) -> None:
    spec = tmp_path / "sweep.yaml"
    shutil.copytree(world.parent, tmp_path / "world")
    spec = tmp_path / "world" / "sweep.yaml"
    edit(spec, "generation_size: 2", "generation_size: 2, max_failure_rate: 1")
    causes = [FailureCause.NAN] * 6
    sweep = Sweep(spec, tmp_path / "sweep", fail=fail_search(causes)).run()
    assert sweep.program.aborted == "no search trial was completed, so there is nothing to confirm"


def test_another_sweep_gives_its_finished_runs(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    work = tmp_path / "sweeps"
    shutil.copytree(undisturbed.folder, work / "earlier-000000")
    reusable = finished_elsewhere(work, "later-000000", undisturbed.prepared.runtime, print)
    later = Sweep(world, work / "later-000000", reusable=reusable).run()
    assert later.worker.worked == Counter(), "everything was there"
    runs = later.state.runs
    assert later.program.reused == len(runs)
    assert {r.reused_from for r in runs.values()} == {"earlier-000000"}
    ours, theirs = (comparable(s.evidence()) for s in (later, undisturbed))
    assert ours[1] == theirs[1]
    assert len(later.opened) == 1, "the test items are looked at again"
    assert sum(isinstance(e, Reused) for e in later.ledger.events()) == len(runs)


@pytest.mark.fault("P5")
def test_reuse_survives_an_interruption_at_any_line(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    work = tmp_path / "sweeps"
    shutil.copytree(undisturbed.folder, work / "earlier-000000")
    reusable = finished_elsewhere(work, "other", undisturbed.prepared.runtime, print)
    whole = Sweep(world, work / "whole", reusable=reusable).run()
    lines = (whole.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    for count in range(0, len(lines), 4):
        folder = work / f"after-{count}"
        shutil.copytree(whole.folder / "runs", folder / "runs")
        (folder / "ledger.jsonl").write_text("".join(lines[:count]))
        again = Sweep(world, folder, reusable=reusable).run()
        assert again.worker.worked == Counter(), f"after line {count}"
        assert comparable(again.evidence())[1] == comparable(whole.evidence())[1]


def test_failed_runs_of_another_sweep_are_tried_again(world: Path, tmp_path: Path) -> None:
    work = tmp_path / "sweeps"
    first = Sweep(world, work / "first", fail=fail_search([FailureCause.NAN])).run()
    (failed,) = [r for r in first.by_stage(Stage.SEARCH) if r.status is TrialStatus.FAILED]
    reusable = finished_elsewhere(work, "later", first.prepared.runtime, print)
    later = Sweep(world, work / "later", reusable=reusable).run()
    assert later.state.runs[failed.run_key].status is TrialStatus.COMPLETED
    assert later.worker.worked[failed.run_key, 0] == 1


@pytest.mark.fault("P5")
def test_an_end_that_was_not_noted_is_noted_by_the_next_driver(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    """Killed between the last report and the end: there is no rung left to train."""
    lines = (undisturbed.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    events = undisturbed.ledger.events()
    at = max(i for i, e in enumerate(events) if isinstance(e, Finished))
    shutil.copytree(undisturbed.folder / "runs", tmp_path / "runs")
    (tmp_path / "ledger.jsonl").write_text("".join(lines[:at]))
    again = Sweep(world, tmp_path).run()
    assert again.worker.worked == Counter()
    assert {r.status for r in again.state.runs.values()} == {TrialStatus.COMPLETED}
