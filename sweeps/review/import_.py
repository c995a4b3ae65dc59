"""`sweep review import`: ratings un-blinded, and recorded with their sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.review_record import KIND, ReviewFigure, ReviewRecord, reviews_of
from keepgain.core.store.location import StoreLocation
from keepgain.sweeps.export import evidence_of
from keepgain.sweeps.later_evidence import append
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.review.bundle import KEY_NAME, Key, read_key
from keepgain.sweeps.review.figures import Reviewed, review
from keepgain.sweeps.review.ratings import read_ratings
from keepgain.sweeps.search.ledger import driver_of, taken
from keepgain.sweeps.stages.decide import decide_again

MAX_DISPUTED = 10
"""In a list for people."""


@dataclass(frozen=True)
class Imported:
    """What was recorded."""

    key: Key
    found: Reviewed
    decided: str | None
    """Status of the decision now; None: the sweep has none yet."""


def import_ratings(
    location: StoreLocation, paths: Sequence[Path], key: Path | None = None, *, force: bool = False
) -> Imported:
    """Reads the raters' files, and adds the review to the sweep; its decision is made anew.

    Args:
        paths: One file a rater, or several raters in one.
        key: None: `key.json` beside the first file.
        force: The page was imported already: this review replaces that one in what is shown. The
            earlier one stays in the file.

    Raises:
        UserError: No key, ratings that are not whole, no such sweep, a driver at work on it, or a
            review of this page that is recorded already. Nothing was written.
    """
    place = key if key is not None else paths[0].parent / KEY_NAME
    known = read_key(place)
    rated = read_ratings(paths, known)
    evidence = evidence_of(location, known.sweep)
    if evidence.sweep.id != known.sweep:
        raise UserError(
            f"the key is of '{known.sweep}', and what lies there is sweep '{evidence.sweep.id}'.",
            where=str(place),
            hint="Use the key as `sweep review export` wrote it.",
        )
    folder = location.sweep_folder(known.sweep)
    if (driver := driver_of(folder / LEDGER_NAME)) is not None:
        raise taken(folder / LEDGER_NAME, driver)
    if not force and any(r.export == known.export for r in reviews_of(evidence.later)):
        raise UserError(
            f"the ratings of page {known.export} are recorded already.",
            where=str(paths[0]),
            hint="--force replaces them: give the files of all raters.",
        )
    found = review(known, rated)
    append(location, known.sweep, KIND, found.record.model_dump(mode="json"))
    again = decide_again(folder)
    return Imported(known, found, again.status if again else None)


def lines(done: Imported) -> list[str]:
    """What there is to say, un-blinded, for people."""
    key, found = done.key, done.found
    record = found.record
    said = [
        f"{key.sweep}: {key.a_label} against {key.b_label}, {record.items} of {record.of} "
        f"{key.split} items of {', '.join(key.suites)}, {record.raters} "
        f"{'rater' if record.raters == 1 else 'raters'}",
        f"win rate of {key.a_label} over {key.b_label}: {_share(record.win_rate)} (a tie counts "
        f"half; {100 * record.ties:.0f} % ties, {record.identical} items answered alike among "
        "them)",
        f"  {_meaning(record, key)}",
    ]
    if record.raters > 1:
        said += [
            f"  by {name}: {_share(figure)}"
            for name, figure in zip(found.raters, record.by_rater, strict=True)
        ]
        said.append(f"agreement of raters: Krippendorff's alpha {_alpha(record.alpha)} (nominal)")
    for name, one in record.rubric.items():
        agreed = f"; alpha {_alpha(one.alpha)} (ordinal)" if record.raters > 1 else ""
        said.append(
            f"{name} (1 to 5): {one.a:.2f} against {one.b:.2f}, difference "
            f"{_figure(one.difference, '+.2f')}{agreed}"
        )
    said.append(_metric(record))
    if found.disputed:
        said.append(f"raters differ on {len(found.disputed)} items; to adjudicate:")
        for item, preferences in found.disputed[:MAX_DISPUTED]:
            names = zip(found.raters, preferences, strict=True)
            said.append("  " + item + ": " + ", ".join(f"{n} {_arm(p, key)}" for n, p in names))
        if len(found.disputed) > MAX_DISPUTED:
            said.append(f"  and {len(found.disputed) - MAX_DISPUTED} more (--json lists all)")
    said.append("intervals are two-sided 95 %, over items and for these raters")
    if done.decided is not None:
        said.append(f"recorded; the sweep's decision is now: {done.decided.replace('_', ' ')}")
    else:
        said.append("recorded; `analyze` shows it")
    return said


def to_json(done: Imported) -> Mapping[str, Any]:
    """For programs: the record, and the names of the raters."""
    record = done.found.record.model_dump(mode="json")
    return {
        "schema": 1,
        "sweep": done.key.sweep,
        "decision_status": done.decided,
        "raters": list(done.found.raters),
        "disputed": [
            {"item": item, "prefers": list(preferences)}
            for item, preferences in done.found.disputed
        ],
        "review": record,
    }


def _meaning(record: ReviewRecord, key: Key) -> str:
    if record.wins == 0:
        return "not resolved: the interval holds 50 %"
    better = key.a_label if record.wins > 0 else key.b_label
    return f"people prefer {better}"


def _metric(record: ReviewRecord) -> str:
    agreed = record.metric_agreement
    if agreed is None:
        return "agreement of the scorer with people: nothing to tell by"
    return (
        f"agreement of the scorer with people: they prefer the answer with the better score on "
        f"{_share(agreed)} of the {agreed.items} items where both tell one apart"
    )


def _share(figure: ReviewFigure) -> str:
    """As a percentage with its interval."""
    value = f"{100 * figure.value:.1f} %"
    if figure.low is None or figure.high is None:
        return f"{value} [unknown]"
    return f"{value} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


def _figure(figure: ReviewFigure, form: str) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:{form}} [unknown]"
    return f"{figure.value:{form}} [{figure.low:{form}}, {figure.high:{form}}]"


def _alpha(alpha: float | None) -> str:
    return "unknown" if alpha is None else f"{alpha:.2f}"


def _arm(prefers: str, key: Key) -> str:
    return {"a": key.a_label, "b": key.b_label}.get(prefers, prefers)
