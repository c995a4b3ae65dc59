"""The command: what it prints, where it looks, and how it fails."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keepgain.analysis import cli
from keepgain.core.store.record_files import save_folder
from tests.analysis.evidence import Trial, base, build


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local store with one recorded sweep, `toy-123456`."""
    for variable in ("KEEPGAIN_STORE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    trials = [base("s"), base("m"), Trial("big", "m", 0.85), Trial("small", "s", 0.78)]
    folder = tmp_path / ".keepgain"
    save_folder(folder / "sweeps" / "toy-123456" / "record", build(trials, n_items=1000))
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out = capsys.readouterr()
    return code, out.out, out.err


def test_last_is_the_default_and_json_is_the_contract(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys)
    assert code == 0 and "toy-123456" in out and err == ""
    code, out, _ = run(capsys, "toy-123456", "--format", "json", "--store", str(store))
    assert code == 0 and json.loads(out)["schema"] == 1


def test_delta_and_limit_override_the_question(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {}
    for delta in ("0.02", "0.2"):
        out = run(capsys, "last", "--delta", delta, "--format", "json")[1]
        answers[delta] = json.loads(out)["decision"]["model"]
    assert answers == {"0.02": "m", "0.2": "s"}
    out = run(capsys, "last", "--max-forgetting", "0", "--format", "json")[1]
    assert json.loads(out)["decision"]["status"] in ("infeasible", "not_resolved")


@pytest.mark.parametrize("form", ["text", "md", "csv"])
def test_formats(store: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    code, out, _ = run(capsys, "last", "--format", form)
    assert code == 0 and out.endswith("\n") and "big" in out


def test_list_and_plot(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--list")[1] == "toy-123456\n"
    code, _, err = run(capsys, "last", "--plot", str(store / "front.png"))
    assert code == 0 and (store / "front.png").exists() and "wrote" in err


def test_an_unknown_id_names_the_store_and_the_nearest(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "toy-123457")
    assert (code, out) == (2, "")
    assert str(store) in err and "toy-123456" in err and err.count("\n") == 1


def test_no_store_and_no_test_split(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "last", "--store", str(tmp_path / "nowhere"))
    assert code == 2 and "nowhere" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [("--delta", "abc"), ("--delta", "-1"), ("--delta", "nan"), ("--plot", "x.jpg"), ("--wrong",)],
)
def test_bad_arguments_end_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2


def test_example_reads_any_recorded_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_folder(tmp_path / "example", build([base("m"), Trial("big", "m", 0.8)], n_items=100))
    monkeypatch.setattr(cli, "EXAMPLE", tmp_path / "example")
    code, out, _ = run(capsys, "--example")
    assert code == 0 and "toy-123456" in out


def test_heavy_modules_stay_out(store: Path) -> None:
    """Neither help nor an analysis imports torch, ray, optuna or mlflow; help imports no numpy."""
    code = (
        "import sys; from keepgain.analysis import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch','ray','optuna','mlflow','numpy','matplotlib') "
        "if m in sys.modules], file=sys.stderr)"
    )
    for arguments, expected in ((["--help"], "[]"), (["last"], "['numpy']")):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        assert done.stderr.strip() == expected


def test_help_is_fast() -> None:
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "keepgain.analysis.cli", "--help"],
            capture_output=True,
            check=True,
            env=os.environ,
        )
        best = min(best, time.perf_counter() - start)
    assert best < 0.5


def test_the_shipped_example_decides_without_torch_ray_or_mlflow() -> None:
    script = (
        "import sys; from keepgain.analysis.cli import main; code = main(['--example']);"
        "heavy = {'torch', 'ray', 'optuna', 'mlflow'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "RECOMMENDED" in done.stdout and "Use s (106k parameters)" in done.stdout


def test_the_shipped_example_changes_its_answer_with_delta(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "--example", "--delta", "0.2")
    assert code == 0 and "Use xs" in out
