"""A sweep's record as two files: `record.json` (everything but items) and `items.parquet`.

The same two files lie in the sweep's folder and on its MLflow parent run. No MLflow here.
"""

import json
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.inside import inside
from keepgain.core.items import read_items, write_items
from keepgain.core.record import SCHEMA_VERSION, Evidence, SweepRecord
from keepgain.core.schema import parse

RECORD_NAME = "record.json"
ITEMS_NAME = "items.parquet"


def save_folder(folder: Path, evidence: Evidence) -> None:
    """Writes the record so that a reader, or a crash at any moment, finds a consistent one.

    The items go first and `record.json` last: it is the commit, and items of runs that it does not
    list are not read.

    Raises:
        ValueError: Items of a run that the record does not list, or a non-finite number.
    """
    known = {run.run_key for run in evidence.sweep.runs}
    strangers = sorted({key for key, _ in evidence.items} - known)
    if strangers:
        raise ValueError(f"items of runs that are not in the record: {', '.join(strangers[:5])}")
    data = evidence.sweep.model_dump(mode="json")
    text = json.dumps(data, allow_nan=False, indent=1, ensure_ascii=False)
    folder.mkdir(parents=True, exist_ok=True)
    write_items(folder / ITEMS_NAME, evidence.items)
    temporary = folder / f"{RECORD_NAME}.tmp"
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(folder / RECORD_NAME)


def load_record(folder: Path) -> SweepRecord:
    """Reads `record.json` alone: fast, for lists.

    Raises:
        UserError: Missing, not JSON, or written by another version of the schema.
    """
    path = inside(folder, RECORD_NAME)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("no such record.", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise UserError(f"the record cannot be read ({error}).", where=str(path)) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"record of schema version {version!r}; this Keepgain reads {SCHEMA_VERSION}.",
            where=str(path),
            hint="Use the Keepgain version that wrote it.",
        )
    return parse(SweepRecord, data, source=str(path))


def load_folder(folder: Path) -> Evidence:
    """Reads what `save_folder` wrote.

    Raises:
        UserError: A file is missing or not readable as a record.
    """
    sweep = load_record(folder)
    known = {run.run_key for run in sweep.runs}
    items = tuple((k, s) for k, s in read_items(inside(folder, ITEMS_NAME)) if k in known)
    return Evidence(sweep=sweep, items=items)
