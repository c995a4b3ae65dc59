"""Tokens of all rows, and the training budget that follows from them."""

from collections.abc import Mapping

from keepgain.core.config import BudgetUnit
from keepgain.core.errors import UserError
from keepgain.core.rows import StoredRows
from keepgain.sweeps.gates.tokens import FolderTokenizer, TokenStats, token_stats
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.sources import SPLITS, Source
from keepgain.sweeps.suites import Suite

DEFAULT_EPOCHS = 3.0


def count_tokens(
    loaded: LoadedSpec,
    tokenizers: Mapping[str, FolderTokenizer],
    sources: Mapping[str, Source],
    suites: Mapping[str, Suite],
    filtered: Mapping[str, StoredRows] | None = None,
) -> dict[tuple[str, str], TokenStats]:
    """Lengths of every file for every model: (model, `NAME/split`) → lengths; `filtered` has more
    of them by their labels.

    Each file is counted once per distinct tokenizer. Answers that a base is yet to write count as
    the most that they may have.
    """
    files = {f"{source.name}/train": source.train.rows for source in sources.values()}
    for suite in suites.values():
        files |= {f"{suite.name}/{split}": suite.items(split).rows for split in SPLITS}
    files |= filtered or {}
    unwritten = {f"{s.name}/train": s.answers.max_new_tokens for s in sources.values() if s.answers}
    known: dict[tuple[str, str], TokenStats] = {}
    result: dict[tuple[str, str], TokenStats] = {}
    for model, tokenizer in tokenizers.items():
        for label, rows in files.items():
            key = (tokenizer.key, label)
            if key not in known:
                longest = loaded.spec.training.max_length
                known[key] = token_stats(tokenizer, rows, longest, unwritten.get(label, 0))
            result[model, label] = known[key]
    return result


def plan_budget(
    loaded: LoadedSpec,
    sources: Mapping[str, Source],
    stats: Mapping[tuple[str, str], TokenStats],
    model: str,
    one_tokenizer: bool,
) -> tuple[int, BudgetUnit]:
    """The training budget: in tokens within one tokenizer, in examples across several.

    Args:
        model: Whose tokens are counted, where all models have the same.

    Raises:
        UserError: A budget in tokens across tokenizers, or in epochs without a task.
    """
    training = loaded.spec.training
    if training.budget_examples is not None:
        return training.budget_examples, "examples"
    if training.budget_tokens is not None:
        if not one_tokenizer:
            raise UserError(
                "the models have different tokenizers, so a token is not the same for all.",
                where=loaded.where("training.budget_tokens"),
                hint="Use `budget_examples` or `epochs`.",
            )
        return training.budget_tokens, "tokens"
    task = [s for s in sources.values() if s.role == "task"]
    if not task:
        raise UserError(
            "a budget in epochs counts the training rows of the task, and no source is a task.",
            where=loaded.where("training"),
            hint="Give `budget_tokens` or `budget_examples`, or a source with `role: task`.",
        )
    epochs = training.epochs or DEFAULT_EPOCHS
    if one_tokenizer:
        amount = sum(stats[model, f"{s.name}/train"].tokens for s in task)
        return max(1, round(epochs * amount)), "tokens"
    return max(1, round(epochs * sum(len(s.train.rows) for s in task))), "examples"
