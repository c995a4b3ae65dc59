"""Applies spool events to MLflow so that applying them twice changes nothing."""

import hashlib
import importlib.metadata
import json
import math
import platform
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepgain.core.redaction import redact
from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.client import new_client
from keepgain.core.store.datasets import dataset_input
from keepgain.core.store.heartbeat import Heartbeat
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import (
    PARENT,
    ROLE_RUN,
    ROLE_SWEEP,
    TAG_COMPLETE,
    TAG_HEARTBEAT,
    TAG_KEY,
    TAG_ROLE,
    TAG_RUN_KEY,
    TAG_SWEEP,
    TAG_SWEEP_NAME,
    check_id,
    is_long,
    key_digest,
    mlflow_key,
)
from keepgain.core.store.reader import search_all

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_PARAM = 6000
MAX_TAG = 8000
"""Longer values go to an artifact: MLflow would cut them and only warn."""
METRICS_PER_CALL = 1000
RUNNING = "RUNNING"
ENDED = ("FINISHED", "FAILED", "KILLED")

_PACKAGES = ("keepgain", "mlflow", "ray", "optuna", "torch", "transformers", "peft", "deepspeed")


class RefusedEvent(Exception):  # noqa: N818 - an answer about one event, not a fault of the store
    """An event that no store will take; the others go on."""


@dataclass
class _Run:
    id: str
    status: str = RUNNING
    end_ms: int = 0
    params: dict[str, str] = field(default_factory=dict)
    complete: str = "false"
    """As of `names.TAG_COMPLETE`."""


class SweepRuns:
    """The MLflow runs of one sweep: its parent, and one child per run key.

    Args:
        heartbeat: Of the driver that this is for; None: there is none.
    """

    def __init__(
        self,
        location: StoreLocation,
        sweep_id: str,
        sweep_name: str,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._heartbeat = heartbeat
        self._location = location
        self._sweep_id = check_id(sweep_id)
        self._sweep_name = sweep_name
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._runs: dict[str, _Run] = {}

    def open(self) -> str:
        """Connects, reads which runs there are, and returns the parent's run id.

        Also to be called after any failure: a call that seemed to fail may have made a run.
        """
        self._experiment = prepare_store(self._location, self._sweep_name)
        self._client = new_client(self._location)
        condition = f"tags.`{TAG_SWEEP}` = '{self._sweep_id}'"
        found = search_all(self._client, [self._experiment], condition)
        self._runs = {}
        # The oldest of several runs of one key stays the one: a later one can only be a duplicate
        # whose creation was answered after we had given up on it.
        for run in sorted(found, key=lambda r: (r.info.start_time, r.info.run_id), reverse=True):
            key = run.data.tags.get(TAG_RUN_KEY)
            if key:
                self._runs[key] = _Run(
                    run.info.run_id,
                    run.info.status,
                    run.info.end_time or 0,
                    dict(run.data.params),
                    run.data.tags.get(TAG_COMPLETE, "false"),
                )
        parent = self._get(PARENT, None).id
        if self._heartbeat is not None:
            self._heartbeat.set_clock(self._location)
        return parent

    def beat(self) -> None:
        """Says that the driver is alive, if it is time to say so again."""
        if self._heartbeat is not None and (said := self._heartbeat.due()) is not None:
            self._api.set_tag(self._get(PARENT, None).id, TAG_HEARTBEAT, said)
            self._heartbeat.said()

    def complete(self, is_shipped: Callable[[str], bool], partly: Collection[str]) -> None:
        """Marks the ended runs of which everything is in the store; the parent last of all.

        Args:
            is_shipped: Whether nothing is left of a run key's own writer; of `parent`: of any.
            partly: Run keys of which something was refused.
        """
        for key in sorted(self._runs, key=lambda k: k == PARENT):
            run = self._runs[key]
            value = "partly" if key in partly else "true"
            if run.status == RUNNING or run.complete == value or not is_shipped(key):
                continue
            self._api.set_tag(run.id, TAG_COMPLETE, value)
            run.complete = value

    def apply(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Sends events; metrics of a run go together, and the parent ends last.

        Raises:
            RefusedEvent: An event is malformed or contradicts what is recorded.
        """
        points: dict[str, list[tuple[int, int, dict[str, float]]]] = {}
        endings = []
        for event in events:
            self.beat()  # a large file may take long
            kind, key = _text(event, "event"), _text(event, "run_key")
            if kind == "metrics":
                point = (_number(event, "step"), _number(event, "time_ms"), _values(event))
                points.setdefault(key, []).append(point)
            elif kind == "end" and key == PARENT:
                endings.append(event)
            elif kind in _HANDLERS:
                _HANDLERS[kind](self, key, event)
            else:
                raise RefusedEvent(f"unknown event '{kind}'")
        for key, curve in points.items():
            self._send_metrics(key, curve)
        for event in endings:
            self._end_sweep(event)

    def _start(self, key: str, event: Mapping[str, Any]) -> None:
        run = self._get(key, event)
        time_ms = _number(event, "time_ms")
        if run.status != RUNNING and time_ms > run.end_ms:
            # Continued after an end; an older start is a repeated shipment.
            self._api.set_tag(run.id, TAG_COMPLETE, "false")
            self._api.update_run(run.id, status=RUNNING)
            run.status, run.complete = RUNNING, "false"
        params = {k: _param_text(v) for k, v in _mapping(event, "params").items()}
        sent = {mlflow_key(k): self._fit(run.id, v, MAX_PARAM) for k, v in params.items()}
        self._send(run.id, {k: v for k, v in sent.items() if k not in run.params}, params, event)
        changed = [k for k, v in sent.items() if run.params.setdefault(k, v) != v]
        if changed:
            raise RefusedEvent(f"parameters of {key} changed: {', '.join(changed[:5])}")

    def _tags(self, key: str, event: Mapping[str, Any]) -> None:
        self._send(self._get(key, None).id, {}, {}, event)

    def _artifact(self, key: str, event: Mapping[str, Any]) -> None:
        path = Path(_text(event, "path"))
        if not path.is_file():
            raise RefusedEvent(f"artifact {path} is not there any more")
        folder = str(event.get("folder") or "")
        self._api.log_artifact(self._get(key, None).id, str(path), folder or None)

    def _inputs(self, key: str, event: Mapping[str, Any]) -> None:
        given = event.get("datasets")
        try:
            inputs = [dataset_input(d) for d in given or ()]
        except (ValueError, TypeError) as error:
            raise RefusedEvent(str(error)) from None
        if inputs:
            self._api.log_inputs(self._get(key, None).id, inputs)

    def _end(self, key: str, event: Mapping[str, Any]) -> None:
        status, time_ms = _text(event, "status"), _number(event, "time_ms")
        if status not in ENDED:
            raise RefusedEvent(f"a run cannot end as '{status}'; allowed: {', '.join(ENDED)}")
        run = self._get(key, event)
        self._api.set_terminated(run.id, status, time_ms)
        run.status, run.end_ms = status, time_ms

    def _end_sweep(self, event: Mapping[str, Any]) -> None:
        """Ends the parent, and every child that nobody ended."""
        for key in [k for k, r in self._runs.items() if r.status == RUNNING and k != PARENT]:
            self._end(key, {**event, "status": "KILLED"})
        self._end(PARENT, event)

    def _get(self, key: str, event: Mapping[str, Any] | None) -> _Run:
        """The run of a key; made if there is none, since files of the spool arrive in any order."""
        if key in self._runs:
            return self._runs[key]
        tags = {TAG_SWEEP: self._sweep_id, TAG_SWEEP_NAME: self._sweep_name, TAG_RUN_KEY: key}
        if key == PARENT:
            tags |= {TAG_ROLE: ROLE_SWEEP, **versions()}
            name, start = self._sweep_id, None
        else:
            parent = self._get(PARENT, None).id
            tags |= {TAG_ROLE: ROLE_RUN, "mlflow.parentRunId": parent}
            name = str((event or {}).get("name") or key)
            start = _number(event, "time_ms") if event else None
        made = self._api.create_run(self._experiment, start, tags, redact(name))
        self._runs[key] = _Run(made.info.run_id)
        return self._runs[key]

    def _send(
        self,
        run_id: str,
        params: Mapping[str, str],
        originals: Mapping[str, str],
        event: Mapping[str, Any],
    ) -> None:
        """Parameters and tags in one call; keys too long for MLflow leave a tag to undo them."""
        from mlflow.entities import Param, RunTag

        given = {k: redact(str(v)) for k, v in _mapping(event, "tags").items()}
        tags = {mlflow_key(k): self._fit(run_id, v, MAX_TAG) for k, v in given.items()}
        tags |= _long_keys([*originals, *given])
        name = event.get("name")
        if event.get("event") == "start" and name:
            tags["mlflow.runName"] = redact(str(name))
        if params or tags:
            self._api.log_batch(
                run_id,
                params=[Param(k, v) for k, v in params.items()],
                tags=[RunTag(k, v) for k, v in tags.items()],
            )

    def _send_metrics(self, key: str, curve: list[tuple[int, int, dict[str, float]]]) -> None:
        from mlflow.entities import Metric, RunTag

        run_id = self._get(key, None).id
        names = {name for _, _, values in curve for name in values}
        long = _long_keys(names)
        if long:
            self._api.log_batch(run_id, tags=[RunTag(k, v) for k, v in long.items()])
        keys = {name: mlflow_key(name) for name in names}
        points = [
            Metric(keys[name], value, time_ms, step)
            for step, time_ms, values in curve
            for name, value in values.items()
        ]
        for at in range(0, len(points), METRICS_PER_CALL):
            self._api.log_batch(run_id, metrics=points[at : at + METRICS_PER_CALL])

    def _fit(self, run_id: str, text: str, limit: int) -> str:
        """The value itself, or where it is kept with its digest if MLflow would cut it."""
        if len(text) <= limit:
            return text
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"long_values/{digest[:16]}.txt"
        self._api.log_text(run_id, text, name)
        return f"sha256:{digest} in artifact {name}"

    @property
    def _api(self) -> "MlflowClient":
        assert self._client is not None, "open() first"
        return self._client


_HANDLERS = {
    "start": SweepRuns._start,
    "tags": SweepRuns._tags,
    "artifact": SweepRuns._artifact,
    "inputs": SweepRuns._inputs,
    "end": SweepRuns._end,
}


def versions() -> dict[str, str]:
    """Provenance tags: the versions that a figure may depend on, without importing anything."""
    tags = {"keepgain.version.python": platform.python_version()}
    for name in _PACKAGES:
        try:
            tags[f"keepgain.version.{name}"] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            tags[f"keepgain.version.{name}"] = "not installed"
    return tags | {"keepgain.host": platform.node(), "keepgain.platform": platform.platform()}


def _long_keys(keys: Iterable[str]) -> dict[str, str]:
    return {TAG_KEY + key_digest(k): k for k in keys if is_long(mlflow_key(k))}


def _param_text(value: Any) -> str:
    """How a parameter is written: words as they are, numbers as Python, the rest as JSON."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return redact(json.dumps(value, sort_keys=True, ensure_ascii=False))


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedEvent(f"'{name}' is missing or not a text")
    return value


def _number(event: Mapping[str, Any], name: str) -> int:
    value = event.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RefusedEvent(f"'{name}' is missing or not a whole number")
    return value


def _mapping(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = event.get(name, {})
    if not isinstance(value, dict):
        raise RefusedEvent(f"'{name}' is not a mapping")
    return value


def _values(event: Mapping[str, Any]) -> dict[str, float]:
    """The values of a metrics event; JSON reads `1e999` as infinity, which MLflow would bend."""
    values: dict[str, float] = {}
    for name, value in _mapping(event, "values").items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise RefusedEvent(f"metric '{name}' is not a finite number")
        values[name] = float(value)
    return values
