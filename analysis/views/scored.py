"""Views of single items: which split they may show, and a configuration's scores there."""

from keepgain.analysis import words
from keepgain.analysis.result import Analysis
from keepgain.analysis.table import Configuration, Table
from keepgain.core.config import Split
from keepgain.core.errors import UserError


def on_split(table: Table, trial: str, split: Split) -> Configuration:
    """The configuration, which has scores there.

    Raises:
        UserError: It has none.
    """
    who = next(c for c in table.configurations if c.trial_id == trial)
    if who.has(split):
        return who
    why = who.lacks.get(split) or next(
        (e.reason for e in table.excluded if e.trial == trial), "not scored there"
    )
    other: Split = "test" if split == "validation" else "validation"
    hint = f"It has {other} scores: --split {other}." if who.has(other) else None
    raise UserError(f"{words.clean(who.label)} has no {split} scores ({why}).", hint=hint)


def split_notes(analysis: Analysis, table: Table, split: Split) -> tuple[str, ...]:
    """What to know of the items shown."""
    if split == "validation":
        said = "Validation items: the search chose by them, so that figures of chosen trials are "
        said += "somewhat too good."
        return (said + (" Test items: --split test." if "test" in table.suites else ""),)
    opened = analysis.sweep.test_opened
    times = "once" if opened == 1 else f"{opened:,} times"
    return (
        "Test items"
        + (f", opened {times} so far over the sweeps of this store" if opened else "")
        + ": this shows scores that the test stage made, and is no further opening. What you "
        "change after reading them is no longer tested by them.",
    )
