"""Which rows of a large sweep a reader is shown.

Thousands of marks or table rows help nobody. Kept are bases, reference arms, the sizes' candidates,
the front, what is near it, the best by rank, and for figures a sample of the rest; what shows them
says how many there were.
"""

import random
from collections.abc import Sequence
from itertools import islice, zip_longest

from keepgain.analysis.result import Analysis, Row

MAX_TOP, MAX_NEAR, MAX_CLOUD = 60, 200, 250
"""Of a panel: the best by rank, those near the front, and the sample of the rest."""


def thinned(analysis: Analysis, rows: Sequence[Row]) -> list[Row]:
    """The rows of one base model that are worth a mark, in their order."""
    near = [r for r in rows if r.place and r.place.near_front and not r.place.on_front]
    ranked = [r for r in rows if r.who.kind == "trial" and r.place and r.place.rank is not None]
    ranked.sort(key=lambda r: (r.split != analysis.decision.split, _rank(r)))
    keep = {id(r) for r in (*near[:MAX_NEAR], *ranked[:MAX_TOP])}
    named = _named(analysis)
    keep |= {
        id(r)
        for r in rows
        if r.who.kind != "trial" or r.who.trial_id in named or (r.place and r.place.on_front)
    }
    rest = [r for r in rows if id(r) not in keep]
    if len(rest) > MAX_CLOUD:
        rest = random.Random(0).sample(rest, MAX_CLOUD)  # the same file from the same sweep
    keep |= {id(r) for r in rest}
    return [r for r in rows if id(r) in keep]


def top_rows(analysis: Analysis, most: int) -> list[Row]:
    """Rows for a table of at most `most`: of every base model in turn what the text speaks of, its
    base and arms, the front, the best by rank; in their order."""
    shown = [r for r in analysis.rows if r.split is not None]
    if len(shown) <= most:
        return shown
    named = _named(analysis)
    lists: dict[str, list[Row]] = {}
    for row in shown:
        lists.setdefault(row.who.model, []).append(row)
    for rows in lists.values():
        rows.sort(
            key=lambda r: (
                r.who.trial_id not in named,
                r.who.kind == "trial" and not (r.place and r.place.on_front),
                r.split != analysis.decision.split,
                _rank(r),
            )
        )
    in_turn = (row for turn in zip_longest(*lists.values()) for row in turn if row is not None)
    kept = {id(r) for r in islice(in_turn, most)}
    return [r for r in shown if id(r) in kept]


def _named(analysis: Analysis) -> set[str]:
    """Trials that the text speaks of."""
    found = {s.size.candidate.trial_id for s in analysis.sizes if s.size.candidate}
    return found | {t for t in (analysis.decision.trial, *analysis.decision.tied_with) if t}


def _rank(row: Row) -> int:
    rank = row.place.rank if row.place else None
    return 0 if row.who.kind != "trial" else 10**9 if rank is None else rank
