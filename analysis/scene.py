"""What the paragraph of a decision (`explain`) speaks of, and how it names sizes and arms."""

from dataclasses import dataclass, field

from keepgain.analysis.checks import Check
from keepgain.analysis.inference import Inference
from keepgain.analysis.judge import Flip, Verdict
from keepgain.analysis.measures import Measures
from keepgain.analysis.sizes import Size
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.record import Question
from keepgain.core.units import human_count


@dataclass(frozen=True)
class Scene:
    """All that the paragraph speaks of."""

    measures: Measures
    split: Split
    question: Question
    verdict: Verdict
    provisional: bool
    confirmed: bool
    tied: tuple[Configuration, ...]
    probability: float | None
    flips: tuple[Flip, ...]
    problems: tuple[str, ...]
    cautions: tuple[str, ...] = ()
    """Sentences on how far the search itself can be trusted."""
    inference: Inference = field(default_factory=Inference)

    @property
    def scorer(self) -> str:
        """Scorer of the task score."""
        return self.measures.scorer("gain")

    def arm_not_beaten(self, size: Size) -> list[Check]:
        """The condition that a size beats the best arm; empty if it holds, or there is none."""
        check = self.verdict.against_arm.get(size.model)
        return [] if check is None or check.holds else [check]


def size_name(size: Size) -> str:
    """`m (1.5B parameters)`."""
    if size.parameters is None:
        return size.model
    return f"{size.model} ({human_count(size.parameters)} parameters)"


def arm_name(arm: Configuration) -> str:
    """`the base m with a system prompt`."""
    if arm.kind == "base":
        return f"the untouched base {arm.model}"
    if arm.arm == "previous_round":
        return f"the model that {arm.model} started from"
    names = {
        "system_prompt": "with a system prompt",
        "few_shot": "with worked examples in the prompt",
    }
    how = names.get(arm.arm or "", "with retrieved context" if arm.arm == "context" else "")
    return f"the base {arm.model} {how}".strip()
