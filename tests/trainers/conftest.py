"""What every test of training needs: one thread, deterministic kernels, a model folder."""

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from keepgain.core.config import ModelRef
from keepgain.trainers.process import prepare_libraries
from tests.trainers import tiny


@pytest.fixture(autouse=True, scope="session")
def libraries() -> None:
    prepare_libraries()


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """DeepSpeed in this process sets where its ranks meet; the children of other tests would go
    there too."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return tiny.llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return tiny.qwen3(tmp_path_factory.mktemp("models") / "qwen3")
