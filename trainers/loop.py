"""The training loop: draw a batch, take a step, until the rung's budget is spent.

Batches are always whole, so a rung only observes a run: whoever trains to the end in one go sees
the same batches. The last batch may pass the rung by up to its own size.

The randomness of step n (dropout) follows from trial, seed and n alone. A resumed run therefore
needs no generator state, and dropout is the same whether or not scoring happened in between.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch

from keepgain.core.config import TrialConfig
from keepgain.core.errors import TrialFailure
from keepgain.core.identity import derive_seed
from keepgain.trainers.accumulate import Accumulator
from keepgain.trainers.early_stopping import Watch
from keepgain.trainers.encode import Encoded
from keepgain.trainers.groups import GroupWeights
from keepgain.trainers.mixture import Mixture
from keepgain.trainers.progress import Progress
from keepgain.trainers.schedule import learning_rate

log = logging.getLogger(__name__)

CURVE_POINTS = 200
"""At most about so many points of each curve over the full budget."""

OnPoint = Callable[[int, Mapping[str, float]], None]
"""Called with training tokens and values at each point of the curves."""


class Curve:
    """Means of the steps since the last point."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._steps = 0

    def add(self, values: Mapping[str, float]) -> None:
        """One step."""
        self._sums.update(values)
        self._steps += 1

    def means(self) -> dict[str, float]:
        """Of every value."""
        return {name: total / self._steps for name, total in self._sums.items()}


def train_to(
    target: int,
    config: TrialConfig,
    seed: int,
    accumulate: Accumulator,
    mixture: Mixture,
    rows: Mapping[str, Sequence[Encoded]],
    progress: Progress,
    on_point: OnPoint,
    watch: Watch | None = None,
) -> None:
    """Trains until `target` (in the budget's unit) is spent; changes `progress` in place.

    Args:
        rows: Encoded rows per source, which `mixture` indexes.
        watch: Ends the training early; its measurements count as training time.

    Raises:
        TrialFailure: `nan`, if a loss or a gradient is not finite.
    """
    engine, place = accumulate.engine, accumulate.place
    # Dropout must not hit the rows of all ranks alike.
    apart = () if place.leads else ("rank", place.rank)
    groups = None
    if config.group_dro_step > 0:
        groups = GroupWeights(config.group_dro_step, progress.group_weights)
    began = time.perf_counter()
    if watch is not None:
        watch.begin(progress)
    engine.model.train()
    curve = Curve()
    while (spent := progress.spent(config)) < target and progress.stopped_at is None:
        drawn = [rows[name][index] for name, index in mixture.rows(config.batch_size)]
        tokens = sum(len(r.ids) for r in drawn)
        size = tokens if config.budget_unit == "tokens" else len(drawn)
        # The middle of the step: see schedule.learning_rate.
        rate = learning_rate(config, (spent + size / 2) / config.budget)
        torch.manual_seed(derive_seed(config.training_id, seed, "step", progress.step, *apart))
        losses = accumulate(drawn, groups)
        norm = engine.step(rate)
        _check_finite({**losses, "gradient norm": norm}, progress.step, rate)

        progress.step += 1
        progress.tokens += tokens
        progress.examples += len(drawn)
        progress.loss_tokens += sum(r.loss_tokens for r in drawn)
        progress.truncated += sum(r.truncated for r in drawn)
        curve.add({**losses, "grad_norm": norm})
        now = progress.spent(config)
        if watch is not None:
            seen = watch.look(progress, progress.tokens - tokens, last=now >= config.budget)
            if seen is not None:
                on_point(progress.tokens, {"early_stopping/validation_loss": seen})
        ends = now >= target or progress.stopped_at is not None
        if ends or _passes_point(spent, now, config.budget):
            means = curve.means()
            progress.last_loss = means["loss"]
            values = {f"train/{name}": value for name, value in means.items()}
            on_point(progress.tokens, {**values, "train/learning_rate": rate})
            curve = Curve()
    progress.train_seconds += time.perf_counter() - began
    engine.model.eval()


def _check_finite(values: Mapping[str, float], step: int, rate: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrialFailure(
                "nan", f"the {name} is {value} at step {step}, learning rate {rate:.3g}"
            )


def _passes_point(before: int, after: int, budget: int) -> bool:
    return before * CURVE_POINTS // budget != after * CURVE_POINTS // budget
