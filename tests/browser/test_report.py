"""The report in Chromium: marks tell of themselves, links resolve, nothing is fetched, it fits a
phone and a sheet of paper."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from keepgain.analysis.analyze import analyze
from keepgain.analysis.load import EXAMPLE
from keepgain.analysis.report.html import write_report
from keepgain.analysis.report.links import Links
from keepgain.core.store.record_files import load_folder
from tests.browser.chromium import new_page

READY = "html[data-ready=yes]"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    evidence = load_folder(EXAMPLE)
    links = Links("http://127.0.0.1:5000", "1", evidence.sweep.id, {})
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(evidence, analyze(evidence), path, links, ["--example"])
    return path


@dataclass
class Opened:
    page: Page
    said: list[str] = field(default_factory=list)
    """Messages of the console, and what the page asked for beside its file."""


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Opened]:
    page = new_page(browser, width=1280, height=900)
    found = Opened(page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith("data:") else found.said.append(r.url))
    page.goto(report.as_uri())
    page.wait_for_selector(READY)
    assert found.said == [report.as_uri()]
    found.said.clear()
    yield found
    assert found.said == []
    page.context.close()


def test_a_mark_tells_of_itself_under_the_pointer(opened: Opened) -> None:
    page = opened.page
    box = page.locator("#panel-1 .scatterlayer .trace .point").last
    box.scroll_into_view_if_needed()
    found = page.evaluate(
        """() => {
          const plot = document.getElementById("panel-1"), layout = plot._fullLayout;
          const trace = plot.data.find(t => t.name === "trial on the front");
          const at = plot.getBoundingClientRect();
          return [at.left + layout.xaxis._offset + layout.xaxis.c2p(trace.x[0]),
                  at.top + layout.yaxis._offset + layout.yaxis.c2p(trace.y[0])];
        }"""
    )
    page.mouse.move(found[0] - 40, found[1] + 40)
    page.mouse.move(*found)
    page.wait_for_selector("#panel-1 .hoverlayer .hovertext")
    hover = page.locator("#panel-1 .hoverlayer .hovertext").text_content() or ""
    assert "items" in hover and "gain:" in hover and "learning_rate" in hover
    told = page.locator("#said-1")
    assert "s " in told.inner_text() and "front" in told.inner_text()
    assert (told.locator("a").get_attribute("href") or "").startswith(
        "http://127.0.0.1:5000/#/experiments/1/runs?searchFilter="
    )


def test_arrow_keys_step_through_the_marks(opened: Opened) -> None:
    page = opened.page
    page.locator("#panel-0").focus()
    told = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        told.append(page.locator("#said-0").inner_text())
    assert told[0] and told[1] and told[0] == told[2] != told[1]
    page.wait_for_selector("#panel-0 .hoverlayer .hovertext")


def test_every_anchor_leads_somewhere_and_every_link_to_mlflow(opened: Opened) -> None:
    page = opened.page
    assert page.evaluate(
        """() => [...document.querySelectorAll("a[href^='#']")]
          .every(a => document.getElementById(a.getAttribute("href").slice(1)))"""
    )
    page.get_by_role("link", name="Reproduce").click()
    assert page.url.endswith("#reproduce")
    trial = page.get_by_role("link", name="994287").first
    assert "keepgain.trial_id" in (trial.get_attribute("href") or "")


@pytest.mark.parametrize("width", [360, 768])
def test_it_fits_a_phone_and_a_tablet_and_tables_scroll_inside_themselves(
    browser: Browser, report: Path, width: int
) -> None:
    page = new_page(browser, width=width, height=740)
    page.goto(report.as_uri())
    page.wait_for_selector(READY)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(
        """() => [...document.querySelectorAll(".scroll")]
          .some(s => s.scrollWidth > s.clientWidth)"""
    )
    page.context.close()


def test_print_shows_the_drawings_instead_of_the_panels(
    browser: Browser, report: Path, tmp_path: Path
) -> None:
    page = new_page(browser)
    page.goto(report.as_uri())
    page.wait_for_selector(READY)
    assert (
        page.locator("#panel-0").is_visible() and not page.locator("img.static").first.is_visible()
    )
    page.emulate_media(media="print")
    assert (
        not page.locator("#panel-0").is_visible() and page.locator("img.static").first.is_visible()
    )
    page.set_viewport_size({"width": 690, "height": 1000})  # A4 less its margins
    assert page.evaluate("document.documentElement.scrollWidth") == 690
    assert page.pdf(path=tmp_path / "report.pdf", format="A4")[:5] == b"%PDF-"
    page.context.close()


def test_without_scripts_the_drawings_and_all_texts_are_there(
    browser: Browser, report: Path
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("img.static").count() == 3
    assert page.locator("img.static").first.is_visible()
    assert not page.locator("#panel-0").is_visible()
    assert page.get_by_text("RECOMMENDED").first.is_visible()
    context.close()
