"""From `sweep init` to `analyze` on models and rows that the package did not grow up with."""

import subprocess
import sys
from pathlib import Path

import pytest

from keepgain.core.status import Stage, TrialStatus
from tests.sweeps.e2e.world import PATIENCE, ROOT, SECONDS, Swept, environment, json_of, run

ROWS = 60


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama and a Qwen3 folder with chat rows, made by a script without our code."""
    folder = tmp_path_factory.mktemp("foreign")
    script = ROOT / "tests" / "foreign" / "make_foreign.py"
    made = subprocess.run(
        [sys.executable, str(script), str(folder)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS * PATIENCE,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


def test_from_init_to_analyze_without_an_edit(foreign: Path, tmp_path: Path) -> None:
    models = sorted(p.parent for p in foreign.glob("*/config.json"))
    assert len(models) == 2
    given = [word for m in models for word in ("--model", m)]
    # Of 240 rows, so that a trial takes seconds: `init` asks for 3 passes over them.
    rows = (foreign / "tasks.jsonl").read_text().splitlines(keepends=True)[:ROWS]
    data = tmp_path / "tasks.jsonl"
    data.write_text("".join(rows))
    run("sweep", "init", *given, "--data", data, cwd=tmp_path).expect()
    run("sweep", "check", "sweep.yaml", cwd=tmp_path).expect()
    swept = Swept(tmp_path, tmp_path / "sweep.yaml", tmp_path / ".keepgain")
    run("sweep", "run", "sweep.yaml", "--profile", "smoke", cwd=tmp_path).expect()
    answer = json_of(run("analyze", "last", "--format", "json", cwd=tmp_path))
    assert answer["sweep"]["stage"] == "decided"
    assert answer["decision"]["reason"]
    (folder,) = [p.parent for p in (swept.store / "sweeps").glob("*/ledger.jsonl")]
    from keepgain.sweeps.search.ledger import read_events
    from keepgain.sweeps.search.replay import replay

    runs = replay(read_events(folder / "ledger.jsonl")).runs.values()
    assert {r.status for r in runs} == {TrialStatus.COMPLETED}
    for one in runs:
        if one.asked.stage is Stage.SEARCH:
            metrics = one.last_report.metrics if one.last_report else {}
            # Exact match of what the model wrote, not of a probability.
            assert "validation/gain" in metrics
            assert metrics["generation/validation/gain/answer_tokens"] > 0
