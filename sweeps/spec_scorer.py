"""Keys of a suite that say how it is scored, and what they stand for once the rows are known."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from keepgain.core.config import Count, Positive, Scorer
from keepgain.core.errors import UserError
from keepgain.core.refusals import Refusals
from keepgain.core.registered_scorer import RegisteredScorer
from keepgain.core.rows import Row
from keepgain.core.safe_patterns import timed_fault
from keepgain.core.schema import StrictModel
from keepgain.core.scorer_options import HarnessTask, ScorerOptions
from keepgain.core.scorers import (
    LOWER_IS_BETTER,
    SCORERS,
    scorer,
    users_function,
)
from keepgain.core.users_code import code_digest, load_function
from keepgain.sweeps.gates.patterns import PatternText
from keepgain.trainers.scorers.program import verdict
from keepgain.trainers.scorers.user import users_score

MOST_LABELS = 200
"""Of a set that follows from the answers: more are hardly classes."""


def _in_time(pattern: str) -> str:
    """The pattern, if it can be matched with a limit on time."""
    if fault := timed_fault(pattern):
        raise ValueError(fault)
    return pattern


class ScoringSpec(StrictModel):
    """What carries scoring out."""

    engine: Literal["hf", "vllm"] = "hf"
    """hf: transformers, in the process that trains."""

    @field_validator("engine")
    @classmethod
    def _there(cls, value: str) -> str:
        if value == "vllm":
            raise ValueError("vllm is not built in yet; leave `engine` out, or use hf")
        return value


class LmEvalSpec(HarnessTask):
    """A task of lm-evaluation-harness as the spec names it."""

    digest: Literal[""] = ""
    include: str | None = None
    """Folder of the user's own YAML, looked at before the package's tasks."""
    limit: Count | None = None
    """So many documents, chosen by a hash; default: all."""


class ScorerKeys(StrictModel):
    """`scorer` and the keys that some scorers take; see `core.scorers`."""

    scorer: Scorer
    lm_eval: LmEvalSpec | None = None
    """The task; the items are its documents, and `scorer` follows from it."""
    labels: tuple[str, ...] | None = None
    """Of a classification; default: the different answers of the suite's rows, in both splits."""
    separator: str | None = None
    """Of span_f1: what stands between spans; default `;`."""
    command: tuple[str, ...] | None = None
    """Of program: the words of the command; files are looked for in the spec's folder."""
    timeout_seconds: Positive | None = None
    """Of program, for one answer; default 10."""
    memory_mb: Count | None = None
    """Of program; default 1024."""
    higher_is_better: bool | None = None
    """Of a user's `module:function`; default true."""
    positive: str | None = None
    """Of selected: the label whose share is counted; one of the labels."""
    entities: PatternText | None = None
    """Of grounded and cited: finds in an answer what its passage, or list, must hold."""
    abstains: tuple[PatternText, ...] | None = None
    """Of grounded: patterns; one is found in an answer that says it cannot tell."""
    asks_back: tuple[PatternText, ...] | None = None
    """Of grounded: likewise, of a question to the user; default: a question mark at the end."""
    rejects: tuple[PatternText, ...] | None = None
    """Of grounded: likewise, of an answer that does not take a false premise."""
    equals_reference: bool | None = None
    """Of grounded: answerable items are to be answered as the reference is; default false."""
    refusal: Refusals | None = None
    """Of the refusal scorers: what counts as one; default: the built-in patterns."""

    @model_validator(mode="before")
    @classmethod
    def _by_task(cls, value: Any) -> Any:
        if isinstance(value, dict) and "lm_eval" in value:
            return {"scorer": "lm_eval", **value}
        return value

    @field_validator("entities")
    @classmethod
    def _finds_texts(cls, value: str | None) -> str | None:
        if value is not None and re.search(value, "") is not None:
            raise ValueError("the pattern matches the empty text, which is no entity")
        return None if value is None else _in_time(value)

    @field_validator("abstains", "asks_back", "rejects")
    @classmethod
    def _no_empty_pattern(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and "" in value:
            raise ValueError("an empty pattern is found in every answer")
        for pattern in value or ():
            _in_time(pattern)
        return value

    @model_validator(mode="after")
    def _keys_fit(self) -> "ScorerKeys":
        takes = self.registered.takes
        for name in ScorerKeys.model_fields.keys() - {"scorer"}:
            if getattr(self, name) is not None and name not in takes:
                those = [n for n, s in SCORERS.items() if name in s.takes] or ["module:function"]
                raise ValueError(f"`{name}` belongs to the scorer {' or '.join(those)}")
        if "command" in takes and not self.command:
            raise ValueError("the scorer program needs `command`, e.g. [python, judge.py]")
        if "lm_eval" in takes and self.lm_eval is None:
            raise ValueError(
                "the scorer lm_eval needs `lm_eval`, e.g. {task: hellaswag, metric: acc_norm}"
            )
        if "positive" in takes and not self.positive:
            raise ValueError("the scorer selected needs `positive`, the label that it counts")
        if self.labels is not None and len(set(self.labels)) < max(2, len(self.labels)):
            raise ValueError("`labels` must be at least two different texts")
        if self.separator == "":
            raise ValueError("`separator` is empty")
        return self

    @model_validator(mode="after")
    def _refusals_fit(self) -> "ScorerKeys":
        if self.refusal and (fault := self.refusal.fault(self.registered.generates)):
            raise ValueError(fault)
        return self

    @property
    def registered(self) -> RegisteredScorer:
        """What the registry says of the scorer."""
        return scorer(self.scorer)

    @property
    def metric_name(self) -> str:
        """The scorer's name as records have it: a user's that is to fall says so."""
        return self.scorer + (LOWER_IS_BETTER if self.higher_is_better is False else "")


def scorer_options(keys: ScorerKeys, rows: Iterable[Row], folder: Path) -> ScorerOptions | None:
    """What the scorer takes, resolved; None if it takes nothing, or a task (`lm_eval_suites`).

    Args:
        rows: Of both splits.
        folder: The spec's.

    Raises:
        UserError: A user's module or function that is not there.
    """
    takes, entry = keys.registered.takes, users_function(keys.scorer)
    if not takes or keys.lm_eval is not None:
        return None
    given = {
        name: value
        for name in ScorerOptions.model_fields
        if name in takes and (value := getattr(keys, name)) is not None
    }
    if "labels" in takes and keys.labels is None:
        given["labels"] = tuple(sorted({row.answer.strip() for row in rows}))
    if "refusal" in takes:
        given["refusal"] = (keys.refusal or Refusals()).resolved(keys.registered.generates)
    if entry is not None or "command" in takes:
        given["path"] = str(folder)
        given["code"] = code_digest(entry, keys.command or (), str(folder))
    return ScorerOptions(**given)


def refuse_unscorable(
    name: str,
    keys: ScorerKeys,
    options: ScorerOptions | None,
    rows: Iterable[tuple[Row, str]],
    where: str,
) -> None:
    """Refuses rows that do not fit the scorer, and user's code that does not work on the first.

    Args:
        name: Of the suite.
        rows: (row, `file:line`) of both splits.
        where: The suite's key in the spec.

    Raises:
        UserError: The first fault.
    """
    fits, known = keys.registered.fits, options.labels if options else ()
    first: Row | None = None
    fault_of = keys.registered.fault and load_function(keys.registered.fault)
    if fits == "label" and keys.labels is None and not 2 <= len(known) <= MOST_LABELS:
        raise UserError(
            f"the answers of suite '{name}' are {len(known)} different texts, no closed set of 2 "
            f"to {MOST_LABELS} labels.",
            where=where,
            hint="Give `labels`, or use `scorer: exact_match`.",
        )
    for row, place in rows:
        first = first or row
        if row.kind == "text" and fits != "any":
            raise UserError(
                f"the row has no answer, and suite '{name}' is scored by {keys.scorer}.",
                where=place,
                hint="Use `scorer: bits_per_byte` for plain text.",
            )
        if fits == "choices" and not row.choices:
            raise UserError(
                f"the row has no choices, and suite '{name}' is scored by {keys.scorer}.",
                where=place,
                hint="Add `choices`, a list of texts, or use another scorer.",
            )
        if fits == "label" and row.answer.strip() not in known:
            raise UserError(
                f"the answer {row.answer.strip()!r:.60} is none of the labels of suite '{name}'.",
                where=place,
                hint=f"Known labels: {', '.join(known)}.",
            )
        if fault_of and (fault := fault_of(row, options)):
            raise UserError(
                fault,
                where=place,
                hint=f"Mend the item of suite '{name}', or leave it out.",
            )
    if options is None or not options.path or first is None:
        return
    try:
        _try_users_code(keys, options, first)
    except UserError as error:
        raise UserError(
            f"the scorer cannot be used: {error.problem}", where=where, hint=error.hint
        ) from None


def refuse_unmeasurable(
    name: str, keys: ScorerKeys, split: str, rows: Sequence[Row], where: str
) -> None:
    """Refuses a suite whose items of one split, each of them scorable, measure nothing together;
    arguments as of `refuse_unscorable`.

    Raises:
        UserError: What its scorer says.
    """
    entry = keys.registered.suite_fault
    if entry is not None and (fault := load_function(entry)(rows)):
        raise UserError(
            f"the suite '{name}' cannot be measured on its {split} items: {fault}.",
            where=where,
            hint="One file is halved by a hash of the question: give more rows, or two files.",
        )


def _try_users_code(keys: ScorerKeys, options: ScorerOptions, row: Row) -> None:
    """Scores a row's own answer: whatever the figure, code that does not run shows here."""
    entry = users_function(keys.scorer)
    if entry is None:
        verdict(row.answer, row, options)
    else:
        users_score(load_function(entry, options.path), keys.scorer, row.answer, row)


def choice_counts(
    keys: ScorerKeys, options: ScorerOptions | None, rows: Iterable[Row]
) -> list[int]:
    """Choices or labels of each item; empty where nothing is to choose."""
    if keys.registered.needs not in ("choices", "harness"):
        return []
    labels = options.labels if options else ()
    counts = [len(labels or row.choices) for row in rows]
    return counts if all(counts) else []


def chance_level(counts: Sequence[int]) -> float | None:
    """The score of blind guessing among so many choices; None where nothing is to choose."""
    return sum(1 / n for n in counts) / len(counts) if counts else None
