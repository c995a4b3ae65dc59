"""The command: what it prints, where it looks, and how it fails."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from keepgain.analysis import cli, load
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


def complaints(err: str) -> list[str]:
    """What went wrong, without the lines that say what is being done meanwhile."""
    return [line for line in err.splitlines() if not line.startswith("analyze: asking MLflow")]


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


@pytest.mark.fault("M43")
def test_an_unknown_id_names_the_store_and_the_nearest(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "toy-123457")
    assert (code, out) == (2, "")
    assert len(complaints(err)) == 1
    assert str(store) in complaints(err)[0] and "toy-123456" in complaints(err)[0]


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
    monkeypatch.setattr(load, "EXAMPLE", tmp_path / "example")
    code, out, _ = run(capsys, "--example")
    assert code == 0 and "toy-123456" in out


def test_heavy_modules_stay_out(store: Path) -> None:
    """A plain analysis imports neither what trains nor what draws; help imports no numpy."""
    code = (
        "import sys; from keepgain.analysis import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch','ray','optuna','mlflow','numpy','matplotlib','pandas',"
        "'sklearn','statsmodels','plotly') "
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


# -- views ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "view"),
    [
        (("last", "trials"), "trials"),
        (("trials",), "trials"),
        (("toy-123456", "trials", "--sort", "gain"), "trials"),
        (("--delta", "0.1", "last", "--max-forgetting", "0.2", "trials"), "trials"),
        (("last", "compare", "big", "m-base"), "compare"),
        (("compare", "big", "m-base", "--split", "test"), "compare"),
        (("last", "items", "--suite", "tickets", "--where", "better", "--trial", "big"), "items"),
    ],
)
def test_views_in_json(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], view: str
) -> None:
    code, out, err = run(capsys, *arguments, "--format", "json")
    assert (code, err) == (0, "")
    given = json.loads(out)
    assert (given["schema"], given["view"]) == (1, view)
    assert given["sweep"]["id"] == "toy-123456" and given["sweep"]["test_opened"] == 1


@pytest.mark.parametrize("form", ["text", "md", "csv"])
@pytest.mark.parametrize(
    "arguments", [("trials",), ("compare", "big", "small"), ("items", "--suite", "facts")]
)
def test_views_in_every_format(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], form: str
) -> None:
    code, out, err = run(capsys, "last", *arguments, "--delta", "0.1", "--format", form)
    assert (code, err) == (0, "") and out.endswith("\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("last", "trails"), "no view 'trails'. Nearest: trials"),
        (("last", "other-sweep"), "A further sweep is given by --with"),
        (("last", "compare", "big"), "takes 2 names, not 1"),
        (("last", "trials", "big"), "takes no names, not 1"),
        (("last", "compare", "big", "smal", "--suite", "facts"), "--suite is an option of `items`"),
        (("last", "trials", "--plot", "x.svg"), "--plot is an option of `decision`"),
        (("last", "compare", "big", "nothing"), "'nothing'"),
        (("last", "items", "--suite", "fact", "--trial", "big"), "no suite 'fact'. Nearest: facts"),
        (("last", "--with", "toy-999999"), "toy-123456"),
        (("last", "compare", "big", "m-big"), "both name m big"),
        (("--example", "toy-123456"), "--example takes no sweep id"),
        (("--example", "--with", "toy-123456"), "--example is read alone"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_2(
    store: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "") and len(complaints(err)) == 1
    assert message in complaints(err)[0]


@pytest.mark.parametrize(
    "arguments",
    [("--where", "worst"), ("--slice", "group"), ("--limit", "0"), ("--top", "x")],
)
def test_bad_values_of_views_end_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(("last", "items", *arguments))
    assert stopped.value.code == 2


def test_test_items_are_shown_only_where_asked(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for view in (("items", "--suite", "facts", "--trial", "big"), ("compare", "big", "small")):
        splits = []
        for extra in ((), ("--split", "test")):
            out = run(capsys, "last", *view, *extra, "--format", "json")[1]
            splits.append(json.loads(out)["data"]["split"])
        assert splits == ["validation", "test"]


def test_two_sweeps_are_read_as_one(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = build([base("s"), base("m"), Trial("third", "s", 0.8)], n_items=1000)
    record = other.sweep.model_copy(update={"id": "toy-654321"})
    folder = store / "sweeps" / "toy-654321" / "record"
    save_folder(folder, replace(other, sweep=record))
    code, out, _ = run(capsys, "toy-123456", "--with", "toy-654321", "trials")
    assert code == 0 and "third@654321" in out and "big@123456" in out
    asked = {"delta": 0.5}
    question = record.question.model_copy(update=asked)
    save_folder(folder, replace(other, sweep=record.model_copy(update={"question": question})))
    code, _, err = run(capsys, "toy-123456", "--with", "toy-654321")
    assert code == 2 and "delta is 0.03 in toy-123456 and 0.5 in toy-654321" in err
    code, _, err = run(capsys, "toy-123456", "--with", "toy-654321", "--delta", "0.1")
    assert (code, err) == (0, "")


def test_the_shipped_example_has_the_views(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--example", "compare", "994287", "77511c")
    assert code == 0 and "s 994287 is better by 1.7 points" in out
    code, out, _ = run(capsys, "--example", "items", "--suite", "forgetting_fact", "--limit", "2")
    assert code == 0 and "33 went from right to wrong" in " ".join(out.split())


def test_rows_of_a_view_in_csv_have_no_nested_cells(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(
        capsys, "last", "items", "--suite", "facts", "--trial", "big", "--format", "csv"
    )
    header, first, *_ = csv.reader(io.StringIO(out))
    assert code == 0 and "{" not in out
    cells = dict(zip(header, first, strict=True))
    assert (cells["trial.score"], cells["base.score"]) == ("0.0; 0.0; 0.0", "1.0")
    assert len(cells["trial.seed"].split("; ")) == 3 and cells["base.answer"] == ""
    _, out, _ = run(capsys, "last", "compare", "big", "m-base", "--format", "csv")
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(out))}
    assert float(rows["task_score"]["a_better_by.value"]) > 0


def test_the_legend_names_the_objectives_of_the_fronts(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "last")
    assert "on the front of gain and forgetting of" in " ".join(out.split())
    _, out, _ = run(capsys, "last", "--objectives", "task_score,max_forgetting")
    assert "on the front of task_score and max_forgetting of" in " ".join(out.split())


def test_output_that_cannot_be_written_is_one_line_and_1() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    command = [sys.executable, "-m", "keepgain.analysis.cli", "--example", "curves"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert "No space left" in ended.stderr
