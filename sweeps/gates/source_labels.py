"""Sources and suites whose answers do not follow from their questions as those of the task do.

A model learns the task source's answers, or the parts of them that take few values (`sa3`: an owner
and a tier). What it gives to rows of the same source that it has not seen says how well it can do;
if it gives another source's answers clearly less often, these were made by another rule, or are
partly wrong. Questions that are merely unlike those of the task make it less sure, so sources are
compared at equal sureness.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import wilson
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import (
    MAX_LABELS,
    MIN_ROWS_A_LABEL,
    MIN_SHARE,
    Facts,
)
from keepgain.sweeps.gates.material import RowSet, normalised
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.sketches import sample
from keepgain.sweeps.gates.text_model import (
    Codes,
    Features,
    Floats,
    features,
    folds,
    out_of_fold,
    questions,
)

MAX_ROWS = 10_000
"""Looked at of a set."""
MIN_ROWS = 100
MIN_SKILL = 0.3
"""As in `label_errors.py`: of the model on the source that it learns from."""
MIN_COMPARABLE = 0.5
"""Of a set's rows, that answer with values that the task source has."""
MIN_DEFICIT = 0.02
"""Of the agreement, at the lower limit of its interval."""
Z_99 = 2.575829
"""Several sources and parts are looked at."""
BINS = 10
MAX_PARTS = 8
_PART = re.compile(r"[^\W\d_]+|\d+")


@dataclass(frozen=True)
class Agreement:
    """How often the model of a task source gives the answers of another set."""

    part: str
    """Of the answer; empty: all of it."""
    task: float
    """Agreement with rows of the task source that the model has not seen."""
    other: float
    """With the other set's rows."""
    expected: float
    """With rows of the task source of which it is as sure as of the other set's."""
    task_rows: int
    other_rows: int
    deficit: float
    """`expected` minus `other`."""
    low: float
    high: float
    """99 % interval of the deficit."""
    odd: npt.NDArray[np.int64]
    """Rows of the other set that have another answer than the model, the surest first."""
    suggested: tuple[str, ...]
    """What the model gives to each of them."""


def parts_of(answers: Sequence[str]) -> list[list[str]] | None:
    """Runs of letters and of digits of each answer; None where they differ in number in more than
    one row in twenty, or are one or too many: then the answer has no parts."""
    found = [_PART.findall(answer) for answer in answers]
    numbers = np.bincount([len(parts) for parts in found], minlength=1)
    usual = int(numbers.argmax())
    if not 2 <= usual <= MAX_PARTS or numbers[usual] < MIN_SHARE * len(answers):
        return None
    return [parts if len(parts) == usual else [] for parts in found]


def check_source_labels(
    sets: Sequence[RowSet], facts: Facts, labels: Mapping[str, Column]
) -> list[Finding]:
    """A warning for each synthetic or further task source, and each suite of the gain, whose
    answers agree less with a model of the task source than that source's own rows do."""
    task = [s for s in sets if s.role == "task"]
    findings = []
    for learned in task:
        others = [s for s in sets if s.role == "synthetic" or s.measures == "gain"]
        others += [s for s in task if s is not learned]
        for other, agreement in agreements(learned, others, facts, labels):
            if agreement.low >= MIN_DEFICIT:
                findings.append(_finding(learned, other, agreement))
    return findings


def agreements(
    task: RowSet, others: Sequence[RowSet], facts: Facts, labels: Mapping[str, Column]
) -> Iterator[tuple[RowSet, Agreement]]:
    """Of each set that can be compared, the part of the answers that agrees least."""
    some = [_sample(task, facts), *(_sample(s, facts, task) for s in others)]
    values = [_values(s, i, labels) for s, i in zip((task, *others), some, strict=True)]
    names = sorted(values[0], key=lambda name: name or "")
    # Before any text is read: of small sets nothing could be said.
    if len(some[0]) < MIN_ROWS or not names or max(map(len, some[1:]), default=0) < MIN_ROWS:
        return
    texts = [questions(s.rows, i) for s, i in zip((task, *others), some, strict=True)]
    known = features(texts[0], [t for part in texts[1:] for t in part])
    if known is None:
        return
    fold = np.concatenate(
        [folds(facts[s.label].question[i]) for s, i in zip((task, *others), some, strict=True)]
    )
    owner = np.repeat(np.arange(len(some)), [len(i) for i in some])
    worst: dict[int, Agreement] = {}
    for name in names:
        found = _of_part(name, [v.get(name) for v in values], known, fold, owner, some)
        for k, agreement in found.items():
            if k not in worst or agreement.low > worst[k].low:
                worst[k] = agreement
    yield from ((others[k - 1], worst[k]) for k in sorted(worst))


def _sample(rows: RowSet, facts: Facts, but: RowSet | None = None) -> npt.NDArray[np.int64]:
    """Rows to look at; none whose question the model could have read in `but`."""
    kept = np.arange(len(rows.rows))
    if but is not None:
        kept = kept[~np.isin(facts[rows.label].question, facts[but.label].question)]
    return kept[sample(len(kept), MAX_ROWS)]


def _values(
    rows: RowSet, chosen: npt.NDArray[np.int64], labels: Mapping[str, Column]
) -> dict[str, list[str]]:
    """Part of the answer → its value in each chosen row, `""` where it has none; of a task source
    that is a classification the whole answer is the only part."""
    if rows.label in labels:
        column = labels[rows.label]
        return {"": [column.values[c] if c >= 0 else "" for c in column.codes[chosen].tolist()]}
    answers = [normalised(rows.rows[int(i)].answer) for i in chosen]
    whole = {"": answers}
    parts = parts_of(answers)
    if parts is None:
        return whole
    usual = max(map(len, parts))
    named = {f"part {k + 1}": [p[k] if p else "" for p in parts] for k in range(usual)}
    return whole | named


def _of_part(
    name: str,
    values: Sequence[list[str] | None],
    model: Features,
    fold: Codes,
    owner: Codes,
    some: Sequence[npt.NDArray[np.int64]],
) -> dict[int, Agreement]:
    """Number of a set → how it agrees, for those that can be compared."""
    known, times = np.unique([v for v in values[0] or [] if v], return_counts=True)
    if not 2 <= len(known) <= MAX_LABELS or times.sum() < MIN_ROWS_A_LABEL * len(known):
        return {}
    code = {str(v): i for i, v in enumerate(known)}
    codes = np.concatenate(
        [
            np.array([code.get(v, -1) for v in given] if given else [-1] * len(i), dtype=np.int64)
            for given, i in zip(values, some, strict=True)
        ]
    )
    chances = out_of_fold(model.matrix, codes, fold, len(known), (owner == 0) & (codes >= 0))
    own = (owner == 0) & (codes >= 0)
    right = int((chances[own].argmax(axis=1) == codes[own]).sum())
    majority = times.max() / times.sum()
    if wilson(right, int(own.sum()))[0] - majority < MIN_SKILL * (1 - majority):
        return {}
    found = {}
    for k in range(1, len(values)):
        rows = (owner == k) & (codes >= 0)
        if rows.sum() >= max(MIN_ROWS, MIN_COMPARABLE * len(some[k])):
            position = some[k][(codes >= 0)[owner == k]]
            found[k] = _compared(
                name, chances[own], codes[own], chances[rows], codes[rows], position, list(code)
            )
    return found


def _compared(
    part: str,
    own: Floats,
    own_codes: Codes,
    other: Floats,
    other_codes: Codes,
    position: npt.NDArray[np.int64],
    known: Sequence[str],
) -> Agreement:
    """Expected agreement: that of the task rows in ten bins of the model's sureness, weighed by how
    many rows of the other set are in each."""
    sure, other_sure = own.max(axis=1), other.max(axis=1)
    right, other_right = own.argmax(axis=1) == own_codes, other.argmax(axis=1) == other_codes
    edges = np.unique(np.quantile(sure, np.linspace(0, 1, BINS + 1)))[1:-1]
    bin_own, bin_other = np.digitize(sure, edges), np.digitize(other_sure, edges)
    n = np.bincount(bin_own, minlength=len(edges) + 1)
    weight = np.bincount(bin_other, minlength=len(edges) + 1) / len(other)
    rate = np.bincount(bin_own, weights=right, minlength=len(edges) + 1) / np.maximum(1, n)
    expected, found = float((weight * rate).sum()), float(other_right.mean())
    # One half of a row is added to either side, so that a bin without a mistake is not certain.
    smooth = (rate * n + 0.5) / (n + 1)
    variance = float((weight**2 * smooth * (1 - smooth) / np.maximum(1, n)).sum())
    variance += found * (1 - found) / len(other)
    deficit, half = expected - found, Z_99 * variance**0.5
    odd = np.flatnonzero(~other_right)
    odd = odd[np.argsort(-other_sure[odd], kind="stable")]
    return Agreement(
        part=part,
        task=float(right.mean()),
        other=found,
        expected=expected,
        task_rows=len(own),
        other_rows=len(other),
        deficit=deficit,
        low=deficit - half,
        high=deficit + half,
        odd=position[odd],
        suggested=tuple(str(known[c]) for c in other[odd].argmax(axis=1)),
    )


def _finding(task: RowSet, other: RowSet, found: Agreement) -> Finding:
    what = f"{found.part} of the answer" if found.part else "the answer"

    def says(k: int) -> str:
        answer = other.rows[int(found.odd[k])].answer
        return f"{answer!r:.40}, the model {found.suggested[k]!r:.40}"

    return Finding(
        code="labels_unlike_task",
        severity="warning",
        where=other.label,
        message=f"{what} agrees with a model of {task.label} (words, characters of the question) "
        f"in {found.other:.1%} of {found.other_rows} rows. In rows of {task.label} that the model "
        f"has not seen it does in {found.task:.1%}, where it is as sure as here in "
        f"{found.expected:.1%}: {100 * found.deficit:.1f} points more ({100 * found.low:.1f} to "
        f"{100 * found.high:.1f}, 99 %).",
        all_rows=found_in(other, found.odd, says=says),
        hint="Read some of these rows: partly wrong labels, or another rule? "
        "Let the mixture vary its share, and the sweep measures what it costs.",
        count=round(max(0.0, found.deficit) * found.other_rows),
        of=found.other_rows,
        figures={
            "agreement": found.other,
            "task_agreement": found.task,
            "expected_agreement": found.expected,
            "deficit": found.deficit,
            "low": found.low,
            "high": found.high,
        },
    )
