"""`sweep import` from the command line to what `analyze` and `sweep list` find."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from keepgain.analysis.cli import main as analyze
from keepgain.core.errors import UserError
from keepgain.core.record import SweepRecord
from keepgain.core.status import TrialStatus
from keepgain.core.store.location import resolve_store
from keepgain.core.store.reader import mlflow_sweeps, open_reader
from keepgain.core.store.record_files import load_record
from keepgain.core.store.summary import list_sweeps
from keepgain.sweeps.cli.main import main as sweep
from keepgain.sweeps.imported.options import columns_of
from keepgain.sweeps.imported.read import read_table
from keepgain.sweeps.imported.record import table_record
from keepgain.sweeps.imported.save import save

GOOD = ["--label", "run", "--objective", "acc:max:share"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEEPGAIN_STORE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def imported(*words: str, id: str = "t") -> int:
    return sweep(["import", *words, "--id", id, "--store", "store"])


def record(id: str = "t") -> SweepRecord:
    return load_record(Path("store/sweeps") / id / "record")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of an import that is refused and writes nothing."""
    assert imported(*words) == 2
    assert not Path("store").exists()
    return capsys.readouterr().err


def test_an_imported_table_is_found_like_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    write("t.csv", "run,acc\na,0.5\nb,0.7\n")
    assert imported("t.csv", *GOOD) == 0
    assert "2 rows imported" in capsys.readouterr().out
    assert sweep(["list", "--json", "--store", "store"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["status"], listed["completed"]) == ("t", "finished", 2)
    assert analyze(["--list", "--store", "store"]) == 0
    assert capsys.readouterr().out == "t\n"
    assert not Path("store/mlflow.db").exists()  # all of it without MLflow


@pytest.mark.parametrize("form", ["text", "json", "csv", "md"])
def test_every_output_of_analyze_has_the_rows(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("t.csv", "run,acc\na,0.5\nb,0.7\nbad,x\n")
    assert imported("t.csv", *GOOD) == 0
    capsys.readouterr()
    assert analyze(["t", "--format", form, "--store", "store"]) == 0
    said = capsys.readouterr().out
    assert "0.7" in said and "0.5" in said and "acc" in said
    if form == "json":
        data = json.loads(said)
        assert [o["name"] for o in data["objectives"]] == ["acc"]
        assert data["decision"]["status"] == "provisional" and data["decision"]["trial"] == "b"
        assert data["excluded"] == [{"trial": "bad", "reason": "t.csv:4: acc: 'x' is not a number"}]
        by_id = {t["id"]: t for t in data["trials"]}
        assert by_id["b"]["on_front"] and not by_id["bad"]["on_front"]
        assert by_id["bad"]["objectives"]["acc"]["value"] is None
        assert by_id["b"]["objectives"]["acc"]["n_items"] is None


def test_what_needs_item_scores_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write("t.csv", "run,acc\na,0.5\n")
    imported("t.csv", *GOOD)
    for words, problem in (
        (["items", "--suite", "s"], "items needs item scores"),
        (["--plot", "x.svg"], "--plot needs item scores"),
        (["--split", "test"], "has no splits"),
        (["--min-gain", "0.1"], "no base to gain on"),
        (["--max-forgetting", "0.1"], "no objective called forgetting"),
    ):
        assert analyze(["t", *words, "--store", "store"]) == 2
        assert problem in capsys.readouterr().err


BAD = {
    "acc,,": ("run,acc\nok,0.5\na,\n", "t.csv:3: acc: missing"),
    "word": ("run,acc\nok,0.5\na,0.7+\n", "t.csv:3: acc: '0.7+' is not a number"),
    "nan": ("run,acc\nok,0.5\na,NaN\n", "t.csv:3: acc: NaN"),
    "inf": ("run,acc\nok,0.5\na,-inf\n", "t.csv:3: acc: infinite"),
    "huge": ("run,acc\nok,0.5\na,1e999\n", "t.csv:3: acc: infinite"),
    "n/a": ("run,acc\nok,0.5\na,n/a\n", "t.csv:3: acc: missing ('n/a')"),
    "range": ("run,acc\nok,0.5\na,71.5\n", "t.csv:3: acc: 71.5 is no share (0 to 1)"),
    "grouped digits": ("run,acc\nok,0.5\na,1_0\n", "t.csv:3: acc: '1_0' is not a number"),
    "label": ("run,acc\nok,0.5\n,0.7\n", "t.csv:3: run: missing"),
    "ragged": ("run,acc\nok,0.5\na,0.7,0.8\n", "t.csv:3: 3 cells, but the header has 2"),
    "short": ("run,acc\nok,0.5\na\n", "t.csv:3: 1 cells, but the header has 2"),
    "two lines": ('run,acc\n"o\nk",0.5\na,x\n', "t.csv:4: acc: 'x' is not a number"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_faulty_row_is_named_and_kept_as_left_out(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, fault = BAD[name]
    write("t.csv", text)
    assert imported("t.csv", *GOOD) == 0
    told = capsys.readouterr()
    assert f"left out: {fault}" in told.err and "1 row imported" in told.out
    (good, bad) = record().runs
    assert good.status is TrialStatus.COMPLETED and good.metrics == {"acc": 0.5}
    assert bad.status is TrialStatus.FAILED and bad.reason == fault


def test_a_row_that_lacks_one_of_two_objectives_keeps_the_other_and_is_on_no_front(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("t.csv", "run,acc,loss\na,0.5,1.0\nb,0.9,\n")
    assert imported("t.csv", *GOOD, "--objective", "loss:min") == 0
    assert record().runs[1].metrics == {"acc": 0.9}
    capsys.readouterr()
    analyze(["t", "--format", "json", "--store", "store"])
    trials = {t["id"]: t for t in json.loads(capsys.readouterr().out)["trials"]}
    assert trials["a"]["on_front"] and not trials["b"]["on_front"]


def test_json_lines_that_are_broken_are_faulty_rows(capsys: pytest.CaptureFixture[str]) -> None:
    write("t.jsonl", '{"run": "a", "acc": 0.5}\n\n{"run": \n[1]\n{"run": "b", "acc": NaN}\n')
    assert imported("t.jsonl", *GOOD) == 0
    told = capsys.readouterr().err
    assert "t.jsonl:3: not JSON" in told and "t.jsonl:4: a list instead of an object" in told
    assert "t.jsonl:5: acc: NaN" in told


@pytest.mark.parametrize(
    ("text", "words", "problem"),
    [
        ("run,acc\na,x\nb,\n", GOOD, "no row of it can be used: t.csv:2: acc: 'x'"),
        ("run,acc\n", GOOD, "the table has no rows"),
        ("run,acc,acc\na,1,2\n", GOOD, "two columns are named 'acc'"),
        ('run,acc\na,"0.5\n', GOOD, "not CSV from this line on"),
        ("run,accuracy\na,0.5\n", GOOD, "no row has a column 'acc' (--objective). "
         "Nearest: 'accuracy'."),
        ("name,acc\na,0.5\n", GOOD, "no row has a column 'run' (--label)"),
        ("run;acc\na;0.5\n", GOOD, "Its columns seem to be separated by ';'"),
        ("run,acc\na,0.5\n", [*GOOD, "--model", "m"], "'m' (--model)"),
        ("run,acc\na,0.5\n", [*GOOD, "--se", "acc=se"], "'se' (--se)"),
        ("run,acc\na,0.5\n", [*GOOD, "--where", "state=finished"], "'state' (--where)"),
        ("run,acc\na,0.5\n", [*GOOD, "--where", "run=b"],
         "none of its 1 rows has run=b. Values of 'run': a."),
        ("run,acc\na,0.5\n", ["--label", "run", "--objective", "acc:max", "--n", "100"],
         "'acc:max:share'"),
        ("run,acc\na,0.5\na,0.6\n", GOOD, "'a' is the label of several rows (t.csv:2, t.csv:3)"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_writes_nothing(
    text: str, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("t.csv", text)
    assert problem in refused(capsys, "t.csv", *words)


def test_no_sweep_can_be_called_as_the_newest(capsys: pytest.CaptureFixture[str]) -> None:
    write("t.csv", "run,acc\na,0.5\n")
    assert imported("t.csv", *GOOD, id="last") == 2
    assert "names the newest sweep" in capsys.readouterr().err and not Path("store").exists()


def test_no_such_file_and_other_kinds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write("table.csv", "run,acc\na,1\n")
    assert "Is it table.csv?" in refused(capsys, "tabel.csv", *GOOD)
    write("t.xlsx", "PK")
    assert "Allowed: .csv" in refused(capsys, "t.xlsx", *GOOD)
    Path("empty").mkdir()
    assert "no .json file" in refused(capsys, "empty", *GOOD)
    write("t.json", "{")
    assert "not JSON" in refused(capsys, "t.json", *GOOD)


def test_conditions_must_all_hold_and_compare_numbers_as_numbers() -> None:
    write(
        "t.csv",
        "run,acc,state,epoch\na,0.1,finished,3\nb,0.2,finished,2\nc,0.3,crashed,3\nd,0.4,finished,3.0\n",
    )
    assert imported("t.csv", *GOOD, "--where", "state=finished", "--where", "epoch=3") == 0
    assert [r.named for r in record().runs] == ["a", "d"]


def test_the_newest_row_of_a_label_is_the_last_of_a_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("t.csv", "run,acc\na,0.9\nb,0.5\na,0.1\n")
    assert imported("t.csv", *GOOD, "--duplicates", "newest") == 0
    assert "left out: t.csv:2: t.csv:4 is newer" in capsys.readouterr().err
    assert {r.named: r.metrics["acc"] for r in record().runs} == {"a": 0.1, "b": 0.5}


def test_the_newest_file_of_a_folder_is_the_one_that_was_written_last() -> None:
    for name, acc, when in (("z", 0.1, 1000), ("a", 0.9, 2000)):
        path = write(f"runs/{name}.json", json.dumps({"run": "r", "acc": acc}))
        os.utime(path, (when, when))
    assert imported("runs", *GOOD, "--duplicates", "newest") == 0
    assert [r.metrics["acc"] for r in record().runs] == [0.9]


def test_replicates_are_seeds_of_one_trial() -> None:
    write("t.csv", "run,m,acc\na,x,0.5\na,x,0.7\na,y,0.6\n")
    words = [*GOOD, "--model", "m", "--duplicates", "replicates"]
    assert imported("t.csv", *words) == 0
    runs = record().runs
    assert [(r.trial_id, r.seed) for r in runs] == [("x/a", 1), ("x/a", 2), ("y/a", 1)]
    assert len({r.run_key for r in runs}) == 3


def test_a_folder_of_json_files_is_a_row_a_file_with_its_path_as_a_column() -> None:
    write("runs/one/eval.json", json.dumps({"log": [{"acc": 0.2}, {"acc": 0.4}]}))
    write("runs/two.json", json.dumps([{"log": [{"acc": 0.5}]}, 7]))
    write("runs/.hidden/x.json", "{}")
    words = ["runs", "--label", "file", "--objective", "log.-1.acc:max:share"]
    assert imported(*words) == 0
    assert [(r.named, r.reason) for r in record().runs] == [
        ("one/eval", None),
        ("two", None),
        ("two.json:2", "two.json:2: the number 7 instead of an object"),
    ]


def test_the_same_import_again_changes_nothing_and_another_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("t.csv", "run,acc\na,0.5\n")
    assert imported("t.csv", *GOOD) == 0
    before = Path("store/sweeps/t/record/record.json").read_bytes()
    capsys.readouterr()
    assert imported("t.csv", *GOOD) == 0
    assert "already imported" in capsys.readouterr().out
    write("t.csv", "run,acc\na,0.6\n")
    assert imported("t.csv", *GOOD) == 2
    assert "Choose another --id" in capsys.readouterr().err
    assert Path("store/sweeps/t/record/record.json").read_bytes() == before


@pytest.mark.parametrize("id", ["../x", "a b", "", "x" * 65])
def test_an_id_that_is_no_folder_name_is_refused(
    id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("t.csv", "run,acc\na,0.5\n")
    assert imported("t.csv", *GOOD, id=id) == 2
    assert "cannot be a sweep id" in capsys.readouterr().err


def test_the_folder_of_a_sweep_that_has_no_record_yet_is_not_written_into(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("store/sweeps/t/spool").mkdir(parents=True)
    write("t.csv", "run,acc\na,0.5\n")
    assert imported("t.csv", *GOOD) == 2
    assert "has a sweep 't' already" in capsys.readouterr().err


def test_sizes_come_with_suffixes_and_errors_may_be_absent() -> None:
    write(
        "t.csv",
        "run,m,parameters,acc,se\na,x,2.7B,0.5,0.01\nb,y,350M,0.6,n/a\nc,z,1e9,0.6,-1\n",
    )
    words = [*GOOD, "--model", "m", "--se", "acc=se"]
    assert imported("t.csv", *words) == 0
    sweep_record = record()
    assert [(m.name, m.parameters) for m in sweep_record.models] == [
        ("x", 2_700_000_000), ("y", 350_000_000),
    ]  # fmt: skip
    a, b, c = sweep_record.runs
    assert (a.standard_errors, b.standard_errors) == ({"acc": 0.01}, {})
    assert c.reason == "t.csv:4: se: -1 is below 0"


def test_forgetting_may_be_negative_and_other_shares_may_not() -> None:
    write("t.csv", "run,acc,forgetting\na,0.5,-0.02\n")
    assert imported("t.csv", *GOOD, "--objective", "forgetting:min:share") == 0
    assert record().runs[0].metrics["forgetting"] == -0.02


def test_a_wandb_table_export_and_a_data_frame_of_its_api() -> None:
    """As the UI writes it (all cells quoted), and as the API's example does (dictionaries)."""
    write(
        "ui.csv",
        '"Name","State","Notes","Created","lr","val/accuracy","forgetting"\n'
        '"lively-sun-3","finished","-","2026-10-01T10:00:00.000Z","0.0003","0.81","0.02"\n'
        '"sweet-sea-2","crashed","-","2026-10-01T09:00:00.000Z","0.003","",""\n'
        '"swift-owl-1","finished","-","2026-10-01T08:00:00.000Z","0.001","0.79","0.01"\n',
    )
    words = ["--label", "Name", "--where", "State=finished"]
    objectives = ["--objective", "val/accuracy:max:share", "--objective", "forgetting:min:share"]
    assert imported("ui.csv", *words, *objectives) == 0
    assert [r.metrics["val/accuracy"] for r in record().runs] == [0.81, 0.79]
    write(
        "api.csv",
        ",summary,config,name\n"
        "0,\"{'_step': 9, 'val': {'acc': 0.81}}\",\"{'lr': 0.0003}\",lively-sun-3\n",
    )
    api = ["--label", "name", "--objective", "summary.val.acc:max:share"]
    assert imported("api.csv", *api, id="api") == 0
    assert record("api").runs[0].metrics == {"summary.val.acc": 0.81}


def test_outputs_that_lm_eval_itself_writes(capsys: pytest.CaptureFixture[str]) -> None:
    from lm_eval.loggers.evaluation_tracker import EvaluationTracker

    for model, share in (("org/small", 0.432), ("org/large", 0.571)):
        tracker = EvaluationTracker(output_path="harness")
        tracker.general_config_tracker.log_experiment_args(
            model_source="hf", model_args=f"pretrained={model}", system_instruction=None,
            chat_template=None, fewshot_as_multiturn=False,
        )  # fmt: skip
        results: dict[str, Any] = {
            "results": {
                "hellaswag": {
                    "alias": "hellaswag", "acc,none": share, "acc_stderr,none": 0.0049,
                    "acc_norm,none": share + 0.1, "acc_norm_stderr,none": "N/A",
                },
            },
            "n-samples": {"hellaswag": {"original": 10042, "effective": 10042}},
            "versions": {"hellaswag": 1.0},
        }  # fmt: skip
        tracker.save_results_aggregated(results=results)
    acc, norm = "results.hellaswag.acc,none", "results.hellaswag.acc_norm,none"
    words = ["harness", "--label", "model_name", "--objective", f"{acc}:max:share",
             "--objective", f"{norm}:max:share", "--se", f"{acc}=results.hellaswag.acc_stderr,none",
             "--se", f"{norm}=results.hellaswag.acc_norm_stderr,none",
             "--n", "n-samples.hellaswag.effective"]  # fmt: skip
    assert imported(*words) == 0
    runs = {r.named: r for r in record().runs}
    assert set(runs) == {"org/small", "org/large"}
    assert runs["org/large"].metrics == {acc: 0.571, norm: pytest.approx(0.671)}
    assert runs["org/large"].standard_errors == {acc: 0.0049}  # `N/A` is none
    assert runs["org/large"].n == 10042
    capsys.readouterr()
    analyze(["t", "--format", "json", "--store", "store"])
    data = json.loads(capsys.readouterr().out)
    assert data["decision"]["trial"] == "org/large" and data["decision"]["tied_with"] == []
    methods = [o["interval_method"] for o in data["trials"][0]["objectives"].values()]
    assert methods == ["given_standard_errors", "binomial"]


def test_a_store_that_is_no_folder_gets_runs_and_the_record_is_read_back_from_them() -> None:
    """MLflow's own client on its own database, as with a server: nothing lies beside it."""
    folder = Path("store").resolve()
    location = replace(resolve_store(str(folder), create=True), folder=None)
    write("t.csv", "run,acc,usd\na,0.5,2\nb,x,1\n")
    named = columns_of(label="run", objectives=["acc:max:share"], cost="usd")
    made = table_record(read_table(Path("t.csv")), named, sweep_id="t", table="t.csv").sweep
    assert save(location, made)
    assert not (folder / "sweeps" / "t" / "record").exists()
    assert open_reader(location).load("t").sweep == made
    assert not save(location, made)
    with pytest.raises(UserError, match="has a sweep 't' already"):
        save(location, made.model_copy(update={"name": "other"}))
    client = MlflowClient(tracking_uri=location.tracking_uri)
    ((_, _, parent),) = mlflow_sweeps(location, "t")
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    found = {r.info.run_name: (r.info.status, r.data.metrics) for r in children}
    assert found == {
        "a": ("FINISHED", {"acc": 0.5, "cost/usd": 2.0}),
        "b": ("FAILED", {"cost/usd": 1.0}),
    }
    (listed,) = [s for s in list_sweeps(location) if s.id == "t"]
    assert (listed.status, listed.stage, listed.completed) == ("finished", "decided", 1)
