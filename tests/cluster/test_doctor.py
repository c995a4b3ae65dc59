"""What nodes say of themselves, by hand and by this machine; and what the doctor makes of it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from keepgain.cluster import node_facts
from keepgain.cluster.doctor import HERE, Asked, NodeFacts, examine, mend
from keepgain.cluster.findings import Finding, Needs, judge

GIB = 1 << 30
ROOT = Path(__file__).parents[2]
HEALTHY: dict[str, Any] = {
    "node": "alpha",
    "is_driver": True,
    "host": "alpha",
    "python": "3.11.7",
    "system": "Linux-6.1",
    "packages": {"keepgain": "0.1", "ray": "2.60.0", "torch": "2.13.0", "mlflow": "3.17.2",
                 "transformers": "5.23.0", "peft": "0.21.2", "deepspeed": None},
    "gpus": [{"name": "H100", "memory": "80 GB", "driver": "570.1"}],
    "folders": {
        name: {"path": path, "exists": True, "writable": True, "free_bytes": 90 * GIB,
               "total_bytes": 100 * GIB}
        for name, path in (("work", "/shared/kg"), ("tmp", "/tmp"))
    },
    "canary": {"read": None, "write": None},
    "mlflow": None,
    "shm_bytes": 16 * GIB,
    "memory_bytes": 64 * GIB,
    "open_files": 65536,
    "tools": {"g++": "/usr/bin/g++", "ninja": "/usr/bin/ninja"},
    "locks": [],
    "auth_mode": "token",
    "token": {"in_environment": False, "path": "/home/u/.ray/auth_token", "mode": 0o600},
    "listening": [],
    "ray_gpus": 1.0,
    "object_store_bytes": 8.0 * GIB,
}  # fmt: skip


def node(name: str = "beta", **changes: Any) -> NodeFacts:
    """A healthy node with what is said here; not the driver's."""
    inner = {k: {**(HEALTHY[k] or {}), **v} for k, v in changes.items() if isinstance(v, dict)}
    given = {"node": name, "host": name, "is_driver": False, **changes, **inner}
    return NodeFacts.model_validate({**HEALTHY, **given})


DRIVER = NodeFacts.model_validate(HEALTHY)


def faults(*nodes: NodeFacts, needs: Needs | None = None) -> list[Finding]:
    return [f for f in judge(nodes, needs or Needs()) if f.level != "ok"]


def test_two_equal_nodes_have_nothing_to_be_mended() -> None:
    findings = judge((DRIVER, node()), Needs())
    assert {f.level for f in findings} == {"ok"}
    assert {f.check for f in findings} == {
        "python", "packages", "gpus", "storage", "mlflow", "token", "ports", "disk", "shm",
        "open files", "compiler", "clock",
    }  # fmt: skip
    assert not any(f.fix for f in findings)


SOCKET = {"address": "0.0.0.0", "port": 6379, "program": "/x/ray/gcs_server --log"}
UI = {"address": "::", "port": 5000, "program": "python -m mlflow server"}


@pytest.mark.parametrize(
    ("changes", "check", "level", "words"),
    [
        ({"python": "3.12.1"}, "python", "error", "3.12.1"),
        ({"python": "3.11.2"}, "python", "warning", "3.11.2"),
        ({"packages": {"torch": "2.12.0"}}, "packages", "error", "torch 2.12.0, elsewhere 2.13.0"),
        ({"packages": {"ray": None}}, "packages", "error", "ray is missing"),
        ({"packages": {"keepgain": None}}, "packages", "warning", "keepgain is missing"),
        ({"packages": {"mlflow": "3.16.1"}}, "packages", "warning", "mlflow 3.16.1"),
        ({"gpus": [{"name": "H100", "driver": "560.0"}]}, "gpus", "warning", "driver 560.0"),
        ({"gpus": [{"name": "nvidia-smi failed: x", "driver": ""}]}, "gpus", "error", "failed"),
        ({"ray_gpus": 0.0}, "gpus", "warning", "Ray counts 0"),
        ({"canary": {"read": "No such file"}}, "storage", "error", "not seen"),
        ({"canary": {"write": "Permission denied"}}, "storage", "error", "cannot be written"),
        ({"canary": {"seen_by_driver": False}}, "storage", "error", "not seen by the driver"),
        ({"auth_mode": None}, "token", "error", "not set: whoever reaches Ray runs code"),
        ({"auth_mode": "disabled"}, "token", "error", "disabled"),
        ({"token": {"mode": 0o644}}, "token", "error", "mode 0644"),
        ({"token": {"mode": None}}, "token", "error", "missing"),
        ({"listening": [UI]}, "ports", "warning", "MLflow: port 5000"),
        ({"listening": [SOCKET], "auth_mode": None}, "ports", "error", "Ray: port 6379"),
        ({"shm_bytes": 64 << 20}, "shm", "warning", "64 MiB, 8 GiB are used"),
        ({"shm_bytes": None}, "shm", "warning", "no /dev/shm"),
        ({"open_files": 1024}, "open files", "warning", "1024"),
        ({"open_files": 256}, "open files", "error", "256"),
        ({"locks": [{"path": "/e/adam/lock", "age_seconds": 7200.0}]}, "locks", "warning", "2.0 h"),
        ({"clock_offset": -5.0, "clock_error": 0.01}, "clock", "warning", "5.000 s behind"),
        ({"clock_offset": 100.0, "clock_error": 0.5}, "clock", "error", "ahead of"),
    ],
)  # fmt: skip
def test_each_fault_is_found_on_its_node_with_its_fix(
    changes: dict[str, Any], check: str, level: str, words: str
) -> None:
    found = [f for f in faults(DRIVER, node(**changes)) if f.check == check and f.node == "beta"]
    assert [(f.level, f.node) for f in found] == [(level, "beta")]
    assert words in found[0].seen
    assert found[0].fix and "\n" not in found[0].fix


@pytest.mark.parametrize(
    "changes",
    [
        {"listening": [SOCKET]},  # nodes need Ray's ports, and the token is on
        {"token": {"mode": None, "in_environment": True}},
        {"locks": [{"path": "/e/adam/lock", "age_seconds": 30.0}]},  # a build that runs
        {"clock_offset": 3.0, "clock_error": 2.5},  # may be half a second
        {"open_files": -1},  # unlimited
        {"tools": {"g++": None}},
        {"listening": [{"address": "0.0.0.0", "port": 22, "program": None}]},
    ],
)
def test_what_does_no_harm_is_left_alone(changes: dict[str, Any]) -> None:
    assert faults(DRIVER, node(**changes)) == []


def test_a_compiler_is_needed_where_the_sweep_uses_deepspeed() -> None:
    (found,) = faults(DRIVER, node(tools={"ninja": None}), needs=Needs(compiler=True))
    assert (found.check, found.level, found.node) == ("compiler", "error", "beta")
    assert "no ninja" in found.seen and "pip install ninja" in found.fix


def test_the_version_of_most_nodes_is_the_expected_one() -> None:
    old = {"packages": {"torch": "2.12.0"}}
    lone = NodeFacts.model_validate(
        {**HEALTHY, "packages": {**HEALTHY["packages"], **old["packages"]}}
    )
    found = faults(lone, node("beta"), node("gamma"))
    assert [(f.node, f.level) for f in found] == [("alpha", "error")]


@pytest.mark.parametrize(
    ("free", "level"), [(30 * GIB, None), (10 * GIB, "warning"), (GIB, "error")]
)
def test_disks_are_judged_by_what_is_free(free: int, level: str | None) -> None:
    folder = {**HEALTHY["folders"]["work"], "free_bytes": free}
    found = faults(DRIVER, node(folders={"work": folder}))
    assert [f.level for f in found] == ([level] if level else [])


def test_a_disk_that_is_nearly_full_is_told_since_ray_stops_there() -> None:
    folder = {"path": "/tmp", "exists": True, "writable": True, "free_bytes": 40 * GIB,
              "total_bytes": 1000 * GIB}  # fmt: skip
    (found,) = faults(DRIVER, node(folders={"tmp": folder}))
    assert (found.level, found.check) == ("warning", "disk") and "96 % full" in found.seen


@pytest.mark.parametrize(
    ("url", "answer", "words", "fix"),
    [
        ("http://head:5000", {"status": 403, "said": "Invalid Host header: DNS rebinding"},
         "does not serve 'head'", "--allowed-hosts head"),
        ("http://head:5000", {"status": 401, "said": ""}, "401", "MLFLOW_TRACKING_USERNAME"),
        ("http://head:5000", {"status": 403, "said": "no permission"}, "403", "who runs it"),
        ("http://127.0.0.1:5000", {"status": None, "said": "Connection refused"},
         "another machine", "real host name"),
        ("http://head:5000", {"status": None, "said": "Name or service not known"},
         "not known", "check the name"),
        ("http://head:5000", {"status": 500, "said": ""}, "500", "Start the server"),
    ],
)  # fmt: skip
def test_mlflow_must_answer_by_the_name_that_nodes_use(
    url: str, answer: dict[str, Any], words: str, fix: str
) -> None:
    (found,) = faults(DRIVER, node(mlflow=answer | {}), needs=Needs(mlflow=url))
    assert (found.check, found.level, found.node) == ("mlflow", "error", "beta")
    assert words in found.seen and fix in found.fix


# -- this machine -----------------------------------------------------------------------------


@contextlib.contextmanager
def server(status: int, said: str) -> Iterator[str]:
    """Answers every POST so."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *args: object) -> None: ...

    httpd = HTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()


def test_this_machine_is_examined_and_left_as_it_was(tmp_path: Path) -> None:
    with server(403, "Invalid Host header") as url:
        (facts,) = examine(Asked(tmp_path, url), None)
    assert (facts.node, facts.is_driver) == (HERE, True)
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.packages["ray"] is not None and facts.memory_bytes > GIB // 4
    assert facts.canary is not None and facts.canary.seen_by_driver
    assert facts.canary.read is None and facts.canary.write is None
    assert facts.mlflow is not None and (facts.mlflow.status, "Host" in facts.mlflow.said) == (
        403,
        True,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    facts = examine(Asked(tmp_path / "a" / "b"), None)
    assert facts[0].canary is None and not (tmp_path / "a").exists()
    (found,) = [f for f in judge(facts, Needs()) if f.check == "storage"]
    assert found.level == "ok" and "will be made" in found.seen
    cluster = [f.model_copy(update={"node": n}) for f, n in zip(facts * 2, "ab", strict=True)]
    assert [f.level for f in judge(cluster, Needs()) if f.check == "storage"] == ["error"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net")
@pytest.mark.parametrize(
    ("family", "address", "seen"),
    [
        (socket.AF_INET, "127.0.0.1", False),
        (socket.AF_INET, "0.0.0.0", True),
        (socket.AF_INET6, "::1", False),
        (socket.AF_INET6, "::", True),
    ],
)
def test_sockets_beyond_the_loopback_are_seen_with_their_program(
    family: socket.AddressFamily, address: str, seen: bool
) -> None:
    with socket.socket(family) as one:
        one.bind((address, 0))
        one.listen()
        port = one.getsockname()[1]
        found = [s for s in node_facts._listening() if s["port"] == port]
    assert [s["address"] for s in found] == ([address] if seen else [])
    own = Path("/proc/self/cmdline").read_bytes().replace(b"\0", b" ").decode()
    assert all(s["program"] and own.startswith(s["program"]) for s in found)


@pytest.mark.fault("S4")
def test_the_token_file_is_mended_on_request_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "auth_token"
    path.write_text("x" * 64)
    path.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    (facts,) = examine(Asked(tmp_path), None)
    assert [f.level for f in judge((facts,), Needs()) if f.check == "token"] == ["error"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert "0600" in (mend(facts) or "")
    assert path.stat().st_mode & 0o777 == 0o600
    (again,) = examine(Asked(tmp_path), None)
    assert mend(again) is None
    assert [f.level for f in judge((again,), Needs()) if f.check == "token"] == ["ok"]


def test_stale_locks_of_compiled_extensions_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    lock = tmp_path / "cpu_adam" / "lock"
    lock.parent.mkdir()
    lock.touch()
    os.utime(lock, (1, 1))
    (facts,) = examine(Asked(tmp_path), None)
    (found,) = [f for f in judge((facts,), Needs()) if f.check == "locks"]
    assert str(lock) in found.seen and found.fix.endswith(f"rm {lock}")


def test_nodes_without_keepgain_can_answer() -> None:
    """The probe travels by value and needs the standard library alone."""
    send = (
        "import sys, ray\nfrom keepgain.cluster import node_facts\n"
        "ray.cloudpickle.register_pickle_by_value(node_facts)\n"
        "sys.stdout.buffer.write(ray.cloudpickle.dumps(node_facts.Probe))"
    )
    receive = (
        "import sys, json\nsys.modules['keepgain'] = None\nimport ray.cloudpickle as c\n"
        "q = {'packages': ['ray'], 'folders': {'tmp': '/tmp'}, 'canary': None, 'mlflow': None}\n"
        "print(json.dumps(c.loads(sys.stdin.buffer.read())().facts(q)))"
    )
    sent = subprocess.run([sys.executable, "-c", send], capture_output=True, check=True, cwd=ROOT)
    got = subprocess.run(
        [sys.executable, "-P", "-c", receive], input=sent.stdout, capture_output=True, check=True
    )
    assert json.loads(got.stdout)["host"] == socket.gethostname()


# -- a cluster --------------------------------------------------------------------------------

ON_A_CLUSTER = """
import json, os, secrets, sys
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
os.environ["RAY_AUTH_TOKEN_PATH"] = sys.argv[1] + "/none"  # not the file of whoever tests
import ray
from ray.cluster_utils import Cluster
from pathlib import Path
from keepgain.cluster import doctor, findings, ray_cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False,
                  "temp_dir": sys.argv[2]})
cluster.add_node(num_cpus=1)
facts = doctor.examine(doctor.Asked(Path(sys.argv[1])), cluster.address)
found = findings.judge(facts, findings.Needs())
print(json.dumps({"facts": [f.model_dump(mode="json") for f in facts],
                  "findings": [vars(f) for f in found]}))
cluster.shutdown()
"""


@pytest.mark.processes
def test_every_node_of_a_cluster_answers_for_itself(tmp_path: Path) -> None:
    work, short = tmp_path / "work", f"/tmp/kgdoc{os.getpid()}"
    work.mkdir()
    script = tmp_path / "script.py"
    script.write_text(ON_A_CLUSTER)
    done = subprocess.run(
        [sys.executable, script, work, short],
        capture_output=True, text=True, timeout=240, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    first, second = told["facts"]
    assert first["is_driver"] and not second["is_driver"]
    assert first["node"] != second["node"]
    for one in (first, second):
        assert one["canary"] == {"read": None, "write": None, "seen_by_driver": True}
        assert one["auth_mode"] == "token" and one["token"]["in_environment"]
    assert 0 < second["clock_error"] < 5
    assert abs(second["clock_offset"]) <= second["clock_error"] + 0.05, "one machine, one clock"
    levels = {(f["check"], f["level"]) for f in told["findings"]}
    assert {("storage", "ok"), ("token", "ok"), ("clock", "ok"), ("packages", "ok")} <= levels
    assert list(work.iterdir()) == []
