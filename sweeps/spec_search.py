"""The keys of `sweep.yaml` that say how to search: draws, early stopping, limits, confirmation."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from keepgain.core.config import Count, Positive, Share
from keepgain.core.schema import StrictModel


class StoppingSpec(StrictModel):
    """Early stopping at the rungs of `training.rungs`; nothing is stopped with a single rung."""

    enabled: bool = True
    keep: Annotated[float, Field(gt=0, le=1)] = 1 / 2
    """Share of the trials at a rung that is promoted to the next."""
    grace: Share = 0.2
    """Below this share of the budget half of the places are those of the best on gain, whatever
    they forget, and the limit on forgetting does not count: forgetting is not monotone."""
    audit_trials: Annotated[int, Field(ge=0)] = 12
    """Quasi-random trials of each base model that always run to the end, to check the rungs."""


class StalledSpec(StrictModel):
    """The search ends when the front has stopped growing."""

    generations: Count = 3
    """In a row, each of which raised the hypervolume by less than `min_rise`."""
    min_rise: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Relative to the hypervolume so far."""


SamplerName = Literal["tpe", "random", "quasi_random", "grid", "nsga2", "nsga3", "gp", "list"]


class SearchSpec(StrictModel):
    """How configurations are drawn; every base model gets the same number."""

    trials_per_model: Annotated[int, Field(ge=1, le=10_000)] = 12
    sampler: SamplerName = "tpe"
    configs: tuple[dict[str, Any], ...] | None = None
    """Of `sampler: list`: parameters of each trial, named as in the space."""
    seed: Annotated[int, Field(ge=0)] = 0
    mode: Literal["generations", "async"] = "generations"
    """generations: reproducible. async: no slot waits; what is drawn depends on arrival order."""
    generation_size: Count | None = None
    """Trials drawn between two fits of the sampler; default: chosen by the search."""
    storage: str | None = None
    """RDB URL of Optuna's studies; default: a journal file beside the sweep."""
    warm_start: str | None = None
    """Id of a finished sweep whose trials the sampler may learn from."""
    stopping: StoppingSpec = StoppingSpec()
    stalled: StalledSpec | None = None
    max_failure_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The sweep stops when more than this share of at least 4 finished trials failed."""


class LimitsSpec(StrictModel):
    """What the search may spend; the first limit reached ends it, and the finalists are confirmed.

    Nothing new begins then, and what runs goes on to its next rung (see `sweeps.limits`). Not part
    of the sweep's identity: while the search is open, raise a limit, run again, and it goes on.
    """

    trials: Count | None = None
    """Over all base models; what is reused or repeated costs nothing."""
    tokens: Count | None = None
    """Training tokens over all trials of the search, replay included."""
    hours: Positive | None = None
    """Wall time of the search, over all its drivers."""
    gpu_hours: Positive | None = None
    usd: Positive | None = None
    """Needs `prices.gpu_hour_usd`."""


class NotifySpec(StrictModel):
    """Whom to tell when a sweep ends, decided or not."""

    command: str | None = None
    """Run by the shell with KEEPGAIN_SWEEP, KEEPGAIN_STATUS and KEEPGAIN_MESSAGE set."""
    webhook: str | None = None
    """Gets a POST with the same as JSON. `$NAME` is read from the environment when it is sent, so
    that a secret address need not stand in the spec, which is recorded."""

    @field_validator("webhook")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://", "$")):
            raise ValueError("must be an http:// or https:// address, or $NAME of one")
        return value


class ConfirmSpec(StrictModel):
    """Finalists are trained again with fresh seeds before the test split is opened."""

    finalists: Count = 4
    seeds: Count = 3
    looks: Annotated[tuple[Count, ...], Field(min_length=2, max_length=3)] | None = None
    """Adaptive confirmation: seeds a finalist has at each look, ascending, e.g. [3, 6]. After each
    look only what is undecided gets more, with the error spent over the looks. Replaces `seeds`."""

    @property
    def first(self) -> int:
        """Seeds that every finalist gets."""
        return self.looks[0] if self.looks else self.seeds

    @property
    def most(self) -> int:
        """Seeds that a finalist gets at most."""
        return self.looks[-1] if self.looks else self.seeds

    @field_validator("looks")
    @classmethod
    def _looks_ascend(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (list(value) != sorted(set(value)) or value[0] < 2):
            # With one seed a look knows no seed variance and can decide nothing.
            raise ValueError("must be ascending numbers of seeds from 2 on, e.g. [3, 6]")
        return value
