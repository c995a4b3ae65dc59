"""The raters' page in Chromium, by keyboard from export to import: two raters, a reload in between,
the downloads, and the figures that come of them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from keepgain.core.later import read_later
from keepgain.core.review_record import ReviewRecord, reviews_of
from keepgain.core.store.location import StoreLocation
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.review.bundle import Key, read_key
from keepgain.sweeps.review.export import Wanted, export
from tests.browser.chromium import new_page
from tests.sweeps.review.world import BASE, SWEEP, TRIAL, evidence_of, store_with

RUBRIC = {"correct": "Is it correct?", "clear": "Is it clear?"}
N, ALIKE = 10, 2
WISHES = {
    # Item → (what ann prefers, what bo prefers): a the trial, b its base, t neither.
    **dict.fromkeys(range(2, 6), ("a", "a")),
    6: ("a", "b"),
    7: ("t", "t"),
    8: ("t", "a"),
    9: ("b", "b"),
}
LONG = "\n\n".join(f"{n}. Open the menu, choose the entry and confirm it." for n in range(1, 41))


@dataclass(frozen=True)
class Sent:
    """An export in a folder."""

    page: Path
    key: Key
    location: StoreLocation


def sent(folder: Path, rubric: dict[str, str]) -> Sent:
    """Ten items, two of them answered alike; the scorer puts the trial above on the last two."""
    base = [f"I think, number {i} may be so." for i in range(N)]
    trial = [*base[:ALIKE], *(f"Number {i} it is." for i in range(ALIKE, N))]
    base[5] += "\n\n" + LONG
    right = {BASE: [0] * N, TRIAL: [int(i >= 8) for i in range(N)]}
    spec = {"review": {"rubric": rubric, "instructions": "Length is no merit."}}
    location = store_with(folder, evidence_of(right), {BASE: base, TRIAL: trial}, json.dumps(spec))
    export(location, SWEEP, Wanted(TRIAL, "base"), folder / "out", seed="a secret of this test")
    return Sent(folder / "out" / "review.html", read_key(folder / "out" / "key.json"), location)


@dataclass
class Opened:
    page: Page
    said: list[str] = field(default_factory=list)
    """Messages of the console, errors, and all that the page asked for beside its own file."""


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    page = new_page(browser, width=1280, height=900)
    page.set_default_timeout(30_000)
    found = Opened(page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on(
        "request",
        lambda r: (
            None
            if r.url.startswith(("blob:", "file:")) and "review.html" in r.url
            else found.said.append(r.url)
        ),
    )
    yield found
    page.context.close()
    assert [line for line in found.said if not line.startswith("blob:")] == []


def begin(page: Page, name: str) -> None:
    page.locator("#name").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator("#item")).to_be_visible()


def shown_item(page: Page, key: Key) -> int:
    """Number of the item that is shown, by its question."""
    found = re.fullmatch(r"Question (\d+)\?", page.locator("#question").inner_text())
    assert found is not None
    return int(found[1])


def press(page: Page, key: Key, rater: int) -> None:
    """Judges the shown item as the rater wishes, by the keyboard."""
    number = shown_item(page, key)
    wish = WISHES[number][rater]
    item = next(k for k in key.items.values() if k.item == f"test-{number:05d}")
    choice = "2" if wish == "t" else "1" if item.left == wish else "3"
    page.keyboard.press(choice)
    for name, question in key.rubric.items():
        for side in ("left", "right"):
            expect(page.locator("#asked")).to_have_text(f"{side.capitalize()}: {question}")
            arm = item.left if side == "left" else "ab".replace(item.left, "")
            page.keyboard.press(score(name, arm, rater))


def score(name: str, arm: str, rater: int) -> str:
    """The trial is correct 5 and clear 4 (3 by bo), the base 2 and 4."""
    if name == "correct":
        return "5" if arm == "a" else "2"
    return "4" if arm == "b" or rater == 0 else "3"


def downloaded(page: Page, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator("#download").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_two_raters_by_keyboard_from_export_to_import(
    opened: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, page = sent(tmp_path, RUBRIC), opened.page
    assert len(given.key.items) == N - ALIKE
    page.goto(given.page.as_uri())
    begin(page, "Ann")
    expect(page.locator("#progress")).to_have_text("0 of 8 done")
    expect(page.locator("#saved")).to_contain_text("Saved in this browser")
    for _ in range(3):
        press(page, given.key, 0)
    before = page.locator("#question").inner_text()
    page.reload()
    expect(page.locator("#progress")).to_have_text("3 of 8 done")
    expect(page.locator("#who")).to_have_text("Rater: Ann")
    expect(page.locator("#question")).to_have_text(before)
    partial = downloaded(page, tmp_path)
    assert partial.name == f"ratings-{given.key.export}-Ann-partial.jsonl"
    for _ in range(5):
        press(page, given.key, 0)
    expect(page.locator("#progress")).to_have_text("8 of 8 done")
    expect(page.locator("#download")).to_have_text("Download ratings")
    ann = downloaded(page, tmp_path)
    page.locator("#who").click()
    begin(page, "Bo")
    expect(page.locator("#progress")).to_have_text("0 of 8 done")
    for _ in range(8):
        press(page, given.key, 1)
    bo = downloaded(page, tmp_path)
    words = ["--store", str(tmp_path / ".keepgain"), "--key", str(tmp_path / "out" / "key.json")]
    assert main(["review", "import", str(partial), *words]) == 2
    assert "Ann was not done" in capsys.readouterr().err
    assert main(["review", "import", str(ann), str(bo), *words]) == 0
    (record,) = reviews_of(read_later(given.location.sweep_folder(SWEEP)))
    by_hand(record)


def by_hand(record: ReviewRecord) -> None:
    """Means over both raters: 1 four times, .5, .5, .75, 0, and two ties: 6.75 of 10.

    Squared deviations: 4 (.325)^2 + 4 (.175)^2 + (.075)^2 + (.675)^2 = 1.00625; variance
    1.00625 / 90, t(7) = 2.364624. Alpha: of 16 preferences 10 are a (4 + 4 + 1 + 1), 3 b and 3 tie;
    two units of eight differ: D_o = 4/16, D_e = (256 - 118) / 240.
    """
    assert (record.items, record.of, record.raters, record.disputed) == (8, 10, 2, 2)
    assert record.win_rate.value == pytest.approx(0.675)
    reach = 2.364624 * (1.00625 / 90) ** 0.5
    assert record.win_rate.low == pytest.approx(0.675 - reach, abs=1e-6)
    # Ann: 5 wins, 2 ties, 1 loss; Bo: 5 wins, 1 tie, 2 losses; and the two ties.
    assert [f.value for f in record.by_rater] == pytest.approx([0.7, 0.65])
    assert record.alpha == pytest.approx(1 - 0.25 / (138 / 240))
    correct, clear = record.rubric["correct"], record.rubric["clear"]
    assert (correct.a, correct.b, correct.alpha) == pytest.approx((5, 2, 1))
    assert correct.difference.value == pytest.approx(3)
    assert (clear.a, clear.b) == pytest.approx((3.5, 4))
    # The scorer puts the trial above on items 8 (people: .75) and 9 (0).
    assert record.metric_agreement is not None
    assert (record.metric_agreement.value, record.metric_agreement.items) == (0.5, 2)


def test_arrows_back_and_turning_without_a_rubric(opened: Opened, tmp_path: Path) -> None:
    given, page = sent(tmp_path, {}), opened.page
    page.goto(given.page.as_uri())
    begin(page, "Ann")
    place = page.locator("#place")
    page.keyboard.press("ArrowLeft")
    expect(place).to_have_text("2 / 8")
    page.keyboard.press("p")
    expect(page.locator("#prefer-left")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")  # done before: it stays on the item
    expect(place).to_have_text("1 / 8")
    expect(page.locator("#prefer-right")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Backspace")
    expect(page.locator("#progress")).to_have_text("0 of 8 done")
    page.keyboard.press("n")
    expect(place).to_have_text("2 / 8")
    page.keyboard.press("t")
    expect(place).to_have_text("3 / 8")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("1")  # nothing is judged behind the list
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    expect(page.locator("#progress")).to_have_text("1 of 8 done")


def test_a_key_that_is_held_down_rates_one_item(opened: Opened, tmp_path: Path) -> None:
    given, page = sent(tmp_path, {}), opened.page
    page.goto(given.page.as_uri())
    begin(page, "Ann")
    for _ in range(4):  # each but the first is a repetition
        page.keyboard.down("1")
    page.keyboard.up("1")
    expect(page.locator("#progress")).to_have_text("1 of 8 done")


def test_two_tabs_of_one_rater_lose_nothing(opened: Opened, tmp_path: Path) -> None:
    given, page = sent(tmp_path, {}), opened.page
    page.goto(given.page.as_uri())
    begin(page, "Ann")
    other = page.context.new_page()
    other.goto(given.page.as_uri())
    page.keyboard.press("1")
    page.keyboard.press("1")
    expect(other.locator("#progress")).to_have_text("2 of 8 done")
    other.keyboard.press("3")
    expect(page.locator("#progress")).to_have_text("3 of 8 done")
    page.reload()
    expect(page.locator("#progress")).to_have_text("3 of 8 done")


def test_both_sides_look_alike_and_a_narrow_window_has_no_sideways_scroll(
    opened: Opened, tmp_path: Path
) -> None:
    given, page = sent(tmp_path, RUBRIC), opened.page
    page.goto(given.page.as_uri())
    begin(page, "Ann")
    while shown_item(page, given.key) != 5:  # the one with the long answer
        page.keyboard.press("n")
    styles = page.evaluate(
        """() => ["left", "right"].map((side) => {
          const card = document.getElementById(`${side}-card`);
          const text = document.getElementById(side);
          const of = (node) => Object.fromEntries([...getComputedStyle(node)]
            .filter((name) => /color|font|border|padding|width/.test(name))
            .map((name) => [name, getComputedStyle(node)[name]]));
          return [of(card), of(text)];
        })"""
    )
    assert styles[0] == styles[1]
    page.keyboard.press("1")
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        expect(page.locator("#prefer-left")).to_be_in_viewport()
        page.screenshot(path=tmp_path / f"review-{width}-{scheme}.png")
