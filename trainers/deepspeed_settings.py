"""A user's DeepSpeed settings: which keys go on to DeepSpeed, and which Keepgain sets itself.

Free of torch and DeepSpeed, so that a spec is checked where neither is installed. The tables are of
DeepSpeed 0.19; a test compares them with the keys that the installed one reads. DeepSpeed passes
over a top-level key that it does not know, so a slip of the pen would change nothing and say
nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import JsonValue

from keepgain.core.errors import UserError

AUTO = "auto"
ZERO = "zero_optimization"
PASSED = frozenset(
    {
        "activation_checkpointing", "aio", "comms_logger", "communication_data_type", "data_types",
        "disable_allgather", "disable_python_gc", "dump_state", "gradient_predivide_factor",
        "log_level", "memory_breakdown", "prescale_gradients", "steps_per_print", "timers",
        "wall_clock_breakdown",
    }
)  # fmt: skip
"""Top-level keys that go on as they are, beside `zero_optimization`."""
OWN = {
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "gradient_allreduce_op",
    "zero_allow_untested_optimizer",
    "zero_force_ds_cpu_optimizer",
    "optimizer",
    "scheduler",
    "bf16",
    "fp16",
}
"""Top-level keys that Keepgain sets; blocks and single values."""
_MAIN = {"optimizer": "type", "scheduler": "type", "bf16": "enabled", "fp16": "enabled"}
OTHERS = frozenset(
    {
        "amp", "autotuning", "bfloat16", "checkpoint", "comet", "compile", "compression_training",
        "csv_monitor", "curriculum_learning", "data_efficiency", "dataloader_drop_last",
        "datastates_ckpt", "eigenvalue", "elasticity", "expert_parallel", "flops_profiler",
        "graph_harvesting", "hybrid_engine", "managed_gradient_accumulation", "nebula", "pipeline",
        "progressive_layer_drop", "quantize_training", "seq_parallel_communication_data_type",
        "sequence_parallel_size", "sparse_attention", "sparse_gradients", "tensor_parallel",
        "tensorboard", "torch_autocast", "use_data_before_expert_parallelism", "vocabulary_size",
        "wandb", "weight_quantization",
    }
)  # fmt: skip
"""Known ones that change what is trained, or write where Keepgain does not look."""
STAGE = f"{ZERO}.stage"
THRESHOLD = "stage3_param_persistence_threshold"
ZERO_PASSED = frozenset(
    {
        "allgather_bucket_size", "allgather_partitions", "contiguous_gradients",
        "ignore_unused_parameters", "memory_efficient_linear", "overlap_comm", "reduce_bucket_size",
        "reduce_scatter", "round_robin_gradients", "stage3_allgather_sequential",
        "stage3_gather_16bit_weights_on_model_save", "stage3_max_live_parameters",
        "stage3_max_reuse_distance", "stage3_model_persistence_threshold",
        "stage3_module_granularity_threshold", "stage3_param_persistence_threshold",
        "stage3_prefetch_bucket_size", "stage3_use_all_reduce_for_fetch_params", "sub_group_size",
        "use_multi_rank_bucket_allreduce",
    }
)  # fmt: skip
"""Keys below `zero_optimization` that change when things are sent, not what is computed."""
ZERO_OTHERS = frozenset(
    {
        "compute_grad_norm", "cpu_offload", "cpu_offload_param", "cpu_offload_use_pin_memory",
        "elastic_checkpoint", "enable_sanity_checks", "leaf_module", "legacy_stage1",
        "load_from_fp32_weights", "log_trace_cache_warnings", "override_module_apply",
        "parameter_alignment", "pipeline_loading_checkpoint", "save_muon_momentum_buffer_in_memory",
        "stage3_gather_fp16_weights_on_model_save", "zenflow", "zero_hpz_partition_size",
        "zero_quantized_gradients", "zero_quantized_nontrainable_weights", "zero_quantized_weights",
    }
)  # fmt: skip
OFFLOAD_STAGES = {"offload_optimizer": (1, 2, 3), "offload_param": (3,)}
"""ZeRO stages at which a part can lie on the host."""
OFFLOAD_PASSED = frozenset({"device", "pin_memory", "buffer_count", "buffer_size", "max_in_cpu"})


@dataclass(frozen=True)
class Own:
    """A value that Keepgain sets.

    Args:
        where: `file:key (line n)` of what sets it.
        value: As DeepSpeed is given it; None: not one value, so only `auto` is equal to it.
        shown: As the user wrote it.
    """

    where: str
    value: JsonValue
    shown: str


def passed_on(given: Mapping[str, Any], own: Mapping[str, Own], stage: int) -> dict[str, JsonValue]:
    """What of a user's settings goes to DeepSpeed beside Keepgain's own values.

    Args:
        given: As DeepSpeed's own JSON file has it.
        own: Dotted DeepSpeed key → what Keepgain sets there. Equal values and `auto` are accepted.
        stage: The ZeRO stage of the run.

    Raises:
        UserError: `where` is the dotted key. It contradicts a value of Keepgain's, is unknown, not
            taken over, impossible at this stage, or an `auto` that nothing would resolve.
    """
    passed: dict[str, JsonValue] = {}
    for key, value in given.items():
        if key in OWN:
            for name, leaf in _leaves(key, value):
                _compare(name, leaf, own)
        elif key == ZERO:
            passed[key] = _zero(value, own, stage)
        else:
            _refuse_unless(key, key, PASSED, OTHERS | OWN | {ZERO})
            _refuse_auto(key, value)
            passed[key] = value
    return {key: value for key, value in passed.items() if value != {}}


def merged(own: Mapping[str, Any], passed: Mapping[str, Any] | None) -> dict[str, Any]:
    """Keepgain's configuration with what `passed_on` gave; its own values stay."""
    passed = passed or {}
    zero = {**passed.get(ZERO, {}), "stage": own[ZERO]["stage"]}
    # Small models would otherwise never be spread, and a faulty save never noticed.
    zero.setdefault(THRESHOLD, 0)
    if offloads_optimizer(passed):
        # Torch's fused AdamW runs on the host as well, without a compiler.
        own = {**own, "zero_force_ds_cpu_optimizer": False}
    return {**passed, **own, ZERO: zero}


def offloads_optimizer(passed: Mapping[str, Any] | None) -> bool:
    """True if the optimizer's states lie on the host."""
    offload = (passed or {}).get(ZERO, {}).get("offload_optimizer", {})
    return bool(offload.get("device", "none") != "none")


def _zero(value: Any, own: Mapping[str, Own], stage: int) -> dict[str, JsonValue]:
    _need_mapping(ZERO, value)
    passed: dict[str, JsonValue] = {}
    for key, inner in value.items():
        name = f"{ZERO}.{key}"
        if name == STAGE:
            _compare(name, inner, own)
        elif key == THRESHOLD and inner == AUTO:
            continue
        elif key in OFFLOAD_STAGES:
            _check_offload(name, key, inner, stage)
            passed[key] = inner
        else:
            known = ZERO_OTHERS | OFFLOAD_STAGES.keys() | {"stage"}
            _refuse_unless(key, name, ZERO_PASSED, known)
            _refuse_auto(name, inner)
            passed[key] = inner
    return passed


def _check_offload(name: str, key: str, value: Any, stage: int) -> None:
    _need_mapping(name, value)
    for inner in value:
        _refuse_unless(
            inner,
            f"{name}.{inner}",
            OFFLOAD_PASSED,
            frozenset({"nvme_path", "ratio", "super_offload", "fast_init", "cpuadam_cores_perc",
                       "pipeline_read", "pipeline_write"}),
        )  # fmt: skip
    _refuse_auto(name, value)
    device = value.get("device", "none")
    if device not in ("cpu", "none"):
        raise UserError(
            f"the device '{device}' is not taken over; allowed: cpu, none.", where=f"{name}.device"
        )
    stages = OFFLOAD_STAGES[key]
    if device == "cpu" and stage not in stages:
        allowed = " or ".join(str(n) for n in stages)
        raise UserError(
            f"DeepSpeed can do this at ZeRO stage {allowed}, and the stage is {stage}.",
            where=name,
            hint=f"Set `training.zero_stage: {stages[-1]}`, or leave it out.",
        )


def _compare(name: str, value: Any, own: Mapping[str, Own]) -> None:
    if value == AUTO:
        return
    if name.startswith("fp16.") and name != "fp16.enabled":
        return  # of a loss scale, which nothing reads while fp16 is off
    ours = own.get(name)
    if ours is not None and ours.value is not None and ours.value == value:
        return
    if ours is None:
        block = name.split(".", 1)[0]
        ours = own[f"{block}.{_MAIN[block]}"]
    raise UserError(
        f"{name} is {value!r} here, and Keepgain sets it itself: {ours.where} is {ours.shown}.",
        where=name,
        hint="Leave it out or write `auto`, and change it there if it should be another.",
    )


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    else:
        yield name, value


def _refuse_unless(
    key: str, name: str, passed: frozenset[str], known: frozenset[str] | set[str]
) -> None:
    if key in passed:
        return
    if key in known:
        raise UserError(
            "Keepgain does not take over this key of DeepSpeed's.", where=name, hint="Leave it out."
        )
    near = get_close_matches(key, sorted(passed | known), n=1)
    raise UserError(
        "DeepSpeed has no such key.",
        where=name,
        hint=f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(sorted(passed))}.",
    )


def _refuse_auto(name: str, value: Any) -> None:
    parts = [value] if not isinstance(value, list) else value
    for part in parts:
        for inner, leaf in _leaves(name, part):
            if leaf == AUTO:
                raise UserError(
                    "nothing resolves this `auto`.",
                    where=inner,
                    hint="Write a value, or leave it out for DeepSpeed's default.",
                )


def _need_mapping(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise UserError(f"must be a mapping (given: {value!r}).", where=name)
