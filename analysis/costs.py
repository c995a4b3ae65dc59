"""What a configuration costs: means over its runs, and what follows from them and from prices."""

from collections.abc import Sequence

import numpy as np

from keepgain.core.metrics import seconds_per_answer
from keepgain.core.record import RunRecord, SweepRecord

SPEED = "generated_tokens_per_second"
PHASES = ("prefill_tokens_per_second", "decode_tokens_per_second")


def costs(sweep: SweepRecord, runs: Sequence[RunRecord], who: RunRecord) -> dict[str, float]:
    """Cost name → mean over the runs that have it; size and price derived where possible.

    `usd_per_million_tokens` and what an answer costs follow the registry's formulas. All trials of
    a base model serve the same network (adapters are merged), and single measurements on a shared
    machine differ by a factor of three, so their speed is the median over all of them; the lengths
    of the answers are a trial's own. A reference arm keeps its own speed: its prompts are longer.

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
    phases = {name: found[name] for name in PHASES if name in found}
    if who.kind != "reference":
        speed = _pooled(sweep, who.model, SPEED) or speed
        pooled = {name: _pooled(sweep, who.model, name) for name in phases}
        phases |= {name: median for name, median in pooled.items() if median is not None}
    if price is not None and speed > 0:
        found.setdefault("usd_per_million_tokens", 1e6 * price / (3600 * speed))
    if price is not None and "gpu_seconds" in found:
        found["usd"] = price / 3600 * found["gpu_seconds"]
    for quantile in ("p50", "p95"):
        seconds = seconds_per_answer(found | phases, quantile)
        if seconds is not None:
            found[f"seconds_per_answer_{quantile}"] = seconds
            if price is not None:
                found[f"usd_per_answer_{quantile}"] = price / 3600 * seconds
    return found


def _pooled(sweep: SweepRecord, model: str, speed: str) -> float | None:
    """Median of a speed over the trials of a base model, in tokens/s; None without any."""
    speeds = [
        run.cost[speed]
        for run in sweep.runs
        if run.kind == "trial" and run.model == model and speed in run.cost
    ]
    return float(np.median(speeds)) if speeds else None
