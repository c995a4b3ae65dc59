"""`cluster up|env|status|add-node|down`: real nodes on loopback, and nothing left of them."""

import contextlib
import json
import math
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keepgain.cluster import marked
from keepgain.cluster.cli.common import labels_of
from keepgain.cluster.cli.main import main
from keepgain.cluster.local import LocalCluster, find_local_cluster, start_local_cluster
from keepgain.cluster.local_state import (
    ClusterState,
    NodeState,
    cluster_folder,
    create,
    held,
    read_state,
    write_state,
)
from keepgain.core.errors import UserError
from tests.sweeps.e2e.world import PATIENCE, Done, background, environment, run

NEVER_ENDS = "import signal,time\nsignal.signal(15, signal.SIG_IGN)\nprint(1, flush=True)\n"
SLEEPS = "time.sleep(300)"


def state(tmp_path: Path, **changes: object) -> ClusterState:
    values = {"name": "a", "mark": os.urandom(16).hex(), "temporary": str(tmp_path / "ray")}
    return ClusterState.model_validate({**values, "created": 1.0, **changes})


def python(code: str, mark: str, **more: str) -> subprocess.Popen[bytes]:
    """A process with a mark; returns when it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, marked.VARIABLE: mark, **more},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline()
    return process


def test_what_has_the_mark_is_ended_whatever_it_did_and_nothing_else() -> None:
    mark = os.urandom(16).hex()
    detached = (
        "import subprocess,sys,time\n"
        f"p = subprocess.Popen([sys.executable, '-c', {NEVER_ENDS + SLEEPS!r}],"
        " start_new_session=True, stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\nprint(p.pid, flush=True)\n"
    )
    stubborn = python(NEVER_ENDS + SLEEPS, f"{mark}/0")
    parent = python(detached, f"{mark}/1")  # ends at once; its child is an orphan
    parent.wait(30)
    other = python(NEVER_ENDS + SLEEPS, f"{mark[:-1]}/0")
    try:
        found = marked.marked(mark)
        assert {p.pid for p in found} >= {stubborn.pid} and len(found) == 2
        assert [p.pid for p in marked.marked(f"{mark}/0")] == [stubborn.pid]
        assert marked.end(f"{mark}/1", grace_seconds=0) == []
        assert [p.pid for p in marked.marked(mark)] == [stubborn.pid]
        assert marked.end(mark, grace_seconds=0.2) == []
        assert marked.marked(mark) == [] and stubborn.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for one in (stubborn, parent, other):
            one.kill()
            one.wait()


def test_a_process_id_given_anew_is_another_process() -> None:
    me = psutil.Process()
    assert marked.recorded(me.pid, me.create_time()) == me
    assert marked.recorded(me.pid, me.create_time() - 100) is None


@pytest.mark.parametrize("name", ["", "-a", "../x", "a/b", "A", "a" * 31, "a.lock", "é"])
def test_names_that_are_no_folder_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot name a cluster"):
        cluster_folder(name, tmp_path)


@pytest.mark.fault("S4")
def test_state_and_token_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        folder = cluster_folder("a", tmp_path / "clusters")
        with held(folder):
            token = create(folder)
            written = state(tmp_path, nodes=[NodeState(number=0, cpus=2, labels={"a": "b"})])
            write_state(folder, written)
    finally:
        os.umask(old)
    assert read_state(folder) == written
    assert re.fullmatch(r"[0-9a-f]{64}", token.read_text())
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (folder, token, folder / "state.json")]
    assert modes == [0o700, 0o600, 0o600]
    assert token.read_text() not in (folder / "state.json").read_text()


def test_a_state_file_of_someone_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "state.json").write_text('{"pids": [1]}')
    with pytest.raises(UserError, match=r"a/state\.json"):
        find_local_cluster("a", tmp_path)


def test_two_commands_never_work_on_one_cluster(tmp_path: Path) -> None:
    with held(tmp_path / "a"), held(tmp_path / "b"):
        with pytest.raises(UserError, match="another command is at work"), held(tmp_path / "a"):
            raise AssertionError
    with held(tmp_path / "a"):
        pass


def test_a_cluster_of_nothing_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    root = tmp_path / "clusters"
    sizes = ({"nodes": 0}, {"cpus": 0}, {"gpus": -1}, {"memory_gb": 0.0}, {"memory_gb": math.nan})
    for asked in (*sizes, {"memory_gb": math.inf}):
        (option,) = asked
        with pytest.raises(UserError, match=f"--{option.replace('_', '-')}"):
            start_local_cluster(root=root, **asked)
    assert not root.exists()
    one = LocalCluster(root / "a", state(tmp_path, nodes=[NodeState(number=0, cpus=1)]))
    for option in ("cpus", "gpus", "memory_gb"):
        with pytest.raises(UserError, match=f"--{option.replace('_', '-')}"):
            one.add_node(**{option: -1})  # type: ignore[arg-type]
    assert not root.exists()


def test_labels_are_pairs() -> None:
    assert labels_of("gpu=A100,market=spot") == {"gpu": "A100", "market": "spot"}
    assert labels_of(None) is None
    for text in ("", "gpu", "gpu=", "=A100", "a=b,,c=d"):
        with pytest.raises(UserError, match="--labels"):
            labels_of(text)


def test_commands_on_no_cluster_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEEPGAIN_CLUSTERS", str(tmp_path))
    for command in ("env", "status", "add-node"):
        assert main([command]) == 2
        assert "no cluster 'local' runs here" in capsys.readouterr().err
    assert main(["down"]) == 0
    assert "no cluster 'local' runs here" in capsys.readouterr().out


def test_only_listening_beyond_loopback_is_reported() -> None:
    code = (
        "import socket,time\n"
        "def listen(host, family=socket.AF_INET):\n"
        "    one = socket.socket(family)\n"
        "    one.bind((host, 0))\n"
        "    one.listen()\n"
        "    return one\n"
        "s = [listen('127.0.0.1'), listen('127.0.0.9'), listen('::1', socket.AF_INET6),"
        " listen('::ffff:127.0.0.1', socket.AF_INET6), listen('')]\n"
        "print(s[-1].getsockname()[1], flush=True)\n" + SLEEPS
    )
    mark = os.urandom(16).hex()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, marked.VARIABLE: mark},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        (found,) = marked.listening_elsewhere(marked.marked(mark))
        assert found.startswith(f"0.0.0.0:{port} ")
    finally:
        process.kill()
        process.wait()


# ---- With Ray. ----


def command(root: Path, *words: str) -> Done:
    """`cluster ...` with its state below `root`."""
    return run("cluster", *words, cwd=root, env=environment(KEEPGAIN_CLUSTERS=str(root)))


def leftovers(root: Path, mark: str) -> list[str]:
    """What should not be there once a cluster is down."""
    files = [str(p) for p in root.iterdir() if not p.name.endswith((".lock", ".log"))]
    return files + [str(p) for p in marked.marked(mark)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `cluster up --nodes 2 --cpus 1` has been called."""
    root = tmp_path_factory.mktemp("clusters")
    try:
        done = command(root, "up", "--nodes", "2", "--cpus", "1", "--labels", "market=spot")
        done.expect()
        (root / "up.log").write_text(done.out)
        yield root
    finally:
        command(root, "down")


def status(root: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(command(root, "status", "--json").out)
    return found


@pytest.mark.processes
def test_up_says_how_to_use_it_and_a_second_one_is_refused(root: Path) -> None:
    said = (root / "up.log").read_text()
    found = find_local_cluster(root=root)
    assert found is not None
    assert 'eval "$(cluster env)"' in said and f"--address {found.address}" in said
    assert "all on loopback" in said
    refused = command(root, "up").expect(2)
    assert "runs already: 2 nodes" in refused.err and found.address in refused.err
    assert status(root)["healthy"] is True


@pytest.mark.processes
@pytest.mark.fault("S1", "S4")
def test_every_port_is_on_loopback_and_the_token_is_no_one_elses(root: Path) -> None:
    found = find_local_cluster(root=root)
    assert found is not None
    listening = [
        c.laddr.ip
        for p in found.processes()
        for c in p.net_connections(kind="tcp")
        if c.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 8
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    assert status(root)["not_on_loopback"] == []
    assert stat.S_IMODE(found.token_path.stat().st_mode) == 0o600
    temporary = found._state.temporary
    assert stat.S_IMODE(Path(temporary).stat().st_mode) == 0o700
    # Arguments and environments can be listed; the token is in neither.
    token = found.token_path.read_text()
    for one in found.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            assert token not in " ".join([*one.cmdline(), *one.environ().values()])


@pytest.mark.processes
@pytest.mark.fault("S2")
@pytest.mark.parametrize("token", [None, "0" * 64])
def test_a_job_without_the_token_is_refused(root: Path, token: str | None) -> None:
    found = find_local_cluster(root=root)
    assert found is not None
    request = urllib.request.Request(
        f"{found.jobs_address}/api/jobs/",
        data=json.dumps({"entrypoint": f"touch {root}/canary"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(request, timeout=30 * PATIENCE)
    assert refused.value.code in (401, 403)
    assert not (root / "canary").exists()


def in_shell(root: Path, script: str) -> Done:
    """`eval "$(cluster env)"`, then a script, in a plain environment."""
    begun = time.monotonic()
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euc", f'eval "$(cluster env)"\n{script}'],
        cwd=root,
        env=environment(
            KEEPGAIN_CLUSTERS=str(root), PATH=f"{binaries}{os.pathsep}{os.environ['PATH']}"
        ),
        capture_output=True,
        text=True,
        timeout=240 * PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)


STOPPABLE = """\
import pathlib, signal, sys, time
def told(number, frame):
    time.sleep(6)
    pathlib.Path(sys.argv[1]).write_text("written down")
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
pathlib.Path(sys.argv[1]).write_text("begun")
time.sleep(300)
"""


@pytest.mark.processes
def test_a_shell_with_the_environment_submits_jobs_that_find_our_commands(root: Path) -> None:
    done = in_shell(root, "ray job submit -- sh -c 'command -v sweep; env'").expect()
    assert str(Path(sys.executable).parent / "sweep") in done.out
    env = dict(re.findall(r"^([A-Z_a-z]+)=(.*)$", done.out, re.MULTILINE))
    assert int(env["RAY_JOB_STOP_WAIT_TIME_S"]) >= 30
    jobs = status(root)["jobs"]
    assert isinstance(jobs, list) and jobs[-1]["status"] == "SUCCEEDED"


@pytest.mark.processes
def test_a_stopped_job_has_time_to_write_down_what_it_has(root: Path, tmp_path: Path) -> None:
    """Six seconds after SIGTERM; Ray's own limit is three."""
    (tmp_path / "job.py").write_text(STOPPABLE)
    told = tmp_path / "told"
    done = in_shell(
        root,
        f"ray job submit --no-wait --submission-id stopped -- python {tmp_path}/job.py {told}\n"
        f"until test -e {told}; do sleep 0.2; done\n"
        "ray job stop stopped",
    ).expect()
    assert "was stopped" in done.out
    assert told.read_text() == "written down"


@pytest.mark.processes
def test_a_lost_node_is_seen_and_another_one_takes_its_place(root: Path) -> None:
    found = find_local_cluster(root=root)
    assert found is not None
    raylet = found.node(1).raylet
    assert raylet is not None
    raylet.kill()
    done = command(root, "status").expect(1)
    assert "node 1: DEAD" in done.out and "node 0 (head): alive" in done.out
    killed = found.kill_node(1)
    assert found.node(1).processes() == [] and not set(killed) & {p.pid for p in found.processes()}
    assert "node 2 added" in command(root, "add-node").expect().out
    listed = status(root)["nodes"]
    assert isinstance(listed, list)
    assert [n["alive"] for n in listed] == [True, False, True]
    assert listed[2]["cpus"] == 1 and listed[2]["labels"] == {"market": "spot"}
    found = find_local_cluster(root=root)
    assert found is not None
    names = {n["node_name"]: n["labels"] for n in found.alive_nodes()}
    assert names["local-2"]["market"] == "spot"


@pytest.mark.processes
def test_down_leaves_nothing_after_half_was_killed_and_spares_the_rest(root: Path) -> None:
    """Last of those with this cluster: it ends it."""
    found = find_local_cluster(root=root)
    assert found is not None
    mark, temporary = found._state.mark, Path(found._state.temporary)
    everything = found.processes()
    for one in everything[::2]:
        one.kill()
    bystander = python("print(1, flush=True)\nimport time\n" + SLEEPS, "another")
    try:
        assert "none left" in command(root, "down").expect().out
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert not any(marked.is_live(p) for p in everything)
    assert leftovers(root, mark) == [] and not temporary.exists()
    assert "no cluster" in command(root, "down").expect().out


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_start_leaves_nothing_or_what_down_ends(
    number: signal.Signals, tmp_path: Path
) -> None:
    env = environment(KEEPGAIN_CLUSTERS=str(tmp_path))
    folder = tmp_path / "local"

    def head_runs() -> bool:
        found = read_state(folder)
        return found is not None and bool(found.nodes)

    words = ("cluster", "up", "--nodes", "2", "--cpus", "1")
    with background(*words, cwd=tmp_path, log=tmp_path / "up.log", env=env) as starting:
        starting.until("the head runs", head_runs)
        found = read_state(folder)
        assert found is not None and marked.marked(found.mark)
        starting.end(number)
    if number == signal.SIGKILL:
        assert marked.marked(found.mark)
        command(tmp_path, "down").expect()
    assert leftovers(tmp_path, found.mark) == []
    assert not Path(found.temporary).exists()


@pytest.mark.processes
def test_a_node_that_ray_refuses_leaves_nothing(tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("kg*"))
    done = command(tmp_path, "up", "--nodes", "2", "--labels", "a b!=c").expect(1)
    assert "node 0 did not start" in done.err and "a b!" in done.err
    assert [p.name for p in tmp_path.iterdir()] == [".local.lock"]
    assert not [p for p in set(Path("/tmp").glob("kg????????")) - before if p.is_dir()]
