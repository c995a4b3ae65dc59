"""Runs a program's jobs as Ray Tune trials, until it has none left.

The program decides (which job next, what a result means); Tune runs. Tune's own searcher and
experiment state is not used to continue a sweep: it omits too much (docs/DECISIONS.md). A
continued sweep rebuilds its program from the ledger and starts a fresh Tuner.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

from keepgain.core.launch import Footprint
from keepgain.core.redaction import RedactingFormatter
from keepgain.sweeps.protocol import Program

TRAINING_WORKER = "keepgain.trainers.worker"
"""Entry point of a trial's worker: named, never imported, so that the driver needs no torch."""

SECONDS_TO_STOP = 5
"""After an interruption, a trial in the middle of a step is killed when this has passed."""


def run_program(
    program: Program,
    *,
    sweep_id: str,
    folder: Path,
    footprint: Footprint,
    slots: int,
    env: dict[str, str],
    entry_point: str = TRAINING_WORKER,
    hang_seconds: float | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> bool:
    """Runs jobs until the program has finished, or a signal says that it must end.

    After a signal Tune is left where it is: its own way out waits for running steps, longer than
    the three seconds that `ray job stop` gives. Whoever called ends the trials by leaving Ray.

    Args:
        folder: The sweep's folder; Tune's files go to `ray/` below it.
        footprint: Of one trial: its own placement group, which Tune makes and removes.
        slots: Trials at a time. `max_concurrent_trials` is not used: it hangs with paused trials.
        env: Environment of the training workers.
        entry_point: Module that the workers run.
        hang_seconds: See `LaunchSpec`.
        say: Told when nothing can run any more.

    Returns:
        False if the run was interrupted (SIGINT, SIGTERM or SIGUSR1).
    """
    os.environ.update(
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
        TUNE_MAX_PENDING_TRIALS_PG=str(slots),
        TUNE_FORCE_TRIAL_CLEANUP_S=str(SECONDS_TO_STOP),
        TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S="0",
        RAY_AIR_NEW_OUTPUT="0",
    )
    from ray import tune

    from keepgain.sweeps.trial import SweepTrial
    from keepgain.sweeps.tune_adapter import JobSearcher, ProgramCallback, SilentReporter
    from keepgain.sweeps.tune_groups import settled_groups
    from keepgain.sweeps.tune_scheduler import RungTrialScheduler
    from keepgain.sweeps.waiting import WaitingNotice

    interruption = _Interruption()
    searcher = JobSearcher(program, entry_point, env, hang_seconds)
    scheduler = RungTrialScheduler(program, searcher, slots)
    searcher.has_free_slot = lambda: scheduler.has_free_slot
    searcher.is_interrupted = lambda: interruption.seen
    tuner = tune.Tuner(
        tune.with_resources(SweepTrial, placement_group(footprint)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=sweep_id,
            storage_path=str(folder / "ray"),
            callbacks=[
                ProgramCallback(program, searcher, interruption.look),
                WaitingNotice(footprint, say),
            ],
            progress_reporter=SilentReporter(),
            failure_config=tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
    _log_tune_to(folder / "logs")
    with interruption, contextlib.suppress(_Halt), settled_groups():
        tuner.fit()
    return not interruption.seen


def placement_group(footprint: Footprint) -> Any:
    """What Tune makes for each trial, whose own actor is in the first bundle."""
    from ray import tune

    bundle = {"CPU": footprint.bundle.cpus, "GPU": footprint.bundle.gpus}
    own = {"bundle_label_selector": [footprint.labels] * footprint.bundles}
    return tune.PlacementGroupFactory(
        [bundle] * footprint.bundles,
        strategy=footprint.placement.upper(),
        **(own if footprint.labels else {}),
    )


class _QuietFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Nothing: on a full disk the ledger says so, in one line instead of a trace for each."""


def _log_tune_to(logs: Path) -> None:
    """Tune's log lines go to a file: `sweep run` tells people what they mean."""
    logs.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("ray.tune")
    handler = _QuietFile(logs / "tune.log")
    handler.setFormatter(RedactingFormatter())
    logger.handlers = [handler]
    logger.propagate = False


def _trial_name(trial: Any) -> str:
    """Run key and Tune's id: short, and the same run may be tried again."""
    return f"{trial.config['run_key']}-{trial.trial_id[:8]}"


class _Halt(BaseException):
    """Leads out of Tune, which handles every `Exception` itself."""


class _Interruption:
    """Keeps SIGINT and SIGTERM until Tune is between two steps, where nothing is half done.

    Tune takes SIGUSR1 for itself some time after `fit` has begun; one that comes earlier would end
    the process without any clean-up, and is kept in the same way.
    """

    def __init__(self) -> None:
        self.seen = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Tune installs its SIGINT handler unless told not to; ours must stay in place.
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
        for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self._keep)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def look(self) -> None:
        """Called at the end of each of Tune's steps.

        Raises:
            _Halt: There was a signal.
        """
        if self.seen:
            raise _Halt

    def _keep(self, number: int, _frame: FrameType | None) -> None:
        if self.seen and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C: leave now, the next run continues
        self.seen = True
