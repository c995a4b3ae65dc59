"""A plan as text for people."""

from keepgain.core.units import human_bytes, human_count, human_seconds, human_usd
from keepgain.sweeps.plan.plan import Plan
from keepgain.sweeps.plan.speed import human_flops
from keepgain.sweeps.plan.trial import MethodPlan, ModelPlan

Row = tuple[str, ...]

_RANKS = "(ZeRO without the worker process itself. This version runs one rank a trial.)"


def render_plan(plan: Plan) -> str:
    """Trials, memory, stages and sums; every estimate says what it rests on."""
    lines = [f"sweep {plan.sweep}", "", "One trial, at the largest settings of the space:"]
    lines += _table(
        ("model", "parameters", "method", "trained", "tokens", "FLOPs", "training", "one scoring"),
        [_trial(m, p) for m in plan.models for p in m.methods],
    )
    lines += ["", f"Memory of one trial in {plan.dtype}: with this spec, and of each rank by ZeRO:"]
    lines += _memory(plan)
    lines += ["", "Speed of training:"]
    for model in plan.models:
        for p in model.methods:
            speed = human_flops(p.speed.flops_per_second)
            lines.append(f"  {model.model} {p.method}: {speed} ({p.speed.basis})")
    lines += ["", "All trials; where early stopping or looks leave it open, from least to most:"]
    lines += _table(
        ("stage", "runs", "trained on", "expected", "scored", "busy", "time"),
        [_stage(plan, i) for i in range(len(plan.stages))] + [_stage(plan, None)],
    )
    lines += ["", f"slots   {plan.slots} trials at a time ({plan.slots_reason})"]
    low, high = human_seconds(plan.least.seconds), human_seconds(plan.most.seconds)
    spread = "" if low == high else f" ({low} to {high})"
    lines.append(f"time    about {human_seconds(plan.expected.seconds)}{spread}, with Ray's start")
    lines.append(f"money   {_money(plan)}")
    lines += [f"filter  {text}" for text in plan.filters]
    lines += plan.limits
    if plan.memory_available_bytes is not None:
        kind = "a GPU" if plan.gpus_per_trial else "this machine"
        lines.append(f"memory  {human_bytes(plan.memory_available_bytes)} on {kind}")
    parts = "; ".join(
        f"{p.what} {p.arithmetic}" + (f" at {p.place}" if p.place else "") for p in plan.disk
    )
    lines.append(
        f"disk    at most {human_bytes(plan.disk_bytes)} ({parts}); "
        f"{human_bytes(plan.disk_free_bytes)} are free"
    )
    lines.append("Runs and tokens are counted; FLOPs, memory, time and money are estimates.")
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def _trial(model: ModelPlan, p: MethodPlan) -> Row:
    return (
        model.model,
        human_count(model.parameters),
        p.method,
        human_count(p.trainable_parameters),
        human_count(model.tokens_per_trial),
        human_count(p.flops),
        human_seconds(p.train_seconds),
        human_seconds(p.speed.score_seconds),
    )


def _memory(plan: Plan) -> list[str]:
    """One line a model, method and number of ranks."""
    rows: list[Row] = []
    for model in plan.models:
        for p in model.methods:
            own = human_bytes(p.memory_bytes)
            worlds = {s.world_size for s in p.memory_by_stage}
            for world in sorted({min(worlds), max(worlds)} if worlds else ()):
                by_stage = {s.zero_stage: s for s in p.memory_by_stage if s.world_size == world}
                figures = (human_bytes(by_stage[stage].memory_bytes) for stage in range(4))
                rows.append((model.model, p.method, own, str(world), *figures))
                own = ""
            if own:
                rows.append((model.model, p.method, own))
    header = ("model", "method", "as it is", "ranks", "ZeRO 0", "ZeRO 1", "ZeRO 2", "ZeRO 3")
    return [*_table(header, rows), _RANKS]


def _stage(plan: Plan, index: int | None) -> Row:
    """One stage; None: all of them."""
    source = plan if index is None else plan.stages[index]
    least, expected, most = source.least, source.expected, source.most
    return (
        "all" if index is None else str(plan.stages[index].stage),
        _span(str(least.runs), str(most.runs)),
        _span(human_count(least.training_tokens), human_count(most.training_tokens)),
        human_count(expected.training_tokens),
        _span(human_count(least.scored_tokens), human_count(most.scored_tokens)),
        human_seconds(expected.busy_seconds),
        human_seconds(expected.seconds),
    )


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _table(header: Row, rows: list[Row]) -> list[str]:
    """Columns two blanks apart: names to the left, figures to the right."""
    widths = [max(len(r[i]) for r in [header, *rows] if i < len(r)) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _money(plan: Plan) -> str:
    if not plan.gpus_per_trial:
        return f"no GPU is used; {plan.cpu_hours:.3g} CPU-hours"
    hours = f"{plan.gpu_hours:.3g} GPU-hours"
    if plan.usd is None:
        return f"{hours}; no price in the spec (`prices: {{gpu_hour_usd: ...}}`)"
    guessed = any(p.speed.source == "guess" for m in plan.models for p in m.methods)
    return f"about {human_usd(plan.usd)} for {hours}" + (", by a guessed speed" if guessed else "")
