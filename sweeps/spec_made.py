"""Keys of a suite whose items are made from those of other suites: `perturb` and `compose`.

See `sweeps.perturbed_suites` and `sweeps.composed_suites`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from keepgain.core.config import Count
from keepgain.core.perturb import FILLERS, SHARE, Kind, slot_names
from keepgain.core.schema import StrictModel
from keepgain.sweeps.gates.patterns import PatternText
from keepgain.sweeps.spec_augment import Templates
from keepgain.sweeps.spec_scorer import ScorerKeys

Perturbation = (
    Kind | Literal["paraphrase", "distractors", "option_order", "prompt_format", "suffix"]
)
NEEDS: Mapping[str, str] = {
    "paraphrase": "templates",
    "distractors": "distractors",
    "prompt_format": "formats",
    "suffix": "suffixes",
}
"""Perturbation → the key that it cannot do without."""
PROMPT = "prompt"
SKILLS = ("a", "b")
OPTION, LABEL = "option", "label"
Text = Annotated[str, Field(min_length=1)]


class PerturbSpec(StrictModel):
    """`perturb` of a suite: each item of another suite once as it is, and once for each change."""

    of: str
    """The suite; scorer and the keys of scorers follow from it where none are given."""
    by: Annotated[tuple[Perturbation, ...], Field(min_length=1)]
    changed_words: Annotated[float, Field(gt=0, le=1)] = SHARE
    """Of typos, insertion and the like: share of the words that may be changed; at least one is."""
    fillers: Annotated[tuple[Text, ...], Field(min_length=1)] = FILLERS["en"]
    """Of insertion."""
    templates: Templates | None = None
    """Of paraphrase: how prompts are put, and how else; an item takes one of the latter."""
    distractors: tuple[Text, ...] = ()
    """Put before the prompt as they are written; an item takes one of them."""
    suffixes: tuple[Text, ...] = ()
    """Put behind the prompt, likewise."""
    formats: tuple[Text, ...] = ()
    """Of prompt_format: texts with `{prompt}`; an item takes one of them."""
    options: PatternText | None = None
    """Of option_order: finds the options in a prompt, `(?P<label>[A-D])[)] (?P<option>.+)`;
    default: the texts of `choices`, where each stands in the prompt once."""
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("by")
    @classmethod
    def _different(cls, value: tuple[Perturbation, ...]) -> tuple[Perturbation, ...]:
        if len(set(value)) < len(value):
            raise ValueError("must be different ones")
        return value

    @field_validator("formats")
    @classmethod
    def _with_prompt(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _refuse_slots(text, (PROMPT,))
        return value

    @field_validator("options")
    @classmethod
    def _with_option(cls, value: str | None) -> str | None:
        if value is not None and OPTION not in re.compile(value).groupindex:
            raise ValueError("needs a group `(?P<option>...)` around the text of an option")
        return value

    @model_validator(mode="after")
    def _belong(self) -> Self:
        for kind, key in NEEDS.items():
            if (kind in self.by) != bool(getattr(self, key)):
                raise ValueError(f"`by: [{kind}]` and `{key}` belong together")
        if self.options is not None and "option_order" not in self.by:
            raise ValueError("`options` belongs to `by: [option_order]`")
        return self


class ComposeSpec(StrictModel):
    """`compose` of a suite: one item of each of two suites, asked as one."""

    a: str
    b: str
    """Two suites."""
    templates: Annotated[tuple[Text, ...], Field(min_length=1)]
    """How both prompts are put as one, e.g. `{a} Then: {b}`; a pair takes one of them."""
    answer: Text = "{a} {b}"
    """The answer, by those of the two."""
    pairs: Count | None = None
    """Of each split; default: as many as the smaller suite has items, each in one pair."""
    held_out: bool = True
    """Refuse a template that a training row is put in already."""
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("templates")
    @classmethod
    def _with_both(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _refuse_slots(text, SKILLS)
        return value

    @field_validator("answer")
    @classmethod
    def _known_slots(cls, value: str) -> str:
        if not (used := slot_names(value)) or set(used) - set(SKILLS):
            raise ValueError("needs {a} or {b}, or both, and no other slot")
        return value

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.a == self.b:
            raise ValueError("`a` and `b` must be two suites")
        return self


def _refuse_slots(text: str, wanted: tuple[str, ...]) -> None:
    if sorted(slot_names(text)) != sorted(wanted):
        slots = " and ".join(f"{{{name}}}" for name in wanted)
        raise ValueError(f"'{text:.40}' must have {slots}, once, and no other slot")


def with_originals(suites: Any) -> Any:
    """Suites as the spec has them, made ones with the scorer of what they are made of.

    A made suite without `scorer` takes the keys of scoring of its original (of `compose`, where
    both are scored alike), and measures behaviour unless it says otherwise.

    Raises:
        ValueError: An original is not there, or has no items of its own.
    """
    if not isinstance(suites, dict):
        return suites
    return {name: _completed(name, suite, suites) for name, suite in suites.items()}


def _completed(name: str, suite: Any, suites: Mapping[str, Any]) -> Any:
    originals = _originals(suite)
    for of in originals:
        if of not in suites:
            known = ", ".join(n for n in suites if n != name) or "none"
            raise ValueError(f"'{name}' is made of the unknown suite '{of}'; known: {known}")
        if isinstance(suites[of], dict) and suites[of].get("lm_eval") is not None:
            raise ValueError(f"'{name}' is made of '{of}', whose prompts lm-evaluation-harness has")
        if _originals(suites[of]):
            raise ValueError(f"'{name}' is made of '{of}', which is made of others itself")
    if not originals:
        return suite
    completed = {"measures": "behaviour"}
    scored = [_scoring(suites[of], whole="compose" not in suite) for of in originals]
    if suite.get("scorer") is None and all(s == scored[0] for s in scored):
        completed |= scored[0]
    return suite | {k: v for k, v in completed.items() if suite.get(k) is None}


def _originals(suite: Any) -> list[str]:
    """Suites that it is made of, as far as they are named as they should be."""
    if not isinstance(suite, dict):
        return []
    named = [("perturb", "of"), ("compose", "a"), ("compose", "b"), ("recover", "of")]
    found = [suite[k].get(of) for k, of in named if isinstance(suite.get(k), dict)]
    return [name for name in found if isinstance(name, str)]


def _scoring(suite: Any, whole: bool) -> dict[str, Any]:
    """Keys of scoring that a suite gives; with the length of answers where `whole`."""
    if not isinstance(suite, dict):
        return {}
    wanted = {*ScorerKeys.model_fields, *(["max_new_tokens"] if whole else [])}
    return {k: v for k, v in suite.items() if k in wanted and v is not None}
