"""`training.deepspeed`: a file or a mapping, beside what the spec itself says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world

OFFLOAD = {"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}


def spec(folder: Path, training: str, settings: Any = None) -> Path:
    path = make_world(folder, models=1)
    if settings is not None:
        (folder / "ds.json").write_text(json.dumps(settings))
    path.write_text(path.read_text() + f"training: {{engine: deepspeed, {training}}}\n")
    return path


def test_settings_of_a_file_reach_the_runtime_and_the_sweeps_id_but_not_the_trials(tmp_path):
    settings = {**OFFLOAD, "train_batch_size": "auto", "gradient_clipping": 1.0}
    keys = "zero_stage: 2"
    given = prepare(load_spec(spec(tmp_path / "a", f"{keys}, deepspeed: ds.json", settings)), None)
    inline = f"deepspeed: {json.dumps(OFFLOAD)}"
    same = prepare(load_spec(spec(tmp_path / "b", f"{keys}, {inline}")), None)
    plain = prepare(load_spec(spec(tmp_path / "c", keys)), None)
    assert given.runtime.deepspeed == OFFLOAD
    assert plain.runtime.deepspeed is None
    # By its content, wherever that stands.
    assert given.sweep_id == same.sweep_id != plain.sweep_id
    params = {"method": "full", "learning_rate": 1e-4, "mixture.tickets": 1.0}
    ids = {p.trial_config("m0", params).trial_id for p in (given, same, plain)}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("training", "settings", "where", "words"),
    [
        (
            "batch_size: 8, deepspeed: ds.json",
            {"train_batch_size": 32},
            "ds.json:train_batch_size",
            "is 32 here, and Keepgain sets it itself: {spec}:training.batch_size (line",
        ),
        (
            "deepspeed: {optimizer: {params: {lr: 1.0e-4}}}",
            None,
            "sweep.yaml:training.deepspeed.optimizer.params.lr (line",
            "{spec}:space.learning_rate (line",
        ),
        (
            "micro_batch_size: 4, deepspeed: {gradient_accumulation_steps: 2}",
            None,
            "sweep.yaml:training.deepspeed.gradient_accumulation_steps (line",
            "is 4 x 4 rows",
        ),
        ("deepspeed: {bf16: {enabled: true}}", None, "bf16.enabled (line", "dtype"),
        ("deepspeed: {zero_optimization: {stage: 3}}", None, "stage (line", "zero_stage"),
        ("deepspeed: none.json", None, "sweep.yaml:training.deepspeed (line", "cannot be read"),
        ("deepspeed: ds.json", [1], "sweep.yaml:training.deepspeed (line", "one JSON object"),
    ],
)
def test_a_conflict_names_both_places_and_both_values(tmp_path, training, settings, where, words):
    path = spec(tmp_path, training, settings)
    with pytest.raises(UserError) as caught:
        load_spec(path)
    assert where in str(caught.value.where)
    assert words.format(spec=path) in str(caught.value)


def test_settings_without_the_engine_are_refused(tmp_path):
    path = make_world(tmp_path, models=1)
    path.write_text(path.read_text() + "training: {deepspeed: {log_level: info}}\n")
    with pytest.raises(UserError, match="`deepspeed` needs `engine: deepspeed`"):
        load_spec(path)


def test_settings_are_checked_without_torch_and_deepspeed(tmp_path):
    path = spec(tmp_path, "deepspeed: {steps_per_prnt: 1}")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from keepgain.core.errors import UserError\n"
        "from keepgain.sweeps.spec import load_spec\n"
        "try:\n"
        f"    load_spec(Path({str(path)!r}))\n"
        "except UserError as error:\n"
        "    print(error)\n"
        "assert not {'torch', 'deepspeed'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Did you mean `steps_per_print`?" in done.stdout
