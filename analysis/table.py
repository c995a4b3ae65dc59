"""Evidence as aligned arrays: which runs count, on which split, paired item by item.

A *configuration* is what is compared: a trial with its seeds, a base, or a reference arm. Runs that
cannot be compared (stopped early, failed, incomplete, not finite) leave with a reason; nothing is
filled in.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from keepgain.analysis.costs import Speeds, costs, pooled_speeds
from keepgain.core.config import Arm, Measures, Split
from keepgain.core.items import Floats, ItemScores, Strings
from keepgain.core.record import Evidence, RunKind, RunRecord, SuiteInfo, SweepRecord
from keepgain.core.scorers import metric_of
from keepgain.core.status import Stage, TrialStatus

Codes = npt.NDArray[np.int64]

SPLITS: tuple[Split, ...] = ("validation", "test")
NOT_FINITE = 1e308
"""Some tools write the largest double for infinity: as little a score as a NaN."""
FULL_SHARE = 0.9
"""A run below this share of its token budget was cut short, whatever its status says (rows are
whole, so a full run may miss the budget by a batch)."""
_STAGE_ORDER = {stage: n for n, stage in enumerate(Stage)}


@dataclass(frozen=True)
class SuiteItems:
    """The common items of one suite and split, in the order of every score matrix."""

    info: SuiteInfo
    split: Split
    item_ids: Strings
    """Shape [n], sorted."""
    weights: Floats
    """Shape [n]; bytes of the item for bits per byte, else 1. The same for every model, since
    paired differences and comparisons across sizes need one weighting."""
    clusters: Codes | None
    """Shape [n]: index of the item's cluster; None where the data name none."""
    slices: Mapping[str, Strings] = field(default_factory=dict)
    """Field → its value for each item, shape [n]; empty where an item lacks it. `group` is one."""

    @property
    def draws(self) -> int:
        """Independent draws behind its scores: clusters, or items where the data name none."""
        return len(self.weights) if self.clusters is None else int(self.clusters.max()) + 1

    def clusters_of(
        self, at: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | list[int]
    ) -> Codes | None:
        """Clusters of some of the items, numbered anew from 0; None where the data name none.

        Args:
            at: Their positions, or a mask of shape [n].
        """
        if self.clusters is None:
            return None
        return np.unique(self.clusters[at], return_inverse=True)[1].astype(np.int64)

    @property
    def sign(self) -> float:
        """+1 if a higher score is better, -1 if a lower one is."""
        return metric_of(self.info.scorer).sign


@dataclass(frozen=True)
class Configuration:
    """What is compared: a trial over its seeds, a base, or a reference arm."""

    trial_id: str
    label: str
    model: str
    kind: RunKind
    arm: Arm | None
    params: Mapping[str, object]
    stage: Stage
    status: TrialStatus
    confirmed: bool
    """Retrained with fresh seeds; the run that got it selected is then left out of its scores."""
    tokens: int
    cost: Mapping[str, float]
    """Means over the runs that count."""
    scores: Mapping[Split, Mapping[str, Floats]]
    """Split → suite → scores of shape [n items, S seeds]; empty if no run counts."""
    lacks: Mapping[Split, str]
    """Split → why it has no scores there, although it was to be scored on it."""
    runs: Mapping[Split, tuple[RunRecord, ...]]
    """Split → the runs of the scores' columns."""

    def seeds(self, split: Split) -> int:
        """Number of runs that count on this split."""
        suites = self.scores.get(split, {})
        return next(iter(suites.values())).shape[1] if suites else 0

    def has(self, split: Split) -> bool:
        """True if it has complete scores on this split."""
        return split in self.scores


@dataclass(frozen=True)
class Exclusion:
    """A run or configuration that is not compared, and why."""

    trial: str
    reason: str


@dataclass(frozen=True)
class Table:
    """A sweep, ready to compare."""

    sweep: SweepRecord
    suites: Mapping[Split, Mapping[str, SuiteItems]]
    """Those that measure what the table was built for, by split and name."""
    configurations: tuple[Configuration, ...]
    excluded: tuple[Exclusion, ...]

    def trials(self, model: str, split: Split) -> list[Configuration]:
        """Trials of a size with scores on a split."""
        return [
            c
            for c in self.configurations
            if c.kind == "trial" and c.model == model and c.has(split)
        ]


_Scored = dict[tuple[str, Split, str], ItemScores]


def build_table(evidence: Evidence, measures: Sequence[Measures] = ("gain", "forgetting")) -> Table:
    """Aligns the item scores of a sweep and drops what cannot be compared, each with its reason.

    Args:
        evidence: The record with its item scores.
        measures: Of the suites that are wanted. A run that lacks one that decides leaves the table:
            its means would be of other tasks than those of its rivals. Behaviours, which decide
            nothing by themselves, have a table of their own, where a run lacks that one suite.
    """
    sweep = evidence.sweep
    runs = {run.run_key: run for run in sweep.runs}  # a run shipped twice counts once
    infos = {s.name: s for s in sweep.suites if s.measures in measures}
    scored = _final_scores(evidence, runs, infos)
    faults = {key: fault(run, sweep.budget_unit) for key, run in runs.items()}
    usable = {key: run for key, run in runs.items() if faults[key] is None}
    suites = _common_items(scored, usable, infos)
    together = set(measures) != {"behaviour"}
    speeds = pooled_speeds(sweep)

    by_trial: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs.values():
        by_trial[run.trial_id].append(run)
    configurations: list[Configuration] = []
    excluded: list[Exclusion] = []
    for trial_id, members in by_trial.items():
        good = [run for run in members if run.run_key in usable]
        for run in members:
            if why := faults[run.run_key]:
                excluded.append(Exclusion(trial_id, _name_seed(run, members, why)))
        configuration, reasons = _configuration(
            sweep, members, good, scored, suites, speeds, together
        )
        configurations.append(configuration)
        excluded.extend(Exclusion(trial_id, reason) for reason in reasons)
    return Table(sweep, suites, tuple(configurations), tuple(excluded))


def _final_scores(
    evidence: Evidence, runs: Mapping[str, RunRecord], infos: Mapping[str, SuiteInfo]
) -> _Scored:
    """The scores of each run's last checkpoint, by (run key, split, suite)."""
    latest: _Scored = {}
    for key, scores in evidence.items:
        split: Split | None = next((s for s in SPLITS if s == scores.split), None)
        if scores.suite not in infos or split is None:
            continue
        place = (key, split, scores.suite)
        if place not in latest or scores.tokens >= latest[place].tokens:
            latest[place] = scores
    for run in runs.values():
        if run.reused_from:
            for split in SPLITS:
                for suite in infos:
                    source = latest.get((run.reused_from, split, suite))
                    if source is not None:
                        latest.setdefault((run.run_key, split, suite), source)
    return latest


def fault(run: RunRecord, budget_unit: str) -> str | None:
    """Why a run as a whole does not count; None if it does."""
    if run.status is not TrialStatus.COMPLETED:
        return f"{run.status.value}: {run.reason}" if run.reason else run.status.value
    if run.kind != "trial" or run.stopped_early is not None:
        return None  # what early stopping ends is whole: its configuration says so
    if budget_unit == "tokens" and run.tokens < FULL_SHARE * run.budget:
        return f"truncated: trained on {run.tokens:,} of {run.budget:,} tokens"
    return None


def _common_items(
    scored: _Scored, runs: Mapping[str, RunRecord], infos: Mapping[str, SuiteInfo]
) -> dict[Split, dict[str, SuiteItems]]:
    """Items per split and suite: those of the bases, as every difference is taken to them.

    Without any scored base: those of all runs together.
    """
    bases = {key for key, run in runs.items() if run.kind == "base"}
    suites: dict[Split, dict[str, SuiteItems]] = {}
    for split in SPLITS:
        for name, info in infos.items():
            places = [p for p in scored if p[1:] == (split, name) and p[0] in runs]
            chosen = [scored[p] for p in places if p[0] in bases] or [scored[p] for p in places]
            if chosen:
                suites.setdefault(split, {})[name] = _union(info, split, chosen)
    return suites


def _union(info: SuiteInfo, split: Split, sources: Sequence[ItemScores]) -> SuiteItems:
    weight: dict[str, float] = {}
    cluster: dict[str, str | None] = {}
    slices: dict[str, dict[str, str]] = {}
    for scores in sources:
        ids = [str(i) for i in scores.item_ids]
        for item, bytes_ in zip(ids, scores.weights.tolist(), strict=True):
            # Should tokenizers cover different parts of an item, the fullest count is its size.
            weight[item] = max(bytes_, weight.get(item, bytes_))
        cluster.update(zip(ids, scores.clusters or [None] * len(ids), strict=True))
        groups = {"group": scores.groups} if scores.groups else {}
        for name, values in (groups | dict(scores.slices)).items():
            known = ((i, v) for i, v in zip(ids, values, strict=True) if v is not None)
            slices.setdefault(name, {}).update(known)
    ids = sorted(weight)
    codes = None
    if any(cluster[i] is not None for i in ids):
        # An item without a cluster is a cluster of its own.
        names = [f"c:{cluster[i]}" if cluster[i] is not None else f"i:{i}" for i in ids]
        codes = np.unique(names, return_inverse=True)[1].astype(np.int64)
    weights = np.array([weight[i] for i in ids], dtype=np.float64)
    by_field = {
        name: np.array([values.get(i, "") for i in ids], dtype=np.str_)
        for name, values in slices.items()
    }
    item_ids = np.array(ids, dtype=np.str_)
    # The very array that runs on the same items share, so that `_align` sees it at once.
    shared = (s.item_ids for s in sources if np.array_equal(s.item_ids, item_ids))
    return SuiteItems(info, split, next(shared, item_ids), weights, codes, by_field)


def _configuration(
    sweep: SweepRecord,
    members: list[RunRecord],
    good: list[RunRecord],
    scored: _Scored,
    suites: Mapping[Split, Mapping[str, SuiteItems]],
    speeds: Speeds,
    together: bool,
) -> tuple[Configuration, list[str]]:
    """One configuration from its runs, and the reasons for what was dropped on the way.

    Args:
        together: A run without usable scores on one suite has none on the others.
    """
    confirm = [run for run in good if run.stage is Stage.CONFIRM]
    counted = confirm or good
    # Why each of its confirmations failed.
    tried = [w for r in members if r.stage is Stage.CONFIRM and (w := fault(r, sweep.budget_unit))]
    reasons: list[str] = []
    scores: dict[Split, dict[str, Floats]] = {}
    lacks: dict[Split, str] = {}
    runs: dict[Split, tuple[RunRecord, ...]] = {}
    kept: dict[str, RunRecord] = {}
    for split in SPLITS:
        here = suites.get(split, {})
        columns: list[dict[str, Floats]] = []
        sources: list[RunRecord] = []
        lacking: list[str] = []
        for run in counted:
            column, wrong = _run_scores(run, split, here, scored)
            if not column and not wrong:
                wrong = _unscored(run, split, bool(here))
            if wrong and together:
                column, wrong = {}, wrong[:1]
            reasons.extend(_name_seed(run, members, f"{split}: {w}") for w in wrong)
            if not column:
                lacking.extend(wrong)
            else:
                columns.append(column)
                sources.append(run)
                kept[run.run_key] = run
        if lacking and not columns:
            lacks[split] = "; ".join(dict.fromkeys(lacking))
        elif tried and not confirm and split == "test":
            lacks[split] = "; ".join(dict.fromkeys(tried))
        if columns:
            # Arms may lack a suite; all seeds of one configuration then lack it too.
            names = [n for n in here if all(n in c for c in columns)]
            scores[split] = {n: np.column_stack([c[n] for c in columns]) for n in names}
            runs[split] = tuple(sources)
    if counted and not scores and not reasons:
        reasons.append("no item scores")
    first = (list(kept.values()) or counted or members)[0]
    configuration = Configuration(
        trial_id=first.trial_id,
        label=first.label,
        model=first.model,
        kind=first.kind,
        arm=first.arm,
        params=dict(first.params),
        stage=max((r.stage for r in (counted or members)), key=_STAGE_ORDER.__getitem__),
        status=first.status,
        confirmed=bool(confirm) and bool(scores),
        tokens=first.tokens,
        cost=costs(sweep, list(kept.values()), first, speeds),
        scores=scores,
        lacks=lacks,
        runs=runs,
    )
    return configuration, reasons


def _run_scores(
    run: RunRecord, split: Split, suites: Mapping[str, SuiteItems], scored: _Scored
) -> tuple[dict[str, Floats], list[str]]:
    """Aligned scores by suite, and what is wrong with the others; both empty if the split was not
    scored at all."""
    found = {n: scored[p] for n in suites if (p := (run.run_key, split, n)) in scored}
    aligned: dict[str, Floats] = {}
    wrong: list[str] = []
    missing = [n for n in suites if n not in found]
    if found and missing and run.kind != "reference":
        wrong.append(f"no scores on {', '.join(missing)}")
    for name, scores in found.items():
        # The test stage scores finished weights without training: it may report 0 tokens.
        rescored = split == "test" and scores.tokens == 0
        if run.kind == "trial" and scores.tokens < run.tokens and not rescored:
            wrong.append(f"{name} was last scored at {scores.tokens:,} of {run.tokens:,} tokens")
            continue
        values = _align(scores, suites[name])
        if isinstance(values, str):
            wrong.append(f"{name}: {values}")
        else:
            aligned[name] = values
    return aligned, wrong


def _unscored(run: RunRecord, split: Split, others: bool) -> list[str]:
    """Why a run without scores on a split should have some; empty if it was not to be scored there.

    Args:
        others: Other runs have scores on this split.
    """
    if split != "test":
        return []
    if run.test_failure:
        return [run.test_failure]
    due = run.kind != "trial" or run.stage is Stage.CONFIRM
    return ["no scores, while others have them"] if due and others else []


def _align(scores: ItemScores, suite: SuiteItems) -> Floats | str:
    """Scores in the suite's item order, or why that is impossible."""
    if scores.metric != suite.info.scorer:
        return f"scored by {scores.metric}, not {suite.info.scorer}"
    values = np.asarray(scores.values, dtype=np.float64)
    same = scores.item_ids is suite.item_ids or np.array_equal(scores.item_ids, suite.item_ids)
    if not same:
        order = np.argsort(scores.item_ids, kind="stable")
        ids = scores.item_ids[order]
        if np.any(ids[1:] == ids[:-1]):
            return "an item was scored twice"
        place = np.minimum(np.searchsorted(ids, suite.item_ids), len(ids) - 1)
        lacking = int(np.sum(ids[place] != suite.item_ids))
        if lacking:
            return f"lacks {lacking} of {len(suite.item_ids)} items"
        values = values[order][place]
    bad = int(np.count_nonzero(~(np.abs(values) < NOT_FINITE)))  # NaN is below nothing
    return f"{bad} scores are not finite" if bad else values


def _name_seed(run: RunRecord, members: list[RunRecord], reason: str) -> str:
    return f"seed {run.seed}: {reason}" if len(members) > 1 else reason
