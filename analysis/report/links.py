"""Addresses of runs in the MLflow UI of a server, for the names in the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from keepgain.analysis.result import Analysis
from keepgain.analysis.table import Configuration
from keepgain.core.record import short_id
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import TAG_RUN_KEY, TAG_SWEEP

TAG_TRIAL = "keepgain.trial_id"


@dataclass(frozen=True)
class Links:
    """Addresses; without a server there are none."""

    base: str | None = None
    """Address of the server's UI, without user and password."""
    experiment: str = ""
    """Id of the sweep's experiment."""
    sweep_id: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)
    """Run key → MLflow run id."""

    def trial(self, who: Configuration) -> str | None:
        """The run behind a configuration's figures; of several seeds the table of all its runs."""
        if self.base is None:
            return None
        members = {r.run_key: r for runs in who.runs.values() for r in runs}
        known = [self.runs[key] for key in members if key in self.runs]
        if len(known) == 1:
            run = quote(known[0], safe="")
            return f"{self.base}/#/experiments/{self.experiment}/runs/{run}"
        return self._search(f"tags.`{TAG_TRIAL}` = '{who.trial_id}'")

    def sweep(self) -> str | None:
        """The table of all runs of the sweep."""
        return self._search("")

    def _search(self, condition: str) -> str | None:
        if self.base is None or not self.experiment:
            return None
        whole = f"tags.`{TAG_SWEEP}` = '{self.sweep_id}'" + f" AND {condition}" * bool(condition)
        return (
            f"{self.base}/#/experiments/{self.experiment}/runs?searchFilter={quote(whole, safe='')}"
        )


NO_LINKS = Links()


def by_name(analysis: Analysis, links: Links) -> dict[str, str]:
    """What tables call a configuration → its address; names that two of them share are left out."""
    found: dict[str, str | None] = {}
    for row in analysis.rows:
        url = links.trial(row.who)
        for name in {row.who.label, short_id(row.who.trial_id), row.who.trial_id}:
            found[name] = url if name not in found else None
    return {name: url for name, url in found.items() if url is not None}


def links_of(location: StoreLocation, sweep_id: str) -> Links:
    """Asks the store's server which runs it has of a sweep; none for a store without a server.

    Raises:
        UserError: The server cannot be reached.
    """
    if not location.is_server:
        return NO_LINKS
    from keepgain.core.store.client import new_client, store_errors
    from keepgain.core.store.reader import mlflow_sweeps, search_all

    sweeps = mlflow_sweeps(location, sweep_id)
    if not sweeps:
        return NO_LINKS
    experiment = str(max(sweeps, key=lambda s: s[1])[2].info.experiment_id)
    with store_errors(location):
        condition = f"tags.`{TAG_SWEEP}` = '{sweep_id}'"
        found = search_all(new_client(location), [experiment], condition)
    ids = {key: r.info.run_id for r in found if (key := r.data.tags.get(TAG_RUN_KEY))}
    return Links(_without_user(location.tracking_uri), experiment, sweep_id, ids)


def _without_user(uri: str) -> str:
    """A server's address without user, password and query: a report is passed on."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")
