"""The short report for a pull request, and the command line that asks for either."""

from pathlib import Path

import pytest

from keepgain.analysis import cli
from keepgain.analysis.analyze import analyze
from keepgain.analysis.render import markdown
from keepgain.analysis.report.markdown import TOP_ROWS, to_markdown
from keepgain.core.record import Question
from keepgain.core.status import TrialStatus
from keepgain.core.store.record_files import save_folder
from tests.analysis.evidence import Trial, base, build


def test_it_has_the_decision_the_best_rows_and_the_command() -> None:
    trials = [
        base("s"),
        base("m"),
        Trial("big", "m", 0.8),
        Trial("small", "s", 0.8),
        *(Trial(f"t{n:05d}", "s", 0.3 + n / 100, seeds=0) for n in range(20)),
        Trial("gone|", "s", 0.5, seeds=0, status=TrialStatus.FAILED),
    ]
    evidence = build(trials, n_items=200, question=Question(delta=0.1, max_forgetting=0.2))
    analysis = analyze(evidence)
    said = to_markdown(evidence, analysis)
    assert said.startswith("# RECOMMENDED · toy-123456")
    assert "## Sizes, each by its candidate" in said
    assert f"## Bases, reference arms and trials ({TOP_ROWS} of 24)" in said
    assert "1 left out: 1 failed." in said and "the answer would be" in said
    assert "`analyze toy-123456 --store /somewhere/.keepgain --report report.html`" in said
    assert len(said) < len(markdown(analysis)) and "| ► |" in said
    rows = said.partition("arms and trials")[2].partition("\n\n- ")[0].count("\n| ")
    assert rows == TOP_ROWS + 2


@pytest.mark.parametrize("name", ["out.md", "out.html"])
def test_the_command_writes_either_and_prints_the_decision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    trials = [base("m"), Trial("big", "m", 0.8)]
    folder = tmp_path / ".keepgain"
    save_folder(folder / "sweeps" / "toy-123456" / "record", build(trials, n_items=60))
    code = cli.main(["last", "--store", str(folder), "--report", str(tmp_path / name)])
    out = capsys.readouterr()
    assert code == 0 and "Sizes, each by" in out.out
    assert out.err == f"analyze: wrote {tmp_path / name}\n"
    said = (tmp_path / name).read_text(encoding="utf-8")
    assert said.startswith("# " if name.endswith("md") else "<!DOCTYPE html>")
    assert "toy-123456" in said


@pytest.mark.parametrize("name", ["out.pdf", "missing/out.html"])
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--example", "--report", str(tmp_path / name)])
    assert stopped.value.code == 2 and list(tmp_path.iterdir()) == []
