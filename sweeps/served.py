"""Finalists as served (`serve: [bf16, int8, nf4]`): which runs are scored once more in which form,
and what becomes of it in the record.

What quantisation costs is told by pairing the items of *one* run with its own scores as the sweep
computes, so that neither seeds nor training come in; of each confirmed configuration that is its
first seed. Its base is scored in the same form, because part of a loss may be the base's own. Where
a run computes in a form anyway, nothing is scored twice.

Served scores are no runs of the record: they lie beside those of the run, are ranked nowhere, and
the decision can be made without them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from keepgain.core.config import ServeForm
from keepgain.core.inside import inside
from keepgain.core.items import ItemScores, read_items, served_as
from keepgain.core.record import RungReport, Served
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.replay import RunState

SCORES_OF = "scores_of"
"""Parameter of a test-stage run: the run key of the run whose model it scores."""
SERVED = "served"
"""Parameter of a test-stage run: the form in which it scores another run's model."""


def form_of(asked: Asked) -> ServeForm | None:
    """The form that a run scores a model in; None for every other run."""
    return asked.params.get(SERVED)


def to_serve(
    runs: Iterable[RunState], forms: Sequence[ServeForm]
) -> list[tuple[RunState, ServeForm]]:
    """What is scored again, and in which form: one run of each confirmed configuration, then the
    bases of those."""
    runs = list(runs)
    first = _first_seeds(runs)
    found: list[tuple[RunState, ServeForm]] = []
    for form in forms:
        tuned = [r for r in first if not computes_in(r, form)]
        models = {r.asked.model for r in tuned}
        bases = [
            r
            for r in runs
            if r.asked.stage is Stage.BASE
            and r.asked.kind == "base"
            and r.status is TrialStatus.COMPLETED
            and r.asked.model in models
            and not computes_in(r, form)
        ]
        found += [(r, form) for r in (*tuned, *bases)]
    return found


def computes_in(run: RunState, form: ServeForm) -> bool:
    """Whether the run's own scores are of weights in this form."""
    report = run.last_report
    if report is None or report.numerics.get("dtype") != "bfloat16":
        return False
    return form == ("nf4" if run.asked.config.get("method") == "qlora" else "bf16")


def served_results(
    runs: Mapping[str, RunState], forms: Sequence[ServeForm]
) -> dict[str, tuple[Served, ...]]:
    """Run key → what is known of it in each form; nothing before the test stage."""
    found: dict[str, list[Served]] = {}
    for run in runs.values():
        if (form := form_of(run.asked)) is not None:
            found.setdefault(_scores_of(run), []).append(_result(run, form))
    if any(run.asked.stage is Stage.TEST for run in runs.values()):
        for run in _first_seeds(runs.values()):
            same = [Served(form=f, same=True) for f in forms if computes_in(run, f)]
            found.setdefault(run.run_key, []).extend(same)
    return {key: tuple(results) for key, results in found.items() if results}


def served_items(run: RunState, folder: Path) -> list[tuple[str, ItemScores]]:
    """The item scores of a served run, under the key of the run that it belongs to; none of one
    that did not complete."""
    form = form_of(run.asked)
    if form is None or run.status is not TrialStatus.COMPLETED or run.last_report is None:
        return []
    read = read_items(inside(folder, run.last_report.items_path))
    return [(_scores_of(run), replace(s, suite=served_as(form, s.suite))) for _, s in read]


def metrics_as_served(report: RungReport, form: ServeForm) -> dict[str, float]:
    """What MLflow has of it, on the run that it belongs to: `served/FORM/test/SUITE` and
    `served/FORM/cost/NAME`."""
    found = {**report.metrics, **{f"cost/{k}": v for k, v in report.cost.items()}}
    return {f"served/{form}/{name}": value for name, value in found.items()}


def failure_of(run: RunState) -> str | None:
    """Why a run of the test stage has no scores; None if it did not fail."""
    if run.status not in (TrialStatus.FAILED, TrialStatus.INTERRUPTED):
        return None
    what = str(run.cause or run.status)
    return f"{what}: {run.reason}" if run.reason else what


def _result(run: RunState, form: ServeForm) -> Served:
    report = run.last_report
    if report is None or run.status is not TrialStatus.COMPLETED:
        return Served(form=form, failure=failure_of(run) or "not scored")
    metrics = {k: v for k, v in report.metrics.items() if k.startswith("test/")}
    return Served(form=form, metrics=metrics, cost=report.cost)


def _first_seeds(runs: Iterable[RunState]) -> list[RunState]:
    """Of each confirmed configuration the completed run that was asked for first."""
    first: dict[str, RunState] = {}
    for run in runs:
        if run.asked.stage is Stage.CONFIRM and run.status is TrialStatus.COMPLETED:
            first.setdefault(run.asked.trial_id, run)
    return list(first.values())


def _scores_of(run: RunState) -> str:
    return str(run.asked.params[SCORES_OF])
