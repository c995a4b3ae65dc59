"""Observations and evidence of a search with known effects."""

from collections.abc import Mapping, Sequence

import numpy as np

from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration, build_table
from keepgain.analysis.why.observations import Observation
from keepgain.core.record import Evidence, Origin
from keepgain.core.status import Stage, TrialStatus
from tests.analysis.evidence import exact

N = 200
"""Items of every suite."""


def observation(
    name: str,
    params: Mapping[str, object],
    values: Mapping[str, float],
    *,
    model: str = "m",
    origin: Origin | None = "quasi_random",
) -> Observation:
    """A trial with figures of its own, without item scores."""
    who = Configuration(
        trial_id=name,
        label=name,
        model=model,
        kind="trial",
        arm=None,
        params=params,
        stage=Stage.SEARCH,
        status=TrialStatus.COMPLETED,
        confirmed=False,
        tokens=1000,
        cost={},
        scores={},
        lacks={},
        runs=(),
    )
    return Observation(who, origin, None, values, {})


def sweep(
    trials: Sequence[tuple[str, Mapping[str, object], int, int]], right: int = 100
) -> Evidence:
    """Trials (model, settings, items right on `tickets`, on `facts`) of one seed, and their bases
    with 20 and `right` items right; 200 items each, the same ones in all."""
    found = {}
    for model in dict.fromkeys(t[0] for t in trials):
        found[f"base-{model}"] = (model, "base", {"tickets": first(20), "facts": first(right)})
    for i, (model, _, task, general) in enumerate(trials):
        arrays = {"tickets": first(task), "facts": first(general)}
        found[f"t{i:03d}"] = (model, "trial", arrays)
    evidence = exact(found, measures={"tickets": "gain", "facts": "forgetting"})
    runs = tuple(
        r
        if r.kind == "base"
        else r.model_copy(update={"params": dict(trials[int(r.trial_id[1:])][1])})
        for r in evidence.sweep.runs
    )
    return Evidence(evidence.sweep.model_copy(update={"runs": runs}), evidence.items)


def measured(evidence: Evidence) -> Measures:
    return Measures(build_table(evidence))


def first(right: int) -> np.ndarray:
    """The first `right` of 200 items are right; shape [200, 1]."""
    return (np.arange(N) < right).astype(np.float64)[:, None]
