"""What readers of scores learn from the registry."""

import subprocess
import sys

import pytest

from keepgain.core.config import SuiteRef
from keepgain.core.errors import UserError
from keepgain.core.schema import parse
from keepgain.core.scorers import (
    SCORERS,
    SHARE,
    in_points,
    metric_of,
    scorer,
    unit_of,
    users_function,
)


def test_right_or_wrong_and_other_scores_up_to_1_are_told_in_points() -> None:
    told = {name for name in SCORERS if in_points(name)}
    falling = {"bits_per_byte", "perplexity", "kl_from_base", "brier"}
    falling |= {"classification_brier"}
    neutral = {"signed_confidence", "classification_signed_confidence", "answer_length_ratio"}
    neutral |= {"canary_bits"}
    assert told == SCORERS.keys() - falling - neutral
    assert all(metric_of(n).direction == "minimize" for n in falling)
    assert all(scorer(n).neutral for n in neutral)
    assert all(in_points(n) for n in SCORERS if unit_of(n) == SHARE)
    assert not in_points("") and unit_of("") == ""


def test_a_users_scorer_says_its_direction_in_its_name() -> None:
    up, down = "pack.mod:score", "pack.mod:score (lower is better)"
    assert (metric_of(up).sign, metric_of(down).sign) == (1.0, -1.0)
    assert users_function(up) == users_function(down) == "pack.mod:score"
    assert scorer(down).generates and not in_points(down)
    assert users_function("exact_match") is None


@pytest.mark.parametrize("name", ["accuracy", "a:b:c", "1a:f", "a:f (higher)", "a.b", ":f", "a: f"])
def test_what_is_no_scorer_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"unknown scorer .*'exact_match'.*module:function"):
        scorer(name)
    fields = {"name": "s", "measures": "gain", "split": "test", "path": "", "digest": ""}
    with pytest.raises(UserError, match="suite:scorer: unknown scorer"):
        parse(SuiteRef, {**fields, "items": 1, "scorer": name}, source="suite")


def test_the_spec_and_its_scorers_load_without_torch_or_a_metric_library() -> None:
    heavy = "torch transformers sacrebleu rouge_score nltk sklearn"
    code = (
        "import sys, keepgain.sweeps.spec\n"
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
