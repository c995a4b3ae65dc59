"""Syne Tune's MOASHA behind JSON lines; runs in the environment that `syne_tune_env.sh` makes.

It is used as its documentation does (config space, metrics, time attribute, resource levels), with
its defaults; who calls it keeps the clock. One request a line:

    {"op": "begin", "seed": 0, "models": ["xs", "s"]}
    {"op": "suggest", "model": "xs"}                                   -> the configuration
    {"op": "result", "model": "xs", "trial": "ab", "units": 1, "gain": 0.1, "forgetting": 0.2}
                                                                       -> {"goes_on": true}
"""

import json
import random
import sys
from datetime import datetime
from typing import Any

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA


class Server:
    """Holds one scheduler for each base model."""

    def __init__(self, axes: dict[str, list[Any]], max_units: int) -> None:
        self._space = {name: choice(values) for name, values in axes.items()}
        self._max_units = max_units
        self._schedulers: dict[str, MOASHA] = {}
        self._trials: dict[str, Trial] = {}

    def begin(self, seed: int, models: list[str]) -> dict[str, Any]:
        np.random.seed(seed)  # its suggestions and its ordering of layers draw from here
        random.seed(seed)
        self._trials = {}
        self._schedulers = {
            model: MOASHA(
                self._space,
                metrics=["loss_of_gain", "forgetting"],
                do_minimize=True,
                time_attr="units",
                max_t=self._max_units,
                grace_period=1,
                reduction_factor=3,
                random_seed=seed + number,
            )
            for number, model in enumerate(models)
        }
        return {}

    def suggest(self, model: str) -> dict[str, Any]:
        return dict(self._schedulers[model].suggest().config)

    def result(
        self, model: str, trial: str, units: int, gain: float, forgetting: float
    ) -> dict[str, Any]:
        scheduler = self._schedulers[model]
        if trial not in self._trials:
            now = datetime.now()
            self._trials[trial] = Trial(trial_id=len(self._trials), config={}, creation_time=now)
            scheduler.on_trial_add(self._trials[trial])
        told = {"units": units, "loss_of_gain": -gain, "forgetting": forgetting}
        decision = scheduler.on_trial_result(self._trials[trial], told)
        return {"goes_on": decision == SchedulerDecision.CONTINUE}


def main() -> None:
    """Answers until the input ends. Argument: `{"axes": {...}, "max_units": 9}`."""
    server = Server(**json.loads(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        reply = getattr(server, request.pop("op"))(**request)
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
