"""What a user sees of a finished sweep in MLflow's own pages."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from keepgain.core.record import Evidence
from keepgain.core.status import Stage
from keepgain.core.store.client import new_client
from keepgain.core.store.links import comparison_url
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.reader import mlflow_sweeps
from keepgain.core.store.server import start_ui, stop_server
from keepgain.sweeps.iterate import DECISION
from tests.browser.chromium import new_page
from tests.browser.example_store import example_store

pytestmark = pytest.mark.timeout(600)

POINT_AT = """n => {
  const plot = document.querySelector('.js-plotly-plot'), box = plot.getBoundingClientRect();
  const {xaxis: x, yaxis: y} = plot._fullLayout, data = plot.data[0];
  return [box.left + x._offset + x.d2p(data.x[n]), box.top + y._offset + y.d2p(data.y[n])];
}"""


@dataclass(frozen=True)
class Shown:
    """A finished sweep and the server that shows it."""

    url: str
    location: StoreLocation
    evidence: Evidence
    parent: str
    """MLflow's run id."""
    experiment: str


@pytest.fixture(scope="module")
def shown(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """MLflow's UI on the recorded example; not begun where there is no browser."""
    location, evidence = example_store(tmp_path_factory.mktemp("ui") / "store")
    ((_, _, parent),) = mlflow_sweeps(location, evidence.sweep.id)
    process, url = start_ui(location)
    assert process is not None
    try:
        yield Shown(url, location, evidence, parent.info.run_id, parent.info.experiment_id)
    finally:
        stop_server(process)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = new_page(browser, width=1500, height=950)
    page.set_default_timeout(90_000)
    expect.set_options(timeout=90_000)
    yield page
    page.context.close()


def close_assistant(page: Page) -> None:
    """MLflow opens it beside every page of a new profile."""
    page.get_by_role("button", name="Close", exact=True).click()


def test_the_comparison_shows_every_search_trial_and_gain_against_forgetting(
    shown: Shown, page: Page, tmp_path: Path
) -> None:
    runs = [r for r in shown.evidence.sweep.runs if r.stage is Stage.SEARCH]
    assert len(runs) == 24
    page.goto(comparison_url(shown.url, shown.location, shown.evidence.sweep.id))
    expect(page.get_by_role("heading", name="Comparing 24 Runs from 1 Experiment")).to_be_visible()
    close_assistant(page)
    axes = page.locator(".js-plotly-plot .parcoords .axis-title")
    expect(axes.first).to_be_visible()
    assert "learning_rate" in axes.all_text_contents()
    page.get_by_role("tab", name="Scatter Plot").click()
    for axis, metric in (("x", "forgetting"), ("y", "gain")):
        page.locator(f"#{axis}-axis-selector").click()
        page.get_by_role("option", name=metric, exact=True).click()
    page.wait_for_function(
        """() => {
          const layout = document.querySelector('.js-plotly-plot')?._fullLayout;
          return layout?.xaxis?.title.text === 'forgetting' && layout.yaxis.title.text === 'gain';
        }"""
    )
    drawn = page.evaluate(
        "() => (({x, y}) => ({x: [...x], y: [...y]}))"
        "(document.querySelector('.js-plotly-plot').data[0])"
    )
    base = {r.model: r.metrics for r in shown.evidence.sweep.runs if r.kind == "base"}
    gains = [r.metrics["validation/gain"] - base[r.model]["validation/gain"] for r in runs]
    assert sorted(drawn["y"]) == pytest.approx(sorted(gains))
    lowest = drawn["y"].index(min(drawn["y"]))
    page.mouse.move(*page.evaluate(POINT_AT, lowest))
    # The label itself, with every metric of the run, is higher than MLflow's plot and not drawn.
    page.wait_for_function(
        "n => document.querySelector('.js-plotly-plot')._hoverdata?.[0].pointNumber === n",
        arg=lowest,
    )
    page.screenshot(path=tmp_path / "compare.png")


def test_the_sweeps_own_run_shows_note_metrics_datasets_and_children(
    shown: Shown, page: Page, tmp_path: Path
) -> None:
    page.goto(f"{shown.url}/#/experiments/{shown.experiment}/runs/{shown.parent}")
    expect(page.get_by_role("heading", name=shown.evidence.sweep.id).first).to_be_visible()
    close_assistant(page)
    kept = json.loads(
        (shown.location.sweep_folder(shown.evidence.sweep.id) / DECISION).read_text()
    )["decision"]
    body = page.locator("body")
    expect(body).to_contain_text(kept["reason"][:60])
    expect(page.get_by_text("decision/task_score", exact=True)).to_be_visible()
    expect(body).to_contain_text("tickets/train")
    page.screenshot(path=tmp_path / "parent.png")
    child = page.get_by_role("link", name="(seed ").first
    name = child.inner_text().rstrip(",")
    child.click()
    expect(page.get_by_role("heading", name=name).first).to_be_visible()


def test_the_figure_is_drawn_among_the_artifacts(shown: Shown, page: Page, tmp_path: Path) -> None:
    run = f"{shown.url}/#/experiments/{shown.experiment}/runs/{shown.parent}"
    page.goto(f"{run}/artifacts/figures/gain_forgetting.svg")
    page.wait_for_function("() => [...document.images].some(i => i.naturalWidth > 500)")
    for name in ("decision", "record"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    page.screenshot(path=tmp_path / "artifacts.png")


def test_a_search_by_method_finds_its_runs(shown: Shown, page: Page, tmp_path: Path) -> None:
    query = 'params.method = "lora"'
    runs = [r for r in shown.evidence.sweep.runs if r.params.get("method") == "lora"]
    client = new_client(shown.location)
    assert len(client.search_runs([shown.experiment], query, max_results=500)) == len(runs)
    page.goto(f"{shown.url}/#/experiments/{shown.experiment}/runs?searchFilter={quote(query)}")
    # The parent of what is found is shown with it.
    counted = page.get_by_text(f"{len(runs) + 1} matching runs")
    expect(counted).to_be_visible()
    page.screenshot(path=tmp_path / "lora.png")
