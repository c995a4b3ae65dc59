"""How often test items were looked at, over all sweeps of a store."""

import json
from pathlib import Path

from keepgain.core.config import SuiteRef
from keepgain.sweeps.openings import (
    FILE_NAME,
    count_openings,
    items_hash,
    note_opening,
    opening,
)


def suite(name: str, digest: str) -> SuiteRef:
    return SuiteRef(
        name=name,
        measures="gain",
        split="test",
        scorer="exact_match",
        path=f"/somewhere/{name}",
        digest=digest,
        items=3,
    )


A, B = suite("gain", "a"), suite("forgetting", "b")


def test_nothing_is_opened_before_the_first_sweep(tmp_path: Path) -> None:
    assert count_openings(tmp_path, (A, B)) == 0


def test_every_sweep_that_looks_counts_once(tmp_path: Path) -> None:
    note_opening(tmp_path, "one-000000", opening(["x-s1"], (A, B)))
    note_opening(tmp_path, "two-000000", opening(["y-s1"], (A, B)))
    assert count_openings(tmp_path, (A, B)) == 2
    # A driver killed right after the ledger's line says it again when it continues.
    note_opening(tmp_path, "two-000000", opening(["y-s1"], (A, B)))
    assert count_openings(tmp_path, (A, B)) == 2


def test_other_items_have_their_own_count(tmp_path: Path) -> None:
    note_opening(tmp_path, "one-000000", opening([], (A, B)))
    assert count_openings(tmp_path, (A,)) == 0
    note_opening(tmp_path, "one-000000", opening([], (A,)))
    assert (count_openings(tmp_path, (A,)), count_openings(tmp_path, (A, B))) == (1, 1)


def test_items_are_known_by_their_content() -> None:
    renamed = suite("task", "a")
    assert items_hash((A, B)) == items_hash((B, renamed)) == items_hash((A, B, B))
    assert items_hash((A, B)) != items_hash((A, suite("forgetting", "c")))


def test_an_opening_names_its_candidates_and_its_time(tmp_path: Path) -> None:
    note_opening(tmp_path, "one-000000", opening(["x-s1", "y-s2"], (A,)))
    (line,) = (tmp_path / FILE_NAME).read_text().splitlines()
    noted = json.loads(line)
    assert (noted["sweep"], noted["candidates"]) == ("one-000000", ["x-s1", "y-s2"])
    assert noted["time"].endswith("+00:00")
