"""One run in memory: model, engine, mixture and progress, with its way to and from a checkpoint."""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from keepgain.core.config import TrialConfig, run_key
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.trainers.checkpoint import publish, read_json, verify, write_json
from keepgain.trainers.cost import training_flops
from keepgain.trainers.data import DataCache
from keepgain.trainers.engine import make_engine
from keepgain.trainers.loop import train_to
from keepgain.trainers.methods import as_served, count_parameters, held_dtype, prepare
from keepgain.trainers.mixture import Mixture
from keepgain.trainers.models import BaseCache, numerics_of, plain
from keepgain.trainers.progress import Progress

log = logging.getLogger(__name__)

PROGRESS = "progress.json"
CARD = "keepgain.json"
"""In a folder of tuned weights: which run made it, after how many tokens."""


class Run:
    """A configuration and a seed, somewhere between their first and their last training token."""

    def __init__(self, config: TrialConfig, seed: int, bases: BaseCache, data: DataCache) -> None:
        self.config = config
        self.seed = seed
        self.key = run_key(config.trial_id, seed)
        self.numerics = numerics_of(config.runtime)
        base = bases.load(config.model, held_dtype(config, self.numerics), self.numerics.device)
        self.codec = base.codec
        self._rows = data.sources(config, base.codec)
        self.mixture = Mixture(
            config.mixture,
            {name: [len(r.ids) for r in rows] for name, rows in self._rows.items()},
            derive_seed(config.trial_id, seed),
        )
        prepared = prepare(base.model, config, seed)
        # Counted before an engine may spread the weights.
        self.counts = count_parameters(prepared)
        self.engine = make_engine(prepared, config, self.numerics)
        self.progress = Progress()
        log.info(
            "run %s: %s %s, %d of %d parameters train, %s on %s (%s)",
            self.key,
            config.model.name,
            config.method,
            self.counts["trainable"],
            self.counts["parameters"],
            str(self.numerics.dtype).removeprefix("torch."),
            self.numerics.device,
            self.numerics.reason,
        )

    @property
    def model(self) -> torch.nn.Module:
        """The trained model."""
        return self.engine.model

    @property
    def flops(self) -> float:
        """Estimated training FLOPs so far."""
        adapters = self.counts["trainable"] if self.config.method == "lora" else None
        return training_flops(self.counts["non_embedding"], self.progress.tokens, adapters)

    def cost(self) -> dict[str, float]:
        """Costs over all rungs so far, as `core.record.RungReport.cost` names them."""
        return {
            "train_seconds": self.progress.train_seconds,
            "train_flops": self.flops,
            "parameters": float(self.counts["parameters"]),
            "trainable_parameters": float(self.counts["trainable"]),
        }

    def warnings(self) -> list[str]:
        """What the reader of the run should know."""
        cut = self.progress.truncated
        if not cut:
            return []
        return [
            f"{cut} of {self.progress.examples} rows drawn were cut to "
            f"{self.config.max_length} tokens"
        ]

    def train(self, rung: int, on_point: Callable[[int, Mapping[str, float]], None]) -> None:
        """Trains to the end of a rung; does nothing where the run is there already."""
        train_to(
            self.config.rungs[rung],
            self.config,
            self.seed,
            self.engine,
            self.mixture,
            self._rows,
            self.codec.pad_id,
            self.progress,
            on_point,
        )

    def save(self, folder: Path, rung: int) -> None:
        """Publishes a checkpoint from which `load` goes on bit-exactly."""

        def write(into: Path) -> None:
            self.engine.save(into)
            state = {
                "run_key": self.key,
                "rung": rung,
                "runtime": self.config.runtime.model_dump(mode="json"),
                "torch": torch.__version__,
                "progress": self.progress.to_json(),
                "mixture": self.mixture.state(),
            }
            write_json(into / PROGRESS, state)

        publish(folder, write)

    def load(self, folder: Path, at_most: int) -> None:
        """Goes on from a checkpoint of this very run.

        Args:
            at_most: Rung that the checkpoint may not be beyond.

        Raises:
            DamagedError: It is not there or not whole; the run is as it was.
            UserError: It is beyond the rung, of another run, or of another engine, ZeRO stage or
                world size: refused before any training.
        """
        verify(folder)
        state = read_json(folder / PROGRESS)
        if state["run_key"] != self.key:
            raise UserError(
                f"this checkpoint belongs to run {state['run_key']}, not {self.key}.",
                where=str(folder),
            )
        if state["rung"] > at_most:
            raise UserError(
                f"this checkpoint is at rung {state['rung']}, beyond rung {at_most}.",
                where=str(folder),
            )
        here = self.config.runtime.model_dump(mode="json")
        for name in ("engine", "zero_stage", "world_size"):
            if state["runtime"][name] != here[name]:
                raise UserError(
                    f"this checkpoint was written with {name} {state['runtime'][name]} and cannot "
                    f"be continued with {here[name]}.",
                    where=str(folder),
                )
        self.engine.load(folder)
        self.mixture.restore(state["mixture"])
        self.progress = Progress(**state["progress"])

    def export(self, folder: Path) -> None:
        """Publishes the tuned weights as others read them, with the tokenizer.

        Full fine-tuning gives an ordinary model folder in the dtype in which it was scored; LoRA
        gives a PEFT adapter folder.
        """

        def write(into: Path) -> None:
            with self.engine.whole(), as_served(self.model, self.numerics.dtype):
                self._write_weights(into)
            self.codec.tokenizer.save_pretrained(into)
            card = {
                "run_key": self.key,
                "method": self.config.method,
                "tokens": self.progress.tokens,
                "examples": self.progress.examples,
                "base": {"name": self.config.model.name, "digest": self.config.model.digest},
            }
            write_json(into / CARD, card)

        publish(folder, write)

    def _write_weights(self, into: Path) -> None:
        options: dict[str, Any] = {}
        if self.config.method == "lora":
            # Else PEFT asks the hub whether the base's vocabulary has changed.
            options["save_embedding_layers"] = False
        self.model.save_pretrained(into, **options)  # type: ignore[operator]
        decoding = Path(self.config.model.path) / "generation_config.json"
        if decoding.exists() and self.config.method == "full":
            shutil.copy(decoding, into / decoding.name)
        empty = [n for n, p in plain(self.model).named_parameters() if p.numel() == 0]
        if empty:
            raise UserError(f"'{empty[0]}' would be saved empty.", where=str(into))

    def close(self) -> None:
        """Frees what outlives the object."""
        self.engine.close()
