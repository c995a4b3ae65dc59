"""What the end of a sweep says beside its decision."""

from pathlib import Path

from keepgain.core.record import Stopping
from keepgain.sweeps.stages.decide import write_decision
from tests.analysis.test_rung_check import RISING, evidence


def test_unsafe_rungs_are_said_at_the_end_and_stand_in_the_decision(tmp_path: Path) -> None:
    stopping = Stopping(keep=1 / 3, grace=0.2)
    paths, cautions = write_decision(evidence(RISING[::-1], RISING, stopping=stopping), tmp_path)
    (said,) = cautions
    assert said.startswith("Early stopping was unsafe here")
    (as_text,) = (p.read_text() for p in paths if p.suffix == ".txt")
    assert "Early stopping was unsafe here" in " ".join(as_text.replace("│", " ").split())


def test_sound_rungs_are_not_mentioned(tmp_path: Path) -> None:
    assert write_decision(evidence(RISING, RISING), tmp_path)[1] == ()
