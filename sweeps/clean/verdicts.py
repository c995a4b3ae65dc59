"""What the gates say of single rows: which to drop, which a person should look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from keepgain.core.rows import Row, StoredRows
from keepgain.sweeps.clean.inputs import Inputs
from keepgain.sweeps.gates.label_conflicts import check_conflicts, conflicts
from keepgain.sweeps.gates.label_errors import suspicions
from keepgain.sweeps.gates.labels import facts_of, hash_text, labels_of
from keepgain.sweeps.gates.leakage import find_leaks
from keepgain.sweeps.gates.material import RowSet, normalised
from keepgain.sweeps.gates.near_duplicates import find_duplicates, sketch_probe

MAX_ROUNDS = 20
"""Of looking for leaks: each finds one row for each item, and several may hold it."""


@dataclass(frozen=True)
class Verdict:
    """Why a row is not written."""

    action: Literal["dropped", "set_aside"]
    reason: str
    of: str = ""
    """The row that it is a copy of, or the item that it gives away."""
    suggested: str | None = None
    """Of a label that is probably wrong."""
    probability: float | None = None
    """Of the suggestion."""


Verdicts = dict[str, Verdict]
"""`file:line` → the first verdict on the row."""


def find_verdicts(
    inputs: Inputs, near: bool, leaked: bool, doubtful: bool, say: Callable[[str], None]
) -> Verdicts:
    """Of all rows that the gates look at.

    Args:
        inputs: The rows.
        near: Drop near copies.
        leaked: Drop training rows that give items away.
        doubtful: Set aside contradicting rows and labels that are probably wrong.
        say: Told what is being done.
    """
    found: Verdicts = {}
    if near:
        say("looking for near copies")
        found |= _near(inputs.sets)
    if leaked:
        say("looking for training rows that give items away")
        found |= {k: v for k, v in _leaked(inputs.sets, say).items() if k not in found}
    if doubtful:
        say("looking for contradictions and wrong labels")
        found |= {k: v for k, v in _doubtful(inputs).items() if k not in found}
    return found


def _near(sets: Sequence[RowSet]) -> Verdicts:
    clusters = find_duplicates(sets).near
    found: Verdicts = {}
    # Numbers of clusters are positions among all training rows, or among those of one split.
    first: dict[tuple[str, int], str] = {}
    for rows in sets:
        group = "train" if rows.part == "train" else rows.label
        for i, cluster in enumerate(clusters[rows.label].tolist()):
            place = rows.places[i]
            kept = first.setdefault((group, cluster), place)
            if kept != place:
                found[place] = Verdict("dropped", "near_duplicate", kept)
    return found


def _leaked(sets: Sequence[RowSet], say: Callable[[str], None]) -> Verdicts:
    """Rows that give items away, and rows that ask the same as one of these."""
    found: Verdicts = {}
    kept = list(sets)
    ignored = sketch_probe(sets).ignored
    for _ in range(MAX_ROUNDS):
        leaks = [leak for leak in find_leaks(kept, ignored) if leak.rows.part == "train"]
        if not leaks:
            break
        asked: dict[int, Verdict] = {}
        for leak in leaks:
            for row, item in zip(leak.row.tolist(), leak.items.tolist(), strict=True):
                verdict = Verdict("dropped", "leaked", leak.suite.places[item])
                asked.setdefault(_asked(leak.rows.rows[row]), verdict)
        kept = [_without(s, asked, found) if s.part == "train" else s for s in kept]
    else:
        say(f"after {MAX_ROUNDS} rounds there are still rows that give items away: run it again")
    return found


def _asked(row: Row) -> int:
    return hash_text(normalised(row.question()))


def _without(rows: RowSet, asked: Mapping[int, Verdict], found: Verdicts) -> RowSet:
    """The rows that ask nothing of `asked`; the others are added to `found`."""
    assert isinstance(rows.rows, StoredRows), "rows of files"
    keep = []
    for i, row in enumerate(rows.rows):
        verdict = asked.get(_asked(row))
        if verdict is None:
            keep.append(i)
        else:
            found[rows.places[i]] = verdict
    if len(keep) == len(rows.rows):
        return rows
    places = [rows.places[i] for i in keep]
    chosen = rows.rows.where(np.array(keep, dtype=np.int64))
    return replace(rows, rows=chosen, places=places, columns={})


def _doubtful(inputs: Inputs) -> Verdicts:
    sets = [s for s in inputs.sets if s.role != "replay" and s.measures in (None, "gain")]
    if not sets:
        return {}
    facts = facts_of(sets)
    labels = labels_of(sets, facts, inputs.label_field)
    found: Verdicts = {}
    for suspicion in suspicions(sets, facts, labels):
        if suspicion.says_something:
            for s in suspicion.suspects:
                chance = round(s.probability, 3)
                found[s.place] = Verdict(
                    "set_aside", "probable_label_error", suggested=s.suggested, probability=chance
                )
    for rows in sets:
        # A note says that free answers differ, which they may.
        findings = check_conflicts([rows], facts, labels)
        if any(f.severity != "note" for f in findings):
            for i in np.flatnonzero(conflicts(rows, facts)).tolist():
                found[rows.places[i]] = Verdict("set_aside", "conflict")
    return found
