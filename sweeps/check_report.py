"""`sweep check --report FILE`: findings and data as one page; it loads and runs nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from keepgain.core.pages import environment, save
from keepgain.core.units import human_count, human_seconds
from keepgain.sweeps.checked import Checked
from keepgain.sweeps.data_card import DataCard, SetCard, Values
from keepgain.sweeps.gates.findings import Severity, count_findings, group

TEMPLATES = Path(__file__).parent / "templates"
MAX_CATEGORIES = 12
BAR, GAP = 13, 9
"""Height of a bar, and what is between categories."""
_SECTIONS: tuple[tuple[Severity, str, str], ...] = (
    ("error", "Errors", "They stop `sweep plan` and `sweep run`."),
    ("warning", "Warnings", "The sweep may run; they are kept with its record."),
    ("note", "Notes", "Facts, and warnings that the spec allows."),
)


@dataclass(frozen=True)
class Bar:
    """One bar of a chart."""

    part: str
    """Of the rows: its colour."""
    share: float
    """0 to 1 of the chart's width."""
    text: str
    """Written at its end."""
    y: int
    """Its upper edge, in the chart's units."""


@dataclass(frozen=True)
class Category:
    """A name with its bars, one a part."""

    name: str
    bars: tuple[Bar, ...]

    @property
    def y(self) -> float:
        """The middle of its bars."""
        return (self.bars[0].y + self.bars[-1].y + BAR) / 2


@dataclass(frozen=True)
class Chart:
    """Horizontal bars, drawn as SVG by the template."""

    title: str
    categories: tuple[Category, ...]

    @property
    def height(self) -> int:
        """In the chart's units, of which it is 360 wide."""
        return self.categories[-1].bars[-1].y + BAR + GAP

    @property
    def said(self) -> str:
        """The chart for who cannot see it."""
        told = (
            f"{c.name}: {', '.join(f'{b.part} {b.text}' for b in c.bars)}" for c in self.categories
        )
        return f"{self.title}. {'; '.join(told)}"


def write_report(checked: Checked, path: Path) -> None:
    """Writes the page, or nothing.

    Raises:
        UserError: The file cannot be written.
    """
    save(path, to_html(checked))


def to_html(checked: Checked) -> str:
    """The page as text."""
    card = checked.card
    sections = [
        (severity, title, about, [g for g in group(checked.findings) if g.severity == severity])
        for severity, title, about in _SECTIONS
    ]
    return (
        environment(TEMPLATES)
        .get_template("check.html")
        .render(
            title=f"Data of {card.sweep}",
            counts=count_findings(checked.findings),
            took=human_seconds(checked.seconds),
            sections=sections,
            header=_HEADER,
            rows=[_row(one) for one in card.sets],
            groups=charts(card),
            style=Markup((TEMPLATES / "check.css").read_text(encoding="utf-8")),
        )
    )


def charts(card: DataCard) -> list[tuple[str, str, list[Chart]]]:
    """(title, what the bars are, charts) of each group; empty groups are left out.

    Sets with rows of the same source or suite share a chart, so that their parts compare by eye.
    """
    alike: dict[str, list[SetCard]] = {}
    for one in card.sets:
        alike.setdefault(one.source or one.label.split("/")[0], []).append(one)
    fields = [
        _values(
            f"{name}: {field}", sets, {s.part: s.fields[field] for s in sets if field in s.fields}
        )
        for name, sets in alike.items()
        for field in dict.fromkeys(f for s in sets for f in s.fields)
    ]
    of_rows = "share of the rows"
    groups = [
        ("Rows", "rows of each set", [_rows(card)]),
        ("Lengths", "characters of question and answer; " + of_rows, _lengths(card, alike)),
        ("Answers", of_rows, _of(alike, "labels")),
        ("Languages", "as detected; share of the rows looked at", _of(alike, "languages")),
        ("Fields", of_rows, fields),
    ]
    return [(title, about, drawn) for title, about, drawn in groups if drawn]


def _chart(title: str, named: Mapping[str, Mapping[str, tuple[float, str]]]) -> Chart:
    """Args: `named`: category → part → (figure, text); the largest figure fills the width."""
    most = max((n for bars in named.values() for n, _ in bars.values()), default=0.0) or 1.0
    categories, y = [], 4
    for name, bars in named.items():
        drawn = tuple(
            Bar(part, figure / most, text, y + i * BAR)
            for i, (part, (figure, text)) in enumerate(bars.items())
        )
        categories.append(Category(name, drawn))
        y += len(drawn) * BAR + GAP
    return Chart(title, tuple(categories))


def _rows(card: DataCard) -> Chart:
    return _chart("", {s.label: {s.part: (float(s.rows), f"{s.rows:,}")} for s in card.sets})


def _lengths(card: DataCard, alike: Mapping[str, Sequence[SetCard]]) -> list[Chart]:
    found = []
    for name, sets in alike.items():
        used = [i for i in range(len(card.edges)) if any(s.lengths[i] for s in sets)]
        classes = range(used[0], used[-1] + 1) if used else ()
        named = {
            _class(card.edges, i): _shares(sets, [s.lengths[i] for s in sets]) for i in classes
        }
        if named:
            found.append(_chart(name, named))
    return found


def _class(edges: Sequence[int], index: int) -> str:
    """`64–127`."""
    if index + 1 == len(edges):
        return f"from {edges[index]:,}"
    return f"{edges[index]:,}–{edges[index + 1] - 1:,}"


def _shares(
    sets: Sequence[SetCard], counts: Sequence[int], of: Sequence[int] | None = None
) -> dict[str, tuple[float, str]]:
    """Part → share of its rows, as figure and as text.

    Args:
        counts: Of the sets.
        of: Rows that were looked at; None: all.
    """
    totals = of or [s.rows for s in sets]
    found = {s.part: n / rows for s, n, rows in zip(sets, counts, totals, strict=True) if rows}
    return {part: (share, f"{share:.1%}") for part, share in found.items()}


def _of(alike: Mapping[str, Sequence[SetCard]], name: str) -> list[Chart]:
    """Of `labels` or `languages`, of the sets that have them."""
    found = []
    for owner, sets in alike.items():
        values = {s.part: v for s in sets if (v := getattr(s, name)) is not None}
        if values:
            found.append(_values(owner, sets, values))
    return found


def _values(title: str, sets: Sequence[SetCard], values: Mapping[str, Values]) -> Chart:
    """Shares of the values that are the most frequent over all parts."""
    total: Counter[str] = Counter()
    for one in values.values():
        total.update(one.rows)
    shown = [name for name, _ in total.most_common(MAX_CATEGORIES)]
    having = [s for s in sets if s.part in values]

    found = [values[s.part] for s in having]
    totals = [s.rows if o.of is None else o.of for s, o in zip(having, found, strict=True)]
    named = {v: _shares(having, [o.rows.get(v, 0) for o in found], totals) for v in shown}
    without = [o.without for o in found]
    rest = [
        total - o.without - sum(o.rows.get(v, 0) for v in shown)
        for total, o in zip(totals, found, strict=True)
    ]
    for name, counts in (("all others", rest), ("none", without)):
        if any(counts):
            named[name] = _shares(having, counts, totals)
    return _chart(title, named)


_HEADER = (
    ("set", False), ("use", False), ("rows", True), ("alike", True), ("tokens", True),
    ("words", True), ("characters asked", True), ("answered", True), ("longest", True),
)  # fmt: skip


def _row(one: SetCard) -> list[tuple[str, bool]]:
    """Cells, and whether each is a number."""
    asked, answered = one.question.get("p50"), one.answer.get("p50")
    longest = one.question.get("most", 0) + one.answer.get("most", 0)
    tokens = {human_count(n): None for n in one.tokens.values()}
    cells = (
        one.label,
        one.use,
        f"{one.rows:,}",
        f"{one.rows - one.distinct:,}",
        " / ".join(tokens),
        human_count(one.words),
        "" if asked is None else f"{asked:,.0f}",
        "" if answered is None else f"{answered:,.0f}",
        f"{longest:,.0f}",
    )
    return [(cell, number) for cell, (_, number) in zip(cells, _HEADER, strict=True)]
