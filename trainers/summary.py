"""Suite results as the metrics and costs of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.core.items import ItemScores
from keepgain.core.metrics import seconds_per_answer
from keepgain.trainers.scoring import SuiteResult


@dataclass(frozen=True)
class Summary:
    """For `core.record.RungReport`."""

    metrics: dict[str, float]
    """`SPLIT/SUITE`; `generation/SPLIT/SUITE/{answer_tokens,empty_share,truncated_share,
    stopped_early_share,distinct_1,distinct_2,length_ratio}`; `detail/SPLIT/SUITE/NAME`: what else a
    scorer tells of a suite."""
    cost: dict[str, float]
    """`score_seconds` of this job, `prompt_tokens_per_item`, and where answers were generated
    `generated_tokens_per_second` (batched, prefill included) and what `serving` tells."""


def summarise(results: Sequence[SuiteResult]) -> Summary:
    """Means over items; rates over all suites together."""
    metrics: dict[str, float] = {}
    for result in results:
        scores = result.scores
        metrics[f"{scores.split}/{scores.suite}"] = scores.mean
        for kind, figures in (("generation", result.generated), ("detail", result.details)):
            prefix = f"{kind}/{scores.split}/{scores.suite}"
            metrics |= {f"{prefix}/{name}": value for name, value in figures.items()}
    cost = {"score_seconds": sum(r.seconds for r in results)}
    made = [r.generation for r in results if r.generation is not None]
    seconds = sum(m.seconds for m in made)
    if seconds > 0:
        cost["generated_tokens_per_second"] = sum(m.tokens for m in made) / seconds
        cost |= serving(results)
    prompted = sum(r.prompted for r in results)
    if prompted:
        cost["prompt_tokens_per_item"] = sum(r.prompt_tokens for r in results) / prompted
    return Summary(metrics, cost)


def loss_metrics(losses: Sequence[ItemScores]) -> dict[str, float]:
    """Answer losses in nats per token: `loss/validation/SUITE` of the items of each suite that
    measures gain; where training rows were measured, too, `loss/train/task` and `loss/gap/task`:
    the mean of all validation items minus that of these rows."""
    found = {s.suite.replace("/", f"/{s.split}/", 1): s.mean for s in losses}
    parts = [[s for s in losses if (s.split == "train") is trained] for trained in (False, True)]
    if all(parts):
        held_out, trained = (
            float(np.average([s.mean for s in part], weights=[s.weights.sum() for s in part]))
            for part in parts
        )
        found["loss/gap/task"] = held_out - trained
    return found


def serving(results: Sequence[SuiteResult]) -> dict[str, float]:
    """Speeds of the two phases of an answer, batched as it was scored, and what answers take.

    `prefill_tokens_per_second` (prompt tokens, padding left out, until the first new token),
    `decode_tokens_per_second` (every further token; absent where no answer has one),
    `prompt_tokens_per_answer` (mean), `answer_tokens_p50` and `_p95`, and from these
    `seconds_per_answer_p50` and `_p95`: the device's time, not a user's wait, which in a batch is
    longer. Speeds are over all suites; lengths over those that measure gain, if any.
    """
    asked = [(r, r.generation) for r in results if r.generation is not None]
    task = [pair for pair in asked if pair[0].measures == "gain"] or asked
    prefill = sum(m.prefill_seconds for _, m in asked)
    decode = sum(m.seconds for _, m in asked) - prefill
    further = sum(m.tokens - len(m.lengths) for _, m in asked)
    lengths = np.concatenate([m.lengths for _, m in task])
    cost = {
        "prefill_tokens_per_second": sum(r.prompt_tokens for r, _ in asked) / prefill,
        "prompt_tokens_per_answer": sum(r.prompt_tokens for r, _ in task) / len(lengths),
        "answer_tokens_p50": float(np.quantile(lengths, 0.5)),
        "answer_tokens_p95": float(np.quantile(lengths, 0.95)),
    }
    if further:
        cost["decode_tokens_per_second"] = further / decode
    times = {f"seconds_per_answer_{p}": seconds_per_answer(cost, p) for p in ("p50", "p95")}
    return cost | {name: value for name, value in times.items() if value is not None}
