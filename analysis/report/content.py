"""What the report says, in its order: plain texts and grids, laid out by the template."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keepgain.analysis import cells, tables, words
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.report.links import TAG_TRIAL, Links
from keepgain.analysis.report.thin import top_rows
from keepgain.analysis.result import Analysis, Row
from keepgain.analysis.views.decision import (
    TITLES,
    check_lines,
    flip_lines,
    headline,
    notes,
    reading,
)
from keepgain.core.record import Evidence, short_id

MAX_EXCLUDED = 200
"""Rows of the table of what was left out; the reasons are counted over all."""
MAX_WHY = 300
"""Trials up to which what mattered is part of the report: about 10 s of processor time."""
_PRIVATE = ("host", "cluster", "ray_job")
"""Facts of provenance that are no news to a reader and name machines."""


@dataclass(frozen=True)
class Content:
    """Texts and tables of all sections."""

    title: str
    headline: str
    status: str
    status_key: str
    """As of `decide.Status`."""
    lead: str
    """First sentence of the decision's reason, with what belongs to it."""
    rest: str
    figures: tuple[tuple[str, str], ...]
    """(name, value) of what was decided on."""
    flips: tuple[str, ...]
    reading: tuple[str, ...]
    checks: tuple[str, ...]
    warnings: tuple[str, ...]
    size_notes: tuple[str, ...]
    rows_note: str
    views: tuple[View, ...]
    """What mattered."""
    grids: Mapping[str, tuple[Grid, ...]]
    """Section → its tables."""
    excluded: str
    links: str
    """What the names of trials link to, or where else to look."""
    sweep_url: str | None
    facts: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    from_table: bool


def content(
    evidence: Evidence, analysis: Analysis, links: Links, source: Sequence[str] = ()
) -> Content:
    """Collects everything; computes nothing but counts."""
    decision, sweep = analysis.decision, analysis.sweep
    lead, _, rest = decision.reason.partition(". ")
    shown = top_rows(analysis, tables.MAX_ROWS)
    given = analysis.given is not None
    sizes = None if given else _sizes(analysis)
    views = () if given else _views(evidence, analysis)
    whole = sum(r.split is not None for r in analysis.rows)
    return Content(
        title=f"{sweep.name}: {TITLES[decision.status].lower()}",
        headline=headline(analysis),
        status=TITLES[decision.status],
        status_key=decision.status,
        lead=f"{lead}." if rest else lead,
        rest=rest,
        figures=_figures(analysis),
        # What is said of a table from elsewhere is one text, flips and all.
        flips=() if given else tuple(flip_lines(analysis)),
        reading=tuple(notes(analysis) if given else reading(analysis)),
        checks=() if given else tuple(check_lines(analysis)),
        warnings=analysis.warnings,
        size_notes=sizes.notes if sizes else (),
        rows_note=_rows_note(whole if given else len(shown), whole),
        views=views,
        grids={
            "sizes": sizes.grids if sizes else (),
            "trials": tables.grids(analysis) if given else (_trials(analysis, shown),),
            "details": () if given else _details(analysis),
            "excluded": _excluded_grids(analysis),
            **{v.name: v.grids for v in views},
        },
        excluded=excluded(analysis),
        links=_links(analysis, links, source),
        sweep_url=links.sweep(),
        facts=_facts(evidence, analysis),
        commands=commands(evidence, analysis, source),
        from_table=given,
    )


def chosen_row(analysis: Analysis) -> Row | None:
    """The row of what the decision names."""
    return next((r for r in analysis.rows if r.who.trial_id == analysis.decision.trial), None)


def _figures(analysis: Analysis) -> tuple[tuple[str, str], ...]:
    decision, row = analysis.decision, chosen_row(analysis)
    found: list[tuple[str, str]] = []
    if row is not None:
        who, e = row.who, row.estimates
        found.append(("Model", words.clean(who.model)))
        found.append(("Trial or arm", _called(analysis, who.trial_id)))
        gain, forgetting = analysis.scorers["gain"], analysis.scorers["forgetting"]
        if "task_score" in e:
            found.append(("Task score", words.interval(e["task_score"], gain)))
            n = e["task_score"]
            found.append(("Measured on", f"{n.n_items:,} items × {words.count(n.n_seeds, 'seed')}"))
        found += [(name, cells.signed(e[key])) for key, name in _FIGURES if key in e]
        worst = e.get("max_forgetting")
        if worst is not None and worst.value is not None:
            found.append(("Worst drop of a suite", words.amount(worst.value, forgetting)))
        cost = analysis.question.cost
        if cost in who.cost:
            found.append((cells.cost_name(cost), cells.cost(cost, who.cost[cost])))
    if decision.probability is not None:
        found.append(("Probability of being adequate", f"{decision.probability:.2f}"))
    on = f"{decision.split} items" if analysis.given is None else "figures of a table"
    found.append(("Decided on", on))
    opened = analysis.sweep.test_opened
    if decision.split == "test" and opened:
        found.append(("Test items opened", "once" if opened == 1 else f"{opened} times"))
    return tuple(found)


def _called(analysis: Analysis, trial: str) -> str:
    """A row of a table has its label for an id: whole, since several may begin alike."""
    return words.clean(short_id(trial) if analysis.given is None else trial)


_FIGURES = (("gain", "Gain over its base"), ("forgetting", "Mean forgetting"))


def _rows_note(shown: int, whole: int) -> str:
    if shown == whole:
        return "All configurations with scores."
    return (
        f"The {shown} rows shown of {whole:,}: bases and arms, the front, and the best of every "
        "base model. `analyze ID trials --format csv` has all of them."
    )


def _trials(analysis: Analysis, shown: Sequence[Row]) -> Grid:
    return tables.trial_grid(replace(analysis, rows=tuple(shown)))


def _sizes(analysis: Analysis) -> View | None:
    from keepgain.analysis.views.sizes import sizes_view

    return sizes_view(analysis) if analysis.sizes else None


def _details(analysis: Analysis) -> tuple[Grid, ...]:
    found = (
        tables.churn_grid(analysis),
        tables.served_grid(analysis),
        tables.slice_grid(analysis),
    )
    return tuple(g for g in found if g is not None)


def _views(evidence: Evidence, analysis: Analysis) -> tuple[View, ...]:
    trials = sum(r.who.kind == "trial" and r.split is not None for r in analysis.rows)
    if trials > MAX_WHY:
        # Resampled importance and cross-validated surfaces of thousands of trials take minutes.
        said = (
            f"Not computed here for {trials:,} trials: `analyze ID why` and `curves` take minutes."
        )
        return (View("why", "Settings and curves", (said,), (), (), {}),)
    from keepgain.analysis.views.curves import curves_view
    from keepgain.analysis.views.why import why_view

    return why_view(evidence, analysis), curves_view(evidence, analysis)


# -- what was left out --------------------------------------------------------------------------


def excluded(analysis: Analysis) -> str:
    if not analysis.excluded:
        return "Nothing was left out."
    if analysis.given is not None:  # every reason begins with the row's own place
        return f"{words.count(len(analysis.excluded), 'row')} left out."
    kinds = Counter(e.reason.partition(":")[0] for e in analysis.excluded)
    parts = [f"{n:,} {words.clean(kind)}" for kind, n in kinds.most_common(8)]
    more = len(kinds) - len(parts)
    said = f"{len(analysis.excluded):,} left out: {', '.join(parts)}"
    said += f", and {words.count(more, 'more reason')}." if more else "."
    if len(analysis.excluded) > MAX_EXCLUDED:
        said += f" The table has the first {MAX_EXCLUDED}; --format json has all."
    return said


def _excluded_grids(analysis: Analysis) -> tuple[Grid, ...]:
    rows = [
        (_called(analysis, e.trial), words.clean(e.reason))
        for e in analysis.excluded[:MAX_EXCLUDED]
    ]
    off = [
        (words.clean(r.who.label), words.clean(r.place.excluded))
        for r in analysis.rows
        if r.place is not None and r.place.excluded
    ][:MAX_EXCLUDED]
    found = (
        _plain("Left out of the comparison", ("run", "why"), rows),
        _plain("Compared, but on no front", ("configuration", "why"), off),
    )
    return tuple(g for g in found if g.rows)


def _plain(title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Grid:
    return Grid(title, header, tuple(rows), (False,) * len(rows))


# -- how to reproduce ---------------------------------------------------------------------------


def _links(analysis: Analysis, links: Links, source: Sequence[str]) -> str:
    if links.base is not None:
        return (
            "Names of trials and arms link to their runs in MLflow; where a figure is the mean of "
            "several seeds, to the table of those runs."
        )
    if source or not analysis.sweep.store:
        return "This report is of no single store, so names carry no links to MLflow."
    example = next((r.who for r in analysis.rows if r.who.kind == "trial"), None)
    found = f"No server shows this store, so names carry no links. `{_ui(analysis)}` opens MLflow"
    if example is None:
        return f"{found}."
    query = f"tags.\"{TAG_TRIAL}\" = '{example.trial_id}'".replace("`", "")
    return f"{found}; the search `{query}` finds the runs of that trial, and so of any other."


def _ui(analysis: Analysis) -> str:
    sweep = analysis.sweep
    return shlex.join(["sweep", "ui", sweep.id, "--store", sweep.store]).replace("`", "")


def _facts(evidence: Evidence, analysis: Analysis) -> tuple[tuple[str, str], ...]:
    sweep = analysis.sweep
    found = [
        ("sweep", sweep.id),
        ("store", sweep.store),
        ("stage", str(sweep.stage)),
        ("question", _question(analysis)),
        *(
            (f"suite {s.name}", _suite(s.measures, s.scorer, s.metric_version))
            for s in sweep.suites
        ),
        *((f"base {m.name}", f"digest {m.digest}") for m in sweep.models if m.digest),
    ]
    devices = Counter(r.numerics["device"] for r in sweep.runs if r.numerics.get("device"))
    found += [("device", ", ".join(devices))] if devices else []
    found += [(k, v) for k, v in sorted(sweep.provenance.items()) if k not in _PRIVATE]
    return tuple((words.clean(k), words.clean(v)) for k, v in found if v)


def _suite(measures: str, scorer: str, version: int) -> str:
    return f"measures {measures} by {scorer}, metric version {version}"


def _question(analysis: Analysis) -> str:
    q = analysis.question
    limit = "none" if q.max_forgetting is None else f"{q.max_forgetting:g}"
    said = f"delta {q.delta:g}, max_forgetting {limit}, min_gain {q.min_gain:g}, cost {q.cost}"
    return said + "".join(f", {name} at most {most:g}" for name, most in q.max_cost.items())


def commands(evidence: Evidence, analysis: Analysis, source: Sequence[str]) -> tuple[str, ...]:
    sweep = analysis.sweep
    store = ["--store", sweep.store] if sweep.store else []
    named = list(source) or [sweep.id, *store]
    asked, declared = analysis.question, evidence.sweep.question
    changed: list[str] = []
    for flag, now, then in (
        ("--delta", asked.delta, declared.delta),
        ("--max-forgetting", asked.max_forgetting, declared.max_forgetting),
        ("--min-gain", asked.min_gain, declared.min_gain),
    ):
        if now != then and now is not None:
            changed += [flag, f"{now:g}"]
    for name, most in asked.max_cost.items():
        if declared.max_cost.get(name) != most:
            changed += ["--budget-usd", f"{most:g}"]
    if analysis.forced is not None:
        changed += ["--split", analysis.forced]
    if analysis.wanted:
        changed += ["--objectives", ",".join(analysis.wanted)]
    again = ["analyze", *named, *changed]
    return tuple(
        words.clean(shlex.join(parts))
        for parts in ([*again, "--report", "report.html"], [*again, "--format", "json"])
    )
