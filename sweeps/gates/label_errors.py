"""Labels that are probably wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import wilson
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import Facts
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.sketches import sample
from keepgain.sweeps.gates.text_model import (
    features,
    folds,
    out_of_fold,
    questions,
)

MAX_ROWS = 20_000
"""That the model is fitted on, of all splits of a source together; fewer of many labels, each of
which takes its time: as many as `MAX_CELLS` allows, rows times labels."""
MAX_CELLS = 200_000
MIN_ROWS = 100
MIN_OF_LABEL = 5
MIN_SKILL = 0.3
"""(accuracy - majority) / (1 - majority) of the model, at the lower limit of its interval: below,
what it says of a label means nothing."""
MIN_PROBABILITY = 0.5
"""Of the suggested label."""
SERIOUS_SHARE = 0.01
FEW = 5
SUREST = 0.25
"""Of the rows looked at, where the model's own mistakes are rare: wrong labels are as frequent
there as anywhere, mistakes are not."""
Z_99 = 2.575829
"""Several sets are looked at."""


@dataclass(frozen=True)
class Suspect:
    """A row whose label is probably wrong."""

    rows: str
    """Label of the row set."""
    index: int
    place: str
    given: str
    suggested: str
    probability: float
    """Of the suggested label, by a model that has not seen the row."""
    probability_given: float


@dataclass(frozen=True)
class Suspicion:
    """What the model says of one classification."""

    suspects: tuple[Suspect, ...]
    """The likeliest errors first."""
    looked_at: Mapping[str, int]
    """Rows by row set."""
    right: int
    """Rows whose given label the model gives too."""
    majority: float
    surest: Mapping[str, int]
    """By row set, of the `SUREST` rows of all."""
    surest_other: Mapping[str, int]
    """Of these, with another label than the model gives."""

    @property
    def rows(self) -> int:
        """Looked at."""
        return sum(self.looked_at.values())

    @property
    def says_something(self) -> bool:
        """False where the model is near chance."""
        low = wilson(self.right, self.rows)[0]
        return low - self.majority >= MIN_SKILL * (1 - self.majority)


def suspicions(
    sets: Sequence[RowSet], facts: Facts, labels: Mapping[str, Column]
) -> list[Suspicion]:
    """Confident learning (Northcutt et al., JAIR 70, 2021) on out-of-fold probabilities, for each
    classification: all sets that share its labels."""
    families: dict[tuple[str, ...], list[RowSet]] = {}
    for rows in sets:
        if rows.label in labels:
            families.setdefault(tuple(labels[rows.label].values), []).append(rows)
    found = (_suspicion(family, facts, labels) for family in families.values())
    return [s for s in found if s is not None]


def _suspicion(
    family: Sequence[RowSet], facts: Facts, labels: Mapping[str, Column]
) -> Suspicion | None:
    owner = np.repeat(np.arange(len(family)), [len(s.rows) for s in family])
    index = np.concatenate([np.arange(len(s.rows)) for s in family])
    codes = np.concatenate([labels[s.label].codes for s in family]).astype(np.int64)
    question = np.concatenate([facts[s.label].question for s in family])
    frequent = np.bincount(codes[codes >= 0], minlength=1) >= MIN_OF_LABEL
    kept = np.flatnonzero((codes >= 0) & frequent[codes])
    number = max(1, int(frequent.sum()))
    kept = kept[sample(len(kept), min(MAX_ROWS, MAX_CELLS // number))]
    classes, given = np.unique(codes[kept], return_inverse=True)
    if len(kept) < MIN_ROWS or len(classes) < 2:
        return None
    texts: list[str] = []
    for k, rows in enumerate(family):
        texts += questions(rows.rows, index[kept][owner[kept] == k])
    if (known := features(texts)) is None:
        return None
    chances = out_of_fold(known.matrix, given, folds(question[kept]), len(classes))
    order = _issues(given, chances)
    values = labels[family[0].label].values
    guess = chances.argmax(axis=1)
    suspects = tuple(
        Suspect(
            rows=family[owner[kept[i]]].label,
            index=int(index[kept[i]]),
            place=family[owner[kept[i]]].places[int(index[kept[i]])],
            given=values[classes[given[i]]],
            suggested=values[classes[guess[i]]],
            probability=float(chances[i, guess[i]]),
            probability_given=float(chances[i, given[i]]),
        )
        for i in order
    )
    sure = chances.max(axis=1)
    sure_rows = sure >= np.quantile(sure, 1 - SUREST)

    def by_set(chosen: npt.NDArray[np.bool_]) -> dict[str, int]:
        numbers = np.bincount(owner[kept][chosen], minlength=len(family)).tolist()
        return {s.label: n for s, n in zip(family, numbers, strict=True)}

    return Suspicion(
        suspects=suspects,
        looked_at=by_set(np.ones(len(kept), dtype=np.bool_)),
        right=int((guess == given).sum()),
        majority=float(np.bincount(given).max() / len(given)),
        surest=by_set(sure_rows),
        surest_other=by_set(sure_rows & (guess != given)),
    )


def _issues(
    given: npt.NDArray[np.int64], chances: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Rows that both rules of confident learning find, and whose other label is likelier than not;
    the surest first."""
    from cleanlab.filter import find_label_issues

    found = find_label_issues(given, chances, filter_by="both", n_jobs=1)
    found &= (chances.argmax(axis=1) != given) & (chances.max(axis=1) >= MIN_PROBABILITY)
    order = np.flatnonzero(found)
    surest = chances[order].max(axis=1) - chances[order, given[order]]
    return order[np.argsort(-surest, kind="stable")]


def check_label_errors(
    sets: Sequence[RowSet], facts: Facts, labels: Mapping[str, Column]
) -> list[Finding]:
    """Probable errors, a finding a set; nothing where the model is near chance."""
    findings, of_label = [], {s.label: s for s in sets}
    for suspicion in suspicions(sets, facts, labels):
        if not suspicion.says_something:
            continue
        for label, looked_at in suspicion.looked_at.items():
            some = [s for s in suspicion.suspects if s.rows == label]
            if len(some) >= min(FEW, SERIOUS_SHARE * looked_at) and some:
                findings.append(_finding(of_label[label], some, looked_at, suspicion))
    return findings


def _finding(
    rows: RowSet, some: Sequence[Suspect], looked_at: int, suspicion: Suspicion
) -> Finding:
    label = rows.label
    accuracy, share = suspicion.right / suspicion.rows, len(some) / looked_at
    surest, other = suspicion.surest[label], suspicion.surest_other[label]
    # On sound labels all suspects are the model's mistakes, and few of them are where it is sure.
    beyond = wilson(other, surest, Z_99)[0] >= SERIOUS_SHARE
    serious = len(some) >= FEW and share >= SERIOUS_SHARE and beyond

    def says(k: int) -> str:
        one = some[k]
        return f"{one.given!r:.40}, rather {one.suggested!r:.40} ({one.probability:.0%})"

    return Finding(
        code="probable_label_errors",
        severity="warning" if serious else "note",
        where=label,
        message=f"{len(some)} of {looked_at} rows looked at "
        f"{'probably' if serious else 'may'} have a wrong label. The model "
        f"that says so (words and characters of the question) gives the given label to "
        f"{accuracy:.0%} of the rows that it has not seen, the most frequent label alone would to "
        f"{suspicion.majority:.0%}; some of these rows are its own mistakes. Of the {surest} rows "
        f"where it is surest, {other} have another label"
        f"{'' if serious else ', which mistakes alone may explain'}.",
        all_rows=found_in(rows, [s.index for s in some], says=says),
        hint="Read them, the first ones first: `sweep clean` writes all of them to a review file.",
        count=len(some),
        of=looked_at,
        figures={"share": share, "accuracy": accuracy, "majority": suspicion.majority}
        | {"surest": surest, "surest_other": other},
    )
