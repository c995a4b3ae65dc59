"""DeepSpeed in one process or several: ZeRO 0 to 3 with torch's AdamW, on GPUs or over gloo.

The configuration is concrete: DeepSpeed alone resolves no `auto`, and a value that changes with
the number of processes would change the hyperparameter under study. Its checkpoints are pickles;
they are read only after `checkpoint.verify` has found them as this package wrote them.
"""

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from keepgain.core.config import TrialConfig, has_adapter
from keepgain.core.errors import UserError
from keepgain.core.launch import free_port
from keepgain.trainers.deepspeed_settings import merged
from keepgain.trainers.engine import adamw, micro_batch_size
from keepgain.trainers.methods import trainable
from keepgain.trainers.models import Numerics
from keepgain.trainers.ranks import meeting

log = logging.getLogger(__name__)

FOLDER = "deepspeed"
TAG = "state"
UNIVERSAL = "universal"
"""In place of `TAG` where the state was converted for other ranks; see `universal`."""


class DeepSpeedEngine:
    """See `engine.Engine`."""

    def __init__(self, model: nn.Module, config: TrialConfig, numerics: Numerics) -> None:
        prepare_environment(numerics)
        import deepspeed

        _check_accelerator(numerics)
        if not deepspeed.comm.is_initialized():
            # Shared memory between ranks takes a compiler and half a minute; gloo does without.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
            backend = "nccl" if numerics.device.type == "cuda" else "gloo"
            with meeting() as timeout:
                deepspeed.init_distributed(
                    dist_backend=backend, auto_mpi_discovery=False, timeout=timeout
                )
        parameters = trainable(model)
        self._stage = config.runtime.zero_stage
        self._world = config.runtime.world_size
        self._boundary = True
        self._adapters = has_adapter(config.method)
        self.config = deepspeed_config(config, numerics)
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=model,
            optimizer=adamw(parameters, config),
            model_parameters=list(parameters.values()),
            config=self.config,
        )
        micro = self._engine.train_micro_batch_size_per_gpu()
        steps = self._engine.gradient_accumulation_steps()
        assert micro * steps * self._world == config.batch_size, "another batch than asked for"
        self.model: nn.Module = self._engine.module

    def forward(self, **inputs: Any) -> Any:
        """See `engine.Engine.forward`."""
        return self._engine(**inputs)

    def backward(self, loss: torch.Tensor) -> None:
        """See `engine.Engine.backward`; the loss is already a part of the batch's mean."""
        # DeepSpeed takes the mean of the ranks' gradients, and each holds a part of the sum.
        self._engine.backward(loss * self._world, scale_wrt_gas=False)
        self._boundary = self._engine.is_gradient_accumulation_boundary()
        if not self._boundary:
            self._engine.step()

    def step(self, learning_rate: float) -> float:
        """See `engine.Engine.step`."""
        assert self._boundary, "a step inside an accumulation"
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        norm = self._norm_without_zero() if self._stage == 0 else None
        self._engine.step()
        return float(self._engine.get_global_grad_norm() if norm is None else norm)

    def _norm_without_zero(self) -> float | None:
        """At stage 0 in float32 DeepSpeed clips and does not say by how much."""
        if self.config["bf16"]["enabled"]:
            return None
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))

    def save(self, folder: Path) -> None:
        """See `engine.Engine.save`; collective: every rank calls it."""
        self._engine.save_checkpoint(
            str(folder / FOLDER), tag=TAG, exclude_frozen_parameters=self._adapters
        )

    def load(self, folder: Path) -> None:
        """See `engine.Engine.load`."""
        tag = UNIVERSAL if (folder / FOLDER / UNIVERSAL).exists() else TAG
        # Otherwise said in the configuration, before it is known what will be loaded.
        self._engine._config.load_universal_checkpoint = tag == UNIVERSAL
        path, _ = self._engine.load_checkpoint(
            str(folder / FOLDER), tag=tag, load_module_strict=not self._adapters
        )
        # DeepSpeed answers None where it finds nothing, and goes on with fresh weights.
        if path is None or self._engine.global_steps == 0:
            raise UserError("DeepSpeed found no state in this checkpoint.", where=str(folder))

    def whole(self) -> AbstractContextManager[Any]:
        """See `engine.Engine.whole`."""
        if self._stage < 3:
            return nullcontext()
        import deepspeed

        gathered: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(
            list(self.model.parameters()), modifier_rank=None
        )
        return gathered

    def close(self) -> None:
        """Releases hooks and buffers; the process group stays for the next run."""
        self._engine.destroy()


def deepspeed_config(config: TrialConfig, numerics: Numerics) -> dict[str, Any]:
    """The whole DeepSpeed configuration, nothing left to be resolved later.

    Raises:
        UserError: The batch cannot be cut as asked (see `engine.micro_batch_size`).
    """
    micro = micro_batch_size(config)
    world = config.runtime.world_size
    own = {
        "train_batch_size": config.batch_size,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": config.batch_size // (micro * world),
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": {"stage": config.runtime.zero_stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": numerics.dtype == torch.bfloat16},
    }
    quiet = {"steps_per_print": 1_000_000, "wall_clock_breakdown": False}
    return quiet | merged(own, config.runtime.deepspeed)


def prepare_environment(numerics: Numerics) -> None:
    """Sets what DeepSpeed reads while it is imported, unless a launcher has set it.

    Without them it looks for MPI, or compiles its communication for another layout.
    """
    if numerics.device.type != "cuda":
        os.environ["DS_ACCELERATOR"] = "cpu"
    own = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_SIZE": "1"}
    for name, value in own.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(free_port()))


def _check_accelerator(numerics: Numerics) -> None:
    """Transformers may have imported DeepSpeed before this engine could choose the device."""
    from deepspeed.accelerator import get_accelerator

    chosen = get_accelerator().device_name()
    if chosen != numerics.device.type:
        raise UserError(
            f"DeepSpeed has chosen the device '{chosen}', the run asks for "
            f"'{numerics.device.type}'.",
            where="runtime.device",
            hint=f"Set DS_ACCELERATOR={numerics.device.type} before the worker starts.",
        )
