"""A plan as text for people."""

from keepgain.core.units import human_bytes, human_count, human_seconds, human_usd
from keepgain.sweeps.plan import Plan


def render_plan(plan: Plan) -> str:
    """Models, stages and sums; every estimate says what it rests on."""
    lines = [f"sweep {plan.sweep}", ""]
    lines.append(
        f"{'model':<20} {'parameters':>10} {'method':>7} {'trained':>8} {'memory':>9}"
        f" {'tokens':>8} {'FLOPs':>8}"
    )
    for model in plan.models:
        for method in model.methods:
            lines.append(
                f"{model.model:<20} {human_count(model.parameters):>10} {method.method:>7}"
                f" {human_count(method.trainable_parameters):>8}"
                f" {human_bytes(method.memory_bytes):>9}"
                f" {human_count(model.tokens_per_trial):>8} {human_count(method.flops):>8}"
            )
    lines += [
        "",
        f"{'stage':<10} {'runs':>5} {'trained on':>11} {'scored':>9} {'FLOPs':>8} {'time':>12}",
    ]
    for stage in plan.stages:
        lines.append(
            f"{stage.stage:<10} {stage.runs:>5} {human_count(stage.training_tokens):>11}"
            f" {human_count(stage.scored_tokens):>9} {human_count(stage.flops):>8}"
            f" {human_seconds(stage.seconds):>12}"
        )
    lines += ["", f"slots   {plan.slots} trials at a time ({plan.slots_reason})"]
    lines.append(
        f"time    about {human_seconds(plan.seconds)} with the start of Ray, by "
        f"{plan.throughput_flops / 1e9:g} GFLOP/s a trial ({plan.throughput_basis})"
    )
    lines.append(f"money   {_money(plan)}")
    if plan.memory_available_bytes is not None:
        kind = "a GPU" if plan.gpus_per_trial else "this machine"
        lines.append(
            f"memory  {human_bytes(plan.memory_available_bytes)} on {kind}; a worker process needs"
            " some beside the figures above"
        )
    lines.append(
        f"disk    at most {human_bytes(plan.disk_bytes)};"
        f" {human_bytes(plan.disk_free_bytes)} are free"
    )
    lines.append("Counts are upper limits; FLOPs, memory, time and money are estimates.")
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def _money(plan: Plan) -> str:
    if not plan.gpus_per_trial:
        return "no GPU is used"
    hours = f"{plan.gpu_hours:.3g} GPU-hours"
    if plan.usd is None:
        return f"{hours}; no price in the spec (`prices: {{gpu_hour_usd: ...}}`)"
    by = "guess" if plan.throughput_basis.startswith("guess") else "given throughput"
    return f"about {human_usd(plan.usd)} for {hours}, by the same {by}"
