"""What docs/import.md and examples/published show is run as it stands there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from keepgain.analysis.cli import main as analyze
from keepgain.sweeps.cli.main import main as sweep

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "import.md"
PUBLISHED = ROOT / "examples" / "published"


def commands(page: Path) -> list[list[str]]:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for kind, body in blocks if not kind for line in body.splitlines()]


def run_all(page: Path, capsys: pytest.CaptureFixture[str]) -> list[tuple[list[str], str, str]]:
    """(command, output, errors) of every command of a page."""
    said = []
    for command in commands(page):
        program = sweep if command[0] == "sweep" else analyze
        assert program(command[1:]) == 0, command
        out, err = capsys.readouterr()
        said.append((command, out, err))
    return said


def flat(said: str) -> str:
    """Text without the box around it and its line breaks."""
    return " ".join(said.replace("│", " ").split())


def test_the_examples_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEEPGAIN_STORE", str(tmp_path / "store"))
    text = PAGE.read_text(encoding="utf-8")
    files = re.findall(r"`([\w./-]+)`:\n\n```(?:csv|json)\n(.*?)^```", text, re.S | re.M)
    assert len(files) == 5
    for name, body in files:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(body, encoding="utf-8")
    said = run_all(PAGE, capsys)
    assert len(said) == 9
    errors = "".join(err for _, _, err in said)
    for shown in re.findall(r"^```text\n(.*?)^```", text, re.S | re.M):
        assert shown in errors
    decisions = [out for command, out, _ in said if command[0] == "analyze"]
    assert "use m (2B parameters), row tuned 2B:" in flat(decisions[0])
    assert "use m (2B parameters), row tuned 2B gently:" in flat(decisions[1])
    assert "the spread between rows that are seeds" in flat(decisions[3])


def test_the_published_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(PUBLISHED, tmp_path / "published")
    monkeypatch.chdir(tmp_path / "published")
    said = run_all(PUBLISHED / "README.md", capsys)
    assert len(said) == 4
    assert "left out: lora-land.csv:4: mean_score: '0.70+' is not a number" in said[0][2]
    assert "use phi-2 (2.7B parameters)" in flat(said[1][1])
    assert "the best average_rank has row Qwen3-8B" in flat(said[3][1])
    assert "those are tied" in flat(said[3][1])
