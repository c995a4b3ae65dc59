"""Finalists as served, in words: rows of a table, notes, and lines of a model card."""

from collections.abc import Sequence

from keepgain.analysis import words
from keepgain.analysis.served import AsServed
from keepgain.analysis.stats import Estimate
from keepgain.core.units import human_bytes

TITLE = "As served: the same weights in another form, against their own scores on the test items"
HEADER = (
    "size", "trial", "form", "items", "task score change", "worst drop", "on", "weights",
    "s/answer",
)  # fmt: skip


def served_row(found: AsServed) -> tuple[str, ...]:
    """Cells below `HEADER`."""
    who = "base" if found.kind == "base" else words.clean(found.trial)[:6]
    start = (words.clean(found.model), who, found.form)
    if found.same:
        return (*start, "–", "as scored", "as scored", "", *_costs(found))
    n = found.task.n_items or found.drop.n_items
    return (
        *start,
        f"{n:,}" if n else "–",
        _change(found.task),
        _change(found.drop),
        words.clean(found.drop_suite or ""),
        *_costs(found),
    )


def said(found: Sequence[AsServed]) -> list[str]:
    """How to read the table, and what is missing from it."""
    if not found:
        return []
    lines = [
        "As served: one run a finalist, its first seed, paired item by item with its own scores as "
        "the sweep computes; intervals are over items. Task score up is good; the interval of the "
        "worst drop holds for all forgetting suites together. A base's row says what the form "
        "costs without any tuning. Nothing is ranked by these figures."
    ]
    lines += [
        words.clean(
            f"Warning: {s.model} {'base' if s.kind == 'base' else s.trial[:6]} has no figures as "
            f"served in {s.form} ({s.failure})."
        )
        for s in found
        if s.failure
    ]
    return lines


def _costs(found: AsServed) -> tuple[str, str]:
    held, scored, seconds = (
        found.weight_bytes, found.scored_weight_bytes, found.seconds_per_answer,
    )  # fmt: skip
    weights = "–" if held is None else human_bytes(held)
    if held is not None and scored is not None:
        weights += f" of {human_bytes(scored)}"
    return weights, "–" if seconds is None else f"{seconds:.3g}"


def _change(e: Estimate) -> str:
    """`-0.021 [-0.034, -0.008]`."""
    if e.value is None:
        return "–"
    value = f"{e.value:+.3f}".replace("-0.000", "0.000").replace("+0.000", "0.000")
    if e.low is None or e.high is None:
        return f"{value} (no interval)"
    return f"{value} [{e.low:.3f}, {e.high:.3f}]"
