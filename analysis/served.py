"""Finalists as served: what the form in which weights are held costs in scores, item by item.

One run of each finalist is scored on the test items a second time, with its weights in bfloat16 or
quantised, and so is its base. The served scores are paired with the same run's scores as the sweep
computes: neither training nor seeds come in, so that the intervals are over items alone, and they
speak of these weights. Nothing is ranked or chosen by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from keepgain.analysis import words
from keepgain.analysis.measures import Drop, Measures
from keepgain.analysis.slices import cautious
from keepgain.analysis.stats import CONFIDENCE, Estimate, Uncertain
from keepgain.analysis.table import build_table
from keepgain.core.config import ServeForm, Split
from keepgain.core.items import ItemScores, served_as
from keepgain.core.record import Evidence, Question, RunKind, RunRecord, Served, SweepRecord
from keepgain.core.status import Stage, TrialStatus

SPLIT: Split = "test"


@dataclass(frozen=True)
class AsServed:
    """One run in one form."""

    trial: str
    model: str
    kind: RunKind
    seed: int
    form: ServeForm
    same: bool
    """The sweep computes in this form: what is served is what was scored."""
    failure: str | None
    """Why it has no scores in this form."""
    task: Estimate = field(default_factory=Estimate)
    """Change of the task score; up is good."""
    drop: Estimate = field(default_factory=Estimate)
    """The largest drop of a forgetting suite against the weights as scored, positive is worse; the
    interval holds for all suites together (Bonferroni)."""
    drop_suite: str | None = None
    weight_bytes: float | None = None
    """In this form, as held in memory."""
    scored_weight_bytes: float | None = None
    """As scored, by the configuration of the model and without adapters."""
    seconds_per_answer: float | None = None
    """Median, as of the costs of a run; None: no suite generates."""
    cautions: tuple[str, ...] = ()
    """Limits of the question that this form breaks beyond its interval."""


def as_served(evidence: Evidence, question: Question) -> tuple[AsServed, ...]:
    """All served results of a sweep, in the order of its base models, bases first; empty if it
    asked for none."""
    sweep = evidence.sweep
    by_run: dict[str, list[ItemScores]] = {}
    for key, scores in evidence.items:
        if scores.split == SPLIT:
            by_run.setdefault(key, []).append(scores)
    order = {m.name: n for n, m in enumerate(sweep.models)}
    runs = sorted(
        (r for r in sweep.runs if r.served),
        key=lambda r: (order.get(r.model, len(order)), r.kind != "base", r.trial_id),
    )
    bases = {r.model: r for r in sweep.runs if r.kind == "base"}
    return tuple(
        _one(sweep, run, served, by_run, bases.get(run.model), question)
        for run in runs
        for served in run.served
    )


def cautions_of(found: Sequence[AsServed], trial: str | None) -> tuple[str, ...]:
    """What the forms of the decision's trial break, a sentence each."""
    mine = (s for s in found if s.trial == trial and s.kind == "trial")
    return tuple(caution for served in mine for caution in served.cautions)


def _one(
    sweep: SweepRecord,
    run: RunRecord,
    served: Served,
    by_run: Mapping[str, list[ItemScores]],
    base: RunRecord | None,
    question: Question,
) -> AsServed:
    bare = AsServed(
        trial=run.trial_id,
        model=run.model,
        kind=run.kind,
        seed=run.seed,
        form=served.form,
        same=served.same,
        failure=served.failure,
        weight_bytes=served.cost.get("weight_bytes"),
        scored_weight_bytes=run.cost.get("weight_bytes"),
        seconds_per_answer=served.cost.get("seconds_per_answer_p50"),
    )
    if served.same or served.failure:
        return bare
    prefix = served_as(served.form, "")
    own, scores = by_run.get(run.run_key, []), []
    for s in own:
        if s.suite.startswith(prefix):
            scores.append(replace(s, suite=s.suite.removeprefix(prefix)))
    change, drops = _against(sweep, run, own, scores)
    if change is None and not drops:
        why = run.test_failure or "the item scores do not fit each other"
        return replace(bare, failure=f"cannot be compared: {why}")
    worst = max(drops, key=lambda d: d.value, default=None)
    from_base: tuple[Drop, ...] = ()
    if base is not None and run.kind == "trial":
        _, from_base = _against(sweep, run, by_run.get(base.run_key, []), scores)
    return replace(
        bare,
        task=Estimate() if change is None else cautious(change),
        drop=Estimate() if worst is None else cautious(worst.uncertain, _each(drops)),
        drop_suite=None if worst is None else worst.suite.info.name,
        cautions=_cautions(served.form, change, from_base, question, sweep),
    )


def _against(
    sweep: SweepRecord, run: RunRecord, before: list[ItemScores], after: list[ItemScores]
) -> tuple[Uncertain | None, tuple[Drop, ...]]:
    """(gain, drops) of one list of test scores against another, paired by item: a base and a
    reference arm of a sweep of their own, since neither has a seed."""

    def row(name: str, kind: RunKind) -> RunRecord:
        return RunRecord(
            run_key=name,
            trial_id=name,
            seed=0,
            kind=kind,
            model=run.model,
            stage=Stage.BASE,
            status=TrialStatus.COMPLETED,
        )

    pair = sweep.model_copy(update={"runs": (row("before", "base"), row("after", "reference"))})
    items = (*(("before", s) for s in before), *(("after", s) for s in after))
    measures = Measures(build_table(Evidence(pair, items)))
    who = next(c for c in measures.table.configurations if c.trial_id == "after")
    return measures.uncertain(who, SPLIT, "gain"), measures.drops(who, SPLIT)


def _each(drops: Sequence[Drop]) -> float:
    """Confidence of one of several drops, so that all hold together."""
    return 1 - (1 - CONFIDENCE) / max(1, len(drops))


def _cautions(
    form: ServeForm,
    change: Uncertain | None,
    drops: Sequence[Drop],
    question: Question,
    sweep: SweepRecord,
) -> tuple[str, ...]:
    """One-sided bounds at 95 %, of the drops together."""
    found = []
    most = None if change is None else change.upper()
    if change is not None and most is not None and most < -question.delta:
        scorers = {s.scorer for s in sweep.suites if s.measures == "gain"}
        scorer = scorers.pop()
        lost = replace(change, value=-change.value)
        found.append(
            f"Served in {form}, it loses {words.amount_interval(lost, scorer)} of task score "
            f"against its weights as scored, more than {words.amount(question.delta, scorer)} "
            "(delta)."
        )
    limit = question.max_forgetting
    for drop in drops if limit is not None else ():
        least = drop.uncertain.lower(_each(drops))
        if least is not None and limit is not None and least > limit:
            info = drop.suite.info
            found.append(
                f"Served in {form}, it forgets "
                f"{words.amount_interval(drop.uncertain, info.scorer)} on {info.name} "
                f"(limit {words.amount(limit, info.scorer)})."
            )
    return tuple(found)
