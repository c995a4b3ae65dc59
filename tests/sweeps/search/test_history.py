"""The order in which a search met what its ledger holds."""

from keepgain.core.status import Stage
from keepgain.sweeps.search.history import Ended, Given, history
from keepgain.sweeps.search.ledger import Asked, Finished, Retried, Steered


def asked(key, number):
    return Asked(
        run_key=key, trial_id=key, seed=1, stage=Stage.SEARCH, kind="trial", model="xs",
        number=number, generation=0, index=number, origin="sampler", config={},
    )  # fmt: skip


def finished(key, status="completed"):
    return Finished(run_key=key, status=status)


def steps(events):
    return [f"asked {s.number}" if isinstance(s, Asked) else s for s in history(events)]


def test_a_run_that_was_continued_ends_when_it_ended_last():
    events = [asked("a", 0), finished("a", "interrupted"), asked("b", 1), finished("a")]
    assert steps(events) == ["asked 0", "asked 1", Ended("a", False)]


def test_a_failure_that_was_taken_back_does_not_count():
    events = [asked("a", 0), finished("a", "failed"), Retried(run_key="a"), finished("a")]
    assert steps(events) == ["asked 0", Ended("a", False)]


def test_a_failure_that_the_sampler_has_drawn_on_stays():
    events = [
        asked("a", 0), finished("a", "interrupted"), finished("a", "failed"), asked("b", 1),
        Retried(run_key="a", told=True), finished("a"),
    ]  # fmt: skip
    assert steps(events) == ["asked 0", Ended("a", True), "asked 1"]


def test_a_draw_of_a_run_that_had_ended_ends_at_once():
    events = [asked("a", 0), finished("a"), asked("a", 1)]
    assert steps(events) == ["asked 0", Ended("a", False), "asked 1", Ended("a", False)]


def test_added_configurations_stand_where_they_were_added():
    config = {"model": "xs", "params": {"learning_rate": 1e-4}}
    steered = Steered(id="1", do="add", by="a@b", configs=(config,), outcome="added")
    other = Asked(**{**asked("c", 0).model_dump(), "stage": Stage.CONFIRM, "number": None})
    events = [asked("a", 0), steered, other, asked("b", 1)]
    assert steps(events) == ["asked 0", Given("xs", {"learning_rate": 1e-4}), "asked 1"]
