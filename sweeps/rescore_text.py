"""What `sweep rescore` says, for people and for programs."""

from collections.abc import Iterator
from typing import Any

from keepgain.analysis import words
from keepgain.analysis.rescored import Verdict, change, gain, gain_change, judge, level
from keepgain.analysis.stats import Uncertain
from keepgain.core.scorers import in_points, metric_of
from keepgain.sweeps.rescore import Rescored


def rescored_lines(found: Rescored) -> Iterator[str]:
    """A table, the answer, and what to bear in mind."""
    old, new, scorer = found.old, found.new, found.new.scorer
    verdict = judge(old.tuned, new.tuned, found.threshold)
    record = found.record
    yield (
        f"run {record.candidate} of {found.sweep} (base {found.start.reference.name}), suite "
        f"{record.suite.name} by {scorer}"
    )
    yield ""
    table: list[tuple[str, ...]] = [
        ("", f"old {found.split} items", "new items", "change (+: better)"),
        ("items", f"{old.items:,}", f"{new.items:,}", ""),
    ]
    for name in ("base", "tuned"):
        a, b = getattr(old, name), getattr(new, name)
        levels = [words.interval(level(s).estimate(), scorer) for s in (a, b)]
        table.append((name, *levels, _signed(change(a, b), scorer)))
    gains = [words.amount_interval(gain(p), scorer) for p in (old, new)]
    table.append(("gain", *gains, _signed(gain_change(old, new), scorer)))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield f"a new sweep is warranted: {answer(verdict, found)}"
    yield ""
    yield from cautions(found)


def answer(verdict: Verdict, found: Rescored) -> str:
    """`yes (drop 5.1 points [2.3, 7.9]; threshold 2.0 points, question.delta)`."""
    scorer = found.new.scorer
    known = (
        f"(drop {words.amount_interval(verdict.drop, scorer)}; threshold "
        f"{words.amount(verdict.threshold, scorer)}, {found.threshold_from})"
    )
    if verdict.answer != "not_resolved":
        return f"{verdict.answer} {known}"
    if verdict.more_items is not None:
        return f"not resolved: about {verdict.more_items:,} more new items {known}"
    if not verdict.drop.known:
        return f"not resolved: too few items for an interval {known}"
    return f"not resolved, nor by more new items: the old ones are too few {known}"


def cautions(found: Rescored) -> Iterator[str]:
    """Sentences on what the figures stand for."""
    old, new = found.old, found.new
    yield (
        "Intervals are of 95 %, over items: base and tuned are paired on the same items, old and "
        "new items are independent draws."
    )
    base = change(old.base, new.base).estimate()
    if base.high is not None and base.high < 0:
        yield "The base scores lower on the new items, too: part of the drop may be harder items."
    if found.split == "validation":
        yield (
            "The sweep has no test scores of this run: the old items are of validation, by which "
            "it was chosen, so that some drop is to be expected."
        )
    if found.shared:
        yield (
            f"{found.shared:,} of the new items are old ones; the interval of the change takes "
            "that into account, that of the gain's change does not."
        )
    if found.in_training:
        yield (
            f"{found.in_training:,} of the new items ask what the model was trained on: their "
            "scores show memory, not skill."
        )
    if found.left_out:
        yield f"{found.left_out:,} synthetic ones of the old items are left out."
    for name, pair in (("old", old), ("new", new)):
        if level(pair.tuned).variance == 0:
            yield (
                f"The tuned model scores alike on all {name} items: chance does not show in them, "
                "and the interval of the change has the exact bound of a share instead, or is none."
            )
    times = "once" if found.opened == 1 else f"{found.opened} times"
    yield (
        f"The new items were opened {times} by sweeps of this store; scores of "
        f"{found.record.time}{'' if found.scored_now else ', not computed again'}."
    )


def to_json(found: Rescored) -> dict[str, Any]:
    """One document; differences are turned so that more is better, but `drop`."""
    old, new, record = found.old, found.new, found.record
    verdict = judge(old.tuned, new.tuned, found.threshold)
    metric = metric_of(new.scorer)
    sides = {
        name: {
            "items": pair.items,
            "base": _estimate(level(pair.base)),
            "tuned": _estimate(level(pair.tuned)),
            "gain": _estimate(gain(pair)),
        }
        for name, pair in (("old", old), ("new", new))
    }
    return {
        "schema": 1,
        "sweep": found.sweep,
        "trial": found.start.trial_id,
        "run_key": record.candidate,
        "base_model": found.start.reference.name,
        "suite": record.suite.name,
        "scorer": new.scorer,
        "unit": metric.unit,
        "direction": metric.direction,
        "file": record.suite.path,
        "digest": record.suite.digest,
        "time": record.time,
        "scored_now": found.scored_now,
        "old_split": found.split,
        **sides,
        "change": {
            "base": _estimate(change(old.base, new.base)),
            "tuned": _estimate(change(old.tuned, new.tuned)),
            "gain": _estimate(gain_change(old, new)),
        },
        "drop": _estimate(verdict.drop),
        "threshold": found.threshold,
        "threshold_from": found.threshold_from,
        "new_sweep": verdict.answer,
        "more_items": verdict.more_items,
        "shared_items": found.shared,
        "in_training": found.in_training,
        "synthetic_left_out": found.left_out,
        "opened": found.opened,
        "cautions": list(cautions(found)),
    }


def _estimate(of: Uncertain) -> dict[str, float | None]:
    e = of.estimate()
    return {"value": e.value, "low": e.low, "high": e.high}


def _signed(of: Uncertain, scorer: str) -> str:
    """`-5.1 points [-7.9, -2.3]`."""
    factor, digits = (100, 1) if in_points(scorer) else (1, 3)
    sign = "+" if round(factor * of.value, digits) > 0 else ""
    return sign + words.amount_interval(of, scorer)
