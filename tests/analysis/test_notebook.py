"""Tidy frames of a sweep: the same figures as `analyze`, one observation a row."""

import numpy as np
import pytest

from keepgain.analysis.notebook import LoadedSweep, load_sweep
from keepgain.core.errors import UserError


@pytest.fixture(scope="module")
def sweep() -> LoadedSweep:
    return load_sweep("example")


def test_figures_are_those_of_the_analysis_and_missing_stays_missing(sweep: LoadedSweep) -> None:
    told = {(r.who.trial_id, n): e for r in sweep.analysis.rows for n, e in r.estimates.items()}
    known = {place: e for place, e in told.items() if e.value is not None}
    assert len(sweep.figures) == len(known)
    for row in sweep.figures.itertuples():
        estimate = known[row.trial, row.objective]
        assert row.value == estimate.value
        assert np.isnan(row.low) if estimate.low is None else row.low == estimate.low


def test_item_scores_give_the_task_score_again(sweep: LoadedSweep) -> None:
    gain_suite = next(s.name for s in sweep.evidence.sweep.suites if s.measures == "gain")
    items, figures, decision = sweep.items, sweep.figures, sweep.decision
    items = items[(items.trial == decision.trial) & (items.split == decision.split)]
    items = items[items.suite == gain_suite]
    figure = figures[(figures.trial == decision.trial) & (figures.objective == "task_score")]
    assert items.score.mean() == pytest.approx(figure.value.item(), abs=1e-12)
    assert items.run.nunique() == figure.n_seeds.item()


def test_every_run_and_every_item_score_has_its_row(sweep: LoadedSweep) -> None:
    assert list(sweep.runs.run) == [r.run_key for r in sweep.evidence.sweep.runs]
    assert len(sweep.items) == sum(len(s.values) for _, s in sweep.evidence.items)
    assert set(sweep.items.trial) <= set(sweep.trials.trial) | set(sweep.runs.trial)


def test_settings_are_columns_and_absent_ones_are_missing(sweep: LoadedSweep) -> None:
    bases = sweep.trials.query("kind == 'base'")
    assert bases["params.learning_rate"].isna().all()
    trials = sweep.trials.query("kind == 'trial'")
    assert (trials["params.learning_rate"] > 0).all()


def test_another_question_changes_the_decision(sweep: LoadedSweep) -> None:
    assert sweep.decision.model == "s"
    assert load_sweep("example", delta=0.2).decision.model == "xs"


def test_an_unknown_sweep_is_one_clear_error(tmp_path) -> None:
    with pytest.raises(UserError):
        load_sweep("none-such", store=tmp_path)
