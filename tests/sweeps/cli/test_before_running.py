"""init, check and plan as commands: outputs, exit codes, and that nothing heavy is imported."""

import argparse
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.cli.init import OFFERED
from tests.sweeps.tiny_models import make_world, spec_text, write_jsonl


def sweep(*argv: Any) -> int:
    """Runs one command; `sweeps/cli/main.py` turns UserErrors into exit code 2."""
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(required=True)
    for name in ("init", "check", "plan"):
        import_module(f"keepgain.sweeps.cli.{name}").add_parser(subparsers)
    args = parser.parse_args([str(a) for a in argv])
    return int(args.run(args))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_world(tmp_path).unlink()
    monkeypatch.chdir(tmp_path)
    return tmp_path


GENERAL = ["--general", "general.jsonl"]
GENERAL_EVAL = ["--general-eval", "general_eval.jsonl"]


@pytest.mark.parametrize("general", [[], GENERAL, GENERAL_EVAL, GENERAL + GENERAL_EVAL])
def test_check_accepts_what_init_writes(
    world: Path, capsys: pytest.CaptureFixture[str], general: list[str]
) -> None:
    if general == GENERAL:  # split, so it needs enough rows
        write_jsonl(world / "general.jsonl", [{"text": f"fact {i}"} for i in range(300)])
    models = ["--model", "m0", "--model", world / "m1"]
    assert sweep("init", *models, "--data", "tickets.jsonl", *general) == 0
    said = capsys.readouterr().out
    assert ("forgetting will not be measured" in said) == (not general)
    text = (world / "sweep.yaml").read_text()
    assert text.count("\n") <= 40 and "#" in text
    assert sweep("check", "sweep.yaml") == 0
    assert sweep("check", "sweep.yaml", "--profile", "smoke") == 0
    assert sweep("plan", "sweep.yaml") == 0


def test_init_writes_paths_relative_to_the_spec(world: Path) -> None:
    (world / "sub").mkdir()
    assert sweep("init", "--model", "m0", "--data", "tickets.jsonl", "--out", "sub/s.yaml") == 0
    assert "../tickets.jsonl" in (world / "sub" / "s.yaml").read_text()
    assert sweep("check", "sub/s.yaml") == 0


def test_init_cuts_a_long_file_name_to_a_name_that_runs(world: Path) -> None:
    (world / "tickets.jsonl").rename(world / f"{'t' * 80}.jsonl")
    assert sweep("init", "--model", "m0", "--data", f"{'t' * 80}.jsonl") == 0
    assert f"name: {'t' * 57}\n" in (world / "sweep.yaml").read_text()


@pytest.mark.parametrize("name", ["strange, name: {x}.jsonl", "1e5", "true", "ünï.jsonl", "a b"])
def test_init_quotes_file_names(world: Path, name: str) -> None:
    (world / "tickets.jsonl").rename(world / name)
    assert sweep("init", "--model", "m0", "--data", name) == 0
    assert sweep("check", "sweep.yaml") == 0


def test_init_does_not_overwrite(world: Path) -> None:
    (world / "sweep.yaml").write_text("mine")
    with pytest.raises(UserError, match="--force"):
        sweep("init", "--model", "m0", "--data", "tickets.jsonl")
    assert (world / "sweep.yaml").read_text() == "mine"
    assert sweep("init", "--model", "m0", "--data", "tickets.jsonl", "--force") == 0
    assert (world / "sweep.yaml").read_text() != "mine"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--model", "./nowhere", "--data", "tickets.jsonl"], "no model folder"),
        (["--model", "m0", "--data", "nowhere.jsonl"], "no such file"),
        (["--model", "m0", "--data", "tickets.jsonl", "--name", "../x"], "name"),
        (["--model", "m0", "--data", "general.jsonl", "--scorer", "exact_match"], "no answer"),
        (["--model", "m0", "--data", "tickets.jsonl", "--out", "no/s.yaml"], "no such folder"),
    ],
)
def test_init_refuses_what_cannot_work_and_leaves_nothing(
    world: Path, argv: list[str], words: str
) -> None:
    before = sorted(world.rglob("*"))
    with pytest.raises(UserError, match=words):
        sweep("init", *argv)
    assert sorted(world.rglob("*")) == before


@pytest.mark.parametrize(
    ("rows", "scorer"),
    [
        ([{"prompt": "q", "answer": "yes"}], "exact_match"),
        ([{"prompt": "q", "answer": "long " * 40}], "exact_match"),
        ([{"text": "some text"}], "bits_per_byte"),
        ([{"prompt": "q", "choices": ["a", "b"], "answer": 1}] * 3, "multiple_choice"),
        # One row without choices: they are not read.
        (
            [
                {"prompt": "q", "choices": ["a", "b"], "answer": "a"},
                {"prompt": "r", "answer": "b"},
            ],
            "exact_match",
        ),
        # 10 rows of each of 2 answers, and one row fewer.
        ([{"prompt": f"q{i}", "answer": "ab"[i % 2]} for i in range(20)], "classification"),
        ([{"prompt": f"q{i}", "answer": "ab"[i % 2]} for i in range(19)], "exact_match"),
        ([{"prompt": f"q{i}", "answer": "all one"} for i in range(40)], "exact_match"),
        ([{"prompt": f"q{i}", "answer": f"{i % 21}"} for i in range(420)], "exact_match"),
    ],
)
def test_init_chooses_a_scorer_that_the_rows_allow(
    world: Path, rows: list[dict[str, Any]], scorer: str
) -> None:
    write_jsonl(world / "rows.jsonl", rows)
    assert sweep("init", "--model", "m0", "--data", "rows.jsonl") == 0
    assert f"scorer: {scorer}}}" in (world / "sweep.yaml").read_text()


def test_init_takes_any_scorer_that_needs_no_further_keys(world: Path) -> None:
    assert {"rouge_l", "classification_generated", "multiple_choice", "chrf"} <= set(OFFERED)
    assert not {"program", "lm_eval", "kl_from_base", "perplexity"} & set(OFFERED)
    command = ("init", "--model", "m0", "--data", "tickets.jsonl", "--scorer")
    assert sweep(*command, "rouge_l") == 0
    assert "scorer: rouge_l}   # or bits_per_byte" in (world / "sweep.yaml").read_text()
    with pytest.raises(UserError, match=r"tickets.jsonl:1.* has no 'choices'"):
        sweep(*command, "multiple_choice", "--force")


def test_check_prints_json_and_fails_on_errors(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep("init", "--model", "m0", "--data", "tickets.jsonl")
    spec = (world / "sweep.yaml").read_text() + "resources: {gpus_per_trial: 64}\n"
    (world / "sweep.yaml").write_text(spec)
    capsys.readouterr()
    assert sweep("check", "sweep.yaml", "--json") == 2
    facts = json.loads(capsys.readouterr().out)
    assert facts["findings"][0]["code"] == "too_few_resources"
    assert facts["models"][0]["name"] == "m0" and facts["sources"][0]["rows"]["train"] > 300
    assert sweep("plan", "sweep.yaml") == 2


def test_check_shows_rows_as_they_are_trained_on(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep("init", "--model", "m0", "--model", "m1", "--data", "tickets.jsonl")
    capsys.readouterr()
    assert sweep("check", "sweep.yaml", "--show", 2) == 0
    out = capsys.readouterr().out
    shown = [x for x in out.splitlines() if "⟦desk" in x]
    assert len(shown) == 2 and all(x.endswith("</s>⟧") for x in shown)
    assert re.search(r"/tickets\.jsonl:\d+: 21 tokens, 7 with loss\n", out)
    assert "as m0 is trained on them" in out

    assert sweep("check", "sweep.yaml", "--show", 2, "--model", "m1", "--json") == 0
    ((first, _),) = json.loads(capsys.readouterr().out)["shown"].values()
    assert len(first["ids"]) == len(first["tokens"]) == len(first["loss"])
    loss = "".join(t for t, x in zip(first["tokens"], first["loss"], strict=True) if x)
    assert re.fullmatch("desk [0-6]</s>", loss) and first["cut_left"] == first["cut_right"] == 0
    with pytest.raises(UserError, match=r"no model 'm2'.*m0, m1"):
        sweep("check", "sweep.yaml", "--show", 2, "--model", "m2")


def test_check_counts_rows_that_are_cut(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": "x" * 60 + str(i), "answer": "a"} for i in range(400)]
    write_jsonl(world / "tickets.jsonl", rows)
    (world / "sweep.yaml").write_text(spec_text(["m0"]) + "training: {max_length: 50}\n")
    sweep("check", "sweep.yaml", "--json")
    tickets, general = json.loads(capsys.readouterr().out)["sources"]
    assert tickets["cut_rows"] == {"m0": tickets["rows"]["train"]}
    assert general["cut_rows"] == {"m0": 0}
    sweep("check", "sweep.yaml")
    assert "longer than max_length 50: their prompts are cut" in capsys.readouterr().out


def test_plan_prints_json(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep("init", "--model", "m0", "--data", "tickets.jsonl")
    capsys.readouterr()
    assert sweep("plan", "sweep.yaml", "--json", "--tflops", "0.01") == 0
    plan = json.loads(capsys.readouterr().out)
    speed = plan["models"][0]["methods"][0]["speed"]
    assert (speed["flops_per_second"], speed["source"]) == (1e10, "given")
    assert plan["expected"]["seconds"] > 0


def test_plan_refuses_a_warm_start_that_run_would_refuse(world: Path) -> None:
    sweep("init", "--model", "m0", "--data", "tickets.jsonl", "--name", "warm")
    spec = world / "sweep.yaml"
    assert "search: {" in spec.read_text()
    spec.write_text(spec.read_text().replace("search: {", "search: {warm_start: gone-1a2b3c, "))
    with pytest.raises(UserError, match=r"warm_start \(line \d+\): no sweep 'gone-1a2b3c'"):
        sweep("plan", "sweep.yaml", "--store", ".keepgain")
    assert not (world / ".keepgain").exists()


@pytest.mark.parametrize("command", ["init", "check", "plan"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sweep(command, "--help")
    assert f"sweep {command} " in capsys.readouterr().out.split("examples:")[1]


def test_check_and_plan_import_neither_torch_nor_ray_nor_mlflow(world: Path) -> None:
    sweep("init", "--model", "m0", "--data", "tickets.jsonl")
    code = (
        "import sys, argparse; from importlib import import_module\n"
        "for name in ('init', 'check', 'plan'):\n"
        "    parser = argparse.ArgumentParser(); subs = parser.add_subparsers()\n"
        "    import_module('keepgain.sweeps.cli.' + name).add_parser(subs)\n"
        "    if name != 'init':\n"
        "        more = ['--show', '1'] if name == 'check' else []\n"
        "        args = parser.parse_args([name, 'sweep.yaml', *more]); args.run(args)\n"
        "heavy = {'torch', 'ray', 'mlflow', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
