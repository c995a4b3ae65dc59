"""The least difference that a suite can show, beside the rows that are there to make one."""

from collections.abc import Sequence

from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.suites import (
    ASSUMED_DISCORDANCE,
    FEW_ITEMS,
    detectable_difference,
    is_share,
    items_needed,
)


def check_noise_floor(sets: Sequence[RowSet], delta: float | None = None) -> list[Finding]:
    """A note for each suite of the gain whose items are right or wrong.

    Args:
        sets: Of the sweep.
        delta: Difference that counts, as the spec asks; None: unknown.
    """
    rows = sum(len(s.rows) for s in sets if s.role == "task")
    findings = []
    for name in dict.fromkeys(s.name for s in sets if s.measures == "gain" and is_share(s)):
        splits = {s.part: s for s in sets if s.name == name and s.role is None}
        if "validation" not in splits or not min(len(s.rows) for s in splits.values()):
            continue
        least = {p: detectable_difference(len(s.rows)) for p, s in splits.items()}
        points = {part: f"{100 * d:.1f}".removesuffix(".0") for part, d in least.items()}
        test = f", test of {len(splits['test'].rows)} {points['test']}" if "test" in splits else ""
        fine = delta is None or max(least.values()) <= delta
        few = min(len(s.rows) for s in splits.values()) < FEW_ITEMS
        findings.append(
            Finding(
                code="noise_floor",
                severity="note",
                where=name,
                message=f"{rows} rows of the task to train on; validation of "
                f"{len(splits['validation'].rows)} items resolves {points['validation']} points at "
                f"best{test} (80 % power, {ASSUMED_DISCORDANCE:.0%} of the items change, without "
                "the spread of seeds).",
                hint=None
                if fine or few or delta is None
                else f"To resolve question.delta, {100 * delta:g} points, takes about "
                f"{items_needed(delta)} items.",
                figures={"train_rows": rows, **{f"{p}_resolves": d for p, d in least.items()}},
            )
        )
    return findings
