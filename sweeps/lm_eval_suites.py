"""Suites whose items are documents of a task of lm-evaluation-harness."""

import hashlib
from collections.abc import Sequence

from keepgain.core.errors import UserError
from keepgain.core.paths import expanded
from keepgain.core.rows import Row
from keepgain.core.scorer_options import HarnessTask, ScorerOptions
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.spec_scorer import LmEvalSpec
from keepgain.trainers.harness import content_digest, full_metric, item_rows, load_tasks


def read_task(
    loaded: LoadedSpec, suite: str, asked: LmEvalSpec
) -> tuple[dict[int, Row], ScorerOptions]:
    """The documents that are scored by their number from 1, in the task's order, and what a worker
    needs to score them.

    Raises:
        UserError: The folder, the task, its data or its metric cannot be used; the place is the
            suite's key.
    """
    where = loaded.where(f"suites.{suite}.lm_eval")
    folder = _folder(loaded, where, asked.include)
    try:
        tasks = load_tasks(asked.task, folder, asked.num_fewshot)
        metric = full_metric(tasks, asked.metric)
        items = item_rows(tasks)
    except UserError as error:
        raise UserError(error.problem, where=where, hint=error.hint) from None
    shots = {task.config.num_fewshot for task in tasks.values()}
    resolved = HarnessTask(
        task=asked.task,
        metric=metric,
        # Those of a group may differ; each has its own then.
        num_fewshot=shots.pop() if len(shots) == 1 else None,
        chat_template=asked.chat_template,
        digest=content_digest(tasks),
    )
    return _some(items, asked.limit), ScorerOptions(path=folder, lm_eval=resolved)


def _folder(loaded: LoadedSpec, where: str, include: str | None) -> str:
    """Absolute; empty where none is given."""
    if include is None:
        return ""
    given = expanded(include, where)
    folder = given if given.is_absolute() else loaded.folder / given
    if not folder.is_dir():
        raise UserError(
            f"no such folder: {folder}.",
            where=where,
            hint="`include` is the folder of the task's YAML; it starts at the spec's folder.",
        )
    return str(folder.resolve())


def _some(rows: Sequence[Row], limit: int | None) -> dict[int, Row]:
    """Number from 1 → row of so many rows in their order, chosen by a hash: files are often sorted
    by subject, so that the first ones are no sample."""
    ranks = sorted(range(len(rows)), key=lambda i: hashlib.sha256(rows[i].id.encode()).digest())
    return {i + 1: rows[i] for i in sorted(ranks[:limit])}
