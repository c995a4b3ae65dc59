"""The arms of the comparison: ways to search a domain, all under the same virtual clock.

Every arm may try every configuration of the grid once, with the same number for each base model,
in turn; a configuration that is drawn again costs nothing. All see the same two figures at a rung:
gain and mean forgetting over the base by exact match; with proxies, gain by bits per byte below the
full budget.
"""

import random
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from domain import PROXIES, Domain
from front import Point
from grid import Cell, params
from settings import Constants
from syne_tune_client import SyneTune

from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause
from keepgain.sweeps.job import Execution, Job
from keepgain.sweeps.protocol import Verdict
from keepgain.sweeps.search.draws import Draw
from keepgain.sweeps.simulated.runner import Step, run_program
from keepgain.sweeps.simulated.sweep import simulate_search
from keepgain.sweeps.stages.base import base_jobs
from keepgain.sweeps.stages.trials import search_job

TRIALS = 120
"""Configurations of each base model that our arms draw, of 180. Arms whose draws do not depend on
results go through the whole grid, so that fewer of them end before they reach the level."""
UNITS = (1, 3, 9)
"""Of the rungs: resource levels of ASHA and MO-ASHA."""


@dataclass(frozen=True)
class Task:
    """One simulated sweep."""

    domain: str
    arm: str
    seed: int
    slots: int


@dataclass(frozen=True)
class Arm:
    """How to search, and what to call it."""

    label: str
    run: Callable[[Domain, Task, Constants], list[Step]]
    is_ours: bool = False


class StopRule(Protocol):
    """Decides alone, from what it was told, whether a trial goes on."""

    def propose(self, model: str) -> Cell | None:
        """The next configuration; None: there are no more."""
        ...

    def goes_on(self, model: str, trial_id: str, units: int, point: Point) -> bool:
        """Called at every rung, the last one included."""
        ...


# -- arms that are not ours ------------------------------------------------------------------------


@dataclass
class RandomOrder:
    """Every configuration once, in random order; none is stopped."""

    domain: Domain
    seed: int

    def __post_init__(self) -> None:
        self._left: dict[str, deque[Cell]] = {}
        for model in self.domain.models:
            order = [self.domain.cells[i] for i in self.domain.of_model(model)]
            random.Random(f"{self.seed}-{model}").shuffle(order)
            self._left[model] = deque(order)

    def propose(self, model: str) -> Cell | None:
        return self._left[model].popleft() if self._left[model] else None

    def goes_on(self, model: str, trial_id: str, units: int, point: Point) -> bool:
        return True


class RayAsha(RandomOrder):
    """Ray Tune's `ASHAScheduler`, one for each base model, on gain x (1 - forgetting): the area
    that a trial dominates by itself, hence the scalar closest to what is measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        from ray.tune.schedulers import ASHAScheduler

        self._schedulers = {
            model: ASHAScheduler(
                time_attr="units",
                metric="score",
                mode="max",
                max_t=UNITS[-1],
                grace_period=UNITS[0],
                reduction_factor=3,
                brackets=1,
            )
            for model in self.domain.models
        }
        self._known: set[str] = set()

    def goes_on(self, model: str, trial_id: str, units: int, point: Point) -> bool:
        scheduler, trial = self._schedulers[model], _RayTrial(trial_id)
        if trial_id not in self._known:
            self._known.add(trial_id)
            scheduler.on_trial_add(None, trial)
        result = {"units": units, "score": point.gain * (1 - point.forgetting)}
        decision: str = scheduler.on_trial_result(None, trial, result)
        return decision == "CONTINUE"


@dataclass(frozen=True)
class _RayTrial:
    """All of a Ray Tune trial that ASHA looks at."""

    trial_id: str


@dataclass
class SyneTuneMoasha:
    """Syne Tune's `MOASHA`, one for each base model, in its own process and environment."""

    domain: Domain
    client: SyneTune
    seed: int
    _seen: set[Cell] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.client.begin(self.seed, self.domain.models)

    def propose(self, model: str) -> Cell | None:
        """It draws with replacement; a repetition is drawn again instead of being trained again."""
        while sum(cell.model == model for cell in self._seen) < len(self.domain.of_model(model)):
            cell = Cell(model=model, **self.client.suggest(model))
            if cell not in self._seen and cell in self.domain.trial_ids:
                self._seen.add(cell)
                return cell
        return None

    def goes_on(self, model: str, trial_id: str, units: int, point: Point) -> bool:
        return self.client.result(model, trial_id, units, point)


class StopRuleProgram:
    """A program (`sweeps.protocol`) that deals configurations in turn and stops by a rule."""

    def __init__(self, domain: Domain, rule: StopRule, seed: int, *, proxies: bool) -> None:
        self._domain = domain
        self._rule = rule
        self._proxies = proxies
        self._prepared = _seeded(domain, seed)
        self._bases = deque(base_jobs(self._prepared, Path()))
        self._open = deque(domain.models)
        self._dealt = 0
        self._live = 0

    def next_job(self) -> Job | None:
        if self._bases:
            return self._bases.popleft()
        while self._open:
            model = self._open.popleft()
            cell = self._rule.propose(model)
            if cell is not None:
                self._open.append(model)
                self._dealt += 1
                return self._job(cell)
        return None

    def _job(self, cell: Cell) -> Job:
        draw = Draw(cell.model, self._dealt, 0, 0, "sampler", {}, params(self._prepared, cell))
        return search_job(self._prepared, Path(), draw)

    def awake(self) -> tuple[str, ...]:
        return ()

    def take_dropped(self) -> tuple[str, ...]:
        return ()

    @property
    def finished(self) -> bool:
        return not self._bases and not self._open and not self._live

    def on_started(self, job: Job) -> None:
        self._live += 1

    def on_report(self, job: Job, report: RungReport, execution: Execution) -> Verdict:
        goes_on = job.purpose == "search" and self._goes_on(job, report)
        if goes_on and not report.final:
            return Verdict.CONTINUE
        self._live -= 1
        return Verdict.STOP

    def _goes_on(self, job: Job, report: RungReport) -> bool:
        point = self._domain.score(job.asked.model, report, proxies=self._proxies)
        return self._rule.goes_on(job.asked.model, job.asked.trial_id, UNITS[report.rung], point)

    def on_failed(self, job: Job, cause: FailureCause, detail: str) -> None:
        self._live -= 1

    def on_tick(self) -> None:
        pass


def _by_rule(rule: StopRule, domain: Domain, task: Task, *, proxies: bool = False) -> list[Step]:
    # ASHA draws its bracket from NumPy's global state, though there is only one.
    np.random.seed(task.seed)
    program = StopRuleProgram(domain, rule, task.seed, proxies=proxies)
    return run_program(program, domain.curves, slots=task.slots)


def _random(domain: Domain, task: Task, _: Constants) -> list[Step]:
    return _by_rule(RandomOrder(domain, task.seed), domain, task)


def _asha(domain: Domain, task: Task, _: Constants) -> list[Step]:
    return _by_rule(RayAsha(domain, task.seed), domain, task)


def _moasha(domain: Domain, task: Task, constants: Constants, *, proxies: bool) -> list[Step]:
    rule = SyneTuneMoasha(domain, SyneTune.shared(constants.syne_tune), task.seed)
    return _by_rule(rule, domain, task, proxies=proxies)


# -- ours ------------------------------------------------------------------------------------------


def _seeded(domain: Domain, seed: int) -> Any:
    """The domain's spec with the seed of this sweep: which recorded seed a trial gets follows."""
    spec = domain.prepared.spec
    training = spec.training.model_copy(update={"seed": seed})
    return _with_spec(domain, spec.model_copy(update={"training": training}))


def _with_spec(domain: Domain, spec: Any) -> Any:
    return replace(domain.prepared, loaded=replace(domain.prepared.loaded, spec=spec))


def _ours(
    domain: Domain,
    task: Task,
    constants: Constants,
    *,
    stopping: bool = True,
    mode: str = "generations",
    proxies: bool = False,
) -> list[Step]:
    spec = _seeded(domain, task.seed).spec
    search = spec.search.model_copy(
        update={
            "trials_per_model": TRIALS,
            "seed": task.seed,
            "sampler": "tpe",
            "mode": mode,
            "generation_size": constants.generation_size,
            "stopping": constants.stopping.model_copy(update={"enabled": stopping}),
        }
    )
    suites = {
        name: suite.model_copy(update={"proxy_for": PROXIES.get(name) if proxies else None})
        for name, suite in spec.suites.items()
    }
    prepared = _with_spec(domain, spec.model_copy(update={"search": search, "suites": suites}))
    # The ledger syncs every line: in memory where there is such a place.
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        return simulate_search(prepared, domain.curves, slots=task.slots, folder=Path(folder))


ARMS: dict[str, Arm] = {
    "random": Arm("random, no stopping", _random),
    "tpe": Arm("TPE, no stopping", lambda d, t, c: _ours(d, t, c, stopping=False)),
    "asha": Arm("Ray ASHA, gain x (1 - forgetting)", _asha),
    "moasha": Arm("Syne Tune MO-ASHA", lambda d, t, c: _moasha(d, t, c, proxies=False)),
    "moasha-proxy": Arm(
        "Syne Tune MO-ASHA, proxies", lambda d, t, c: _moasha(d, t, c, proxies=True)
    ),
    "ours": Arm("Keepgain", lambda d, t, c: _ours(d, t, c, proxies=True), is_ours=True),
    "ours-exact": Arm("Keepgain, no proxies", _ours, is_ours=True),
    "ours-async": Arm(
        "Keepgain, async",
        lambda d, t, c: _ours(d, t, c, proxies=True, mode="async"),
        is_ours=True,
    ),
}
"""Name → arm. The first one is what the others are measured against."""
