"""What every test of training needs: one thread, deterministic kernels, a model folder."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from keepgain.core.config import ModelRef
from keepgain.trainers.process import prepare_libraries
from tests.trainers import tiny


@pytest.fixture(autouse=True, scope="session")
def libraries() -> None:
    prepare_libraries()


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return tiny.llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return tiny.qwen3(tmp_path_factory.mktemp("models") / "qwen3")
