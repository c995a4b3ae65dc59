"""Real searches on a closed-form objective: only the training is left out."""

import math
import random

import optuna

from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.search.draws import Draw, Result
from keepgain.sweeps.search.ledger import Asked, Finished
from keepgain.sweeps.search.space import parse_space
from keepgain.sweeps.search.stratified import StratifiedSearch

BOTH = {"gain": "maximize", "forgetting": "minimize"}
SPACE = {
    "method": ["full", "lora"],
    "learning_rate": {"log": [1e-5, 1e-1]},
    "lora.rank": {"log_int": [4, 64]},
    "mixture": {"tickets": [0.5, 1], "general": [0, 0.5]},
}
DISCRETE = {
    "method": ["full", "lora"],
    "learning_rate": [1e-5, 1e-4, 1e-3, 1e-2],
    "lora.rank": [4, 8, 16],
    "mixture": {"tickets": 0.8, "general": 0.2},
}
"""16 points: 4 with `full`, 12 with `lora`."""


def space_of(raw=SPACE):
    return parse_space(raw, sources=["tickets", "general"], where="sweep.yaml")


def make_search(folder, name="journal", space=None, **more):
    """A search of 6 trials for each of two base models, in generations of 4."""
    settings = {
        "models": ["xs", "s"],
        "trials_per_model": 6,
        "generation_size": 4,
        "seed": 1,
        "objectives": BOTH,
        "constraints": ["over_limit"],
        "study_prefix": "sweep-1a2b3c",
        "journal": folder / name,
        **more,
    }
    if settings.get("sampler") in ("grid", "list"):
        space = space or space_of(DISCRETE)
    if settings.get("sampler") == "list" and "configs" not in settings:
        settings["configs"] = [space.resolve(raw) for raw in space.grid()][::-1]
    return StratifiedSearch(space or space_of(), **settings)


def measure(draw: Draw) -> Result:
    """Gain peaks at 1e-3, forgetting grows with the rate and shrinks with replay."""
    p = draw.params
    off = abs(math.log10(p["learning_rate"] / 1e-3))
    forgetting = 0.1 * off + 0.2 * p.get("mixture.tickets", 1)
    values = (1 - off - 0.05 * (p["method"] == "lora"), forgetting)
    return Result(TrialStatus.COMPLETED, values, {"over_limit": forgetting - 0.25})


def mixed(draw: Draw) -> Result:
    """Now and then a failure or a pruned trial."""
    if draw.number % 5 == 3:
        return Result(TrialStatus.FAILED)
    return Result(TrialStatus.PRUNED) if draw.number % 5 == 4 else measure(draw)


def run(search, result=measure, shuffle=None):
    """Runs a search to its end, results of a generation arriving in index or shuffled order."""
    dealt = []
    while not search.done:
        while draw := search.next():
            dealt.append(draw)
        waiting = search.open_draws()
        if shuffle is not None:
            random.Random(shuffle).shuffle(waiting)
        for draw in waiting:
            search.tell(draw, result(draw))
    search.close(interrupted=False)
    return dealt


def history(search, result, shuffle, slots=None):
    """Runs a search to its end and writes the ledger that a driver would have written.

    Args:
        slots: Trials at a time, one of them ending at random; None: whole generations.
    """
    chance = random.Random(shuffle)
    events = [search.started()]
    keys = {}
    while not search.done:
        while (slots is None or len(search.open_draws()) < slots) and (draw := search.next()):
            key = f"{draw.model}{len(keys)}-s1"
            keys[draw.model, draw.number] = key
            if draw.repeats is not None:
                key = keys[draw.model, draw.repeats]
            events.append(asked_event(draw, key))
        waiting = search.open_draws()
        chance.shuffle(waiting)
        for draw in waiting if slots is None else waiting[:1]:
            found = result(draw)
            search.tell(draw, found)
            events.append(Finished(run_key=keys[draw.model, draw.number], status=found.status))
    search.close(interrupted=False)
    return events


def asked_event(draw, key):
    return Asked(
        run_key=key,
        trial_id=key.split("-")[0],
        seed=1,
        stage=Stage.SEARCH,
        kind="trial",
        model=draw.model,
        number=draw.number,
        generation=draw.generation,
        index=draw.index,
        origin=draw.origin,
        raw=draw.raw,
        params=draw.params,
        config={},
    )


def result_of(state):
    """What `mixed` says of a run."""
    a = state.asked
    return mixed(Draw(a.model, a.number, a.generation, a.index, a.origin, a.raw, a.params))


def draws_of(events):
    return [e for e in events if isinstance(e, Asked)]


def through_json(events):
    return [type(e).model_validate_json(e.model_dump_json()) for e in events]


def trials(search):
    """What Optuna knows, free of clocks."""
    return {name: facts(s) for name, s in search.studies.items()}


def facts(study):
    return [
        (t.number, t.state, t.params, t.values, t.constraints, t.user_attrs) for t in study.trials
    ]


def from_journal(path):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    names = [s.study_name for s in storage.get_all_studies()]
    return {n: optuna.load_study(study_name=n, storage=storage) for n in names}
