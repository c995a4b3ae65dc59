"""Scores of a model on a suite, item by item: the model is asked for what the scorer needs, and the
scorer's functions (`core.scorers`) turn that into figures."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import nn

from keepgain.core.answers import Answers
from keepgain.core.config import Measures, SuiteRef
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.items import ItemScores
from keepgain.core.registered_scorer import Needs, RegisteredScorer
from keepgain.core.rows import Row, slice_columns
from keepgain.core.scorer_options import ScorerOptions
from keepgain.core.scorers import scorer, users_function
from keepgain.core.users_code import code_digest, load_function
from keepgain.trainers.data import IGNORED, collate
from keepgain.trainers.encode import Encoded
from keepgain.trainers.generate import Generated, batches_by_length, generate
from keepgain.trainers.losses import keeps_logits, logits_at
from keepgain.trainers.models import plain
from keepgain.trainers.scorers.choices import ChoiceLikelihoods
from keepgain.trainers.scorers.likelihood import Likelihood
from keepgain.trainers.scorers.lm_eval import item_values
from keepgain.trainers.scorers.text import distinct, length_ratio
from keepgain.trainers.scorers.user import bound
from keepgain.trainers.suites import SuiteItems, choice_texts
from keepgain.trainers.tokens import Codec

Beside = Callable[[], AbstractContextManager[nn.Module]]
"""Gives the base beside the tuned model for the time of the context; it may be the same module with
its adapters off."""


EARLY = 0.25
"""Of a reference's tokens: an answer that ends before is taken to have broken off, not to be short.
Empty answers that end by themselves are among them."""


@contextmanager
def adapters_off(model: Any) -> Iterator[nn.Module]:
    """A PEFT model as the base that it was put on."""
    with model.disable_adapter():
        yield model


@dataclass(frozen=True)
class SuiteResult:
    """Item scores with what else was seen while scoring."""

    scores: ItemScores
    measures: Measures
    seconds: float
    prompted: int
    """Items with a prompt: all but plain texts."""
    prompt_tokens: int
    """Over those items."""
    details: Mapping[str, float]
    """Further figures of the suite by name, as its scorer defines them."""
    generation: Generated | None = None
    """None where nothing is generated."""
    generated: Mapping[str, float] = field(default_factory=dict)
    """Figures of the generated answers as such; empty where nothing is generated."""
    answers: Answers | None = None
    """None where the model is asked for no answer, but for how likely given ones are."""
    rows: Sequence[Row] = ()
    """The items."""


@dataclass(frozen=True)
class _Asked:
    """What the model gave for the items, in their order."""

    given: Sequence[Any]
    """Texts, `Likelihood`s or `ChoiceLikelihoods`: what the scorer's functions take."""
    generation: Generated | None = None


def score_suite(
    model: nn.Module,
    codec: Codec,
    items: SuiteItems,
    batch_size: int,
    tokens: int,
    base: Beside | None = None,
) -> SuiteResult:
    """Scores all items of a suite.

    Args:
        model: In eval mode, in the dtype in which it is served.
        tokens: Training tokens that the model has seen, for the record.
        base: For scorers that compare with it.

    Raises:
        TrialFailure: `incomplete_scores`, if a score is not finite.
        UserError: The user's own function or program cannot be used.
    """
    began = time.perf_counter()
    kind, options = scorer(items.suite.scorer), items.suite.options or ScorerOptions()
    asked = _ask(kind.needs, model, codec, items, batch_size, base)
    item_score = _function_of(items.suite, options)
    pairs = zip(asked.given, items.rows, strict=True)
    values = np.array([item_score(given, row, options) for given, row in pairs], dtype=np.float64)
    scores = _item_scores(items, values, _weights(kind.weight, items), tokens)
    details = {}
    if kind.suite is not None:
        details = load_function(kind.suite)(asked.given, items.rows, values, options)
    shown = [p for p, row in zip(items.prompts, items.rows, strict=True) if row.kind != "text"]
    made = asked.generation
    return SuiteResult(
        scores=scores,
        measures=items.suite.measures,
        seconds=time.perf_counter() - began,
        prompted=len(shown),
        prompt_tokens=sum(len(p) for p in shown),
        details=details,
        generation=made,
        generated=_generation_figures(made, asked.given, items) if made else {},
        answers=_answers(items, asked.given, kind),
        rows=items.rows,
    )


def _answers(items: SuiteItems, given: Sequence[Any], kind: RegisteredScorer) -> Answers | None:
    """What was generated, or the likeliest choices, as the scorer lets them be kept."""
    if kind.needs not in ("generation", "choices"):
        return None
    texts = [g if kind.generates else g.likeliest(kind.per_byte) for g in given]
    if kind.recorded is not None:
        texts = [load_function(kind.recorded)(text) for text in texts]
    ids = tuple(row.id for row in items.rows)
    return Answers(items.suite.name, items.suite.split, items.suite.digest, ids, tuple(texts))


def _function_of(suite: SuiteRef, options: ScorerOptions) -> Callable[[Any, Row, Any], float]:
    """The scorer's function of one item; a user's is bound to our way of calling it.

    Raises:
        UserError: The user's code is gone, or has changed since the suite was prepared.
    """
    entry = users_function(suite.scorer)
    if options.code not in (None, code_digest(entry, options.command, options.path)):
        raise UserError(
            "the scorer's code is not the one that this sweep was prepared with.",
            where=f"suite '{suite.name}'",
            hint="Put the old content back, or start the sweep anew.",
        )
    function = load_function(scorer(suite.scorer).item, options.path if entry else "")
    return bound(function, suite.scorer) if entry else function


def _ask(
    needs: Needs,
    model: nn.Module,
    codec: Codec,
    items: SuiteItems,
    batch_size: int,
    base: Beside | None,
) -> _Asked:
    if needs == "generation":
        made = generate(model, codec, items.prompts, items.max_new_tokens, batch_size)
        return _Asked([codec.text(a) for a in made.answers], made)
    if needs == "choices":
        return _Asked(_choice_likelihoods(model, codec, items, batch_size))
    if needs == "harness":
        return _Asked(item_values(model, codec, items, batch_size))
    nats = np.zeros(len(items.rows))
    for places in batches_by_length(_lengths(items), batch_size):
        rows = [_row(items, i) for i in places]
        if needs == "base":
            assert base is not None, "the caller has the base where a scorer needs it"
            nats[places] = _divergences(base, model, codec, rows)
        else:
            nats[places] = log_losses(model, codec, rows)
    sizes = [len(a) for a in items.answers]
    given = zip(nats.tolist(), sizes, items.bytes, strict=True)
    return _Asked([Likelihood(*each) for each in given])


def _choice_likelihoods(
    model: nn.Module, codec: Codec, items: SuiteItems, batch_size: int
) -> list[ChoiceLikelihoods]:
    """All choices of all items together, in batches of like length."""
    rows = [
        Encoded(np.array(prompt + choice, dtype=np.int32), len(prompt), False)
        for prompt, choices in zip(items.prompts, items.choices, strict=True)
        for choice in choices
    ]
    logs = np.zeros(len(rows))
    for places in batches_by_length([len(r.ids) for r in rows], batch_size):
        logs[places] = -log_losses(model, codec, [rows[i] for i in places])
    ends = np.cumsum([len(choices) for choices in items.choices])
    parts = np.split(logs, ends[:-1])
    texts = [choice_texts(items.suite, row) for row in items.rows]
    return [ChoiceLikelihoods(t, part) for t, part in zip(texts, parts, strict=True)]


def _weights(weight: str, items: SuiteItems) -> npt.NDArray[np.float64]:
    """An item's own ratio of bits to bytes may leave out what a tokenizer or a model's length cuts
    off; its weight in bytes does not, so sizes are compared on the same mixture of items."""
    of = {
        "item": [1] * len(items.rows),
        "bytes": items.weights,
        "tokens": [len(a) for a in items.answers],
    }
    return np.array(of[weight], dtype=np.float64)


def _generation_figures(
    made: Generated, texts: Sequence[str], items: SuiteItems
) -> dict[str, float]:
    figures = {
        "answer_tokens": float(np.mean([len(a) for a in made.answers])),
        "empty_share": sum(not t.strip() for t in texts) / len(texts),
        "truncated_share": sum(made.truncated) / len(texts),
        "stopped_early_share": _stopped_early(made, items) / len(texts),
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "length_ratio": length_ratio(texts, [r.answer for r in items.rows]),
    }
    return {name: value for name, value in figures.items() if value is not None}


def _stopped_early(made: Generated, items: SuiteItems) -> int:
    """Answers that ended by a stop token before `EARLY` of their reference's tokens."""
    sizes = zip(made.answers, made.truncated, items.answers, strict=True)
    return sum(not cut and len(given) < EARLY * len(wanted) for given, cut, wanted in sizes)


def log_losses(model: nn.Module, codec: Codec, rows: list[Encoded]) -> npt.NDArray[np.float64]:
    """Sum of -ln p over each row's predicted tokens, in nats; float64 of shape [rows]."""
    logits, targets = scored_logits(model, codec, rows)
    wanted = targets != IGNORED
    losses = torch.zeros(targets.shape, dtype=torch.float64, device=targets.device)
    each = F.cross_entropy(logits[wanted].float(), targets[wanted], reduction="none")
    losses[wanted] = each.double()
    return losses.sum(dim=1).cpu().numpy()


@torch.inference_mode()
def scored_logits(
    model: nn.Module, codec: Codec, rows: list[Encoded]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits [rows, columns, vocabulary], targets [rows, columns]) where rows are scored."""
    device = next(model.parameters()).device
    batch = collate(rows, codec.pad_id)
    targets = batch.labels[:, 1:]
    columns = (targets != IGNORED).any(dim=0).nonzero()[:, 0]
    logits = logits_at(plain(model), keeps_logits(model), batch.inputs(device), columns.to(device))
    return logits, targets[:, columns].to(device)


def kl_to_base(
    base: nn.Module, tuned: nn.Module, codec: Codec, items: SuiteItems, batch_size: int = 16
) -> float:
    """Forward KL(base || tuned) in nats per token, over the scored tokens of all items.

    The prompts and continuations are fixed (those of the items), so this is the off-policy form.
    Exactly 0 for equal weights.
    """
    total = 0.0
    for places in batches_by_length(_lengths(items), batch_size):
        rows = [_row(items, i) for i in places]
        total += float(_divergences(lambda: nullcontext(base), tuned, codec, rows).sum())
    return total / sum(len(a) for a in items.answers)


@torch.inference_mode()
def _divergences(
    base: Beside, tuned: nn.Module, codec: Codec, rows: list[Encoded]
) -> npt.NDArray[np.float64]:
    """Sum of KL(base || tuned) over each row's predicted tokens in nats; float64, shape [rows]."""
    with base() as model:
        of_base, targets = scored_logits(model, codec, rows)
    of_tuned, _ = scored_logits(tuned, codec, rows)
    wanted = targets != IGNORED
    p = F.log_softmax(of_base[wanted].double(), dim=-1)
    q = F.log_softmax(of_tuned[wanted].double(), dim=-1)
    found = torch.zeros(targets.shape, dtype=torch.float64, device=targets.device)
    found[wanted] = (p.exp() * (p - q)).sum(dim=-1)
    return found.sum(dim=1).cpu().numpy()


def _row(items: SuiteItems, index: int) -> Encoded:
    prompt, answer = items.prompts[index], items.answers[index]
    return Encoded(np.array(prompt + answer, dtype=np.int32), len(prompt), False)


def _lengths(items: SuiteItems) -> list[int]:
    return [len(p) + len(a) for p, a in zip(items.prompts, items.answers, strict=True)]


def _item_scores(
    items: SuiteItems,
    values: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    tokens: int,
) -> ItemScores:
    suite, rows = items.suite, items.rows
    finite = np.isfinite(values)
    if not finite.all():
        first = rows[int(np.flatnonzero(~finite)[0])].id
        raise TrialFailure(
            "incomplete_scores",
            f"{int((~finite).sum())} of {len(rows)} scores of suite '{suite.name}' are not "
            f"finite, first item '{first}'",
        )
    groups = tuple(r.group for r in rows)
    clusters = tuple(r.cluster for r in rows)
    return ItemScores(
        suite=suite.name,
        split=suite.split,
        metric=suite.scorer,
        item_ids=np.array([r.id for r in rows], dtype=np.str_),
        values=values,
        weights=weights,
        tokens=tokens,
        groups=groups if any(g is not None for g in groups) else (),
        clusters=clusters if any(c is not None for c in clusters) else (),
        slices=slice_columns(rows, scorer(suite.scorer).records),
    )
