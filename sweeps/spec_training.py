"""`training` of `sweep.yaml`: how Keepgain itself trains and when it scores.

A trainer of the user's own is `trainer`, in `sweeps.spec_trainer`.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from keepgain.core.config import (
    Attention,
    Count,
    EarlyStopping,
    LoraSettings,
    Loss,
    Method,
    PeftSettings,
    Positive,
    RetentionSettings,
    Share,
)
from keepgain.core.schema import StrictModel


class TrainingSpec(StrictModel):
    """What all trials share unless the space varies it; see `core.config.TrialConfig`."""

    epochs: Positive | None = None
    """Budget: passes over the training rows of the task; 3 if no budget is given."""
    budget_tokens: Count | None = None
    budget_examples: Count | None = None
    method: Method = "full"
    learning_rate: Annotated[float, Field(ge=0)] | None = None
    """Needed if the space has none."""
    lora: LoraSettings = LoraSettings()
    """Used by trials whose method is `lora`, `rslora`, `dora` or `qlora`."""
    peft: PeftSettings | None = None
    """Used by trials whose method is `peft`: `{type: IA3}` and the options of that tuner."""
    mixture: dict[str, Share] | None = None
    """Share of tokens per source, if the space has none; default: task sources by rows."""
    batch_size: Count = 16
    micro_batch_size: Count | None = None
    packing: bool = False
    """Put short rows side by side in one sequence; what is trained stays the same."""
    dropout: Share | None = None
    """Of the base's own layers; default: as its folder says."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    neftune_alpha: Annotated[float, Field(ge=0)] = 0.0
    group_dro_step: Annotated[float, Field(ge=0)] = 0.0
    balance_by: Literal["answer", "group"] | None = None
    balance_strength: Share = 1.0
    retention: RetentionSettings = RetentionSettings()
    schedule: Literal["wsd", "constant", "linear", "cosine"] = "wsd"
    warmup_share: Share = 0.05
    decay_share: Share = 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Positive = 1.0
    max_length: Annotated[int, Field(ge=8)] = 1024
    loss: Loss = "last_turn"
    """Of a chat: on its last assistant turn, or on `all_turns` of the assistant."""
    rungs: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    """Shares of the budget at which a trial is scored, ascending, the last one 1."""
    interpolate: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """Shares of the way from the base to the tuned weights at which a trial is scored too."""
    early_stopping: EarlyStopping | None = None
    """End a training whose validation loss no longer falls, e.g. `{patience_tokens: 20000,
    check_every_tokens: 5000}`."""
    engine: Literal["torch", "deepspeed"] = "torch"
    zero_stage: Literal[0, 1, 2, 3] = 0
    deepspeed: str | dict[str, JsonValue] | None = None
    """DeepSpeed's own settings: a JSON file, or the same here; see `sweeps.spec_deepspeed`."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    attention: Attention = "auto"
    """auto: PyTorch's fused attention (sdpa) where the architecture has it, else eager."""
    gradient_checkpointing: bool = False
    """Less memory for activations, for about a third more computation."""
    compile: bool = False
    """Compile the training forward pass (torch.compile); a compiler must be there."""
    scoring_batch_size: Count = 64
    seed: Annotated[int, Field(ge=0)] = 0
    """Of search trials; confirmation draws fresh ones."""

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)) or value[-1] != 1:
            raise ValueError("must be ascending shares of the budget that end with 1")
        return value

    @field_validator("interpolate")
    @classmethod
    def _different_shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) < len(value):
            raise ValueError("must be different shares")
        return value

    @model_validator(mode="after")
    def _one_budget(self) -> "TrainingSpec":
        given = [n for n in ("epochs", "budget_tokens", "budget_examples") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"give one budget, not {' and '.join(f'`{n}`' for n in given)}")
        if self.zero_stage and self.engine != "deepspeed":
            raise ValueError("`zero_stage` needs `engine: deepspeed`")
        if self.deepspeed is not None and self.engine != "deepspeed":
            raise ValueError("`deepspeed` needs `engine: deepspeed`")
        if self.compile and self.engine != "torch":
            raise ValueError("`compile` needs `engine: torch`")
        if self.mixture is not None and abs(sum(self.mixture.values()) - 1) > 1e-6:
            raise ValueError(
                f"the shares of `mixture` must sum to 1, not {sum(self.mixture.values()):g}"
            )
        return self
