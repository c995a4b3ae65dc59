"""What scorers take besides rows, resolved: part of a suite, and so of its identity."""

from typing import Annotated

from pydantic import Field

from keepgain.core.refusals import Refusals
from keepgain.core.schema import LATER, StrictModel


class HarnessTask(StrictModel):
    """A task of lm-evaluation-harness (Gao et al., the package `lm-eval`), or a group of them."""

    task: str
    """Its name, as its YAML has it."""
    metric: str
    """As the harness names it, with the filter where there are several: `acc`,
    `exact_match,strict-match`."""
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """Worked examples before each question; None: as the task says."""
    chat_template: bool = False
    """Ask in the turns of the tokenizer's chat template; the harness's own default is not to."""
    digest: str = ""
    """SHA-256 over what decides the questions and their scores; set once the task is read."""


class ScorerOptions(StrictModel):
    """What a scorer takes besides rows, resolved; each scorer knows some of it (`takes`)."""

    labels: tuple[str, ...] = ()
    """The closed set of answers of a classification."""
    separator: str = ";"
    """Between the spans of one answer."""
    command: tuple[str, ...] = ()
    """Of `program`; words that are files of the spec's folder are found there."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 10.0
    memory_mb: Annotated[int, Field(ge=16)] = 1024
    path: str = ""
    """The spec's folder, or that of the task's YAML; not part of the identity, but digests are."""
    code: str | None = None
    """Digest of the user's program or function."""
    lm_eval: Annotated[HarnessTask | None, LATER] = None
    """Of `lm_eval`."""
    entities: Annotated[str | None, LATER] = None
    """Pattern of what an answer must take from its passage or list: of `grounded` and `cited`."""
    abstains: Annotated[tuple[str, ...], LATER] = ()
    """Of `grounded`: patterns of which one is found in an answer that gives none."""
    asks_back: Annotated[tuple[str, ...], LATER] = ()
    """Of `grounded`: likewise, in a question to the user; empty: it ends with a question mark."""
    rejects: Annotated[tuple[str, ...], LATER] = ()
    """Of `grounded`: likewise, in an answer that does not take a false premise."""
    equals_reference: Annotated[bool, LATER] = False
    """Of `grounded`: an answerable item's answer must be the reference too."""
    positive: Annotated[str | None, LATER] = None
    """Of `selected`: the label that is counted."""
    refusal: Annotated[Refusals | None, LATER] = None
    """Of the refusal scorers: what counts as one."""
