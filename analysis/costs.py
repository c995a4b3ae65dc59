"""What a configuration costs: means over its runs, and what follows from them and from prices."""

from collections.abc import Sequence

import numpy as np

from keepgain.core.record import RunRecord, SweepRecord

SPEED = "generated_tokens_per_second"


def costs(sweep: SweepRecord, runs: Sequence[RunRecord], who: RunRecord) -> dict[str, float]:
    """Cost name → mean over the runs that have it; size and price derived where possible.

    `usd_per_million_tokens` follows the registry's formula. All trials of a base model serve the
    same network (adapters are merged), and single measurements on a shared machine differ by a
    factor of three, so their speed is the median over all of them. A reference arm keeps its own:
    its prompts are longer.

    Args:
        runs: The runs of the configuration that count.
        who: Any run of it, for its model and kind.
    """
    found: dict[str, float] = {}
    for name in sorted({n for run in runs for n in run.cost}):
        found[name] = float(np.mean([run.cost[name] for run in runs if name in run.cost]))
    parameters = next((m.parameters for m in sweep.models if m.name == who.model), None)
    if parameters is not None:
        found.setdefault("parameters", float(parameters))
    price, speed = sweep.prices.get("gpu_hour_usd"), found.get(SPEED, 0.0)
    if who.kind != "reference":
        speed = _pooled_speed(sweep, who.model) or speed
    if price is not None and speed > 0:
        found.setdefault("usd_per_million_tokens", 1e6 * price / (3600 * speed))
    return found


def _pooled_speed(sweep: SweepRecord, model: str) -> float | None:
    """Median generation speed over the trials of a base model, in tokens/s; None without any."""
    speeds = [
        run.cost[SPEED]
        for run in sweep.runs
        if run.kind == "trial" and run.model == model and SPEED in run.cost
    ]
    return float(np.median(speeds)) if speeds else None
