"""Trains a tiny base by a spec in several ways and scores one of its suites: what the benchmarks of
robustness, composition and groundedness share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.config import ScoreConfig, TrialConfig
from keepgain.core.items import Floats, ItemScores, read_items
from keepgain.core.record import SuiteInfo
from keepgain.core.work import ScoreRequest, TrainRequest
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec
from keepgain.trainers.jobs import Jobs

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
Arms = Mapping[str, Mapping[str, float]]
"""Way to train → its parameters, as of a space."""


@dataclass(frozen=True)
class Measured:
    """Scores of one suite: of the base, shape [n, 1], and of each way to train, shape [n, S]."""

    items: SuiteItems
    base: Floats
    tuned: Mapping[str, Floats]


def measure(folder: Path, spec: str, base: str, suite: str, arms: Arms, seeds: int) -> Measured:
    """Trains every arm with every seed, and scores it and the base on validation items.

    Args:
        folder: For what is written; the spec's files start there.
        spec: The text of it; its models have `base`.
        base: Name of the model.
        suite: Name of the suite.
        arms: Ways to train.
        seeds: Runs of each arm.
    """
    path = folder / "sweep.yaml"
    path.write_text(spec, encoding="utf-8")
    prepared, jobs = prepare(load_spec(path), folder / "sweep"), Jobs()
    suites = tuple(s for s in prepared.score_suites("validation") if s.name == suite)
    asked = ScoreConfig(model=prepared.model(base).ref, suites=suites)
    of_base = _scores(jobs, ScoreRequest(config=asked, report_as="base", sweep_folder=str(folder)))
    tuned = {}
    for arm, params in arms.items():
        config = TrialConfig(**(dict(prepared.trial_config(base, params)) | {"suites": suites}))
        runs = [
            _scores(jobs, TrainRequest(config=config, seed=s, rung=0, sweep_folder=str(folder)))
            for s in range(seeds)
        ]
        tuned[arm] = np.stack([run.values for run in runs], axis=1)
    return Measured(suite_items(of_base), of_base.values[:, None], tuned)


def _scores(jobs: Jobs, request: TrainRequest | ScoreRequest) -> ItemScores:
    reply = jobs.do(request)
    if reply.report is None:
        raise SystemExit(f"{request.run_key}: {reply.cause}: {reply.detail}")
    path = Path(request.sweep_folder) / reply.report.items_path
    ((_, scores),) = read_items(path)
    return scores


def suite_items(scores: ItemScores) -> SuiteItems:
    """The items as `analyze` has them, in the order of the scores."""
    codes = None
    if scores.clusters:
        codes = np.unique([str(c) for c in scores.clusters], return_inverse=True)[1]
    return SuiteItems(
        SuiteInfo(name=scores.suite, measures="behaviour", scorer=scores.metric),
        "validation",
        scores.item_ids,
        scores.weights,
        None if codes is None else codes.astype(np.int64),
        {field: np.array([v or "" for v in values]) for field, values in scores.slices.items()},
    )


def shown(found: Estimate | None) -> str:
    """A figure with its 95 % interval."""
    if found is None or found.value is None:
        return "unknown"
    if found.low is None or found.high is None:
        return f"{found.value:.3f} (no interval)"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def put(lines: Sequence[str], file: Path | None) -> None:
    """Prints the lines, and writes them to a file where one is named."""
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if file is not None:
        file.write_text(text, encoding="utf-8")
