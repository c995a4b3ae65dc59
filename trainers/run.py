"""One run in memory: model, engine, mixture and progress, with its way to and from a checkpoint."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from keepgain.core.config import TrialConfig, has_adapter, run_key
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.core.items import ItemScores
from keepgain.core.publish import publish, read_json, verify, write_json
from keepgain.trainers.accumulate import Accumulator
from keepgain.trainers.answer_losses import AnswerLosses
from keepgain.trainers.cost import training_flops
from keepgain.trainers.data import DataCache
from keepgain.trainers.early_stopping import Watch, said
from keepgain.trainers.engine import make_engine
from keepgain.trainers.engine_torch import TorchEngine
from keepgain.trainers.failures import OutOfMemory, is_memory
from keepgain.trainers.groups import draw_weights
from keepgain.trainers.interpolate import interpolated
from keepgain.trainers.loop import train_to
from keepgain.trainers.losses import answer_loss
from keepgain.trainers.methods import as_served, count_parameters, load_base, prepare
from keepgain.trainers.mixture import Mixture
from keepgain.trainers.models import (
    BaseCache,
    checkpoint_activations,
    embedding_rows,
    numerics_of,
    plain,
)
from keepgain.trainers.noise import EmbeddingNoise, set_dropout
from keepgain.trainers.packing import check_rows_stay_apart
from keepgain.trainers.process import peak_memory_bytes
from keepgain.trainers.progress import Progress
from keepgain.trainers.ranks import Place, this_place
from keepgain.trainers.retention import (
    Teacher,
    WeightAnchor,
    check_retention,
    diagonal_fisher,
    fisher_rows,
)
from keepgain.trainers.self_replay import with_answers
from keepgain.trainers.universal import converted, moved

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
        check_retention(config)
        self.numerics = numerics_of(config.runtime)
        self._load_base = partial(load_base, bases, config.model, config.method, self.numerics)
        as_read = with_answers(config, bases)
        base = self._load_base()
        self.codec = base.codec
        self._rows = data.sources(as_read, base.codec)
        self.mixture = Mixture(
            config.mixture,
            {name: rows.lengths for name, rows in self._rows.items()},
            derive_seed(config.training_id, seed),
            draw_weights(config, self._rows),
        )
        self._losses = AnswerLosses(config, self._rows, data, self.codec)
        if config.dropout is not None:
            set_dropout(base.model, config.dropout)
        prepared = prepare(base.model, config, seed)
        if config.runtime.gradient_checkpointing:
            checkpoint_activations(prepared)
        # Counted before an engine may spread the weights.
        self.counts = count_parameters(prepared)
        self.engine = make_engine(prepared, config, self.numerics)
        noise = EmbeddingNoise(prepared, config.neftune_alpha) if config.neftune_alpha else None
        self._accumulate = Accumulator(
            self.engine,
            config,
            self.codec.pad_id,
            noise,
            this_place(),
            self._anchor(),
            self._teacher(),
        )
        if config.runtime.packing:
            check_rows_stay_apart(self.engine, embedding_rows(prepared))
        self.progress = Progress()
        self._moved: str | None = None
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

    def _anchor(self) -> WeightAnchor | None:
        """Of the weights as they are now, before any checkpoint is loaded: the base's."""
        asked = self.config.retention
        if not (asked.l2_sp or asked.ewc):
            return None
        fisher = None
        if asked.ewc:
            replay = [rows for rows in self._rows.values() if rows.replay]
            rows = fisher_rows(self.config, self.seed, replay)
            plain_engine = TorchEngine(self.model, self.config, self.numerics)
            loss = partial(answer_loss, plain_engine, device=self.numerics.device)
            fisher = diagonal_fisher(
                self.model, rows, lambda batch: loss(batch).objective, self.codec.pad_id
            )
        return WeightAnchor(self.model, asked.l2_sp, asked.ewc, fisher)

    def _teacher(self) -> Teacher | None:
        asked = self.config.retention
        if not (asked.lwf or asked.kl):
            return None
        copy = None
        if not has_adapter(self.config.method):
            copy = self._load_base().model
        return Teacher(self.model, copy, self.numerics)

    @property
    def place(self) -> Place:
        """This process among the ranks of the run."""
        return self._accumulate.place

    @property
    def model(self) -> torch.nn.Module:
        """The trained model."""
        return self.engine.model

    @contextmanager
    def served(self, interpolation: float | None = None) -> Iterator[None]:
        """For the time of the context, the model is as it is scored and saved.

        Args:
            interpolation: See `interpolate.interpolated`; None: the trial's own.
        """
        alpha = self.config.interpolation if interpolation is None else interpolation
        base = self._load_base
        with (
            interpolated(self.model, alpha, lambda: base().model),
            as_served(self.model, self.numerics.dtype),
        ):
            yield

    @property
    def flops(self) -> float:
        """Estimated training FLOPs so far."""
        adapters = self.counts["trainable"] if has_adapter(self.config.method) else None
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
        found = []
        if self._moved is not None:
            found.append(f"goes on from a checkpoint of another layout: {self._moved}")
        if cut := self.progress.truncated:
            rows = f"{cut} of {self.progress.examples} rows drawn"
            found.append(f"{rows} were cut to {self.config.max_length} tokens")
        if self.progress.stopped_at is not None:
            found.append(said(self.progress))
        return found

    def answer_losses(self, final: bool) -> tuple[list[ItemScores], float]:
        """Of the validation items, at the end of a sample of training rows as well, and the seconds
        it took; collective.

        Empty where one is not finite: the scores say how good such a model is.
        """
        began = time.perf_counter()
        with self.served():
            found = self._losses.all(self.model, self.progress.tokens, trained=final)
        finite = all(np.isfinite(s.values).all() for s in found)
        return found if finite else [], time.perf_counter() - began

    def _validation_loss(self) -> float:
        """Of the trained weights; the leading rank's, so that all ranks decide alike."""
        with self.served(1.0):
            found = self._losses.validation(self.model)
        return float(self.place.told(repr(found)))

    def train(self, rung: int, on_point: Callable[[int, Mapping[str, float]], None]) -> None:
        """Trains to the end of a rung; does nothing where the run is there already.

        Raises:
            TrialFailure: A loss is not finite, or memory ran out.
        """
        asked = self.config.early_stopping
        try:
            train_to(
                self.config.rungs[rung],
                self.config,
                self.seed,
                self._accumulate,
                self.mixture,
                self._rows,
                self.progress,
                on_point,
                Watch(asked, self._validation_loss) if asked else None,
            )
        except Exception as error:
            if not is_memory(error):
                raise
            sizes = self._accumulate.at_work | {"parameters": self.counts["parameters"]}
            peak = peak_memory_bytes(self.numerics.device)
            raise OutOfMemory(error, self.config, self.progress.step, peak, sizes) from error

    def save(
        self,
        to: Path | str,
        rung: int,
        *,
        key: bytes | None = None,
        staging: Path | None = None,
    ) -> None:
        """Publishes a checkpoint from which `load` goes on bit-exactly; collective.

        Args:
            to, key, staging: As of `core.publish.publish`; all ranks can write there.
        """

        def write(into: Path) -> None:
            self._save_engine(str(into))
            state = {
                "run_key": self.key,
                "rung": rung,
                "runtime": self.config.runtime.model_dump(mode="json"),
                "torch": torch.__version__,
                "progress": self.progress.to_json(),
                "mixture": self.mixture.state(),
            }
            write_json(into / PROGRESS, state)

        if self.place.leads:
            publish(to, write, key=key, staging=staging)
        else:
            self._save_engine(None)
        self.place.wait()

    def _save_engine(self, into: str | None) -> None:
        """Every rank writes its part where the leading one says."""
        self.engine.save(Path(self.place.told(into)))
        self.place.wait()

    def load(self, folder: Path, at_most: int, *, key: bytes | None = None) -> None:
        """Goes on from a checkpoint of this very run.

        Args:
            at_most: Rung that the checkpoint may not be beyond.
            key: Has signed it.

        Raises:
            DamagedError: It is not there or not whole; the run is as it was.
            UserError: It is beyond the rung, of another run, or of an engine, ZeRO stage or world
                size from which there is no way here: refused before any training.
        """
        verify(folder, key=key)
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
        self._moved = moved(state["runtime"], here, str(folder))
        if self._moved is None:
            self.engine.load(folder)
        else:
            with converted(folder, self.place) as state_of_all:
                self.engine.load(state_of_all)
        self.mixture.restore(state["mixture"])
        self.progress = Progress(**state["progress"])

    def export(self, folder: Path) -> None:
        """Publishes the tuned weights as others read them, with the tokenizer.

        Full fine-tuning gives an ordinary model folder in the dtype in which it was scored; any
        other method gives a PEFT adapter folder. Collective; the leading rank writes.
        """
        if not self.place.leads:
            with self.engine.whole():
                return

        def write(into: Path) -> None:
            with self.engine.whole(), self.served():
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
        if has_adapter(self.config.method):
            # Else PEFT asks the hub whether the base's vocabulary has changed.
            options["save_embedding_layers"] = False
        self.model.save_pretrained(into, **options)  # type: ignore[operator]
        decoding = Path(self.config.model.path) / "generation_config.json"
        if decoding.exists() and not has_adapter(self.config.method):
            shutil.copy(decoding, into / decoding.name)
        empty = [n for n, p in plain(self.model).named_parameters() if p.numel() == 0]
        if empty:
            raise UserError(f"'{empty[0]}' would be saved empty.", where=str(into))

    def close(self) -> None:
        """Frees what outlives the object."""
        self.engine.close()
