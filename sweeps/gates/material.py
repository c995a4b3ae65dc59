"""What the gates look at: rows with their places, free of how a spec names them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from keepgain.core.config import Measures, Role, Scorer
from keepgain.core.rows import Row
from keepgain.sweeps.gates.columns import Columns

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class RowSet:
    """The rows of one split of a source (`role` is set) or of a suite (`measures` is)."""

    label: str
    """`tickets/train`, `gain/test`, ..."""
    part: Part
    rows: Sequence[Row]
    places: Sequence[str]
    """`file:line` of each row."""
    role: Role | None = None
    measures: Measures | None = None
    scorer: Scorer | None = None
    columns: Columns = field(default_factory=dict)
    """Fields of the rows that are not content, e.g. `annotator`, `date`, `language`."""
    source: str | None = None
    """Data source that the rows come from; None: a suite's own file."""
    made_from: str | None = None
    """Source whose rows these are copies of, on purpose: augmentation, paraphrase; or suites whose
    items these are made of."""

    @property
    def name(self) -> str:
        """Of the source or suite."""
        return self.label.split("/")[0]


def normalised(question: str) -> str:
    """A question without what a copy often changes: white space and case."""
    return " ".join(question.split()).casefold()
