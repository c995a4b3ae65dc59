"""The figures of every single run, so that runs compare in MLflow as they do in `analyze`.

`analyze` speaks of configurations, means over seeds; MLflow's tables, scatter plots and parallel
coordinates are of runs. Both come from the same item scores against the same base.
"""

from keepgain.analysis import objectives
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration, build_table
from keepgain.core.config import Split
from keepgain.core.record import Evidence

ON_TEST = "test_"
"""Begins the names of figures on test items; the others are on validation, which all runs have."""


def run_figures(evidence: Evidence) -> dict[str, dict[str, float]]:
    """Run key → `gain`, `forgetting`, `task_score` and the other objectives, and on test items
    `test_gain` and so on; what cannot be computed is left out, and so are runs that do not count.
    """
    measures = Measures(build_table(alone(evidence)))
    found: dict[str, dict[str, float]] = {}
    for run in measures.table.configurations:
        figures = _on(measures, run, "validation", "") | _on(measures, run, "test", ON_TEST)
        if figures:
            found[run.trial_id] = figures
    return found


def alone(evidence: Evidence) -> Evidence:
    """Each run as a trial of its own, named by its run key: no mean over seeds, and search runs of
    confirmed trials stay in."""
    runs = tuple(r.model_copy(update={"trial_id": r.run_key}) for r in evidence.sweep.runs)
    return Evidence(evidence.sweep.model_copy(update={"runs": runs}), evidence.items)


def _on(measures: Measures, run: Configuration, split: Split, prefix: str) -> dict[str, float]:
    if not run.has(split):
        return {}
    values = {
        name: measures.worst_drop(run, split)
        if name == "max_forgetting"
        else measures.point(run, split, name)
        for name in objectives.NAMES
    }
    return {prefix + name: value for name, value in values.items() if value is not None}
