"""One finished sweep for the tests that only read, made once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweeps.e2e.world import PATIENCE, Done, Swept, plant_shadows, write_spec


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Swept, Done]:
    """A sweep of two base models, run in a folder with packages that are named like ours."""
    folder = tmp_path_factory.mktemp("finished")
    cwd = folder / "user"
    plant_shadows(cwd)
    spec = write_spec(cwd, models=("xs", "s"), arms="[{few_shot: 2}]")
    swept = Swept(cwd, spec, folder / "store")
    return swept, swept.run().expect()


@pytest.fixture(scope="session")
def finished(first_run: tuple[Swept, Done]) -> Swept:
    """The finished sweep."""
    return first_run[0]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No store or cluster of the person who runs the tests."""
    for name in ("KEEPGAIN_STORE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.fixture
def no_store_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory without a store upwards."""
    monkeypatch.chdir(tmp_path)
    assert not any((p / ".keepgain").exists() for p in (tmp_path, *tmp_path.parents))
    return tmp_path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fixtures here run whole sweeps, which a loaded machine slows several times."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900 * PATIENCE))
