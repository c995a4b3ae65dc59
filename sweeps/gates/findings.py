"""What a check found: one shape for all gates, so that people and scripts read all alike."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Annotated, Any, Literal

from pydantic import Field, InstanceOf, model_validator

from keepgain.core.schema import StrictModel
from keepgain.sweeps.gates.catalogue import CODES
from keepgain.sweeps.gates.row_list import RowList

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MAX_EXAMPLES = 3
NO_REASON = "no reason given"


class Finding(StrictModel):
    """One thing that is wrong or doubtful."""

    code: str
    """Stable name of the kind, e.g. `split_overlap`."""
    severity: Severity
    """An error refuses the sweep; a note is a fact that calls for nothing."""
    where: str
    """What it is about: a source, a suite, a model or a key of the spec."""
    message: str
    rows: tuple[str, ...] = ()
    """`file:line` of the first examples: by default the first of `all_rows`."""
    all_rows: Annotated[tuple[InstanceOf[RowList], ...], Field(exclude=True, repr=False)] = ()
    """Every row that it is about, a list for each set; empty where it is about a set as a whole.
    They are of this process and are not kept with the finding."""
    hint: str | None = None
    """What to do."""
    count: int | None = None
    """Rows (pairs, items) that it is about."""
    of: int | None = None
    """Out of so many."""
    why: str | None = None
    """What it is likely to cost, in one sentence, where the message does not say so."""
    figures: dict[str, float] = {}
    """What was measured, by name; shares are 0 to 1."""
    waived: str | None = None
    """Reason that the spec gives for letting it be; the severity is one step down then."""

    @model_validator(mode="before")
    @classmethod
    def _first_rows(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not data.get("all_rows") or "rows" in data:
            return data
        return data | {"rows": tuple(islice(chain.from_iterable(data["all_rows"]), MAX_EXAMPLES))}

    def __eq__(self, other: object) -> bool:
        """What they say is the same; one that was read from a file has not all rows."""
        return isinstance(other, Finding) and self.model_dump() == other.model_dump()


def finish(findings: Iterable[Finding], waivers: Mapping[str, str]) -> list[Finding]:
    """What people get to see: waived, with a reason why each matters, the worst first.

    Args:
        findings: Of all gates.
        waivers: `CODE` or `CODE@PLACE` → reason; PLACE begins the finding's place, or one of the
            two that it names.
    """
    finished, used = [], set()
    for finding in findings:
        keys = [key for key in waivers if _covers(key, finding)]
        used.update(keys)
        finished.append(_waived(_reasoned(finding), waivers[keys[0]]) if keys else finding)
    unused = [key for key in waivers if key not in used]
    finished += [_unused(key) for key in unused]
    return sorted(map(_reasoned, finished), key=lambda f: SEVERITIES.index(f.severity))


def _covers(key: str, finding: Finding) -> bool:
    code, _, place = key.partition("@")
    named = (finding.where, *finding.where.split(" and "))
    return code == finding.code and any(name.startswith(place) for name in named)


def _waived(finding: Finding, reason: str) -> Finding:
    """One step down: nothing is hidden."""
    lower: Severity = "warning" if finding.severity == "error" else "note"
    return finding.model_copy(update={"severity": lower, "waived": reason})


def _reasoned(finding: Finding) -> Finding:
    code = CODES.get(finding.code)
    if finding.why is not None or code is None:
        return finding
    return finding.model_copy(update={"why": code.why})


def _unused(key: str) -> Finding:
    return Finding(
        code="unused_waiver",
        severity="note",
        where=f"allow.{key}",
        message="no finding is waived by it.",
        hint="Remove it.",
    )


def strict(findings: Iterable[Finding]) -> list[Finding]:
    """Warnings are errors, but for waived ones."""
    return [
        f.model_copy(update={"severity": "error"})
        if f.severity == "warning" and f.waived is None
        else f
        for f in findings
    ]


def has_errors(findings: Iterable[Finding]) -> bool:
    """True if the sweep must not start."""
    return any(f.severity == "error" for f in findings)


def count_findings(findings: Iterable[Finding]) -> str:
    """`2 errors, 0 warnings, 1 note`."""
    counts = Counter(f.severity for f in findings)
    return ", ".join(f"{(n := counts[s])} {s}{'s' * (n != 1)}" for s in SEVERITIES)


@dataclass(frozen=True)
class Alike:
    """Findings of one code: what holds for all of them is said once."""

    code: str
    severity: Severity
    findings: tuple[Finding, ...]
    why: str | None
    """None: there is none, or they differ."""
    hint: str | None


def group(findings: Iterable[Finding]) -> list[Alike]:
    """By severity and code, in the order of the first of each."""
    by_kind: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault((finding.severity, finding.code), []).append(finding)
    return [
        Alike(
            code, severity, tuple(found), _same(f.why for f in found), _same(f.hint for f in found)
        )
        for (severity, code), found in by_kind.items()
    ]


def _same(texts: Iterable[str | None]) -> str | None:
    different = set(texts)
    return different.pop() if len(different) == 1 else None


def render_findings(findings: Iterable[Finding]) -> list[str]:
    """Lines for people; reasons and advice that hold for all findings of a code are said once."""
    lines = []
    for alike in group(findings):
        shared = {"why": alike.why, "hint": alike.hint}
        without = {name: None for name, text in shared.items() if text is not None}
        lines += [render_finding(f.model_copy(update=without)) for f in alike.findings]
        lines += _advice(alike.severity, alike.why, alike.hint)
    return lines


def render_finding(finding: Finding) -> str:
    """A few lines for people: what, where, e.g., why, what to do."""
    lines = [f"{finding.severity}: {finding.where}: {finding.message} [{finding.code}]"]
    if finding.waived is not None:
        lines.append(f"  allowed by the spec: {finding.waived}")
    if finding.rows:
        lines.append(f"  e.g. {'; '.join(finding.rows[:MAX_EXAMPLES])}")
    return "\n".join([*lines, *_advice(finding.severity, finding.why, finding.hint)])


def _advice(severity: Severity, why: str | None, hint: str | None) -> list[str]:
    """Of a note, what to do alone."""
    said = " ".join(text for text in (why if severity != "note" else None, hint) if text)
    return [f"  {said}"] if said else []
