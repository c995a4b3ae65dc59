"""Links into MLflow's pages: the runs of a sweep, and its trials side by side."""

import json
from urllib.parse import quote

from keepgain.core.errors import UserError
from keepgain.core.status import Stage
from keepgain.core.store.client import new_client
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import (
    ROLE_RUN,
    TAG_KIND,
    TAG_ROLE,
    TAG_STAGE,
    TAG_SWEEP,
    check_id,
)
from keepgain.core.store.reader import mlflow_sweeps, search_all

MAX_COMPARED = 100
"""Runs that MLflow's comparison page still draws readably."""


def comparison_url(base_url: str, location: StoreLocation, sweep_id: str) -> str:
    """Link to the sweep's search trials side by side: parallel coordinates, scatter, differences.

    Sweeps of more than `MAX_COMPARED` trials, and those without any, get the link of `runs_url`.

    Raises:
        UserError: The store has no such sweep.
    """
    experiment = _experiment(location, sweep_id)
    condition = f"{_runs_of(sweep_id)} AND tags.`{TAG_KIND}` = 'trial'"
    trials = search_all(new_client(location), [experiment], condition)
    ids = [run.info.run_id for run in trials if run.data.tags.get(TAG_STAGE) == Stage.SEARCH]
    if not 2 <= len(ids) <= MAX_COMPARED:
        return runs_url(base_url, location, sweep_id)
    query = f"runs={quote(json.dumps(ids))}&experiments={quote(json.dumps([experiment]))}"
    return f"{base_url.rstrip('/')}/#/compare-runs?{query}"


def runs_url(base_url: str, location: StoreLocation, sweep_id: str) -> str:
    """Link to the table of all runs of the sweep, below their parent.

    Raises:
        UserError: The store has no such sweep.
    """
    experiment = _experiment(location, sweep_id)
    query = f"searchFilter={quote(_runs_of(sweep_id), safe='')}"
    return f"{base_url.rstrip('/')}/#/experiments/{experiment}/runs?{query}"


def _runs_of(sweep_id: str) -> str:
    return f"tags.`{TAG_SWEEP}` = '{sweep_id}' AND tags.`{TAG_ROLE}` = '{ROLE_RUN}'"


def _experiment(location: StoreLocation, sweep_id: str) -> str:
    found = mlflow_sweeps(location, check_id(sweep_id))
    if not found:
        raise UserError(
            f"no sweep '{sweep_id}' in store {location.display}.",
            hint="`sweep list` shows the ids.",
        )
    return str(found[0][2].info.experiment_id)
