"""`sweep plan --calibrate`: trains a few steps of each base model and method, as a trial would.

The worker is the real one, the configuration the largest that the space allows (so that a trial
that does not fit fails here), on a share of each suite's items. Nothing is recorded in MLflow. One
trial runs at a time, so what trials cost each other side by side is not measured.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from keepgain.cluster.ranks import Ranks
from keepgain.core.config import SuiteRef, TrialConfig
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.identity import file_digest
from keepgain.core.launch import ResourceRequest
from keepgain.core.record import RungReport
from keepgain.core.rows import write_rows
from keepgain.core.units import human_count
from keepgain.core.work import TrainRequest
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.lone_worker import lone_worker, trained
from keepgain.sweeps.methods import methods_of
from keepgain.sweeps.plan.measured import Measured, suites_label
from keepgain.sweeps.plan.speed import Hardware
from keepgain.sweeps.plan.trial import largest_config
from keepgain.sweeps.prepare import Prepared, store

STEPS = (2, 6, 22, 86, 342)
"""Optimizer steps after which the time is looked at; the first two are warm-up and do not count."""
ENOUGH_SECONDS = 3.0
"""Of training: a shorter measurement goes on to the next of `STEPS`."""
ITEMS = 256
"""Scored, over all suites in proportion."""
LEAST_ITEMS = 8
"""Of a suite."""
LONGEST_SECONDS = 600.0
"""Of one answer of the worker, its start included."""


def calibrate(prepared: Prepared, hardware: Hardware, say: Callable[[str], None]) -> list[Measured]:
    """Measures every base model by every method, one after the other.

    Raises:
        UserError: A worker failed, e.g. for memory; the message says by what.
    """
    if prepared.trainer is not None:
        raise UserError(
            "the sweep has a trainer of its own, whose speed is not measured.",
            where="--calibrate",
            hint="Leave it out; the plan's times are then of Keepgain's own trainer.",
        )
    space, found = spec_space(prepared.loaded), []
    with tempfile.TemporaryDirectory(prefix="keepgain-calibrate-") as name:
        folder = Path(name)
        stored = store(prepared, folder)
        suites = _sampled(stored, folder)
        for model in stored.models:
            for method in methods_of(stored.spec, space):
                say(f"calibrating {model.ref.name} by {method}")
                config = _short(largest_config(stored, space, model.ref.name, method), suites)
                resources = ResourceRequest(cpus=hardware.cpus, gpus=hardware.gpus)
                ranks = config.runtime.world_size
                with lone_worker(resources, ranks, folder / "worker.log") as worker:
                    measured = _measure(worker, config, folder, model.parameters)
                say(f"  {human_count(measured.flops_per_second)} FLOP/s")
                found.append(measured)
    return found


def _measure(worker: Ranks, config: TrialConfig, folder: Path, parameters: int) -> Measured:
    warm = _rung(worker, config, folder, 0)
    for rung in range(1, len(STEPS)):
        report = _rung(worker, config, folder, rung)
        trained = report.cost["train_seconds"] - warm.cost["train_seconds"]
        if trained >= ENOUGH_SECONDS:
            break
    score = report.cost["score_seconds"]
    items = sum(s.items for s in config.suites)
    return Measured(
        source="calibration",
        hardware=report.hardware,
        digest=config.model.digest,
        parameters=parameters,
        method=config.method,
        flops_per_second=(report.cost["train_flops"] - warm.cost["train_flops"]) / trained,
        score_seconds_per_item=score / items,
        suites=suites_label((s.name, s.scorer) for s in config.suites),
    )


def _rung(worker: Ranks, config: TrialConfig, folder: Path, rung: int) -> RungReport:
    """Trains to a rung.

    Raises:
        UserError: The worker failed or was lost.
    """
    request = TrainRequest(
        config=config, seed=0, rung=rung, sweep_folder=str(folder), keep_checkpoint=False
    )
    try:
        return trained(worker, request, LONGEST_SECONDS)
    except TrialFailure as failure:
        raise _failed(config, str(failure)) from None


def _failed(config: TrialConfig, why: str) -> UserError:
    return UserError(
        f"{config.model.name} by {config.method} could not be calibrated ({why}).",
        where="--calibrate",
        hint="A trial of this sweep would fail alike: lower training.micro_batch_size, batch_size "
        "or max_length, or leave this model or method out.",
    )


def _short(config: TrialConfig, suites: tuple[SuiteRef, ...]) -> TrialConfig:
    """The same trial, a few steps long."""
    rungs = tuple(n * config.batch_size for n in STEPS)
    update = {"budget": rungs[-1], "budget_unit": "examples", "rungs": rungs, "suites": suites}
    return config.model_copy(update=update)


def _sampled(prepared: Prepared, folder: Path) -> tuple[SuiteRef, ...]:
    """The first items of each suite, in proportion to their number."""
    refs = prepared.score_suites("validation")
    share = min(1.0, ITEMS / sum(ref.items for ref in refs))
    sampled = []
    for ref in refs:
        count = min(ref.items, max(LEAST_ITEMS, round(share * ref.items)))
        path = folder / f"calibrate-{ref.name}.jsonl"
        write_rows(path, prepared.suites[ref.name].items("validation").rows[:count])
        update = {"path": str(path), "digest": file_digest(path), "items": count}
        sampled.append(ref.model_copy(update=update))
    return tuple(sampled)
