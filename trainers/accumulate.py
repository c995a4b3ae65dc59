"""The gradient of one optimizer step, in micro-batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from keepgain.core.config import TrialConfig
from keepgain.trainers.alive import sign_of_life
from keepgain.trainers.data import collate
from keepgain.trainers.encode import Encoded
from keepgain.trainers.engine import Engine, micro_batch_size
from keepgain.trainers.groups import GroupWeights, group_of, loss_tokens
from keepgain.trainers.losses import Distil, answer_loss
from keepgain.trainers.noise import EmbeddingNoise
from keepgain.trainers.packing import pack
from keepgain.trainers.ranks import ALONE, Place
from keepgain.trainers.retention import Teacher, WeightAnchor, distances


@dataclass(frozen=True)
class Accumulator:
    """Adds up the gradient of the mean loss over all loss tokens of a batch.

    Every micro-batch's sum is divided by the loss tokens of the whole batch, so how it is cut, and
    over how many ranks, does not weigh rows differently; packing changes nothing but the padding.
    """

    engine: Engine
    config: TrialConfig
    pad_id: int
    noise: EmbeddingNoise | None = None
    place: Place = ALONE
    anchor: WeightAnchor | None = None
    teacher: Teacher | None = None
    at_work: dict[str, int] = field(default_factory=dict)
    """Rows and tokens, padding included, of the micro-batch at hand: for messages."""

    def __call__(
        self, rows: Sequence[Encoded], groups: GroupWeights | None = None
    ) -> dict[str, float]:
        """Goes through a batch, backwards too; collective.

        Args:
            rows: Of all ranks, in the same order on each.
            groups: Weights of groups for this step, which they learn from; None: all tokens alike.

        Returns:
            `loss`: the mean of the batch in nats per token, neither smoothed nor weighed. Where
            asked, `distance`: strength times KL to the base in nats per token; `drift`: the penalty
            on weights before the step.
        """
        micro = micro_batch_size(self.config)
        packing = self.config.runtime.packing
        own = self.place.share(rows)
        if micro < len(own) and not packing:
            # Neighbours of like length need less padding; the gradient does not depend on the
            # order. Packs are the better the more unlike their rows are.
            own.sort(key=lambda r: len(r.ids))
        device = next(self.engine.model.parameters()).device
        total = sum(r.loss_tokens for r in rows)
        weights = None
        if groups is not None:
            of_tokens = groups.of_tokens(rows)
            weights = torch.tensor([of_tokens[group_of(r)] for r in own], device=device)
        sums = {"loss": 0.0} | ({"distance": 0.0} if self.teacher is not None else {})
        drift = 0.0
        losses: list[float] = []
        for first in range(0, len(own), micro):
            sign_of_life()
            part = slice(first, first + micro)
            batch = pack(own[part], self.pad_id) if packing else collate(own[part], self.pad_id)
            self.at_work.update(rows=len(own[part]), tokens=batch.input_ids.numel())
            if self.noise is not None:
                self.noise.rows(batch.row_lengths)
            found = answer_loss(
                self.engine,
                batch,
                device,
                self.config.label_smoothing,
                None if weights is None else weights[part],
                self._distil(own[part], device),
            )
            # Weights of groups hold the division by the loss tokens already.
            objective = found.objective / total if weights is None else found.objective
            if found.distance is not None:
                distance = found.distance / total
                objective = objective + distance
                sums["distance"] += float(distance.detach())
            if self.anchor is not None and first == 0:
                # Once a step is enough, as gradients add up; every rank brings its part.
                penalty = self.anchor.penalty(self.engine.model)
                objective = objective + penalty / self.place.world
                drift = float(penalty.detach())
            self.engine.backward(objective)
            sums["loss"] += float(found.plain / total)
            if found.by_row is not None:
                losses += found.by_row.tolist()
        if groups is not None:
            groups.update(rows, self._by_group(rows, own, losses))
        found_sums = dict(zip(sums, self.place.sums(list(sums.values())), strict=True))
        return found_sums if self.anchor is None else {**found_sums, "drift": drift}

    def _distil(self, rows: Sequence[Encoded], device: torch.device) -> Distil | None:
        if self.teacher is None:
            return None
        asked = self.config.retention
        strengths = [asked.kl if r.replay else asked.lwf for r in rows]
        return Distil(
            self.teacher.forward,
            partial(distances, temperature=asked.temperature),
            torch.tensor(strengths, device=device),
        )

    def _by_group(
        self, rows: Sequence[Encoded], own: Sequence[Encoded], losses: Sequence[float]
    ) -> dict[str, float]:
        """Group -> sum of its losses over all ranks."""
        sums = dict.fromkeys(loss_tokens(rows), 0.0)
        for row, loss in zip(own, losses, strict=True):
            sums[group_of(row)] += loss
        return dict(zip(sums, self.place.sums(list(sums.values())), strict=True))
