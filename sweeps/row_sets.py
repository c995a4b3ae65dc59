"""Sources and suites as the gates see them: rows with places and fields, split by split."""

from collections.abc import Mapping

from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.sources import SPLITS, Source
from keepgain.sweeps.spec_suites import measures_of
from keepgain.sweeps.suites import Suite


def row_sets(sources: Mapping[str, Source], suites: Mapping[str, Suite]) -> tuple[RowSet, ...]:
    """The training rows of all sources, then the items of all suites, validation first.

    Suites whose items are training rows on purpose are left out: every one of them would be found
    to be a leak, or a copy.
    """
    looked_at = [s for s in suites.values() if not s.spec.registered.of_training]
    sets = [
        RowSet(
            f"{s.name}/train",
            "train",
            s.train.rows,
            s.train.places,
            role=s.role,
            columns=s.train.columns,
            source=s.name,
            made_from=s.lineage.parent if s.lineage is not None else None,
        )
        for s in sources.values()
    ]
    for split in SPLITS:
        for suite in looked_at:
            items = suite.items(split)
            sets.append(
                RowSet(
                    f"{suite.name}/{split}",
                    split,
                    items.rows,
                    items.places,
                    measures=measures_of(suite.name, suite.spec),
                    scorer=suite.spec.metric_name,
                    columns=items.columns,
                    source=suite.spec.source,
                    made_from=" and ".join(suite.spec.made_of) or None,
                )
            )
    return tuple(sets)
