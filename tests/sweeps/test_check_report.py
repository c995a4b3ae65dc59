"""The page has all findings and sets, escapes every text, and neither loads nor runs anything."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.check_report import charts, to_html, write_report
from keepgain.sweeps.checked import Checked
from keepgain.sweeps.data_card import EDGES, DataCard, SetCard, Values
from keepgain.sweeps.gates.findings import Finding

EVIL = "<script>alert(1)</script>\"'&\x1b[31m\u202e"


def one_set(label: str = "t/train", rows: int = 4, **more: object) -> SetCard:
    given = {
        "label": label,
        "part": label.split("/")[1],
        "use": "task",
        "rows": rows,
        "words": 11,
        "distinct": rows,
        "lengths": (rows, *([0] * (len(EDGES) - 2))),
    }
    return SetCard.model_validate(given | more)


def checked(findings: tuple[Finding, ...] = (), sets: tuple[SetCard, ...] = ()) -> Checked:
    card = DataCard(sweep="demo", sets=sets or (one_set(),))
    return Checked(key="k", findings=findings, card=card, of_rows={}, seconds=1.0)


def finding(**more: object) -> Finding:
    given = {"code": "few_items", "severity": "warning", "where": "gain/test", "message": "few."}
    return Finding.model_validate(given | more)


class Balanced(HTMLParser):
    """Fails on a tag that is not closed in its place."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Balanced:
    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_texts_of_users_are_escaped_wherever_they_stand() -> None:
    every = finding(
        where=EVIL,
        message=EVIL,
        why=EVIL,
        hint=EVIL,
        rows=(EVIL,),
        waived=EVIL,
        figures={EVIL: 1.0},
    )
    values = Values(rows={EVIL: 4})
    sets = (one_set(source=EVIL, labels=values, languages=values, fields={EVIL: values}),)
    page = to_html(checked((every,), sets))
    reader = parsed(page)
    assert "script" not in reader.tags and "\x1b" not in page and "\u202e" not in page
    assert page.count("&lt;script&gt;") > 10


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = to_html(checked((finding(),)))
    assert parsed(page).tags.isdisjoint({"script", "link", "img", "iframe", "base"})
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|url\(|@import|\son\w+=", page)


def test_every_finding_stands_under_its_severity_with_all_it_knows() -> None:
    given = finding(
        severity="error", count=3, of=12, why="It costs.", hint="Remove `x`.", rows=("f:1", "f:2")
    )
    page = to_html(checked((given, finding(severity="note", message="a fact"))))
    assert page.index('id="error"') < page.index("gain/test") < page.index('id="note"')
    for text in ("3 of 12 (25.00 %)", "It costs.", "Remove <code>x</code>.", "f:2", "a fact"):
        assert text in page
    assert 'id="warning"' not in page and "1 error, 0 warnings, 1 note" in page


def test_bars_are_shares_of_each_part_side_by_side() -> None:
    train = one_set(labels=Values(rows={"a": 3, "b": 1}))
    test = one_set(
        "gain/test", rows=10, source="t", labels=Values(rows={"b": 6}, others=2, other_rows=4)
    )
    card = DataCard(sweep="s", sets=(train.model_copy(update={"source": "t"}), test))
    (chart,) = next(drawn for title, _, drawn in charts(card) if title == "Answers")
    told = {c.name: [(b.part, b.text) for b in c.bars] for c in chart.categories}
    assert told == {
        "b": [("train", "25.0%"), ("test", "60.0%")],
        "a": [("train", "75.0%"), ("test", "0.0%")],
        "all others": [("train", "0.0%"), ("test", "40.0%")],
    }
    widest = max(b.share for c in chart.categories for b in c.bars)
    assert widest == 1.0


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_report(checked(), tmp_path / "none" / "x.html")
    write_report(checked(), tmp_path / "x.html")
    assert [p.name for p in tmp_path.iterdir()] == ["x.html"]
