"""Ready-made suites: `forgetting: {preset: general}` stands for one suite of each task below."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from keepgain.core.config import Measures
from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel, parse

LIMIT = 800
"""Documents of a task. Halved into validation and test: where 1 item in 10 flips between base and
tuned model, a paired difference over 400 items is known to 1.96 · sqrt(0.1 / 400) = 3.1 points."""


@dataclass(frozen=True)
class PresetTask:
    """One task of a preset."""

    task: str
    """As lm-evaluation-harness names it."""
    metric: str
    capability: str
    licence: str
    """Of its data set, as its publisher states it."""
    num_fewshot: int | None = None
    """None: as the task says."""


GENERAL = (
    PresetTask("mmlu", "acc", "knowledge", "MIT", 5),
    PresetTask("hellaswag", "acc_norm", "common sense", "MIT"),
    PresetTask("winogrande", "acc", "common sense", "CC BY"),
    PresetTask("arc_challenge", "acc_norm", "reasoning", "CC BY-SA 4.0"),
    PresetTask("gsm8k", "exact_match,flexible-extract", "mathematics", "MIT"),
    PresetTask("boolq", "acc", "reading", "CC BY-SA 3.0"),
    PresetTask("ifeval", "prompt_level_strict_acc", "following instructions", "Apache 2.0"),
)
"""Where the literature on continual fine-tuning looks for forgetting: HellaSwag, ARC challenge and
WinoGrande (Biderman et al. 2024, arXiv 2405.09673), MMLU, BoolQ and GSM8K (TRACE; Wang et al. 2023,
arXiv 2310.06762), IFEval (Zhou et al. 2023, arXiv 2311.07911). No code: the harness would run what
the model writes without a sandbox; `scorer: program` has one."""
PRESETS: dict[str, tuple[PresetTask, ...]] = {"general": GENERAL}


class PresetSuite(StrictModel):
    """A suite of the spec that stands for several."""

    preset: Literal["general"]
    measures: Measures | None = None
    """Of each; default: by the suite's name."""
    include: str | None = None
    """Folder of YAML that is looked at first, e.g. the same tasks over local data."""
    limit: Annotated[int, Field(ge=1)] = LIMIT
    """Documents of a task, in both splits together."""


class _Presets(StrictModel):
    suites: dict[str, PresetSuite]


def expand_presets(
    raw: Mapping[str, Any], lines: Mapping[str, int], source: str
) -> tuple[dict[str, Any], dict[str, int]]:
    """The spec with `NAME_TASK` for each task in the place of a suite with a preset.

    Returns:
        The mapping, and the lines of its keys: a suite of a preset stands where the preset does.

    Raises:
        UserError: An unknown preset or key, or a suite of the same name.
    """
    suites = raw.get("suites")
    if not isinstance(suites, dict):
        return dict(raw), dict(lines)
    given = {n: s for n, s in suites.items() if isinstance(s, dict) and "preset" in s}
    presets = parse(_Presets, {"suites": given}, source=source, lines=lines).suites
    expanded: dict[str, Any] = {}
    placed = dict(lines)
    for name, suite in suites.items():
        for new, content in _suites(name, presets[name]) if name in presets else [(name, suite)]:
            key = f"suites.{name}"
            if new in expanded or (new != name and new in suites):
                raise UserError(
                    f"the preset makes a suite '{new}', and there is one.",
                    where=f"{source}:{key}" + (f" (line {lines[key]})" if key in lines else ""),
                    hint="Rename one of them.",
                )
            expanded[new] = content
            if key in lines:
                placed.setdefault(f"suites.{new}", lines[key])
    return {**raw, "suites": expanded}, placed


def _suites(name: str, suite: PresetSuite) -> list[tuple[str, dict[str, Any]]]:
    beside = {} if suite.measures is None else {"measures": suite.measures}
    return [
        (f"{name}_{task.task}", {"lm_eval": _task(task, suite), **beside})
        for task in PRESETS[suite.preset]
    ]


def _task(task: PresetTask, suite: PresetSuite) -> dict[str, Any]:
    given = {"num_fewshot": task.num_fewshot, "include": suite.include}
    return {
        "task": task.task,
        "metric": task.metric,
        "limit": suite.limit,
        **{name: value for name, value in given.items() if value is not None},
    }
