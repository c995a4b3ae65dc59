"""How often test items were looked at, over all sweeps of a store."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keepgain.core.config import SuiteRef
from keepgain.sweeps.openings import FILE_NAME, count_openings, note_opening, opening


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


def note(work: Path, sweep: str, *suites: SuiteRef) -> None:
    note_opening(work, sweep, opening(["x-s1"], suites), suites)


def test_nothing_is_opened_before_the_first_sweep(tmp_path: Path) -> None:
    assert count_openings(tmp_path, (A, B)) == 0


def test_every_sweep_that_looks_counts_once(tmp_path: Path) -> None:
    note(tmp_path, "one-000000", A, B)
    note(tmp_path, "two-000000", A, B)
    assert count_openings(tmp_path, (A, B)) == 2
    # A driver killed right after the ledger's line says it again when it continues.
    note(tmp_path, "two-000000", A, B)
    assert count_openings(tmp_path, (A, B)) == 2


def test_a_suite_more_does_not_make_opened_items_fresh(tmp_path: Path) -> None:
    note(tmp_path, "one-000000", A, B)
    note(tmp_path, "two-000000", A)
    assert [count_openings(tmp_path, s) for s in ((A,), (B,), (A, B))] == [2, 1, 2]
    assert count_openings(tmp_path, (suite("other", "c"),)) == 0


def test_items_are_known_by_their_content(tmp_path: Path) -> None:
    note(tmp_path, "one-000000", A)
    assert count_openings(tmp_path, (suite("task", "a"),)) == 1
    assert count_openings(tmp_path, (suite("gain", "c"),)) == 0


def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    note(tmp_path, "one-000000", A)
    with (tmp_path / FILE_NAME).open("a") as handle:
        handle.write('{"sweep": "torn-00')
    assert count_openings(tmp_path, (A,)) == 1
    note(tmp_path, "two-000000", A)
    assert count_openings(tmp_path, (A,)) == 2
    assert "torn" not in (tmp_path / FILE_NAME).read_text()


def test_sweeps_that_look_at_once_all_count(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: note(tmp_path, f"s{i % 20}-000000", A), range(40)))
    assert count_openings(tmp_path, (A,)) == 20


def test_an_opening_names_candidates_time_and_suites(tmp_path: Path) -> None:
    note_opening(tmp_path, "one-000000", opening(["x-s1", "y-s2"], (B, A)), (B, A))
    (line,) = (tmp_path / FILE_NAME).read_text().splitlines()
    noted = json.loads(line)
    assert (noted["sweep"], noted["candidates"]) == ("one-000000", ["x-s1", "y-s2"])
    assert noted["time"].endswith("+00:00") and noted["suites"] == ["a", "b"]
