"""For all tests: properties are checked without a clock, which a busy machine would fail, and the
files that take longest come first, so that no process is left alone with them at the end."""

import pytest
from hypothesis import settings

from tests.faults.plugin import FaultResults, pytest_addoption

__all__ = ["pytest_addoption"]

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

LONGEST = (
    "tests/faults/test_losses.py",
    "tests/faults/test_soak.py",
    "tests/sweeps/test_multi_worker_trials.py",
    "tests/sweeps/e2e/",
    "tests/trainers/test_ranks.py",
    "tests/sweeps/test_scheduler_contract.py",
    "tests/sweeps/test_trial.py",
    "tests/trainers/",
    "tests/benchmarks/",
    "tests/controls/",
)
"""The rest is done in seconds a file."""


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FaultResults(config), "fault-results")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files stay together, and tests within a file in their order."""

    def place(item: pytest.Item) -> int:
        return next((i for i, p in enumerate(LONGEST) if item.nodeid.startswith(p)), len(LONGEST))

    items.sort(key=place)
