"""`sweep check` as a command: strictness, choice of gates, report, and what plan takes from it."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.core.store.location import resolve_store
from keepgain.sweeps.check import check_sweep
from keepgain.sweeps.checked import write_checked
from keepgain.sweeps.cli import check, plan
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.gates.row_list import RowList
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world


def run(command: Any, *argv: Any) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args([command.__name__.rpartition(".")[2], *map(str, argv)])
    return int(args.run(args))


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """It has few items, and is otherwise sound."""
    monkeypatch.chdir(tmp_path)
    return make_world(tmp_path, models=1)


def findings(spec: Path, capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    capsys.readouterr()
    run(check, spec, "--json", *argv)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_strict_makes_warnings_fail_but_for_allowed_ones(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("--only", "few_items")
    assert run(check, spec, *chosen) == 0
    assert run(check, spec, *chosen, "--strict") == 2
    spec.write_text(spec.read_text() + "allow: {few_items@gain: a pilot}\n")
    assert run(check, spec, *chosen, "--strict") == 0
    notes = findings(spec, capsys, *chosen)["findings"]
    assert {(f["code"], f["severity"], f["waived"]) for f in notes} == {
        ("few_items", "note", "a pilot")
    }
    run(check, spec, *chosen)
    assert "allowed by the spec: a pilot" in capsys.readouterr().out


def test_the_last_line_counts_and_the_table_has_every_set(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(check, spec, "--only", "suites")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "0 errors, 2 warnings, 0 notes"
    table = [line.split() for line in lines if line.startswith("  ")]
    assert ["tickets/train", "task", "322"] in [row[:3] for row in table]


def test_json_has_the_card_and_all_that_a_finding_knows(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = findings(spec, capsys, "--only", "suites")
    (first, *_) = facts["findings"]
    assert {"code", "severity", "where", "message", "rows", "hint"} <= first.keys()
    assert {"count", "of", "why", "figures", "waived"} <= first.keys() and first["why"]
    card = {one["label"]: one for one in facts["data_card"]["sets"]}
    assert card["tickets/train"]["distinct"] == card["tickets/train"]["rows"] == 322


def test_the_report_is_written_and_nothing_else(spec: Path) -> None:
    before = set(spec.parent.rglob("*"))
    run(check, spec, "--report", "data.html")
    page = spec.parent / "data.html"
    assert set(spec.parent.rglob("*")) - before == {page}
    assert "few_items" in page.read_text() and "tickets/train" in page.read_text()


COPIES = 5


@pytest.fixture
def copied(spec: Path) -> Path:
    """A spec whose replay source has the same row once more five times."""
    more = ({"id": f"more-{k}", "text": "general fact 3"} for k in range(COPIES))
    with (spec.parent / "general.jsonl").open("a") as rows:
        rows.writelines(json.dumps(row) + "\n" for row in more)
    return spec


def row_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_row_of_a_finding_is_written_and_json_shows_three(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(copied.parent.rglob("*"))
    given = findings(copied, capsys, "--only", "duplicate_rows", "--rows", "rows.jsonl")
    (found,) = [f for f in given["findings"] if f["code"] == "duplicate_rows"]
    assert found["count"] == COPIES and len(found["rows"]) == 3 and "all_rows" not in found
    written = copied.parent / "rows.jsonl"
    assert set(copied.parent.rglob("*")) - before == {written}
    rows = [r for r in row_lines(written.read_text()) if r["code"] == "duplicate_rows"]
    file = str(copied.parent / "general.jsonl")
    about = {"code": "duplicate_rows", "severity": "warning", "where": "general/train"}
    first = rows[0]["other"]
    assert (first["file"], first["line"]) == (file, 4)
    assert rows == [
        about | {"file": file, "line": 101 + k, "id": f"more-{k}", "other": first}
        for k in range(COPIES)
    ]


def test_rows_on_stdout_are_alone_there_and_as_strict_as_the_check(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("--only", "near_duplicates", "--strict")
    assert run(check, copied, *chosen, "--rows", "-") == 2
    said = capsys.readouterr()
    rows = row_lines(said.out)
    assert [r["line"] for r in rows if r["code"] == "duplicate_rows"] == [*range(101, 106)]
    assert {r["severity"] for r in rows} == {"error"}
    assert "error: general/train: 5 of 105 rows say" in said.err
    run(check, copied, *chosen, "--rows", "-", "--skip", "duplicate_rows,near_duplicate_rows")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("m0", "is no file"),
        ("nowhere/rows.jsonl", "there is no folder nowhere"),
        ("general.jsonl", "is read by the check"),
        ("sweep.yaml", "is read by the check"),
        ("linked.jsonl", "is read by the check"),
    ],
)
def test_rows_go_nowhere_where_they_would_do_harm(
    spec: Path, capsys: pytest.CaptureFixture[str], path: str, says: str
) -> None:
    (spec.parent / "linked.jsonl").symlink_to("tickets.jsonl")
    before = {p: p.read_bytes() for p in spec.parent.rglob("*") if p.is_file()}
    assert main(["check", str(spec), "--rows", path]) == 2
    said = capsys.readouterr().err
    assert says in said and "reading data" not in said
    assert {p: p.read_bytes() for p in spec.parent.rglob("*") if p.is_file()} == before


def test_stdout_is_not_for_rows_and_json_at_once(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(spec), "--rows", "-", "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "stdout is either rows or JSON" in said.err


def test_rows_that_cannot_be_written_leave_nothing(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after some lines."""

    def full(self: RowList, index: int) -> dict[str, Any]:
        if index == 2:
            raise OSError(28, "No space left on device")
        return {"line": index}

    (copied.parent / "rows.jsonl").write_text("of an earlier check\n")
    monkeypatch.setattr(RowList, "entry", full)
    assert main(["check", str(copied), "--only", "duplicate_rows", "--rows", "rows.jsonl"]) == 2
    assert (copied.parent / "rows.jsonl").read_text() == "of an earlier check\n"
    assert not list(copied.parent.glob("*.partial"))


def test_an_unknown_gate_is_refused_before_the_data_are_read(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="nearest is 'few_items'"):
        run(check, spec, "--skip", "few_item")
    assert "reading data" not in capsys.readouterr().err


def test_plan_takes_an_earlier_check_of_the_same_data(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its finding is made up here, so that it is seen where it comes from."""
    prepared = prepare(load_spec(spec), None)
    checked = check_sweep(prepared)
    kept = {
        **checked.of_rows,
        "slices": (checked.findings[0].model_copy(update={"where": "kept"}),),
    }
    capsys.readouterr()
    assert run(plan, spec, "--store", ".keepgain", "--tflops", "1") == 0
    assert "kept" not in capsys.readouterr().err
    folder = resolve_store(".keepgain", create=True, make=False).sweep_folder(prepared.sweep_id)
    folder.mkdir(parents=True)
    write_checked(folder, checked.model_copy(update={"of_rows": kept}))
    assert run(plan, spec, "--store", ".keepgain", "--tflops", "1") == 0
    assert "warning: kept: " in capsys.readouterr().err
    with (spec.parent / "tickets.jsonl").open("a") as tickets:
        tickets.write('{"prompt": "a new one", "answer": "desk 1"}\n')
    assert run(plan, spec, "--store", ".keepgain", "--tflops", "1") == 0
    assert "kept" not in capsys.readouterr().err
