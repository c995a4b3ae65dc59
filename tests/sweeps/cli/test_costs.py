"""`sweep list --costs`: what the sweeps of a store cost, one by one and in groups."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.location import resolve_store
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
from keepgain.sweeps.cli.main import main

JANUARY, FEBRUARY = 1_769_000_000_000, 1_771_000_000_000
"""21 January and 13 February 2026, in ms."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three sweeps; the last one used a GPU and has no price."""
    folder = tmp_path_factory.mktemp("costs") / "store"
    location = resolve_store(str(folder), create=True)
    experiment = prepare_store(location, "tickets")
    client = MlflowClient(tracking_uri=location.tracking_uri)
    for name, user, team, begun, usd in (
        ("one-1a2b3c", "ann", "search", JANUARY, 5.0),
        ("two-1a2b3c", "bob", "ads", FEBRUARY, 7.5),
        ("three-1a2b3c", "ann", "ads", FEBRUARY, None),
    ):
        tags = {TAG_SWEEP: name, TAG_ROLE: ROLE_SWEEP, TAG_USER: user, "team": team}
        run = client.create_run(experiment, start_time=begun, tags=tags)
        figures = {METRIC_TRIALS: 10.0, METRIC_TOKENS: 1000.0, METRIC_CPU_HOURS: 4.0}
        figures |= {METRIC_GPU_HOURS: 2.0} | ({} if usd is None else {METRIC_USD: usd})
        for metric, value in figures.items():
            client.log_metric(run.info.run_id, metric, value)
    return folder


def said(store: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["list", "--costs", *words, "--store", str(store)]) == 0
    return capsys.readouterr().out


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_each_sweep_has_a_line_and_the_sum_is_the_last(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = cells(said(store, capsys))
    assert ["one-1a2b3c", "ann", "10", "1k", "2", "4", "$5.00"] in table
    assert ["three-1a2b3c", "ann", "10", "1k", "2", "4", "-"] in table
    assert ["all", "30", "3k", "6", "12", "$12.50"] in table
    assert table[-1][:2] == ["1", "without"]  # a sweep without a price is said to be left out


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("month", {"2026-01": ("1", "$5.00"), "2026-02": ("2", "$7.50")}),
        ("user", {"ann": ("2", "$5.00"), "bob": ("1", "$7.50")}),
        ("team", {"search": ("1", "$5.00"), "ads": ("2", "$7.50")}),
        ("tag:user", {"(none)": ("3", "$12.50")}),
    ],
)
def test_costs_are_summed_by_month_user_or_tag(
    store: Path, capsys: pytest.CaptureFixture[str], by: str, groups: dict[str, tuple[str, str]]
) -> None:
    table = cells(said(store, capsys, "--by", by))
    assert {row[0]: (row[1], row[-1]) for row in table if row[0] in groups} == groups
    assert ["all", "3", "30", "3k", "6", "12", "$12.50"] in table


def test_programs_get_the_same_as_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(store, capsys, "--by", "team", "--json"))
    assert (found["schema"], found["by"]) == (1, "team")
    assert {t["group"]: t["gpu_hours"] for t in found["totals"]} == {"search": 2.0, "ads": 4.0}
    assert {s["id"]: s["usd"] for s in found["sweeps"]}["three-1a2b3c"] is None
