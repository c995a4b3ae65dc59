"""Whether the front has stopped growing: `search.stalled`, as a function of the ledger's results.

The measure is the hypervolume (Zitzler and Thiele 1998) of each base model's full-budget front in
(gain up, forgetting down) against a point that is fixed before the search: gain 0, forgetting
`max(1, question.max_forgetting)`. What gains nothing, or forgets more than that, adds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np

from keepgain.sweeps.spec_search import StalledSpec


@dataclass(frozen=True)
class Scored:
    """A search trial that was scored at its full budget."""

    model: str
    generation: int
    values: tuple[float, ...]
    """Gain, and forgetting where the sweep measures it."""


def reference_point(max_forgetting: float | None, objectives: int) -> tuple[float, ...]:
    """The fixed corner that volumes are measured from."""
    return (0.0, max(1.0, max_forgetting or 0.0))[:objectives]


def volume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Hypervolume of the points, gain first and maximised, forgetting second and minimised."""
    if not points:
        return 0.0
    directions = [True, False][: len(reference)]
    return float(moocore.hypervolume(np.asarray(points), list(reference), maximise=directions))


def why_stalled(
    spec: StalledSpec,
    scored: Sequence[Scored],
    models: Sequence[str],
    generations: int,
    max_forgetting: float | None,
) -> str | None:
    """The reason to end the search; None while some front still grows.

    Args:
        scored: All full-budget results of the search.
        models: All base models: the search goes on while the front of any of them grows.
        generations: Complete ones, the first included; it has none before it to rise from.
    """
    if generations <= spec.generations:
        return None
    rises = [
        _rise(scored, model, generation, max_forgetting)
        for generation in range(generations - spec.generations, generations)
        for model in models
    ]
    if max(rises) >= spec.min_rise:
        return None
    return (
        f"search.stalled: the hypervolume of every base model's front rose by less than "
        f"{spec.min_rise:.2g} of itself in each of the last {spec.generations} generations "
        f"(at most {max(rises):.2g})"
    )


def _rise(
    scored: Sequence[Scored], model: str, generation: int, max_forgetting: float | None
) -> float:
    """Relative rise of the volume in a generation; infinite from nothing, 0 if there is none."""
    own = [s for s in scored if s.model == model and s.generation <= generation]
    reference = reference_point(max_forgetting, len(own[0].values) if own else 1)
    before = volume([s.values for s in own if s.generation < generation], reference)
    after = volume([s.values for s in own], reference)
    if before == 0:
        return float("inf") if after > 0 else 0.0
    return after / before - 1
