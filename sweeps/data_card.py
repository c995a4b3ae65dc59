"""The data of a sweep in figures: rows, tokens, lengths, labels and fields of every set."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from keepgain.core.personal.find import mask
from keepgain.core.schema import StrictModel
from keepgain.core.terminal import clean
from keepgain.core.units import human_count
from keepgain.sweeps.gate import Material
from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.labels import FactsProbe
from keepgain.sweeps.gates.language import probabilities, sampled
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.scan import Array, Arrays
from keepgain.sweeps.gates.shape import PROBE

MAX_VALUES = 20
"""Values that a card names of a field or of labels; the others are counted together."""
LANGUAGE_ROWS = 500
"""Looked at of a set: a share is known to about 4 points."""
NAMED = 3
"""Values named in a line."""
EDGES = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 1 << 40)
"""Of the classes of lengths, in characters: from one edge to below the next."""
_QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95, "most": 1.0}


class Values(StrictModel):
    """How often the values of a field occur."""

    rows: dict[str, int]
    """The most frequent values."""
    others: int = 0
    """Further values."""
    other_rows: int = 0
    """Rows that have these."""
    without: int = 0
    """Rows that lack the field."""
    of: int | None = None
    """Rows looked at; None: all."""


class SetCard(StrictModel):
    """One split of a source or suite."""

    label: str
    """`tickets/train`, `gain/test`, ..."""
    part: str
    use: str
    """Role of a source, or what a suite measures."""
    source: str | None = None
    """Data source that the rows come from; None: a suite's own file."""
    rows: int
    tokens: dict[str, int] = {}
    """Model → tokens that one pass trains on; of a long file from a sample."""
    words: int
    distinct: int
    """Rows that differ in question or answer."""
    question: dict[str, float] = {}
    """Characters: `p05`, `p50`, `p95` and `most`; empty where there are no rows."""
    answer: dict[str, float] = {}
    """The same; empty where rows have none."""
    lengths: tuple[int, ...] = ()
    """Rows by characters of question and answer together, in the classes of `EDGES`."""
    labels: Values | None = None
    """Answers, where they are few different ones."""
    languages: Values | None = None
    """As detected in a sample of the rows, by their ISO 639 codes; None: not looked at. `without`:
    rows with too few letters to tell."""
    fields: dict[str, Values] = {}
    """Fields of the file beside question and answer."""


class DataCard(StrictModel):
    """All sets of a sweep."""

    sweep: str
    sets: tuple[SetCard, ...]
    edges: tuple[int, ...] = EDGES[:-1]
    """Of `SetCard.lengths`."""


def data_card(material: Material, *, languages: bool = True) -> DataCard:
    """From what was read and what the probes measured.

    Args:
        languages: Look for them.
    """
    labels = material.labelled[1] if material.measured(FactsProbe.name) else {}
    shapes = material.measured(PROBE)
    tokens = material.prepared.token_stats
    cards = [
        set_card(
            rows,
            shapes[rows.label],
            {
                model: stats.tokens
                for (model, label), stats in tokens.items()
                if label == rows.label
            },
        )
        for rows in material.sets
    ]
    cards = [
        card.model_copy(
            update={
                "labels": values_of(labels[rows.label]) if rows.label in labels else None,
                "languages": languages_of(rows) if languages and len(rows.rows) else None,
            }
        )
        for card, rows in zip(cards, material.sets, strict=True)
    ]
    return DataCard(sweep=material.prepared.sweep_id, sets=tuple(cards))


def set_card(rows: RowSet, shape: Arrays, tokens: Mapping[str, int]) -> SetCard:
    """Of one set. Args: `shape`: of `ShapeProbe`; `tokens`: by model."""
    question, answer = shape["question"], shape["answer"]
    return SetCard(
        label=rows.label,
        part=rows.part,
        use=str(rows.role or rows.measures),
        source=rows.source,
        rows=len(rows.rows),
        tokens=dict(tokens),
        words=int(shape["words"].sum(dtype=np.int64)),
        distinct=len(np.unique(shape["content"])),
        question=_quantiles(question),
        answer=_quantiles(answer) if answer.any() else {},
        lengths=tuple(np.histogram(question + answer, EDGES)[0].tolist()),
        fields={name: values_of(column) for name, column in rows.columns.items()},
    )


def _quantiles(lengths: Array) -> dict[str, float]:
    if not len(lengths):
        return {}
    found = np.quantile(lengths, list(_QUANTILES.values()), method="inverted_cdf")
    return dict(zip(_QUANTILES, map(float, found), strict=True))


def languages_of(rows: RowSet) -> Values:
    """Of a sample."""
    places = sampled(len(rows.rows), LANGUAGE_ROWS)
    found: Counter[str] = Counter()
    for i in places.tolist():
        row = rows.rows[i]
        likely = probabilities(f"{row.question()}\n{row.answer}")
        found[next(iter(likely)) if likely else ""] += 1
    without = found.pop("", 0)
    return counted(found, without).model_copy(update={"of": len(places)})


def values_of(column: Column) -> Values:
    """Of a field. What is personal is masked: the card goes into the record."""
    counts = np.bincount(column.codes + 1, minlength=len(column.values) + 1)
    found = Counter(dict(zip(column.values, counts[1:].tolist(), strict=True)))
    shown = counted(found, int(counts[0]))
    masked = Counter[str]()
    for value, rows in shown.rows.items():
        masked[mask(value)] += rows
    return shown.model_copy(update={"rows": dict(masked)})


def counted(counts: "Counter[str]", without: int = 0) -> Values:
    """The most frequent values, and the rest in two numbers."""
    present = [(value, n) for value, n in counts.most_common() if n]
    shown, rest = present[:MAX_VALUES], present[MAX_VALUES:]
    return Values(
        rows=dict(shown),
        others=len(rest),
        other_rows=sum(n for _, n in rest),
        without=without,
    )


def card_lines(card: DataCard) -> list[str]:
    """A table for people, a line a set; columns in which no set has anything are left out."""
    lines = [_HEADER, *map(_line, card.sets)]
    columns = [c for c in zip(*lines, strict=True) if any(c[1:])]
    widths = [max(map(len, c)) for c in columns]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


_HEADER = (
    "set", "use", "rows", "tokens", "alike", "characters", "answers", "languages", "fields",
)  # fmt: skip
"""`alike`: rows whose question and answer another row has too; `characters`: medians."""


def _line(one: SetCard) -> tuple[str, ...]:
    tokens = next(iter(one.tokens.values()), None)
    return (
        one.label,
        one.use,
        f"{one.rows:,}",
        "" if tokens is None else human_count(tokens),
        f"{one.rows - one.distinct:,}",
        " + ".join(f"{length['p50']:.0f}" for length in (one.question, one.answer) if length),
        _most(one.labels),
        _most(one.languages),
        clean(", ".join(one.fields)),
    )


def _most(values: Values | None) -> str:
    """The most frequent values with their shares of all rows that have one."""
    if values is None:
        return ""
    total = sum(values.rows.values()) + values.other_rows
    named = list(values.rows.items())[:NAMED]
    more = len(values.rows) + values.others - len(named)
    text = ", ".join(f"{clean(value)[:24]} {n / max(total, 1):.0%}" for value, n in named)
    return text + (f", {more} more" if more else "")
