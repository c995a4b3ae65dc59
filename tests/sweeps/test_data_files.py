"""Kinds of data files and slices in a spec: what identities are made of, and what not."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keepgain.core.errors import UserError
from keepgain.core.rows import read_rows
from keepgain.sweeps.check import check
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world, write_jsonl

PARAMS = {"method": "full", "learning_rate": 1e-4}


def prepared(spec: Path, **changes: str) -> Prepared:
    """A sweep with parts of its spec replaced."""
    text = spec.read_text()
    for old, new in changes.items():
        assert old in text or old == "end"
        text = text + new if old == "end" else text.replace(old, new)
    path = spec.with_name("changed.yaml")
    path.write_text(text)
    return prepare(load_spec(path), None)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """The tickets are in three languages, Dutch seldom; the general rows in none."""
    path = make_world(tmp_path, models=1)
    languages = ["de", "en", *["de", "en"] * 8, "nl"]
    rows = [
        {
            "prompt": f"route, “ticket” {i}\nplease",
            "answer": f"desk {i % 7}",
            "language": languages[i % 19],
        }
        for i in range(400)
    ]
    write_jsonl(tmp_path / "tickets.jsonl", rows)
    return path


def _rows(spec: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (spec.parent / "tickets.jsonl").open()]


def test_the_kind_of_file_is_not_part_of_any_identity(spec: Path) -> None:
    rows = _rows(spec)
    with (spec.parent / "tickets.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), spec.parent / "tickets.parquet")
    before = prepare(load_spec(spec), None)
    for name in ("tickets.csv", "tickets.parquet"):
        after = prepared(spec, **{"tickets.jsonl": name})
        assert after.sweep_id == before.sweep_id
        assert [r.digest for r in after.source_refs] == [r.digest for r in before.source_refs]
        config = after.trial_config("m0", PARAMS)
        assert config.trial_id == before.trial_config("m0", PARAMS).trial_id
        assert f"{name}:" in after.sources["tickets"].train.places[0]


def test_slices_go_with_the_rows_into_the_files_that_workers_read(
    spec: Path, tmp_path: Path
) -> None:
    plain = prepare(load_spec(spec), tmp_path / "plain")
    with_slices = prepared(spec, end="slices: [language]\n")
    assert with_slices.sweep_id != plain.sweep_id
    (tmp_path / "sliced").mkdir()
    sliced = prepare(with_slices.loaded, tmp_path / "sliced")
    assert {r.name: r.rows for r in sliced.source_refs} == {
        r.name: r.rows for r in plain.source_refs
    }
    for one, other in zip(plain.suite_refs["test"], sliced.suite_refs["test"], strict=True):
        before, after = (list(read_rows(Path(r.path))) for r in (one, other))
        assert [r.id for r in before] == [r.id for r in after]
        kept = [dict(r.slices).get("language") for r in after]
        assert set(kept) <= ({"de", "en", "nl"} if one.name == "gain" else {None})


def test_a_slice_that_no_item_has_is_refused_with_its_line(spec: Path) -> None:
    with pytest.raises(UserError, match=r"slices\.1 \(line \d+\): .*'langauge'"):
        prepared(spec, end="slices: [language, langauge]\n")
    with pytest.raises(UserError, match="different names"):
        prepared(spec, end="slices: [language, language]\n")


def test_slices_with_few_items_are_said_before_the_sweep(spec: Path) -> None:
    def small(found: Prepared) -> list[Finding]:
        return [f for f in check(found) if f.code == "small_slices"]

    (finding,) = small(prepared(spec, end="slices: [language]\n"))
    assert finding.where == "gain/test" and finding.severity == "warning"
    assert "of 3 values of the slice 'language'" in finding.message and "'nl'" in finding.message
    assert small(prepare(load_spec(spec), None)) == []


def test_a_hub_id_is_refused_with_the_way_out(spec: Path) -> None:
    with pytest.raises(UserError, match=r"data\.tickets\.path.*hub id.*save_to_disk"):
        prepared(spec, **{"tickets.jsonl": "'hf:openai/gsm8k'"})
