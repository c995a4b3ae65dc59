"""The positive label of a classification: what `selected` counts, and the slice that says of each
item whether its own label is that one."""

from dataclasses import replace

from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions

IS_POSITIVE = "answer_is_positive"
"""The slice."""
YES, NO = "yes", "no"


def marked(row: Row, positive: str) -> Row:
    """The row with the slice; a field of the file that is called so gives way."""
    kept = tuple(s for s in row.slices if s[0] != IS_POSITIVE)
    said = YES if row.answer.strip() == positive else NO
    return replace(row, slices=(*kept, (IS_POSITIVE, said)))


def fault(_: Row, options: ScorerOptions | None) -> str | None:
    """Why no item of the suite can be selected: its positive label is none of its labels."""
    if options is None or options.positive in options.labels:
        return None
    known = ", ".join(options.labels)
    return f"the positive label '{options.positive}' is none of the labels of the suite ({known})."
