"""Suite results as the metrics and costs of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.trainers.scoring import SuiteResult


@dataclass(frozen=True)
class Summary:
    """For `core.record.RungReport`."""

    metrics: dict[str, float]
    """`SPLIT/SUITE`, and `generation/SPLIT/SUITE/{answer_tokens,empty_share,truncated_share}`."""
    cost: dict[str, float]
    """`score_seconds` of this job, and where answers were generated
    `generated_tokens_per_second` (batched, prefill included) and `prompt_tokens_per_item`."""


def summarise(results: Sequence[SuiteResult]) -> Summary:
    """Means over items; rates over all suites together."""
    metrics: dict[str, float] = {}
    for result in results:
        scores = result.scores
        metrics[f"{scores.split}/{scores.suite}"] = scores.mean
        if result.generated_tokens:
            n = len(scores.values)
            prefix = f"generation/{scores.split}/{scores.suite}"
            metrics[f"{prefix}/answer_tokens"] = result.answer_tokens
            metrics[f"{prefix}/empty_share"] = result.empty / n
            metrics[f"{prefix}/truncated_share"] = result.truncated / n
    cost = {"score_seconds": sum(r.seconds for r in results)}
    seconds = sum(r.generation_seconds for r in results)
    if seconds > 0:
        cost["generated_tokens_per_second"] = sum(r.generated_tokens for r in results) / seconds
    prompted = sum(r.prompted for r in results)
    if prompted:
        cost["prompt_tokens_per_item"] = sum(r.prompt_tokens for r in results) / prompted
    return Summary(metrics, cost)
