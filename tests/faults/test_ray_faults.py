"""A cluster's head that dies, and clients without its token."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.invariants import Left, check_invariants
from tests.faults.test_driver import completed, reports
from tests.sweeps.e2e.test_ray_job import Cluster, ray_head
from tests.sweeps.e2e.world import (
    PATIENCE,
    Swept,
    background,
    environment,
    run,
    survivors,
    without_agents,
    write_spec,
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1200 * PATIENCE)]


def heads(cluster: Cluster) -> list[psutil.Process]:
    """The GCS of a cluster."""
    port = cluster.address.rpartition(":")[2]
    found = []
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or []
        if words and "gcs_server" in words[0] and f"--gcs_server_port={port}" in words:
            found.append(one)
    return found


@pytest.mark.fault("P8")
def test_a_driver_whose_cluster_dies_says_so_and_its_sweep_goes_on_elsewhere(
    tmp_path: Path,
) -> None:
    user, store = tmp_path / "user", tmp_path / "store"
    spec = write_spec(user)
    with ray_head(dashboard=False) as cluster:
        swept = Swept(user, spec, store, cluster.for_drivers)
        with background(*swept.command, cwd=user, log=tmp_path / "log", env=swept.env) as driver:
            driver.until("a rung is reported", lambda: bool(reports(swept)))
            family = driver.family()
            (head,) = heads(cluster)
            head.kill()
            began = time.monotonic()
            code = driver.wait(120)
            seconds = time.monotonic() - began
            assert code in (1, 130), driver.output[-3000:]
            assert seconds < 120 * PATIENCE
            last = [line for line in driver.output.splitlines() if line.strip()][-1]
            assert "Traceback" not in driver.output, driver.output[-3000:]
            assert "the same command continues" in driver.output, last
            assert survivors(without_agents(family), 30 * PATIENCE) == []
    finished = completed(swept)
    again = Swept(user, spec, store)
    before = len(reports(again))
    again.run().expect()
    later = {key for key, _ in reports(again)[before:]}
    assert not later & set(finished), "a finished trial was trained again"
    check_invariants(Left.of(again), processes=family, seconds=90 * PATIENCE)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Cluster]:
    with ray_head(dashboard=False) as cluster:
        yield cluster


@pytest.mark.fault("P16")
@pytest.mark.parametrize("token", [None, "f" * 64], ids=["no token", "another token"])
def test_a_client_without_the_clusters_token_is_refused_within_a_minute(
    token: str | None, guarded: Cluster, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path / "user")
    secrets = {"RAY_AUTH_MODE": "token"} | ({"RAY_AUTH_TOKEN": token} if token else {})
    # No token file of whoever runs this either.
    env = environment(**secrets, HOME=str(tmp_path))
    command = ("sweep", "run", spec, "--store", tmp_path / "store", "--address", guarded.address)
    done = run(*command, cwd=spec.parent, env=env).expect(2)
    assert "Traceback" not in done.err
    line = done.err.strip().splitlines()[-1]
    assert guarded.address in line and "token" in line, done.err
    assert done.seconds < 60 * PATIENCE
    assert not (tmp_path / "store").exists()


@pytest.mark.fault("P16")
def test_a_node_without_the_token_does_not_join(guarded: Cluster, tmp_path: Path) -> None:
    from tests.sweeps.e2e.world import BIN

    env = environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="e" * 64, HOME=str(tmp_path))
    done = subprocess.run(
        [str(BIN / "ray"), "start", "--address", guarded.address, "--num-cpus", "1"],
        env=env,
        capture_output=True,
        text=True,
        timeout=120 * PATIENCE,
        check=False,
    )
    assert done.returncode != 0 and "oken" in done.stdout + done.stderr
