"""Tables of the real grid, with its trial ids and with figures that a test chooses."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from front import Point
from grid import Cell, cells, prepared_grid, trial_config
from tables import Bases, Runs, write_table

from keepgain.sweeps.prepare import Prepared

TOKENS = (1000, 3000, 9000)
"""So far, at the three rungs."""
CPU = "a processor"
SCORED_ITEMS = {"gain": 500, "forgetting_fact": 100}
"""Suite → items, of those whose item scores the made tables keep."""


@dataclass(frozen=True)
class GridTask:
    """A domain's spec, and the trial id of each configuration of the grid."""

    prepared: Prepared
    ids: Mapping[Cell, str]

    @classmethod
    def of(cls, domain: str) -> "GridTask":
        """Reads the spec; takes seconds."""
        prepared = prepared_grid(domain, None)
        models = tuple(m.ref.name for m in prepared.models)
        ids = {c: trial_config(prepared, c).trial_id for c in cells(models)}
        return cls(prepared, ids)

    @property
    def models(self) -> tuple[str, ...]:
        """In the order of the spec."""
        return tuple(m.ref.name for m in self.prepared.models)

    def metrics(self, point: Point) -> dict[str, float]:
        """Scores of a model that gained and forgot this much over `bases`: 0 and 1 everywhere.

        Bits per byte fall by what is gained, so that a proxy of the gain ranks as the gain does.
        """
        found: dict[str, float] = {}
        for suite in self.prepared.score_suites("validation"):
            of_gain = suite.name.startswith("gain")
            score = point.gain if of_gain else 1 - point.forgetting
            bits = suite.scorer == "bits_per_byte"
            found[f"validation/{suite.name}"] = 10 - score if bits else score
        return found

    def rung(self, number: int, point: Point) -> dict[str, Any]:
        """What `record.kept` keeps: a second of training a thousand tokens, 2 s of scoring."""
        items = {s: packed(np.arange(n) < point.gain * n) for s, n in SCORED_ITEMS.items()}
        return {
            "tokens": TOKENS[number],
            "metrics": self.metrics(point),
            "train_seconds": TOKENS[number] / 1000,
            "score_seconds": 2.0,
            "items": items,
        }

    def run(self, cell: Cell, seed: int, points: Iterable[Point]) -> dict[str, Any]:
        """A recorded run with these figures at its rungs."""
        return {
            "cell": vars(cell),
            "seed": seed,
            "trial_id": self.ids[cell],
            "rungs": [self.rung(number, point) for number, point in enumerate(points)],
            "seconds": 15.0,
            "cpu": CPU,
        }

    def bases(self) -> Bases:
        """Nothing gained, nothing forgotten."""
        return {
            model: {"trial_id": self.prepared.base_config(model).trial_id, "cpu": CPU}
            | self.rung(0, Point(0.0, 0.0))
            | {"tokens": 0, "train_seconds": 0.0}
            for model in self.models
        }

    def write(self, folder: Path, points: Mapping[Cell, Iterable[Point]]) -> None:
        """The table of `far` from the final figures of each configuration, one for each seed; at
        its rungs before it has a ninth and a third of them."""
        runs: Runs = {}
        for cell, finals in points.items():
            for seed, final in enumerate(finals):
                parts = [Point(final.gain * s, final.forgetting * s) for s in (1 / 9, 1 / 3, 1)]
                runs[cell, seed] = self.run(cell, seed, parts)
        write_table("far", self.bases(), runs, folder)


def packed(right: "np.ndarray[Any, Any]") -> str:
    """Item scores as a recording keeps them."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def whole_grid(task: GridTask) -> dict[Cell, tuple[Point, ...]]:
    """Every configuration once, with figures that trade gain for forgetting: the gain is best at a
    learning rate of 2e-3 and falls with replay, which prevents forgetting."""
    found = {}
    for cell in task.ids:
        away = abs(np.log10(cell.learning_rate / 2e-3))
        gain = 0.8 * (1 - 0.5 * away) * (1 - 0.5 * cell.replay_share)
        gain += 0.05 * cell.synthetic_share + 0.02 * (cell.method == "full")
        forgetting = 0.9 * (1 - cell.replay_share) * min(1.0, cell.learning_rate / 5e-3)
        found[cell] = (Point(float(gain), float(forgetting)),)
    return found
