"""The search: Optuna studies of each base model, drawn in generations, rebuilt from the ledger.

A base model is a design factor, never a parameter: every one gets its number of trials, dealt in
turn, in proportion where the numbers differ. Draws come in generations: no result of a generation
is told before all of its draws are made, and results are told in the order of the draws. A draw is
therefore a pure function of the design and of the results of earlier generations, never of the
order in which trials end. In mode `async` there is no barrier: a result is told when it arrives,
no slot waits, and what is drawn depends on that order; the ledger keeps it.

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

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from keepgain.core.errors import UserError
from keepgain.core.metrics import Direction
from keepgain.core.status import TrialStatus
from keepgain.sweeps.search.design import Mode, make_design
from keepgain.sweeps.search.draws import Draw, Result, check_record, foreign_draw
from keepgain.sweeps.search.given import raw_of
from keepgain.sweeps.search.history import Ended, Given, history
from keepgain.sweeps.search.ledger import Asked, Event, Learned, SearchStarted
from keepgain.sweeps.search.replay import RunState, replay
from keepgain.sweeps.search.space import Space
from keepgain.sweeps.search.storage import clear_studies, open_storage
from keepgain.sweeps.search.stratum import Stratum
from keepgain.sweeps.spec_search import SamplerName

__all__ = ["Draw", "Result", "StratifiedSearch"]


class StratifiedSearch:
    """Draws trials for all base models of a sweep.

    Args:
        space: What is drawn.
        models: Names of the base models.
        trials_per_model: Different configurations for each (fewer where the space has fewer), or
            base model → number where they differ.
        seed: Of the sweep.
        objectives: Name → direction, e.g. gain up, forgetting down.
        journal: Optuna's journal; whatever is there is replaced. None: studies stay in memory.
        study_prefix: The sweep's id; studies are `<sweep id>/<model>`.
        sampler: Who draws after the quasi-random draws.
        constraints: Names of the constraints that every complete result must have.
        generation_size: New draws of a generation for the base model with most trials; None: see
            `design.default_generation_size`.
        mode: See above.
        storage: RDB URL in place of the journal.
        rungs: At which results are told, the full budget included; see `studies`.
        quasi_random_at_least: Of each base model, but at most half of its trials.
        configs: Of `sampler: list`.

    Raises:
        UserError: No model, one given twice, no objective, a count below 1, a configuration that is
            not of the space, or a storage with studies of another search under these names.
    """

    def __init__(
        self,
        space: Space,
        *,
        models: Sequence[str],
        trials_per_model: int | Mapping[str, int],
        seed: int,
        objectives: Mapping[str, Direction],
        journal: Path | None,
        study_prefix: str,
        sampler: SamplerName = "tpe",
        constraints: Sequence[str] = (),
        generation_size: int | None = None,
        mode: Mode = "generations",
        storage: str | None = None,
        rungs: int = 1,
        quasi_random_at_least: int = 0,
        configs: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.design = make_design(
            space,
            models=models,
            trials=trials_per_model,
            objectives=objectives,
            constraints=constraints,
            sampler=sampler,
            seed=seed,
            mode=mode,
            generation_size=generation_size,
            rungs=rungs,
            quasi_random_at_least=quasi_random_at_least,
            configs=configs,
        )
        kept = open_storage(journal, storage)
        clear_studies(kept, study_prefix, space, list(objectives.values()))
        self._strata = {m: Stratum(m, self.design, kept, study_prefix) for m in models}
        self._dealt: list[Draw] = []
        self._extra: deque[tuple[str, dict[str, Any]]] = deque()
        """Given configurations, as base model and raw values, that are to be drawn next."""
        self._extra_drawn = 0
        self._learned: dict[str, tuple[Learned, ...]] = {}
        self._left_out: dict[str, int] = {}
        self._generation = 0
        self._finished = False
        self._closed = False
        for stratum in self._strata.values():
            stratum.plan(0)

    @property
    def studies(self) -> dict[str, optuna.Study]:
        """Base model → study of the full budget, to read."""
        return {model: s.study for model, s in self._strata.items()}

    @property
    def generation(self) -> int:
        """The one being drawn or run, from 0."""
        return self._generation

    @property
    def expected(self) -> int:
        """Different configurations that the whole search has, given ones included."""
        return sum(self.design.trials.values()) + self._extra_drawn + len(self._extra)

    @property
    def done(self) -> bool:
        """True if nothing is left to draw and every result is told."""
        strata = self._strata.values()
        return not self._extra and not any(s.wanted or s.has_untold for s in strata)

    @property
    def exhausted(self) -> tuple[str, ...]:
        """Base models whose space has no other configuration to offer."""
        return tuple(model for model, s in self._strata.items() if s.exhausted)

    @property
    def fitted_rungs(self) -> dict[str, int]:
        """Base model → rung whose results the sampler is fitted on now; the last: full budget."""
        return {model: s.fitted_rung for model, s in self._strata.items()}

    def open_draws(self) -> list[Draw]:
        """Draws that wait for a result, in the order in which they were dealt."""
        waiting = {(d.model, d.number) for s in self._strata.values() for d in s.open}
        return [d for d in self._dealt if (d.model, d.number) in waiting]

    def started(self) -> SearchStarted:
        """The event that stands in the ledger before the first draw."""
        return SearchStarted(
            settings=self.design.to_json(),
            learned=self._learned,
            left_out=self._left_out,
            versions={"optuna": optuna.__version__},
        )

    def learn(self, model: str, trials: Iterable[Learned]) -> int:
        """Warm start: the sampler knows these trials of another sweep from the beginning.

        They cost no budget and are no draws; studies have them with the attribute `learned_from`.
        Once for each base model, before `started` and the first draw.

        Returns:
            How many were left out: not of this space, or without a value for every objective and
            constraint.
        """
        assert not self._dealt and model not in self._learned, "learn comes once, before all draws"
        taken: list[Learned] = []
        left_out = 0
        for known in trials:
            try:
                raw = raw_of(self.design.space, known.params)
            except UserError:
                left_out += 1
                continue
            if self._strata[model].learn(known, raw):
                taken.append(known)
            else:
                left_out += 1
        self._learned[model] = tuple(taken)
        self._left_out[model] = left_out
        return left_out

    def enqueue(self, model: str, params: Mapping[str, Any]) -> None:
        """A configuration of the user's becomes the next draw of its base model, beyond the budget.

        It has the origin `list` and belongs to the generation that is open now.

        Raises:
            UserError: No such base model, the configuration is not of the space, or the search was
                ended by `finish`.
        """
        if self._finished or self._closed:
            raise UserError("the search of this sweep has ended, and nothing is added to it.")
        if model not in self._strata:
            known = ", ".join(self._strata)
            raise UserError(f"no base model '{model}' in this sweep.", hint=f"It has: {known}.")
        self._extra.append((model, raw_of(self.design.space, params)))

    def finish(self) -> None:
        """Draws nothing more; what is open is still told, and then the search is `done`.

        Not recorded: a continued search goes on.
        """
        self._finished = True
        self._extra.clear()
        for stratum in self._strata.values():
            stratum.wanted = 0
        self._settle()

    def next(self) -> Draw | None:
        """The next draw: of the base model that has drawn the least share of its trials.

        Returns:
            None while the generation waits for results, and when the search is `done`.
        """
        assert not self._closed, "the search is closed"
        stratum = self._turn()
        return self._deal(stratum) if stratum else None

    def tell(self, draw: Draw, result: Result) -> None:
        """Takes a result; Optuna hears of it when the generation is complete (`async`: at once).

        Raises:
            ValueError: The draw does not wait for a result, or the result is not an end.
        """
        if not result.status.is_final:
            raise ValueError(f"'{result.status}' is not an end")
        stratum = self._strata[draw.model]
        if draw not in stratum.open:
            raise ValueError(f"draw {draw.number} of {draw.model} does not wait for a result")
        stratum.take(draw, result)
        if self.design.mode == "async":
            stratum.tell_known()
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
            stratum.tell_known()
            stratum.abandon("interrupted" if interrupted else "stopped")
            stratum.wanted = 0
        self._extra.clear()

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
        declared = False
        waiting: dict[str, list[Draw]] = {}
        for step in history(events):
            match step:
                case SearchStarted():
                    self._take_up(step)
                    declared = True
                case Given():
                    self.enqueue(step.model, step.params)
                case Asked():
                    if not declared:
                        raise UserError("the ledger does not say how its draws were made.")
                    draw = self._deal_recorded(step)
                    if draw.repeats is None:
                        waiting.setdefault(step.run_key, []).append(draw)
                case Ended() if step.run_key in waiting:
                    result = _result(runs[step.run_key], step, result_of)
                    if result is not None:
                        for draw in waiting.pop(step.run_key, ()):
                            self.tell(draw, result)

    def _take_up(self, started: SearchStarted) -> None:
        """Sees that the recorded search is this one, and learns what it had learned."""
        settings, recorded = self.design.to_json(), started.settings
        others = sorted(k for k in settings if settings[k] != recorded.get(k))
        if others:
            k = others[0]
            raise UserError(
                f"the ledger is of a search with another {' and '.join(others)} "
                f"({k}: {recorded.get(k)!r} there, {settings[k]!r} here).",
                hint="Start a sweep of its own; it reuses finished trials.",
            )
        if not self._learned:
            for model, trials in started.learned.items():
                self.learn(model, trials)
            self._left_out = dict(started.left_out)
        if self._learned != started.learned:
            raise UserError(
                "the ledger is of a search with another warm start.",
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
        extra = self._extra.popleft()[1] if self._extra else None
        draw = stratum.draw(self._generation, extra=extra, recorded=recorded)
        self._extra_drawn += extra is not None and draw.repeats is None
        self._dealt.append(draw)
        if self.design.mode == "async":
            stratum.tell_known()  # a repeat of what is known
        self._settle()
        return draw

    def _turn(self) -> Stratum | None:
        """Whose turn it is; None: the generation is drawn."""
        if self._extra:
            return self._strata[self._extra[0][0]]
        waiting = [s for s in self._strata.values() if s.wanted]
        return min(waiting, key=lambda s: s.progress, default=None)  # the first of equals

    def _settle(self) -> None:
        """Tells a complete generation and plans the next one that has draws."""
        strata = self._strata.values()
        if self.design.mode == "async" or self._extra:
            return
        if any(s.wanted or s.open for s in strata) or not any(s.has_untold for s in strata):
            return
        self._generation += 1
        for stratum in strata:
            stratum.tell_known()
        while not self._finished and any(s.has_budget for s in strata):
            for stratum in strata:
                stratum.plan(self._generation)
            if any(s.wanted for s in strata):
                return
            self._generation += 1  # a small base model's share may round to nothing


def _result(
    run: RunState, end: Ended, result_of: Callable[[RunState], Result | None]
) -> Result | None:
    if end.stays_failed:
        return Result(TrialStatus.FAILED)
    return result_of(run) if run.status.is_final else None
