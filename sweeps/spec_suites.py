"""`suites` of `sweep.yaml`: where a suite's items are from, and what a change of their score means.

How they are scored is in `sweeps.spec_scorer`.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from keepgain.core.config import Count, Measures
from keepgain.sweeps.spec_data import PairedAnswers
from keepgain.sweeps.spec_extract import ExtractSpec
from keepgain.sweeps.spec_judge import JudgeSpec
from keepgain.sweeps.spec_made import ComposeSpec, PerturbSpec
from keepgain.sweeps.spec_recover import RecoverSpec
from keepgain.sweeps.spec_scorer import ScorerKeys
from keepgain.sweeps.spec_sources import FileSpec


class SuiteSpec(FileSpec, ScorerKeys):
    """Items to score, and what a change of their score means."""

    source: str | None = Field(None, alias="from")
    """Name of the data source whose validation and test splits are the items."""
    path: str | None = None
    """One file; halved into validation and test by a hash of the question."""
    validation: str | None = None
    test: str | None = None
    measures: Measures | None = None
    """Default: by the suite's name (`gain`, `gain_*`, `forgetting`, `forgetting_*`)."""
    max_new_tokens: Count | None = None
    """Of generation; default: the longest reference answer in tokens, and 8 more."""
    pairs: Annotated[tuple[PairedAnswers, ...], Field(min_length=2)] | None = None
    """`{prompt, good, bad}` in the spec itself: choices of which the good one is right."""
    extract: ExtractSpec | None = None
    """Items made from training rows: the beginning of each, to be gone on with."""
    perturb: PerturbSpec | None = None
    """The items are those of another suite, as they are and changed; it measures behaviour, unless
    `measures` says otherwise."""
    compose: ComposeSpec | None = None
    """The items are pairs of those of two other suites, asked as one; likewise."""
    proxy_for: str | None = None
    """Name of a gain suite that this one stands in for in half of the places at early rungs: a
    smooth measure (bits per byte) may tell trials apart before the first answers are right."""
    capability: str | None = None
    """What ability it measures, in your words; `analyze ID forgetting` averages suites of one. No
    part of the sweep's identity."""
    recover: RecoverSpec | None = None
    """The items are those of another suite, asked again with a text before them; it measures
    behaviour."""

    judge: JudgeSpec | None = None
    """A model that scores the answers afterwards: see `sweep judge`. No part of the sweep's
    identity."""

    @model_validator(mode="after")
    def _answers_to_judge(self) -> "SuiteSpec":
        if self.judge is not None and not self.registered.generates:
            raise ValueError(f"`judge` reads answers, and {self.scorer} asks for none")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> "SuiteSpec":
        if (self.validation is None) != (self.test is None):
            raise ValueError("give both `validation` and `test`")
        places = (self.source, self.path, self.validation, self.lm_eval, self.pairs, self.extract)
        if sum(p is not None for p in (*places, self.perturb, self.compose, self.recover)) != 1:
            raise ValueError(
                "give exactly one of `from`, `path`, `validation` with `test`, `lm_eval`, `pairs`, "
                "`extract`, `perturb`, `compose` and `recover`"
            )
        if self.recover is not None and self.measures != "behaviour":
            raise ValueError("`recover` measures behaviour: whether what is lost can be had again")
        if self.made_of and (self.fields or self.format != "auto" or self.limit):
            raise ValueError("`format`, `fields` and `limit` stand where the items are from")
        if self.compose is not None and not self.registered.generates:
            raise ValueError("`compose` needs a scorer of generated answers, such as exact_match")
        if self.pairs is not None and (
            self.fields or self.format != "auto" or self.limit or self.registered.fits != "choices"
        ):
            raise ValueError(
                "`pairs` are scored by multiple_choice or multiple_choice_normalised; `format`, "
                "`fields` and `limit` are of files"
            )
        if self.extract is not None and (
            self.fields or self.format != "auto" or self.limit or self.scorer != "extraction"
        ):
            raise ValueError(
                "`extract` is scored by extraction; `format`, `fields` and `limit` are of files"
            )
        if self.lm_eval is not None and (self.fields or self.format != "auto" or self.limit):
            raise ValueError("`format` and `fields` are of files; `limit` stands in `lm_eval`")
        if self.source is not None and (self.fields or self.format != "auto" or self.limit):
            raise ValueError("`format`, `fields` and `limit` of a `from` suite stand at its source")
        return self

    @property
    def made_of(self) -> tuple[str, ...]:
        """Suites that the items are made of; empty where they are its own."""
        if self.perturb is not None:
            return (self.perturb.of,)
        if self.recover is not None:
            return (self.recover.of,)
        return (self.compose.a, self.compose.b) if self.compose is not None else ()


def gain_suites(suites: Mapping[str, SuiteSpec]) -> list[str]:
    """Names of those that measure gain."""
    return [name for name, suite in suites.items() if measures_of(name, suite) == "gain"]


def measures_of(name: str, suite: SuiteSpec) -> Measures | None:
    """What a suite measures: as given, else by its name."""
    if suite.measures is not None:
        return suite.measures
    by_name: tuple[Measures, ...] = ("gain", "forgetting")
    return next((m for m in by_name if name == m or name.startswith(f"{m}_")), None)
