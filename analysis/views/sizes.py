"""`analyze ID sizes`: the ladder of sizes, what each costs, and what would change the answer."""

from collections.abc import Mapping, Sequence

from keepgain.analysis import cells, contract_sizes, words
from keepgain.analysis.best_of_k import MIN_TRIALS, compared_at
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.result import Analysis, SizeRow
from keepgain.analysis.stats import Estimate
from keepgain.analysis.views.decision import amount, origin
from keepgain.analysis.views.trials import column_name
from keepgain.core.record import short_id
from keepgain.core.schema import StrictModel
from keepgain.core.units import human_count

COSTS = (
    "parameters",
    "usd",
    "train_seconds",
    "gpu_seconds",
    "peak_memory_bytes",
    "weight_bytes",
    "usd_per_million_tokens",
    "seconds_per_answer_p50",
    "seconds_per_answer_p95",
    "usd_per_answer_p50",
    "energy_joules",
)
_FORMS = {
    "per_tenfold": "change with ten times the parameters",
    "power_law": "power law, exponent",
    "power_law_of_errors": "power law of 1 - score, exponent",
}


def sizes_view(analysis: Analysis) -> View:
    """Everything on the choice of a size; nothing in it was not computed by `analyze`."""
    grids = (
        _ladder(analysis),
        _costs(analysis),
        _conditions(analysis),
        _curves(analysis),
        _flips(analysis),
        _trades(analysis),
        _choices(analysis),
        _scaling(analysis),
        _fronts(analysis),
    )
    return View(
        name="sizes",
        title=f"{origin(analysis, analysis.decision.split)} · sizes",
        paragraphs=(analysis.decision.reason,),
        grids=tuple(g for g in grids if g is not None and g.rows),
        notes=_notes(analysis),
        data=_data(analysis),
    )


def _data(analysis: Analysis) -> dict[str, object]:
    scaling = contract_sizes.scaling_part(analysis)
    parts: dict[str, Sequence[StrictModel]] = {
        "best_of_k": contract_sizes.curve_parts(analysis),
        "choices": contract_sizes.choice_parts(analysis),
        "trades": contract_sizes.trade_parts(analysis),
        "fronts": contract_sizes.front_parts(analysis),
    }
    return {
        "sizes": [_size(analysis, row) for row in analysis.sizes],
        "flips": [
            {"what": f.what, "from": f.current, "to": f.to, "answer": f.answer}
            for f in analysis.decision.flips
        ],
        "scaling": None if scaling is None else scaling.model_dump(mode="json"),
        **{name: [p.model_dump(mode="json") for p in found] for name, found in parts.items()},
    }


def _size(analysis: Analysis, row: SizeRow) -> dict[str, object]:
    size = row.size
    return {
        "model": size.model,
        "parameters": size.parameters,
        "trial": size.candidate.trial_id if size.candidate else None,
        "probability_adequate": row.probability_adequate,
        "worst_suite": row.worst.suite.info.name if row.worst else None,
        "over_budget": size.over_budget,
        "checks": [p.model_dump(mode="json") for p in contract_sizes.check_parts(analysis, row)],
    }


# -- tables -----------------------------------------------------------------------------------


def _ladder(analysis: Analysis) -> Grid:
    """Levels, which compare across sizes; gain and forgetting, which do not, beside them."""
    header = ["", "size", "parameters", "candidate", "task score", "general score", "gain"]
    header += ["forgetting", "relative", "worst drop", "P(adequate)", "front"]
    rows: list[tuple[str, ...]] = []
    for row in analysis.sizes:
        size, e = row.size, row.estimates
        count = "–" if size.parameters is None else human_count(size.parameters)
        start = ("►" if _picked(analysis, row) else "", words.clean(size.model), count)
        if size.candidate is None:
            rows.append((*start, *["–"] * (len(header) - 4), ""))
            continue
        chance = row.probability_adequate
        rows.append(
            (
                *start,
                short_id(size.candidate.trial_id),
                *(cells.level(_of(e, n)) for n in ("task_score", "general_score")),
                *(cells.signed(_of(e, n)) for n in ("gain", "forgetting", "relative_forgetting")),
                _worst(row),
                "unknown" if chance is None else f"{chance:.2f}",
                "●" if row.on_front else "·",
            )
        )
    droppable = ("candidate", "parameters", "general score", "relative")
    title = "Sizes, each by its candidate"
    if analysis.unequal_effort:
        title += f" (unequal effort: {words.clean(analysis.unequal_effort)})"
    return Grid(title, tuple(header), tuple(rows), _marked(analysis), droppable)


def _of(estimates: Mapping[str, Estimate], name: str) -> Estimate:
    """A table from elsewhere has other figures."""
    return estimates.get(name, Estimate())


def _worst(row: SizeRow) -> str:
    if row.worst is None:
        return cells.short(_of(row.estimates, "max_forgetting"))
    drop = cells.signed(row.worst.uncertain.estimate())
    return f"{drop} {words.clean(row.worst.suite.info.name)}"


def _costs(analysis: Analysis) -> Grid | None:
    """What training and serving a size's candidate costs; columns that nothing has are left out."""
    shown = [r for r in analysis.sizes if r.size.candidate is not None]
    asked = [*COSTS, analysis.question.cost, *analysis.question.max_cost]
    held = [
        n
        for n in dict.fromkeys(asked)
        if any(r.size.candidate and n in r.size.candidate.cost for r in shown)
    ]
    if not held:
        return None
    rows = []
    for row in shown:
        assert row.size.candidate is not None
        cost = row.size.candidate.cost
        figures = [cells.cost(n, cost.get(n)) for n in held]
        rows.append(("►" * _picked(analysis, row), words.clean(row.size.model), *figures))
    names = [column_name(n) for n in held]
    marked = tuple(_picked(analysis, r) for r in shown)
    title = "Cost of each candidate: a training run, and serving"
    return Grid(title, ("", "size", *names), tuple(rows), marked, tuple(reversed(names[1:])))


def _conditions(analysis: Analysis) -> Grid:
    """Which condition keeps or kills each size."""
    names = {"task_score": "task score against", "forgetting": "drop on", "reference": "ahead of"}
    names |= {"guard": "guard", "outcome": "live outcome"}
    sides = {"above": "> ", "at_most": "≤ ", "at_least": "≥ "}
    rows: list[tuple[str, ...]] = []
    for row in analysis.sizes:
        model = words.clean(row.size.model)
        if row.size.over_budget:
            rows.append((model, words.clean(row.size.over_budget), "–", "–", "–", "fails"))
        for c in contract_sizes.check_parts(analysis, row):
            verdict = "holds" if c.holds else "not shown" if c.holds_at_point else "fails"
            allowed = sides[c.side] + cells.plus(c.threshold)
            rows.append(
                (
                    model,
                    f"{names[c.claim]} {words.clean(c.subject)}",
                    *("unknown" if v is None else cells.plus(v) for v in (c.value, c.bound)),
                    allowed,
                    verdict,
                )
            )
    header = ("size", "condition", "figure", "bound", "allowed", "verdict")
    title = "What each size must hold: the bound counts, not the figure"
    return Grid(title, header, tuple(rows), (False,) * len(rows), ("figure",))


def _curves(analysis: Analysis) -> Grid | None:
    found = [c for c in analysis.best_of_k if c.points]
    k = compared_at(found)
    if k is None:
        return None
    steps = sorted({p.k for c in found for p in c.points if p.k < k} | {k})
    shown = sorted({steps[0], steps[len(steps) // 2], k})
    rows = []
    for curve in found:
        at = {p.k: p for p in curve.points}
        values = [cells.interval(at[s].value, at[s].low, at[s].high) for s in shown]
        last = curve.points[-1]
        rows.append(
            (words.clean(curve.model), str(curve.trials), *values, f"{last.value:.3f} of {last.k}")
        )
    header = ("size", "trials", *(f"best of {s}" for s in shown), "all it had")
    title = f"Expected best task score on validation; sizes compare at {k} trials"
    return Grid(title, header, tuple(rows), (False,) * len(rows), ("all it had",))


def _flips(analysis: Analysis) -> Grid:
    rows = []
    for f in analysis.decision.flips:
        side = "below" if f.current is None or f.to <= f.current else "above"
        to, now = (amount(analysis, f.what, v) for v in (f.to, f.current))
        rows.append((words.clean(f.what), now, f"{side} {to}", f.answer.replace("_", " ")))
    header = ("question", "now", "flips", "answer then")
    title = "Where the answer changes"
    return Grid(title, header, tuple(map(_clean, rows)), (False,) * len(rows))


def _trades(analysis: Analysis) -> Grid:
    labels = _labels(analysis)
    rows = []
    for t in contract_sizes.trade_parts(analysis):
        # Scores that are shares count in points of a hundred.
        unit, part = _unit(analysis)
        price = cells.cost(t.cost, t.price * part)
        rows.append((labels[t.cheaper], labels[t.dearer], f"{price} {column_name(t.cost)}", unit))
    header = ("cheaper", "dearer", "price of a unit", "unit")
    title = "Who would pay less for a unit of task score takes the cheaper of the two"
    return Grid(title, header, tuple(rows), (False,) * len(rows))


def _unit(analysis: Analysis) -> tuple[str, float]:
    found = next((o.unit for o in analysis.objectives if o.name == "task_score"), "")
    return ("point", 0.01) if found.startswith("share") else (found or "unit", 1.0)


def _choices(analysis: Analysis) -> Grid:
    labels = _labels(analysis)
    rows = []
    for c in contract_sizes.choice_parts(analysis):
        weights = "; ".join(
            f"{w.objective} {w.weight:.3g} (same from {w.low:.3g} to "
            f"{'any' if w.high is None else f'{w.high:.3g}'})"
            for w in c.weights
        )
        picks = [labels.get(i or "", "–") for i in (c.by_limits, c.by_weights, c.knee)]
        rows.append(_clean((c.field, *picks, weights or "–")))
    header = ("field", "by limits", "by weights", "knee", "weights")
    title = "Other ways to choose, within a size; the decision does not use them"
    return Grid(title, header, tuple(rows), (False,) * len(rows), ("weights",))


def _scaling(analysis: Analysis) -> Grid | None:
    if analysis.scaling is None or analysis.scaling.refusal:
        return None
    rows = tuple(
        (
            words.clean(s.figure.replace("_", " ")),
            _FORMS[s.form],
            cells.interval(s.value, s.low, s.high),
            "–" if s.explained is None else f"{s.explained:.2f}",
        )
        for s in analysis.scaling.slopes
    )
    header = ("figure", "fit", "slope", "explained")
    return Grid("Trends with model size", header, rows, (False,) * len(rows), ("explained",))


def _fronts(analysis: Analysis) -> Grid:
    rows = []
    for f in contract_sizes.front_parts(analysis):
        corner = f.reference_point
        point = ", ".join(f"{n} {v:.4g}" for n, v in corner.items()) if corner else "none"
        rows.append(
            _clean(
                (
                    f.field,
                    ", ".join(f.objectives),
                    str(len(f.on_front)),
                    str(len(f.excluded)),
                    "–" if f.hypervolume is None else f"{f.hypervolume:.4f}",
                    "–" if f.beyond_reference is None else str(f.beyond_reference),
                    point,
                )
            )
        )
    header = ("field", "objectives", "on front", "left out", "hypervolume", "beyond", "reference")
    title = "Fronts; costs count in powers of ten"
    return Grid(title, header, tuple(rows), (False,) * len(rows), ("reference", "beyond"))


# -- words ------------------------------------------------------------------------------------


def _notes(analysis: Analysis) -> tuple[str, ...]:
    said = [
        "Sizes compare on levels: task score, general score, cost. Gain and forgetting are against "
        "each size's own base: a weak base gains most and may still be worst. The drop in points "
        "and the drop as a share of what the base had (relative) may rank sizes differently.",
        "Worst drop is the largest of several noisy figures, and flatters nobody: it is too large "
        "on average.",
    ]
    if any(c.points for c in analysis.best_of_k):
        said.append(
            "Best of k: the average best of k of a size's trials, so that a size that was searched "
            "more is not favoured. A trial beyond the limit on forgetting counts as its base; "
            "intervals are over trials, and left out beyond half of them."
        )
    for curve in analysis.best_of_k:
        if curve.reason:
            said.append(f"Equal effort: {curve.model} is not comparable ({curve.reason}).")
    if analysis.best_of_k and compared_at(analysis.best_of_k) is None and len(analysis.sizes) > 1:
        said.append(f"Sizes are not comparable at equal effort: it takes {MIN_TRIALS} trials each.")
    if analysis.scaling is not None and analysis.scaling.refusal:
        said.append(f"No trend with size: {analysis.scaling.refusal}.")
    for name, reasons in _left_out(analysis):
        said.append(f"Not on a front in {name}: {reasons}.")
    return tuple(words.clean(s) for s in said)


def _left_out(analysis: Analysis) -> list[tuple[str, str]]:
    """Field → how many rows are on no front, by the kind of reason, with one of them."""
    found = []
    for part in contract_sizes.front_parts(analysis):
        kinds: dict[str, list[str]] = {}
        for why in part.excluded.values():
            kind = why.rpartition("(")[2].rstrip(")") if why.endswith(")") else why
            kinds.setdefault(kind, []).append(why)
        told = [
            f"{words.count(len(whys), 'row')}, {'e.g. ' * (len(whys) > 1)}{whys[0]}"
            for whys in kinds.values()
        ]
        if told:
            found.append((part.field, "; ".join(told)))
    return found


def _picked(analysis: Analysis, row: SizeRow) -> bool:
    pick = analysis.decision.verdict.pick
    return pick is not None and pick.model == row.size.model


def _marked(analysis: Analysis) -> tuple[bool, ...]:
    return tuple(_picked(analysis, r) for r in analysis.sizes)


def _labels(analysis: Analysis) -> dict[str, str]:
    return {r.who.trial_id: words.clean(r.who.label) for r in analysis.rows}


def _clean(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(words.clean(cell) for cell in row)
