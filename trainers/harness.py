"""Tasks of lm-evaluation-harness: found, read, and known by their content. Free of torch.

The package is imported where it is used: it takes seconds.
"""

import hashlib
import inspect
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext, redirect_stderr
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.identity import file_digest
from keepgain.core.rows import Row

PACKAGE = "lm-eval"
_FROM_WHERE = ("dataset_path", "dataset_name", "dataset_kwargs", "custom_dataset", "metadata")
"""Keys of a task that say where its documents come from; the documents count themselves."""

Tasks = Mapping[str, Any]
"""Name of each single task → the harness's object."""


@cache
def load_tasks(name: str, folder: str = "", num_fewshot: int | None = None) -> Tasks:
    """The task of that name, or the tasks of a group, with their documents.

    Args:
        folder: Of YAML files that are looked at before the package's own; relative `data_files`
            in them start here.
        num_fewshot: Instead of the task's own number.

    Raises:
        UserError: The package is missing; no such task; its documents cannot be had; a task that
            needs images or runs what the model writes.
    """
    if find_spec("lm_eval") is None:
        raise UserError(
            f"tasks of lm-evaluation-harness need the package {PACKAGE}, which is not there.",
            hint="Install it: `pip install 'keepgain[lm-eval]'`.",
        )
    from lm_eval.tasks import TaskManager

    with quiet(), chdir(folder) if folder else nullcontext():
        manager = TaskManager(include_path=folder or None, include_defaults=False)
        if name not in manager.all_tasks:
            own = _package_folders(name)
            if not own:
                raise UserError(
                    f"lm-eval {version(PACKAGE)} has no task '{name}'"
                    + (f", and {folder} none either." if folder else "."),
                    hint="`lm-eval ls tasks` lists them.",
                )
            paths = [*own, *([folder] if folder else [])]
            manager = TaskManager(include_path=paths, include_defaults=False)
        try:
            tasks: dict[str, Any] = dict(manager.load([name])["tasks"])
        except Exception as error:  # whatever YAML, its functions, `datasets` and a hub do
            said = " ".join(str(error).split())
            raise UserError(
                f"the task '{name}' cannot be loaded ({type(error).__name__}: {said:.200}).",
                hint="Its data must be on this machine: give YAML with local data (`include`), or "
                "fill the cache of `datasets` where a hub can be reached.",
            ) from None
    for single, task in tasks.items():
        _refuse_unfit(single, task)
        _set_fewshot(single, task, num_fewshot)
    return tasks


def full_metric(tasks: Tasks, wanted: str) -> str:
    """The metric with its filter, `acc,none`.

    Raises:
        UserError: It is no mean over items that is better the higher it is, or has several filters.
    """
    from lm_eval.api.metrics import mean

    found: str | None = None
    for name, task in tasks.items():
        better = task.higher_is_better()
        filters = [each.name for each in getattr(task, "_filters", ())] or ["none"]
        usable = [
            f"{metric},{filter_}"
            for metric, total in task.aggregation().items()
            if total is mean and better.get(metric)
            for filter_ in filters
        ]
        fitting = [u for u in usable if wanted in (u, u.partition(",")[0])]
        if len(fitting) != 1:
            asked = "has several filters" if fitting else "is no mean of item scores"
            known = fitting or usable
            raise UserError(
                f"the metric '{wanted}' of task '{name}' {asked}.",
                hint=f"Usable: {', '.join(known)}." if known else "None of this task's is.",
            )
        found = fitting[0]
    assert found is not None, "a group has tasks"
    return found


def item_rows(tasks: Tasks) -> list[Row]:
    """The documents that the tasks score, as rows; the id is `TASK/INDEX`.

    Raises:
        UserError: What the task says of its documents does not fit one of them.
    """
    rows = []
    for name, task in tasks.items():
        for index, document in enumerate(task.eval_docs):
            try:
                rows.append(_row(name, task, index, document))
            except Exception as error:  # whatever templates and functions of the task raise
                said = " ".join(str(error).split())
                raise UserError(
                    f"document {index} of the task '{name}' is no item "
                    f"({type(error).__name__}: {said:.200}).",
                    hint="See `doc_to_text`, `doc_to_target` and `doc_to_choice` of the task.",
                ) from None
    return rows


def content_digest(tasks: Tasks) -> str:
    """SHA-256 over the package's version, what the YAML says, the modules of its functions, and
    all documents, those of worked examples included; not over where they lie."""
    digest = hashlib.sha256(version(PACKAGE).encode())
    for name, task in tasks.items():
        config = {k: v for k, v in vars(task.config).items() if k not in _FROM_WHERE}
        shots = task.fewshot_docs() if task.config.num_fewshot else ()
        for part in (name, type(task), config, *task.eval_docs, "worked examples", *shots):
            text = json.dumps(part, sort_keys=True, ensure_ascii=False, default=_known_by)
            digest.update(text.encode() + b"\n")
    return digest.hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """The harness draws bars and warns of what is meant; its errors are raised all the same."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)


def _row(name: str, task: Any, index: int, doc: dict[str, Any]) -> Row:
    asked, target = task.doc_to_text(doc), task.doc_to_target(doc)
    choices: tuple[str, ...] = ()
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = tuple(map(str, task.doc_to_choice(doc)))
        # Where the choices stand before a common end, the text is the index of the right one.
        right = asked if isinstance(asked, int) else target
        target = choices[right] if isinstance(right, int) and right < len(choices) else right
    if not isinstance(asked, str) or not asked.strip():
        asked = json.dumps(doc, sort_keys=True, ensure_ascii=False, default=str)
    return Row(f"{name}/{index}", "pair", prompt=asked, answer=str(target), choices=choices)


def _refuse_unfit(name: str, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise UserError(
            f"the task '{name}' runs the code that the model writes, and the harness has no "
            "sandbox for it.",
            hint="Give its rows as a suite with `scorer: program`.",
        )
    if getattr(task, "MULTIMODAL", False):
        raise UserError(f"the task '{name}' shows images or sound; models here read text alone.")


def _set_fewshot(name: str, task: Any, wanted: int | None) -> None:
    """As the harness's own command does, except that it ignores what we refuse."""
    own = task.config.num_fewshot
    if wanted is not None and own == 0 and wanted != 0:
        raise UserError(
            f"the task '{name}' is without worked examples by its own YAML.",
            hint="Leave `num_fewshot` out.",
        )
    task.set_config(key="num_fewshot", value=(own or 0) if wanted is None else wanted)


def _package_folders(name: str) -> list[str]:
    """Folders of the package with a task or group of that name; to index all of it takes 15 s."""
    spec = find_spec("lm_eval.tasks")
    assert spec is not None and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    line = re.compile(rf"^[\"']?(?:task|group)[\"']?:\s*[\"']?{re.escape(name)}[\"']?\s*$", re.M)
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    return [
        str(f) for f in folders if any(line.search(p.read_text("utf-8")) for p in f.rglob("*.yaml"))
    ]


def _known_by(value: Any) -> Any:
    """What is no JSON: a function or class by the content of its module, anything else as it is
    written."""
    if callable(value):
        try:
            file = inspect.getsourcefile(value)
        except TypeError:  # e.g. functools.partial
            return [_known_by(value.func), value.args, value.keywords] if _is_partial(value) else ""
        return [getattr(value, "__qualname__", ""), file and file_digest(Path(file))]
    return vars(value) if hasattr(value, "__dict__") else str(value)


def _is_partial(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("func", "args", "keywords"))
