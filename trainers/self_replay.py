"""Replay rows that a base model writes itself: it answers general prompts before it is tuned.

Self-synthesised rehearsal (Huang et al. 2024, arXiv 2403.01244): answers of the base hold it where
it was without anybody's old data, and lie nearer to its own distribution than given ones (Yang et
al. 2024, arXiv 2402.13669). Only the prompts are the user's. The rows follow from the prompts, the
base and `core.config.BaseAnswers`; they are written once for a sweep, by the job that scores the
base, or by the first trial that finds none.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from keepgain.core.config import (
    BaseAnswers,
    ModelRef,
    Runtime,
    SelfReplay,
    SourceRef,
    SuiteRef,
    TrialConfig,
)
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed, file_digest, fingerprint
from keepgain.core.publish import read_json, write_json
from keepgain.core.rows import Row, read_rows, write_rows
from keepgain.trainers.encode import cut, spans_of
from keepgain.trainers.generate import generate
from keepgain.trainers.models import Base, BaseCache, max_positions, numerics_of
from keepgain.trainers.overlap import containing
from keepgain.trainers.reference import Prompting, prompt_ids
from keepgain.trainers.token_store import written_once
from keepgain.trainers.tokens import Codec

log = logging.getLogger(__name__)

ANSWERS = "answers"
"""Folder beside the sources: their prompts with the answers of each base."""
_ROWS, _COUNTS = "rows.jsonl", "counts.json"
_BATCHES = 8
"""Batches from one line of progress to the next."""
_PLACEHOLDER = "x"
"""Stands for the answer where a template must be shown one to tell where the prompt ends."""
_VERSION = 1
"""Raised when rows come out otherwise than before."""


@dataclass(frozen=True)
class Answered:
    """A source of prompts with the answers of one base."""

    ref: SourceRef
    """An ordinary source: the rows that are trained on."""
    empty: int
    """Answers without a character, whose rows are dropped."""
    cut_off: int
    """Answers that reached `max_new_tokens`."""
    unplaced: int
    """Answers that training could not locate, since the chat template writes them differently (such
    as thinking that it takes out); their rows are dropped."""


def with_answers(config: TrialConfig, bases: BaseCache) -> TrialConfig:
    """The configuration with ordinary sources in place of those that its base answers.

    For reading rows alone: its ids are other ones.
    """

    def load() -> Base:
        n = numerics_of(config.runtime)
        return bases.load(config.model, n.dtype, n.device, n.attention)

    read = [s for s in config.sources if s.answers and config.mixture.get(s.name, 0) > 0]
    if not read:
        return config
    found = {s.name: answered(s, config.model, config.runtime, load).ref for s in read}
    sources = tuple(found.get(s.name, s) for s in config.sources)
    return config.model_copy(update={"sources": sources})


def answer_all(asked: SelfReplay, model: ModelRef, runtime: Runtime, base: Base) -> tuple[str, ...]:
    """Has the base answer every source; what the user should know of the answers, a line each."""
    warnings: list[str] = []
    for source in asked.sources:
        found = answered(source, model, runtime, lambda: base)
        warnings += _warnings(source, found, asked.against)
    for warning in warnings:
        log.warning("%s", warning)
    return tuple(warnings)


def answered(
    source: SourceRef, model: ModelRef, runtime: Runtime, load: Callable[[], Base]
) -> Answered:
    """The rows of a source with answers of the base; written first if they are not there.

    Args:
        source: With `answers` set.
        load: Gives the base, where it is needed.

    Raises:
        UserError: The file is not what the source says, or every answer is empty.
    """
    facts = {
        "version": _VERSION,
        "prompts": source.digest,
        "model": model.digest,
        "answers": source.answers and source.answers.model_dump(mode="json"),
    }
    folder = Path(source.path).parent / ANSWERS / fingerprint(facts)
    batch = runtime.scoring_batch_size
    target = written_once(folder, lambda into: _write(into, source, model, load(), batch))
    counts = read_json(target / _COUNTS)
    update = {
        "path": str(target / _ROWS),
        "digest": counts["digest"],
        "rows": counts["rows"],
        "answers": None,
    }
    read = source.model_copy(update=update)
    # Answers written by an earlier version have none of these.
    return Answered(read, counts["empty"], counts["cut_off"], counts.get("unplaced", 0))


def _write(into: Path, source: SourceRef, model: ModelRef, base: Base, batch: int) -> None:
    assert source.answers is not None, "only such sources are answered"
    made = _Counting()
    began = time.perf_counter()
    path = into / _ROWS
    with _seeded(derive_seed("answers", source.digest, model.digest), base.model):
        kept = write_rows(path, made.rows(source, base, source.answers, batch))
    if made.total != source.rows:
        raise UserError(
            f"source '{source.name}' should have {source.rows} rows and has {made.total}.",
            where=source.path,
        )
    if not kept and made.refusal is not None:
        raise made.refusal
    if not kept:
        raise UserError(
            f"{model.name} left the answers to all {made.total} prompts of '{source.name}' empty.",
            where=f"data.{source.name}",
            hint="Use `answers: given`, or prompts that a base without tuning goes on from.",
        )
    log.info(
        "%s answered the %d prompts of '%s' in %.1f s: %d tokens",
        model.name,
        made.total,
        source.name,
        time.perf_counter() - began,
        made.tokens,
    )
    counts = {"empty": made.empty, "cut_off": made.cut_off, "unplaced": made.unplaced}
    digest = file_digest(path)
    write_json(into / _COUNTS, {"digest": digest, "rows": kept, "tokens": made.tokens, **counts})


class _Counting:
    """Answers rows as they are asked for, and counts what came of them."""

    def __init__(self) -> None:
        self.total = self.empty = self.cut_off = self.unplaced = self.tokens = 0
        self.refusal: UserError | None = None
        """The first answer that cannot be located."""

    def rows(
        self, source: SourceRef, base: Base, settings: BaseAnswers, batch: int
    ) -> Iterator[Row]:
        """Those with an answer that can be trained on, in the order of the file."""
        prompts = read_rows(Path(source.path))
        while chunk := list(islice(prompts, _BATCHES * batch)):
            for row, text, cut_off in self._answers(base, chunk, settings, batch):
                self.total += 1
                self.cut_off += cut_off
                if not text.strip():
                    self.empty += 1
                elif self._is_placed(base.codec, answered := row.answered(text)):
                    yield answered
            log.info("'%s': %d of %d prompts answered", source.name, self.total, source.rows)

    def _is_placed(self, codec: Codec, row: Row) -> bool:
        """True if training finds the answer; one that it does not must not end every trial."""
        try:
            spans_of(codec, [row])
        except UserError as error:
            self.unplaced += 1
            self.refusal = self.refusal or error
            return False
        return True

    def _answers(
        self, base: Base, chunk: Sequence[Row], settings: BaseAnswers, batch: int
    ) -> Iterator[tuple[Row, str, bool]]:
        model, codec, limit = base.model, base.codec, settings.max_new_tokens
        ids = [_prompt(codec, row, model, limit) for row in chunk]
        made = generate(model, codec, ids, limit, batch, settings.temperature)
        self.tokens += made.tokens
        texts = (_text(codec, row, a) for row, a in zip(chunk, made.answers, strict=True))
        return zip(chunk, texts, made.truncated, strict=True)


def _prompt(codec: Codec, row: Row, model: nn.Module, new_tokens: int) -> list[int]:
    """As scoring asks the row; what the model has no positions for is cut at the left."""
    ids = prompt_ids(codec, row.answered(_PLACEHOLDER), Prompting())
    positions = max_positions(model)
    if positions is None or len(ids) + new_tokens <= positions:
        return ids
    return cut(codec, ids, [], max(positions - new_tokens, 1)).ids.tolist()


def _text(codec: Codec, row: Row, answer: list[int]) -> str:
    """Such that training writes it where the base did."""
    text = codec.text(answer)
    # See `encode.plain_pair`: the answer of a plain chat gets its blank there.
    return text.removeprefix(" ") if row.kind == "chat" and not codec.has_template else text


@contextmanager
def _seeded(seed: int, model: nn.Module) -> Iterator[None]:
    """What is drawn follows from the seed, and leaves the process's random state as it was."""
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _warnings(source: SourceRef, found: Answered, against: Sequence[SuiteRef]) -> Iterator[str]:
    assert source.answers is not None, "only such sources are answered"
    where, total = f"data.{source.name}", source.rows
    if found.empty:
        yield f"{where}: {found.empty} of {total} answers of the base are empty; without these rows"
    if found.unplaced:
        yield (
            f"{where}: {found.unplaced} of {total} answers of the base are written differently by "
            "its chat template, as thinking is that it takes out; without these rows"
        )
    if found.cut_off:
        yield (
            f"{where}: {found.cut_off} of {total} answers of the base are cut at max_new_tokens "
            f"{source.answers.max_new_tokens}, and end there in training too; raise it"
        )
    for suite in against:
        rows, items = read_rows(Path(found.ref.path)), read_rows(Path(suite.path))
        if same := containing(rows, items):
            yield (
                f"{where}: {len(same)} of {found.ref.rows} rows, as the base answered them, "
                f"contain {suite.split} items of '{suite.name}' (first row: {same[0]}); they are "
                "trained on, so remove these prompts, or what is kept of that suite looks better "
                "than it is"
            )
