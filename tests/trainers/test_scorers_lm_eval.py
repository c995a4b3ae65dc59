"""Item scores of harness tasks are those of the harness itself, bit for bit."""

import copy
import random
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from keepgain.core.config import ModelRef
from keepgain.core.errors import UserError
from keepgain.core.scorer_options import HarnessTask, ScorerOptions
from keepgain.trainers.harness import content_digest, full_metric, item_rows, load_tasks
from keepgain.trainers.models import load_model
from keepgain.trainers.reference import Prompting
from keepgain.trainers.scorers.lm_eval import item_score
from keepgain.trainers.scoring import SuiteResult, score_suite
from keepgain.trainers.suites import prepare_suite
from keepgain.trainers.tokens import Codec, load_codec
from tests.harness_tasks import COUNT, write_tasks
from tests.trainers import tiny

pytest.importorskip("lm_eval")
PLAIN = Prompting()
FEW = [3, 4, 8, 11, 17, 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("lm_eval") / "tasks")


@pytest.fixture(scope="module")
def model(llama: ModelRef) -> nn.Module:
    return load_model(llama.path, torch.float32)


@pytest.fixture(scope="module")
def codec(llama: ModelRef) -> Codec:
    return load_codec(llama.path, "tiny", 1000)


def scored(
    folder: Path,
    model: nn.Module,
    codec: Codec,
    task: str,
    metric: str,
    *,
    only: list[int] | None = None,
    prompting: Prompting = PLAIN,
    **asked: Any,
) -> SuiteResult:
    tasks = load_tasks(task, str(folder), asked.get("num_fewshot"))
    rows = item_rows(tasks)
    rows = rows if only is None else [rows[i] for i in only]
    resolved = HarnessTask(
        task=task,
        metric=full_metric(tasks, metric),
        digest=content_digest(tasks),
        **asked,
    )
    options = ScorerOptions(path=str(folder), lm_eval=resolved)
    suite = tiny.suite(folder, task, rows, "lm_eval", options=options)
    items = prepare_suite(codec, suite, rows, prompting, 256)
    return score_suite(model, codec, items, 8, 0)


def theirs(
    folder: Path, model: nn.Module, codec: Codec, task: str, only: list[int], **asked: Any
) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with chdir(folder):
        found: dict[str, Any] = simple_evaluate(
            model=HFLM(model, tokenizer=copy.deepcopy(codec.tokenizer), batch_size=8),
            tasks=[task],
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            samples={task: only},
            bootstrap_iters=0,
            **asked,
        )
    return found


@pytest.mark.parametrize(
    ("task", "metric", "full"),
    [
        ("pick", "acc_norm", "acc_norm,none"),
        ("echo", "exact_match,letter", "exact_match,letter"),
        ("cloze", "acc", "acc,none"),
    ],
)
def test_items_and_mean_are_those_of_the_harness(folder, model, codec, task, metric, full):
    result = scored(folder, model, codec, task, metric, only=FEW)
    found = theirs(folder, model, codec, task, FEW)
    name, _, kind = full.partition(",")
    samples = [s for s in found["samples"][task] if s["filter"] == kind]
    assert [s["doc_id"] for s in samples] == FEW
    assert result.scores.values.tolist() == [s[name] for s in samples]
    assert result.scores.mean == found["results"][task][full]
    assert 0 < result.scores.mean < 1
    assert result.scores.item_ids.tolist() == [f"{task}/{i}" for i in FEW]


def test_a_number_of_examples_of_the_users_own_is_what_the_harness_makes_of_it(
    folder, model, codec
):
    result = scored(folder, model, codec, "pick", "acc_norm", only=FEW, num_fewshot=4)
    found = theirs(folder, model, codec, "pick", FEW, num_fewshot=4)
    assert result.scores.values.tolist() == [s["acc_norm"] for s in found["samples"]["pick"]]


def test_turns_of_a_chat_template_are_those_of_the_harness(folder, qwen3, codec, model):
    chat = load_codec(qwen3.path, "chat", 1000)
    tuned = load_model(qwen3.path, torch.float32)
    result = scored(folder, tuned, chat, "pick", "acc_norm", chat_template=True)
    template = {"apply_chat_template": True, "fewshot_as_multiturn": True}
    found = theirs(folder, tuned, chat, "pick", list(range(COUNT)), **template)
    values = [s["acc_norm"] for s in found["samples"]["pick"]]
    assert result.scores.values.tolist() == values
    assert values != scored(folder, tuned, chat, "pick", "acc_norm").scores.values.tolist()
    with pytest.raises(UserError, match="has no chat template"):
        scored(folder, model, codec, "pick", "acc_norm", chat_template=True)


def test_a_groups_items_are_those_of_its_tasks(folder, model, codec):
    both = scored(folder, model, codec, "both", "acc")
    apart = [scored(folder, model, codec, task, "acc") for task in ("pick", "cloze")]
    assert both.scores.item_ids.tolist() == [i for r in apart for i in r.scores.item_ids]
    assert both.scores.values.tolist() == [v for r in apart for v in r.scores.values]
    assert len(both.scores.values) == 2 * COUNT


def test_what_an_arm_puts_before_a_question_is_the_harness_system_instruction(folder, model, codec):
    heeding = copy.deepcopy(model)
    with torch.no_grad():  # a model that nobody trained hardly looks back
        for name, weight in heeding.named_parameters():
            if "self_attn" in name:
                weight.mul_(30)
    plain = scored(folder, heeding, codec, "pick", "acc_norm").scores.values.tolist()
    shots = tuple({"prompt": f"{i} ", "answer": "no: no"} for i in range(3))
    arms = {
        "a word: 1 2 3": Prompting("system_prompt", system_prompt="a word: 1 2 3"),
        "0 no: no\n\n1 no: no\n\n2 no: no": Prompting("few_shot", few_shot=shots),
    }
    for text, arm in arms.items():
        values = scored(folder, heeding, codec, "pick", "acc_norm", prompting=arm).scores.values
        found = theirs(folder, heeding, codec, "pick", list(range(COUNT)), system_instruction=text)
        assert values.tolist() == [s["acc_norm"] for s in found["samples"]["pick"]]
        assert values.tolist() != plain


def test_scoring_leaves_the_model_the_tokenizer_and_what_is_drawn_next_as_they_were(
    folder, model, codec
):
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    assert codec.tokenizer.pad_token is None
    random.seed(5)
    torch.manual_seed(5)
    expected = random.Random(5).random(), torch.rand(1, generator=torch.manual_seed(5))
    torch.manual_seed(5)
    scored(folder, model, codec, "echo", "exact_match,strict", only=FEW)
    assert (random.random(), torch.rand(1)) == expected
    assert codec.tokenizer.pad_token is None
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_an_unmerged_adapter_scores_as_the_harness_scores_it_merged(folder, llama, codec):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(load_model(llama.path, torch.float64), config).eval()
    unmerged = scored(folder, adapted, codec, "pick", "acc_norm")
    merged = theirs(folder, adapted.merge_and_unload(), codec, "pick", list(range(COUNT)))
    values = unmerged.scores.values.tolist()
    assert values == [s["acc_norm"] for s in merged["samples"]["pick"]]
    assert 0 < unmerged.scores.mean < 1


def test_a_task_that_has_changed_since_is_refused(folder, model, codec, tmp_path):
    own = write_tasks(tmp_path / "tasks")
    rows = item_rows(load_tasks("pick", str(own)))
    asked = HarnessTask(task="pick", metric="acc,none", digest="of something else")
    options = ScorerOptions(path=str(own), lm_eval=asked)
    suite = tiny.suite(tmp_path, "s", rows, "lm_eval", options=options)
    items = prepare_suite(codec, suite, rows, Prompting(), 256)
    with pytest.raises(UserError, match="not the one that this sweep was prepared with"):
        score_suite(model, codec, items, 8, 0)


def test_a_value_that_is_no_share_is_refused():
    row = tiny.sums(1)[0]
    asked = ScorerOptions(lm_eval=HarnessTask(task="t", metric="bleu,none"))
    assert item_score(0.25, row, asked) == 0.25
    with pytest.raises(UserError, match=r"'bleu,none' is 12.5 of item 'sum0', .* in \[0, 1\]"):
        item_score(12.5, row, asked)
