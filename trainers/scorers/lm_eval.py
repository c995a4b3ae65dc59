"""Items of tasks of lm-evaluation-harness, scored by its own evaluator on the model in memory."""

import copy
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.harness import content_digest, load_tasks, quiet
from keepgain.trainers.reference import Prompting
from keepgain.trainers.suites import SuiteItems
from keepgain.trainers.tokens import Codec

SEED = 1234
"""The harness's own default, of worked examples and of whatever else it draws."""


def item_score(value: float, row: Row, options: ScorerOptions) -> float:
    """The harness's value itself.

    Raises:
        UserError: It is not in [0, 1], so it is no share and cannot be averaged with shares.
    """
    if not 0 <= value <= 1:
        metric = options.lm_eval.metric if options.lm_eval else ""
        raise UserError(
            f"the metric '{metric}' is {value:g} of item '{row.id}', and must be in [0, 1].",
            hint="Use another metric of the task.",
        )
    return value


def item_values(
    model: nn.Module,
    codec: Codec,
    items: SuiteItems,
    batch_size: int,
) -> list[float]:
    """What `lm_eval.evaluate` gives each item's document, in the order of the rows.

    What an arm puts before a question stands before the task's own worked examples, as the
    harness's `system_instruction`; the arm `context` has nothing to put there.

    Args:
        items: Rows of `harness.item_rows`, or some of them; the task is in the suite's options.

    Raises:
        UserError: The task is not what it was when the suite was prepared; no chat template.
        TrialFailure: `incomplete_scores`, if the task leaves an item out.
    """
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    suite, rows = items.suite, items.rows
    options = suite.options
    assert options is not None and options.lm_eval is not None, "the spec gives it"
    asked = options.lm_eval
    tasks = load_tasks(asked.task, options.path, asked.num_fewshot)
    if content_digest(tasks) != asked.digest:
        raise UserError(
            f"the task '{asked.task}' is not the one that this sweep was prepared with.",
            where=f"suite '{suite.name}'",
            hint="Put its YAML and data back, or start the sweep anew.",
        )
    if asked.chat_template and not codec.has_template:
        raise UserError(
            f"the tokenizer of '{codec.name}' has no chat template.",
            where=f"suite '{suite.name}'",
            hint="Leave `chat_template` out.",
        )
    wanted: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        name, _, index = row.id.rpartition("/")
        wanted[name].append(int(index))
    samples = {name: sorted(indices) for name, indices in wanted.items()}
    used = {name: tasks[name] for name in samples}
    for task in used.values():
        task.set_fewshot_seed(SEED)
    with quiet(), _drawing_apart(), torch.inference_mode():
        # The harness gives a tokenizer a padding token; ours stays as it is.
        tokenizer = copy.deepcopy(codec.tokenizer)
        harness = HFLM(model, backend="causal", tokenizer=tokenizer, batch_size=batch_size)
        found = evaluate(
            harness,
            {"tasks": used},
            samples=samples,
            bootstrap_iters=0,
            system_instruction=_before(items.prompting),
            apply_chat_template=asked.chat_template,
            fewshot_as_multiturn=asked.chat_template,
        )
    metric, _, kind = asked.metric.partition(",")
    values = {
        f"{name}/{sample['doc_id']}": float(sample[metric])
        for name in used
        for sample in found["samples"][name]
        if sample["filter"] == kind and metric in sample
    }
    missing = [row.id for row in rows if row.id not in values]
    if missing:
        raise TrialFailure(
            "incomplete_scores",
            f"the task gives {len(missing)} of {len(rows)} items of suite '{suite.name}' no "
            f"'{metric}', first item '{missing[0]}'",
        )
    return [values[row.id] for row in rows]


def _before(prompting: Prompting) -> str | None:
    if prompting.arm == "system_prompt":
        return prompting.system_prompt
    if prompting.arm == "few_shot":
        return "\n\n".join(f"{shot['prompt']}{shot['answer']}" for shot in prompting.few_shot)
    return None


@contextmanager
def _drawing_apart() -> Iterator[None]:
    """Seeds as the harness's own command sets them, for the time of the context: a training that
    goes on afterwards draws as if nothing had been scored."""
    before, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(0)
        np.random.seed(SEED)
        torch.manual_seed(SEED)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(of_numpy)
