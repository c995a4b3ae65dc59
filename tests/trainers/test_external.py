"""A trainer of the user's own as a trial: what it is given, what becomes of what it leaves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from keepgain.core.config import LoraSettings, ModelRef, ScoreConfig, TrainerRef, TrialConfig
from keepgain.core.errors import TrialFailure
from keepgain.core.items import read_items
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.trainers.curves import POINTS, Curves
from keepgain.trainers.external import words_of
from keepgain.trainers.jobs import Jobs
from tests.trainers import tiny

EXAMPLES = Path(__file__).parents[2] / "examples" / "methods"
DOCS = Path(__file__).parents[2] / "docs" / "trainers.md"
BUDGET = 3000

LEAVES = '''
"""Does what its settings say, in the order of this file."""
import argparse, json, os, shutil, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--config"); parser.add_argument("--output")
given = parser.parse_args()
config = json.load(open(given.config))
do = config["trainer"]["settings"]
with open(os.path.join(given.output, "progress.jsonl"), "w") as file:
    file.write(do.get("progress", ""))
if "leave" in do:
    shutil.copytree(do["leave"], given.output, dirs_exist_ok=True)
print(do.get("say", ""), flush=True)
time.sleep(do.get("sleep", 0))
if "signal" in do:
    os.kill(os.getpid(), do["signal"])
sys.exit(do.get("exit", 0))
'''

FUNCTION = """
import json, shutil
from pathlib import Path

def train(config, output, progress):
    import beside
    assert config["mixture"] == {"task": 0.75, "replay": 0.25}
    for source in config["sources"]:
        assert len(Path(source["path"]).read_text().splitlines()) == source["rows"]
    for tokens in (100, beside.HALF, config["budget"]):
        progress(tokens=tokens, examples=tokens // 10, loss=config["seed"] + 1 / tokens)
    shutil.copytree(config["trainer"]["settings"]["model"], output, dirs_exist_ok=True)
"""


def train(config: TrialConfig, sweep: Path, **options: Any) -> WorkReply:
    request = TrainRequest(config=config, seed=3, rung=0, sweep_folder=str(sweep), **options)
    return Jobs().do(request)


def report_of(reply: WorkReply) -> RungReport:
    assert reply.report is not None, f"{reply.cause}: {reply.detail}"
    return reply.report


def curve(sweep: Path, name: str) -> list[tuple[int, float]]:
    lines = [json.loads(line) for p in sweep.glob("spool/*") for line in p.open()]
    return [(e["step"], e["values"][name]) for e in lines if name in e["values"]]


def items(sweep: Path, report: RungReport) -> list[tuple[str, np.ndarray]]:
    return [(s.suite, s.values) for _, s in read_items(sweep / report.items_path)]


def rescored(config: TrialConfig, sweep: Path, report: RungReport) -> list[tuple[str, np.ndarray]]:
    """The folder that was kept, scored for itself."""
    of = ScoreConfig(
        model=config.model, suites=config.suites, checkpoint=report.model_folder, trained_by="x"
    )
    request = ScoreRequest(config=of, report_as=report.run_key, sweep_folder=str(sweep))
    again = report_of(Jobs().do(request))
    assert (again.tokens, again.examples) == (report.tokens, report.examples)
    return items(sweep, again)


def own(folder: Path, model: ModelRef, settings: dict[str, Any], **options: Any) -> TrialConfig:
    """A trial of a trainer that does what `settings` say."""
    folder.mkdir(exist_ok=True)
    (folder / "leaves.py").write_text(LEAVES)
    trainer = TrainerRef(
        command=("python", "leaves.py"), settings=settings, path=str(folder), code="1"
    )
    fields: dict[str, Any] = {"budget": BUDGET, "rungs": (BUDGET,), **options}
    return tiny.trial(folder, model, trainer=trainer, **fields)


@pytest.mark.parametrize("script, method", [("trainer_hf.py", "full"), ("trainer_trl.py", "lora")])
def test_the_examples_learn_and_are_scored_as_the_folder_that_they_leave(
    tmp_path, llama, script, method
):
    trainer = TrainerRef(command=("python", script), path=str(EXAMPLES))
    config = tiny.trial(
        tmp_path, llama, method=method, trainer=trainer, budget=BUDGET, rungs=(BUDGET,),
        learning_rate=2e-2, batch_size=16,
    )  # fmt: skip
    report = report_of(train(config, tmp_path, keep_model=True))
    assert BUDGET <= report.tokens < BUDGET + config.max_length
    assert report.examples > 100
    assert report.warnings == ()

    losses = [loss for _, loss in curve(tmp_path, "train/loss")]
    assert len(losses) > 15
    fallen = {"full": 0.5, "lora": 0.05}[method]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - fallen
    assert report.metrics["train/loss"] == losses[-1]
    rates = [rate for _, rate in curve(tmp_path, "train/learning_rate")]
    assert max(rates) == pytest.approx(2e-2)
    assert rates[-1] < 5e-3, "the schedule decays"

    left = sorted(p.name for p in (tmp_path / "runs" / report.run_key).iterdir())
    assert left == ["answers.parquet", "items-r0.parquet", "model", "trainer.json", "worker.log"]
    for (suite, values), (_, again) in zip(
        items(tmp_path, report), rescored(config, tmp_path, report), strict=True
    ):
        assert np.array_equal(values, again), suite
    folder = tmp_path / str(report.model_folder)
    kept = {p.name for p in folder.iterdir()}
    assert ("adapter_config.json" in kept) is (method == "lora")
    assert kept.isdisjoint({"checkpoints", "training_args.bin", "progress.jsonl"})
    trained = report.cost["trainable_parameters"]
    assert (trained < report.cost["parameters"]) is (method == "lora")


def test_a_function_gets_the_trial_and_its_model_is_scored(tmp_path, llama):
    other = tiny.model_folder(tmp_path / "other", seed=1)
    (tmp_path / "mine.py").write_text(FUNCTION)
    (tmp_path / "beside.py").write_text("HALF = 1500")
    trainer = TrainerRef(
        function="mine:train", path=str(tmp_path), settings={"model": other.path}
    )  # fmt: skip
    config = tiny.trial(tmp_path, llama, trainer=trainer, budget=BUDGET, rungs=(BUDGET,))
    report = report_of(train(config, tmp_path))
    assert (report.tokens, report.examples, report.warnings) == (BUDGET, BUDGET // 10, ())
    assert curve(tmp_path, "train/loss") == [
        (100, 3.01),
        (1500, 3 + 1 / 1500),
        (3000, 3 + 1 / 3000),
    ]
    assert report.model_folder is None
    score = ScoreConfig(model=other, suites=config.suites)
    job = ScoreRequest(config=score, report_as="other", sweep_folder=str(tmp_path))
    found, wanted = items(tmp_path, report), items(tmp_path, report_of(Jobs().do(job)))
    for (suite, values), (_, base) in zip(found, wanted, strict=True):
        assert np.array_equal(values, base), suite
    assert report.numerics["engine"] == "own trainer"


def test_without_figures_the_record_has_the_budget_and_says_so(tmp_path, llama):
    report = report_of(train(own(tmp_path, llama, {"leave": llama.path}), tmp_path))
    assert report.tokens == BUDGET
    assert "train/loss" not in report.metrics
    assert len(report.warnings) == 1 and "as asked, not as measured" in report.warnings[0]

    more = '{"tokens": 9000, "loss": 1.0, "accuracy": NaN}\nnot a line\n'
    settings = {"leave": llama.path, "progress": more}
    report = report_of(train(own(tmp_path, llama, settings, method="lora"), tmp_path))
    assert report.tokens == 9000
    told = "\n".join(report.warnings)
    for part in (
        "1 of progress.jsonl lines could not be read",
        "'accuracy' is no finite number",
        "spent 9000 of a budget of 3000 tokens",
        "the method is lora, and the trainer left a whole model",
    ):
        assert part in told


def broken(folder: Path, model: ModelRef, how: str) -> Path:
    """A folder that is not what it should be."""
    shutil.copytree(model.path, folder)
    weights = load_file(folder / "model.safetensors")
    if how == "missing":
        del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    if how == "pickled":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    if how == "truncated":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    return folder


@pytest.mark.parametrize(
    "how, why",
    [
        ("missing", "the weights of 'model.layers.1.mlp.up_proj.weight' are missing"),
        ("pickled", "the weights are pickled"),
        ("truncated", "file not fully covered"),
        ("deeper", "only its model has 'model.layers.2."),
        ("wider", "has the shape"),
        ("adapter", "the adapter does not fit"),
        ("pickled adapter", "adapter_model.safetensors is not beside"),
        ("nothing", "neither config.json nor adapter_config.json is in its folder, but progress"),
    ],
)
@pytest.mark.fault("N3", "C5")
def test_what_is_no_model_of_the_base_fails_the_trial_and_says_why(tmp_path, llama, how, why):
    left = tmp_path / "left"
    if how == "deeper":
        tiny.model_folder(left, layers=3)
    elif how == "wider":
        tiny.model_folder(left, width=24)
    elif "adapter" in how:
        made = adapter_of(tiny.model_folder(tmp_path / "deep", layers=3), tmp_path / "made", left)
        if how == "pickled adapter":
            (made / "adapter_model.safetensors").rename(made / "adapter_model.bin")
    elif how == "nothing":
        left.mkdir()
    else:
        broken(left, llama, how)
    reply = train(own(tmp_path, llama, {"leave": str(left)}), tmp_path)
    assert reply.cause is FailureCause.EXCEPTION
    assert "ended well" in str(reply.detail) and why in str(reply.detail)
    assert not list(tmp_path.glob("runs/*/tmp.*"))


def adapter_of(model: ModelRef, sweep: Path, target: Path) -> Path:
    sweep.mkdir()
    config = tiny.trial(
        sweep, model, method="lora", lora=LoraSettings(rank=2), budget=200, rungs=(200,)
    )  # fmt: skip
    report = report_of(train(config, sweep, keep_model=True))
    shutil.copytree(sweep / str(report.model_folder), target)
    return target


@pytest.mark.parametrize(
    "settings, cause, parts",
    [
        (
            {"exit": 3, "say": "one\rtwo\nthree\nValueError: four"},
            FailureCause.EXCEPTION,
            ["exit code 3", "two / three / ValueError: four"],
        ),
        ({"exit": 1}, FailureCause.EXCEPTION, ["exit code 1", "said last: nothing"]),
        (
            {"exit": 1, "say": "torch.OutOfMemoryError: CUDA out of memory."},
            FailureCause.OUT_OF_MEMORY,
            ["CUDA out of memory"],
        ),
        ({"exit": 1, "say": "OSError: No space left on device"}, FailureCause.DISK_FULL, []),
        ({"signal": signal.SIGKILL}, FailureCause.EXCEPTION, ["SIGKILL", "memory runs out"]),
        ({"signal": signal.SIGSEGV}, FailureCause.EXCEPTION, ["SIGSEGV"]),
    ],
)
@pytest.mark.fault("N3")
def test_a_trainer_that_ends_badly_fails_the_trial_with_its_last_words(
    tmp_path, llama, settings, cause, parts
):
    reply = train(own(tmp_path, llama, {"leave": llama.path, **settings}), tmp_path)
    assert reply.cause is cause, reply.detail
    assert all(part in str(reply.detail) for part in parts), reply.detail
    log = next(tmp_path.glob("runs/*/worker.log")).read_text()
    assert settings.get("say", "").rpartition("\n")[2] in log


@pytest.mark.fault("N1")
def test_a_loss_that_is_not_finite_ends_the_trainer_at_once(tmp_path, llama):
    settings = {"progress": '{"tokens": 64, "loss": NaN}\n', "sleep": 200}
    began = time.monotonic()
    reply = train(own(tmp_path, llama, settings), tmp_path)
    assert time.monotonic() - began < 100
    assert (reply.cause, reply.detail) == (FailureCause.NAN, "the loss is nan at 64 tokens")


def test_a_command_that_cannot_be_started_says_so(tmp_path, llama):
    trainer = TrainerRef(command=("no-such-program",), path=str(tmp_path))
    config = tiny.trial(tmp_path, llama, trainer=trainer, budget=BUDGET, rungs=(BUDGET,))
    reply = train(config, tmp_path)
    assert reply.cause is FailureCause.EXCEPTION
    assert "cannot be started (No such file or directory)" in str(reply.detail)


def test_the_trainer_and_what_it_started_end_with_the_worker(tmp_path, llama):
    (tmp_path / "starts.py").write_text(
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(tmp_path / 'pids.tmp')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(tmp_path / 'pids.tmp')!r}, {str(tmp_path / 'pids')!r})\n"
        "time.sleep(300)\n"
    )
    trainer = TrainerRef(command=("python", "starts.py"), path=str(tmp_path))
    config = tiny.trial(tmp_path, llama, trainer=trainer, budget=BUDGET, rungs=(BUDGET,))
    (tmp_path / "config.json").write_text(config.model_dump_json())
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)])
    try:
        waited_for((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(map(alive, pids))
    finally:
        worker.kill()
        worker.wait()
    waited_for(lambda: not any(map(alive, pids)))


WORKER = """
import sys
from pathlib import Path
from keepgain.core.config import TrialConfig
from keepgain.trainers.external import trained_elsewhere
assert "torch" not in sys.modules
folder = Path(sys.argv[1])
config = TrialConfig.model_validate_json((folder / "config.json").read_text())
with trained_elsewhere(config, 0, folder, folder / "log", lambda tokens, values: None):
    pass
"""


def waited_for(condition: Any, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def curves_of(path: Path, model: ModelRef, found: list[Any], **options: Any) -> Curves:
    fields: dict[str, Any] = {"budget": 1000, "rungs": (1000,), **options}
    config = TrialConfig(
        model=model, learning_rate=0.1, mixture={}, sources=(), suites=(), **fields
    )
    return Curves(path, config, lambda tokens, values: found.append((tokens, dict(values))))


def test_lines_are_read_as_they_come_and_a_torn_one_waits(tmp_path, llama):
    path, found = tmp_path / "progress.jsonl", []
    curves = curves_of(path, llama, found)
    curves.look()
    with path.open("w") as file:
        for text, points in (
            ('{"tokens": 10, "loss": 2}\n{"tok', 1),
            ('ens": 20, "loss": 1', 1),
            ("}\n", 2),
            ('{"tokens": 1000, "examples": 9}', 2),
        ):
            file.write(text)
            file.flush()
            curves.look()
            assert len(found) == points
    curves.look(ended=True)
    assert found == [(10, {"train/loss": 2.0}), (20, {"train/loss": 1.0})]
    assert (curves.spent_tokens, curves.spent_examples, curves.last_loss) == (1000, 9, 1.0)
    assert curves.warnings() == []


def test_a_line_a_step_becomes_a_curve_with_a_bounded_number_of_points_and_its_end(tmp_path, llama):
    path, found = tmp_path / "progress.jsonl", []
    lines = [json.dumps({"tokens": n, "loss": 1 / n}) for n in range(1, 20_001)]
    path.write_text("\n".join(lines))
    curves_of(path, llama, found, budget=20_000, rungs=(20_000,)).look(ended=True)
    assert POINTS <= len(found) <= POINTS + 2
    assert found[-1] == (20_000, {"train/loss": 5e-5})


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.dictionaries(
                st.sampled_from(["tokens", "examples", "loss", "x", "?"]),
                st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans()),
            ).map(lambda line: json.dumps(line).encode()),
        )
    )
)
@pytest.mark.fault("N2")
def test_whatever_a_trainer_writes_only_finite_figures_come_through(tmp_path_factory, lines):
    path, found = tmp_path_factory.mktemp("progress") / "progress.jsonl", []
    path.write_bytes(b"\n".join(lines))
    model = ModelRef(name="m", path="", digest="")
    try:
        curves_of(path, model, found).look(ended=True)
    except TrialFailure as failure:
        assert failure.cause == "nan"
    for tokens, values in found:
        assert 0 <= tokens <= 10**15
        assert values and all(np.isfinite(v) for v in values.values())


def test_python_is_the_interpreter_of_keepgain_and_scripts_lie_beside_the_spec(tmp_path):
    (tmp_path / "train.py").write_text("")
    (tmp_path / "run.sh").write_text("")

    def words(*command: str) -> list[str]:
        return words_of(TrainerRef(command=command, path=str(tmp_path)))

    assert words("python", "train.py", "x") == [sys.executable, str(tmp_path / "train.py"), "x"]
    assert words("torchrun", "train.py") == ["torchrun", str(tmp_path / "train.py")]
    assert words("run.sh") == [str(tmp_path / "run.sh")]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", DOCS.read_text(), re.DOTALL)


def test_the_documented_configuration_is_a_real_one_and_complete():
    (text,) = blocks("json")
    shown = json.loads(text)
    assert shown.pop("seed") == 0
    assert shown.keys() == TrialConfig.model_fields.keys(), "describe it in docs/trainers.md"
    TrialConfig.model_validate(shown)
    (spec,) = blocks("yaml")
    assert yaml.safe_load(spec)["trainer"]["command"] == ["python", "train.py"]


def test_the_documented_wrappers_write_yaml_for_the_trial(tmp_path, llama):
    trl, *wrappers = blocks("python")
    compile(trl, "trl", "exec")
    assert len(wrappers) == 2
    for name, text in zip(("axolotl", "llamafactory-cli"), wrappers, strict=True):
        folder = tmp_path / name
        folder.mkdir()
        config = tiny.trial(folder, llama, method="lora")
        (folder / "c.json").write_text(json.dumps(config.model_dump(mode="json") | {"seed": 5}))
        (folder / "wrapper.py").write_text(text)
        (folder / name).write_text('#!/bin/sh\ncp "$2" written.yaml\n')
        (folder / name).chmod(0o755)
        subprocess.run(
            [sys.executable, "wrapper.py", "--config", "c.json", "--output", "out"],
            cwd=folder,
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
            check=True,
        )
        written = yaml.safe_load((folder / "written.yaml").read_text())
        assert llama.path in written.values()
        assert (written["output_dir"], written["seed"]) == ("out", 5)
        assert written["learning_rate"] == config.learning_rate
        assert config.sources[0].path in json.dumps(written) or (
            config.sources[0].path in (folder / "dataset_info.json").read_text()
        )
