"""What every test of training needs: one thread, deterministic kernels, a model folder."""

import os
from pathlib import Path

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
    return tiny.model_folder(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """With a chat template, in bfloat16, without a padding token."""
    import torch

    folder: Path = tmp_path_factory.mktemp("models") / "qwen3"
    return tiny.model_folder(
        folder, "qwen3", template=tiny.PLAIN_TEMPLATE, dtype=torch.bfloat16, eos_token_id=5
    )
