"""A tuned model and its base on an updated test set: has the model aged?

Kept weights are scored as the sweep's test stage scores them, by one local worker. The scores are a
record of their own in `rescores/` of the sweep's folder: nothing of it enters the sweep's evidence.
That these items were opened is noted in the store (`sweeps.openings`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from keepgain.analysis.rescored import Pair, without
from keepgain.core.config import ScoreConfig, Split, SuiteRef
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.inside import inside
from keepgain.core.items import ItemScores, read_items
from keepgain.core.record import RungReport
from keepgain.core.rows import Row, read_rows
from keepgain.core.schema import StrictModel
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.location import StoreLocation
from keepgain.core.work import ScoreRequest
from keepgain.sweeps.checked import read_checked
from keepgain.sweeps.datasets import read_located
from keepgain.sweeps.export import refuse_other_base
from keepgain.sweeps.gate import SYNTHETIC
from keepgain.sweeps.gates.material import normalised
from keepgain.sweeps.iterate import BEST, Start, decided_trial, find_start
from keepgain.sweeps.located import Located, digest_rows, store_rows
from keepgain.sweeps.lone_worker import lone_worker, resources_of, trained
from keepgain.sweeps.openings import count_openings, note_opening, opening
from keepgain.sweeps.overview import find_sweep, read_resolved_spec, read_runs
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.served import SCORES_OF, form_of
from keepgain.sweeps.spec import measures_of
from keepgain.sweeps.spec_models import DataSpec, QuestionSpec, SuiteSpec
from keepgain.sweeps.spec_scorer import refuse_unscorable

FOLDER = "rescores"
RECORD = "rescore.json"
MODEL = "--model"
GONE = (
    "Rescoring needs the weights that `sweep export` and `sweep promote` take, where they lie. "
    "A sweep of these settings (`search: {sampler: list, configs: [...]}`) makes them anew, "
    "and reuses their search run."
)


class Record(StrictModel):
    """`rescore.json`: what was scored; it is there once all scores are."""

    version: Literal[1] = 1
    candidate: str
    """Run key of the weights."""
    base: str
    """Run key of the base that they are compared with."""
    suite: SuiteRef
    """The new items; the path is that of the file they were read from."""
    time: str
    """UTC, ISO 8601."""
    items: dict[Literal["base", "tuned"], str]
    """Files of item scores, below this folder."""
    reports: dict[Literal["base", "tuned"], RungReport]


@dataclass(frozen=True)
class Rescored:
    """What is known of the old and the new items."""

    sweep: str
    start: Start
    record: Record
    scored_now: bool
    """False: the scores were in the folder already."""
    split: Split
    """Of the old items."""
    old: Pair
    new: Pair
    threshold: float
    """Drop of the tuned score beyond which a new sweep is warranted."""
    threshold_from: str
    """Where it stands."""
    shared: int
    """New items that are old ones."""
    in_training: int
    """New items whose question the tuned model was trained on, word for word."""
    left_out: int
    """Old items that are synthetic, which decide nothing."""
    opened: int
    """Openings of the new items by any sweep of the store."""


@dataclass(frozen=True)
class _Subject:
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


def rescore(
    location: StoreLocation,
    sweep: str,
    path: Path,
    *,
    suite: str | None = None,
    trial: str = BEST,
    threshold: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Rescored:
    """Scores a confirmed trial's kept weights, and their base, on the rows of a file.

    Args:
        location: The store.
        sweep: Id, or `last`.
        path: Of the new test items.
        suite: That they replace; None: the one that measures the gain.
        trial: As of `sweeps.iterate.find_start`; `best` is the sweep's decision.
        threshold: None: the spec's `question.rescore_drop`, else its `delta`.
        say: Called with a line before something slow.

    Raises:
        UserError: No such sweep, trial or suite, weights or base that are gone, rows that the
            scorer cannot take, or a worker that failed.
    """
    folder = find_sweep(location, sweep)
    subject = _subject(location, folder, suite, trial)
    question = QuestionSpec.model_validate(subject.spec["question"])
    rows = read_items_of(path, subject.suite_spec, subject.spec, subject.old_suite)
    ref = subject.old_suite.model_copy(
        update={
            "split": "test",
            "path": str(path.absolute()),
            "digest": digest_rows(rows.rows),
            "items": len(rows.rows),
        }
    )
    place = folder / FOLDER / f"{subject.run.run_key}-{ref.name}-{ref.digest[:12]}"
    record = _known(place, ref, subject)
    scored_now = record is None
    if record is None:
        record = _score(location, place, rows, ref, subject, say)
    old = Pair(_old(subject.old_base, subject), _old(subject.old_run, subject))
    names = _names(subject.old_suite, rows.rows)
    new = Pair(
        renamed(_new(place, record, "base"), names), renamed(_new(place, record, "tuned"), names)
    )
    checked = read_checked(folder)
    flagged = checked.flagged.get(SYNTHETIC, {}) if checked is not None else {}
    synthetic = flagged.get(ref.name, {}).get(subject.old_suite.split, ())
    if synthetic:
        old = Pair(without(old.base, synthetic), without(old.tuned, synthetic))
    limit, said = _threshold(threshold, question)
    return Rescored(
        sweep=folder.name,
        start=subject.start,
        record=record,
        scored_now=scored_now,
        split=subject.old_suite.split,
        old=old,
        new=new,
        threshold=limit,
        threshold_from=said,
        shared=len(set(old.tuned.item_ids.tolist()) & set(new.tuned.item_ids.tolist())),
        in_training=_in_training(subject.run, rows),
        left_out=len(synthetic),
        opened=count_openings(location.work, (ref,)),
    )


def _threshold(given: float | None, question: QuestionSpec) -> tuple[float, str]:
    if given is not None:
        return given, "--threshold"
    if question.rescore_drop is not None:
        return question.rescore_drop, "question.rescore_drop"
    return question.delta, "question.delta"


def _subject(location: StoreLocation, folder: Path, suite: str | None, trial: str) -> _Subject:
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
    name, suite_spec = _suite(suite, spec)
    return _Subject(
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


def _suite(wanted: str | None, spec: dict[str, Any]) -> tuple[str, SuiteSpec]:
    suites = {n: SuiteSpec.model_validate(s) for n, s in spec["suites"].items()}
    if wanted is not None and wanted not in suites:
        raise UserError(
            f"the sweep has no suite '{wanted}'.",
            where="--as",
            hint=f"It has: {', '.join(suites)}.",
        )
    fitting = [n for n, s in suites.items() if measures_of(n, s) == "gain"]
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


def read_items_of(path: Path, suite: SuiteSpec, spec: dict[str, Any], old: SuiteRef) -> Located:
    """The rows of a file as items of a suite: its format and fields, or those of its source.

    Args:
        path: The file.
        suite: As the spec has it.
        spec: The whole of it, as JSON.
        old: The items that are replaced.

    Raises:
        UserError: No such file, or the first row that cannot be read or scored, by its line.
    """
    if not path.exists():
        raise UserError("no such file.", where=f"--suite {path}")
    of: SuiteSpec | DataSpec = suite
    if suite.source is not None:
        of = DataSpec.model_validate(spec["data"][suite.source])
    rows, _ = read_located(
        path,
        format=of.format,
        fields=of.fields,
        slices=tuple(spec.get("slices") or ()),
        choices=suite.registered.fits == "choices",
    )
    refuse_unscorable(old.name, suite, old.options, rows.placed(), "--suite")
    return rows


def _known(place: Path, ref: SuiteRef, subject: _Subject) -> Record | None:
    """Of the same weights on the same items by the same scorer; None: they are scored anew."""
    try:
        record = Record.model_validate_json((place / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
    same = record.suite.model_copy(update={"path": ref.path}) == ref
    runs = (subject.run.run_key, subject.base.run_key)
    return record if same and (record.candidate, record.base) == runs else None


def _score(
    location: StoreLocation,
    place: Path,
    rows: Located,
    ref: SuiteRef,
    subject: _Subject,
    say: Callable[[str], None],
) -> Record:
    start, run = subject.start, subject.run
    again = ", or rescore another trial"
    for model in {start.base.path: start.base, start.reference.path: start.reference}.values():
        refuse_other_base(model, again)
    opened = opening([run.run_key], (ref,))
    place.mkdir(parents=True, exist_ok=True)
    stored = ref.model_copy(update={"path": str(place.absolute() / "items.jsonl")})
    store_rows(Path(stored.path), rows.rows)
    runtime = run.asked.config["runtime"]
    configs: dict[Literal["base", "tuned"], ScoreConfig] = {
        "base": ScoreConfig(model=start.reference, suites=(stored,), runtime=runtime),
        "tuned": ScoreConfig(
            model=start.base,
            checkpoint=str(start.folder.absolute()),
            trained_by=run.run_key,
            suites=(stored,),
            runtime=runtime,
        ),
    }
    note_opening(location.work, subject.folder.name, opened, (ref,))
    reports: dict[Literal["base", "tuned"], RungReport] = {}
    ranks = configs["base"].runtime.world_size
    say("starting a worker")
    try:
        with lone_worker(resources_of(subject.spec), ranks, place / "worker.log") as worker:
            for what, config in configs.items():
                say(f"scoring {config.model.name}, {what}, on {ref.items:,} items of {ref.name}")
                request = ScoreRequest(config=config, report_as=what, sweep_folder=str(place))
                reports[what] = trained(worker, request)
    except TrialFailure as failure:
        raise UserError(
            f"the scoring failed ({failure}).", where="--suite", hint=f"Log: {place}/worker.log."
        ) from None
    record = Record(
        candidate=run.run_key,
        base=subject.base.run_key,
        suite=ref,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        items={what: report.items_path for what, report in reports.items()},
        reports=reports,
    )
    partial = place / f"{RECORD}.partial"
    partial.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(place / RECORD)
    return record


def _old(run: RunState, subject: _Subject) -> ItemScores:
    """As the sweep has scored it."""
    report, suite = run.last_report, subject.old_suite
    if report is None:
        raise UserError(f"run {run.run_key} has no scores.", where=MODEL)
    return _of(read_items(inside(subject.folder, report.items_path)), suite)


def _new(place: Path, record: Record, what: Literal["base", "tuned"]) -> ItemScores:
    return _of(read_items(inside(place, record.items[what])), record.suite)


def _of(scores: Iterable[tuple[str, ItemScores]], suite: SuiteRef) -> ItemScores:
    return next(s for _, s in scores if (s.suite, s.split) == (suite.name, suite.split))


def _names(old: SuiteRef, new: Iterable[Row]) -> dict[str, str]:
    """Of the old rows that are still there; none: ids are taken at their word."""
    path = Path(old.path)
    return new_names(read_rows(path), new) if path.is_file() else {}


def new_names(old: Iterable[Row], new: Iterable[Row]) -> dict[str, str]:
    """Id of a new row → that of the old row with its content; ids that a file gives may be other
    rows' in another file, and these get one of their own."""
    by_content: dict[tuple[str, str], str] = {}
    taken = set()
    for row in old:
        by_content.setdefault(_content(row), row.id)
        taken.add(row.id)
    names = {}
    for row in new:
        own = f"new:{row.id}" if row.id in taken else row.id
        names[row.id] = by_content.pop(_content(row), own)
    return names


def _content(row: Row) -> tuple[str, str]:
    return normalised(row.question()), normalised(row.answer)


def renamed(scores: ItemScores, names: Mapping[str, str]) -> ItemScores:
    """With other ids, where they have one."""
    ids = [names.get(i, i) for i in scores.item_ids.tolist()]
    return replace(scores, item_ids=np.array(ids, dtype=np.str_))


def _in_training(run: RunState, rows: Located) -> int:
    """Of rows that are still there."""
    asked = [normalised(row.question()) for row in rows.rows]
    wanted = set(asked)
    known: set[str] = set()
    for source in run.asked.config["sources"]:
        if (path := Path(source["path"])).is_file():
            known |= {q for row in read_rows(path) if (q := normalised(row.question())) in wanted}
    return sum(question in known for question in asked)


def _weights(run: RunState) -> str:
    """Of the run's folder; a name that no folder has where it kept none."""
    report = run.last_report
    return (report.model_folder if report else None) or "\0"
