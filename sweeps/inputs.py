"""What a sweep trains and scores on, as the datasets of its MLflow run."""

from keepgain.core.config import BaseAnswers
from keepgain.core.rows import StoredRows
from keepgain.core.store.datasets import DatasetInfo, columns_of
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.sources import SPLITS


def datasets_of(prepared: Prepared) -> tuple[DatasetInfo, ...]:
    """Each source, what filters leave of it, and each suite on each of its splits, as
    `prepare.store` has written them."""
    sources = [
        DatasetInfo(
            name=f"{ref.name}/train",
            context="training",
            digest=ref.digest,
            path=ref.path,
            rows=ref.rows,
            columns=_columns(prepared.sources[ref.name].train.rows),
            facts={"role": ref.role, **_answers(ref.answers)},
        )
        for ref in prepared.source_refs
    ]
    filtered = [
        DatasetInfo(
            name=f"{name}/train:{chosen}",
            context="training",
            digest=ref.digest,
            path=ref.path,
            rows=ref.rows,
            columns=_columns(prepared.variants[name, chosen].rows.rows),
            facts={"role": ref.role, "filter": prepared.variants[name, chosen].said},
        )
        for (name, chosen), ref in prepared.filtered_refs.items()
        if ref not in prepared.source_refs
    ]
    suites = [
        DatasetInfo(
            name=f"{ref.name}/{split}",
            context=split,
            digest=ref.digest,
            path=ref.path,
            rows=ref.items,
            columns=_columns(prepared.suites[ref.name].items(split).rows),
            facts={"measures": ref.measures, "scorer": ref.scorer},
        )
        for split in SPLITS
        for ref in prepared.suite_refs[split]
    ]
    return (*sources, *filtered, *suites)


def _columns(rows: StoredRows) -> dict[str, str]:
    """Of the first row, which stands for all: there may be millions."""
    return next((columns_of(line) for line in rows.lines()), {})


def _answers(answers: BaseAnswers | None) -> dict[str, str]:
    return {} if answers is None else {"answers": "written by each base model"}
