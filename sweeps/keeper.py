"""Keeps the record of a sweep: beside its ledger and on its MLflow parent run."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from keepgain.core.later import read_later
from keepgain.core.record import Evidence
from keepgain.core.redaction import redact_values
from keepgain.core.status import Stage
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import RECORD_FOLDER, TAG_USER
from keepgain.core.store.record_files import save_folder
from keepgain.sweeps.check_report import write_report
from keepgain.sweeps.checked import FILE_NAME, read_checked
from keepgain.sweeps.evidence import build_evidence
from keepgain.sweeps.gates.findings import SEVERITIES
from keepgain.sweeps.inputs import datasets_of
from keepgain.sweeps.openings import count_openings, note_opening, opening
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.provenance import person, provenance
from keepgain.sweeps.recorder import Recorder
from keepgain.sweeps.search.ledger import DriverStarted, Ledger
from keepgain.sweeps.search.replay import replay
from keepgain.sweeps.stages.decide import write_decision

DATA_FOLDER = "data"
"""On the MLflow run, of what the check says of the data."""
REPORT_NAME = "data.html"
SPEC_NAME = "spec.resolved.json"
"""In the sweep's folder: the spec as it is run."""


@dataclass
class Keeper:
    """Saves the record beside the ledger and on the MLflow parent run."""

    prepared: Prepared
    store: StoreLocation
    folder: Path
    ledger: Ledger
    recorder: Recorder
    warnings: tuple[str, ...]
    cluster: str | None
    """None: nothing was left to run."""
    stage: Stage = Stage.BASE
    """The last one that finished."""

    def __post_init__(self) -> None:
        self._checked = read_checked(self.folder)
        """None: nothing was checked, or by another version."""
        self._provenance = provenance(self.prepared.loaded.folder, self.cluster)
        self.stage = max(
            replay(self.ledger.events()).stages, key=list(Stage).index, default=Stage.BASE
        )
        self.recorder.parent_tags({f"keepgain.{k}": v for k, v in self._provenance.items()})
        self.recorder.parent_tags({TAG_USER: self._user(), **self.prepared.spec.tags})
        self.recorder.parent_file(self.folder / "sweep.yaml")
        self._record_spec()
        self._record_check()
        self.recorder.parent_inputs(datasets_of(self.prepared))

    def _user(self) -> str:
        """Who began the sweep, whoever continues it."""
        drivers = (e for e in self.ledger.events() if isinstance(e, DriverStarted))
        return next((e.user for e in drivers), person())

    def _record_spec(self) -> None:
        """The spec as it is run, with the profile merged in and every default written out."""
        loaded = self.prepared.loaded
        path = self.folder / SPEC_NAME
        content = redact_values(loaded.spec.model_dump(mode="json", by_alias=True))
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        self.recorder.parent_file(path)
        if loaded.profile is not None:
            self.recorder.parent_tags({"keepgain.profile": loaded.profile})

    def _record_check(self) -> None:
        """What the check found, and the data in figures."""
        if (checked := self._checked) is None:
            return
        counts = Counter(f.severity for f in checked.findings)
        self.recorder.parent_tags({f"keepgain.data_{s}s": str(counts[s]) for s in SEVERITIES[1:]})
        write_report(checked, self.folder / REPORT_NAME)
        for name in (FILE_NAME, REPORT_NAME):
            self.recorder.parent_file(self.folder / name, DATA_FOLDER)

    def save(self, stage: Stage) -> Evidence:
        """Writes the record as of now; called at the end of every stage."""
        self.stage = stage
        suites = self.prepared.score_suites("test")
        evidence = build_evidence(
            self.prepared,
            replay(self.ledger.events()),
            self.folder,
            stage=stage,
            store=self.store.display,
            test_opened=count_openings(self.store.work, suites),
            warnings=self.warnings,
            provenance=self._provenance,
            flagged=self._checked.flagged if self._checked is not None else None,
        )
        record = self.folder / RECORD_FOLDER
        save_folder(record, evidence)
        for path in sorted(record.iterdir()):
            self.recorder.parent_file(path, RECORD_FOLDER)
        self.recorder.parent_tags({"keepgain.stage": str(stage)})
        return replace(evidence, later=read_later(self.folder))

    def open_test(self, candidates: list[str]) -> None:
        """Notes that the test items are looked at now, once a sweep."""
        known = replay(self.ledger.events()).openings
        suites = self.prepared.score_suites("test")
        opened = known[0] if known else opening(candidates, suites)
        if not known:
            self.ledger.append(opened)
        note_opening(self.store.work, self.prepared.sweep_id, opened, suites)

    def decide(self) -> tuple[str, ...]:
        """Keeps the decision as `analyze` would print it, and what MLflow shows of it.

        Returns:
            What puts the search itself in doubt, a sentence each.
        """
        decided = write_decision(self.save(Stage.DECIDED), self.folder)
        self.recorder.decided(decided)
        return decided.cautions
