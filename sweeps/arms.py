"""Reference arms: what a team would do instead of fine-tuning, resolved against the data."""

import random
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from keepgain.core.config import Arm
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.core.rows import Row
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.sources import Source
from keepgain.sweeps.spec_question import ReferenceArm
from keepgain.sweeps.spec_suites import measures_of
from keepgain.sweeps.suites import Suite

DEFAULT_FEW_SHOT = 4


@dataclass(frozen=True)
class ArmSpec:
    """A reference arm, resolved."""

    arm: Arm
    label: str
    system_prompt: str | None = None
    few_shot: tuple[dict[str, str], ...] = ()


PREVIOUS_ROUND = ArmSpec("previous_round", "previous round")
"""The model that a sweep starts from, where an earlier sweep has tuned it."""


def reference_arms(
    loaded: LoadedSpec, sources: Mapping[str, Source], suites: Mapping[str, Suite]
) -> tuple[ArmSpec, ...]:
    """The arms that the spec asks for, or those that its data allow.

    Raises:
        UserError: An arm for which the data have too few examples, or no context.
    """
    wanted = loaded.spec.reference_arms
    if wanted is None:
        wanted = ()
        if examples := _examples(sources, loaded, DEFAULT_FEW_SHOT):
            wanted += (ReferenceArm(few_shot=len(examples)),)
        if _has_context(suites):
            wanted += (ReferenceArm(context=True),)
    return tuple(_arm(loaded, i, arm, sources, suites) for i, arm in enumerate(wanted))


def _arm(
    loaded: LoadedSpec,
    index: int,
    arm: ReferenceArm,
    sources: Mapping[str, Source],
    suites: Mapping[str, Suite],
) -> ArmSpec:
    where = loaded.where(f"reference_arms.{index}")
    if arm.system_prompt is not None:
        return ArmSpec("system_prompt", "base + system prompt", system_prompt=arm.system_prompt)
    if arm.few_shot is not None:
        examples = _examples(sources, loaded, arm.few_shot)
        if len(examples) < arm.few_shot:
            raise UserError(
                f"{arm.few_shot} worked examples are wanted and {len(examples)} training rows of "
                "the task are a prompt with one answer.",
                where=where,
                hint="Ask for fewer, or leave the arm out.",
            )
        return ArmSpec("few_shot", f"base + {arm.few_shot} examples", few_shot=examples)
    if not _has_context(suites):
        raise UserError(
            "no item of a suite that measures gain has a context field.",
            where=where,
            hint="Map it with `fields: {context: KEY}`, or leave the arm out.",
        )
    return ArmSpec("context", "base + context")


def _has_context(suites: Mapping[str, Suite]) -> bool:
    """True if the arm changes anything on the task; items without a context are asked plainly."""
    return any(
        row.context is not None
        for name, suite in suites.items()
        if measures_of(name, suite.spec) == "gain"
        for row in suite.validation.rows
    )


def _examples(
    sources: Mapping[str, Source], loaded: LoadedSpec, count: int
) -> tuple[dict[str, str], ...]:
    """Worked examples, drawn from the training rows of the task with the search seed."""
    own = [s for s in sources.values() if s.role == "task"]
    # Rows that were made from others show what the task asks less well than those do.
    tasks = [s.train.rows for s in own if s.lineage is None] or [s.train.rows for s in own]
    # Places and not the pairs themselves, which may be more than fits into memory.
    sources_of, places = array("l"), array("q")
    for source, rows in enumerate(tasks):
        for place, row in enumerate(rows):
            if _worked_example(row) is not None:
                sources_of.append(source)
                places.append(place)
    draw = random.Random(derive_seed("few_shot", loaded.spec.search.seed))
    drawn = draw.sample(range(len(places)), min(count, len(places)))
    pairs = (_worked_example(tasks[sources_of[i]][places[i]]) for i in drawn)
    return tuple(pair for pair in pairs if pair is not None)


def _worked_example(row: Row) -> dict[str, str] | None:
    """A row as prompt and answer; None for text and for chats of several turns."""
    if row.kind == "pair":
        return {"prompt": row.prompt, "answer": row.answer}
    turns = [m for m in row.messages if m["role"] != "system"]
    if [m["role"] for m in turns] == ["user", "assistant"]:
        return {"prompt": turns[0]["content"], "answer": turns[1]["content"]}
    return None
