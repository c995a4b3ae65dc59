"""`analyze ID curves`: gain and forgetting over amounts of data, and along the training.

Amounts are what the trials differ in (rows, shares of the sources, balancing); along the training
are gain, forgetting and losses of audits and confirmed trials at every rung.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from keepgain.analysis import cells, words
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.measures import Measures
from keepgain.analysis.result import Analysis
from keepgain.analysis.stats import CONFIDENCE, t_quantile
from keepgain.analysis.table import build_table
from keepgain.analysis.why import amounts_text
from keepgain.analysis.why.amounts import Curve, amounts
from keepgain.analysis.why.observations import observations
from keepgain.analysis.why.rungs import Point, Series, series
from keepgain.core.record import Evidence
from keepgain.core.units import human_count

BARS = "▁▂▃▄▅▆▇█"
MAX_ROWS = 60
NONE = (
    "Not assessed: no trial was scored at two rungs or more. Score trials on the way with "
    "`training: {rungs: [0.33, 1.0]}`; audits and confirmed trials then keep the scores of every "
    "rung."
)


def curves_view(evidence: Evidence, analysis: Analysis) -> View:
    """Amounts: a paragraph a setting and base model, a table a setting. Rungs: one sentence a base
    model, a table of the trials with sparklines, one of their figures."""
    asked = _amounts(evidence, analysis)
    found = series(evidence)
    chosen = analysis.decision.trial
    models = [m.name for m in evidence.sweep.models]
    found = tuple(
        sorted(
            found,
            key=lambda s: (models.index(s.model), s.trial != chosen, not s.confirmed),
        )
    )
    said = [
        line
        for m in models
        if (line := _last_step(m, [s for s in found if s.model == m], analysis))
    ]
    return View(
        name="curves",
        title=f"Curves of {words.clean(evidence.sweep.id)}",
        paragraphs=(
            *amounts_text.lines(asked),
            *(tuple(words.clean(line) for line in said) or (NONE,)),
        ),
        grids=(
            *amounts_text.grids(asked),
            *((_sparklines(found, chosen), _figures(found, chosen)) if found else ()),
        ),
        notes=(amounts_text.READ if asked else amounts_text.NONE, *_notes(found)),
        data={
            "amounts": amounts_text.data(asked),
            "series": [
                {k: v for k, v in asdict(s).items() if k != "points"}
                | {"points": [_point(p) for p in s.points]}
                for s in found
            ],
            "rows": [
                {"trial": s.trial, "model": s.model, "confirmed": s.confirmed} | _point(p)
                for s in found
                for p in s.points
            ],
        },
    )


def _amounts(evidence: Evidence, analysis: Analysis) -> tuple[Curve, ...]:
    sweep = evidence.sweep
    measures = Measures(build_table(evidence))
    if "validation" not in measures.table.suites:
        return ()
    found = observations(measures)
    return amounts(found, measures, sweep.space, sweep.roles, analysis.question.delta)


def _point(p: Point) -> dict[str, object]:
    return asdict(p) | {"gap": p.gap}


def _last_step(model: str, own: Sequence[Series], analysis: Analysis) -> str:
    """What the last part of the training still changed, over the trials of a base model."""
    steps = {
        name: [
            (b - a, s.points[-2].share)
            for s in own
            if (a := getattr(s.points[-2], name).value) is not None
            and (b := getattr(s.points[-1], name).value) is not None
        ]
        for name in ("gain", "forgetting")
    }
    parts = []
    for name, values in steps.items():
        if values:
            change = np.array([v for v, _ in values])
            parts.append(f"{name} {_mean(change)}")
    if not parts:
        return ""
    share = float(np.median([v for values in steps.values() for _, v in values]))
    trials = words.count(len(own), "trial")
    return (
        f"{model}: from {100 * share:.3g} % of the training to its end, {words.join(parts)} on "
        f"average over {trials} (validation; forgetting up is bad)."
    )


def _mean(change: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    """Mean over trials, with its t interval from 3 trials on."""
    mean, n = float(change.mean()), len(change)
    if n < 3:
        return f"changed by {cells.plus(mean)} (interval unknown)"
    reach = t_quantile((1 + CONFIDENCE) / 2, n - 1) * float(change.std(ddof=1)) / n**0.5
    low, high = (cells.plus(mean + side * reach) for side in (-1, 1))
    return f"changed by {cells.plus(mean)} [{low}, {high}]"


def _sparklines(found: Sequence[Series], chosen: str | None) -> Grid:
    header = ("", "size", "trial", "kind", "rungs", "gain", "forgetting", "validation loss")
    rows = tuple(
        (
            "►" if s.trial == chosen else "",
            words.clean(s.model),
            words.clean(s.trial)[:6],
            "confirmed" if s.confirmed else "audit",
            f"{len(s.points)}",
            _line([p.gain.value for p in s.points]),
            _line([p.forgetting.value for p in s.points]),
            _line([p.validation_loss for p in s.points]),
        )
        for s in found[:MAX_ROWS]
    )
    marked = tuple(s.trial == chosen for s in found[:MAX_ROWS])
    return Grid("Along the training, by rung", header, rows, marked, ("rungs", "kind"))


def _figures(found: Sequence[Series], chosen: str | None) -> Grid:
    header = ("size", "trial", "trained", "tokens", "gain", "forgetting", "loss", "gap", "seeds")
    pairs = [(s, p) for s in found for p in s.points]
    rows = tuple(
        (
            words.clean(s.model),
            words.clean(s.trial)[:6],
            f"{100 * p.share:.3g} %",
            human_count(round(p.tokens)),
            cells.signed(p.gain),
            cells.signed(p.forgetting),
            "–" if p.validation_loss is None else f"{p.validation_loss:.3f}",
            "–" if p.gap is None else cells.plus(p.gap),
            f"{p.gain.n_seeds}",
        )
        for s, p in pairs[:MAX_ROWS]
    )
    marked = tuple(s.trial == chosen for s, _ in pairs[:MAX_ROWS])
    return Grid("Figures at each rung", header, rows, marked, ("tokens", "gap", "loss", "size"))


def _line(values: Sequence[float | None]) -> str:
    """`▁▅█ +0.31 → +0.72`; a blank where a rung has no figure."""
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return "–"
    low, span = min(known), (max(known) - min(known)) or 1.0
    bars = "".join(
        " " if v is None else BARS[min(len(BARS) - 1, int((v - low) / span * len(BARS)))]
        for v in values
    )
    return f"{bars} {known[0]:.3f} → {known[-1]:.3f}"


def _notes(found: Sequence[Series]) -> tuple[str, ...]:
    if not found:
        return ()
    notes = [
        "Audits ran to the end whatever their rank, confirmed trials with fresh seeds; trials that "
        "were promoted are left out, since they were picked by these very scores. A rung below the "
        "end lies before the learning rate decays: its score is lower than that of a training "
        "planned to end there. ± is half a 95 % interval (items, and seed variance pooled within a "
        "size at that rung; ±? unknown). Loss in nats per token; gap: validation minus training "
        "loss, at the end.",
    ]
    rows = sum(len(s.points) for s in found)
    if rows > MAX_ROWS:
        notes.append(f"{rows - MAX_ROWS} more rows: --format json or csv.")
    return tuple(notes)
