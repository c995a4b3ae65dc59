"""From a ledger to the record that is kept and analysed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keepgain.core.config import RetentionSettings, TrainerRef
from keepgain.core.inside import inside
from keepgain.core.items import ItemScores, read_items
from keepgain.core.record import (
    Evidence,
    Question,
    RunRecord,
    SpaceDimension,
    Stopping,
    SweepRecord,
)
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.candidates import INTERPOLATION, candidates_of
from keepgain.sweeps.checked import Flagged
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.replay import RunState, SweepState
from keepgain.sweeps.search.rungs import audits
from keepgain.sweeps.served import SCORES_OF, failure_of, form_of, served_items, served_results

_NESTED: dict[str, dict[str, Any]] = {
    "early_stopping": {},
    "lora": {},
    "peft": {},
    "mixture": {},
    "retention": RetentionSettings().model_dump(),
}
"""Groups of settings, with the values that are not worth a column."""


def flat_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a `TrialConfig` (as JSON), flat and without what names files."""
    if "learning_rate" not in config:
        return {}
    apart = ("model", "sources", "suites", "runtime", "rungs", "trainer", *_NESTED)
    params = {k: v for k, v in config.items() if k not in apart and (k, v) != (INTERPOLATION, 1)}
    for prefix, defaults in _NESTED.items():
        own = (config.get(prefix) or {}).items()
        params |= {f"{prefix}.{k}": v for k, v in own if k not in defaults or v != defaults[k]}
    if trainer := config.get("trainer"):
        params["trainer"] = TrainerRef.model_validate(trainer).label
        params |= {f"trainer.{k}": v for k, v in trainer["settings"].items()}
    return {k: v for k, v in params.items() if v is not None}


def build_evidence(
    prepared: Prepared,
    state: SweepState,
    folder: Path,
    *,
    stage: Stage,
    store: str,
    test_opened: int,
    warnings: tuple[str, ...] = (),
    provenance: Mapping[str, str] | None = None,
    flagged: Flagged | None = None,
) -> Evidence:
    """Everything that the ledger knows, with the item scores of all final rungs.

    Audit trials have those of every rung, to check the rungs by, and confirmed ones too; both with
    their answer losses, to see whether they overfit. The scores of trials that were stopped at a
    rung are left out: nothing of them is compared.

    Args:
        folder: The sweep's folder, below which the item scores lie.
        stage: The last stage that finished.
        test_opened: Openings of these test items across sweeps.
        flagged: Items that the check of the data flagged.
    """
    spec = prepared.spec
    tests = {
        str(run.asked.params[SCORES_OF]): run
        for run in state.runs.values()
        if run.asked.stage is Stage.TEST and form_of(run.asked) is None
    }
    served = served_results(state.runs, spec.serve)
    audited = audits(
        (r.asked for r in state.runs.values() if r.asked.stage is Stage.SEARCH),
        spec.search.stopping.audit_trials,
    )
    records: list[RunRecord] = []
    items: list[tuple[str, ItemScores]] = []
    # Where there are points beside the tuned weights, those are a point as well.
    shown = {INTERPOLATION: 1.0} if spec.training.interpolate else {}
    for key, run in state.runs.items():
        if run.asked.stage is Stage.TEST:
            items += served_items(run, folder)
            continue
        test = tests.get(key)
        record = _record(run, test, shown, audit=key in audited)
        records.append(record.model_copy(update={"served": served.get(key, ())}))
        every = key in audited or run.asked.stage is Stage.CONFIRM
        for scored in (run, test):
            if scored is not None and scored.status is TrialStatus.COMPLETED:
                items += [(key, s) for s in _items(scored, folder, every=every)]
        for point in candidates_of(run):
            records.append(_record(point, None, {}, made_from=key))
            items += [(point.run_key, s) for s in _items(point, folder, every=False)]
    sweep = SweepRecord(
        id=prepared.sweep_id,
        name=spec.name,
        stage=stage,
        store=store,
        question=Question.model_validate(spec.question.model_dump(exclude={"rescore_drop"})),
        suites=prepared.suite_infos,
        models=prepared.model_infos,
        budget_unit=prepared.budget_unit,
        prices={k: v for k, v in spec.prices.model_dump().items() if v is not None},
        space=_space(prepared),
        roles={name: source.role for name, source in spec.data.items()},
        stopping=_stopping(prepared),
        planned_looks=spec.confirm.looks or (),
        looks=state.looks,
        runs=tuple(records),
        test_opened=test_opened,
        warnings=(
            *warnings,
            *(f"the search ended early: {n}" for n in _early(state)),
            *_of_self_replay(state),
        ),
        provenance=dict(provenance or {}),
        flagged=flagged or {},
    )
    return Evidence(sweep, tuple(items))


def _early(state: SweepState) -> tuple[str, ...]:
    """Why the search ended before all its draws were made; empty if it did not."""
    note = state.notes.get(Stage.SEARCH)
    return () if note is None else (note,)


def _of_self_replay(state: SweepState) -> Iterator[str]:
    """What is to be known of the answers that bases wrote; see `trainers.self_replay`."""
    for run in state.runs.values():
        if run.asked.config.get("replay"):
            for report in run.reports:
                yield from (f"{run.asked.model}: {w}" for w in report.warnings)


def _space(prepared: Prepared) -> tuple[SpaceDimension, ...]:
    from keepgain.sweeps.search.space_record import space_record  # optuna takes a second to import

    return space_record(spec_space(prepared.loaded))


def _stopping(prepared: Prepared) -> Stopping | None:
    """How trials were stopped early; None with a single rung, too."""
    stopping = prepared.spec.search.stopping
    if not stopping.enabled or len(prepared.rungs) < 2:
        return None
    return Stopping(keep=stopping.keep, grace=stopping.grace)


def _record(
    run: RunState,
    test: RunState | None,
    shown: Mapping[str, Any],
    *,
    audit: bool = False,
    made_from: str | None = None,
) -> RunRecord:
    """`shown`: settings at their default that are worth a column."""
    asked, report = run.asked, run.last_report
    runtime = asked.config.get("runtime", {})
    metrics = dict(report.metrics) if report else {}
    if test is not None and test.last_report is not None:
        metrics |= test.last_report.metrics
    return RunRecord(
        run_key=run.run_key,
        trial_id=asked.trial_id,
        seed=asked.seed,
        kind=asked.kind,
        arm=asked.arm,
        model=asked.model,
        stage=asked.stage,
        status=run.status,
        reason=run.reason,
        test_failure=None if test is None else failure_of(test),
        # As trained, and what was drawn under another name: `replay_share`, `duration`.
        params={**shown, **asked.params, **flat_params(asked.config)}
        if asked.kind == "trial"
        else {},
        origin=asked.origin,
        audit=audit,
        generation=asked.generation,
        number=asked.number,
        tokens=report.tokens if report else 0,
        budget=asked.config.get("budget", 0),
        stopped_early=report.stopped_early if report else None,
        metrics=metrics,
        cost=report.cost if report else {},
        # As the worker resolved them; a run without a report has only what was asked for.
        numerics=report.numerics
        if report
        else {k: str(v) for k, v in runtime.items() if v is not None},
        answers=tuple(
            r.answers_path
            for r in (report, test.last_report if test else None)
            if r is not None and r.answers_path is not None
        ),
        reused_from=run.reused_from,
        made_from=made_from,
    )


def _items(run: RunState, folder: Path, *, every: bool) -> list[ItemScores]:
    """Of the last rung, or of every rung, then with the answer losses."""
    assert run.last_report is not None, "a completed run has a report"
    reports = run.reports if every else run.reports[-1:]
    paths = [r.items_path for r in reports]
    if every:
        paths += [r.losses_path for r in reports if r.losses_path is not None]
    return [s for path in paths for _, s in read_items(inside(folder, path))]
