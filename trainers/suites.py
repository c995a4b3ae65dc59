"""Suite items as token ids, prepared once per process, model and prompting."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from keepgain.core.config import ModelRef, SuiteRef
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.extraction import BEGUN
from keepgain.core.rows import Row
from keepgain.core.scorers import scorer
from keepgain.trainers.encode import cut, spans_of
from keepgain.trainers.reference import Prompting, prompt_ids
from keepgain.trainers.tokens import Codec

EXTRA_TOKENS = 8
"""Generation may be so much longer than the longest reference, to show that it does not end."""

KEPT = 32


@dataclass(frozen=True)
class SuiteItems:
    """Items ready to be scored; lists are in the order of the rows."""

    suite: SuiteRef
    rows: list[Row]
    prompts: list[list[int]]
    """Before the scored part; of a text, the tokenizer's own BOS or its first token."""
    answers: list[list[int]]
    """The scored part, without the end token."""
    bytes: list[int]
    """UTF-8 bytes that `answers` cover: the divisor of bits per byte."""
    weights: list[int]
    """UTF-8 bytes of the whole answer or text, whatever part of it a tokenizer or a model's length
    leaves to be scored: an item then weighs the same for every model."""
    max_new_tokens: int
    """0 where nothing is generated."""
    shortened: int
    """Items that were cut to what the model can take."""
    choices: list[list[list[int]]] = field(default_factory=list)
    """Of each item, the ids of each choice or label; empty where none is asked for."""
    prompting: Prompting = field(default_factory=Prompting)
    """What `prompts` were made with."""


class SuiteCache:
    """Keeps prepared suites by content, model and prompting; the oldest goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], SuiteItems] = OrderedDict()

    def get(
        self,
        suite: SuiteRef,
        model: ModelRef,
        prompting: Prompting,
        codec: Codec,
        limit: int | None,
        read: Callable[[SuiteRef], list[Row]],
    ) -> SuiteItems:
        """The prepared suite; `read` gives its rows when it is new."""
        prompted = repr(prompting)
        key = (suite.model_dump_json(), model.path, model.digest, prompted, limit)
        if key not in self._kept:
            self._kept[key] = prepare_suite(codec, suite, read(suite), prompting, limit)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]


def prepare_suite(
    codec: Codec, suite: SuiteRef, rows: list[Row], prompting: Prompting, limit: int | None
) -> SuiteItems:
    """Encodes items for their scorer.

    Args:
        limit: The longest sequence that the model can take; prompts lose tokens at their left.

    Raises:
        UserError: An answer is asked of text items, or an arm does not fit the items.
        TrialFailure: `incomplete_scores`, if an item has nothing to score.
    """
    kind = scorer(suite.scorer)
    if kind.fits != "any":
        for row in rows:
            if row.kind == "text":
                raise UserError(
                    f"suite '{suite.name}': item '{row.id}' is plain text and has no answer to "
                    "match.",
                    where=suite.path,
                    hint="Score it with bits_per_byte.",
                )
    answers, sizes, firsts = _answers(codec, suite, rows)
    choices = _choices(codec, suite, rows) if kind.needs == "choices" else []
    prompts = [
        _with_begun(codec, row, first if row.kind == "text" else prompt_ids(codec, row, prompting))
        for row, first in zip(rows, firsts, strict=True)
    ]
    new_tokens = 0
    if kind.generates:
        new_tokens = suite.max_new_tokens or _generation_limit(prompts, answers, limit)
    shortened = 0
    for i, row in enumerate(rows):
        longest = max(len(c) for c in choices[i]) if choices else len(answers[i])
        tail = new_tokens or longest
        if limit is not None and len(prompts[i]) + tail > limit:
            shortened += 1
            if row.kind == "text" and not kind.generates:
                room = limit - len(prompts[i])
                answers[i], sizes[i] = _shorter_text(codec, row, answers[i], room)
            else:
                prompts[i] = cut(codec, prompts[i], [], max(limit - tail, 1)).ids.tolist()
        if not prompts[i]:
            raise TrialFailure(
                "incomplete_scores", f"item '{row.id}' of suite '{suite.name}' has no prompt"
            )
    weights = [len((r.text if r.kind == "text" else r.answer).encode()) for r in rows]
    return SuiteItems(
        suite, rows, prompts, answers, sizes, weights, new_tokens, shortened, choices, prompting
    )


def _with_begun(codec: Codec, row: Row, prompt: list[int]) -> list[int]:
    """With what the item gives of its answer, or of its text, to go on from."""
    begun = row.fact(BEGUN)
    if not begun:
        return prompt
    if row.kind == "text":
        return [*codec.bos, *codec.ids(begun)]
    return prompt + spans_of(codec, [row.answered(begun)])[0][1][:-1]


def choice_texts(suite: SuiteRef, row: Row) -> tuple[str, ...]:
    """The row's own choices, or the labels of the suite."""
    if scorer(suite.scorer).fits == "choices":
        return row.choices
    return suite.options.labels if suite.options else ()


def _choices(codec: Codec, suite: SuiteRef, rows: Sequence[Row]) -> list[list[list[int]]]:
    """Ids of each choice of each item, as if it were the answer.

    A label counts with the end of the answer, so that one that begins another (`no`, `no idea`)
    has no head start; a choice without, as in lm-evaluation-harness.
    """
    texts = [choice_texts(suite, row) for row in rows]
    asked = [row.answered(t) for row, mine in zip(rows, texts, strict=True) for t in mine]
    ends = scorer(suite.scorer).fits == "label"
    spans = iter([answer if ends else answer[:-1] for _, answer in spans_of(codec, asked)])
    ids = [[next(spans) for _ in mine] for mine in texts]
    for row, mine in zip(rows, ids, strict=True):
        if not mine or not all(mine):
            raise TrialFailure(
                "incomplete_scores",
                f"item '{row.id}' of suite '{suite.name}' has no choices, or one without a token",
            )
    return ids


def _generation_limit(prompts: list[list[int]], answers: list[list[int]], limit: int | None) -> int:
    """The longest reference and some more, less where that would cut prompts at their left."""
    longest = max((len(a) for a in answers), default=0)
    wanted = longest + EXTRA_TOKENS
    if limit is None:
        return wanted
    room = limit - max((len(p) for p in prompts), default=0)
    return max(min(wanted, room), longest + 1)


def _answers(
    codec: Codec, suite: SuiteRef, rows: Sequence[Row]
) -> tuple[list[list[int]], list[int], list[list[int]]]:
    """(scored ids, their bytes, ids before them for texts) of each item."""
    answers: list[list[int]] = []
    sizes: list[int] = []
    firsts: list[list[int]] = []
    spans = spans_of(codec, rows)
    for row, (_, span) in zip(rows, spans, strict=True):
        ids, first = span[:-1], []
        if row.kind == "text":
            # Without a BOS the first token is never predicted: neither scored nor counted.
            first = list(codec.bos) or ids[:1]
            ids = ids if codec.bos else ids[1:]
            size = _covered(codec, row.text, 0 if codec.bos else 1, None)
        else:
            size = len(row.answer.encode())
        if scorer(suite.scorer).needs in ("likelihood", "base") and (not ids or size == 0):
            raise TrialFailure(
                "incomplete_scores",
                f"item '{row.id}' of suite '{suite.name}' has no token that a model predicts",
            )
        answers.append(ids)
        sizes.append(size)
        firsts.append(first)
    return answers, sizes, firsts


def _shorter_text(codec: Codec, row: Row, ids: list[int], room: int) -> tuple[list[int], int]:
    skipped = 0 if codec.bos else 1
    return ids[:room], _covered(codec, row.text, skipped, skipped + room)


def _covered(codec: Codec, text: str, first: int, last: int | None) -> int:
    """UTF-8 bytes under the tokens [first, last) of `text`."""
    encoded = codec.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"][first:last]
    if not offsets:
        return 0
    end = len(text) if last is None else offsets[-1][1]
    return len(text[offsets[0][0] : end].encode())
