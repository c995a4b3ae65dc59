"""A trial trained once more on training and validation rows, when nothing is left to choose.

Settings stay as they are; the budget grows with the rows, so that each is seen as often. A trial
that stopped early is trained as long as it was, with its schedule over that. What has been trained
on can no longer measure, nor say when to stop: the model is scored on the test items, where the
sweep has opened them, and on the validation items of suites whose rows it was not trained on.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keepgain.core.config import SuiteRef, TrialConfig
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.identity import derive_seed, file_digest
from keepgain.core.record import RungReport
from keepgain.core.rows import Row, read_rows, write_rows
from keepgain.core.units import human_count, human_seconds
from keepgain.core.work import TrainRequest
from keepgain.sweeps.lone_worker import lone_worker, resources_of, trained
from keepgain.sweeps.overview import read_resolved_spec
from keepgain.sweeps.search.replay import RunState

WHERE = "--refit"


@dataclass(frozen=True)
class Refit:
    """A model trained on more rows than the sweep's trial."""

    config: TrialConfig
    seed: int
    report: RungReport
    added: Mapping[str, int]
    """Source → validation rows that joined its training rows."""
    weights: Path
    """There for as long as the context of `refitted`."""


@contextmanager
def refitted(
    folder: Path, run: RunState, test: RunState | None, say: Callable[[str], None]
) -> Iterator[Refit]:
    """Trains the configuration of a confirmed run anew; what it writes ends with the context.

    Args:
        folder: Of the sweep.
        run: Whose configuration it is.
        test: Its scoring on the test split, if there was one.
        say: Called with a line before the training.

    Raises:
        UserError: The sweep's rows are gone, none of its sources has validation rows, the trial
            chose how many rows to train on, or the training failed.
    """
    spec = read_resolved_spec(folder)
    given = TrialConfig.model_validate(run.asked.config)
    if given.rows is not None:
        raise UserError(
            f"the trial trained on {given.rows} rows of its sources, by the spec's choice; more "
            "would be another trial.",
            where=WHERE,
            hint="Leave --refit out.",
        )
    seed = derive_seed(run.asked.seed, "refit")
    with TemporaryDirectory(prefix="keepgain-refit-") as name:
        work = Path(name)
        joined, added = _joined(given, _validation_of(spec), work)
        measured = _measured(given, test, set(added), _validation_of(spec))
        longer = _longer(given, added)
        budget = math.ceil(_trained(run, given) * longer)
        changed = {"budget": budget, "rungs": (budget,), "early_stopping": None}
        config = given.model_copy(update={**changed, **joined, "suites": measured})
        amount = f"{human_count(config.budget)} {config.budget_unit}"
        rows = ", ".join(f"{n} of {name}" for name, n in added.items())
        say(f"refitting on validation rows too ({rows}): {amount}{_expected(run, longer)}")
        request = TrainRequest(
            config=config,
            seed=seed,
            rung=0,
            sweep_folder=str(work),
            keep_checkpoint=False,
            keep_model=True,
        )
        resources = resources_of(spec)
        ranks = config.runtime.world_size
        try:
            with lone_worker(resources, ranks, work / "worker.log") as worker:
                report = trained(worker, request)
        except TrialFailure as failure:
            raise UserError(f"the refit failed ({failure}).", where=WHERE) from None
        assert report.model_folder is not None, "it was asked for"
        yield Refit(config, seed, report, added, work / report.model_folder)


def _validation_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """Suite → the source that its items are of; without suites of their own files."""
    return {n: s["from"] for n, s in spec["suites"].items() if s.get("from")}


def _joined(
    given: TrialConfig, suites: Mapping[str, str], work: Path
) -> tuple[dict[str, Any], dict[str, int]]:
    """(the configuration's sources with validation rows, source → how many joined)."""
    extra: dict[str, dict[str, Row]] = {}
    for suite in given.suites:
        source = suites.get(suite.name)
        if source is not None and suite.split == "validation":
            # Two suites may ask the same items in two ways.
            extra.setdefault(source, {}).update({r.id: r for r in _rows(suite.path)})
    sources, added = [], {}
    for ref in given.sources:
        more = extra.get(ref.name)
        if not more:
            sources.append(ref)
            continue
        path = work / f"{ref.name}.train.jsonl"
        count = write_rows(path, chain(_rows(ref.path), more.values()))
        update = {"path": str(path), "digest": file_digest(path), "rows": count}
        sources.append(ref.model_copy(update=update))
        added[ref.name] = len(more)
    if not added:
        raise UserError(
            "no source that the trial trained on has validation rows.",
            where=WHERE,
            hint="Suites that are `from` a source have; leave --refit out.",
        )
    return {"sources": tuple(sources)}, added


def _rows(path: str) -> Iterator[Row]:
    """One at a time: a source may be larger than memory."""
    try:
        yield from read_rows(Path(path))
    except OSError as error:
        raise UserError(
            f"the sweep's rows cannot be read ({error.strerror}).", where=path
        ) from None


def _longer(given: TrialConfig, added: Mapping[str, int]) -> Fraction:
    """As much as the rows of the sources that grow."""
    before = sum(s.rows for s in given.sources if s.name in added)
    return Fraction(before + sum(added.values()), before)


def _trained(run: RunState, given: TrialConfig) -> int:
    """The run's budget, or what it had of it when it stopped early."""
    report = run.last_report
    if report is None or report.stopped_early is None:
        return given.budget
    return report.tokens if given.budget_unit == "tokens" else report.examples


def _measured(
    given: TrialConfig, test: RunState | None, added: set[str], suites: Mapping[str, str]
) -> tuple[SuiteRef, ...]:
    """Suites whose items the model has not seen."""
    fresh = [s for s in given.suites if suites.get(s.name) not in added]
    tested = [] if test is None else test.asked.config["suites"]
    return (*fresh, *(SuiteRef.model_validate(s) for s in tested))


def _expected(run: RunState, longer: Fraction) -> str:
    """By the time that the sweep's run took; nothing where that is not known."""
    took = run.last_report.cost.get("train_seconds") if run.last_report else None
    if took is None:
        return ""
    return f", about {human_seconds(took * float(longer))} of training"
