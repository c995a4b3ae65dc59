"""`sweep check --against`: newer rows in a file, against those of a spec."""

import json
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.against import compare, drift_lines
from keepgain.sweeps.check_progress import CheckProgress
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.spec import load_spec
from tests.sweeps.gates.labelled import tickets

SPEC = """
name: tickets
models: [{path: nowhere}]
data:
  tickets: {train: old.jsonl, role: task, fields: {prompt: said, answer: queue}}
suites:
  gain: {validation: v.jsonl, test: t.jsonl, fields: {prompt: said, answer: queue},
    scorer: exact_match}
space: {learning_rate: {log: [1e-4, 1e-3]}}
allow: {drift_new_labels: "a new product"}
"""
ROWS = tickets(500)


def write(path: Path, cases: list[tuple[str, str | None]] | Any) -> Path:
    lines = ({"said": q} | ({} if a is None else {"queue": a}) for q, a in cases)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    for name, part in (("old", ROWS[:300]), ("v", ROWS[300:350]), ("t", ROWS[350:400])):
        write(tmp_path / f"{name}.jsonl", part)
    path = tmp_path / "sweep.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def test_a_file_is_read_as_the_task_source_and_waivers_of_the_spec_hold(spec: Path) -> None:
    new = write(spec.parent / "new.jsonl", [*ROWS[400:], ("will it be cancelled", "cancel")])
    found, unread = compare(load_spec(spec), new, None, CheckProgress(None))
    assert (found.rows, found.labelled, unread) == (101, 101, None)
    assert {c.against for c in found.changes} == {"tickets/train", "gain/validation", "gain/test"}
    (label,) = [f for f in found.findings if f.code == "drift_new_labels"]
    assert (label.severity, label.waived) == ("note", "a new product")
    assert label.rows == (f"{new}:101",)
    text = "\n".join(drift_lines(found))
    assert "101 new rows, 101 of them with an answer" in text
    assert "meaning is not seen" in text


def test_all_rows_of_a_finding_are_written(spec: Path) -> None:
    new = write(spec.parent / "new.jsonl", [*ROWS[350:400], ("will it be cancelled", "cancel")])
    rows = spec.parent / "rows.jsonl"
    asked = ["check", str(spec), "--against", str(new), "--rows", str(rows)]
    assert main([*asked, "--json"]) == 0
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    items = [r["line"] for r in found if r["code"] == "drift_known_items"]
    assert items == list(range(1, 51))
    (label,) = [r for r in found if r["code"] == "drift_new_labels"]
    assert (label["severity"], label["file"], label["line"]) == ("note", str(new), 51)
    before = new.read_text()
    assert main([*asked[:-1], str(new)]) == 2 and new.read_text() == before


def test_rows_without_answers_are_read_and_it_is_said(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = write(spec.parent / "new.jsonl", [(q, None) for q, _ in ROWS[400:]])
    assert main(["check", str(spec), "--against", str(new), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["rows"], facts["labelled"]) == (100, 0)
    assert f"{new}:1: " in facts["answers_not_read"]
    assert "label" not in {c["aspect"] for c in facts["changes"]}


def test_a_fault_of_the_file_is_named_by_its_line_and_strict_fails_on_warnings(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = spec.parent / "bad.jsonl"
    bad.write_text('{"said": "a", "queue": "b"}\n{"said": \n', encoding="utf-8")
    with pytest.raises(UserError, match=r"bad.jsonl:2: "):
        compare(load_spec(spec), bad, None, CheckProgress(None))
    with pytest.raises(UserError, match=r"no data source 'x'. Known: tickets"):
        compare(load_spec(spec), bad, "x", CheckProgress(None))
    other = write(spec.parent / "other.jsonl", [(f"zeppelin {i} up", "login") for i in range(60)])
    words = ["check", str(spec), "--against", str(other)]
    assert main(words) == 0
    assert "[drift_opening]" in capsys.readouterr().out
    assert main([*words, "--strict"]) == 2
    assert main([*words, "--show", "1"]) == 2
