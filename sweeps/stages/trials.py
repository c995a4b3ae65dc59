"""Training jobs: a configuration with a seed, for the search or for confirmation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keepgain.core.config import run_key
from keepgain.core.status import Stage
from keepgain.core.work import TrainRequest
from keepgain.sweeps.job import Job
from keepgain.sweeps.kept_files import checkpoint_base
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.stratum import Draw
from keepgain.sweeps.stages.confirm import fresh_seeds, search_seed


def search_job(prepared: Prepared, folder: Path, draw: Draw) -> Job:
    """The job of one draw."""
    config = prepared.trial_config(draw.model, draw.params)
    seed = search_seed(prepared.spec.training.seed, config.trial_id)
    asked = Asked(
        run_key=run_key(config.trial_id, seed),
        trial_id=config.trial_id,
        seed=seed,
        stage=Stage.SEARCH,
        kind="trial",
        model=draw.model,
        number=draw.number,
        generation=draw.generation,
        index=draw.index,
        origin=draw.origin,
        raw=draw.raw,
        params=draw.params,
        config=config.model_dump(mode="json"),
    )
    label = f"{draw.model} #{draw.number} {describe(draw.params)}"
    request = TrainRequest(
        config=config,
        seed=seed,
        rung=0,
        sweep_folder=str(folder),
        checkpoints=checkpoint_base(prepared),
        interpolate=prepared.spec.training.interpolate,
    )
    return Job("search", label, asked, request)


def draw_of(asked: Asked) -> Draw:
    """The draw that a search run was asked for."""
    assert asked.number is not None and asked.generation is not None and asked.index is not None
    assert asked.origin is not None, "search runs have one"
    return Draw(
        model=asked.model,
        number=asked.number,
        generation=asked.generation,
        index=asked.index,
        origin=asked.origin,
        raw=asked.raw,
        params=asked.params,
    )


def confirm_jobs(
    prepared: Prepared,
    folder: Path,
    searched: list[Asked],
    seeds: Mapping[str, int] | None = None,
) -> list[Job]:
    """Each finalist with fresh seeds: first all of seed 1, then of seed 2, so that a confirmation
    cut short is balanced.

    Args:
        seeds: Trial id → number of seeds; None: as many as the spec asks for at first.
    """
    if seeds is None:
        seeds = {a.trial_id: prepared.spec.confirm.first for a in searched}
    return [
        _replicate(prepared, folder, asked, k)
        for k in range(max(seeds.values(), default=0))
        for asked in searched
        if k < seeds[asked.trial_id]
    ]


def _replicate(prepared: Prepared, folder: Path, searched: Asked, k: int) -> Job:
    # Not the recorded one: its paths and runtime are those of the driver that searched.
    config = prepared.trial_config(searched.model, searched.params)
    assert config.trial_id == searched.trial_id, "the sweep's id says that the spec is the same"
    seeds = fresh_seeds(prepared.spec.training.seed, config.trial_id, k + 1)
    asked = searched.model_copy(
        update={
            "run_key": run_key(config.trial_id, seeds[k]),
            "seed": seeds[k],
            "stage": Stage.CONFIRM,
            "number": None,
            "generation": None,
            "index": None,
            "config": config.model_dump(mode="json"),
        }
    )
    request = TrainRequest(
        config=config,
        seed=seeds[k],
        rung=0,
        sweep_folder=str(folder),
        checkpoints=checkpoint_base(prepared),
        keep_model=True,
    )
    label = f"{searched.model} {describe(searched.params)} seed {k + 1}"
    return Job("confirm", label, asked, request)


def describe(params: dict[str, Any]) -> str:
    """A few settings on one line: `lora rank 8, learning_rate 0.001, general 0.2`."""
    parts: list[str] = []
    for name, value in params.items():
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        short = name.removeprefix("mixture.").removeprefix("lora.")
        parts.append(shown if name == "method" else f"{short} {shown}")
    return ", ".join(parts)
