"""A report of a table from elsewhere: its own objectives, one panel, no items."""

from keepgain.analysis.analyze import analyze
from keepgain.analysis.load import EXAMPLE
from keepgain.analysis.report.content import content
from keepgain.analysis.report.html import to_html
from keepgain.analysis.report.links import NO_LINKS
from keepgain.analysis.report.markdown import to_markdown
from keepgain.core.record import (
    Evidence,
    GivenObjective,
    ModelInfo,
    Question,
    RunRecord,
    SweepRecord,
)
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.record_files import load_folder
from tests.analysis.report.page import Page


def evidence() -> Evidence:
    figures = {"a": (0.7, 3.0), "b": (0.8, 5.0), "c": (0.6, 9.0)}
    runs = tuple(
        RunRecord(
            run_key=name, trial_id=name, seed=1, kind="trial", model="", stage=Stage.SEARCH,
            status=TrialStatus.COMPLETED, named=name, n=500,
            metrics={"accuracy": high, "latency": low},
        )
        for name, (high, low) in figures.items()
    )  # fmt: skip
    objectives = (
        GivenObjective(name="accuracy", direction="maximize", unit="share"),
        GivenObjective(name="latency", direction="minimize", unit="ms"),
    )
    models: tuple[ModelInfo, ...] = ()
    sweep = SweepRecord(
        id="table-123456", name="table", stage=Stage.DECIDED, question=Question(), suites=(),
        models=models, runs=runs, objectives=objectives,
    )  # fmt: skip
    return Evidence(sweep, ())


def test_a_table_from_elsewhere_is_drawn_by_its_own_objectives() -> None:
    found = evidence()
    analysis = analyze(found)
    page = Page(to_html(found, analysis))
    assert page.faults == []
    (panel,) = page.panels
    assert panel["layout"]["xaxis"]["title"]["text"] == "latency, ms (less is better)"
    assert panel["layout"]["yaxis"]["title"]["text"] == "accuracy, share (more is better)"
    assert sorted(p[:2] for p in page.points) == [(3.0, 0.7), (5.0, 0.8), (9.0, 0.6)]
    assert "PROVISIONAL" in page.shown
    assert all("accuracy: 0." in p[2] and "on 500 items" in p[2] for p in page.points)
    assert to_markdown(found, analysis).startswith("# PROVISIONAL")


def test_rows_keep_their_whole_labels_and_nothing_is_said_of_splits_or_specs() -> None:
    found = evidence()
    runs = tuple(
        r.model_copy(update={"trial_id": f"tuned {r.named}", "named": f"tuned {r.named}"})
        for r in found.sweep.runs
    )
    found = Evidence(found.sweep.model_copy(update={"runs": runs}), ())
    analysis = analyze(found)
    told = content(found, analysis, NO_LINKS)
    assert dict(told.figures)["Trial or arm"] == "tuned b"
    assert dict(told.figures)["Decided on"] == "figures of a table"
    shown = Page(to_html(found, analysis)).shown
    assert "imported from a table" in shown and "sweep.yaml" not in shown


def test_a_budget_is_part_of_the_command_that_computes_it_again() -> None:
    found = load_folder(EXAMPLE)
    analysis = analyze(found, budget_usd=0.05)
    again, _ = content(found, analysis, NO_LINKS).commands
    assert "--budget-usd 0.05" in again
