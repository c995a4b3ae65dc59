"""The answers of two configurations to the same items, out of a sweep's folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keepgain.analysis.analyze import analyze
from keepgain.analysis.find import find_row
from keepgain.analysis.result import Analysis, Row
from keepgain.analysis.views.texts import Texts, texts_of
from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.items import ItemScores
from keepgain.core.record import Evidence, RunRecord, SuiteInfo
from keepgain.core.scorers import metric_of
from keepgain.sweeps.iterate import BEST
from keepgain.sweeps.review.sample import Kind, Unit

BASE = "base"
COMPARE = "--compare"
WHY = (
    "Only suites whose scorer generates an answer, or picks one of several, have answers, and only "
    "where the sweep ran: below its folder."
)


@dataclass(frozen=True)
class Side:
    """What answered: one run of a configuration."""

    trial: str
    label: str
    model: str
    run: str
    """Its key: the answers are those of one replicate."""


@dataclass(frozen=True)
class Answered:
    """An item with both answers."""

    suite: str
    item: str
    question: str
    reference: str
    a: str
    b: str
    lead: int
    """1 where the scorer puts a above b, -1 where it puts b above, else 0."""
    group: str
    """Its group and slices, as one text."""
    cluster: str | None
    """Items of one are drawn together: the name is unique over the suites."""

    @property
    def id(self) -> str:
        """Unique over the suites."""
        return f"{self.suite}/{self.item}"

    @property
    def kind(self) -> Kind:
        """Texts are the same if they differ by white space alone."""
        if self.a.split() == self.b.split():
            return "same_text"
        return "other_score" if self.lead else "same_score"

    @property
    def unit(self) -> Unit:
        """As it is drawn."""
        return Unit(self.id, f"{self.suite}{self.group and ' ' + self.group}", self.kind)


@dataclass(frozen=True)
class Pair:
    """Two configurations on the items that both have answered."""

    sweep: str
    split: Split
    suites: tuple[str, ...]
    a: Side
    b: Side
    items: tuple[Answered, ...]
    """By suite and item id."""


def find_pair(
    evidence: Evidence,
    folder: Path,
    a: str,
    b: str,
    *,
    suites: Sequence[str] = (),
    split: Split | None = None,
) -> Pair:
    """Finds what two configurations answered.

    Args:
        evidence: The sweep.
        folder: The sweep's, where the answers are.
        a: Label or first digits of the id of a trial, base or reference arm; `best`, what the sweep
            has decided for.
        b: Likewise; `base`: the one of a's model.
        suites: Empty: those that measure the gain.
        split: None: test, if both have answers there, else validation.

    Raises:
        UserError: Unknown names, twice the same configuration, or no answers of one of them.
    """
    analysis = analyze(evidence)
    rows = _row(analysis, a), _row(analysis, b)
    if b == BASE:
        rows = rows[0], _base(analysis, rows[0])
    elif a == BASE:
        rows = _base(analysis, rows[1]), rows[1]
    if rows[0].who.trial_id == rows[1].who.trial_id:
        raise UserError(f"{a} and {b} are both {rows[0].who.label}.", where=COMPARE)
    infos = _suites(evidence, suites)
    splits: tuple[Split, ...] = (split,) if split is not None else ("test", "validation")
    for one in splits:
        sides = [_side(folder, row, infos, one) for row in rows]
        if all(side is not None for side in sides):
            (run_a, texts_a), (run_b, texts_b) = (s for s in sides if s is not None)
            items = _items(evidence, infos, one, (run_a, run_b), (texts_a, texts_b))
            if items:
                names = tuple(i.name for i in infos)
                made = [_named(r, run) for r, run in zip(rows, (run_a, run_b), strict=True)]
                return Pair(evidence.sweep.id, one, names, made[0], made[1], items)
    lacking = [r for r in rows if all(_side(folder, r, infos, s) is None for s in splits)] or rows
    raise UserError(
        f"no answers of {' and '.join(r.who.label for r in lacking)} to the items of "
        f"{', '.join(i.name for i in infos)} ({' or '.join(splits)}) are kept in {folder}.",
        where=COMPARE,
        hint=WHY,
    )


def _row(analysis: Analysis, given: str) -> Row:
    if given == BASE:
        return analysis.rows[0]  # which one follows from the other side
    if given != BEST:
        return find_row(analysis.rows, given)
    if analysis.decision.trial is None:
        raise UserError(
            f"{analysis.sweep.id} has decided for no trial "
            f"({analysis.decision.status.replace('_', ' ')}).",
            where=COMPARE,
            hint="Name a trial in place of `best`.",
        )
    return next(r for r in analysis.rows if r.who.trial_id == analysis.decision.trial)


def _base(analysis: Analysis, other: Row) -> Row:
    found = (r for r in analysis.rows if r.who.kind == "base" and r.who.model == other.who.model)
    row = next(found, None)
    if row is None:
        raise UserError(f"the base of {other.who.label} was not scored.", where=COMPARE)
    return row


def _suites(evidence: Evidence, wanted: Sequence[str]) -> tuple[SuiteInfo, ...]:
    known = {s.name: s for s in evidence.sweep.suites}
    for name in wanted:
        if name not in known:
            raise UserError(
                f"no suite '{name}'.", where="--suite", hint=f"It has: {', '.join(known)}."
            )
    gains = [s.name for s in evidence.sweep.suites if s.measures == "gain"]
    return tuple(known[name] for name in dict.fromkeys(wanted or gains))


def _side(
    folder: Path, row: Row, infos: Sequence[SuiteInfo], split: Split
) -> tuple[RunRecord, dict[str, Texts]] | None:
    """The first run of a configuration that has answers to all suites, with them by suite."""
    for run in row.who.runs.get(split, ()):
        found = {
            info.name: texts
            for info in infos
            if (texts := texts_of({run.run_key: folder}, [run], info.name, split)) is not None
            and run.run_key in texts.answers
        }
        if len(found) == len(infos):
            return run, found
    return None


def _named(row: Row, run: RunRecord) -> Side:
    return Side(row.who.trial_id, row.who.label, row.who.model, run.run_key)


def _items(
    evidence: Evidence,
    infos: Sequence[SuiteInfo],
    split: Split,
    runs: tuple[RunRecord, RunRecord],
    texts: tuple[Mapping[str, Texts], Mapping[str, Texts]],
) -> tuple[Answered, ...]:
    items: list[Answered] = []
    for info in infos:
        first, second = (_scores(evidence, run, info, split) for run in runs)
        sign = metric_of(info.scorer).sign
        said = [t[info.name].answers[r.run_key] for t, r in zip(texts, runs, strict=True)]
        told = texts[0][info.name].items
        for item in sorted(said[0].keys() & said[1].keys() & told.keys()):
            x, y = (s.value.get(item) for s in (first, second))
            lead = 0 if x is None or y is None else _order(sign * x, sign * y)
            cluster = first.cluster.get(item)
            items.append(
                Answered(
                    suite=info.name,
                    item=item,
                    question=told[item].question,
                    reference=told[item].reference,
                    a=said[0][item],
                    b=said[1][item],
                    lead=lead,
                    group=first.group.get(item, ""),
                    cluster=None if cluster is None else f"{info.name}/{cluster}",
                )
            )
    return tuple(items)


@dataclass(frozen=True)
class _Scored:
    """By item id."""

    value: Mapping[str, float]
    group: Mapping[str, str]
    cluster: Mapping[str, str | None]


def _scores(evidence: Evidence, run: RunRecord, info: SuiteInfo, split: Split) -> _Scored:
    """Of the run's last checkpoint."""
    keys = (run.run_key, run.reused_from)
    mine = [
        s for key, s in evidence.items if key in keys and (s.suite, s.split) == (info.name, split)
    ]
    if not mine:
        return _Scored({}, {}, {})
    scores = max(mine, key=lambda s: s.tokens)
    ids = scores.item_ids.tolist()
    return _Scored(
        value=dict(zip(ids, scores.values.tolist(), strict=True)),
        group=dict(zip(ids, _groups(scores), strict=True)),
        cluster=dict(zip(ids, scores.clusters or (None,) * len(ids), strict=True)),
    )


def _groups(scores: ItemScores) -> list[str]:
    fields = ({"group": scores.groups} if scores.groups else {}) | dict(scores.slices)
    columns = [[f"{n}={v}" if v is not None else "" for v in c] for n, c in fields.items()]
    return [" ".join(p for p in parts if p) for parts in zip(*columns, strict=True)] or [""] * len(
        scores.item_ids
    )


def _order(x: float, y: float) -> int:
    return (x > y) - (x < y)
