"""The recorded tables: one Parquet a domain, one row for each (configuration, seed, rung).

Columns: the cell (`model`, `method`, `learning_rate`, `replay_share`, `synthetic_share`), `seed`,
`trial_id`, `rung` (from 0), `tokens` so far, `train_seconds` so far, `score_seconds` of this rung,
`seconds` of the whole run, `cpu`, `mean/SUITE` (exact match, or bits per byte for `*_bits`) and
`items/SUITE` (exact match of every validation item, in order, as packed bits). A run that failed
ends with a row of `failed` and `detail`. Rows without `method` are the untrained models.
"""

import base64
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from grid import Cell

TABLES = Path(__file__).parent / "tables"
MAX_BYTES = 5_000_000
Runs = dict[tuple[Cell, int], dict[str, Any]]
"""(configuration, seed) → `cell`, `seed`, `trial_id`, `seconds`, `cpu` and `rungs`, as
`record.py` writes them."""
Bases = dict[str, dict[str, Any]]
"""Base model → its `trial_id` and what `record.kept` keeps of its scores."""

_SPLIT = "validation/"
_CELL = ("model", "method", "learning_rate", "replay_share", "synthetic_share")
_RUN = ("seed", "trial_id", "seconds", "cpu")
_RUNG = ("tokens", "train_seconds", "score_seconds", "failed", "detail")
_TYPES = {
    "model": pa.string(),
    "method": pa.string(),
    "learning_rate": pa.float64(),
    "replay_share": pa.float64(),
    "synthetic_share": pa.float64(),
    "seed": pa.int32(),
    "trial_id": pa.string(),
    "seconds": pa.float64(),
    "cpu": pa.string(),
    "rung": pa.int8(),
    "tokens": pa.int32(),
    "train_seconds": pa.float64(),
    "score_seconds": pa.float64(),
    "failed": pa.string(),
    "detail": pa.string(),
}


def table_path(domain: str, folder: Path = TABLES) -> Path:
    """Where the table of a domain is."""
    return folder / f"{domain}.parquet"


def write_table(domain: str, bases: Bases, runs: Runs, folder: Path = TABLES) -> Path:
    """Writes the table of what is recorded so far, in a fixed order."""
    rows = [_row({"model": model}, base, 0, base) for model, base in sorted(bases.items())]
    for cell, seed in sorted(runs):
        run = runs[cell, seed]
        own = vars(cell) | {name: run.get(name) for name in _RUN}
        rows += [_row(own, run, number, rung) for number, rung in enumerate(run["rungs"])]
    suites = sorted({name for row in rows for name in row if "/" in name})
    types = _TYPES | {n: pa.float64() if n.startswith("mean/") else pa.binary() for n in suites}
    schema = pa.schema(list(types.items()), metadata={"domain": domain})
    folder.mkdir(parents=True, exist_ok=True)
    path = table_path(domain, folder)
    temporary = path.with_suffix(".tmp")
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schema),
        temporary,
        compression="zstd",
        compression_level=19,
    )
    size = temporary.stat().st_size
    assert size <= MAX_BYTES, f"the table of {domain} has {size:,} bytes, more than {MAX_BYTES:,}"
    temporary.replace(path)
    return path


def read_table(domain: str, folder: Path = TABLES) -> tuple[Bases, Runs]:
    """The reverse of `write_table`; nothing of a table that does not exist."""
    bases: Bases = {}
    runs: Runs = {}
    path = table_path(domain, folder)
    for row in pq.read_table(path).to_pylist() if path.exists() else []:
        if row["method"] is None:
            bases[row["model"]] = {"trial_id": row["trial_id"], "cpu": row["cpu"]} | _rung(row)
            continue
        cell = Cell(**{name: row[name] for name in _CELL})
        run = {"cell": vars(cell)} | {name: row[name] for name in _RUN} | {"rungs": []}
        runs.setdefault((cell, row["seed"]), run)["rungs"].append(_rung(row))
    return bases, runs


def unpack(bits: str, items: int) -> npt.NDArray[np.bool_]:
    """Exact match of every item, from what a run keeps. [items]"""
    packed = np.frombuffer(base64.b64decode(bits), dtype=np.uint8)
    return np.unpackbits(packed, count=items).astype(bool)


def cpu_model() -> str:
    """Of this machine, as its system names it: item scores are equal bit by bit on one model."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    said = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    name = said.get("model name", platform.processor() or "unknown")
    return f"{name} (family {said.get('cpu family', '?')}, model {said.get('model', '?')})"


def _row(own: dict[str, Any], run: dict[str, Any], number: int, rung: dict[str, Any]) -> Any:
    row = own | {"trial_id": run.get("trial_id"), "cpu": run.get("cpu"), "rung": number}
    row |= {name: rung.get(name) for name in _RUNG}
    metrics: dict[str, float] = rung.get("metrics", {})
    means = {k: v for k, v in metrics.items() if k.startswith(_SPLIT)}
    row |= {f"mean/{k.removeprefix(_SPLIT)}": value for k, value in means.items()}
    return row | {f"items/{s}": base64.b64decode(b) for s, b in rung.get("items", {}).items()}


def _rung(row: dict[str, Any]) -> dict[str, Any]:
    if row["failed"] is not None:
        return {"failed": row["failed"], "detail": row["detail"]}
    suites = {k: v for k, v in row.items() if "/" in k and v is not None}
    means = {k: v for k, v in suites.items() if k.startswith("mean/")}
    items = {k: v for k, v in suites.items() if k.startswith("items/")}
    return {
        "tokens": row["tokens"],
        "metrics": {_SPLIT + k.removeprefix("mean/"): v for k, v in means.items()},
        "train_seconds": row["train_seconds"],
        "score_seconds": row["score_seconds"],
        "items": {k.removeprefix("items/"): base64.b64encode(v).decode() for k, v in items.items()},
    }


def described(domain: str, folder: Path = TABLES) -> str:
    """Runs by seed and processors, on one line."""
    _, runs = read_table(domain, folder)
    seeds = [seed for _, seed in runs]
    counts = ", ".join(f"{seeds.count(s)} of seed {s}" for s in sorted(set(seeds)))
    cpus = sorted({str(run["cpu"]) for run in runs.values()})
    return f"{domain}: {len(runs)} runs ({counts}) on {json.dumps(cpus)}"
