"""Every arm searches a whole grid with made figures, and does so again with the same seed."""

import os
from collections import Counter
from pathlib import Path

import arms
import pytest
from arms import ARMS, Task
from domain import Domain, load_domain
from settings import Constants

from keepgain.sweeps.simulated.runner import Step
from tests.benchmarks.search.made import GridTask, whole_grid

SYNE_TUNE = Path(os.environ.get("KEEPGAIN_SYNE_TUNE", "no-environment"))
"""Python of the environment that `syne_tune_env.sh` makes."""
TRIALS = 9
"""Of each base model, in the arms that draw from what they learnt."""
TRIES_ALL = ("random", "asha", "moasha", "moasha-proxy")
STOPS_NONE = ("random", "tpe")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def domain(task: GridTask, tmp_path_factory: pytest.TempPathFactory) -> Domain:
    folder = tmp_path_factory.mktemp("tables")
    task.write(folder, whole_grid(task))
    return load_domain("far", folder)


@pytest.fixture(autouse=True)
def few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "TRIALS", TRIALS)


def run(domain: Domain, arm: str, seed: int, slots: int = 4) -> list[Step]:
    if arm.startswith("moasha") and not SYNE_TUNE.exists():
        pytest.skip(
            "Syne Tune's environment is not there: make it with benchmarks/search/syne_tune_env.sh "
            "and set KEEPGAIN_SYNE_TUNE=FOLDER/bin/python"
        )
    constants = Constants(syne_tune=SYNE_TUNE)
    return ARMS[arm].run(domain, Task("far", arm, seed, slots), constants)


def trained(domain: Domain, steps: list[Step]) -> list[tuple[str, int, float, float]]:
    """(trial id, rung, begin, end), in the order of ends."""
    return [
        (s.job.asked.trial_id, s.report.rung, s.began, s.ended)
        for s in steps
        if s.job.asked.trial_id in domain.cells
    ]


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_searches_the_grid_alike_with_the_same_seed(domain: Domain, arm: str) -> None:
    found = trained(domain, run(domain, arm, seed=3))
    assert trained(domain, run(domain, arm, seed=3)) == found
    assert trained(domain, run(domain, arm, seed=4)) != found

    rungs = Counter(trial_id for trial_id, *_ in found)
    begun = Counter(domain.cells[trial_id].model for trial_id in rungs)
    trials = 180 if arm in TRIES_ALL else TRIALS
    assert begun == dict.fromkeys(domain.models, trials), "an equal number for each base model"
    assert len(found) == len(set(found)) == sum(rungs.values())
    assert max(Counter((i, r) for i, r, *_ in found).values()) == 1, "no rung is trained twice"
    if arm in STOPS_NONE:
        assert set(rungs.values()) == {3}
    else:
        assert 0 < sum(n == 3 for n in rungs.values()) < len(rungs), "some are stopped, not all"


@pytest.mark.parametrize("arm", ["random", "asha"])
@pytest.mark.parametrize("slots", [1, 64])
def test_no_more_trials_run_at_a_time_than_there_are_slots(
    domain: Domain, arm: str, slots: int
) -> None:
    found = trained(domain, run(domain, arm, seed=0, slots=slots))
    # At equal times an end comes before a beginning.
    changes = sorted([(b, 1) for *_, b, _ in found] + [(e, -1) for *_, e in found])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    assert most == slots


def test_random_search_takes_the_same_order_on_any_number_of_slots(domain: Domain) -> None:
    orders = []
    for slots in (1, 64):
        steps = run(domain, "random", seed=0, slots=slots)
        orders.append({s.job.asked.number: s.job.asked.trial_id for s in steps})
    assert orders[0] == orders[1]


def test_ashas_first_trial_of_a_base_model_has_no_other_to_lose_to(domain: Domain) -> None:
    found = trained(domain, run(domain, "asha", seed=0, slots=1))
    of_model = [(i, r) for i, r, *_ in found if domain.cells[i].model == domain.models[0]]
    first = of_model[0][0]
    assert [r for i, r in of_model if i == first] == [0, 1, 2]


def test_one_third_of_many_trials_passes_each_rung_of_asha(domain: Domain) -> None:
    """It decides as trials arrive, so that of few more than a third pass."""
    found = trained(domain, run(domain, "asha", seed=0, slots=1))
    at = Counter(r for _, r, *_ in found)
    assert at[0] == 540
    assert 0.3 < at[1] / at[0] < 0.4
    assert 0.3 < at[2] / at[1] < 0.5
