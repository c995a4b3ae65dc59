"""`docs/reliability.md` lists every fault, and no test that does not exist."""

import re
from pathlib import Path

from tests.faults.catalogue import IDS
from tests.faults.results import (
    PAGE,
    ROOT,
    Result,
    exists,
    merged,
    outcome,
    read_results,
    table,
    table_of,
    write_page,
    write_results,
)

HERE = "tests/faults/test_page.py::"


def test_the_table_lists_exactly_the_faults_of_the_catalogue() -> None:
    listed = re.findall(r"^\| ([A-Z]\d+) \|", table_of(), re.MULTILINE)
    assert len(listed) == len(set(listed)) and set(listed) == IDS


def test_the_table_is_that_of_the_results() -> None:
    assert table_of() == table(read_results()).strip("\n"), "make test-faults writes both"


def test_every_test_of_the_table_exists() -> None:
    for row in re.findall(r"^\| [A-Z]\d+ \|.*$", table_of(), re.MULTILINE):
        for file, names in re.findall(r"`([\w/]+\.py)`: ((?:`\w+`(?:, )?)+)", row):
            for name in re.findall(r"\w+", names):
                assert exists(f"tests/{file}::{name}"), f"{file}: {name}"


def test_every_test_of_the_results_is_marked_in_its_file() -> None:
    for node in read_results():
        text = (ROOT / node.partition("::")[0]).read_text(encoding="utf-8")
        assert "mark.fault(" in text, node


def test_a_part_of_the_tests_replaces_its_own_results_only() -> None:
    mine = f"{HERE}test_a_part_of_the_tests_replaces_its_own_results_only"
    old = {
        mine: Result(("P1",), "failed"),
        f"{HERE}test_gone": Result(("P2",), "passed"),
        "tests/core/test_rows.py::test_rows_come_back_exactly": Result(("P3",), "passed", 2),
    }
    new = {mine: Result(("P1",), "passed", 1)}
    after = merged(old, new, None)
    assert {r.outcome for r in after.values()} == {"passed"} and len(after) == 2
    all_of_them = merged(old, new, {mine: ("P1",), "tests/x.py::test_y": ("P5",)})
    assert sorted(r.outcome for r in all_of_them.values()) == ["not run", "passed"]


def test_a_failure_is_not_hidden_by_what_passed() -> None:
    assert outcome([]) == "no test"
    assert outcome([Result(("P1",), "passed"), Result(("P1",), "failed")]) == "**1 failed**"
    assert outcome([Result(("P1",), "passed"), Result(("P1",), "skipped")]) == "held, 1 skipped"
    assert outcome([Result(("P1",), "skipped")]) == "1 skipped"


def test_results_and_page_come_back(tmp_path: Path) -> None:
    result = Result(("P1", "M2"), "skipped", 0, 1.5, "no bind mounts here", "2026-01-02")
    results = {f"{HERE}test_results_and_page_come_back[a|b]": result}
    write_results(results, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == results
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    write_page(results, page)
    assert table_of(page) == table(results).strip("\n")
    assert "- P1, M2: no bind mounts here" in table_of(page)
    assert page.read_text(encoding="utf-8").startswith("# What is promised")
