"""Runs a program's jobs as Ray Tune trials, until it has none left.

The program decides (which job next, what a result means); Tune runs. Tune's own searcher and
experiment state is not used to continue a sweep: it omits too much (docs/DECISIONS.md). A
continued sweep rebuilds its program from the ledger and starts a fresh Tuner.
"""

import logging
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any, Self

from keepgain.core.launch import ResourceRequest
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
    resources: ResourceRequest,
    slots: int,
    env: dict[str, str],
    entry_point: str = TRAINING_WORKER,
) -> bool:
    """Runs jobs until the program has finished.

    Args:
        folder: The sweep's folder; Tune's files go to `ray/` below it.
        resources: Of one trial.
        slots: Trials at a time. `max_concurrent_trials` is not used: it hangs with paused trials.
        env: Environment of the training workers.
        entry_point: Module that the workers run.

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
    from keepgain.sweeps.tune_scheduler import RungTrialScheduler

    interruption = _Interruption()
    searcher = JobSearcher(program, entry_point, env)
    scheduler = RungTrialScheduler(program, searcher, slots)
    searcher.has_free_slot = lambda: scheduler.has_free_slot
    searcher.is_interrupted = lambda: interruption.seen
    tuner = tune.Tuner(
        tune.with_resources(SweepTrial, {"cpu": resources.cpus, "gpu": resources.gpus}),
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
            callbacks=[ProgramCallback(program, searcher, interruption.pass_on)],
            progress_reporter=SilentReporter(),
            failure_config=tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
    _log_tune_to(folder / "logs")
    with interruption:
        tuner.fit()
    return not interruption.seen


def _log_tune_to(logs: Path) -> None:
    """Tune's log lines go to a file: `sweep run` tells people what they mean."""
    logs.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("ray.tune")
    logger.handlers = [logging.FileHandler(logs / "tune.log")]
    logger.propagate = False


def _trial_name(trial: Any) -> str:
    """Run key and Tune's id: short, and the same run may be tried again."""
    return f"{trial.config['run_key']}-{trial.trial_id[:8]}"


class _Interruption:
    """Sends SIGINT and SIGTERM down Tune's orderly path, its handler of SIGUSR1, once.

    Tune installs that handler some time after `fit` has begun. A signal that comes earlier is
    kept until then: by itself SIGUSR1 would end the process without any clean-up.
    """

    def __init__(self) -> None:
        self.seen = False
        self._early = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Tune installs its SIGINT handler unless told not to; ours must stay in place.
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
        handlers = {
            signal.SIGUSR1: self._too_early,  # first: the others send it
            signal.SIGINT: self._forward,
            signal.SIGTERM: self._forward,
        }
        self._old = {number: signal.signal(number, h) for number, h in handlers.items()}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in reversed(self._old.items()):
            signal.signal(number, handler)

    def pass_on(self) -> None:
        """Called while Tune runs: its handler is there by now."""
        if self._early:
            self._early = False
            os.kill(os.getpid(), signal.SIGUSR1)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if not self.seen:
            self.seen = True
            os.kill(os.getpid(), signal.SIGUSR1)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C: leave now, the next run continues

    def _too_early(self, _number: int, _frame: FrameType | None) -> None:
        self.seen = self._early = True
