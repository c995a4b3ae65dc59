"""A check is one pass over the rows; what has not changed since is not looked at again."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from keepgain.core.errors import UserError
from keepgain.sweeps.check import GATES, check_sweep, chosen_gates
from keepgain.sweeps.check_progress import CheckProgress
from keepgain.sweeps.checked import (
    FILE_NAME,
    Checked,
    check_key,
    examine,
    read_checked,
    write_checked,
)
from keepgain.sweeps.gate import Found, Gate, Material
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.resources import Machine, detect_machine
from keepgain.sweeps.gates.shape import ShapeProbe
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(load_spec(make_world(tmp_path_factory.mktemp("world"), models=1)), None)


class Counting:
    """A gate that counts how often it runs."""

    def __init__(self, name: str, *, of_rows: bool) -> None:
        self.runs = 0
        self.gate = Gate(name, self._run, of_rows=of_rows)

    def _run(self, material: Material) -> list[Finding]:
        self.runs += 1
        return [
            Finding(code="few_items", severity="warning", where="gain/test", message=self.gate.name)
        ]


def looked_at(prepared: Prepared, gates: list[Gate], known: Checked | None) -> Checked:
    material = Material(prepared, detect_machine(), prepared.row_sets)
    return examine(material, gates, CheckProgress(None), known)


def test_a_second_check_takes_what_rows_alone_say_from_the_first(prepared: Prepared) -> None:
    rows, machine = Counting("rows", of_rows=True), Counting("machine", of_rows=False)
    gates = [rows.gate, machine.gate]
    first = looked_at(prepared, gates, None)
    second = looked_at(prepared, gates, first)
    assert (rows.runs, machine.runs) == (1, 2)
    assert second.findings == first.findings and second.card == first.card


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ("name: other", True),
        ("question: {delta: 0.5}", True),
        ("allow: {few_items: a pilot}", False),
        ("limits: {trials: 3}", False),
    ],
)
def test_a_spec_that_changed_is_checked_anew_where_gates_may_look_at_it(
    prepared: Prepared, tmp_path: Path, change: str, anew: bool
) -> None:
    key = change.partition(":")[0]
    text = prepared.loaded.path.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
    changed = prepared.loaded.path.with_name("changed.yaml")
    changed.write_text("\n".join([*lines, change, ""]))
    same = check_key(prepare(load_spec(changed), None)) == check_key(prepared)
    assert same is not anew


def test_a_line_added_before_a_row_is_noticed(prepared: Prepared) -> None:
    """The digest of the rows stays, their places do not."""
    source = prepared.sources["tickets"]
    moved = replace(source.train.places, lines=source.train.places.lines + 1)
    other = replace(source, train=replace(source.train, places=moved))
    assert check_key(replace(prepared, sources={**prepared.sources, "tickets": other})) != (
        check_key(prepared)
    )


def test_waivers_are_applied_to_what_an_earlier_check_found(prepared: Prepared) -> None:
    gate = Counting("suites", of_rows=True).gate  # whose code `few_items` is
    first = looked_at(prepared, [gate], None)
    spec = prepared.spec.model_copy(update={"allow": {"few_items@gain": "a pilot"}})
    waiving = replace(prepared, loaded=replace(prepared.loaded, spec=spec))
    (found,) = looked_at(waiving, [gate], first).findings
    assert (found.severity, found.waived) == ("note", "a pilot")


def test_a_waiver_is_unused_only_where_its_gate_has_run(prepared: Prepared) -> None:
    spec = prepared.spec.model_copy(update={"allow": {"no_groups": "meant so"}})
    waiving = replace(prepared, loaded=replace(prepared.loaded, spec=spec))

    def codes(*only: str) -> list[str]:
        return [f.code for f in check_sweep(waiving, gates=chosen_gates(only, ())).findings]

    assert codes("groups") == ["unused_waiver"] and codes("slices") == []


def test_what_a_check_found_is_kept_whole(prepared: Prepared, tmp_path: Path) -> None:
    assert read_checked(tmp_path) is None
    checked = check_sweep(prepared)
    write_checked(tmp_path, checked)
    assert read_checked(tmp_path) == checked
    (tmp_path / FILE_NAME).write_text('{"version": 0}')
    assert read_checked(tmp_path) is None, "another version's is of no use"


def test_gates_are_chosen_by_name_or_code() -> None:
    assert [g.name for g in chosen_gates(["few_items", "splits"], [])] == ["splits", "suites"]
    every = {g.name for g in GATES}
    assert {g.name for g in chosen_gates([], ["splits"])} == every - {"splits"}
    assert {g.name for g in chosen_gates([], ["duplicate_items"])} == every, "it has other codes"
    assert {g.name for g in chosen_gates([], ["small_slices"])} == every - {"slices"}
    for only, skip in ((["drift_label"], []), (["leakage"], ["leakage"])):
        with pytest.raises(UserError, match="no gate is left"):
            chosen_gates(only, skip)
    with pytest.raises(UserError, match="nearest is 'slices'"):
        chosen_gates(["slice"], [])


def test_probes_of_all_gates_are_measured_in_one_pass(prepared: Prepared) -> None:
    seen: list[dict[str, int]] = []

    def run(material: Material) -> list[Finding]:
        seen.append({s: len(a["words"]) for s, a in material.measured("shape").items()})
        return []

    gates = [Gate(name, run, lambda _: [ShapeProbe()]) for name in ("one", "two")]
    looked_at(prepared, gates, None)
    assert seen == [{s.label: len(s.rows) for s in prepared.row_sets}] * 2


def test_a_machine_without_room_is_an_error_however_often_it_is_checked(prepared: Prepared) -> None:
    spec = prepared.spec.resources.model_copy(update={"cpus_per_trial": 2.0})
    whole = prepared.spec.model_copy(update={"resources": spec})
    large = replace(prepared, loaded=replace(prepared.loaded, spec=whole))
    first = check_sweep(large, Machine(cpus=4, memory_bytes=1 << 30))
    second = check_sweep(large, Machine(cpus=1, memory_bytes=1 << 30), known=first)
    codes = [[f.code for f in c.findings if f.severity == "error"] for c in (first, second)]
    assert codes == [[], ["too_few_resources"]]


def test_flagged_items_are_kept_by_id_and_come_with_an_earlier_check(prepared: Prepared) -> None:
    def run(material: Material) -> Found:
        return Found([], {"leaked": {"gain/test": [2, 0], "tickets/train": [1]}})

    gates = [Gate("suites", run)]
    first = looked_at(prepared, gates, None)
    items = prepared.suites["gain"].test.rows
    assert first.flagged == {"leaked": {"gain": {"test": (items[2].id, items[0].id)}}}
    assert looked_at(prepared, gates, first).flagged == first.flagged


def test_progress_is_silent_on_small_files_and_says_lines_without_a_terminal() -> None:
    for total, expected in ((19_999, []), (20_000, ["checking 20,000 rows"])):
        lines: list[str] = []
        progress = CheckProgress(lines.append, Console(file=io.StringIO()))
        with progress.rows(total) as tick:
            tick(total)
        assert lines == expected


def test_progress_draws_a_bar_with_its_rate_in_a_terminal() -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=120)
    progress = CheckProgress(lambda _: None, console)
    with progress.rows(40_000) as tick:
        tick(10_000)
        tick(30_000)
    assert re.search(r"40000/40000.* [\d,]+ rows/s", drawn.getvalue())
