"""What the gates found, held against the truth: rows, pairs or the data set as a whole."""

import contextlib
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from statsmodels.stats.proportion import proportion_confint

from benchmarks.data_gates.codes import CODES
from benchmarks.data_gates.faults import Kind
from benchmarks.data_gates.worlds import Family
from keepgain.core.errors import UserError

Place = tuple[str, int]
"""File name and line."""


@dataclass(frozen=True)
class Flagged:
    """A row that a gate names."""

    code: str
    place: Place
    partner: Place | None


@dataclass(frozen=True)
class Checked:
    """What `sweep check` says about a data set."""

    findings: tuple[dict[str, Any], ...]
    flagged: tuple[Flagged, ...]

    def codes(self, severities: Sequence[str] = ("error", "warning")) -> set[str]:
        """Codes of findings with one of these severities."""
        return {f["code"] for f in self.findings if f["severity"] in severities}


@dataclass(frozen=True)
class Score:
    """Of one kind at one rate on one data set."""

    kind: str
    rate: float
    family: Family
    planted: int
    """Rows or pairs; of a kind that is scored by the set, 1."""
    found: int
    flagged: int
    """Rows that the kind's codes name."""
    right: int
    """Of these."""
    by_sub: Mapping[str, tuple[int, int]]
    """Sub-kind → (planted, found)."""
    codes: tuple[str, ...]
    """Codes of the kind that were raised."""


def run_check(spec: Path, only: Sequence[str] = ()) -> Checked:
    """`sweep check SPEC --json --rows FILE` within this process.

    Args:
        only: Codes whose gates are run; empty: all gates.

    Raises:
        UserError: The data set was refused before it was checked.
    """
    from keepgain.sweeps.cli.main import main as sweep

    chosen = ["--only", ",".join(only)] if only else []
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        with contextlib.redirect_stdout(printed):
            code = sweep(["check", str(spec), "--json", "--rows", str(rows), *chosen])
        if not printed.getvalue():
            raise UserError(f"sweep check ended with {code} and without findings.", where=str(spec))
        with rows.open(encoding="utf-8") as lines:
            flagged = tuple(_flagged(json.loads(line)) for line in lines)
    return Checked(tuple(json.loads(printed.getvalue())["findings"]), flagged)


def _flagged(row: Mapping[str, Any]) -> Flagged:
    """A line of `--rows`."""
    other = row.get("other")
    return Flagged(row["code"], _placed(row), None if other is None else _placed(other))


def _placed(row: Mapping[str, Any]) -> Place:
    return Path(row["file"]).name, row["line"]


def _place(text: str) -> Place:
    file, _, line = text.rpartition(":")
    return Path(file).name, int(line)


def read_truth(folder: Path) -> list[dict[str, Any]]:
    """The lines of `truth.jsonl`."""
    lines = (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def score(
    kind: Kind,
    rate: float,
    family: Family,
    truth: Sequence[Mapping[str, Any]],
    checked: Checked,
    usual: Iterable[str] = (),
) -> Score:
    """Holds the flagged rows, or the findings, against the truth.

    Args:
        usual: Codes of the same data set without the fault; they tell nothing about it.
    """
    codes = set(CODES[kind.name])
    raised = tuple(sorted((codes & checked.codes()) - set(usual)))
    noted = tuple(sorted(f"{c} (note)" for c in codes & checked.codes(("note",)) - set(usual)))
    if kind.scored == "set":
        return Score(kind.name, rate, family, 1, int(bool(raised)), 0, 0, {}, raised or noted)
    flagged = {f for f in checked.flagged if f.code in codes}
    clusters = _clusters(truth)
    right: dict[Place, bool] = defaultdict(bool)
    for one in flagged:
        mine, theirs = clusters.get(one.place), clusters.get(one.partner)
        right[one.place] |= mine is not None and (one.partner is None or mine == theirs)
    places = {place for place, is_right in right.items() if is_right}
    by_sub: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for line in truth:
        sides = {(line["file"], line["line"])}
        sides |= {_place(line["partner"])} if line["partner"] else set()
        planted, found = by_sub[line["sub"]]
        by_sub[line["sub"]] = planted + 1, found + bool(sides & places)
    return Score(
        kind.name,
        rate,
        family,
        planted=len(truth),
        found=sum(found for _, found in by_sub.values()),
        flagged=len(right),
        right=len(places),
        by_sub=dict(by_sub),
        codes=raised,
    )


def _clusters(truth: Sequence[Mapping[str, Any]]) -> dict[Place | None, Place]:
    """Place → the place that its cluster is named by: the partner, or itself."""
    clusters: dict[Place | None, Place] = {}
    for line in truth:
        place = line["file"], line["line"]
        name = _place(line["partner"]) if line["partner"] else place
        clusters |= {place: name, name: name}
    return clusters


def interval(found: int, of: int) -> str:
    """A share with its 95 % interval (Wilson 1927)."""
    if of == 0:
        return "–"
    low, high = proportion_confint(found, of, method="wilson")
    return f"{found / of:.3f} ({low:.3f}–{high:.3f})"


def per_cent(rates: Iterable[float]) -> str:
    """E.g. `0.5, 2, 10 %`."""
    return ", ".join(f"{100 * r:.3g}" for r in rates) + " %"


def rows_table(kinds: Sequence[Kind], scores: Sequence[Score]) -> list[str]:
    """Markdown: a line for each kind whose rows or pairs are counted."""
    lines = [
        "| kind | rates | planted | found | recall | by rate | rows named | precision |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in kinds:
        mine = [s for s in scores if s.kind == kind.name]
        if kind.scored == "set" or not mine:
            continue
        planted, found = sum(s.planted for s in mine), sum(s.found for s in mine)
        flagged, right = sum(s.flagged for s in mine), sum(s.right for s in mine)
        by_rate = [
            sum(s.found for s in mine if s.rate == r)
            / max(1, sum(s.planted for s in mine if s.rate == r))
            for r in kind.rates
        ]
        lines.append(
            f"| {kind.title} | {per_cent(kind.rates)} of {kind.rate_of} | {planted} | {found} | "
            f"{interval(found, planted)} | {', '.join(f'{r:.2f}' for r in by_rate)} | {flagged} | "
            f"{interval(right, flagged)} |"
        )
    return lines


def subs_table(kinds: Sequence[Kind], scores: Sequence[Score]) -> list[str]:
    """Markdown: recall by sub-kind, for kinds with several."""
    lines = ["| kind | variant | planted | found | recall |", "|---|---|---|---|---|"]
    for kind in kinds:
        totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for one in scores:
            if one.kind == kind.name:
                for sub, (planted, found) in one.by_sub.items():
                    totals[sub][0] += planted
                    totals[sub][1] += found
        for sub, (planted, found) in sorted(totals.items()) if len(totals) > 1 else ():
            name = sub.replace("\n", " ").replace("|", "/")
            lines.append(
                f"| {kind.title} | {name} | {planted} | {found} | {interval(found, planted)} |"
            )
    return lines


def sets_table(kinds: Sequence[Kind], scores: Sequence[Score]) -> list[str]:
    """Markdown: found or not at each rate, for kinds without rows."""
    lines = ["| kind | strength | found at | by |", "|---|---|---|---|"]
    for kind in kinds:
        mine = [s for s in scores if s.kind == kind.name]
        if kind.scored != "set" or not mine:
            continue
        at = [
            f"{sum(s.found for s in mine if s.rate == r)} of {sum(s.rate == r for s in mine)}"
            for r in kind.rates
        ]
        codes = sorted({c for s in mine for c in s.codes})
        lines.append(
            f"| {kind.title} | {per_cent(kind.rates)} of {kind.rate_of} | {', '.join(at)} | "
            f"{', '.join(f'`{c}`' for c in codes) or '–'} |"
        )
    return lines


def clean_table(checks: Sequence[Checked]) -> list[str]:
    """Markdown: what is said of data sets without faults."""
    lines = ["| severity | code | clean data sets |", "|---|---|---|"]
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for one in checks:
        for severity in ("error", "warning"):
            for code in one.codes((severity,)):
                counts[severity, code] += 1
    for (severity, code), count in sorted(counts.items()):
        lines.append(f"| {severity} | `{code}` | {count} of {len(checks)} |")
    return lines if counts else [f"None of {len(checks)} clean data sets has an error or warning."]
