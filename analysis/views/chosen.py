"""Which items of a suite are shown: lost, won or wrong ones of one trial, beside its base."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.analysis import words
from keepgain.analysis.find import find_name, find_row
from keepgain.analysis.result import Analysis
from keepgain.analysis.table import Configuration, SuiteItems, Table
from keepgain.analysis.views.scored import on_split
from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.items import Floats

Mask = npt.NDArray[np.bool_]
WHERE: Mapping[str, str] = {
    "worse": "worse than the base",
    "better": "better than the base",
    "changed": "not scored as by the base",
    "wrong": "wrong in at least one run",
}
"""Which items, by their mean score over runs → how that is said."""
DEFAULT_LIMIT = 20


@dataclass(frozen=True)
class Wanted:
    """Which items to show."""

    suite: str | None = None
    """None: the only one."""
    where: str = "worse"
    trial: str | None = None
    """None: the decision's."""
    slice: tuple[str, str] | None = None
    """Field and value."""
    limit: int = DEFAULT_LIMIT
    split: Split = "validation"


@dataclass(frozen=True)
class Scene:
    """One trial and its base on one suite and split."""

    table: Table
    suite: SuiteItems
    who: Configuration
    base: Configuration
    split: Split

    @property
    def scores(self) -> Floats:
        """Shape [n, S]."""
        return self.who.scores[self.split][self.suite.info.name]

    @property
    def before(self) -> Floats:
        """Of the base, shape [n]."""
        return self.base.scores[self.split][self.suite.info.name].mean(axis=1)

    @property
    def change(self) -> Floats:
        """Mean over runs minus base, up is better; shape [n]."""
        return self.suite.sign * (self.scores.mean(axis=1) - self.before)

    @property
    def binary(self) -> bool:
        """Every score is right or wrong."""
        return all(bool(np.all((s == 0) | (s == 1))) for s in (self.scores, self.before))


def find_scene(table: Table, analysis: Analysis, wanted: Wanted) -> Scene:
    """The trial, base and suite that are meant.

    Raises:
        UserError: Unknown or ambiguous names, or no scores on the split.
    """
    split, suites = wanted.split, table.suites.get(wanted.split, {})
    trial = _trial(analysis, wanted)
    who = on_split(table, trial, split)
    name = wanted.suite
    if name is None:
        if len(who.scores[split]) != 1:
            known = ", ".join(who.scores[split])
            raise UserError("which suite? Name one with --suite.", hint=f"Known: {known}.")
        name = next(iter(who.scores[split]))
    find_name("suite", name, list(suites))
    if name not in who.scores[split]:
        raise UserError(f"{words.clean(who.label)} was not scored on {name}.")
    bases = [c for c in table.configurations if c.kind == "base" and c.model == who.model]
    base = next((c for c in bases if name in c.scores.get(split, {})), None)
    if base is None:
        raise UserError(f"the base {who.model} has no {split} scores on {name}.")
    return Scene(table, suites[name], who, base, split)


def _trial(analysis: Analysis, wanted: Wanted) -> str:
    if wanted.trial is not None:
        return find_row(analysis.rows, wanted.trial).who.trial_id
    if analysis.decision.trial is None:
        candidates = [s.size.candidate for s in analysis.sizes if s.size.candidate]
        named = ", ".join(words.clean(c.label) for c in candidates)
        raise UserError(
            "the decision names no trial: say which with --trial.",
            hint=f"Candidates: {named}." if named else None,
        )
    return analysis.decision.trial


def of_slice(suite: SuiteItems, part: tuple[str, str] | None) -> Mask:
    """Items of a slice, given by field and value; shape [n].

    Raises:
        UserError: An unknown field or value.
    """
    if part is None:
        return np.ones(len(suite.item_ids), dtype=bool)
    field, value = part
    find_name(f"field of {suite.info.name}", field, list(suite.slices))
    values = suite.slices[field]
    find_name(f"value of {field}", value, [str(v) for v in np.unique(values) if v])
    return np.asarray(values == value)


def which(scene: Scene, where: str) -> Mask:
    """Items that are worse, better, changed or wrong; shape [n].

    Raises:
        UserError: `wrong` of scores that are not right or wrong.
    """
    if where == "wrong":
        if not scene.binary:
            raise UserError(
                f"scores of {scene.suite.info.name} ({scene.suite.info.scorer}) are not right or "
                "wrong.",
                hint="--where worse, better or changed.",
            )
        return np.asarray(wrong(scene).any(axis=1))
    change = scene.change
    found = {"worse": change < 0, "better": change > 0, "changed": change != 0}[where]
    return np.asarray(found)


def wrong(scene: Scene) -> Mask:
    """Shape [n, S]; of suites whose scores are 0 or 1."""
    return np.asarray((scene.scores == 0) == (scene.suite.sign > 0))
