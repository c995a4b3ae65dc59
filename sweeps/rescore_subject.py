"""What `sweep rescore` compares: a run, its base, and the scores that the sweep has of both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.config import SuiteRef
from keepgain.core.errors import UserError
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.location import StoreLocation
from keepgain.sweeps.iterate import BEST, Start, decided_trial, find_start
from keepgain.sweeps.overview import read_resolved_spec, read_runs
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.served import SCORES_OF, form_of
from keepgain.sweeps.spec_suites import SuiteSpec, gain_suites

MODEL = "--model"
GONE = (
    "Rescoring needs the weights that `sweep export` and `sweep promote` take, where they lie. "
    "A sweep of these settings (`search: {sampler: list, configs: [...]}`) makes them anew, "
    "and reuses their search run."
)


@dataclass(frozen=True)
class Subject:
    """What is scored."""

    folder: Path
    start: Start
    run: RunState
    base: RunState
    old_run: RunState
    """That has the old scores of the tuned model."""
    old_base: RunState
    old_suite: SuiteRef
    suite_spec: SuiteSpec
    spec: dict[str, Any]


def find_subject(location: StoreLocation, folder: Path, suite: str | None, trial: str) -> Subject:
    """The weights that are scored and what they are compared with.

    Args:
        location: The store.
        folder: Of the sweep.
        suite: As of `suite_to_replace`.
        trial: As of `sweeps.iterate.find_start`; `best` is the sweep's decision.

    Raises:
        UserError: The sweep's files or the weights are not here, or no such trial or suite.
    """
    if not (folder / LEDGER_NAME).is_file():
        raise UserError(
            f"the files of sweep '{folder.name}' are not here: {folder}.",
            hint="Weights lie where the sweep ran: run this there, with that --store.",
        )
    if trial == BEST:
        trial = decided_trial(folder, MODEL)
    start = _start(location, folder, trial)
    runs = read_runs(folder)
    run = next(r for r in runs if folder / _weights(r) == start.folder)
    base = next(
        r
        for r in runs
        if r.asked.stage is Stage.BASE and r.asked.kind == "base" and r.asked.model == start.model
    )
    spec = read_resolved_spec(folder)
    tests = {
        str(r.asked.params[SCORES_OF]): r
        for r in runs
        if r.asked.stage is Stage.TEST
        and form_of(r.asked) is None
        and r.status is TrialStatus.COMPLETED
    }
    tested = run.run_key in tests and base.run_key in tests
    old_run, old_base = (tests[r.run_key] if tested else r for r in (run, base))
    refs = [SuiteRef.model_validate(s) for s in old_run.asked.config["suites"]]
    name, suite_spec = suite_to_replace(suite, spec)
    return Subject(
        folder=folder,
        start=start,
        run=run,
        base=base,
        old_run=old_run,
        old_base=old_base,
        old_suite=next(r for r in refs if r.name == name),
        suite_spec=suite_spec,
        spec=spec,
    )


def _start(location: StoreLocation, folder: Path, trial: str) -> Start:
    try:
        return find_start(location.work, f"{folder.name}/{trial}", MODEL)
    except UserError as error:
        raise UserError(
            error.problem,
            where=error.where,
            hint=" ".join(x for x in (error.hint, GONE) if x),
        ) from None


def suite_to_replace(wanted: str | None, spec: dict[str, Any]) -> tuple[str, SuiteSpec]:
    """The suite whose items the new ones replace, and its name.

    Args:
        wanted: Its name; None: the only one that measures the gain.
        spec: Of the sweep, as JSON.

    Raises:
        UserError: No such suite, several, or one whose items are not of a file.
    """
    suites = {n: SuiteSpec.model_validate(s) for n, s in spec["suites"].items()}
    if wanted is not None and wanted not in suites:
        raise UserError(
            f"the sweep has no suite '{wanted}'.",
            where="--as",
            hint=f"It has: {', '.join(suites)}.",
        )
    fitting = gain_suites(suites)
    chosen = [wanted] if wanted is not None else fitting
    if len(chosen) != 1:
        raise UserError(
            f"the sweep has {len(chosen)} suites that measure the gain.",
            where="--as",
            hint=f"Name the one that the new items replace: {', '.join(suites)}.",
        )
    (name,) = chosen
    if suites[name].lm_eval is not None:
        raise UserError(
            f"the items of '{name}' are of a task of lm-evaluation-harness, not of a file.",
            where="--as",
            hint=f"Name another suite: {', '.join(n for n in suites if n != name) or 'none'}.",
        )
    if made_of := suites[name].made_of:
        raise UserError(
            f"the items of '{name}' are made of those of {' and '.join(made_of)}.",
            where="--as",
            hint=f"Name {made_of[0]}.",
        )
    return name, suites[name]


def _weights(run: RunState) -> str:
    """Of the run's folder; a name that no folder has where it kept none."""
    report = run.last_report
    return (report.model_folder if report else None) or "\0"
