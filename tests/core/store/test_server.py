"""The real MLflow server: one start serves the UI, the REST path and the outage of a store."""

import json
import socket
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from keepgain.core.errors import UserError
from keepgain.core.record import Evidence
from keepgain.core.store.client import new_client
from keepgain.core.store.links import runs_url
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.reader import load_from_mlflow
from keepgain.core.store.record_files import ITEMS_NAME, RECORD_NAME, save_folder
from keepgain.core.store.server import ServerSettings, start_server, start_ui, stop_server
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from tests.core.store.conftest import SWEEP, same_evidence


def ask(url: str, payload: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"{url}/ajax-api/2.0/mlflow/runs/search",
        data=json.dumps(payload).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.load(answer))


def listens_only_on_loopback(port: int) -> bool:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    return [a.partition(":")[0] for a in local if int(a.partition(":")[2], 16) == port] == [
        "0100007F"
    ]


@pytest.mark.fault("P10")
@pytest.mark.processes
def test_a_server_that_comes_late_gets_everything_once(
    location: StoreLocation, evidence: Evidence, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    remote = resolve_store(f"http://127.0.0.1:{port}", create=True, cwd=tmp_path / "elsewhere")
    folder = remote.sweep_folder(SWEEP)
    save_folder(folder / "record", evidence)
    spool = Spool(folder / "spool", "driver")
    spool.start("k-s0", "xs full", {"x": 1}, {})
    for step in range(1500):
        spool.metrics("k-s0", step, {"loss": float(step)})
    for name in (ITEMS_NAME, RECORD_NAME):
        spool.artifact("parent", folder / "record" / name, "record")
    spool.end("k-s0", "FINISHED")
    spool.end("parent", "FINISHED")
    spool.close()

    with Shipper(remote, SWEEP, "tickets", folder / "spool") as shipper:
        assert not shipper.drain(2)
        assert shipper.trouble is not None and f"127.0.0.1:{port}" in shipper.trouble
        process, url = start_ui(location, port)
        assert process is not None
        try:
            assert shipper.drain(60), shipper.trouble
            assert shipper.trouble is None
            assert listens_only_on_loopback(port)
            _check_interface(url, location, remote, evidence)
            assert start_ui(remote) == (None, remote.tracking_uri)
            with pytest.raises(UserError, match="cannot be used"):
                start_ui(location, port)
        finally:
            stop_server(process)
    assert process.poll() is not None


def _check_interface(
    url: str, location: StoreLocation, remote: StoreLocation, evidence: Evidence
) -> None:
    with urllib.request.urlopen(url, timeout=10) as page:
        assert b"<!doctype html>" in page.read()[:100].lower()
    link = runs_url(url, location, SWEEP)
    route = urlsplit(urlsplit(link).fragment)
    experiment = route.path.split("/")[2]
    assert route.path == f"/experiments/{experiment}/runs"
    condition = parse_qs(route.query)["searchFilter"][0]
    found = ask(url, {"experiment_ids": [experiment], "filter": condition})["runs"]
    assert isinstance(found, list) and [r["info"]["run_name"] for r in found] == ["xs full"]

    points = new_client(remote).get_metric_history(found[0]["info"]["run_id"], "loss")
    assert sorted(p.step for p in points) == list(range(1500))
    assert same_evidence(load_from_mlflow(remote, SWEEP), evidence)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(tmp_path: Path, port: int) -> None:
    location = resolve_store(str(tmp_path), create=True)
    with pytest.raises(UserError, match=f"--port: {port} is not a port"):
        start_server(ServerSettings(location, tmp_path / "log", port=port))
    assert not list(tmp_path.glob("*"))
