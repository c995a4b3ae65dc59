"""The metric registry: name, direction, unit, meaning and version, for writer, reader and plots.

A definition that changes gets a new version; figures of different versions are never ranked
together.
"""

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


_SCORERS = (
    Metric(
        name="exact_match",
        direction="maximize",
        unit="share of items",
        meaning="The greedy generation, stripped of white space at its ends, equals the answer.",
    ),
    Metric(
        name="bits_per_byte",
        direction="minimize",
        unit="bits/byte",
        meaning=(
            "Negative log2-likelihood of the scored text over its UTF-8 bytes; comparable across "
            "tokenizers. An item weighs as many bytes as it has."
        ),
    ),
)

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
        name="prompt_tokens_per_item",
        direction="minimize",
        unit="tokens",
        meaning="Mean prompt length: what a longer prompt costs at every call.",
    ),
)

METRICS: dict[str, Metric] = {m.name: m for m in (*_SCORERS, *_OBJECTIVES, *_COSTS)}
SCORERS: tuple[str, ...] = tuple(m.name for m in _SCORERS)
COSTS: tuple[str, ...] = tuple(m.name for m in _COSTS)


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
