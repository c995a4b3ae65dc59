"""MLflow's model registry: a folder with a model becomes a version of a named model, once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepgain.core.errors import UserError
from keepgain.core.store.client import new_client, require_reachable, store_errors
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import TAG_RUN_KEY, TAG_SWEEP, check_id
from keepgain.core.store.reader import mlflow_sweeps, search_all

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG_DIGEST = "keepgain.digest"
"""Of a version: what its files are, without those that describe it."""
MAX_DESCRIPTION = 5000
_NAME = re.compile(r"[A-Za-z0-9][\w .-]{0,199}")
_ALIAS = re.compile(r"(?!latest$|v\d+$)[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True)
class Registered:
    """A version of a model in the registry."""

    name: str
    version: int
    new: bool
    """False: a version with these files was there already."""


def check_names(name: str, alias: str) -> None:
    """Refuses what MLflow's registry cannot take, before anything is written.

    Raises:
        UserError: Which of the two, and why.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' cannot be the name of a registered model.",
            where="--name",
            hint="It has letters, digits, '_', '.', '-' and spaces, at most 200.",
        )
    if not _ALIAS.fullmatch(alias):
        raise UserError(
            f"'{alias}' cannot be an alias.",
            where="--alias",
            hint="It has letters, digits, '_' and '-', and is not 'latest' or a version as 'v1'.",
        )


def run_id_of(location: StoreLocation, sweep_id: str, run_key: str) -> str:
    """Id of the MLflow run that a run of a sweep is recorded as.

    Raises:
        UserError: The store cannot be reached or has no such run.
    """
    for _, _, parent in mlflow_sweeps(location, check_id(sweep_id)):
        condition = f"tags.`{TAG_SWEEP}` = '{sweep_id}' AND tags.`{TAG_RUN_KEY}` = '{run_key}'"
        with store_errors(location):
            found = search_all(new_client(location), [parent.info.experiment_id], condition)
        if found:
            return str(found[0].info.run_id)
    raise UserError(
        f"store {location.display} has no MLflow run of {sweep_id}/{run_key}.",
        hint="`sweep run` again ships what is missing.",
    )


def register(
    location: StoreLocation,
    run_id: str,
    folder: Path,
    name: str,
    alias: str,
    *,
    digest: str,
    tags: Mapping[str, str],
    description: str,
) -> Registered:
    """Uploads `folder` to the run and makes it a version of the model `name`, which gets `alias`.

    A version with this digest is taken as it is: only the alias moves.

    Args:
        folder: The model; everything in it goes along.
        digest: Identity of what is to be loaded.

    Raises:
        UserError: The store cannot be reached or refuses.
    """
    check_names(name, alias)
    require_reachable(location)
    with store_errors(location):
        client = new_client(location)
        version = _version_with(client, name, digest)
        new = version is None
        if version is None:
            target = f"models/{digest[:12]}"
            client.log_artifacts(run_id, str(folder), target)
            _create_model(client, name)
            version = client.create_model_version(
                name,
                f"runs:/{run_id}/{target}",
                run_id,
                tags={**tags, TAG_DIGEST: digest},
                description=description[:MAX_DESCRIPTION],
            )
        client.set_registered_model_alias(name, alias, version.version)
    return Registered(name, int(version.version), new)


def _version_with(client: "MlflowClient", name: str, digest: str) -> Any:
    """The newest version of these files; None if there is none."""
    found = [
        v
        for v in client.search_model_versions(f"name='{name}'", max_results=1000)
        if v.tags.get(TAG_DIGEST) == digest
    ]
    return max(found, key=lambda v: int(v.version), default=None)


def _create_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
