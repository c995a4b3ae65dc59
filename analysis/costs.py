"""What a configuration costs: means over its runs, and what follows from them and from prices."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keepgain.core.metrics import seconds_per_answer
from keepgain.core.record import Question, RunRecord, SweepRecord

if TYPE_CHECKING:  # a configuration's costs are made here, so `table` imports this module
    from keepgain.analysis.table import Configuration

SPEED = "generated_tokens_per_second"
PHASES = ("prefill_tokens_per_second", "decode_tokens_per_second")

Speeds = Mapping[str, Mapping[str, float]]


def costs(
    sweep: SweepRecord, runs: Sequence[RunRecord], who: RunRecord, speeds: Speeds
) -> dict[str, float]:
    """Cost name → mean over the runs that have it; size and price derived where possible.

    `usd_per_million_tokens` and what an answer costs follow the registry's formulas. All trials of
    a base model serve the same network (adapters are merged), and single measurements on a shared
    machine differ by a factor of three, so their speed is the median over all of them; the lengths
    of the answers are a trial's own. A reference arm keeps its own speed: its prompts are longer.

    Args:
        runs: The runs of the configuration that count.
        who: Any run of it, for its model and kind.
        speeds: See `pooled_speeds`.
    """
    found: dict[str, float] = {}
    for name in sorted({n for run in runs for n in run.cost}):
        each = [run.cost[name] for run in runs if name in run.cost]
        found[name] = float(np.mean(each)) if len(each) > 1 else each[0]
    parameters = next((m.parameters for m in sweep.models if m.name == who.model), None)
    if parameters is not None:
        found.setdefault("parameters", float(parameters))
    price, speed = sweep.prices.get("gpu_hour_usd"), found.get(SPEED, 0.0)
    phases = {name: found[name] for name in PHASES if name in found}
    if who.kind != "reference":
        pooled = speeds.get(who.model, {})
        speed = pooled.get(SPEED) or speed
        phases |= {name: pooled[name] for name in phases if name in pooled}
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


def over_budget(who: "Configuration", question: Question) -> str | None:
    """Which limit of `question.max_cost` a configuration breaks; None: none.

    A cost that is not known cannot be shown to be within a limit.
    """
    for name, most in question.max_cost.items():
        cost = who.cost.get(name)
        if cost is None:
            return f"{name} is not known, and may be at most {most:.6g} (max_cost)"
        if cost > most:
            return f"{name} {cost:.6g} is above {most:.6g} (max_cost)"
    return None


def known_dear(who: "Configuration", question: Question) -> bool:
    """Whether one of its costs is known to break a limit; what is not known does not."""
    return any(who.cost.get(name, 0.0) > most for name, most in question.max_cost.items())


def budget_cost(question: Question) -> str:
    """What a budget in dollars limits: the question's cost where that is in dollars (serving), else
    one training of the configuration (`usd`)."""
    return question.cost if question.cost.startswith("usd") else "usd"


def pooled_speeds(sweep: SweepRecord) -> Speeds:
    """Base model → the median of each of its trials' speeds, in tokens/s."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in sweep.runs:
        for name in (SPEED, *PHASES):
            if run.kind == "trial" and name in run.cost:
                found.setdefault(run.model, {}).setdefault(name, []).append(run.cost[name])
    return {
        model: {name: float(np.median(speeds)) for name, speeds in by_name.items()}
        for model, by_name in found.items()
    }
