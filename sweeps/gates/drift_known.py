"""Newer rows that are no news: training has them already, or an evaluation item asks the same."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import Facts
from keepgain.sweeps.gates.leakage import WHOLLY, find_leaks
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.scan import usable_processes
from keepgain.sweeps.gates.sketches import sample

MAX_SEARCHED = 20_000
"""New rows that are looked for in training."""


def rows_in_training(new: RowSet, training: Sequence[RowSet], facts: Facts) -> list[int]:
    """Positions of new rows whose question training asks, or whose text it gives away wholly (see
    `gates.leakage`); of at most `MAX_SEARCHED` rows."""
    chosen = sample(len(new.rows), min(len(new.rows), MAX_SEARCHED))
    some = replace(
        new,
        rows=[new.rows[int(i)] for i in chosen],
        places=[new.places[int(i)] for i in chosen],
        columns={},
        measures="gain",
        role=None,
        part="test",
    )
    found = np.intersect1d(rows_asked(new, training, facts), chosen)
    for leak in find_leaks([*training, some], None, usable_processes()):
        found = np.union1d(found, chosen[leak.items[leak.share >= WHOLLY]])
    return [int(i) for i in found]


def rows_asked(new: RowSet, sets: Sequence[RowSet], facts: Facts) -> npt.NDArray[np.int64]:
    """Positions of the new rows whose question one of the sets asks."""
    known = [facts[s.label].question for s in sets]
    if not known:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.isin(facts[new.label].question, np.concatenate(known)))


def check_known(
    new: RowSet, trained: Sequence[int], asked: npt.NDArray[np.int64]
) -> Iterator[Finding]:
    """A warning for rows of training, a note for what items ask.

    Args:
        new: The new rows.
        trained: Of `rows_in_training`.
        asked: Of `rows_asked`.
    """
    looked, every = min(len(new.rows), MAX_SEARCHED), len(new.rows)
    for code, rows, of, said, hint in (
        (
            "drift_trained_on",
            list(trained),
            looked,
            "stand in training already, word for word or nearly",
            "Leave them out before you score on this file: they show memory, not skill.",
        ),
        (
            "drift_known_items",
            asked.tolist(),
            every,
            "ask what a validation or test item asks",
            None,
        ),
    ):
        if rows:
            yield Finding(
                code=code,
                severity="warning" if code == "drift_trained_on" else "note",
                where=new.label,
                message=f"{len(rows):,} of {of:,} rows {said}.",
                all_rows=found_in(new, rows),
                hint=hint,
                count=len(rows),
                of=of,
            )
