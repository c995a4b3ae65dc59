"""What the tests of the comparison share."""

from functools import lru_cache

import domain
import pytest
from grid import prepared_grid

from tests.benchmarks.search import made


@pytest.fixture(scope="session")
def task() -> made.GridTask:
    """The grid of `far` with its trial ids."""
    return made.GridTask.of("far")


@pytest.fixture(scope="session", autouse=True)
def read_specs_once() -> None:
    """Tests load many small tables of one domain; its data need not be read for each."""
    domain.prepared_grid = lru_cache(prepared_grid)
