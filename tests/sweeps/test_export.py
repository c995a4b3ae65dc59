"""A tuned model is taken out of a sweep whole or not at all, with a card that says what was
measured."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from keepgain.core.config import EarlyStopping, ModelRef
from keepgain.core.errors import UserError
from keepgain.core.identity import folder_digest
from keepgain.core.object_store import files_of
from keepgain.core.publish import fetch, publish, remove, verify
from keepgain.core.record import RungReport
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.location import resolve_store
from keepgain.core.store.record_files import save_folder
from keepgain.sweeps.base_models import FILES
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.export import export as export_model
from keepgain.sweeps.iterate import CARD, DECISION
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import Asked, Finished, Ledger, Rung
from keepgain.sweeps.stages.decide import write_decision
from tests.analysis.evidence import Trial, base, build
from tests.sweeps.tiny_models import make_model
from tests.trainers import tiny

SWEEP = "toy-123456"
TRIALS = [
    base("s"),
    Trial("t1", "s", 0.6, seeds=3, params={"learning_rate": 1e-3}),
    Trial("t2", "s", 0.4, seeds=3),
    Trial("t3", "s", 0.3, seeds=0),
]


def make_store(
    folder: Path,
    ref: ModelRef,
    tuned: Path,
    method: str = "full",
    own: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A finished sweep of `TRIALS` in the store `folder`; each confirmed run kept `tuned`.

    `own` is the configuration of all runs; `changes` are those of the record.
    """
    evidence = build(TRIALS, n_items=1000, sizes={"s": 1000})
    runs = tuple(
        r.model_copy(update={"metrics": {"test/tickets": 0.25}}) for r in evidence.sweep.runs
    )
    record = evidence.sweep.model_copy(update={"runs": runs, **changes})
    evidence = type(evidence)(record, evidence.items)
    sweep = folder / "sweeps" / SWEEP
    sweep.mkdir(parents=True)
    (sweep / "record").mkdir()
    save_folder(sweep / "record", evidence)
    config = own or {
        "model": ref.model_dump(mode="json"),
        "method": method,
        "learning_rate": 0.001,
        "sources": [
            {"name": "mail|box", "role": "task", "rows": 7, "digest": "abc123"},
            {
                "name": "old",
                "role": "replay",
                "rows": 5,
                "digest": "def456",
                "answers": {"max_new_tokens": 64, "temperature": 0.5},
            },
        ],
        "mixture": {"mail|box": 1.0},
        "suites": [{"name": "tickets", "split": "validation", "items": 20, "digest": "fed321"}],
    }
    with Ledger.open(sweep / LEDGER_NAME) as ledger:
        for run in evidence.sweep.runs:
            kept = f"runs/{run.run_key}/model" if run.stage is Stage.CONFIRM else None
            asked = run.model_dump(include={"run_key", "trial_id", "seed", "stage", "kind", "arm"})
            ledger.append(Asked(**asked, model="s", config=config))
            report = RungReport(
                run_key=run.run_key, rung=0, tokens=1000, examples=50, final=True,
                metrics=run.metrics, items_path="none", model_folder=kept,
                numerics={"dtype": "float32"}, hardware="a processor",
            )  # fmt: skip
            ledger.append(Rung(report=report))
            ledger.append(Finished(run_key=run.run_key, status=TrialStatus.COMPLETED))
            if kept:
                card = {"run_key": run.run_key, "method": method}
                publish(sweep / kept, lambda into, card=card: _weights(tuned, into, card))
    write_decision(evidence, sweep)
    return folder


def _weights(tuned: Path, into: Path, card: dict[str, str]) -> None:
    shutil.copytree(tuned, into, ignore=shutil.ignore_patterns("manifest.json"), dirs_exist_ok=True)
    (into / CARD).write_text(json.dumps(card))


def decide(store: Path, trial: str | None, status: str = "recommended") -> None:
    path = store / "sweeps" / SWEEP / DECISION
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"decision": {"status": status, "trial": trial}}))


def base_ref(folder: Path, name: str = "org/base") -> ModelRef:
    return ModelRef(name=name, path=str(folder), digest=folder_digest(folder, FILES))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = make_model(tmp_path / "base")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nA base.\n")
    (folder / "LICENSE").write_text("Apache License\n")
    return make_store(tmp_path / "store", base_ref(folder), make_model(tmp_path / "tuned"))


def export(store: Path, *words: str | Path) -> int:
    return main(["export", *map(str, words), "--store", str(store)])


def test_the_decisions_trial_is_written_whole_with_a_card(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "model"
    target.mkdir(parents=True)
    assert export(store, "last", "--to", target) == 0
    verify(target)
    kept = store / "sweeps" / SWEEP / "runs" / "t1-s100" / "model"
    assert (target / "model.safetensors").read_bytes() == (kept / "model.safetensors").read_bytes()
    assert (target / "LICENSE").is_file()
    assert [p.name for p in target.parent.iterdir()] == ["model"], "nothing is left beside it"
    card = (target / "README.md").read_text()
    facts = yaml.safe_load(card.split("---")[1])
    assert facts["base_model"] == "org/base" and facts["base_model_relation"] == "finetune"
    assert facts["license"] == "apache-2.0" and facts["library_name"] == "transformers"
    for said in (
        "`toy-123456`", "run `t1-s100`", "one that it decided for", "3 seeds", "seed 100",
        "On test items", "apache-2.0", "mail\\|box", "abc123", "fed321", "tokens seen | 1000",
        "Limit on the drop of any forgetting suite: 0.05",
        "answers in old were written by the base itself, org/base (drawn at temperature 0.5, ",
        "at most 64 tokens)",
    ):  # fmt: skip
        assert said in card, said
    assert "answers in mail" not in card
    (line,) = [x for x in card.splitlines() if x.startswith("| tickets | gain")]
    assert line.split(" | ")[3] == "1000" and line.split(" | ")[6] == "0.250", line
    (drop,) = [x for x in card.splitlines() if x.startswith("| facts | forgetting")]
    assert drop.rstrip(" |").endswith("]"), "a drop has its interval"


def test_what_was_not_measured_is_called_so(store: Path, tmp_path: Path) -> None:
    assert export(store, SWEEP, "t2", "--to", tmp_path / "m") == 0
    card = (tmp_path / "m" / "README.md").read_text()
    assert "decided for another one, `t1`" in card
    unknown = card.split("Unknown or not measured: ")[1].splitlines()[0]
    assert {"energy_joules", "seconds_per_answer_p50"} <= set(unknown.rstrip(".").split(", "))
    assert "No figures by group" in card
    assert "quantised serving" in card and "merged weights" not in card


def test_few_test_openings_and_missing_suites_are_said(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "base")
    made = make_store(tmp_path / "store", base_ref(folder, "base"), folder, test_opened=3)
    assert export(made, SWEEP, "--to", tmp_path / "m") == 0
    card = (tmp_path / "m" / "README.md").read_text()
    assert "opened 3 times" in card
    assert "its folder names none" in card and "license" not in card.split("---")[1]
    assert "base_model" not in card.split("---")[1], "a label of the spec is no name on a hub"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("last", "t3"), "weights of trial t3 were not kept: only confirmed"),
        (("last", "zzz"), "no confirmed trial of toy-123456 begins with 'zzz'"),
        (("toy-654321",), "no sweep 'toy-654321'"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: Any, said: str
) -> None:
    assert export(store, *words, "--to", tmp_path / "m") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_model_goes_to_a_url_whole_and_once(store: Path, tmp_path: Path) -> None:
    """Readers look at its manifest, and find the folder of files that it names."""
    location, url = resolve_store(str(store)), f"memory://{tmp_path.name}/model"
    made = export_model(location, "last", "best", url)
    assert made.place.startswith(f"{url}/attempt-")
    assert files_of(url) == made.place
    verify(fetch(url, tmp_path / "copy"))
    kept = store / "sweeps" / SWEEP / "runs" / "t1-s100" / "model"
    weights = (tmp_path / "copy" / "model.safetensors").read_bytes()
    assert weights == (kept / "model.safetensors").read_bytes()
    assert "`toy-123456`" in (tmp_path / "copy" / "README.md").read_text()
    with pytest.raises(UserError, match="something is there already"):
        export_model(location, "last", "best", url)
    remove(url)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("s3://key:canary@bucket/x", "credentials"),
        ("http://host/x", "unknown protocol"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(store: Path, capsys, to: str, said: str) -> None:
    assert export(store, "last", "--to", to) == 2
    err = capsys.readouterr().err
    assert said in err and "canary" not in err and err.count("\n") == 1


def test_a_folder_that_is_taken_stays_as_it_is(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mine").write_text("x")
    assert export(store, "last", "--to", tmp_path / "m") == 2
    assert "is not empty" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["mine"]
    assert export(store, "last", "--to", tmp_path / "m" / "mine") == 2
    assert "is a file" in capsys.readouterr().err


def test_without_a_decision_or_with_damaged_weights_there_is_nothing_to_export(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decide(store, None, "not_resolved")
    assert export(store, "last", "--to", tmp_path / "m") == 2
    assert "decided for no trial (not resolved)" in capsys.readouterr().err
    decide(store, "t3", "provisional")
    assert export(store, "last", "--to", tmp_path / "m") == 2
    assert "weights of trial t3 were not kept" in capsys.readouterr().err
    kept = store / "sweeps" / SWEEP / "runs" / "t1-s100" / "model"
    (kept / "config.json").write_text("{}")
    assert export(store, "last", "t1", "--to", tmp_path / "m") == 2
    assert "is not what was written" in capsys.readouterr().err
    shutil.rmtree(store / "sweeps" / SWEEP / "runs")
    assert export(store, "last", "t1", "--to", tmp_path / "m") == 2
    assert "are gone" in capsys.readouterr().err
    (store / "sweeps" / SWEEP / LEDGER_NAME).unlink()
    assert export(store, "last", "t1", "--to", tmp_path / "m") == 2
    assert "Weights lie where the sweep ran" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_an_adapter_is_not_merged_into_another_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_model(tmp_path / "base")
    made = make_store(tmp_path / "store", base_ref(folder), folder, "lora")
    assert export(made, "last", "--to", tmp_path / "adapter") == 0
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["base_model_relation"] == "adapter"
    (folder / "config.json").write_text("{}")
    assert export(made, "last", "--to", tmp_path / "m", "--merge") == 2
    assert "is not the base org/base any more" in capsys.readouterr().err
    shutil.rmtree(folder)
    assert export(made, "last", "--to", tmp_path / "m", "--merge") == 2
    assert "the base org/base is not there" in capsys.readouterr().err


def test_the_command_needs_no_torch() -> None:
    code = "import keepgain.sweeps.export, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def refitting_store(folder: Path, **changes: Any) -> Path:
    """As `make_store`, of trials that a worker can train."""
    ref = tiny.model_folder(folder / "base")
    sums = tiny.suite(folder, "sums", tiny.sums(20, 60), "exact_match")
    words = tiny.suite(folder, "words", tiny.words(12, 30), "bits_per_byte", measures="forgetting")
    suites = (sums, sums.model_copy(update={"name": "again"}), words)
    config = tiny.trial(folder, ref, suites=suites, **({"budget": 400, "rungs": (400,)} | changes))
    given = ModelRef.model_validate({**ref.model_dump(), "digest": base_ref(Path(ref.path)).digest})
    own = config.model_copy(update={"model": given}).model_dump(mode="json")
    store = make_store(folder / "store", given, Path(ref.path), own=own)
    spec = {
        "suites": {"sums": {"from": "task"}, "again": {"from": "task"}, "words": {"path": "w"}},
        "resources": {"device": "cpu"},
    }
    (store / "sweeps" / SWEEP / "spec.resolved.json").write_text(json.dumps(spec))
    return store


def test_a_refit_trains_on_validation_rows_too_and_is_not_scored_on_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # No fall is ever enough: what stops early would stop after 40 tokens.
    hasty = {"patience_tokens": 40, "check_every_tokens": 40, "min_improvement": 1e6}
    store = refitting_store(tmp_path, early_stopping=EarlyStopping(**hasty))
    target = tmp_path / "model"
    assert export(store, "last", "--to", target, "--refit") == 0
    # 60 rows and 20 more, which two suites ask: a budget of 400 tokens becomes 534.
    assert "refitting on validation rows too (20 of task): 534 tokens" in capfd.readouterr().out
    tuned, base = (load_file(f / "model.safetensors") for f in (target, tmp_path / "base"))
    assert all(t.isfinite().all() for t in tuned.values())
    assert any(not t.equal(base[n]) for n, t in tuned.items()), "it was trained"
    card = (target / "README.md").read_text()
    assert "(20 of task). The decision and the intervals" in card
    assert "| task | task | 80 | 0.75 |" in card
    assert "| words | validation | 12 |" in card
    assert "| sums | validation |" not in card
    seen = re.search(r"\| tokens seen \| (\d+) \|", card)
    assert seen is not None and int(seen[1]) >= 534, "nothing is left that could say when to stop"
    assert "This refit on validation items of what it was trained on" in card


def test_what_cannot_be_refitted_is_refused_before_any_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = refitting_store(tmp_path, rows=29)
    assert export(store, "last", "--to", tmp_path / "m", "--refit") == 2
    assert "trained on 29 rows of its sources" in capsys.readouterr().err
    spec = store / "sweeps" / SWEEP / "spec.resolved.json"
    ledger = store / "sweeps" / SWEEP / LEDGER_NAME
    ledger.write_text(ledger.read_text().replace('"rows":29,', '"rows":null,'))
    spec.write_text(json.dumps({"suites": {"sums": {"path": "s"}}, "resources": {}}))
    assert export(store, "last", "--to", tmp_path / "m", "--refit") == 2
    assert "no source that the trial trained on has validation rows" in capsys.readouterr().err
    # A run that stopped early, at 1000 tokens and 50 rows, is refitted for so long.
    ledger.write_text(ledger.read_text().replace('"stopped_early":null', '"stopped_early":1000'))
    resources = {"device": "cpu", "cpus_per_trial": 4096}
    spec.write_text(json.dumps({"suites": {"sums": {"from": "task"}}, "resources": resources}))
    assert export(store, "last", "--to", tmp_path / "m", "--refit") == 2
    said = capsys.readouterr()
    assert "(20 of task): 1.33k tokens" in said.out and "4096" in said.err
    assert not (tmp_path / "m").exists()
