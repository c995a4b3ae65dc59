"""What a ledger says was spent, and which limit it reaches: worked out by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.config import TrialConfig
from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.work import TrainRequest
from keepgain.sweeps.job import Job
from keepgain.sweeps.limits import (
    Meter,
    Planned,
    Spent,
    limit_lines,
    reached,
    reserved_tokens,
    spent_text,
)
from keepgain.sweeps.search.ledger import (
    Asked,
    DriverStarted,
    DriverStopped,
    Event,
    Finished,
    Retried,
    Reused,
    Rung,
    StageFinished,
)
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_search import LimitsSpec
from tests.sweeps.tiny_models import make_world


def driver(at: float, *, gpus: float = 0.5, cpus: float = 2.0) -> DriverStarted:
    return DriverStarted(
        at=at, user="u", host="h", pid=1, slots=2, cpus_per_trial=cpus, gpus_per_trial=gpus
    )


def asked(key: str, stage: Stage = Stage.SEARCH) -> Asked:
    return Asked(run_key=key, trial_id=key, seed=0, stage=stage, kind="trial", model="a", config={})


def rung(key: str, index: int, tokens: int, seconds: float, at: float | None = None) -> Rung:
    report = RungReport(
        run_key=key,
        rung=index,
        tokens=tokens,
        examples=1,
        final=False,
        metrics={},
        items_path="x",
    )
    return Rung(report=report, seconds=seconds, at=at)


def test_tokens_and_seconds_of_all_attempts_count_once_each() -> None:
    events: list[Event] = [
        driver(0),
        asked("a"),
        asked("b"),
        rung("a", 0, 100, 3600),
        rung("b", 0, 110, 1800),
        rung("a", 1, 300, 3600),  # 200 more than at its first rung
        driver(0, gpus=1.0, cpus=1.0),  # the first one was killed
        rung("a", 1, 300, 3600),  # that checkpoint was lost: 200 again
        asked("b"),  # a repeated draw
        rung("b", 0, 110, 1800),  # from nothing: 110 again
        rung("b", 1, 310, 1800),
    ]
    spent = Meter.of(events).search()
    assert spent.trials == 2
    assert spent.tokens == 100 + 110 + 200 + 200 + 110 + 200
    assert spent.gpu_hours == pytest.approx(0.5 * 2.5 + 1.0 * 2.0)
    assert spent.cpu_hours == pytest.approx(2.0 * 2.5 + 1.0 * 2.0)
    assert spent.usd(2.0) == pytest.approx(2 * 3.25) and spent.usd(None) is None


def test_results_of_other_sweeps_cost_nothing() -> None:
    reports = (rung("a", 0, 100, 60).report,)
    reused = Reused(run_key="a", sweep="s", reports=reports)
    events = [driver(0), asked("a"), reused, asked("a")]  # and drawn again
    assert Meter.of(events).total() == Spent()


def test_other_stages_count_in_the_total_alone() -> None:
    events = [
        driver(0),
        asked("base", Stage.BASE),
        rung("base", 0, 0, 3600),
        asked("a"),
        rung("a", 0, 100, 3600),
        asked("c", Stage.CONFIRM),
        rung("c", 0, 100, 3600),
        asked("t", Stage.TEST),
        rung("t", 0, 100, 3600),  # the tokens of the model that it scores
    ]
    search, total = Meter.of(events).search(), Meter.of(events).total()
    assert (search.trials, search.tokens, search.gpu_hours) == (1, 100, 0.5)
    assert (total.trials, total.tokens, total.gpu_hours) == (2, 200, 2.0)


def test_hours_run_over_all_drivers_and_end_with_the_search() -> None:
    begin = [driver(1000), asked("a").model_copy(update={"at": 1600.0})]
    assert Meter.of(begin).search(now=2800).hours == pytest.approx(0.5)
    # Killed: it is known to have lived for 600 s. The time until the next driver is nobody's.
    again = [*begin, driver(10_000), DriverStopped(at=11_200.0), driver(20_000)]
    assert Meter.of(again).search(now=20_000).hours == pytest.approx(1800 / 3600)
    ended = [*again, StageFinished(stage=Stage.SEARCH, at=21_800.0), rung("a", 0, 1, 1, at=25_400)]
    assert Meter.of(ended).search(now=99_999).hours == pytest.approx(1.0)
    assert Meter.of(ended).total(now=27_200).hours == pytest.approx(2.5)


def test_what_the_next_driver_notes_of_a_killed_one_is_no_time_of_its_own() -> None:
    begin = [driver(1000), asked("a").model_copy(update={"at": 1600.0})]
    noted = [
        Finished(run_key="a", status=TrialStatus.INTERRUPTED, at=37_600.0),
        Retried(run_key="a", at=37_600.0),
    ]
    again = [*begin, *noted, driver(37_601)]
    assert Meter.of(again).search(now=37_601).hours == pytest.approx(600 / 3600)


def test_a_ledger_without_a_clock_has_no_hours() -> None:
    events = [asked("a"), rung("a", 0, 100, 3600), Finished(run_key="a", status="completed")]
    assert Meter.of(events).search(now=5.0).hours == 0


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"trials": 5}, None),
        ({"trials": 4}, "trials"),
        ({"tokens": 1000}, None),
        ({"tokens": 900}, "tokens"),  # 800 spent and 100 under way
        ({"hours": 2.0}, "hours"),
        ({"gpu_hours": 3.0}, "gpu_hours"),
        ({"usd": 7.6}, None),
        ({"usd": 7.5}, "usd"),
        ({"usd": 1.0, "tokens": 10}, "tokens"),
    ],
)
def test_the_first_limit_reached_is_named(limits: dict[str, float], name: str | None) -> None:
    spent = Spent(trials=4, tokens=800, hours=2.0, gpu_hours=3.0)
    found = reached(LimitsSpec(**limits), spent, gpu_hour_usd=2.5, reserved=100)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(("stopped_early", "reserved"), [(None, 300), (100, 0)])
def test_a_training_that_its_validation_loss_ended_reserves_nothing(
    stopped_early: int | None, reserved: int
) -> None:
    config = TrialConfig.model_construct(rungs=(100, 400), budget_unit="tokens")
    request = TrainRequest.model_construct(config=config, rung=1)
    report = rung("a", 0, 100, 1).report.model_copy(update={"stopped_early": stopped_early})
    runs = {"a": RunState(asked("a"), (report,))}
    assert reserved_tokens([Job("search", "a", asked("a"), request)], runs) == reserved


def test_a_reached_limit_says_what_was_spent() -> None:
    spent = Spent(trials=4, tokens=1_234_567, hours=2.0, gpu_hours=3.0)
    found = reached(LimitsSpec(tokens=1_000_000), spent, gpu_hour_usd=None)
    assert str(found) == "limits.tokens: 1.23M of 1M spent"
    assert spent_text(spent, 2.5) == "4 trials, 1.23M tokens, 2 h, 3 GPU-hours, $7.50"
    assert spent_text(Spent(trials=1, tokens=10, cpu_hours=0.5), 2.5).endswith("0.5 CPU-hours")


def test_the_plan_shows_which_limit_ends_the_search() -> None:
    lines = limit_lines(
        LimitsSpec(trials=10, tokens=1_000_000, usd=5), Planned(8, 5_400_000, 3.2, 1.0, None)
    )
    assert lines == [
        "limit   trials 10: the search takes 8",
        "limit   tokens 1M: the search would take 5.4M, so it ends there",
        "limit   usd $5.00: what the search takes of it is not known",
    ]


def test_a_limit_in_money_without_a_price_is_refused_by_its_key(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    text = path.read_text().replace("prices: {gpu_hour_usd: 2.5}\n", "limits: {usd: 10}\n")
    path.write_text(text.replace("cost: usd_per_million_tokens", "cost: parameters"))
    with pytest.raises(UserError, match="a limit in money needs a price") as error:
        load_spec(path)
    assert "limits.usd (line" in str(error.value)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.floats(0, 1e4)), max_size=30)
)
def test_what_is_spent_never_falls(reports: list[tuple[str, int, float]]) -> None:
    meter = Meter.of([driver(0), *map(asked, "abc")])
    before = meter.search()
    for key, index, seconds in reports:
        meter.add(rung(key, index, 100 * (index + 1), seconds))
        now = meter.search()
        assert now.tokens >= before.tokens and now.gpu_hours >= before.gpu_hours
        before = now
