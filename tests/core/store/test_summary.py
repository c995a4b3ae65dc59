"""What sweeps cost, from the parent runs of a store alone."""

import pytest
from mlflow import MlflowClient

from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import (
    METRIC_CPU_HOURS,
    METRIC_GPU_HOURS,
    METRIC_TOKENS,
    METRIC_TRIALS,
    METRIC_USD,
    ROLE_SWEEP,
    TAG_ROLE,
    TAG_SWEEP,
    TAG_USER,
)
from keepgain.core.store.summary import CostTotal, SweepCosts, cost_totals, list_costs

JANUARY, FEBRUARY = 1_769_000_000_000.0, 1_771_000_000_000.0
"""21 January and 13 February 2026, in ms."""


def costs(name: str, created_ms: float = JANUARY, **more: object) -> SweepCosts:
    figures = {"trials": 10, "tokens": 1000, "gpu_hours": 2.0, "cpu_hours": 4.0, "usd": 5.0}
    known = {"user": "ann", "tags": {}, **figures, **more}
    return SweepCosts(id=name, created_ms=created_ms, **known)  # type: ignore[arg-type]


SWEEPS = [
    costs("a", tags={"team": "search", "month": "any"}),
    costs("b", FEBRUARY, user="bob", tags={"team": "ads"}),
    costs("c", FEBRUARY, user=None, usd=None, tags={"team": "search"}),
    costs("d", FEBRUARY, trials=None, tokens=None, gpu_hours=None, cpu_hours=None, usd=None),
]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (None, {"all": 4}),
        ("month", {"2026-01": 1, "2026-02": 3}),
        ("user", {"ann": 2, "bob": 1, "(none)": 1}),
        ("team", {"search": 2, "ads": 1, "(none)": 1}),
        ("tag:team", {"search": 2, "ads": 1, "(none)": 1}),
        ("tag:month", {"any": 1, "(none)": 3}),
    ],
)
def test_costs_are_grouped(by: str | None, groups: dict[str, int]) -> None:
    assert {t.group: t.sweeps for t in cost_totals(SWEEPS, by)} == groups


def test_unknown_figures_are_left_out_of_the_sums_and_counted() -> None:
    by_month = {t.group: t for t in cost_totals(SWEEPS, "month")}
    assert by_month["2026-01"] == CostTotal("2026-01", 1, 10, 1000, 2.0, 4.0, 5.0, 0)
    assert by_month["2026-02"] == CostTotal("2026-02", 3, 20, 2000, 4.0, 8.0, 5.0, 1)
    (search,) = (t for t in cost_totals(SWEEPS[2:3], None))
    assert search.usd is None and search.unpriced == 1


def test_nothing_costs_nothing() -> None:
    assert cost_totals([], "month") == []


def test_costs_come_from_the_parent_run_alone(location: StoreLocation) -> None:
    experiment = prepare_store(location, "tickets")
    client = MlflowClient(tracking_uri=location.tracking_uri)
    tags = {TAG_SWEEP: "tickets-1a2b3c", TAG_ROLE: ROLE_SWEEP, TAG_USER: "ann", "team": "search"}
    run = client.create_run(experiment, tags={**tags, "keepgain.host": "h"})
    figures = {
        METRIC_TRIALS: 12.0,
        METRIC_TOKENS: 5000.0,
        METRIC_CPU_HOURS: 1.5,
        METRIC_GPU_HOURS: 3.0,
        METRIC_USD: 7.5,
    }
    for name, value in figures.items():
        client.log_metric(run.info.run_id, name, value / 2, step=6)
        client.log_metric(run.info.run_id, name, value, step=12)
    (found,) = list_costs(location)
    assert found == SweepCosts(
        id="tickets-1a2b3c",
        created_ms=float(run.info.start_time),
        user="ann",
        tags={"team": "search"},
        trials=12,
        tokens=5000,
        gpu_hours=3.0,
        cpu_hours=1.5,
        usd=7.5,
    )
