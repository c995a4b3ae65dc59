"""The search: one Optuna study per base model, drawn in generations, rebuilt from the ledger.

A base model is a design factor, never a parameter: every one gets the same number of trials, dealt
in turn. Draws come in generations: no result of a generation is told before all of its draws are
made, and results are told in the order of the draws. A draw is therefore a pure function of the
design and of the results of earlier generations, never of the order in which trials end.

The first generation, and at least a fifth of the trials of each base model, are quasi-random: an
audit of the rungs, a fair comparison with random search, and ground for the sampler.

Use, by one thread::

    search = StratifiedSearch(...)
    search.restore(ledger.events(), result_of)      # or ledger.append(search.started()) at first
    while not search.done:
        while draw := search.next():                # append `asked` and run it, unless it repeats
            ...
        ...                                         # wait for results: search.tell(draw, result)
    search.close(interrupted=False)
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from keepgain.core.errors import UserError
from keepgain.core.metrics import Direction
from keepgain.core.status import Stage
from keepgain.sweeps.search.journal import fresh_journal
from keepgain.sweeps.search.ledger import Asked, Event, SearchStarted
from keepgain.sweeps.search.replay import RunState, replay
from keepgain.sweeps.search.samplers import SamplerName
from keepgain.sweeps.search.space import Space
from keepgain.sweeps.search.stratum import (
    QUASI_RANDOM_SHARE,
    Design,
    Draw,
    Result,
    Stratum,
    check_record,
    foreign_draw,
)

__all__ = ["Draw", "Result", "StratifiedSearch", "default_generation_size"]


class StratifiedSearch:
    """Draws trials for all base models of a sweep.

    Args:
        space: What is drawn.
        models: Names of the base models.
        trials_per_model: Different configurations for each (fewer where the space has fewer).
        seed: Of the sweep.
        objectives: Name → direction, e.g. gain up, forgetting down.
        journal: Optuna's journal; whatever is there is replaced.
        study_prefix: The sweep's id; studies are `<sweep id>/<model>`.
        sampler: Who draws after the quasi-random draws.
        constraints: Names of the constraints that every complete result must have.
        generation_size: New draws of a generation for each base model; None: see
            `default_generation_size`.

    Raises:
        UserError: No model, one given twice, no objective, or a count below 1.
    """

    def __init__(
        self,
        space: Space,
        *,
        models: Sequence[str],
        trials_per_model: int,
        seed: int,
        objectives: Mapping[str, Direction],
        journal: Path,
        study_prefix: str,
        sampler: SamplerName = "tpe",
        constraints: Sequence[str] = (),
        generation_size: int | None = None,
    ) -> None:
        _check(models, objectives, trials_per_model, generation_size)
        size = generation_size or default_generation_size(trials_per_model)
        self.design = Design(
            space=space,
            objectives=dict(objectives),
            constraints=tuple(constraints),
            models=tuple(models),
            sampler=sampler,
            seed=seed,
            trials_per_model=trials_per_model,
            generation_size=min(size, trials_per_model),
        )
        storage = fresh_journal(journal)
        self._strata = {
            model: Stratum(model, self.design, storage, f"{study_prefix}/{model}")
            for model in models
        }
        self._dealt: list[Draw] = []
        self._generation = 0
        self._closed = False
        for stratum in self._strata.values():
            stratum.plan()

    @property
    def studies(self) -> dict[str, optuna.Study]:
        """Base model → study, to read."""
        return {model: s.study for model, s in self._strata.items()}

    @property
    def generation(self) -> int:
        """The one being drawn or run, from 0."""
        return self._generation

    @property
    def done(self) -> bool:
        """True if nothing is left to draw and every result is told."""
        return not any(s.wanted or s.has_untold for s in self._strata.values())

    @property
    def exhausted(self) -> tuple[str, ...]:
        """Base models whose space has no other configuration to offer."""
        return tuple(model for model, s in self._strata.items() if s.exhausted)

    def open_draws(self) -> list[Draw]:
        """Draws that wait for a result, in the order in which they were dealt."""
        waiting = {(d.model, d.number) for s in self._strata.values() for d in s.open}
        return [d for d in self._dealt if (d.model, d.number) in waiting]

    def started(self) -> SearchStarted:
        """The event that stands in the ledger before the first draw."""
        versions = {"optuna": optuna.__version__}
        return SearchStarted(settings=self.design.to_json(), versions=versions)

    def next(self) -> Draw | None:
        """The next draw: of the base model that has had fewest in this generation.

        Returns:
            None while the generation waits for results, and when the search is `done`.
        """
        assert not self._closed, "the search is closed"
        stratum = self._turn()
        return self._deal(stratum) if stratum else None

    def draws(self, generation: int) -> list[Draw]:
        """All draws of a generation, in dealing order, made now as far as they are missing.

        Raises:
            ValueError: Results of the generation before it are missing.
        """
        if generation > self._generation and not self.done:
            raise ValueError(f"generation {self._generation} is not complete")
        while generation == self._generation and self.next() is not None:
            pass
        return [d for d in self._dealt if d.generation == generation]

    def tell(self, draw: Draw, result: Result) -> None:
        """Takes a result; Optuna hears of it when the generation is complete.

        Raises:
            ValueError: The draw does not wait for a result, or the result is not an end.
        """
        if not result.status.is_final:
            raise ValueError(f"'{result.status}' is not an end")
        stratum = self._strata[draw.model]
        if draw not in stratum.open:
            raise ValueError(f"draw {draw.number} of {draw.model} does not wait for a result")
        stratum.take(draw, result)
        self._settle()

    def close(self, *, interrupted: bool) -> None:
        """Ends the search; draws without a result are told FAIL, so that none stays RUNNING.

        That concerns the journal alone: a continued sweep rebuilds it from the ledger and waits
        for the same draws again. Closing twice is harmless.

        Args:
            interrupted: For the record: whether the sweep is meant to be continued.
        """
        self._closed = True
        for stratum in self._strata.values():
            stratum.tell_all(without_result="interrupted" if interrupted else "stopped")
            stratum.wanted = 0

    def restore(
        self, events: Iterable[Event], result_of: Callable[[RunState], Result | None]
    ) -> None:
        """Takes up a search where its ledger ends; recorded draws are not made again.

        A repeated draw may be missing in the ledger: it follows from the others.

        Args:
            events: The ledger, also one without any draw.
            result_of: What a run that ended (completed, pruned or failed) amounts to, as it is
                told live; None: it still waits.

        Raises:
            UserError: The ledger is of a search with another design, or was changed.
        """
        assert not self._dealt, "restore comes before the first draw"
        events = list(events)
        runs = replay(events).runs
        declared = [e for e in events if isinstance(e, SearchStarted)]
        draws = [e for e in events if isinstance(e, Asked) and _is_draw(e)]
        for declaration in declared:
            self._compare(declaration.settings)
        if draws and not declared:
            raise UserError("the ledger has draws, but does not say how they were made.")
        for asked in draws:
            draw = self._deal_recorded(asked)
            run = runs[asked.run_key]
            if draw.repeats is None and run.status.is_final:
                result = result_of(run)
                if result is not None:
                    self.tell(draw, result)

    def _compare(self, recorded: Mapping[str, Any]) -> None:
        settings = self.design.to_json()
        others = sorted(k for k in settings if settings[k] != recorded.get(k))
        if others:
            k = others[0]
            raise UserError(
                f"the ledger is of a search with another {' and '.join(others)} "
                f"({k}: {recorded.get(k)!r} there, {settings[k]!r} here).",
                hint="Start a sweep of its own; it reuses finished trials.",
            )

    def _deal_recorded(self, asked: Asked) -> Draw:
        stratum = self._turn()
        while stratum and (stratum.model, len(stratum.draws)) != (asked.model, asked.number):
            if self._deal(stratum).repeats is None:  # only a repeat may be missing
                raise foreign_draw(asked.model, asked.number)
            stratum = self._turn()
        if stratum is None or self._generation != asked.generation:
            raise foreign_draw(asked.model, asked.number)
        draw = self._deal(stratum, asked.raw)
        check_record(asked.params, draw, asked.raw)
        return draw

    def _deal(self, stratum: Stratum, recorded: Mapping[str, Any] | None = None) -> Draw:
        draw = stratum.draw(self._generation, recorded)
        self._dealt.append(draw)
        return draw

    def _turn(self) -> Stratum | None:
        """Whose turn it is; None: the generation is drawn."""
        self._settle()
        waiting = [s for s in self._strata.values() if s.wanted]
        return max(waiting, key=lambda s: s.wanted, default=None)  # the first of equals

    def _settle(self) -> None:
        """Tells a complete generation and plans the next one."""
        strata = self._strata.values()
        if any(s.wanted or s.open for s in strata) or not any(s.has_untold for s in strata):
            return
        for stratum in strata:
            stratum.tell_all()
            stratum.plan()
        self._generation += 1


def default_generation_size(trials: int) -> int:
    """A fifth of the trials; at least 9, or half of them where that is less."""
    return max(math.ceil(QUASI_RANDOM_SHARE * trials), min(9, math.ceil(trials / 2)))


def _is_draw(asked: Asked) -> bool:
    return asked.stage is Stage.SEARCH and asked.kind == "trial" and asked.number is not None


def _check(
    models: Sequence[str],
    objectives: Mapping[str, Direction],
    trials_per_model: int,
    generation_size: int | None,
) -> None:
    if not models or len(set(models)) != len(models):
        raise UserError(f"base models must be given, each once (given: {', '.join(models)}).")
    if not objectives:
        raise UserError("a search needs at least one objective.")
    counts = {"trials_per_model": trials_per_model, "generation_size": generation_size}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1 (given: {value}).")
