"""What the runs of a sweep amount to so far: objectives, what Optuna is told, reasons to stop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from keepgain.core.config import SuiteRef
from keepgain.core.record import RungReport
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.candidates import candidates_of
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.draws import Result, RungResult
from keepgain.sweeps.search.objectives import (
    Limits,
    Objectives,
    constraints,
    excess,
    limits_of,
    objectives,
    with_proxies,
)
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.search.rungs import Entry
from keepgain.sweeps.served import SCORES_OF, form_of
from keepgain.sweeps.stages.confirm import Searched

MIN_FINISHED_FOR_RATE = 4
"""A failure rate is judged from this many finished trials on."""


@dataclass(frozen=True)
class Results:
    """Reads the runs; changes nothing."""

    prepared: Prepared
    runs: Mapping[str, RunState]
    bases: Mapping[str, str]
    """Base model → run key of its score."""

    def objectives(self, run: RunState) -> Objectives | None:
        """Of a run on validation, as of its last report; None while it or its base has none."""
        return self._against_base(run, run.last_report, self.prepared.score_suites("validation"))

    def at_rung(self, run: RunState, rung: int) -> Objectives | None:
        """Of a run on validation, at a rung below the full budget."""
        suites = self.prepared.score_suites("validation")
        return self._against_base(run, run.at_rung(rung), suites)

    def _proxy_gain(self, run: RunState, rung: int) -> float | None:
        """Gain at a rung by the suites that stand in for others; None if there are none."""
        if self._smooth_suites is None:
            return None
        found = self._against_base(run, run.at_rung(rung), self._smooth_suites)
        return None if found is None else found.gain

    @cached_property
    def _smooth_suites(self) -> list[SuiteRef] | None:
        """Those of validation with stand-ins in place; asked for at every trial of a ranking."""
        proxies = {n: s.proxy_for for n, s in self.prepared.spec.suites.items() if s.proxy_for}
        return with_proxies(self.prepared.score_suites("validation"), proxies) if proxies else None

    def _against_base(
        self, run: RunState, report: RungReport | None, suites: Sequence[SuiteRef]
    ) -> Objectives | None:
        base = self.runs.get(self.bases[run.asked.model])
        if base is None or base.last_report is None or report is None:
            return None
        return objectives(report.metrics, base.last_report.metrics, suites)

    def entry(self, run: RunState, rung: int, *, audit: bool) -> Entry | None:
        """The run as it is ranked at a rung; None while it or its base has no scores there."""
        found, asked = self.at_rung(run, rung), run.asked
        if found is None or asked.number is None or asked.generation is None:
            return None
        return Entry(
            run_key=run.run_key,
            number=asked.number,
            generation=asked.generation,
            gain=found.gain,
            forgetting=found.forgetting or 0.0,
            excess=excess(found, self._limits),
            audit=audit,
            proxy_gain=self._proxy_gain(run, rung),
        )

    def result(self, run: RunState) -> Result | None:
        """What Optuna is told of an ended run; None while its base has no scores."""
        if run.status is TrialStatus.FAILED:
            return Result(run.status)
        if run.last_report is None:
            return Result(run.status, truncated=True)  # ended by a person or a limit, at once
        found = self.objectives(run)
        if found is None:
            return None
        below = tuple(
            RungResult(report.rung, at.values, constraints(at, self._limits))
            for report in run.reports
            if not report.final and (at := self.at_rung(run, report.rung)) is not None
        )
        if run.status is not TrialStatus.COMPLETED:
            return Result(run.status, truncated=True, rungs=below)
        return Result(run.status, found.values, constraints(found, self._limits), rungs=below)

    @cached_property
    def _limits(self) -> Limits:
        return limits_of(self.prepared.spec.question)

    def searched(self) -> list[Searched]:
        """Completed search trials and the points between them and their base, as the choice of
        finalists sees them."""
        return [
            Searched(point.asked, found, run.run_key)
            for run in self.runs.values()
            if run.asked.stage is Stage.SEARCH and run.status is TrialStatus.COMPLETED
            for point in (run, *candidates_of(run))
            if (found := self.objectives(point)) is not None
        ]

    def figures(self, run: RunState) -> dict[str, float]:
        """A few figures for a progress line: gain and forgetting of a trial, scores of others."""
        if run.last_report is None:
            return {}
        trained = run.asked.stage in (Stage.SEARCH, Stage.CONFIRM)
        found = self.objectives(run) if trained else None
        if found is None:
            names = {s.name for s in self.prepared.score_suites("validation")}
            scores = {k.partition("/")[2]: v for k, v in run.last_report.metrics.items()}
            return {name: v for name, v in scores.items() if name in names}
        figures = {"gain": found.gain}
        return figures if found.forgetting is None else figures | {"forgetting": found.forgetting}

    def untested(self) -> list[RunState]:
        """Test runs that failed."""
        return [
            r
            for r in self.runs.values()
            if r.asked.stage is Stage.TEST and r.status is TrialStatus.FAILED
        ]

    def why_undecided(self) -> str | None:
        """Why the test scores allow no decision; None if they do.

        Every base is needed, and a test score of every confirmed configuration (of any seed); those
        of models as served are not.
        """
        lost: dict[str, RunState] = {}
        scored: set[str] = set()
        for test in self.runs.values():
            of = self.runs.get(str(test.asked.params.get(SCORES_OF)))
            if test.asked.stage is not Stage.TEST or of is None or of.asked.kind == "reference":
                continue
            if form_of(test.asked) is not None:
                continue
            if test.status is TrialStatus.COMPLETED:
                scored.add(of.asked.trial_id)
            else:
                lost[of.asked.trial_id] = test
        missing = [
            f"{'base ' if test.asked.kind == 'base' else ''}{test.asked.model} "
            f"{'' if test.asked.kind == 'base' else trial_id[:6] + ' '}"
            f"({test.cause}: {test.reason})"
            for trial_id, test in lost.items()
            if trial_id not in scored
        ]
        if not missing:
            return None
        return (
            f"without test scores of {', '.join(missing)} nothing can be decided; the same command "
            "tries them again"
        )

    def why_stop(self) -> str | None:
        """Why the sweep must stop: a base cannot be scored, or too many trials fail.

        It follows from the ledger, so that a stopped sweep stays stopped when it is run again.
        """
        for key in self.bases.values():
            base = self.runs.get(key)
            if base is not None and base.status is TrialStatus.FAILED:
                return (
                    f"the base {base.asked.model} could not be scored, and every gain is measured "
                    f"against it ({base.cause}: {base.reason})"
                )
        trials = [
            r
            for r in self.runs.values()
            if r.asked.stage in (Stage.SEARCH, Stage.CONFIRM) and r.status.is_final
        ]
        failed = [r for r in trials if r.status is TrialStatus.FAILED]
        limit = self.prepared.spec.search.max_failure_rate
        if len(trials) < MIN_FINISHED_FOR_RATE or len(failed) / len(trials) <= limit:
            return None
        return (
            f"{len(failed)} of {len(trials)} trials failed, more than search.max_failure_rate "
            f"{limit:g}; one of them: {failed[-1].cause}: {failed[-1].reason}"
        )
