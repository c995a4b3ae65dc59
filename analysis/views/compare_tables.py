"""The tables of `analyze ID compare A B`."""

from collections.abc import Mapping, Sequence

from keepgain.analysis import cells, words
from keepgain.analysis.grid import Grid
from keepgain.analysis.slices import Slice
from keepgain.analysis.table import SuiteItems
from keepgain.analysis.views.pairs import ACROSS, Contrast, Duel
from keepgain.analysis.views.trials import column_name

MAX_SLICES = 12
_WHO_WON = ("only A right", "only B right", "McNemar P")
COSTS = (
    "parameters",
    "usd_per_million_tokens",
    "seconds_per_answer_p50",
    "seconds_per_answer_p95",
    "usd_per_answer_p50",
    "peak_memory_bytes",
    "train_seconds",
    "gpu_seconds",
    "usd",
)


def setting_grid(settings: Mapping[str, tuple[object, object]]) -> Grid:
    rows = tuple(
        (words.clean(n), *("–" if v is None else words.plain(v) for v in pair))
        for n, pair in settings.items()
    )
    return Grid("Settings that differ", ("setting", "A", "B"), rows, (False,) * len(rows))


def objective_grid(overall: Sequence[Contrast]) -> Grid:
    rows = []
    for c in overall:
        cell = cells.level if c.name in ACROSS else cells.signed
        if c.name == "max_forgetting":
            cell = cells.short
        needed = "–" if c.shows is None else "shown" if c.shows else "more seeds"
        needed = f"{c.needed:,}" if c.needed is not None else needed
        difference = "–" if c.better is None else cells.signed(c.difference)
        rows.append((column_name(c.name), cell(c.a), cell(c.b), difference, needed))
    header = ("objective", "A", "B", "A better by", "items needed")
    return Grid("Objectives", header, tuple(rows), (False,) * len(rows), ("items needed",))


def suite_grid(
    suites: Sequence[SuiteItems], found: Sequence[Contrast], duels: Mapping[str, Duel | None]
) -> Grid:
    rows = []
    for suite, c in zip(suites, found, strict=True):
        d = duels[suite.info.name]
        rows.append(
            (
                words.clean(suite.info.name),
                suite.info.measures,
                f"{len(suite.item_ids):,}",
                cells.level(c.a),
                cells.level(c.b),
                cells.signed(c.difference),
                *(("–", "–") if d is None else (f"{d.only_a:.3f}", f"{d.only_b:.3f}")),
                _p_values(d),
            )
        )
    header = ("suite", "measures", "items", "A", "B", "A better by", *_WHO_WON)
    return Grid(
        "Suites", header, tuple(rows), (False,) * len(rows), ("measures", "items", "A", "B")
    )


def _p_values(found: Duel | None) -> str:
    values = [p.adjusted for p in found.pairs if p.adjusted is not None] if found else []
    said = list(dict.fromkeys(_p(v) for v in (min(values), max(values)))) if values else ["–"]
    return " to ".join(said)


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}"


def slice_grid(found: Sequence[tuple[Slice, Contrast]]) -> Grid:
    largest = sorted(found, key=lambda f: -abs(f[1].difference.value or 0.0))
    rows = tuple(
        (
            words.clean(f"{p.field}={p.value}"),
            words.clean(c.name),
            f"{c.a.n_items:,}",
            cells.level(c.a),
            cells.level(c.b),
            cells.signed(c.difference),
        )
        for p, c in largest[:MAX_SLICES]
    )
    header = ("slice", "suite", "items", "A", "B", "A better by")
    return Grid("Slices", header, rows, (False,) * len(rows), ("B", "A"))


def cost_grid(costs: Mapping[str, tuple[float | None, float | None]], decisive: str) -> Grid:
    rows = []
    for name in dict.fromkeys((decisive, *COSTS)):
        a, b = costs.get(name, (None, None))
        if a is None and b is None:
            continue
        ratio = f"{a / b:.2f}" if a is not None and b else "–"
        rows.append((cells.cost_name(name), cells.cost(name, a), cells.cost(name, b), ratio))
    return Grid("Costs", ("cost", "A", "B", "A / B"), tuple(rows), (False,) * len(rows))
