"""A sweep's rows against newer ones in a file: `sweep check --against`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.formats import FormatName
from keepgain.sweeps.check_progress import CheckProgress
from keepgain.sweeps.data_files import fields_of_dates, read_located, wants_choices
from keepgain.sweeps.gates.catalogue import CODES
from keepgain.sweeps.gates.drift import Drift, Old, check_drift
from keepgain.sweeps.gates.findings import finish
from keepgain.sweeps.gates.labels import FactsProbe, facts_of, labels_of
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.scan import scan_sets, usable_processes
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.located import Located
from keepgain.sweeps.row_sets import row_sets
from keepgain.sweeps.sources import read_sources
from keepgain.sweeps.spec_sources import DataSpec
from keepgain.sweeps.suites import read_suites

MOST_LINES = 40
"""Of the table of shares; JSON has all."""
MOST_MONTHS = 24


def compare(
    loaded: LoadedSpec, path: Path, source: str | None, progress: CheckProgress
) -> tuple[Drift, str | None]:
    """What has changed from the rows of a spec to those of a file.

    Args:
        loaded: The spec.
        path: Of the newer rows, with or without answers.
        source: Whose format and fields the file has, and whose training rows it is compared with;
            None: the source of the task. Where there are several, all are compared with, and the
            first one says how the file is read.
        progress: Is told.

    Returns:
        The comparison, with the spec's waivers applied, and why answers were not read (None: they
        were).

    Raises:
        UserError: No such source, or rows that cannot be read.
    """
    sources = read_sources(loaded)
    names = _named(loaded, source)
    suites = read_suites(loaded, sources, tasks=False)
    rows, unread = read_new(path, loaded, loaded.spec.data[names[0]])
    new = RowSet(path.name, "test", rows.rows, rows.places, columns=rows.columns)
    sets = row_sets(sources, suites)
    training = [s for s in sets if s.part == "train" and s.source in names]
    evaluation = [s for s in sets if s.part != "train" and s.measures == "gain"]
    every = [*training, *evaluation, new]
    with progress.rows(sum(len(s.rows) for s in every)) as tick:
        scanned = scan_sets(every, [FactsProbe()], usable_processes(), tick)
    facts = facts_of(every, {label: found[FactsProbe.name] for label, found in scanned.items()})
    rules = loaded.spec.data_spec
    label_field = rules.columns.label if rules is not None else None
    listed = rules.labels if rules is not None else ()
    labels = labels_of(every[:-1], facts, label_field, listed)
    found = check_drift(
        new,
        Old(training, evaluation, labels),
        facts,
        label_field=label_field,
        date_field=rules.columns.date if rules is not None else None,
    )
    allow = {k: why for k, why in loaded.spec.allow.items() if _is_drift(k)}
    findings = finish(found.findings, allow)
    return found.model_copy(update={"findings": tuple(findings)}), unread


def read_new(path: Path, loaded: LoadedSpec, spec: DataSpec) -> tuple[Located, str | None]:
    """The rows of a file in the form of a source; answers are left out where they lack.

    Returns:
        The rows, and why their answers were not read.

    Raises:
        UserError: The first fault of the file, by its line.
    """
    if not path.exists():
        raise UserError("no such file.", where=str(path))

    def read(prompts: bool) -> Located:
        kind: FormatName = spec.format
        rows, _ = read_located(
            path,
            format=kind,
            fields=spec.fields,
            slices=loaded.spec.slices,
            choices=not prompts and wants_choices(loaded, spec),
            prompts=prompts,
            dates=fields_of_dates(loaded),
        )
        return rows

    if spec.answers == "base":
        return read(prompts=True), "its source has none"
    try:
        return read(prompts=False), None
    except UserError as fault:
        try:
            return read(prompts=True), str(fault)
        except UserError:
            raise fault from None


def _named(loaded: LoadedSpec, source: str | None) -> list[str]:
    if source is None:
        return [name for name, spec in loaded.spec.data.items() if spec.role == "task"]
    if source not in loaded.spec.data:
        raise UserError(
            f"no data source '{source}'.",
            where="--source",
            hint=f"Known: {', '.join(loaded.spec.data)}.",
        )
    return [source]


def _is_drift(waiver: str) -> bool:
    return CODES[waiver.partition("@")[0]].gate == "drift"


def drift_lines(drift: Drift) -> Iterator[str]:
    """The figures for people; findings stand apart."""
    yield f"{drift.rows:,} new rows, {drift.labelled:,} of them with an answer"
    yield ""
    yield from _aligned(
        [("shares of", "against", "rows", "of", "differ", "by chance", "")]
        + [
            (
                c.aspect,
                c.against,
                f"{c.rows:,}",
                f"{c.reference_rows:,}",
                f"{c.distance:.1%}",
                f"{c.by_chance:.1%}",
                "changed" if c.shares else "",
            )
            for c in drift.changes[:MOST_LINES]
        ]
    )
    yield ""
    for text in drift.texts:
        yield (
            f"questions told from those of {text.against}: AUC {text.auc:.2f} ({text.low:.2f} to "
            f"{text.high:.2f}; .5: not at all; {text.rows:,} of each)"
        )
    if (words := drift.words) is not None:
        items = ""
        if words.item_share is not None:
            items = f"; of {words.items:,} items {words.item_share:.1%}"
        yield (
            f"rows with a word that training lacks: {words.share:.1%} ({words.low:.1%} to "
            f"{words.high:.1%}) of {words.rows:,}{items}"
        )
    yield f"rows that training holds: {drift.trained_on:,} of {drift.searched:,} looked for"
    yield f"rows that ask what an item asks: {drift.items:,} of {drift.rows:,}"
    if drift.months:
        yield ""
        yield from _aligned(
            [("month", "training", "items", "new")]
            + [
                (m.month, f"{m.training:,}", f"{m.evaluation:,}", f"{m.new:,}")
                for m in drift.months[-MOST_MONTHS:]
            ]
        )
    yield ""
    yield "Words and counts are compared: meaning is not seen, nor whether answers still hold."


def _aligned(table: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
