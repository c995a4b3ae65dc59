"""The Ray Tune scheduler of a program: it carries out what the program says, and decides nothing.

What Tune does, in order (ray 2.60, `tune_controller.py`): every step it asks the searcher for
trials while fewer than `TUNE_MAX_PENDING_TRIALS_PG` are pending, then asks `choose_trial_to_run`
for one trial, which it makes PENDING and gives an actor as soon as one is free, and starts other
pending trials by itself; then it handles one event, such as a result. A trial whose result says
"done" would not be shown to the scheduler, so ours never do.
"""

import json
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from keepgain.core.record import RungReport
from keepgain.sweeps.job import Execution
from keepgain.sweeps.protocol import Program, Verdict
from keepgain.sweeps.trial import EXECUTION_KEY, REPORT_KEY
from keepgain.sweeps.tune_adapter import JobSearcher

_DECISION = {
    Verdict.CONTINUE: TrialScheduler.CONTINUE,
    Verdict.PAUSE: TrialScheduler.PAUSE,
    Verdict.STOP: TrialScheduler.STOP,
}


class RungTrialScheduler(TrialScheduler):
    """Breadth first: trials that have not begun before paused ones.

    Args:
        slots: Trials at a time. Tune itself begins whatever fits on the cluster, so a trial is only
            given to it when a slot is free.
    """

    def __init__(self, program: Program, searcher: JobSearcher, slots: int) -> None:
        super().__init__()
        self._program = program
        self._searcher = searcher
        self._slots = slots
        self._new: dict[str, Any] = {}
        """Run key → trial that has not begun, in the order of asking."""
        self._begun: dict[str, Any] = {}
        """Run key → trial that has begun and not ended."""
        self._woken: dict[str, Any] = {}
        """Of those, the ones that Tune is getting an actor for after a pause."""
        self._paused: set[str] = set()
        """Run keys of those that give their slot free."""
        self._to_stop: list[Any] = []

    @property
    def has_free_slot(self) -> bool:
        """Whether another trial may be given to Tune."""
        return len(self._new) + len(self._begun) - len(self._paused) < self._slots

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._new[trial.config["run_key"]] = trial

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        report = RungReport.model_validate_json(result[REPORT_KEY])
        execution = Execution(**json.loads(result[EXECUTION_KEY]))
        verdict = self._program.on_report(self._searcher.jobs[trial.trial_id], report, execution)
        if verdict is Verdict.PAUSE:
            self._paused.add(trial.config["run_key"])
        return str(_DECISION[verdict])

    def choose_trial_to_run(self, tune_controller: Any) -> Any | None:
        """The trial that gets the next free slot."""
        self._stop_dropped(tune_controller)
        for key in [k for k, t in self._new.items() if t.status != Trial.PENDING]:
            self._begun[key] = self._new.pop(key)
        for key in [k for k, t in self._woken.items() if t.status != Trial.PENDING]:
            del self._woken[key]
        if self._new:
            return next(iter(self._new.values()))
        for key in self._program.awake() if self.has_free_slot else ():
            trial = self._begun.get(key)
            if trial is not None and trial.status == Trial.PAUSED and key not in self._woken:
                self._woken[key] = trial
                self._paused.discard(key)
                return trial
        return next(iter(self._woken.values()), None)

    def _stop_dropped(self, tune_controller: Any) -> None:
        """Ends trials that were stopped while they waited."""
        dropped = (self._begun.get(key) for key in self._program.take_dropped())
        self._to_stop += [t for t in dropped if t is not None]
        if not self._to_stop:
            return
        # One that still writes its checkpoint for Tune is RUNNING: it can be stopped when that
        # has ended. A copy, because stopping calls `on_trial_remove`.
        ready = [t for t in self._to_stop if t.status in (Trial.PAUSED, Trial.PENDING)]
        self._to_stop = [t for t in self._to_stop if t not in ready and not t.is_finished()]
        for trial in ready:
            tune_controller.stop_trial(trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._gone(trial)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._gone(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._gone(trial)

    def _gone(self, trial: Any) -> None:
        """A run whose worker was lost may have another trial by now: compare, do not just pop."""
        key = trial.config["run_key"]
        if trial in (self._new.get(key), self._begun.get(key)):
            self._paused.discard(key)
        for trials in (self._new, self._begun, self._woken):
            if trials.get(key) is trial:
                del trials[key]

    def debug_string(self) -> str:
        return f"{len(self._new)} new, {len(self._begun)} begun"

    # The ledger is the state of a sweep; Tune's snapshots of the scheduler are never read.
    def save(self, checkpoint_path: str) -> None: ...
    def restore(self, checkpoint_path: str) -> None: ...

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler at the start; the program (files, locks) stays here."""
        return {}
