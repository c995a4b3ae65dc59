"""What a report says beside scores: costs, energy, and what like for like needs to be equal."""

from collections.abc import Mapping

from torch import cuda, device, nn

from keepgain.core.config import Runtime
from keepgain.core.identity import fingerprint
from keepgain.core.record import RungReport
from keepgain.trainers.cost import figures
from keepgain.trainers.models import Numerics, plain
from keepgain.trainers.process import energy_joules, peak_memory_bytes
from keepgain.trainers.summary import Summary


def cost_of(
    model: nn.Module,
    numerics: Numerics,
    summary: Summary,
    runtime: Runtime,
    own: Mapping[str, float],
) -> dict[str, float]:
    """Costs as `core.record.RungReport.cost` names them.

    Args:
        own: What is known of the run's training, or of the model.
    """
    cost = {**summary.cost, "peak_memory_bytes": float(peak_memory_bytes(numerics.device)), **own}
    if numerics.device.type == "cuda":
        parts = ("train_seconds", "score_seconds", "loss_seconds")
        busy = sum(cost.get(name, 0.0) for name in parts)
        cost["gpu_seconds"] = busy * runtime.world_size
    dtype = str(numerics.dtype).removeprefix("torch.")
    return figures(plain(model).config.to_dict(), dtype) | cost


def energy_so_far(runtime: Runtime) -> float | None:
    """See `energy_joules`; of one GPU, so unknown where several ranks have one each."""
    if runtime.device == "cpu" or runtime.world_size > 1 or not cuda.is_available():
        return None
    return energy_joules(device("cuda", cuda.current_device()))


def with_energy(report: RungReport, before: float | None, runtime: Runtime) -> RungReport:
    """With what the GPU has drawn during this job, whoever else was on it."""
    after = energy_so_far(runtime)
    if before is None or after is None:
        return report
    return report.model_copy(update={"cost": {**report.cost, "energy_joules": after - before}})


def tags_of(runtime: Runtime, numerics: Numerics, model: nn.Module) -> dict[str, str]:
    """What like for like needs to be equal, with `auto` resolved."""
    return {
        "engine": runtime.engine,
        "zero_stage": str(runtime.zero_stage),
        "world_size": str(runtime.world_size),
        "micro_batch_size": str(runtime.micro_batch_size or "batch"),
        "packing": str(runtime.packing).lower(),
        "scoring_batch_size": str(runtime.scoring_batch_size),
        "device": numerics.device.type,
        "dtype": str(numerics.dtype).removeprefix("torch."),
        "attention": plain(model).config._attn_implementation,
        "gradient_checkpointing": str(runtime.gradient_checkpointing).lower(),
        "compile": str(runtime.compile).lower(),
        **({} if runtime.deepspeed is None else {"deepspeed": fingerprint(runtime.deepspeed)}),
    }
