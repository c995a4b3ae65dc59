"""The record when its server is killed, hangs, fills its disk, or is far away in time.

Writers are processes that write spools as training does; the shipper and the server are real.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keepgain.core.launch import free_port
from keepgain.core.store import heartbeat
from keepgain.core.store.client import new_client
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.names import TAG_COMPLETE, TAG_HEARTBEAT, original_key
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from keepgain.core.store.summary import list_sweeps
from keepgain.core.store.upkeep import duplicates, stored_runs
from tests.core.store.conftest import SWEEP
from tests.core.store.servers import Server, await_true
from tests.postgres import Postgres, postgres  # noqa: F401 - a fixture

WRITE = """
import sys, time
from pathlib import Path
from keepgain.core.store.spool import Spool
folder, key, flushes, pause = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
longest = 0.0
spool = Spool(folder, key)
for step in range(flushes):
    began = time.monotonic()
    spool.metrics(key, step, {"loss": float(step), "recall@5": 0.5})
    spool.flush()
    longest = max(longest, time.monotonic() - began)
    time.sleep(pause)
spool.close()
print(longest)
"""


def spool_folder(location: StoreLocation) -> Path:
    return location.sweep_folder(SWEEP) / "spool"


@contextlib.contextmanager
def shipping(location: StoreLocation) -> Iterator[Shipper]:
    folder = spool_folder(location)
    with Shipper(location, SWEEP, "tickets", folder, {"attempt": "1"}) as shipper:
        yield shipper


def writers(folder: Path, count: int, flushes: int, pause: float) -> list["subprocess.Popen[str]"]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, str(folder), f"w{i}-s0", str(flushes), str(pause)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def end_runs(folder: Path, count: int) -> None:
    """As the driver does when its trials are done."""
    spool = Spool(folder, "driver")
    spool.start("parent", SWEEP, {}, {})
    for i in range(count):
        spool.start(f"w{i}-s0", f"writer {i}", {"x": i}, {})
        spool.end(f"w{i}-s0", "FINISHED")
    spool.end("parent", "FINISHED")
    spool.close()


def check_record(location: StoreLocation, count: int, flushes: int) -> None:
    """One run a key, all ended and marked complete; every point once, under its own name."""
    runs = stored_runs(location, SWEEP)
    assert len(runs) == count + 1 and not duplicates(runs)
    assert {r.status for r in runs} == {"FINISHED"}
    assert {r.complete for r in runs} == {"true"}
    client = new_client(location)
    for run in runs:
        if run.run_key == "parent":
            continue
        names = {original_key(k): k for k in client.get_run(run.run_id).data.metrics}
        assert set(names) == {"loss", "recall@5"}
        points = client.get_metric_history(run.run_id, names["loss"])
        assert sorted((p.step, p.value) for p in points) == [
            (i, float(i)) for i in range(flushes)
        ], run.run_key


@pytest.fixture
def server(location: StoreLocation, tmp_path: Path) -> Iterator[Server]:
    server = Server(location, tmp_path)
    server.start()
    yield server
    server.end()


@pytest.mark.fault("L2")
@pytest.mark.processes
def test_eight_writers_of_two_hundred_flushes_lose_and_double_nothing(server: Server) -> None:
    location = server.client()
    folder = spool_folder(location)
    with shipping(location) as shipper:
        for process in writers(folder, 8, 200, 0.0):
            assert process.wait(120) == 0
        end_runs(folder, 8)
        assert shipper.drain(120), shipper.trouble
    check_record(location, 8, 200)


def outage(server: Server, during: Callable[[], None], flushes: int = 150) -> None:
    """Three writers write for some fifteen seconds; `during` happens in the middle."""
    location = server.client()
    folder = spool_folder(location)
    with shipping(location) as shipper:
        processes = writers(folder, 3, flushes, 0.1)
        await_true(lambda: len(stored_runs(location, SWEEP)) == 4, 60, "first points arrive")
        during()
        longest = max(float(p.communicate(timeout=120)[0]) for p in processes)
        assert [p.returncode for p in processes] == [0, 0, 0]
        assert longest < 2, "training never waited for the store"
        end_runs(folder, 3)
        assert shipper.drain(120), shipper.trouble
        assert shipper.trouble is None
    check_record(location, 3, flushes)


@pytest.mark.fault("P9")
@pytest.mark.processes
def test_a_server_that_is_killed_and_comes_back_has_everything_once(server: Server) -> None:
    def kill() -> None:
        server.kill()
        time.sleep(3)
        server.start()

    outage(server, kill)


@pytest.mark.fault("P11")
@pytest.mark.processes
def test_a_server_that_hangs_holds_up_nobody(server: Server) -> None:
    def hang() -> None:
        server.signal(signal.SIGSTOP)
        time.sleep(20)  # longer than a call's time limit
        server.signal(signal.SIGCONT)

    outage(server, hang)


@pytest.mark.fault("P9")
@pytest.mark.processes
def test_a_killed_server_on_postgresql_has_everything_once(
    postgres: Postgres,  # noqa: F811
    tmp_path: Path,
) -> None:
    backend = resolve_store(postgres.create("outage"), create=True, cwd=tmp_path)
    server = Server(backend, tmp_path)
    server.start()

    def kill() -> None:
        server.kill()
        server.start()

    try:
        outage(server, kill)
        rows = postgres.ask("SELECT count(*), count(DISTINCT (run_uuid, key, step)) FROM metrics "
                            "WHERE key = 'loss'", "outage")  # fmt: skip
        assert rows == [(450, 450)]
    finally:
        server.end()


@pytest.mark.fault("L3")
@pytest.mark.processes
def test_four_processes_may_touch_a_new_postgresql_at_once(
    postgres: Postgres,  # noqa: F811
    tmp_path: Path,
) -> None:
    from tests.core.store.test_bootstrap import FIRST_TOUCH

    uri = postgres.create("fresh")
    # Each in a folder of its own, as on machines of their own: no lock file is shared.
    folders = [tmp_path / str(i) for i in range(4)]
    for folder in folders:
        folder.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_TOUCH, uri], cwd=folder, stderr=subprocess.PIPE, text=True
        )
        for folder in folders
    ]
    answers = [(p.communicate(timeout=180)[1], p.returncode) for p in processes]
    assert [code for _, code in answers] == [0] * 4, answers
    assert postgres.ask("SELECT count(*) FROM runs", "fresh") == [(4,)]


@pytest.mark.fault("P10")
def test_a_server_that_never_comes_leaves_the_record_in_the_spool(tmp_path: Path) -> None:
    location = resolve_store(f"http://127.0.0.1:{free_port()}", create=True, cwd=tmp_path)
    began = time.monotonic()
    with shipping(location) as shipper:
        end_runs(spool_folder(location), 3)
        assert not shipper.drain(1)
        assert shipper.state == "degraded" and "127.0.0.1" in str(shipper.trouble)
    assert time.monotonic() - began < 10, "nobody waits long for a server that is not there"


@pytest.mark.fault("R2")
@pytest.mark.processes
def test_a_full_disk_of_the_database_delays_the_record_and_loses_nothing(
    location: StoreLocation, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    server = None
    try:
        small = resolve_store(str(disk / "store"), create=True)
        assert small.database is not None and location.database is not None
        shutil.copy(location.database, small.database)
        server = Server(small, tmp_path)
        server.start()
        ballast = disk / "ballast"
        remote = server.client()
        folder = spool_folder(remote)
        with shipping(remote) as shipper:
            assert shipper.drain(60), shipper.trouble
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as handle:
                while True:
                    handle.write(b"x" * 4096)
            for process in writers(folder, 3, 150, 0.0):
                assert process.wait(60) == 0
            end_runs(folder, 3)
            await_true(lambda: shipper.trouble is not None, 60, "the full disk is told")
            ballast.unlink()
            assert shipper.drain(120), shipper.trouble
        check_record(remote, 3, 150)
    finally:
        if server is not None:
            server.end()
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.fault("R10")
@pytest.mark.processes
def test_a_slow_line_that_breaks_answers_off_doubles_nothing(server: Server) -> None:
    with bad_line(server.port) as port:
        location = resolve_store(f"http://127.0.0.1:{port}", create=True, cwd=server.folder)
        folder = spool_folder(location)
        for process in writers(folder, 3, 100, 0.0):
            assert process.wait(60) == 0
        end_runs(folder, 3)
        with shipping(location) as shipper:
            assert shipper.drain(180), shipper.trouble
    behind = server.client()
    check_record(behind, 3, 100)


@contextlib.contextmanager
def bad_line(port: int) -> Iterator[int]:
    """A proxy: every answer 50 ms late, one in thirteen cut off in the middle, one in seventeen
    connections refused with 503."""
    listener = socket.create_server(("127.0.0.1", 0))
    numbers = iter(range(10**9))

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            number = next(numbers)
            request = read_http(client)
            if number % 17 == 16:
                client.sendall(
                    b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            with socket.create_connection(("127.0.0.1", port)) as there:
                there.sendall(request)
                answer = read_http(there)
            time.sleep(0.05)
            client.sendall(answer[: len(answer) // 2] if number % 13 == 12 else answer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()


def read_http(source: socket.socket) -> bytes:
    """One message with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = source.recv(65536)
        if not block:
            return data
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < length:
        block = source.recv(65536)
        if not block:
            break
        body += block
    # One question a connection, so that each can be treated on its own.
    return head.replace(b"keep-alive", b"close") + b"\r\n\r\n" + body


@pytest.mark.fault("R9")
@pytest.mark.processes
@pytest.mark.parametrize("shift_seconds", [-3600, 3600])
def test_clocks_an_hour_apart_make_no_live_driver_stale(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    shift_seconds: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The driver's machine is off by an hour; whoever looks at the list is not."""
    location = server.client()
    folder = spool_folder(location)
    Spool(folder, "driver").start("parent", SWEEP, {}, {})
    elsewhere = resolve_store(
        location.tracking_uri, create=True, cwd=tmp_path_factory.mktemp("other")
    )
    right = time.time

    def looked_at(*, later: float = 0) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: right() + later)
            # The server's clock goes on as well.
            ahead = heartbeat.clock_ahead_ms(location)
            patch.setattr(heartbeat, "clock_ahead_ms", lambda _: ahead)
            patch.setattr("keepgain.core.store.summary.clock_ahead_ms", lambda _: 0)
            (found,) = list_sweeps(elsewhere)
        return found.status

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: right() + shift_seconds)
        shipper = Shipper(location, SWEEP, "tickets", folder, {"attempt": "1"}).start()
        assert shipper.drain(60), shipper.trouble
        shipper.close()
    (parent,) = stored_runs(location, SWEEP)
    tag = json.loads(new_client(location).get_run(parent.run_id).data.tags[TAG_HEARTBEAT])
    assert tag["host"] and tag["pid"] == str(os.getpid())
    assert abs(tag["at_ms"] / 1000 - right()) < 60, "by the server's clock"
    assert looked_at() == "running"
    assert looked_at(later=2 * heartbeat.STALE_SECONDS) == "stale"


@pytest.mark.fault("P5")
def test_a_killed_driver_is_shown_as_stale(location: StoreLocation) -> None:
    folder = spool_folder(location)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from keepgain.core.store.location import resolve_store\n"
        "from keepgain.core.store.shipper import Shipper\n"
        "folder = Path(sys.argv[2])\n"
        "Shipper(resolve_store(sys.argv[1]), sys.argv[3], 'tickets', folder, {}).start()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", code, str(location.folder), str(folder), SWEEP]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert [s.status for s in list_sweeps(location)] == ["stale"]
    with shipping(location):
        assert [s.status for s in list_sweeps(location)] == ["running"]
    assert [s.status for s in list_sweeps(location)] == ["stopped"]


@pytest.mark.fault("N11")
def test_many_long_params_and_many_metrics_arrive_whole(location: StoreLocation) -> None:
    folder = spool_folder(location)
    params = {f"p{i}": ("é" * 7000 if i == 0 else i) for i in range(150)}
    metrics = {f"m{i}": float(i) for i in range(1500)}
    spool = Spool(folder, "driver")
    spool.start("k-s0", "k", params, {})
    spool.metrics("k-s0", 1, metrics)
    spool.end("k-s0", "FINISHED")
    spool.close()
    with shipping(location) as shipper:
        assert shipper.drain(60) and shipper.trouble is None
    run = next(r for r in stored_runs(location, SWEEP) if r.run_key == "k-s0")
    assert run.metrics == metrics
    stored = new_client(location).get_run(run.run_id).data
    assert len(stored.params) == 150 and stored.params["p149"] == "149"
    assert stored.tags[TAG_COMPLETE] == "true"
    artifact = stored.params["p0"].rpartition(" ")[2]
    got = new_client(location).download_artifacts(run.run_id, artifact)
    assert Path(got).read_text(encoding="utf-8") == "é" * 7000


@pytest.mark.fault("N4")
def test_keys_that_mlflow_refuses_come_back_under_their_own_names(location: StoreLocation) -> None:
    keys = ["acc,none", "recall@5", "f1 😀", "k" * 300, "a//b", "../x", "max_x"]
    spool = Spool(spool_folder(location), "driver")
    spool.start("k-s0", "k", {k: 1 for k in keys}, {k: "t" for k in keys})
    spool.metrics("k-s0", 1, dict.fromkeys(keys, 1.0))
    spool.close()
    with shipping(location) as shipper:
        assert shipper.drain(60) and shipper.trouble is None
    run = next(r for r in stored_runs(location, SWEEP) if r.run_key == "k-s0")
    assert set(run.metrics) == set(keys)
    data = new_client(location).get_run(run.run_id).data
    assert {original_key(k, data.tags) for k in data.params} == set(keys)
    assert set(keys) <= {original_key(k, data.tags) for k in data.tags}


@pytest.mark.fault("R2")
def test_a_full_disk_of_a_local_store_is_told_and_loses_nothing(location: StoreLocation) -> None:
    """A file that may not grow, as far as one process goes; the other test has a full disk."""
    folder = spool_folder(location)
    for process in writers(folder, 1, 400, 0.0):
        assert process.wait(60) == 0
    end_runs(folder, 1)
    assert location.database is not None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (location.database.stat().st_size, limit[1]))
        with shipping(location) as shipper:
            await_true(lambda: shipper.trouble is not None, 30, "the full disk is told")
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            assert shipper.drain(60), shipper.trouble
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    check_record(location, 1, 400)
