"""Which of a user's DeepSpeed settings go on, and what is said of the others."""

import os
import subprocess
import sys

import pytest

from keepgain.core.errors import UserError
from keepgain.trainers.deepspeed_settings import Own, merged, passed_on

OWN = {
    "train_batch_size": Own("s.yaml:training.batch_size (line 3)", 16, "16"),
    "zero_optimization.stage": Own("s.yaml:training.zero_stage (line 4)", 2, "2"),
    "optimizer.type": Own("its optimizer", "AdamW", "AdamW"),
    "optimizer.params.lr": Own("s.yaml:space.learning_rate (line 9)", None, "searched"),
    "optimizer.params.betas": Own("its optimizer", [0.9, 0.999], "AdamW"),
    "bf16.enabled": Own("s.yaml:training.dtype (line 5)", False, "float32"),
    "fp16.enabled": Own("s.yaml:training.dtype (line 5)", False, "float32"),
    "scheduler.type": Own("s.yaml:training.schedule", "wsd", "wsd"),
}
CPU = {"device": "cpu"}


def test_equal_values_and_auto_are_accepted_for_what_keepgain_sets_and_do_not_go_on():
    given = {
        "train_batch_size": 16,
        "fp16": {"enabled": "auto", "loss_scale": 0, "initial_scale_power": 16},
        "bf16": {"enabled": False},
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": [0.9, 0.999]}},
        "scheduler": {"type": "auto", "params": {"warmup_num_steps": "auto"}},
        "zero_optimization": {"stage": 2, "stage3_param_persistence_threshold": "auto"},
    }
    assert passed_on(given, OWN, 2) == {}


def test_other_settings_go_on_beside_keepgains_own_which_stay():
    given = {
        "zero_optimization": {
            "stage": "auto",
            "reduce_bucket_size": 1000,
            "offload_optimizer": CPU,
        },
        "steps_per_print": 10,
    }
    passed = passed_on(given, OWN, 2)
    zero = {"reduce_bucket_size": 1000, "offload_optimizer": CPU}
    assert passed == {"zero_optimization": zero, "steps_per_print": 10}
    made = merged({"train_batch_size": 16, "zero_optimization": {"stage": 2}}, passed)
    assert made == {
        "train_batch_size": 16,
        "steps_per_print": 10,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {**zero, "stage": 2, "stage3_param_persistence_threshold": 0},
    }


@pytest.mark.parametrize(
    ("given", "stage", "where", "words"),
    [
        (
            {"train_batch_size": 32},
            2,
            "train_batch_size",
            "is 32 here, and Keepgain sets it itself: s.yaml:training.batch_size (line 3) is 16",
        ),
        ({"zero_optimization": {"stage": 3}}, 2, "zero_optimization.stage", "(line 4) is 2"),
        ({"optimizer": {"params": {"lr": 1e-4}}}, 2, "optimizer.params.lr", "is searched"),
        ({"optimizer": {"type": "Lamb"}}, 2, "optimizer.type", "'Lamb' here"),
        ({"optimizer": {"params": {"freeze_step": 3}}}, 2, "optimizer.params.freeze_step", "AdamW"),
        ({"scheduler": {"params": {"warmup": 3}}}, 2, "scheduler.params.warmup", "is wsd"),
        ({"fp16": {"enabled": True}}, 2, "fp16.enabled", "is float32"),
        ({"steps_per_print": "auto"}, 2, "steps_per_print", "nothing resolves this `auto`"),
        (
            {"zero_optimization": {"reduce_bucket_size": "auto"}},
            2,
            "zero_optimization.reduce_bucket_size",
            "DeepSpeed's default",
        ),
        ({"steps_per_prnt": 1}, 2, "steps_per_prnt", "Did you mean `steps_per_print`?"),
        (
            {"zero_optimization": {"offload_optimiser": CPU}},
            2,
            "zero_optimization.offload_optimiser",
            "Did you mean `offload_optimizer`?",
        ),
        ({"wandb": {"enabled": True}}, 2, "wandb", "does not take over"),
        ({"zero_optimization": 2}, 2, "zero_optimization", "must be a mapping"),
        (
            {"zero_optimization": {"offload_param": CPU}},
            2,
            "zero_optimization.offload_param",
            "at ZeRO stage 3, and the stage is 2",
        ),
        (
            {"zero_optimization": {"offload_optimizer": CPU}},
            0,
            "zero_optimization.offload_optimizer",
            "stage 1 or 2 or 3, and the stage is 0",
        ),
        (
            {"zero_optimization": {"offload_optimizer": {"device": "nvme"}}},
            2,
            "zero_optimization.offload_optimizer.device",
            "allowed: cpu, none",
        ),
    ],
)
def test_a_refusal_names_the_key_and_what_to_do(given, stage, where, words):
    with pytest.raises(UserError) as caught:
        passed_on(given, OWN, stage)
    assert caught.value.where == where
    assert words in str(caught.value)
    assert caught.value.hint or "must be" in words or "allowed" in words


READ = """
import os, sys
from deepspeed.runtime.config import DeepSpeedConfig
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from keepgain.trainers import deepspeed_settings as ours

read = set()

class Keys:
    def __contains__(self, key):
        read.add(key)
        return key in given

class Watched(dict):
    def __contains__(self, key):
        read.add(key)
        return dict.__contains__(self, key)
    def get(self, key, default=None):
        read.add(key)
        return dict.get(self, key, default)
    def keys(self):
        return Keys()
    def __copy__(self):
        return self

given = {
    "train_batch_size": 1,
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 1,
    "zero_optimization": {"stage": 2},
}
DeepSpeedConfig(Watched(given))
known = ours.PASSED | ours.OWN | ours.OTHERS | {ours.ZERO}
assert len(read) > 40
assert read <= known, read - known
zero = {field.alias or name for name, field in DeepSpeedZeroConfig.model_fields.items()}
assert zero == ours.ZERO_PASSED | ours.ZERO_OTHERS | set(ours.OFFLOAD_STAGES) | {"stage"}
"""


def test_the_tables_hold_every_key_that_the_installed_deepspeed_reads():
    pytest.importorskip("deepspeed")
    env = {**os.environ, "DS_ACCELERATOR": "cpu", "RANK": "0", "WORLD_SIZE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
