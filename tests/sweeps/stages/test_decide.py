"""What the end of a sweep says beside its decision."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.record import Stopping
from keepgain.core.status import Stage
from keepgain.core.store.record_files import load_folder, save_folder
from keepgain.core.store.runs import MAX_TAG
from keepgain.sweeps.stages.decide import decide_again, write_decision
from tests.analysis.evidence import Trial, base, build
from tests.analysis.test_rung_check import RISING, evidence


def test_unsafe_rungs_are_said_at_the_end_and_stand_in_the_decision(tmp_path: Path) -> None:
    stopping = Stopping(keep=1 / 3, grace=0.2)
    decided = write_decision(evidence(RISING[::-1], RISING, stopping=stopping), tmp_path)
    (said,) = decided.cautions
    assert said.startswith("Early stopping was unsafe here")
    (as_text,) = (p.read_text() for p in decided.files if p.suffix == ".txt")
    assert "Early stopping was unsafe here" in " ".join(as_text.replace("│", " ").split())


def test_sound_rungs_are_not_mentioned(tmp_path: Path) -> None:
    assert write_decision(evidence(RISING, RISING), tmp_path).cautions == ()


def test_what_mlflow_shows_of_a_decision_is_what_analyze_says(tmp_path: Path) -> None:
    trials = [base("s"), Trial("t1", "s", 0.6), Trial("t2", "s", 0.3)]
    decided = write_decision(build(trials, sizes={"s": 1000}), tmp_path)
    kept = json.loads((tmp_path / "decision" / "decision.json").read_text())
    decision = kept["decision"]
    (row,) = [t for t in kept["trials"] if t["id"] == "t1"]
    assert decided.tags["keepgain.decision.status"] == decision["status"] == "recommended"
    assert decided.tags["keepgain.decision.trial"] == "t1"
    gain = row["objectives"]["gain"]
    for name, key in (("", "value"), ("_low", "low"), ("_high", "high")):
        assert decided.metrics[f"decision/gain{name}"] == pytest.approx(gain[key])
    assert decided.metrics["decision/probability"] == decision["probability"]
    assert "decision/max_forgetting_low" not in decided.metrics, "it has no interval"
    markdown = (tmp_path / "decision" / "decision.md").read_text()
    assert decided.note.lstrip("#") == markdown.lstrip("#")
    folders = {p.name: folder for p, folder in decided.files.items()}
    assert folders["gain_forgetting.svg"] == "figures" and folders["report.html"] == "decision"
    assert all(p.is_file() for p in decided.files)


def test_a_long_note_is_cut_at_a_line_and_says_where_the_rest_is(tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "analysis" / "example"
    decided = write_decision(load_folder(example), tmp_path)
    markdown = (tmp_path / "decision" / "decision.md").read_text()
    assert len(markdown) > MAX_TAG >= len(decided.note)
    shown, _, rest = decided.note.rpartition("\n\n")
    assert "decision/decision.md" in rest
    assert (
        shown.lstrip("#").splitlines() == markdown.lstrip("#").splitlines()[: shown.count("\n") + 1]
    )


def test_only_a_sweep_that_is_decided_is_decided_again(tmp_path: Path) -> None:
    assert decide_again(tmp_path) is None
    made = build([base("s"), Trial("t1", "s", 0.6)], sizes={"s": 1000})
    going_on = made.sweep.model_copy(update={"stage": Stage.SEARCH})
    save_folder(tmp_path / "record", replace(made, sweep=going_on))
    assert decide_again(tmp_path) is None and not (tmp_path / "decision").exists()
    save_folder(tmp_path / "record", made)
    again = decide_again(tmp_path)
    assert again is not None and again.status == "recommended"


def test_a_file_of_the_decision_is_whole_or_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build([base("s"), Trial("t1", "s", 0.6)], sizes={"s": 1000})
    write_decision(made, tmp_path)
    places = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert not any(".tmp" in p.name for p in places)

    def torn(path: Path, target: Path) -> Path:
        raise OSError("killed")

    monkeypatch.setattr(Path, "replace", torn)
    with pytest.raises(UserError, match="killed"):
        write_decision(build([base("s"), Trial("t2", "s", 0.7)], sizes={"s": 1000}), tmp_path)
    assert all(p.read_bytes() == data for p, data in places.items())
