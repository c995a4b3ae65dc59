"""The stages of a sweep, one after the other; each gives the jobs of the next.

::

    base jobs ─► search draws ─► (all told) ─► finalists × seeds ─► (all ended) ─► test ─► decided

The base and the first generation run side by side; every other arrow waits. An adaptive
confirmation goes round its looks before the test (`stages.looks`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from keepgain.core.record import LookRecord
from keepgain.core.status import Stage
from keepgain.sweeps.job import Job
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.progress import Progress
from keepgain.sweeps.results import Results
from keepgain.sweeps.search.ledger import Asked, Look, StageFinished
from keepgain.sweeps.search.objectives import limits_of
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.served import SCORES_OF, form_of
from keepgain.sweeps.stages.confirm import finalists
from keepgain.sweeps.stages.looks import describe_look, look_jobs, make_look
from keepgain.sweeps.stages.test import served_jobs, test_jobs
from keepgain.sweeps.stages.trials import confirm_jobs


@dataclass
class Course:
    """Where a sweep stands."""

    prepared: Prepared
    folder: Path
    runs: Mapping[str, RunState]
    results: Results
    progress: Progress
    finished: set[Stage]
    """Stages that the ledger has as finished."""
    append: Callable[[StageFinished | Look], None]
    on_test: Callable[[list[str]], None]
    """Called once, before the test items are opened, with the candidates' run keys."""
    on_stage: Callable[[Stage], object]
    """Called once at each transition but the last, with the stage that has finished."""

    looks: tuple[LookRecord, ...] = ()
    """Of the confirmation, that the ledger has."""
    last: Literal[Stage.SEARCH, Stage.TEST] = Stage.TEST
    """The sweep is over after it."""
    stage: Stage = Stage.BASE
    """The one that runs now; DECIDED after the last."""
    stuck: str | None = field(default=None, init=False)
    """Why there is no next stage."""
    note: str = field(default="", init=False)
    """Why the search ended before all its draws were made."""
    _finalists: list[Asked] = field(default_factory=list, init=False)
    _looked: int = field(default=0, init=False)

    def begin_search(self) -> None:
        """Side by side with the base jobs that still run."""
        if self.stage is Stage.BASE:
            self.stage = Stage.SEARCH

    def advance(self) -> list[Job]:
        """Ends the stage that runs now; the jobs of the next one.

        Returns:
            [] for a stage that has none, or if the sweep is `stuck`.
        """
        if self.stage is Stage.SEARCH:
            if self.last is Stage.SEARCH:
                self._finish(Stage.BASE, Stage.SEARCH)
                self.stage = Stage.DECIDED
                return []
            jobs = self._confirmation()
            if self.stuck is not None:
                return []  # the search stays open, so that its failed trials can be tried again
            self._finish(Stage.BASE, Stage.SEARCH)
            return self._begin(Stage.CONFIRM, jobs)
        if self.stage is Stage.CONFIRM:
            if more := self._look():
                return more
            self._finish(Stage.CONFIRM)
            jobs = test_jobs(self.prepared, self.folder, self.runs.values())
            self.on_test([str(j.asked.params[SCORES_OF]) for j in jobs])
            jobs += served_jobs(self.prepared, self.folder, self.runs.values())
            return self._begin(Stage.TEST, jobs)
        self.stuck = self.results.why_undecided()
        if self.stuck is None:
            self._warn_of_untested()
            self._finish(Stage.TEST)
            self.stage = Stage.DECIDED
        return []

    def _begin(self, stage: Stage, jobs: list[Job]) -> list[Job]:
        self.stage = stage
        self.progress.expect(stage, len(jobs))
        return jobs

    def _finish(self, *stages: Stage) -> None:
        new = [s for s in stages if s not in self.finished]  # the others: by an earlier driver
        for stage in new:
            self.finished.add(stage)
            self.append(StageFinished(stage=stage, note=self.note if stage is Stage.SEARCH else ""))
        if new and new[-1] is not Stage.TEST:  # the decision saves the record again, at once
            self.on_stage(new[-1])

    def _confirmation(self) -> list[Job]:
        searched = self.results.searched()
        if not searched:
            self.stuck = "no search trial was completed, so there is nothing to confirm"
            return []
        spec = self.prepared.spec
        self._finalists = finalists(
            searched,
            [m.ref.name for m in self.prepared.models],
            spec.confirm.finalists,
            limits_of(spec.question),
        )
        return confirm_jobs(self.prepared, self.folder, self._finalists)

    def _look(self) -> list[Job]:
        """The jobs that the looks from the next one on ask for; [] if they ask for no more."""
        planned = self.prepared.spec.confirm.looks or ()
        while self._looked < len(planned):
            self._looked += 1
            record = next((r for r in self.looks if r.look == self._looked), None)
            if record is None:
                record = make_look(self.prepared, self.folder, self.runs, self._looked)
                self.append(Look(record=record))
                self.progress.say(describe_look(record, len(planned)))
            if not record.more:
                self._looked = len(planned)
            if jobs := look_jobs(self.prepared, self.folder, self.runs, self._finalists, record):
                confirmed = sum(r.asked.stage is Stage.CONFIRM for r in self.runs.values())
                self.progress.expect(Stage.CONFIRM, confirmed + len(jobs))
                return jobs
        return []

    def _warn_of_untested(self) -> None:
        for run in self.results.untested():
            of = run.asked.arm or self.runs[str(run.asked.params[SCORES_OF])].run_key
            form = form_of(run.asked)
            served = f" as served in {form}" if form else ""
            self.progress.say(
                f"warning: {run.asked.model} {of} has no test scores{served} "
                f"({run.cause}: {run.reason})"
            )
