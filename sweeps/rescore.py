"""A tuned model and its base on an updated test set: has the model aged?

Kept weights are scored as the sweep's test stage scores them, by one local worker. The scores are a
record of their own in `rescores/` of the sweep's folder: nothing of it enters the sweep's evidence.
That these items were opened is noted in the store (`sweeps.openings`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from keepgain.analysis.rescored import Pair, without
from keepgain.core.config import ScoreConfig, Split, SuiteRef
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.inside import inside
from keepgain.core.items import ItemScores, read_items
from keepgain.core.record import RungReport
from keepgain.core.schema import StrictModel
from keepgain.core.store.location import StoreLocation
from keepgain.core.work import ScoreRequest
from keepgain.sweeps.checked import read_checked
from keepgain.sweeps.export import refuse_other_base
from keepgain.sweeps.gate import SYNTHETIC
from keepgain.sweeps.iterate import BEST, Start
from keepgain.sweeps.located import Located, digest_rows, store_rows
from keepgain.sweeps.lone_worker import lone_worker, resources_of, trained
from keepgain.sweeps.openings import count_openings, note_opening, opening
from keepgain.sweeps.overview import find_sweep
from keepgain.sweeps.rescore_items import in_training, names_among, read_items_of, renamed
from keepgain.sweeps.rescore_subject import MODEL, Subject, find_subject
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.spec_question import QuestionSpec

FOLDER = "rescores"
RECORD = "rescore.json"


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
    subject = find_subject(location, folder, suite, trial)
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
    names = names_among(subject.old_suite, rows.rows)
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
        in_training=in_training(subject.run, rows),
        left_out=len(synthetic),
        opened=count_openings(location.work, (ref,)),
    )


def _threshold(given: float | None, question: QuestionSpec) -> tuple[float, str]:
    if given is not None:
        return given, "--threshold"
    if question.rescore_drop is not None:
        return question.rescore_drop, "question.rescore_drop"
    return question.delta, "question.delta"


def _known(place: Path, ref: SuiteRef, subject: Subject) -> Record | None:
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
    subject: Subject,
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


def _old(run: RunState, subject: Subject) -> ItemScores:
    """As the sweep has scored it."""
    report, suite = run.last_report, subject.old_suite
    if report is None:
        raise UserError(f"run {run.run_key} has no scores.", where=MODEL)
    return _of(read_items(inside(subject.folder, report.items_path)), suite)


def _new(place: Path, record: Record, what: Literal["base", "tuned"]) -> ItemScores:
    return _of(read_items(inside(place, record.items[what])), record.suite)


def _of(scores: Iterable[tuple[str, ItemScores]], suite: SuiteRef) -> ItemScores:
    return next(s for _, s in scores if (s.suite, s.split) == (suite.name, suite.split))
