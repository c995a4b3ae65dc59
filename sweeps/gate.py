"""A gate of `sweep check`, and the material that all gates look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import Facts, FactsProbe, facts_of, labels_of
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.resources import Machine
from keepgain.sweeps.gates.scan import Arrays, Measured, Probe
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.spec_sweep import SweepSpec


@dataclass(frozen=True)
class Material:
    """What gates look at."""

    prepared: Prepared
    machine: Machine
    sets: Sequence[RowSet]
    scanned: Measured = field(default_factory=dict)

    @property
    def spec(self) -> SweepSpec:
        """The user's."""
        return self.prepared.spec

    @cached_property
    def labelled(self) -> tuple[Facts, dict[str, Column]]:
        """What is known of every row, and the labels of the sets that are classifications; of
        gates with the probe of `gates.labels`."""
        facts = facts_of(self.sets, self.measured(FactsProbe.name))
        if (rules := self.spec.data_spec) is None:
            return facts, labels_of(self.sets, facts)
        return facts, labels_of(self.sets, facts, rules.columns.label, rules.labels)

    def measured(self, probe: str) -> dict[str, Arrays]:
        """Label of each set → the arrays of a probe."""
        return {label: found[probe] for label, found in self.scanned.items() if probe in found}


LEAKED, SYNTHETIC = "leaked", "synthetic"
"""Kinds of flagged items."""


class Found(NamedTuple):
    """What a gate gives that names single items, too."""

    findings: list[Finding]
    flagged: Mapping[str, Mapping[str, Sequence[int]]]
    """`LEAKED` or `SYNTHETIC` → label of a suite's split → positions of its items: scores are
    also shown without them."""


@dataclass(frozen=True)
class Gate:
    """One subject of the check."""

    name: str
    """As its module in `gates/`, and as `sweep check --only` takes it."""
    run: Callable[[Material], list[Finding] | Found]
    probes: Callable[[Material], Sequence[Probe]] = lambda _: ()
    """When `run` is called, `Material.measured` has what they measured."""
    of_rows: bool = True
    """What it finds follows from the rows and the spec, not from the machine or the models."""
