"""What is read from PEFT's source is what PEFT says of itself."""

import dataclasses
import subprocess
import sys

import pytest
from peft import PromptLearningConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from keepgain.core.config import PeftSettings
from keepgain.core.errors import UserError
from keepgain.trainers.peft_options import REFUSED, check_peft, tuners

CLASSES = {kind.value: cls for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def test_tuners_and_options_are_those_of_the_library():
    fields = {
        name: {f.name for f in dataclasses.fields(cls) if f.init} for name, cls in CLASSES.items()
    }
    assert {name: set(options) for name, options in tuners().items()} == fields


def test_tuners_with_virtual_tokens_are_refused_and_nothing_that_is_gone():
    virtual = {name for name, cls in CLASSES.items() if issubclass(cls, PromptLearningConfig)}
    assert virtual < REFUSED.keys() <= CLASSES.keys()


def test_the_check_is_without_torch():
    code = (
        "import sys, keepgain.trainers.peft_options as p; assert p.tuners(); "
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "where", "problem", "hint"),
    [
        ({"type": "VERRA"}, "peft.type", "no tuner 'VERRA'", "Did you mean VERA"),
        ({"type": "quite other"}, "peft.type", "no tuner", "Usable: "),
        ({"type": "lora"}, "peft.type", "LORA is reached by its own name", "IA3"),
        ({"type": "AdaLoRA"}, "peft.type", "number of steps", "VERA"),
        ({"type": "VERA", "target_module": "x"}, "peft.target_module", "VERA", "target_modules"),
        ({"type": "IA3", "zzz": 1}, "peft.zzz", "no option 'zzz'", "feedforward_modules"),
        ({"type": "IA3", "task_type": "X"}, "peft.task_type", "set by Keepgain", ""),
    ],
)
def test_a_wrong_tuner_or_option_is_named_with_what_there_is(given, where, problem, hint):
    with pytest.raises(UserError) as refused:
        check_peft(PeftSettings.model_validate(given), "peft")
    assert refused.value.where == where
    assert problem in refused.value.problem
    assert hint in (refused.value.hint or "")


def test_options_may_be_nested():
    given = {"type": "LOHA", "r": 4, "rank_pattern": {"q_proj": 8}, "target_modules": ["q_proj"]}
    settings = PeftSettings.model_validate(given)
    check_peft(settings, "peft")
    assert settings.options["rank_pattern"] == {"q_proj": 8}
    assert PeftSettings.model_validate_json(settings.model_dump_json()) == settings
