"""Labels that a model could read instead of working them out: in the prompt, or in a field beside
it.

A label that prompts name anyway (`yes`, a list of what to choose from) is no leak. So two things
are looked for: a fixed place (after the same words, at the begin, at the end) where what stands
there is nearly always the right label; and prompts that nearly always name their own label and
hardly ever another one.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from keepgain.core.whole_words import whole_words
from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import Table, crosstab, wilson
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet, normalised
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.sketches import sample

MAX_ROWS = 20_000
"""Looked at of a set."""
MIN_RIGHT = 0.9
"""Of the labels at a fixed place, that are the row's own: else chance put them there."""
MIN_ROWS = 5
MIN_SHARE = 0.002
"""Of the rows, that a leak must concern."""
MIN_NAMED, MAX_OTHERS = 0.8, 0.05
"""Share of prompts that name their own label, and at most that name a label that is not theirs."""
MIN_SKILL = 0.8
"""(accuracy - majority) / (1 - majority) of a field alone, at the lower limit of its interval."""
MAX_VALUES_A_ROW = 0.2
"""Fields with more values are ids, or texts: they repeat too seldom to predict anything."""
NO_FIELDS = ("group", "cluster", "choices")
_MARKER = r"([\w'-]*\s*[:=>|#\[(<{\"-]+\s*)"
_LABEL_NAMES = (
    "label", "labels", "label_id", "answer", "class", "category", "target", "gold", "solution",
    "tag", "intent", "ground_truth", "y",
)  # fmt: skip
_CALLED = re.compile(
    r"(?<!\w)(?:label|answer|class|category|target|gold|solution|ground truth)(?: is)?"
    r"\s?[:=>]+\s?[\"'(\[]?"
)
MIN_ENDING_WORDS = 3
MIN_ENDING_SHARE = 0.02
"""Of free answers: passages end with them by chance."""
MAX_PLACES = 3
"""Named in a finding."""
AT_BEGIN, AT_END = "the begin", "the end"

Texts = Sequence[str]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Leak:
    """A place in prompts that tells the label."""

    marker: str
    """What stands before it, or `AT_BEGIN`, `AT_END`."""
    right: npt.NDArray[np.int64]
    """Rows whose own label stands there."""
    wrong: int
    """Rows with another label there."""


@dataclass(frozen=True)
class Predictor:
    """What a single field tells of the label."""

    field: str
    hits: int
    of: int
    majority: int
    """Rows of `of` that have the most frequent label."""
    one_to_one: bool
    """Each value stands for one label and each label for one value: the label by another
    name."""


def check_label_leakage(
    sets: Sequence[RowSet], labels: Mapping[str, Column], label_field: str | None = None
) -> list[Finding]:
    """Labels in prompts and in single fields, of classifications; of other sets with answers, only
    answers that follow a word such as `label:`.

    Args:
        sets: Of the sweep.
        labels: Of the sets that are classifications (`labels_of`).
        label_field: That holds them, where the spec names one: it gives the label by itself.
    """
    findings = []
    for rows in sets:
        chosen = sample(len(rows.rows), MAX_ROWS)
        if rows.label not in labels:
            findings += _answers_named(rows, chosen)
            continue
        column = labels[rows.label]
        fields = _fields(rows, column, label_field)
        ids = {n: c for n, p, c in fields if p.one_to_one}
        findings += _in_prompts(rows, chosen, column, ids)
        findings += _in_fields(rows, fields)
    return findings


def fixed_places(texts: Texts, codes: Codes, values: Texts) -> list[Leak]:
    """Places where the labels that stand there are the rows' own, the most frequent first.

    Args:
        texts: Normalised prompts.
        codes: Label of each, an index into `values`; -1: none.
        values: Normalised labels, also as ids.
    """
    found: dict[str, set[int]] = defaultdict(set)
    other: dict[str, set[int]] = defaultdict(set)
    code = {value: i for i, value in reversed(list(enumerate(values)))}
    longest_first = sorted(code, key=len, reverse=True)
    some = "|".join(map(re.escape, longest_first))
    pattern = re.compile(rf"{_MARKER}({some})(?!\w)")
    first = re.compile(rf"\W*({some})\s*[\])>:|}}=-]")
    last = re.compile(rf"(?<!\w)({some})\W*$")
    for i, text in enumerate(texts):
        if codes[i] < 0:
            continue
        there = [(" ".join(m[1].split()), m[2]) for m in pattern.finditer(text)]
        there += [(AT_BEGIN, m[1])] if (m := first.match(text)) is not None else []
        there += [(AT_END, m[1])] if (m := last.search(text)) is not None else []
        for marker, value in there:
            (found if code[value] == codes[i] else other)[marker].add(i)
    least = max(MIN_ROWS, MIN_SHARE * len(texts))
    leaks = []
    for marker, right in found.items():
        wrong = other[marker] - right
        told = codes[np.array(sorted(right), dtype=np.int64)]
        several = len(set(told.tolist())) > 1
        if len(right) >= least and several and len(right) >= MIN_RIGHT * len(right | wrong):
            leaks.append(Leak(marker, np.array(sorted(right)), len(wrong)))
    # Some prompts begin or end with a label by themselves; what stands before it says more.
    anywhere = (AT_BEGIN, AT_END)
    return sorted(leaks, key=lambda k: -len(k.right) * (0.8 if k.marker in anywhere else 1.0))


def named_labels(
    texts: Texts, codes: Codes, values: Texts
) -> tuple[npt.NDArray[np.bool_], float, float]:
    """Which rows name their own label as whole words, of shape [rows]; their share of the rows with
    a label, and share of (row, other label) where that is named."""
    table = np.zeros((len(texts), len(values)), dtype=np.bool_)
    for k, value in enumerate(values):
        pattern = whole_words(value)
        table[:, k] = [value in text and pattern.search(text) is not None for text in texts]
    kept = np.flatnonzero(codes >= 0)
    naming = np.zeros(len(texts), dtype=np.bool_)
    naming[kept] = table[kept, codes[kept]]
    of, named = len(kept), int(naming.sum())
    others = (table[kept].sum() - named) / max(1, of * (len(values) - 1))
    return naming, named / max(1, of), float(others)


def predictor(field: str, column: Column, labels: Column) -> Predictor | None:
    """How often the most frequent label of a field's value is right, each row left out of the count
    that guesses it; None where the field cannot predict, being constant or an id."""
    both = (column.codes >= 0) & (labels.codes >= 0)
    table = crosstab(column, labels)
    table = table[table.sum(axis=1) > 0]
    n = int(both.sum())
    if len(table) < 2 or len(table) > max(2, MAX_VALUES_A_ROW * n):
        return None
    hits = _left_out_hits(table)
    shares = table[:, table.sum(axis=0) > 0] > 0
    one_to_one = bool((shares.sum(axis=1) == 1).all() and (shares.sum(axis=0) == 1).all())
    return Predictor(field, hits, n, int(table.sum(axis=0).max()), one_to_one)


def _left_out_hits(table: Table) -> int:
    """Rows of a value are guessed by the others of it: a row of the most frequent label is guessed
    right if that label stays ahead without it; a tie is lost."""
    ordered = np.sort(table, axis=1)
    first = ordered[:, -1]
    second = ordered[:, -2] if table.shape[1] > 1 else np.zeros_like(first)
    return int(first[first - 1 > second].sum())


def _fields(
    rows: RowSet, labels: Column, label_field: str | None
) -> list[tuple[str, Predictor, Column]]:
    found = []
    for name, column in rows.columns.items():
        if name in (*NO_FIELDS, label_field) or len(column.values) > len(column):
            continue
        if (told := predictor(name, column, labels)) is not None:
            found.append((name, told, column))
    return found


def _in_prompts(
    rows: RowSet,
    chosen: npt.NDArray[np.int64],
    labels: Column,
    ids: Mapping[str, Column],
) -> list[Finding]:
    texts = [normalised(rows.rows[int(i)].question()) for i in chosen]
    codes = labels.codes[chosen]
    whats: list[tuple[str, Codes, Texts]] = [
        ("the label", codes, [normalised(v) for v in labels.values])
    ]
    for field, column in ids.items():
        whats.append(
            (f"the label's '{field}'", column.codes[chosen], [normalised(v) for v in column.values])
        )
    for what, told, values in whats:
        if leaks := _apart(fixed_places(texts, told, values)):
            return [_place_finding(rows, chosen, what, leaks)]
    naming, own, others = named_labels(texts, codes, whats[0][2])
    if own < MIN_NAMED or others > MAX_OTHERS:
        return []
    labelled = int((codes >= 0).sum())
    return [
        Finding(
            code="label_in_prompt",
            severity="warning",
            where=rows.label,
            message=f"{own:.0%} of {labelled} prompts name their own label, and {others:.1%} "
            "name one that is not theirs.",
            all_rows=found_in(rows, chosen[naming]),
            hint="Take it out of the prompts, or score this as the copying that it is.",
            count=int(naming.sum()),
            of=labelled,
            figures={"own": own, "others": others},
        )
    ]


def _apart(leaks: Sequence[Leak]) -> list[Leak]:
    """Those that concern rows which none before them does, with these rows alone: a label that
    stands at the end stands after something, too."""
    found: list[Leak] = []
    for leak in leaks:
        known = [k.right for k in found]
        new = np.setdiff1d(leak.right, np.concatenate(known)) if known else leak.right
        if len(new) >= MIN_ROWS:
            found.append(replace(leak, right=new))
    return found


def _place_finding(
    rows: RowSet, chosen: npt.NDArray[np.int64], what: str, leaks: Sequence[Leak]
) -> Finding:
    places = {AT_BEGIN: "at the begin of", AT_END: "at the end of"}
    named = [
        places.get(k.marker, f"after '{k.marker}' in") + f" the prompt in {len(k.right)}"
        for k in leaks
    ]
    place = " and ".join(named[:MAX_PLACES])
    place += f" and in {len(named) - MAX_PLACES} other places" if len(named) > MAX_PLACES else ""
    told = np.unique(np.concatenate([k.right for k in leaks]))
    right, wrong, looked = len(told), sum(k.wrong for k in leaks), len(chosen)
    of = f"{looked} rows looked at" if looked < len(rows.rows) else f"{looked} rows"
    wholly = f"; another one does in {wrong}" if wrong else ""
    return Finding(
        code="label_in_prompt",
        severity="warning",
        where=rows.label,
        message=f"{what} stands {place} of {of}{wholly}.",
        all_rows=found_in(rows, chosen[told]),
        hint="Take it out of the prompts.",
        count=right,
        of=looked,
        figures={"share": right / looked, "right": right / (right + wrong)},
    )


def _answers_named(rows: RowSet, chosen: npt.NDArray[np.int64]) -> list[Finding]:
    """Of answers that are no labels: only what a prompt itself calls the answer, or ends with."""
    named, wrong, ending = [], 0, []
    for i in chosen:
        row = rows.rows[int(i)]
        answer = normalised(row.answer)
        if not answer:
            continue
        text = normalised(row.question())
        after = [text[m.end() :] for m in _CALLED.finditer(text)]
        if any(_begins(rest, answer) for rest in after):
            named.append(i)
        elif after:
            wrong += 1
        if answer.count(" ") >= MIN_ENDING_WORDS - 1 and text.rstrip(" \"'.)]}").endswith(
            answer.rstrip(" \"'.)]}")
        ):
            ending.append(i)
    for found, others, least, marker in (
        (named, wrong, MIN_SHARE, "answer:"),
        (ending, 0, MIN_ENDING_SHARE, AT_END),
    ):
        right = len(found)
        if right >= max(MIN_ROWS, least * len(chosen)) and right >= MIN_RIGHT * (right + others):
            places = np.searchsorted(chosen, np.array(found))
            return [_place_finding(rows, chosen, "the answer", [Leak(marker, places, others)])]
    return []


def _begins(text: str, answer: str) -> bool:
    return text.startswith(answer) and not text[len(answer) : len(answer) + 1].isalnum()


def _in_fields(rows: RowSet, fields: Sequence[tuple[str, Predictor, Column]]) -> list[Finding]:
    """Fields that tell the label alone, the best one first; one finding for all."""
    found = []
    for name, told, _ in fields:
        majority = told.majority / told.of
        skill = (wilson(told.hits, told.of)[0] - majority) / (1 - majority) if majority < 1 else 0
        if skill >= MIN_SKILL:
            found.append((skill, name, told))
    if not found:
        return []
    found.sort(key=lambda entry: -entry[0])
    _, name, told = found[0]
    low, high = wilson(told.hits, told.of)
    also = f" So do {', '.join(repr(n) for _, n, _ in found[1:4])}." if found[1:] else ""
    meant = all(p.one_to_one and n.casefold() in _LABEL_NAMES for _, n, p in found)
    return [
        Finding(
            code="label_in_field",
            severity="note" if meant else "warning",
            where=rows.label,
            message=f"the field '{name}' alone gives the label of {told.hits / told.of:.1%} of "
            f"{told.of} rows ({low:.1%} to {high:.1%}, each row guessed by the others), the most "
            f"frequent label {told.majority / told.of:.1%}.{also}",
            hint=None
            if meant
            else "Keep it out of the prompts, and see whether what goes with it (origin, writer, "
            "form) is what a model would learn instead of the task.",
            count=told.hits,
            of=told.of,
            figures={
                "accuracy": told.hits / told.of,
                "low": low,
                "high": high,
                "majority": told.majority / told.of,
            },
        )
    ]
