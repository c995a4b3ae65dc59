"""Datasets as MLflow shows them on a run: what it was trained and scored on. No MLflow at import.

MLflow knows a dataset by name and digest. It gets no rows: where they lie, how many there are, and
the kinds of their fields.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from keepgain.core.schema import StrictModel

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

CONTEXT_TAG = "mlflow.data.context"
DIGEST_LENGTH = 36
"""MLflow's limit; the whole digest is in the profile."""
_KINDS = {str: "string", bool: "boolean", int: "long", float: "double"}


class DatasetInfo(StrictModel):
    """Rows of one use."""

    name: str
    """`SOURCE/train`, `SUITE/validation` or `SUITE/test`."""
    context: Literal["training", "validation", "test"]
    digest: str
    """Of the normalised rows."""
    path: str
    """The normalised rows."""
    rows: int
    columns: dict[str, str] = {}
    """Field → MLflow's name of its kind; empty: not known."""
    facts: dict[str, str] = {}
    """Role, metric and the like, for the profile."""


def columns_of(line: bytes) -> dict[str, str]:
    """Fields of a normalised row (JSON) and MLflow's names of their kinds."""
    row: Mapping[str, Any] = json.loads(line)
    return {name: _KINDS.get(type(value), "any") for name, value in row.items()}


def dataset_input(given: Any) -> "DatasetInput":
    """MLflow's entity for a dataset, as the spool has it.

    Raises:
        ValueError: Not a `DatasetInfo`.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    try:
        info = DatasetInfo.model_validate(given)
    except ValidationError as error:
        raise ValueError(f"not a dataset: {error.errors()[0]['msg']}") from None
    columns = [
        {"type": kind, "name": name, "required": True} for name, kind in info.columns.items()
    ]
    profile = {"num_rows": info.rows, "digest": info.digest, **info.facts}
    dataset = Dataset(
        name=info.name,
        digest=info.digest[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": info.path}),
        schema=json.dumps({"mlflow_colspec": columns}) if columns else None,
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag(CONTEXT_TAG, info.context)])
