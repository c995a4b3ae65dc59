"""Measured speeds: of earlier trials, from the ledgers of a store, and of calibrations."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from keepgain.core.config import has_adapter
from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.schema import StrictModel
from keepgain.core.status import TrialStatus
from keepgain.core.store.location import StoreLocation
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import Event, Rung, read_events
from keepgain.sweeps.search.replay import RunState, replay

CALIBRATIONS = "calibrations.jsonl"
"""Beside the folders of the sweeps."""
NEWEST = 20
"""Ledgers read; older ones say little about today's code."""


class Measured(StrictModel):
    """How fast one run was."""

    source: Literal["trial", "calibration"]
    hardware: str
    """As `core.record.RungReport.hardware`."""
    digest: str
    """Of the base model."""
    parameters: int
    """Of the base model."""
    method: str
    flops_per_second: float
    """Estimated training FLOPs (`trainers.cost.training_flops`) over seconds of training."""
    score_seconds_per_item: float | None = None
    suites: str = ""
    """Names and scorers of what was scored."""
    other_seconds: float | None = None
    """Of a job beside training and scoring: loading, checkpoint, transfer."""


def suites_label(suites: Iterable[tuple[str, str]]) -> str:
    """Of (name, scorer): scoring times are like for like where it is equal."""
    return ", ".join(sorted(f"{name} {scorer}" for name, scorer in suites))


def read_measured(store: StoreLocation) -> list[Measured]:
    """All measurements of a store, calibrations first and the newest first among them; a ledger
    that cannot be read counts as none."""
    ledgers = sorted(store.work.glob(f"*/{LEDGER_NAME}"), key=lambda p: -p.stat().st_mtime)
    found = _calibrations(store.work.parent / CALIBRATIONS)
    for path in ledgers[:NEWEST]:
        try:
            found += of_ledger(read_events(path))
        except UserError:
            continue  # `sweep list` and `sweep run` say so; a plan can do without
    return found


def add_calibration(store: StoreLocation, measured: Measured) -> None:
    """Keeps a calibration in the store."""
    path = store.work.parent / CALIBRATIONS
    store.work.mkdir(parents=True, exist_ok=True)  # by its folder a store is known
    with path.open("a", encoding="utf-8") as handle:
        handle.write(measured.model_dump_json() + "\n")


def of_ledger(events: list[Event]) -> list[Measured]:
    """One measurement a trial that ended by itself or was stopped early, and was trained here."""
    busy = {
        (e.report.run_key, e.report.rung): e.seconds
        for e in events
        if isinstance(e, Rung) and e.seconds is not None
    }
    ended = (TrialStatus.COMPLETED, TrialStatus.PRUNED)
    runs = replay(events).runs.values()
    return [
        m
        for run in runs
        if run.status in ended and run.reused_from is None and (m := _of_run(run, busy)) is not None
    ]


def _of_run(run: RunState, busy: dict[tuple[str, int], float]) -> Measured | None:
    report, config = run.last_report, run.asked.config
    if report is None or not report.hardware or not report.cost.get("train_seconds"):
        return None
    if config.get("trainer"):  # what is planned with is the speed of Keepgain's own
        return None
    cost, adapters = report.cost, 0
    if has_adapter(config["method"]):
        adapters = int(cost["trainable_parameters"])
    items = sum(s["items"] for s in config["suites"])
    return Measured(
        source="trial",
        hardware=report.hardware,
        digest=config["model"]["digest"],
        parameters=int(cost["parameters"]) - adapters,
        method=config["method"],
        flops_per_second=cost["train_flops"] / cost["train_seconds"],
        score_seconds_per_item=cost["score_seconds"] / items if items else None,
        suites=suites_label((s["name"], s["scorer"]) for s in config["suites"]),
        other_seconds=min(_others(run.reports, busy), default=None),
    )


def _others(reports: tuple[RungReport, ...], busy: dict[tuple[str, int], float]) -> Iterator[float]:
    """Seconds beside training and scoring at each rung."""
    before = 0.0
    for report in reports:
        trained = report.cost["train_seconds"]
        costs = (report.cost, *(c.cost for c in report.candidates))
        score = sum(cost["score_seconds"] for cost in costs)
        seconds = busy.get((report.run_key, report.rung))
        # After a resumption `trained` may begin anew; then nothing is known of this rung.
        if seconds is not None and trained >= before:
            yield max(0.0, seconds - (trained - before) - score)
        before = trained


def _calibrations(path: Path) -> list[Measured]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [m for line in reversed(lines) if (m := _parsed(line)) is not None]


def _parsed(line: str) -> Measured | None:
    try:
        return Measured.model_validate_json(line)
    except ValidationError:
        return None  # torn, or of another version: measured again when asked for


def nearest(found: list[Measured], parameters: int) -> list[Measured]:
    """Those of the size that is nearest by ratio."""

    def distance(m: Measured) -> float:
        return abs(math.log(m.parameters / parameters))

    best = min((distance(m) for m in found), default=0.0)
    return [m for m in found if distance(m) == best]
