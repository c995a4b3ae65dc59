"""The recorded example as a store: written by the driver's recorder and shipped to MLflow, as a
sweep is, but without training."""

from pathlib import Path
from typing import Any, cast

from keepgain.analysis.load import EXAMPLE
from keepgain.core.identity import file_digest
from keepgain.core.items import write_items
from keepgain.core.record import Evidence, RungReport, RunRecord
from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.datasets import DatasetInfo, columns_of
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.names import RECORD_FOLDER, TAG_USER
from keepgain.core.store.record_files import load_folder, save_folder
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from keepgain.sweeps.job import Job
from keepgain.sweeps.recorder import DRIVER, Recorder
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.stages.decide import write_decision

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "quickstart"


def example_store(
    folder: Path, models: tuple[str, ...] = ("xs", "s")
) -> tuple[StoreLocation, Evidence]:
    """A local store with these sizes of the example as its one sweep."""
    evidence = _of_models(load_folder(EXAMPLE), models)
    sweep = evidence.sweep
    location = resolve_store(str(folder), create=True)
    prepare_store(location, sweep.name)
    own = location.sweep_folder(sweep.id)
    save_folder(own / RECORD_FOLDER, evidence)
    write_items(own / "items.parquet", evidence.items[:1])
    spool = Spool(own / "spool", DRIVER)
    recorder = Recorder(spool, own)
    with Shipper(location, sweep.id, sweep.name, own / "spool") as shipper:
        recorder.parent_started(sweep.id)
        recorder.parent_tags({TAG_USER: "someone"})
        assert shipper.drain(120), shipper.trouble  # the run begins when it is shipped
        recorder.parent_inputs([_tickets()])
        for run in sweep.runs:
            _record(recorder, run)
        for path in sorted((own / RECORD_FOLDER).iterdir()):
            recorder.parent_file(path, RECORD_FOLDER)
        recorder.decided(write_decision(evidence, own))
        recorder.parent_ended("FINISHED")
        spool.close()
        assert shipper.drain(120), shipper.trouble
        assert shipper.trouble is None
    return location, evidence


def _of_models(evidence: Evidence, names: tuple[str, ...]) -> Evidence:
    sweep = evidence.sweep
    runs = tuple(r for r in sweep.runs if r.model in names)
    keys = {r.run_key for r in runs}
    models = tuple(m for m in sweep.models if m.name in names)
    items = tuple((key, scores) for key, scores in evidence.items if key in keys)
    return Evidence(sweep.model_copy(update={"runs": runs, "models": models}), items)


def _tickets() -> DatasetInfo:
    path = QUICKSTART / "data" / "far_train.jsonl"
    lines = path.read_bytes().splitlines()
    return DatasetInfo(
        name="tickets/train",
        context="training",
        digest=file_digest(path),
        path=str(path),
        rows=len(lines),
        columns=columns_of(lines[0]),
    )


def _record(recorder: Recorder, run: RunRecord) -> None:
    fields = ("run_key", "trial_id", "seed", "stage", "kind", "arm", "model")
    asked = Asked(**{f: getattr(run, f) for f in fields}, config=dict(run.params))
    # Only `asked` and the words are read of a job that has no worker.
    request = cast(Any, None)
    recorder.started(Job(purpose="search", label=_label(run), asked=asked, request=request))
    recorder.reported(
        asked,
        RungReport(
            run_key=run.run_key,
            rung=0,
            tokens=run.tokens,
            examples=0,
            final=True,
            metrics=run.metrics,
            cost=run.cost,
            items_path="items.parquet",
        ),
    )
    recorder.ended(asked, run.status, run.reason)


def _label(run: RunRecord) -> str:
    return f"{run.model} {run.arm or run.trial_id[:6]} (seed {run.seed})"
