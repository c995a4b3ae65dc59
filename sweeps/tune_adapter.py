"""The thin classes that Ray Tune calls; each only passes on to the program."""

import logging
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.progress_reporter import ProgressReporter
from ray.tune.search import Searcher

from keepgain.core.errors import TrialFailure
from keepgain.core.status import FailureCause
from keepgain.sweeps.job import Job
from keepgain.sweeps.protocol import Program
from keepgain.sweeps.trial import REQUEST_KEY

log = logging.getLogger(__name__)


class JobSearcher(Searcher):
    """Tune's searcher: hands out the program's jobs. Reports go through `RungTrialScheduler`."""

    def __init__(
        self,
        program: Program,
        entry_point: str,
        env: dict[str, str],
        hang_seconds: float | None = None,
    ) -> None:
        super().__init__()
        self._program = program
        self._worker = {"entry_point": entry_point, "env": env, "hang_seconds": hang_seconds}
        self.jobs: dict[str, Job] = {}
        """Tune trial id → job."""
        self.has_free_slot: Callable[[], bool] = lambda: True
        """Set by whoever knows the slots: no job is handed out while it says no."""
        self.is_interrupted: Callable[[], bool] = lambda: False
        """Set by whoever hears signals: nothing is handed out any more when it says yes."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial; None: later; FINISHED: never.

        Where no trial is left that runs or waits, Tune asks once a second for up to ten minutes and
        does nothing else: commands and signals must be seen from here too.
        """
        if self._is_over():
            return Searcher.FINISHED
        if not self.has_free_slot():
            return None
        job = self._program.next_job()
        if job is None:
            self._program.on_tick()
            return Searcher.FINISHED if self._is_over() else None
        self.jobs[trial_id] = job
        return {
            "run_key": job.run_key,
            REQUEST_KEY: job.request.model_dump_json(),
            **self._worker,
        }

    def _is_over(self) -> bool:
        return self._program.finished or self.is_interrupted()

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: see `ProgramCallback`, which has the exception too."""

    # The ledger is the state of a sweep; Tune's snapshots of the searcher are never read.
    def save(self, checkpoint_path: str) -> None: ...
    def restore(self, checkpoint_path: str) -> None: ...
    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None: ...
    def get_state(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher at the start; the program (files, locks) stays here."""
        return {}


class ProgramCallback(Callback):
    """Tells the program of starts and failures, in the driver's main thread.

    Args:
        also: Called at every step of Tune's, some times a second.
    """

    def __init__(
        self, program: Program, searcher: JobSearcher, also: Callable[[], None] = lambda: None
    ) -> None:
        self._program = program
        self._searcher = searcher
        self._also = also

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._also()
        self._program.on_tick()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._program.on_started(self._searcher.jobs[trial.trial_id])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self._searcher.is_interrupted():
            return  # who signals a whole group ends the workers too: no failure of theirs
        cause, detail = _failure(_error_of(trial))
        self._program.on_failed(self._searcher.jobs[trial.trial_id], cause, detail)

    def get_state(self) -> dict[str, Any] | None:
        return None

    def __getstate__(self) -> dict[str, Any]:
        """As `JobSearcher.__getstate__`."""
        return {}


class SilentReporter(ProgressReporter):
    """Tune prints nothing: `sweep run` has its own progress."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None: ...


def _error_of(trial: Any) -> Exception | None:
    """The exception as this process itself pickled it a moment ago (`trial.get_error` looks in
    the storage path, which is written later, and gives text only).

    Ray's folder for temporary files may let everybody write, and unpickling runs what is in a file:
    so only one is read that belongs to this user, and that nobody else could have changed.
    """
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    descriptor = os.open(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as handle:
        about = os.fstat(descriptor)
        if about.st_uid != os.geteuid() or about.st_mode & stat.S_IWOTH:
            log.warning("%s is not ours and was not read", path)
            return None
        error: Exception = pickle.load(handle)
    return error


def _failure(error: Exception | None) -> tuple[FailureCause, str]:
    """The cause that the trial named; a lost actor has named none."""
    cause = getattr(error, "cause", error)
    while cause is not None and not isinstance(cause, TrialFailure):
        cause = getattr(cause, "cause", None) or cause.__cause__
    if isinstance(cause, TrialFailure):
        return FailureCause(cause.cause), cause.detail
    text = str(error).strip().splitlines()
    if error is not None and "Actor" in type(error).__name__:
        return FailureCause.WORKER_LOST, text[0] if text else type(error).__name__
    return FailureCause.EXCEPTION, text[-1] if text else "no error was left by the trial"
