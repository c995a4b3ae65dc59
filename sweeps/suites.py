"""Suites of a spec: their items, as they are scored.

Where items are from is in `sweeps.suite_items`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from keepgain.core.config import Measures, Split, SuiteRef
from keepgain.core.errors import UserError
from keepgain.core.positive import marked
from keepgain.core.registered_scorer import SHARE
from keepgain.core.scorer_options import ScorerOptions
from keepgain.sweeps.lm_eval_suites import read_task
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.located import Located, digest_rows
from keepgain.sweeps.recovered_suites import remade
from keepgain.sweeps.sources import SPLITS, Source
from keepgain.sweeps.spec_guards import with_guarded
from keepgain.sweeps.spec_scorer import (
    chance_level,
    choice_counts,
    refuse_unmeasurable,
    refuse_unscorable,
    scorer_options,
)
from keepgain.sweeps.spec_suites import SuiteSpec, gain_suites, measures_of
from keepgain.sweeps.suite_items import made_items, own_items, task_items


@dataclass(frozen=True)
class Suite:
    """The items of a suite."""

    name: str
    spec: SuiteSpec
    validation: Located
    test: Located
    options: ScorerOptions | None = None
    """What the scorer takes."""

    def items(self, split: Split) -> Located:
        """Of one split."""
        return self.validation if split == "validation" else self.test

    def choice_counts(self, split: Split) -> list[int]:
        """Choices or labels of each item; empty where nothing is to choose."""
        return choice_counts(self.spec, self.options, self.items(split).rows)

    @property
    def chance(self) -> float | None:
        """The score of blind guessing; None where nothing is to choose, or not right or wrong."""
        rights = self.spec.registered.metric.unit == SHARE
        return chance_level(self.choice_counts("validation")) if rights else None


def suite_ref(suite: Suite, split: Split) -> SuiteRef:
    """Its items of one split, not yet written to a file."""
    rows = suite.items(split).rows
    measures: Measures | None = measures_of(suite.name, suite.spec)
    assert measures is not None, "the spec's cross-check refuses it"
    return SuiteRef(
        name=suite.name,
        measures=measures,
        split=split,
        scorer=suite.spec.metric_name,
        path="",
        digest=digest_rows(rows),
        items=len(rows),
        max_new_tokens=suite.spec.max_new_tokens,
        options=suite.options,
    )


def read_suites(
    loaded: LoadedSpec, sources: Mapping[str, Source], tasks: bool = True
) -> dict[str, Suite]:
    """All suites of the spec; raises as `read_sources` does.

    Args:
        loaded: The spec.
        sources: Of `read_sources`.
        tasks: Those of lm-evaluation-harness too.
    """
    given = loaded.spec.suites
    suites: dict[str, Suite] = {}
    for name, spec in sorted(given.items(), key=lambda s: bool(s[1].made_of)):
        if spec.lm_eval is not None and not tasks:
            continue
        suite = _marked(_read_suite(loaded, name, spec, sources, suites))
        _refuse_empty(loaded, suite)
        suites[name] = _with_options(loaded, suite)
    _refuse_unknown_slices(loaded, suites.values())
    if loaded.spec.question.guards:
        suites = _guarded(loaded, suites)
    return {name: suites[name] for name in given if name in suites}


def _read_suite(
    loaded: LoadedSpec,
    name: str,
    spec: SuiteSpec,
    sources: Mapping[str, Source],
    suites: Mapping[str, Suite],
) -> Suite:
    if spec.lm_eval is not None:
        documents, options = read_task(loaded, name, spec.lm_eval)
        return Suite(name, spec, *task_items(spec.lm_eval.task, documents), options)
    if spec.made_of:
        originals = {of: (suites[of].validation, suites[of].test) for of in spec.made_of}
        return Suite(name, spec, *made_items(loaded, name, spec, sources, originals))
    return Suite(name, spec, *own_items(loaded, name, spec, sources))


def _marked(suite: Suite) -> Suite:
    """Where one label is counted, each item says in a slice whether it is its own."""
    positive = suite.spec.positive
    if positive is None:
        return suite
    validation, test = (remade(suite.items(s), lambda row: marked(row, positive)) for s in SPLITS)
    return Suite(suite.name, suite.spec, validation, test)


def _guarded(loaded: LoadedSpec, suites: Mapping[str, Suite]) -> dict[str, Suite]:
    gains = gain_suites(loaded.spec.suites)
    with loaded.lined("question.guards"):
        return with_guarded(loaded.spec, suites, gains)


def _with_options(loaded: LoadedSpec, suite: Suite) -> Suite:
    """With what its scorer takes; raises as `refuse_unscorable` does."""
    if suite.options is not None:
        return suite
    where = loaded.where(f"suites.{suite.name}.scorer")
    try:
        items = chain.from_iterable(suite.items(split).rows for split in SPLITS)
        options = scorer_options(suite.spec, items, loaded.folder)
    except UserError as error:
        raise UserError(error.problem, where=where, hint=error.hint) from None
    placed = chain.from_iterable(suite.items(split).placed() for split in SPLITS)
    refuse_unscorable(suite.name, suite.spec, options, placed, where)
    for split in SPLITS:
        refuse_unmeasurable(suite.name, suite.spec, split, suite.items(split).rows, where)
    return replace(suite, options=options)


def _refuse_empty(loaded: LoadedSpec, suite: Suite) -> None:
    counts = {split: len(suite.items(split).rows) for split in SPLITS}
    for split, count in counts.items():
        if count == 0:
            other = ", ".join(f"{n} {s}" for s, n in counts.items())
            raise UserError(
                f"the suite '{suite.name}' has no {split} items ({other}).",
                where=loaded.where(f"suites.{suite.name}"),
                hint="The rows are too few to be split; add rows, or give `validation` and `test`.",
            )


def _refuse_unknown_slices(loaded: LoadedSpec, suites: Iterable[Suite]) -> None:
    """A slice that no item has is a slip of the pen."""
    if not loaded.spec.slices:
        return
    items = (row for suite in suites for split in SPLITS for row in suite.items(split).rows)
    found = {field for row in items for field, _ in row.slices}
    for index, name in enumerate(loaded.spec.slices):
        if name not in found:
            raise UserError(
                f"no item of any suite has the field '{name}'.",
                where=loaded.where(f"slices.{index}"),
                hint="Slices are named as the files name them; `fields` does not apply.",
            )
