"""The `recover` key of a suite."""

from typing import Annotated

from pydantic import Field

from keepgain.core.schema import StrictModel


class RecoverSpec(StrictModel):
    """Items of another suite, asked again with a text before each prompt: see
    `sweeps.recovered_suites`."""

    of: str
    """Name of that suite."""
    prefix: Annotated[str, Field(min_length=1)]
    """Such as stood before the prompts of the base; nothing is put between it and the prompt."""
