"""A model that answers one question at a time, for `sweep chat`."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from keepgain.core.config import ModelRef, Runtime, ScoreConfig
from keepgain.core.publish import read_json
from keepgain.core.rows import Row
from keepgain.trainers.generate import generate
from keepgain.trainers.models import BaseCache, numerics_of
from keepgain.trainers.process import prepare_libraries
from keepgain.trainers.reference import Prompting, prompt_ids
from keepgain.trainers.run import CARD
from keepgain.trainers.served import load_scored
from keepgain.trainers.tokens import Codec

ANSWER = "?"
"""Stands where a training row has its answer; nothing of it is shown to the model."""


@dataclass(frozen=True)
class Speaker:
    """A base or tuned model with its tokenizer."""

    model: nn.Module
    codec: Codec

    def answer(self, question: str, max_new_tokens: int) -> str:
        """Greedy, prompted as suite items are; nothing said before is shown to the model.

        Raises:
            UserError: The chat template refuses the question.
        """
        row = Row("question", "pair", prompt=question, answer=ANSWER)
        ids = prompt_ids(self.codec, row, Prompting())
        made = generate(self.model, self.codec, [ids], max_new_tokens, 1)
        return self.codec.text(made.answers[0])


def load_speaker(ref: ModelRef, weights: Path | None, runtime: Runtime) -> Speaker:
    """The base `ref`, or what was tuned from it.

    Args:
        ref: The base; of an adapter, the one that it was trained on.
        weights: A confirmed run's; None: the base itself.
        runtime: As the sweep scores.

    Raises:
        UserError: Weights or tokenizer cannot be read.
    """
    prepare_libraries()
    checkpoint = None if weights is None else str(weights.absolute())
    config = ScoreConfig(model=ref, checkpoint=checkpoint, suites=(), runtime=runtime)
    card = {} if weights is None else read_json(weights / CARD)
    numerics = numerics_of(runtime)
    model, codec = load_scored(BaseCache(), config, Path("/"), card, numerics)
    return Speaker(model.eval(), codec)
