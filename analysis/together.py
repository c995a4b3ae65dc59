"""Several sweeps read as one: only where their figures mean the same and stand on the same items.

A trial keeps its sweep in its id (`994287ab74f9@7f3a2c`). What is one thing counts once: the
untouched base of a model, and a trial of which both sweeps have the same run (one took it over from
the other), known by the run's key and its scores. Nothing is adjusted: what differs is said, or
refused where figures would not mean the same.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.core.errors import UserError
from keepgain.core.items import ItemScores
from keepgain.core.later import LaterEvidence
from keepgain.core.record import Evidence, ModelInfo, Question, RunRecord, SweepRecord
from keepgain.core.status import Stage, TrialStatus

MAX_BASE_SHARE = 0.1
"""One base model, scored twice on the same items, may differ on this share of them: other machines
flip few answers. More, and items of the same names are not the same items, or not asked alike."""
CLOSE = 0.01
"""Item scores nearer than this are the same (bits per byte; right and wrong are 1 apart)."""

_Place = tuple[str, str, int]
"""Suite, split and tokens of item scores."""
_ByRun = dict[str, dict[_Place, ItemScores]]


@dataclass(frozen=True)
class Together:
    """Several sweeps as one."""

    evidence: Evidence
    came_from: Mapping[str, int]
    """Run key → place of its sweep among those given."""


def read_as_one(parts: Sequence[Evidence], given: Collection[str] = ()) -> Together:
    """Merges sweeps; the first one's names of models hold.

    Args:
        parts: Two or more sweeps.
        given: Fields of the question that are overridden anyway, so that they may differ.

    Raises:
        UserError: They cannot be compared; the message names the difference.
    """
    first = parts[0]
    for part in parts:
        if not part.items:
            raise UserError(
                f"sweep {part.sweep.id} has no item scores and cannot be read together with "
                "others: nothing shows that they stand on the same items."
            )
    for other in parts[1:]:
        _same_suites(first.sweep, other.sweep)
        _same_question(first.sweep, other.sweep, given)
        _same_items(first, other)
    merged = _Merged([p.sweep for p in parts])
    for n, part in enumerate(parts):
        merged.add(n, part)
    sweep = _record([p.sweep for p in parts], merged)
    items = tuple((k, s) for k, found in merged.items.items() for s in found.values())
    later = tuple(sorted(merged.later, key=lambda e: e.time))
    return Together(Evidence(sweep, items, later), merged.came_from)


class _Merged:
    """Models, runs and item scores of the sweeps so far."""

    def __init__(self, sweeps: Sequence[SweepRecord]) -> None:
        self.tags = _tags([s.id for s in sweeps])
        self.suites = {s.name for s in sweeps[0].suites}
        self.models: list[ModelInfo] = []
        self.runs: dict[str, RunRecord] = {}
        self.items: _ByRun = {}
        self.came_from: dict[str, int] = {}
        self.called: dict[str, list[str]] = {}
        """Run key in its own sweep → run keys here."""
        self.said: list[str] = []
        self.later: list[LaterEvidence] = []

    def add(self, n: int, part: Evidence) -> None:
        """Takes over one sweep."""
        items = _by_run(part)
        names = self._names(part.sweep, self.tags[n])
        trials = self._trials(part.sweep, items, names, self.tags[n])
        keys = {
            r.run_key: _key(r, trials[r.trial_id], self._base(names[r.model]))
            for r in part.sweep.runs
        }
        for run in part.sweep.runs:
            key = keys[run.run_key]
            if key not in self.runs:
                changes = {"run_key": key, "trial_id": trials[run.trial_id]}
                changes |= {"model": names[run.model]}
                for name in ("reused_from", "made_from"):
                    source = getattr(run, name)
                    changes[name] = keys.get(source, source)
                self.runs[key] = run.model_copy(update=changes)
                self.came_from[key] = n
                self.called.setdefault(run.run_key, []).append(key)
            elif run.kind == "base":
                self._compare_bases(run.model, self.items[key], items.get(run.run_key, {}))
            here = self.items.setdefault(key, {})
            for place, scores in items.get(run.run_key, {}).items():
                here.setdefault(place, scores)
        ours = {r.trial_id: self.runs[keys[r.run_key]].trial_id for r in part.sweep.runs} | keys
        self.later += [_renamed(e, ours) for e in part.later]

    def _names(self, sweep: SweepRecord, tag: str) -> dict[str, str]:
        """Its base models' names → ours: a model is known by its digest."""
        names = {}
        for model in sweep.models:
            same = next((m for m in self.models if m.digest == model.digest), None)
            if same is None:
                taken = any(m.name == model.name for m in self.models)
                same = model.model_copy(
                    update={"name": f"{model.name}@{tag}" if taken else model.name}
                )
                self.models.append(same)
            names[model.name] = same.name
        return names

    def _base(self, model: str) -> RunRecord | None:
        """The base that counts, if there is one."""
        return next(
            (
                r
                for r in self.runs.values()
                if r.kind == "base" and r.model == model and r.status is TrialStatus.COMPLETED
            ),
            None,
        )

    def _trials(
        self, sweep: SweepRecord, items: _ByRun, names: Mapping[str, str], tag: str
    ) -> dict[str, str]:
        """Its trial ids → ours."""
        found = {}
        for run in sweep.runs:
            for key in self.called.get(run.run_key, ()):
                ours = self.runs[key]
                same = ours.kind == run.kind and ours.params == run.params
                same = same and ours.model == names[run.model]
                if same and _equal(self.items.get(key, {}), items.get(run.run_key, {})):
                    found[run.trial_id] = ours.trial_id
        return {r.trial_id: found.get(r.trial_id, f"{r.trial_id}@{tag}") for r in sweep.runs}

    def _compare_bases(
        self, model: str, ours: Mapping[_Place, ItemScores], theirs: Mapping[_Place, ItemScores]
    ) -> None:
        """Says where one base model was scored differently.

        Raises:
            UserError: On more than `MAX_BASE_SHARE` of the items of a suite.
        """
        for place in ours.keys() & theirs.keys():
            suite, split, _ = place
            share = _differing(ours[place], theirs[place]) if suite in self.suites else 0.0
            if share > MAX_BASE_SHARE:
                raise UserError(
                    f"these sweeps cannot be read as one: the base {model} scores differently on "
                    f"{100 * share:.0f} % of the {split} items of {suite}.",
                    hint="Items of the same ids must be the same, and be asked alike.",
                )
            if share:
                self.said.append(
                    f"the base {model} was scored in several of these sweeps, differently on "
                    f"{100 * share:.1f} % of the {split} items of {suite}; the first one's count."
                )


def _renamed(entry: LaterEvidence, ours: Mapping[str, str]) -> LaterEvidence:
    """With the ids of trials and runs that they have here: of reviews, and of outcomes' arms."""
    data = {k: ours.get(v, v) if k in _IDS else v for k, v in entry.data.items()}
    if "arms" in data:
        data["arms"] = [
            {k: ours.get(v, v) if k == "trial" else v for k, v in arm.items()}
            for arm in data["arms"]
        ]
    return entry.model_copy(update={"data": data})


_IDS = ("a", "b", "a_run", "b_run")


def _key(run: RunRecord, trial: str, base: RunRecord | None) -> str:
    if run.kind == "base" and base is not None:
        return base.run_key
    _, at, tag = trial.partition("@")
    return f"{run.run_key}{at}{tag}"


def _tags(ids: Sequence[str]) -> list[str]:
    """What tells the sweeps apart in an id: the ends of their ids, or all of them."""
    ends = [i.rpartition("-")[2] for i in ids]
    return ends if len(set(ends)) == len(ends) and all(ends) else list(ids)


def _by_run(part: Evidence) -> _ByRun:
    found: _ByRun = {}
    for key, scores in part.items:
        found.setdefault(key, {})[scores.suite, scores.split, scores.tokens] = scores
    return found


def _equal(a: Mapping[_Place, ItemScores], b: Mapping[_Place, ItemScores]) -> bool:
    """They share scores, and those are the same to the last bit."""
    both = a.keys() & b.keys()
    return bool(both) and all(
        np.array_equal(a[p].item_ids, b[p].item_ids) and np.array_equal(a[p].values, b[p].values)
        for p in both
    )


def _differing(a: ItemScores, b: ItemScores) -> float:
    """Share of the items whose scores differ."""
    theirs = dict(zip(b.item_ids.tolist(), b.values.tolist(), strict=True))
    pairs = zip(a.item_ids.tolist(), a.values.tolist(), strict=True)
    return float(np.mean([abs(v - theirs.get(i, np.inf)) > CLOSE for i, v in pairs]))


# -- what must agree --------------------------------------------------------------------------


def _refused(a: SweepRecord, b: SweepRecord, why: str, hint: str | None = None) -> UserError:
    return UserError(f"sweeps {a.id} and {b.id} cannot be read as one: {why}.", hint=hint)


def _same_suites(a: SweepRecord, b: SweepRecord) -> None:
    ours, theirs = ({s.name: s for s in sweep.suites} for sweep in (a, b))
    for name in [*ours, *theirs]:
        if name not in ours or name not in theirs:
            raise _refused(a, b, f"suite '{name}' is only in {(a if name in ours else b).id}")
        for field in ("measures", "scorer", "metric_version", "chance"):
            x, y = getattr(ours[name], field), getattr(theirs[name], field)
            if x != y:
                said = field.replace("_", " ")
                raise _refused(a, b, f"{said} of suite '{name}' is {x} in {a.id} and {y} in {b.id}")
        known, other = ours[name].digests, theirs[name].digests
        for split in known.keys() & other.keys():
            if known[split] != other[split]:
                raise _refused(a, b, f"the {split} items of suite '{name}' have other contents")


def _same_question(a: SweepRecord, b: SweepRecord, given: Collection[str]) -> None:
    for field in Question.model_fields:
        x, y = getattr(a.question, field), getattr(b.question, field)
        if x != y and field not in given:
            option = field.replace("_", "-")
            hint = f"Say which with --{option}." if field in OVERRIDABLE else None
            raise _refused(a, b, f"{field} is {x} in {a.id} and {y} in {b.id}", hint)
    if a.budget_unit != b.budget_unit:
        said = f"budgets are in {a.budget_unit} in {a.id} and in {b.budget_unit} in {b.id}"
        raise _refused(a, b, said)
    if a.prices != b.prices and "usd" in a.question.cost:
        raise _refused(a, b, f"prices are {a.prices} in {a.id} and {b.prices} in {b.id}")


OVERRIDABLE = ("delta", "max_forgetting", "min_gain")
"""Fields of the question that the command line overrides."""


def _same_items(a: Evidence, b: Evidence) -> None:
    ours, theirs = _item_ids(a), _item_ids(b)
    for place in sorted(ours.keys() & theirs.keys()):
        if apart := ours[place] ^ theirs[place]:
            suite, split = place
            raise _refused(
                a.sweep,
                b.sweep,
                f"{len(apart):,} {split} items of suite '{suite}' are only in one of them "
                f"({len(ours[place]):,} and {len(theirs[place]):,} items)",
            )


def _item_ids(part: Evidence) -> dict[tuple[str, str], set[str]]:
    """(Suite, split) → items, of the bases; where none was scored, of all runs."""
    bases = {r.run_key for r in part.sweep.runs if r.kind == "base"}
    suites = {s.name for s in part.sweep.suites}
    found: dict[tuple[str, str], set[str]] = {}
    for chosen in ([x for x in part.items if x[0] in bases], part.items):
        if found:
            break
        for _, s in chosen:
            if s.suite in suites:
                found.setdefault((s.suite, s.split), set()).update(s.item_ids.tolist())
    return found


# -- the record -------------------------------------------------------------------------------


def _record(sweeps: Sequence[SweepRecord], merged: _Merged) -> SweepRecord:
    first = sweeps[0]
    said = list(dict.fromkeys(merged.said))
    prices = first.prices
    if any(s.prices != prices for s in sweeps):
        prices = {}
        said.append("these sweeps have different prices, so that no figure is in money.")
    space = first.space
    if any(s.space != space for s in sweeps):
        space = ()
        said.append(
            "these sweeps searched different spaces, so that nothing is said of the edges of one."
        )
    said += [f"{s.id}: {w}" for s in sweeps for w in s.warnings]
    opened: dict[str, int] = {}
    for s in sweeps:  # one ledger a store, which counts over its sweeps
        opened[s.store] = max(opened.get(s.store, 0), s.test_opened)
    return first.model_copy(
        update={
            "id": " + ".join(s.id for s in sweeps),
            "name": " + ".join(dict.fromkeys(s.name for s in sweeps)),
            "stage": min((s.stage for s in sweeps), key=list(Stage).index),
            "store": " + ".join(opened),
            "models": tuple(merged.models),
            "prices": prices,
            "space": space,
            "stopping": next((s.stopping for s in sweeps if s.stopping), None),
            # The strictest confidence of any of them.
            "planned_looks": max((s.planned_looks for s in sweeps), key=len),
            "looks": (),
            "runs": tuple(merged.runs.values()),
            "test_opened": sum(opened.values()),
            "warnings": tuple(said),
            "provenance": {},
        }
    )
