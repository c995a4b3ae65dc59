"""Training ends when the validation loss has not fallen for so many tokens."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from keepgain.core.config import EarlyStopping, TrialConfig
from keepgain.core.errors import TrialFailure
from keepgain.core.items import read_items
from keepgain.core.record import RungReport
from keepgain.core.work import TrainRequest
from keepgain.trainers.data import DataCache
from keepgain.trainers.early_stopping import Watch
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.models import BaseCache
from keepgain.trainers.progress import Progress
from keepgain.trainers.run import Run
from tests.trainers import tiny


def stopped(losses: Sequence[float], tokens_of_a_step: int, **asked: float) -> Progress:
    """Steps until training ends or the losses, of which the first is before training, run out."""
    left = iter(losses)
    watch, progress = Watch(EarlyStopping(**asked), lambda: next(left)), Progress()
    watch.begin(progress)
    while progress.stopped_at is None:
        before = progress.tokens
        progress.tokens += tokens_of_a_step
        try:
            watch.look(progress, before)
        except StopIteration:
            break
    return progress


def test_training_ends_at_the_first_check_at_which_patience_is_over():
    """Checks at 300, 600, ..., as steps of 100 tokens pass multiples of 250."""
    asked = {"patience_tokens": 500, "check_every_tokens": 250}
    # before, 300,  500,  800, 1000, 1300
    losses = [2.0, 1.5, 1.4, 1.45, 1.41, 1.0]
    found = stopped(losses, 100, **asked)
    assert (found.stopped_at, found.best_tokens, found.best_loss) == (1000, 500, 1.4)
    assert stopped([*losses[:4], 1.39], 100, **asked).stopped_at is None


def test_an_improvement_that_is_too_small_is_none_and_small_ones_add_up():
    asked = {"patience_tokens": 300, "check_every_tokens": 100, "min_improvement": 0.1}
    found = stopped([2.0, 1.95, 1.92, 1.91], 100, **asked)
    assert (found.stopped_at, found.best_loss) == (300, 2.0)
    slow = stopped([2.0, 1.95, 1.89, 1.85, 1.80, 1.80], 100, **asked)
    assert (slow.stopped_at, slow.best_tokens, slow.best_loss) == (500, 200, 1.89)


def test_a_loss_that_rises_from_the_start_counts_from_the_untrained_model():
    asked = {"patience_tokens": 200, "check_every_tokens": 100}
    found = stopped([1.0, 1.1, 1.05], 100, **asked)
    assert (found.stopped_at, found.best_tokens) == (200, 0)


@pytest.mark.fault("N1")
def test_a_loss_that_is_no_number_fails_the_trial():
    with pytest.raises(TrialFailure, match="validation loss is nan"):
        stopped([1.0, float("nan")], 100, patience_tokens=200, check_every_tokens=100)


def test_patience_that_is_over_with_the_budget_stops_nothing():
    watch = Watch(EarlyStopping(patience_tokens=100, check_every_tokens=100), lambda: 1.0)
    progress = Progress(tokens=100, best_loss=1.0)
    assert watch.look(progress, 0, last=True) == 1.0
    assert progress.stopped_at is None
    watch.look(progress, 0)
    assert progress.stopped_at == 100


def test_patience_below_the_distance_of_checks_is_refused():
    with pytest.raises(ValidationError, match="`patience_tokens` 100 is less than"):
        EarlyStopping(patience_tokens=100, check_every_tokens=200)


# -- real runs -------------------------------------------------------------------------------


def trained(config: TrialConfig, sweep: Path, rungs: Sequence[int], *, warm: bool) -> RungReport:
    """Through these rungs; in one process, or in a new one from the checkpoint each time."""
    jobs, report = Jobs(), None
    for rung in rungs:
        jobs = jobs if warm else Jobs()
        request = TrainRequest(
            config=config,
            seed=3,
            rung=rung,
            sweep_folder=str(sweep),
            resume_from=report.checkpoint if report else None,
        )
        reply = jobs.do(request)
        assert reply.report is not None, f"{reply.cause}: {reply.detail}"
        report = reply.report
    assert report is not None
    return report


def figures(report: RungReport, sweep: Path) -> tuple:
    """Scores and losses item by item, and what else does not depend on the clock."""
    items = [
        (key, s.suite, s.split, s.tokens, tuple(s.values))
        for path in (report.items_path, str(report.losses_path))
        for key, s in read_items(sweep / path)
    ]
    return report.tokens, report.metrics, report.stopped_early, report.drawn, items


@pytest.fixture(scope="module")
def config(tmp_path_factory, llama) -> TrialConfig:
    """Falls at first, then rises: three words to learn by heart, at a high rate."""
    folder = tmp_path_factory.mktemp("data")
    sources = (tiny.source(folder, "task", tiny.sums(6)),)
    asked = EarlyStopping(patience_tokens=400, check_every_tokens=200)
    return tiny.trial(
        folder, llama, sources=sources, mixture={"task": 1.0}, learning_rate=2e-2,
        budget=6000, rungs=(500, 3000, 6000), early_stopping=asked,
    )  # fmt: skip


def test_a_resumed_run_stops_where_an_uninterrupted_one_does_and_reports_the_same(config, tmp_path):
    once, warm, cold = (tmp_path / n for n in ("once", "warm", "cold"))
    whole = trained(config, once, [2], warm=True)
    assert whole.stopped_early is not None and 500 < whole.stopped_early < 3000
    assert whole.tokens == whole.stopped_early and whole.final
    assert any(w.startswith("stopped early at ") for w in whole.warnings)
    one, other = (
        trained(config, warm, [0, 1, 2], warm=True),
        trained(config, cold, [0, 1, 2], warm=False),
    )
    assert figures(whole, once) == figures(one, warm) == figures(other, cold)
    halfway = trained(config, tmp_path / "half", [1], warm=True)
    assert halfway.tokens == whole.tokens and "loss/train/task" not in halfway.metrics
    assert halfway.metrics.items() < whole.metrics.items(), "no rung after it trains"
    items = [
        read_items(s / r.items_path)[0][1] for s, r in ((once, whole), (tmp_path / "half", halfway))
    ]
    assert items[0].values.tolist() == items[1].values.tolist()


def test_patience_is_in_tokens_where_the_budget_is_in_examples(config, tmp_path):
    changes = {"budget_unit": "examples", "budget": 900, "rungs": (900,), "learning_rate": 0.0}
    report = trained(config.model_copy(update=changes), tmp_path, [0], warm=True)
    assert report.examples < 900
    assert report.stopped_early is not None and 400 <= report.stopped_early < 600


def test_measuring_does_not_disturb_the_training(config):
    """The same run, with the losses measured and with losses made up; dropout is on."""
    asked = EarlyStopping(patience_tokens=9999, check_every_tokens=100)
    changes = {"budget": 500, "rungs": (500,), "dropout": 0.2, "early_stopping": asked}
    runs = [Run(config.model_copy(update=changes), 3, BaseCache(), DataCache()) for _ in range(2)]
    runs[1]._validation_loss = lambda: 1.0
    for run in runs:
        run.train(0, lambda tokens, values: None)
    assert runs[0].progress.best_loss != runs[1].progress.best_loss == 1.0
    one, other = (dict(run.model.named_parameters()) for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)
