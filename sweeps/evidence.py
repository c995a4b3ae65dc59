"""From a ledger to the record that is kept and analysed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keepgain.core.config import RetentionSettings, TrainerRef
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
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.replay import RunState, SweepState
from keepgain.sweeps.search.rungs import audits
from keepgain.sweeps.spec import spec_space

SCORES_OF = "scores_of"
"""Parameter of a test-stage run: the run key of the run whose model it scores."""


_NESTED: dict[str, dict[str, Any]] = {
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
    params = {k: v for k, v in config.items() if k not in apart}
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
) -> Evidence:
    """Everything that the ledger knows, with the item scores of all final rungs.

    Audit trials have those of every rung, to check the rungs by. The scores of trials that were
    stopped early are left out: nothing of them is compared.

    Args:
        folder: The sweep's folder, below which the item scores lie.
        stage: The last stage that finished.
        test_opened: Openings of these test items across sweeps.
    """
    spec = prepared.spec
    tests = {
        str(run.asked.params[SCORES_OF]): run
        for run in state.runs.values()
        if run.asked.stage is Stage.TEST
    }
    audited = audits(
        (r.asked for r in state.runs.values() if r.asked.stage is Stage.SEARCH),
        spec.search.stopping.audit_trials,
    )
    records: list[RunRecord] = []
    items: list[tuple[str, ItemScores]] = []
    for key, run in state.runs.items():
        if run.asked.stage is Stage.TEST:
            continue
        test = tests.get(key)
        records.append(_record(run, test, audit=key in audited))
        for scored in (run, test):
            if scored is not None and scored.status is TrialStatus.COMPLETED:
                items += [(key, s) for s in _items(scored, folder, every=key in audited)]
    record = SweepRecord(
        id=prepared.sweep_id,
        name=spec.name,
        stage=stage,
        store=store,
        question=Question.model_validate(spec.question.model_dump()),
        suites=prepared.suite_infos,
        models=prepared.model_infos,
        budget_unit=prepared.budget_unit,
        prices={k: v for k, v in spec.prices.model_dump().items() if v is not None},
        space=_space(prepared),
        stopping=_stopping(prepared),
        planned_looks=spec.confirm.looks or (),
        looks=state.looks,
        runs=tuple(records),
        test_opened=test_opened,
        warnings=(*warnings, *(f"the search ended early: {n}" for n in _early(state))),
        provenance=dict(provenance or {}),
    )
    return Evidence(record, tuple(items))


def _early(state: SweepState) -> tuple[str, ...]:
    """Why the search ended before all its draws were made; empty if it did not."""
    note = state.notes.get(Stage.SEARCH)
    return () if note is None else (note,)


def _space(prepared: Prepared) -> tuple[SpaceDimension, ...]:
    from keepgain.sweeps.search.space_record import space_record  # optuna takes a second to import

    return space_record(spec_space(prepared.loaded))


def _stopping(prepared: Prepared) -> Stopping | None:
    """How trials were stopped early; None with a single rung, too."""
    stopping = prepared.spec.search.stopping
    if not stopping.enabled or len(prepared.rungs) < 2:
        return None
    return Stopping(keep=stopping.keep, grace=stopping.grace)


def _record(run: RunState, test: RunState | None, *, audit: bool = False) -> RunRecord:
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
        test_failure=_test_failure(test),
        # As trained, and what was drawn under another name: `replay_share`, `duration`.
        params={**asked.params, **flat_params(asked.config)} if asked.kind == "trial" else {},
        origin=asked.origin,
        audit=audit,
        generation=asked.generation,
        number=asked.number,
        tokens=report.tokens if report else 0,
        budget=asked.config.get("budget", 0),
        metrics=metrics,
        cost=report.cost if report else {},
        # As the worker resolved them; a run without a report has only what was asked for.
        numerics=report.numerics
        if report
        else {k: str(v) for k, v in runtime.items() if v is not None},
        reused_from=run.reused_from,
    )


def _test_failure(test: RunState | None) -> str | None:
    if test is None or test.status not in (TrialStatus.FAILED, TrialStatus.INTERRUPTED):
        return None
    what = str(test.cause or test.status)
    return f"{what}: {test.reason}" if test.reason else what


def _items(run: RunState, folder: Path, *, every: bool) -> list[ItemScores]:
    """Of the last rung, or of every rung."""
    assert run.last_report is not None, "a completed run has a report"
    reports = run.reports if every else run.reports[-1:]
    return [s for report in reports for _, s in read_items(folder / report.items_path)]
