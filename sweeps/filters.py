"""Sources without the rows that a filter leaves out: what the gates find of single rows, as data.

A filter looks at the training rows of its own source alone, so that what it leaves does not depend
on what else is in the sweep. Of copies the first row stays; of rows that contradict one another
none does, since no one knows which is right.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keepgain.core.config import SourceRef
from keepgain.core.errors import UserError
from keepgain.sweeps.gates.label_conflicts import conflicts
from keepgain.sweeps.gates.label_errors import Suspicion, suspicions
from keepgain.sweeps.gates.labels import Facts, FactsProbe, facts_of, labels_of
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.near_duplicates import Duplicates, find_duplicates, sketch_probe
from keepgain.sweeps.gates.personal_data import PersonalProbe
from keepgain.sweeps.gates.quality import QualityProbe, faulty
from keepgain.sweeps.gates.scan import Arrays, Probe, scan_sets, usable_processes
from keepgain.sweeps.gates.shape import ShapeProbe
from keepgain.sweeps.loaded_spec import LoadedSpec, spec_space
from keepgain.sweeps.located import Located, store_lines, store_rows
from keepgain.sweeps.sources import Source, source_ref
from keepgain.sweeps.spec_filters import Fault, FilterSpec, used_filters

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Variant:
    """A source without the rows that a filter leaves out."""

    name: str
    """Of the filter."""
    source: Source
    """Whole."""
    kept: Flags
    """Of shape [rows of the source]."""
    reasons: Mapping[str, Flags]
    """Fault, `min_words` or `max_words` → rows that have it; a row may have several."""
    note: str = ""
    """What the filter could not see."""

    @property
    def label(self) -> str:
        """`tickets/train:clean`; `tickets/train` where nothing is left out."""
        return f"{self.source.name}/train" + ("" if self.kept.all() else f":{self.name}")

    @cached_property
    def rows(self) -> Located:
        """What is left."""
        return self.source.train.where(self.kept)

    @cached_property
    def ref(self) -> SourceRef:
        """Of what is left, not yet written: the whole source's own where nothing is left out."""
        return source_ref(replace(self.source, train=self.rows))

    @property
    def counts(self) -> dict[str, int]:
        """Reason → rows left out for it."""
        return {reason: int(flags.sum()) for reason, flags in self.reasons.items()}

    @property
    def said(self) -> str:
        """E.g. `clean: 1,913 of 2,000 rows (duplicates 40, label_errors 50)`."""
        why = ", ".join(f"{reason} {count:,}" for reason, count in self.counts.items())
        note = f"; {self.note}" if self.note else ""
        return f"{self.name}: {int(self.kept.sum()):,} of {len(self.kept):,} rows ({why}{note})"

    def left_out(self) -> Iterator[bytes]:
        """One line of JSON a row, without its text: id, place and reasons."""
        rows, places = self.source.train.rows, self.source.train.places
        for i in np.flatnonzero(~self.kept).tolist():
            why = [reason for reason, flags in self.reasons.items() if flags[i]]
            facts = {"id": rows[i].id, "place": places[i], "reasons": why}
            yield (json.dumps(facts, ensure_ascii=False) + "\n").encode()


Variants = Mapping[tuple[str, str], Variant]
"""By source and filter."""


def filtered_sources(
    loaded: LoadedSpec, sources: Mapping[str, Source], say: Callable[[str], None]
) -> dict[tuple[str, str], Variant]:
    """What the filters that trials may choose leave; where there are none, no row is looked at.

    Raises:
        UserError: A filter leaves no row.
    """
    chosen = used_filters(spec_space(loaded))
    found: dict[tuple[str, str], Variant] = {}
    for name in dict.fromkeys(source for source, _ in chosen):
        say(f"filtering {name}")
        specs = {f: loaded.spec.data[name].filters[f] for s, f in chosen if s == name}
        looked = _Looked(loaded, sources[name], specs.values())
        for filter_name, spec in specs.items():
            found[name, filter_name] = _variant(loaded, sources[name], filter_name, spec, looked)
    return found


def store_filtered(
    data: Path, variants: Variants, sources: Iterable[SourceRef]
) -> dict[tuple[str, str], SourceRef]:
    """Writes what each filter leaves of a source, and a list of what it leaves out.

    Args:
        data: Folder.
        variants: To be written.
        sources: Whole, written: the references of filters that leave nothing out.
    """
    whole = {ref.name: ref for ref in sources}
    refs = {}
    for (name, chosen), variant in variants.items():
        refs[name, chosen] = whole[name]
        if not variant.kept.all():
            path = data / f"{name}.{chosen}.train.jsonl"
            store_rows(path, variant.rows.rows)
            store_lines(data / f"{name}.{chosen}.left_out.jsonl", variant.left_out())
            refs[name, chosen] = variant.ref.model_copy(update={"path": str(path)})
    return refs


def _variant(
    loaded: LoadedSpec, source: Source, name: str, spec: FilterSpec, looked: "_Looked"
) -> Variant:
    reasons = looked.reasons(spec)
    kept = ~np.any([*reasons.values()], axis=0)
    found = Variant(name, source, kept, reasons, looked.note(spec))
    if not kept.any():
        raise UserError(
            f"the filter leaves nothing of '{source.name}': {found.said}.",
            where=loaded.where(f"data.{source.name}.filters.{name}"),
            hint="Make it leave out less; `sweep check` shows examples of each fault.",
        )
    return found


class _Looked:
    """The rows of a source, measured once for all of its filters.

    Args:
        loaded: Its `data_spec` may say what the labels are.
        source: Its training rows are looked at.
        specs: What is asked of them.
    """

    def __init__(self, loaded: LoadedSpec, source: Source, specs: Collection[FilterSpec]) -> None:
        train = source.train
        self._rules = loaded.spec.data_spec
        self._rows = RowSet(
            f"{source.name}/train",
            "train",
            train.rows,
            train.places,
            role=source.role,
            columns=train.columns,
            source=source.name,
        )
        self._sketches = sketch_probe([self._rows]) if _asks(specs, "duplicates") else None
        probes: list[Probe] = [self._sketches] if self._sketches else []
        if _asks(specs, "label"):
            probes.append(FactsProbe())
        if _asks(specs, "personal_data"):
            probes.append(PersonalProbe())
        if _asks(specs, "broken"):
            probes.append(QualityProbe())
        if any(spec.min_words or spec.max_words for spec in specs):
            probes.append(ShapeProbe())
        self._measured = scan_sets([self._rows], probes, usable_processes())[self._rows.label]

    def reasons(self, spec: FilterSpec) -> dict[str, Flags]:
        """Fault or limit → the rows that have it or break it; of shape [rows]."""
        found: dict[str, Flags] = {fault: self._flags(fault) for fault in spec.drop}
        if spec.min_words is not None:
            found["min_words"] = self._words < spec.min_words
        if spec.max_words is not None:
            found["max_words"] = self._words > spec.max_words
        return found

    def note(self, spec: FilterSpec) -> str:
        """What of the faults could not be seen, or not in all rows; empty: nothing."""
        notes = []
        total = len(self._rows.rows)
        if "label_errors" in spec.drop:
            looked_at = sum(s.rows for s in self._suspicions)
            if not looked_at:
                notes.append("no labels that a model can learn")
            elif looked_at < total:
                notes.append(f"label_errors among {looked_at:,} rows")
        copies = self._copies if "near_duplicates" in spec.drop else None
        if copies is not None and copies.looked_at < copies.candidates:
            notes.append(f"{copies.looked_at:,} of {copies.candidates:,} alike pairs compared")
        return "; ".join(notes)

    def _flags(self, fault: Fault) -> Flags:
        label = self._rows.label
        every = np.arange(len(self._rows.rows))
        match fault:
            case "duplicates":
                return self._copies.exact[label] != every
            case "near_duplicates":
                return self._copies.near[label] != every
            case "label_conflicts":
                return conflicts(self._rows, self._facts)
            case "label_errors":
                suspects = [s.index for found in self._suspicions for s in found.suspects]
                return np.isin(every, suspects)
            case "personal_data":
                return np.count_nonzero(self._of(PersonalProbe())["counts"], axis=1) > 0
            case "broken":
                return faulty(self._of(QualityProbe()))

    def _of(self, probe: Probe) -> Arrays:
        return self._measured[probe.name]

    @property
    def _words(self) -> npt.NDArray[np.int32]:
        return self._of(ShapeProbe())["words"]

    @cached_property
    def _copies(self) -> Duplicates:
        assert self._sketches is not None, "a filter asks for copies"
        measured = {self._rows.label: self._of(self._sketches)}
        return find_duplicates([self._rows], measured, self._sketches)

    @cached_property
    def _facts(self) -> Facts:
        return facts_of([self._rows], {self._rows.label: self._of(FactsProbe())})

    @cached_property
    def _suspicions(self) -> list[Suspicion]:
        """Of models that tell labels better than chance."""
        rules = self._rules
        field = None if rules is None else rules.columns.label
        values = () if rules is None else rules.labels
        labels = labels_of([self._rows], self._facts, field, values)
        return [s for s in suspicions([self._rows], self._facts, labels) if s.says_something]


def _asks(specs: Collection[FilterSpec], what: str) -> bool:
    """True if a filter drops a fault whose name has `what` in it."""
    return any(what in fault for spec in specs for fault in spec.drop)
