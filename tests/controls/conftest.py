"""One world and one other process for all controls: one thread each."""

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from keepgain.cluster.ranks import Ranks
from keepgain.core.launch import LaunchSpec
from keepgain.trainers.process import prepare_libraries
from tests.controls.world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    prepare_libraries()
    return make_world(tmp_path_factory.mktemp("controls"))


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Another process, as a sweep starts it."""
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    process = Ranks(LaunchSpec(entry_point="keepgain.trainers.worker", log_path=str(log)))
    yield process
    process.close()
