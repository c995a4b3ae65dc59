"""The metric registry: name, direction, unit, meaning and version, for writer, reader and plots.

Objectives and costs are here; the metrics of scorers stand with their scorers (`core.scorers`).

A definition that changes gets a new version; figures of different versions are never ranked
together.
"""

from collections.abc import Mapping
from typing import Literal

from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel

Direction = Literal["maximize", "minimize"]


class Metric(StrictModel):
    """One figure that Keepgain reports."""

    name: str
    direction: Direction
    unit: str
    meaning: str
    version: int = 1

    @property
    def sign(self) -> float:
        """+1 if more is better, -1 if less is: `sign * value` goes up when things improve."""
        return 1.0 if self.direction == "maximize" else -1.0


_OBJECTIVES = (
    Metric(
        name="gain",
        direction="maximize",
        unit="suite unit",
        meaning="Task score minus the base's on the same items (science: a_D(1) - a_D(0)).",
    ),
    Metric(
        name="forgetting",
        direction="minimize",
        unit="suite unit",
        meaning="Mean over general suites of base score minus tuned score; not clipped at 0.",
    ),
    Metric(
        name="relative_forgetting",
        direction="minimize",
        unit="share of the base's score",
        meaning="1 - retention: the mean over general suites of the drop over the base's score.",
    ),
    Metric(
        name="max_forgetting",
        direction="minimize",
        unit="suite unit",
        meaning="The largest drop of any general suite: description only, biased up by selection.",
    ),
    Metric(
        name="task_score",
        direction="maximize",
        unit="suite unit",
        meaning="Level of the tuned model on the task suites: what sizes are compared on.",
    ),
    Metric(
        name="general_score",
        direction="maximize",
        unit="suite unit",
        meaning="Level of the tuned model, mean over the general suites.",
    ),
)

_COSTS = (
    Metric(
        name="parameters",
        direction="minimize",
        unit="parameters",
        meaning="All parameters of the model that would be served (adapters included).",
    ),
    Metric(
        name="usd_per_million_tokens",
        direction="minimize",
        unit="USD per 1M tokens",
        meaning=(
            "1e6 * prices.gpu_hour_usd / (3600 * generated tokens per second), batched; the speed "
            "is the median over the trials of the base model."
        ),
    ),
    Metric(
        name="usd_per_answer_p50",
        direction="minimize",
        unit="USD",
        meaning="prices.gpu_hour_usd / 3600 * seconds_per_answer_p50.",
    ),
    Metric(
        name="usd_per_answer_p95",
        direction="minimize",
        unit="USD",
        meaning="prices.gpu_hour_usd / 3600 * seconds_per_answer_p95.",
    ),
    Metric(
        name="seconds_per_answer_p50",
        direction="minimize",
        unit="s",
        meaning=(
            "The device's time for an answer of the trial's own median length, as it was batched: "
            "prompt / prefill speed + further tokens / decode speed. Speeds are medians over the "
            "trials of the base model."
        ),
    ),
    Metric(
        name="seconds_per_answer_p95",
        direction="minimize",
        unit="s",
        meaning="The same for the 95th percentile of the trial's own answer lengths.",
    ),
    Metric(
        name="kv_cache_bytes_per_token",
        direction="minimize",
        unit="B",
        meaning="Keys and values of one token; absent where the family's layers are not known.",
    ),
    Metric(
        name="train_seconds",
        direction="minimize",
        unit="s",
        meaning="Wall-clock seconds of training steps, scoring apart.",
    ),
    Metric(
        name="train_flops",
        direction="minimize",
        unit="FLOPs",
        meaning="Estimate: full 6*N*T, LoRA (4*N + 6*N_lora)*T; N without embeddings.",
    ),
    Metric(
        name="gpu_seconds",
        direction="minimize",
        unit="s",
        meaning="Of one run: training, its scoring and losses, times the GPUs.",
    ),
    Metric(
        name="usd",
        direction="minimize",
        unit="USD",
        meaning="Of one run: prices.gpu_hour_usd / 3600 * gpu_seconds.",
    ),
    Metric(
        name="peak_memory_bytes",
        direction="minimize",
        unit="B",
        meaning="Most memory that training took on one device.",
    ),
    Metric(
        name="prompt_tokens_per_item",
        direction="minimize",
        unit="tokens",
        meaning="Mean prompt length: what a longer prompt costs at every call.",
    ),
)

_LOSSES = (
    Metric(
        name="answer_loss",
        direction="minimize",
        unit="nats/token",
        meaning=(
            "Cross-entropy of a row's loss tokens as training has them, in eval mode, neither "
            "smoothed nor weighed. An item weighs as many tokens as it has."
        ),
    ),
)

METRICS: dict[str, Metric] = {m.name: m for m in (*_OBJECTIVES, *_COSTS, *_LOSSES)}
COSTS: tuple[str, ...] = tuple(m.name for m in _COSTS)
OBJECTIVES: tuple[str, ...] = tuple(m.name for m in _OBJECTIVES)


def metric(name: str) -> Metric:
    """The registered metric.

    Raises:
        UserError: Unknown name; the message lists the known ones.
    """
    try:
        return METRICS[name]
    except KeyError:
        raise UserError(
            f"unknown metric '{name}'.", hint=f"Known metrics: {', '.join(sorted(METRICS))}."
        ) from None


def seconds_per_answer(cost: Mapping[str, float], quantile: str) -> float | None:
    """Seconds of the device for an answer; None where something of it was not measured.

    The first token comes with the prompt's forward pass, each further one from a step of its own.

    Args:
        cost: `prefill_tokens_per_second`, `decode_tokens_per_second`, `prompt_tokens_per_answer`
            (mean) and `answer_tokens_p50` or `_p95`.
        quantile: `p50` or `p95`, of the lengths of the answers.
    """
    prompt, length = cost.get("prompt_tokens_per_answer"), cost.get(f"answer_tokens_{quantile}")
    prefill, decode = (cost.get(f"{n}_tokens_per_second") for n in ("prefill", "decode"))
    if not prompt or not prefill or length is None:
        return None
    further = max(0.0, length - 1)
    if not decode:
        return None if further else prompt / prefill
    return prompt / prefill + further / decode
