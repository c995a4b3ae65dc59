"""A sweep whose search is ended by a limit, by its fronts or by a person, with stand-in workers."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.continuing import to_note
from keepgain.sweeps.job import Job
from keepgain.sweeps.limits import Meter
from keepgain.sweeps.search.ledger import (
    Asked,
    DriverStarted,
    Event,
    Retried,
    StageFinished,
    Steered,
)
from keepgain.sweeps.search.replay import replay
from keepgain.sweeps.steering import Inbox, Listed, send
from tests.sweeps.test_program import STAGES, Sweep, comparable, edit, undisturbed, world

__all__ = ["undisturbed", "world"]  # fixtures

TRIAL = {"method": "full", "learning_rate": 1e-4, "mixture": {"tickets": 0.75, "general": 0.25}}


def spec_with(world: Path, tmp_path: Path, **keys: str) -> Path:
    """A copy of the spec beside the original, with more keys at its end."""
    path = world.with_name(f"{tmp_path.name}.yaml")
    shutil.copyfile(world, path)
    with path.open("a") as file:
        file.writelines(f"{name}: {value}\n" for name, value in keys.items())
    return path


class Steerable(Sweep):
    """Commands are given between steps."""

    def __init__(self, spec: Path, folder: Path, **options: Any) -> None:
        super().__init__(spec, folder, **options)
        self.inbox = Inbox(folder, lambda text: None, clock=self._clock)
        self.program.inbox = self.inbox
        self.program.reins.interrupt = lambda: setattr(self, "stopping", True)
        self.stopping = False
        self.ticks = 0
        self.plan: dict[int, Callable[[Steerable], object]] = {}
        """Tick → what is done before it."""

    def _clock(self) -> float:
        return 10.0 * self.ticks

    def tick(self) -> None:
        self.ticks += 1
        self.plan.get(self.ticks, lambda sweep: None)(self)
        super().tick()

    def answers(self) -> list[str]:
        return [e.outcome for e in self.ledger.events() if isinstance(e, Steered)]


def killed_after(whole: Sweep, folder: Path, line: int | Callable[[Event], bool]) -> Path:
    """A folder as a driver leaves it that was killed after a line of the ledger, or after the first
    that is so."""
    events = whole.ledger.events()
    count = line if isinstance(line, int) else next(i for i, e in enumerate(events, 1) if line(e))
    lines = (whole.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    shutil.copytree(whole.folder / "runs", folder / "runs")
    for key in replay(events).runs:
        (folder / "runs" / key / "checkpoint-r0").mkdir(exist_ok=True, parents=True)
    (folder / "ledger.jsonl").write_text("".join(lines[:count]))
    return folder


def statuses(sweep: Sweep) -> Counter[TrialStatus]:
    return Counter(r.status for r in sweep.by_stage(Stage.SEARCH))


def note(sweep: Sweep) -> str:
    events = sweep.ledger.events()
    return next(e.note for e in events if isinstance(e, StageFinished) and e.stage == "search")


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_limit_on_tokens_ends_the_search_within_one_rung(
    world: Path, tmp_path: Path, slots: int
) -> None:
    """Four trials of 500 tokens at the first rung; then 500 at a time while 2600 are not used."""
    spec = spec_with(world, tmp_path, limits="{tokens: 2600}")
    sweep = Sweep(spec, tmp_path).run(slots=slots)
    assert sweep.program.aborted is None and sweep.stages == STAGES
    assert Meter.of(sweep.ledger.events()).search().tokens == 3000
    assert statuses(sweep) == {TrialStatus.COMPLETED: 2, TrialStatus.PRUNED: 2}
    reasons = {r.reason for r in sweep.by_stage(Stage.SEARCH) if r.status == "pruned"}
    assert reasons == {note(sweep)} and note(sweep).startswith("limits.tokens: 3k of 2.6k")
    assert sweep.by_stage(Stage.CONFIRM), "the finalists are confirmed all the same"
    assert any("limits.tokens" in w for w in sweep.evidence().sweep.warnings)
    assert "the search ends: limits.tokens" in sweep.said.getvalue()
    for study in sweep.search.studies.values():
        assert {t.state.name for t in study.get_trials()} <= {"COMPLETE", "PRUNED"}


def test_without_early_stopping_a_limit_counts_what_is_begun_to_its_end(
    world: Path, tmp_path: Path
) -> None:
    """Trials of 1000 tokens: the second takes what is begun to 2000."""
    spec = spec_with(world, tmp_path, limits="{tokens: 1500}")
    text = spec.read_text().replace("generation_size: 2}", "stopping: {enabled: false}}", 1)
    spec.write_text(text)
    sweep = Sweep(spec, tmp_path).run(slots=5)
    assert Meter.of(sweep.ledger.events()).search().tokens == 2000
    assert statuses(sweep) == {TrialStatus.COMPLETED: 2}


def test_a_trial_that_rests_in_a_pause_can_be_stopped(world: Path, tmp_path: Path) -> None:
    spec = spec_with(world, tmp_path)
    spec.write_text(
        spec.read_text().replace("generation_size: 2}", "stopping: {enabled: false}}", 1)
    )
    sweep = Steerable(spec, tmp_path)
    answers: list[str | None] = []

    def stop(steered: Steerable) -> None:
        (key, *_) = steered.program.awake() or tuple(steered.paused)
        answers.append(steered.program.prune(key, "as the test wants"))
        steered.program.reins.resume()

    sweep.plan = {5: lambda s: s.program.reins.pause("me"), 9: stop}
    sweep.run()
    assert answers == ["now"]
    assert statuses(sweep)[TrialStatus.PRUNED] == 1


def test_failed_trials_can_be_retried_where_none_was_completed(world: Path, tmp_path: Path) -> None:
    spec = spec_with(world, tmp_path)
    spec.write_text(spec.read_text().replace("trials_per_model: 3", "trials_per_model: 1", 1))

    def fail(job: Job, attempt: int) -> FailureCause | None:
        return FailureCause.OUT_OF_MEMORY if job.purpose == "search" else None

    failed = Sweep(spec, tmp_path, fail=fail).run()
    assert failed.program.aborted is not None and "nothing to confirm" in failed.program.aborted
    again = Sweep(spec, tmp_path, retry_failed=True).run()
    assert again.program.aborted is None and again.stages == STAGES


def test_two_stops_in_one_look_interrupt_once(world: Path, tmp_path: Path) -> None:
    sweep = Steerable(world, tmp_path)
    interrupts: list[str] = []
    sweep.program.reins.interrupt = lambda: interrupts.append("ctrl-c")
    for who in ("ann", "bob"):
        sweep.program.reins.stop(who)
    assert interrupts == ["ctrl-c"] and sweep.program.reins.stopped_by == "ann"
    sweep.run(steps=0)


def test_two_settings_of_one_trial_are_continued_any_number_of_times(
    world: Path, tmp_path: Path
) -> None:
    """1.0 and 1.0001 of 1000 tokens are the same training: one run, two draws."""
    spec = spec_with(world, tmp_path)
    text = spec.read_text()
    start, end = text.index("space:"), text.index("search:")
    space = "space: {learning_rate: 1e-4, duration: [1.0, 1.0001, 0.5, 0.50001]}\n"
    search = "search: {sampler: grid, trials_per_model: 4, stopping: {enabled: false}}\n"
    after = text.index("\n", end) + 1
    spec.write_text(text[:start] + space + search + text[after:])
    folder = tmp_path / "sweep"
    for steps in (1, 1, 1, None):
        sweep = Sweep(spec, folder)
        sweep.run(slots=8, steps=steps)
    assert sweep.program.finished
    draws = [(e.model, e.number) for e in sweep.ledger.events() if isinstance(e, Asked)]
    searched = [d for d in draws if d[1] is not None]
    assert len(searched) == len(set(searched)) == 8
    assert len(sweep.by_stage(Stage.SEARCH)) == 4


def test_a_limit_on_trials_ends_the_drawing_alone(world: Path, tmp_path: Path) -> None:
    sweep = Sweep(spec_with(world, tmp_path, limits="{trials: 3}"), tmp_path).run()
    assert statuses(sweep) == {TrialStatus.COMPLETED: 3}
    models = Counter(r.asked.model for r in sweep.by_stage(Stage.SEARCH))
    assert models == {"m0": 2, "m1": 1}, "in turn over the base models"
    assert note(sweep) == "limits.trials: 3 of 3 spent" and sweep.stages == STAGES


def test_a_limit_on_gpu_hours_counts_what_workers_reported(world: Path, tmp_path: Path) -> None:
    """Every rung takes the stand-in one second of half a GPU."""
    spec = spec_with(world, tmp_path, limits=f"{{gpu_hours: {2.9 / 3600}}}")
    sweep = Sweep(spec, tmp_path)
    sweep.program.driver_started(
        DriverStarted(user="u", host="h", pid=1, slots=1, cpus_per_trial=1, gpus_per_trial=0.5)
    )
    sweep.run(slots=1)
    assert Meter.of(sweep.ledger.events()).search().gpu_hours == pytest.approx(3 / 3600)
    assert note(sweep).startswith("limits.gpu_hours")
    assert statuses(sweep) == {TrialStatus.COMPLETED: 2, TrialStatus.PRUNED: 2}


def test_a_limit_in_money_follows_from_the_price(world: Path, tmp_path: Path) -> None:
    spec = spec_with(world, tmp_path, limits=f"{{usd: {2.5 * 2.9 / 3600}}}")
    sweep = Sweep(spec, tmp_path)
    started = DriverStarted(
        user="u", host="h", pid=1, slots=1, cpus_per_trial=1, gpus_per_trial=0.5
    )
    sweep.program.driver_started(started)
    assert note(sweep.run(slots=1)).startswith("limits.usd: $0.00208 of $0.00201")


def test_raised_in_time_a_limit_lets_the_search_go_on(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    low = spec_with(world, tmp_path, limits="{tokens: 1200}")
    first = Sweep(low, tmp_path).run()
    assert "before any trial had its full budget; raise the limit" in str(first.program.aborted)
    assert first.stages == [] and TrialStatus.PRUNED not in statuses(first)
    edit(low, "{tokens: 1200}", "{tokens: 1000000}")
    again = Sweep(low, tmp_path).run()
    assert comparable(again.evidence()) == comparable(undisturbed.evidence())
    assert set(again.worker.worked.values()) == {1}


def test_not_raised_the_sweep_stays_stopped(world: Path, tmp_path: Path) -> None:
    low = spec_with(world, tmp_path, limits="{tokens: 1200}")
    Sweep(low, tmp_path).run()
    again = Sweep(low, tmp_path).run()
    assert "before any trial had its full budget" in str(again.program.aborted)
    assert again.worker.worked == Counter()


def test_raised_too_late_it_says_why_not(world: Path, tmp_path: Path) -> None:
    spec = spec_with(world, tmp_path, limits="{tokens: 2600}")
    whole = Sweep(spec, tmp_path / "whole").run()
    folder = killed_after(
        whole, tmp_path / "confirming", lambda e: getattr(e, "stage", 0) == "confirm"
    )
    edit(spec, "2600", "1000000")
    again = Sweep(spec, folder).run()
    assert "a higher limit does not open it again" in again.said.getvalue()
    assert statuses(again) == {TrialStatus.COMPLETED: 2, TrialStatus.PRUNED: 2}
    assert again.program.aborted is None


def test_killed_anywhere_a_limited_sweep_spends_no_more(world: Path, tmp_path: Path) -> None:
    """Which of the promoted trials come first may differ; what is spent does not."""
    spec = spec_with(world, tmp_path, limits="{tokens: 2600}")
    whole = Sweep(spec, tmp_path / "whole").run()
    for count in range(1, len(whole.ledger.events()), 4):
        folder = killed_after(whole, tmp_path / f"after-{count}", count)
        again = Sweep(spec, folder).run()
        assert Meter.of(again.ledger.events()).search().tokens == 3000, f"after line {count}"
        assert statuses(again) == {TrialStatus.COMPLETED: 2, TrialStatus.PRUNED: 2}
        assert again.program.aborted is None and again.program.stage is Stage.DECIDED


# -- fronts that stand still -----------------------------------------------------------------------


def test_fronts_that_stand_still_end_the_search(world: Path, tmp_path: Path) -> None:
    spec = spec_with(world, tmp_path)
    rule = "{generations: 1, min_rise: 0.99}"
    edit(spec, "trials_per_model: 3", f"stalled: {rule}, trials_per_model: 8")
    sweep = Sweep(spec, tmp_path).run()
    assert note(sweep).startswith("search.stalled: ") and sweep.stages == STAGES
    drawn = Counter((r.asked.model, r.asked.generation) for r in sweep.by_stage(Stage.SEARCH))
    generations = max(g for _, g in drawn) + 1
    assert 2 <= generations < 4
    assert set(drawn.values()) == {2}, "whole generations of both base models"
    assert {r.status for r in sweep.by_stage(Stage.SEARCH)} <= {"completed", "pruned"}


# -- people ----------------------------------------------------------------------------------------


def test_a_paused_sweep_waits_and_goes_on_alike(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    sweep = Steerable(world, tmp_path)
    seen: dict[str, int] = {}

    def count(name: str) -> Callable[[Steerable], object]:
        return lambda s: seen.update({name: len(s.reported)})

    sweep.plan = {
        6: lambda s: send(tmp_path, "pause"),
        12: count("paused"),
        40: count("still"),
        41: lambda s: send(tmp_path, "resume"),
    }
    sweep.run(slots=2)
    assert seen["still"] == seen["paused"], "nothing runs while it is paused"
    assert sweep.answers()[1] == "it goes on"
    assert comparable(sweep.evidence()) == comparable(undisturbed.evidence())


def test_without_early_stopping_a_pause_falls_between_rungs(world: Path, tmp_path: Path) -> None:
    spec = spec_with(world, tmp_path)
    edit(spec, "trials_per_model: 3", "stopping: {enabled: false}, trials_per_model: 3")
    whole = Sweep(spec, tmp_path / "whole").run()
    sweep = Steerable(spec, tmp_path / "paused")
    sweep.plan = {
        9: lambda s: send(s.folder, "pause"),
        20: lambda s: send(s.folder, "resume"),
    }
    sweep.run(slots=2)
    assert "paused" not in sweep.answers()[0] and sweep.program.stage is Stage.DECIDED
    assert comparable(sweep.evidence()) == comparable(whole.evidence())
    assert set(sweep.worker.worked.values()) == {1}


def test_a_stopped_trial_is_pruned_and_the_sampler_told(world: Path, tmp_path: Path) -> None:
    sweep = Steerable(world, tmp_path)
    stopped: list[str] = []

    def stop_one(s: Steerable) -> None:
        waiting = [r for r in s.by_stage(Stage.SEARCH) if not r.status.is_final]
        stopped.append(waiting[0].run_key)
        send(tmp_path, "stop_trial", trial=waiting[0].run_key)

    sweep.plan = {8: stop_one}
    sweep.run(slots=1)
    run = sweep.state.runs[stopped[0]]
    assert run.status is TrialStatus.PRUNED and str(run.reason).startswith("stopped by ")
    trial = sweep.search.studies[run.asked.model].get_trials()[run.asked.number or 0]
    assert trial.state.name == "PRUNED"
    assert sweep.program.aborted is None and sweep.stages == STAGES
    again = Sweep(world, tmp_path).run()
    assert again.worker.worked == Counter()


def test_a_running_trial_ends_at_its_next_rung(world: Path, tmp_path: Path) -> None:
    sweep = Steerable(world, tmp_path)
    running: list[str] = []

    def stop_running(s: Steerable) -> None:
        running.extend(k for k, j in s.program._live.items() if j.purpose == "search")
        send(tmp_path, "stop_trial", trial=running[0])

    sweep.plan = {7: stop_running}
    sweep.run(slots=3)
    assert sweep.answers() == [f"trial {running[0]} ends at its next rung"]
    run = sweep.state.runs[running[0]]
    assert run.status is TrialStatus.PRUNED and len(run.reports) == 1


def test_a_trial_that_is_not_open_is_not_stopped(world: Path, tmp_path: Path) -> None:
    sweep = Steerable(world, tmp_path)
    sweep.plan = {3: lambda s: send(tmp_path, "stop_trial", trial="0" * 12 + "-s1")}
    sweep.run()
    assert sweep.answers() == [f"trial {'0' * 12}-s1 is not open any more."]
    assert statuses(sweep) == {TrialStatus.COMPLETED: 6}


def test_added_configurations_are_tried_beyond_the_budget(world: Path, tmp_path: Path) -> None:
    sweep = Steerable(world, tmp_path)
    configs = (Listed(model="m0", params=TRIAL), Listed(model="m1", params=TRIAL))
    sweep.plan = {6: lambda s: send(tmp_path, "add", configs=configs)}
    sweep.run(slots=2)
    listed = [r for r in sweep.by_stage(Stage.SEARCH) if r.asked.origin == "list"]
    assert [r.asked.model for r in listed] == ["m0", "m1"]
    assert {r.asked.params["learning_rate"] for r in listed} == {1e-4}
    assert {r.status for r in listed} <= {TrialStatus.COMPLETED, TrialStatus.PRUNED}
    assert len(sweep.by_stage(Stage.SEARCH)) == 6 + 2
    assert sweep.program.aborted is None and sweep.stages == STAGES


@pytest.mark.parametrize("steps", [3, 5, 8, 12])
def test_added_and_killed_they_are_tried_once(world: Path, tmp_path: Path, steps: int) -> None:
    first = Steerable(world, tmp_path)
    first.plan = {3: lambda s: send(tmp_path, "add", configs=(Listed(model="m0", params=TRIAL),))}
    first.run(slots=1, steps=steps)
    again = Steerable(world, tmp_path).run(slots=2)
    listed = [e for e in again.ledger.events() if isinstance(e, Asked) and e.origin == "list"
              and e.stage is Stage.SEARCH]  # fmt: skip
    assert len({e.run_key for e in listed}) == 1
    assert len(again.by_stage(Stage.SEARCH)) == 7 and again.program.aborted is None


def test_what_is_not_of_the_space_is_refused_whole(world: Path, tmp_path: Path) -> None:
    sweep = Steerable(world, tmp_path)
    wrong = {**TRIAL, "learning_rate": 10.0}
    configs = (Listed(model="m0", params=TRIAL), Listed(model="m1", params=wrong))
    sweep.plan = {3: lambda s: send(tmp_path, "add", configs=configs)}
    sweep.run()
    assert "learning_rate" in sweep.answers()[0]
    assert len(sweep.by_stage(Stage.SEARCH)) == 6


def test_stop_ends_the_driver_and_the_next_one_continues(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    sweep = Steerable(world, tmp_path)
    sweep.plan = {5: lambda s: send(tmp_path, "stop")}
    sweep.run(steps=6)
    assert sweep.stopping and "@" in str(sweep.program.reins.stopped_by)
    again = Steerable(world, tmp_path).run()
    assert not again.stopping, "a command is carried out once"
    assert comparable(again.evidence()) == comparable(undisturbed.evidence())


# -- failed trials that are asked for again --------------------------------------------------------


def failing(keys: set[str]) -> Callable[[Job, int], FailureCause | None]:
    return lambda job, attempt: FailureCause.NAN if job.run_key in keys else None


def test_failed_trials_are_asked_again_on_request(world: Path, tmp_path: Path) -> None:
    """It is of the first generation: the sampler has drawn the second one on its failure."""
    first = next(r.run_key for r in Sweep(world, tmp_path / "w").run().by_stage(Stage.SEARCH))
    failed = Sweep(world, tmp_path / "failed", fail=failing({first})).run()
    in_second = killed_after(
        failed, tmp_path / "killed", lambda e: isinstance(e, Asked) and e.generation == 1
    )
    folder = Path(shutil.copytree(in_second, tmp_path / "again"))
    plain = Sweep(world, in_second).run()
    assert plain.state.runs[first].status is TrialStatus.FAILED, "not without being asked"
    again = Sweep(world, folder, retry_failed=True).run()
    retried = [e for e in again.ledger.events() if isinstance(e, Retried)]
    assert [(e.run_key, e.told) for e in retried] == [(first, True)]
    run = again.state.runs[first]
    assert run.status in (TrialStatus.COMPLETED, TrialStatus.PRUNED)
    trial = again.search.studies[run.asked.model].get_trials()[run.asked.number or 0]
    assert trial.state.name == "FAIL", "what the sampler has drawn on stays told"
    assert again.program.aborted is None and again.stages[-1] is Stage.TEST


def test_a_sweep_stopped_by_its_failures_goes_on_when_they_pass(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    broken = Sweep(
        world,
        tmp_path,
        fail=lambda job, attempt: FailureCause.OUT_OF_MEMORY if job.purpose == "search" else None,
    ).run()
    assert "max_failure_rate" in str(broken.program.aborted)
    same = Sweep(world, tmp_path).run()
    assert "max_failure_rate" in str(same.program.aborted)
    again = Sweep(world, tmp_path, retry_failed=True).run()
    assert again.program.aborted is None
    assert comparable(again.evidence()) == comparable(undisturbed.evidence())


def test_finished_stages_are_not_opened_again(world: Path, tmp_path: Path) -> None:
    done = Sweep(world, tmp_path).run()
    events = done.ledger.events()
    assert to_note(events, replay(events).runs, retry_failed=True) == []
