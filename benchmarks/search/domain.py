"""A recorded domain ready to be searched: its spec, its curves, and the truth they are judged by.

The truth of a configuration is the mean over its recorded seeds. What a search sees is one of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import mean, median
from typing import Any

from front import Point
from grid import Cell, cells, prepared_grid, trial_config
from tables import TABLES, Bases, Runs, read_table

from keepgain.core.config import run_key
from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.objectives import objectives, with_proxies
from keepgain.sweeps.simulated.curves import Curve, Curves, Recorded

RUNGS = 3
PROXIES = {"gain_bits": "gain"}
"""Suite that stands in below the full budget → suite that it replaces, in the arms with proxies."""


@dataclass(frozen=True)
class Domain:
    """See the module."""

    name: str
    prepared: Prepared
    """Without reference arms; the paths in it name no files, since nothing is trained."""
    curves: Curves
    cells: Mapping[str, Cell]
    """Trial id → configuration, of all recorded ones."""
    trial_ids: Mapping[Cell, str]
    truth: Mapping[str, Point]
    """Trial id → gain and mean forgetting, over the recorded seeds. Failed runs have none."""
    seeds: Mapping[str, int]
    """Trial id → recorded seeds."""
    missing: tuple[Cell, ...]
    """Configurations of the grid without any recorded run."""
    seed_variance: Mapping[str, Point]
    """Base model → variance over seeds; 0 where no configuration has two."""

    @property
    def models(self) -> tuple[str, ...]:
        """In the order of the spec."""
        return tuple(m.ref.name for m in self.prepared.models)

    def of_model(self, model: str) -> list[str]:
        """Trial ids of a base model's configurations, in the order of the grid."""
        return [i for i, cell in self.cells.items() if cell.model == model]

    def seen(self, trial_id: str, seed: int) -> Point | None:
        """What a search sees of a finished run; None if it failed."""
        curve = self.curves.of(trial_id, seed)
        return (
            None if curve.cause else self.score(self.cells[trial_id].model, curve.rungs[-1].report)
        )

    def score(self, model: str, report: RungReport, *, proxies: bool = False) -> Point:
        """Gain and mean forgetting of a report; with proxies only below the full budget."""
        suites = self.prepared.score_suites("validation")
        if proxies and not report.final:
            suites = tuple(with_proxies(suites, PROXIES))
        found = objectives(report.metrics, self.base(model).metrics, suites)
        assert found.forgetting is not None, "the grids measure it"
        return Point(found.gain, found.forgetting)

    def standard_error(self, trial_id: str) -> Point:
        """Of one run's gain and mean forgetting.

        The larger of two: that of the items by exact match, p (1 - p) / n; and the spread of runs
        over seeds, pooled over the configurations of the base model that have several. (All runs
        share their items, so the first is no part of the second.)
        """
        cell, final = self.cells[trial_id], self.curves.of(trial_id, 0).rungs[-1].report
        suites = self.prepared.score_suites("validation")
        of = {m: [s for s in suites if s.measures == m] for m in ("gain", "forgetting")}
        items = {
            m: sum((p := final.metrics[f"validation/{s.name}"]) * (1 - p) / s.items for s in group)
            / len(group) ** 2
            for m, group in of.items()
        }
        seeds = self.seed_variance[cell.model]
        return Point(
            math.sqrt(max(items["gain"], seeds.gain)),
            math.sqrt(max(items["forgetting"], seeds.forgetting)),
        )

    def base(self, model: str) -> RungReport:
        """Scores of the untrained model."""
        return self.curves.of(self.prepared.base_config(model).trial_id, 0).rungs[0].report


@lru_cache(maxsize=2)
def load_domain(name: str, folder: Path = TABLES) -> Domain:
    """Reads a table and what its spec says.

    Raises:
        UserError: There is no table, or it is of other models, data or settings.
    """
    bases, runs = read_table(name, folder)
    if not runs:
        raise UserError(
            f"there is no table of '{name}'.",
            where=str(folder),
            hint="Record it: python benchmarks/search/record.py --help",
        )
    prepared = replace(prepared_grid(name, None), arms=())
    models = tuple(m.ref.name for m in prepared.models)
    ids = {cell: trial_config(prepared, cell).trial_id for cell in cells(models)}
    base_ids = {model: prepared.base_config(model).trial_id for model in models}
    _check(ids, base_ids, bases, runs, folder / f"{name}.parquet")
    speeds = Speeds.of(runs)
    curves = {base_ids[m]: (_base_curve(base_ids[m], bases[m], speeds, m),) for m in models}
    of_cell: dict[Cell, list[dict[str, Any]]] = {}
    for cell, seed in sorted(runs):
        of_cell.setdefault(cell, []).append(runs[cell, seed])
    for cell, own in of_cell.items():
        curves[ids[cell]] = tuple(_curve(run, speeds) for run in own)
    found = Domain(
        name=name,
        prepared=prepared,
        curves=Curves(curves),
        cells={i: cell for cell, i in ids.items() if i in curves},
        trial_ids={cell: i for cell, i in ids.items() if i in curves},
        truth={},
        seeds={i: len(curves[i]) for i in ids.values() if i in curves},
        missing=tuple(cell for cell, i in ids.items() if i not in curves),
        seed_variance={},
    )
    variances = {model: _seed_variance(found, model) for model in models}
    return replace(found, truth=_truth(found), seed_variance=variances)


@dataclass(frozen=True)
class Speeds:
    """Medians over the table: it was recorded on a machine with other work, so that the seconds of
    a single run say little. Keys are (base model, method)."""

    train: Mapping[tuple[str, str], float]
    """Seconds a token."""
    score: Mapping[tuple[str, str], float]
    """Seconds a scoring."""

    @classmethod
    def of(cls, runs: Runs) -> "Speeds":
        """Of whole runs only."""
        train: dict[tuple[str, str], list[float]] = {}
        score: dict[tuple[str, str], list[float]] = {}
        for (cell, _), run in runs.items():
            if any("failed" in rung for rung in run["rungs"]):
                continue
            key, last = (cell.model, cell.method), run["rungs"][-1]
            train.setdefault(key, []).append(last["train_seconds"] / last["tokens"])
            score.setdefault(key, []).extend(rung["score_seconds"] for rung in run["rungs"])
        medians = [{k: median(v) for k, v in table.items()} for table in (train, score)]
        return cls(*medians)


def _curve(run: dict[str, Any], speeds: Speeds) -> Curve:
    key = (run["cell"]["model"], run["cell"]["method"])
    rungs: list[Recorded] = []
    before = 0
    for number, rung in enumerate(run["rungs"]):
        if "failed" in rung:
            return Curve(tuple(rungs), FailureCause(rung["failed"]), rung["detail"] or "")
        seconds = (rung["tokens"] - before) * speeds.train[key] + speeds.score[key]
        cost = {"train_seconds": rung["tokens"] * speeds.train[key]}
        cost["score_seconds"] = speeds.score[key]
        report = _report(run["trial_id"], number, rung, number == RUNGS - 1, cost)
        rungs.append(Recorded(report, seconds))
        before = rung["tokens"]
    return Curve(tuple(rungs))


def _base_curve(trial_id: str, base: dict[str, Any], speeds: Speeds, model: str) -> Curve:
    seconds = speeds.score[model, "full"]
    return Curve((Recorded(_report(trial_id, 0, base, True, {"score_seconds": seconds}), seconds),))


def _report(
    trial_id: str, number: int, rung: dict[str, Any], final: bool, cost: dict[str, float]
) -> RungReport:
    return RungReport(
        run_key=run_key(trial_id, 0),
        rung=number,
        tokens=rung["tokens"],
        examples=0,
        final=final,
        metrics=rung["metrics"],
        items_path="",
        checkpoint=None if final else "simulated",
        cost=cost,
    )


def _truth(domain: Domain) -> dict[str, Point]:
    """Means over the seeds that did not fail."""
    found: dict[str, Point] = {}
    for trial_id in domain.cells:
        points = [domain.seen(trial_id, seed) for seed in range(domain.seeds[trial_id])]
        known = [p for p in points if p is not None]
        if known:
            found[trial_id] = Point(mean(p.gain for p in known), mean(p.forgetting for p in known))
    return found


def _seed_variance(domain: Domain, model: str) -> Point:
    """Pooled over the configurations of a base model, each with its own mean."""
    squares, freedom = [0.0, 0.0], 0
    for trial_id in domain.of_model(model):
        points = [domain.seen(trial_id, seed) for seed in range(domain.seeds[trial_id])]
        known = [p for p in points if p is not None]
        for axis in (0, 1):
            squares[axis] += sum((p[axis] - mean(q[axis] for q in known)) ** 2 for p in known)
        freedom += max(0, len(known) - 1)
    return Point(*(s / freedom for s in squares)) if freedom else Point(0.0, 0.0)


def _check(
    ids: Mapping[Cell, str],
    base_ids: Mapping[str, str],
    bases: Bases,
    runs: Runs,
    path: Path,
) -> None:
    """The table must be of this spec: its trial ids say so."""
    pairs = {str(cell): (ids.get(cell), run["trial_id"]) for (cell, _), run in runs.items()}
    pairs |= {f"base {m}": (i, bases.get(m, {}).get("trial_id")) for m, i in base_ids.items()}
    for what, (expected, recorded) in pairs.items():
        if expected != recorded:
            raise UserError(
                f"{what} has trial id {recorded} in the table, {expected} by the spec.",
                where=str(path),
                hint="The models, the data or the training settings are not those of the "
                "recording; record the table again.",
            )
