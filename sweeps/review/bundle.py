"""What goes to raters, and what stays with the sender: the blind page's items and their key.

The page is made so that nothing in it tells the two arms apart. Which answer stands left follows
from a secret seed, the item and the two texts, never from the arm (a keyed hash of each text; the
smaller one stands left), so that swapping the arms gives the same page to the byte. Ids, the order
and the export's own id are keyed hashes too. The seed is in the key alone.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel, parse
from keepgain.sweeps.review.pair import Answered, Pair
from keepgain.sweeps.review.sample import Sample

KEY_NAME = "key.json"
PAGE_NAME = "review.html"
ID_CHARS = 12


class KeyItem(StrictModel):
    """One item of the page, un-blinded."""

    suite: str
    item: str
    left: Literal["a", "b"]
    lead: int
    """As of `pair.Answered`."""
    stratum: str
    weight: float
    """Share of all items that it stands for."""
    cluster: str | None = None


class Key(StrictModel):
    """`key.json`: what un-blinds the ratings. It is never sent to a rater."""

    version: Literal[1] = 1
    export: str
    """Id of the page."""
    sweep: str
    split: Split
    suites: tuple[str, ...]
    a: str
    """Trial id."""
    b: str
    a_run: str
    b_run: str
    a_label: str
    b_label: str
    seed: str
    """Secret: sides, order and ids follow from it."""
    rubric: dict[str, str] = {}
    identical: int
    identical_clusters: tuple[str, ...] = ()
    """Of those of them that have one."""
    of: int
    items: dict[str, KeyItem]
    """Id on the page → the item, in the page's order."""


@dataclass(frozen=True)
class Shown:
    """An item as the page has it."""

    id: str
    question: str
    reference: str
    """Empty unless raters are to see it."""
    left: str
    right: str


@dataclass(frozen=True)
class Bundle:
    """Both halves of an export."""

    key: Key
    shown: tuple[Shown, ...]


def make_bundle(
    pair: Pair, sample: Sample, seed: str, rubric: Mapping[str, str], *, reference: bool = False
) -> Bundle:
    """Blinds the chosen items.

    Args:
        pair: All items.
        sample: Those that people are asked about, by `Answered.id`.
        seed: Secret, at least 16 characters where it matters.
        rubric: Name → question.
        reference: Show the reference answers.
    """
    by_id = {item.id: item for item in pair.items}
    chosen = sorted(sample.chosen, key=lambda c: _keyed(seed, "order", c.id))
    keys: dict[str, KeyItem] = {}
    shown: list[Shown] = []
    for one in chosen:
        item = by_id[one.id]
        name = _keyed(seed, "item", one.id)[:ID_CHARS]
        assert name not in keys, "two items with one id"
        left = _left(seed, item)
        texts = {"a": item.a.strip(), "b": item.b.strip()}
        right = "b" if left == "a" else "a"
        told = item.reference if reference else ""
        shown.append(Shown(name, item.question, told, texts[left], texts[right]))
        keys[name] = KeyItem(
            suite=item.suite,
            item=item.item,
            left=left,
            lead=item.lead,
            stratum=one.stratum,
            weight=one.weight,
            cluster=item.cluster,
        )
    # Of what the page shows, so that two exports never share an id.
    content = json.dumps([[s.id, s.question, s.reference, s.left, s.right] for s in shown])
    key = Key(
        export=_keyed(seed, "export", content + json.dumps(dict(rubric)))[:ID_CHARS],
        sweep=pair.sweep,
        split=pair.split,
        suites=pair.suites,
        a=pair.a.trial,
        b=pair.b.trial,
        a_run=pair.a.run,
        b_run=pair.b.run,
        a_label=pair.a.label,
        b_label=pair.b.label,
        seed=seed,
        rubric=dict(rubric),
        identical=sample.identical,
        identical_clusters=tuple(
            i.cluster for i in pair.items if i.kind == "same_text" and i.cluster is not None
        ),
        of=sample.of,
        items=keys,
    )
    return Bundle(key, tuple(shown))


def naming(models: Iterable[str], shown: Iterable[Shown]) -> int:
    """How many items have an answer that says the name of a base model: no page can hide that.

    Args:
        models: Names and hub ids; of an id each part counts.
        shown: The page.
    """
    parts = {part for model in models for part in model.casefold().split("/")}
    names = {part for part in parts if len(part) > 3}
    return sum(any(n in f"{s.left} {s.right}".casefold() for n in names) for s in shown)


def read_key(path: Path) -> Key:
    """Reads `key.json`.

    Raises:
        UserError: It is missing, or no key.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            "no such file.",
            where=str(path),
            hint=f"`--key FILE` names the {KEY_NAME} that `sweep review export` wrote.",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"the key cannot be read ({error}).", where=str(path)) from None
    return parse(Key, data, source=str(path))


def _left(seed: str, item: Answered) -> Literal["a", "b"]:
    a, b = (_keyed(seed, "side", f"{item.id}\0{text.strip()}") for text in (item.a, item.b))
    return "a" if a < b else "b"


def _keyed(seed: str, what: str, text: str) -> str:
    said = f"{what}\0{text}".encode("utf-8", "surrogatepass")
    return hmac.new(seed.encode(), said, hashlib.sha256).hexdigest()
