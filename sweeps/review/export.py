"""`sweep review export`: a blind page for raters, and the key that stays with the sender."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.core.pages import save
from keepgain.core.schema import parse
from keepgain.core.store.location import StoreLocation
from keepgain.sweeps.export import evidence_of
from keepgain.sweeps.overview import RESOLVED_SPEC, read_resolved_spec
from keepgain.sweeps.review.bundle import KEY_NAME, PAGE_NAME, Bundle, Key, make_bundle, naming
from keepgain.sweeps.review.page import to_html
from keepgain.sweeps.review.pair import Pair, find_pair
from keepgain.sweeps.review.sample import Sample, draw, items_needed, resolved
from keepgain.sweeps.spec_review import ReviewSpec

RESOLVE = 0.1
"""Distance of the win rate from 1/2 that `auto` is to tell."""

_KINDS: dict[str, str] = {
    "other_score": "the scorer tells the answers apart",
    "same_score": "answers differ and scores do not",
    "all": "answers differ",
}


@dataclass(frozen=True)
class Wanted:
    """What is to be reviewed."""

    a: str = "best"
    b: str = "base"
    items: int | None = None
    """To ask about; None: as many as `resolve` needs."""
    resolve: float = RESOLVE
    suites: tuple[str, ...] = ()
    split: Split | None = None


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    pair: Pair
    sample: Sample
    resolves: float
    """Distance of the win rate from 1/2 that is told with 80 % power, whatever people say."""
    bundle: Bundle
    named: int
    """Items with an answer that says the name of a base model."""


def export(
    location: StoreLocation,
    sweep: str,
    wanted: Wanted,
    target: Path,
    *,
    force: bool = False,
    seed: str | None = None,
) -> Exported:
    """Writes `review.html` and `key.json` to a folder.

    Args:
        sweep: Id, or `last`.
        wanted: What is compared, on which items.
        target: The folder; made if it is not there.
        force: Replace an export that is there.
        seed: Secret; None: drawn from the system's randomness, so that nobody can guess it.

    Raises:
        UserError: No such sweep, no answers, nothing that differs, or an export that is there.
            Nothing was written.
    """
    _refuse_taken(target, force)
    evidence = evidence_of(location, sweep)
    folder = location.sweep_folder(evidence.sweep.id)
    spec = read_resolved_spec(folder) if (folder / RESOLVED_SPEC).is_file() else {}
    # A sweep of an earlier version, or from elsewhere, asks nothing.
    asked = parse(ReviewSpec, spec.get("review") or {}, source=str(folder / RESOLVED_SPEC))
    pair = find_pair(evidence, folder, wanted.a, wanted.b, suites=wanted.suites, split=wanted.split)
    seed = seed or secrets.token_hex(16)
    sample = _draw(pair, wanted, seed)
    bundle = make_bundle(pair, sample, seed, asked.rubric, reference=asked.show_reference)
    page = to_html(bundle, asked)
    _save_key(target / KEY_NAME, bundle.key)
    save(target / PAGE_NAME, page)
    share = 1 - sample.share_identical
    return Exported(
        folder=target,
        pair=pair,
        sample=sample,
        resolves=resolved(share, len(sample.chosen)),
        bundle=bundle,
        named=naming(_names(pair, spec), bundle.shown),
    )


def _save_key(path: Path, key: Key) -> None:
    """Nobody else can read it, at no moment."""
    text = json.dumps(key.model_dump(mode="json"), indent=1)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.touch(0o600, exist_ok=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror}).", where=str(path)) from None


def lines(made: Exported) -> Sequence[str]:
    """What there is to say of an export, for its sender alone."""
    pair, sample = made.pair, made.sample
    said = [
        f"{pair.sweep}: {pair.a.label} against {pair.b.label}, {pair.split} items of "
        f"{', '.join(pair.suites)}; runs {pair.a.run} and {pair.b.run}",
        f"{len(sample.chosen)} of {sample.of} items on the page; {sample.identical} that both "
        "answered alike are ties and are not asked about",
        *_by_kind(sample),
        f"a win rate {100 * made.resolves:.1f} points from 50 % or more will be told from it "
        "(80 % power, 5 % two-sided, whatever people say)",
    ]
    if made.named:
        said.append(
            f"warning: answers to {made.named} items say the name of a base model, which no page "
            "can hide"
        )
    return [
        *said,
        f"{made.folder / PAGE_NAME}: send this file to each rater",
        f"{made.folder / KEY_NAME}: keep this one; it says which answer is whose",
        f"then: sweep review import ratings-{made.bundle.key.export}-*.jsonl --key "
        f"{made.folder / KEY_NAME}",
    ]


def _by_kind(sample: Sample) -> list[str]:
    """How many of those that the scorer tells apart, and of the others."""
    said = []
    for kind, what in _KINDS.items():
        strata = [c for name, c in sample.strata.items() if name.partition(" / ")[0] == kind]
        if strata:
            items, drawn = (sum(column) for column in zip(*strata, strict=True))
            groups = f", in {len(strata)} strata" if len(strata) > 1 else ""
            said.append(f"  {drawn} of {items} on which {what}{groups}")
    return said


def _draw(pair: Pair, wanted: Wanted, seed: str) -> Sample:
    units = [item.unit for item in pair.items]
    differ = sum(u.kind != "same_text" for u in units)
    if differ == 0:
        raise UserError(
            f"{pair.a.label} and {pair.b.label} answered all {len(units)} items alike.",
            where="--compare",
            hint="There is nothing to ask people; every item is a tie.",
        )
    items = wanted.items
    if items is None:
        items = items_needed(differ / len(units), wanted.resolve)
    return draw(units, items, derive_seed(seed, "sample"))


def _names(pair: Pair, spec: Mapping[str, Any]) -> set[str]:
    """By which the base models are known: the sweep's own names, and the hub's."""
    ours = {pair.a.model, pair.b.model}
    found = set(ours)
    for model in spec.get("models") or ():
        place = str(model.get("id") or Path(model.get("path") or model.get("reference") or "").name)
        if (model.get("name") or Path(place).name) in ours:
            found.add(place)
    return found


def _refuse_taken(target: Path, force: bool) -> None:
    if target.exists() and not target.is_dir():
        raise UserError("is a file, not a folder.", where=f"--to {target}")
    taken = [n for n in (PAGE_NAME, KEY_NAME) if (target / n).exists()]
    if taken and not force:
        raise UserError(
            f"{' and '.join(taken)} are there already.",
            where=f"--to {target}",
            hint="Name another folder. --force replaces them, and ratings of the page that is "
            "there can then never be read.",
        )
