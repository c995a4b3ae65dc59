"""Keys of a data source whose rows are made from another one's: see `sweeps.augment`."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from keepgain.core.config import Count
from keepgain.core.errors import UserError
from keepgain.core.perturb import FILLERS, KINDS, SHARE, Kind, slot_names
from keepgain.core.schema import StrictModel

if TYPE_CHECKING:
    from keepgain.sweeps.spec_sweep import SweepSpec

By = Kind | Literal["template"]
QUESTION = "{question}"


class Templates(StrictModel):
    """Other ways to put a prompt."""

    read: str = Field(QUESTION, alias="from")
    """How prompts are written, with slots, e.g. `Route this ticket: {ticket}`; default: the whole
    prompt is the slot `question`."""
    to: Annotated[tuple[str, ...], Field(min_length=1)]
    """How they may be written too, with the same slots."""

    @model_validator(mode="after")
    def _slots(self) -> Self:
        given = slot_names(self.read)
        if not given or len(set(given)) < len(given):
            raise ValueError("`from` needs slots such as {ticket}, each once")
        for template in self.to:
            used = slot_names(template)
            if missing := [n for n in given if n not in used]:
                raise ValueError(f"'{template:.40}' leaves the slot {{{missing[0]}}} out")
            if unknown := [n for n in used if n not in given]:
                raise ValueError(f"'{template:.40}' has a slot {{{unknown[0]}}} that `from` lacks")
        return self


class AugmentKeys(StrictModel):
    """What `data.NAME` has in place of files."""

    augment: str | None = None
    """Source whose training rows are changed, without touching their answers."""
    by: tuple[By, ...] = ()
    """What changes them; each copy takes the next one in turn."""
    copies: Count = 1
    """Of each row."""
    changed_words: Annotated[float, Field(gt=0, le=1)] = SHARE
    """Share of the words that may be changed; at least one is."""
    templates: Templates | None = None
    """Of `by: [template]`."""
    language: Literal["en", "de", "fr", "es"] = "en"
    """Of the fillers that `insertion` puts in."""
    fillers: tuple[str, ...] = ()
    """In place of the language's own."""
    seed: Annotated[int, Field(ge=0)] = 0
    follows: str | None = None
    """Source that the rows of this file were made from: they name its rows in `parent`, and go
    where those go."""

    @field_validator("by")
    @classmethod
    def _different(cls, value: tuple[By, ...]) -> tuple[By, ...]:
        if len(set(value)) < len(value):
            raise ValueError("must be different ones")
        return value

    @model_validator(mode="after")
    def _augmented(self) -> Self:
        if self.augment is None:
            fields = type(self).model_fields
            # Defaults are given too where a spec is read that was written with all its keys.
            if given := [n for n in _OF_AUGMENT if getattr(self, n) != fields[n].default]:
                raise ValueError(f"`{given[0]}` needs `augment: SOURCE`")
            return self
        if not self.by:
            known = ", ".join((*KINDS, "template"))
            raise ValueError(f"`augment` needs `by`, out of {known}")
        if ("template" in self.by) != (self.templates is not None):
            raise ValueError("`by: [template]` and `templates` belong together")
        return self

    @property
    def filler_words(self) -> tuple[str, ...]:
        """That `insertion` puts in."""
        return self.fillers or FILLERS[self.language]


_OF_AUGMENT = ("by", "copies", "changed_words", "templates", "language", "fillers", "seed")


def refuse_wrong_parents(spec: "SweepSpec") -> None:
    """Sources are made from rows of people's files, and nothing is scored on what was made.

    Raises:
        UserError: Its `where` is the key.
    """
    for name, source in spec.data.items():
        for key in ("augment", "follows"):
            if (of := getattr(source, key)) is not None:
                _refuse_parent(spec, f"data.{name}.{key}", of)
    for name, suite in spec.suites.items():
        drawn = spec.data.get(suite.source or "")
        if drawn is not None and (drawn.augment or drawn.follows):
            raise UserError(
                f"rows of '{suite.source}' were made from others and are only trained on.",
                where=f"suites.{name}.from",
                hint=f"Score on '{drawn.augment or drawn.follows}'.",
            )


def _refuse_parent(spec: "SweepSpec", where: str, of: str) -> None:
    parent = spec.data.get(of)
    if parent is None:
        known = ", ".join(spec.data)
        raise UserError(f"unknown source '{of}'.", where=where, hint=f"Known sources: {known}.")
    fault = None
    if parent.augment is not None or (parent.follows is not None and where.endswith("follows")):
        fault = f"rows of '{of}' were made from others themselves."
    elif parent.role == "replay":
        fault = f"'{of}' is replay: its rows are there to be kept as they are."
    if fault is not None:
        raise UserError(fault, where=where, hint="Name a source of `role: task` or `synthetic`.")
