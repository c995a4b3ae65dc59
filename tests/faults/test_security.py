"""S1-S5: what listens, who is let in, where secrets go, who can read, and what names can do."""

import contextlib
import csv
import io
import json
import os
import shutil
import sqlite3
import stat
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.report.html import write_report
from keepgain.analysis.views.texts import texts_of
from keepgain.core.answers import Answers, texts_path, write_answers
from keepgain.core.errors import UserError
from keepgain.core.launch import PRIVATE_UMASK
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause, TrialStatus
from keepgain.core.store.client import require_reachable
from keepgain.core.store.location import resolve_store
from keepgain.core.store.names import check_id
from keepgain.core.store.record_files import load_folder, save_folder
from keepgain.core.store.runs import SweepRuns
from keepgain.core.store.spool import Spool
from keepgain.sweeps.cli.common import print_table
from keepgain.sweeps.search.ledger import Finished, Ledger, read_events
from keepgain.trainers.failures import reply_of
from tests.analysis.evidence import Trial, base, build
from tests.sweeps.e2e.test_ray_job import ray_head
from tests.sweeps.e2e.world import background, environment, run, write_spec

CANARY = "Zk4canary8Wq2canary"

# -- S3: secrets ------------------------------------------------------------------------------


@pytest.mark.fault("S3")
def test_no_writer_keeps_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    error = RuntimeError(f"401: key {CANARY} of postgresql://u:{CANARY}@h/db refused")
    reply = reply_of(error)
    assert reply.cause is FailureCause.EXCEPTION and "401: key *** of" in (reply.detail or "")
    spool = Spool(tmp_path / "spool", "driver")
    spool.start("k-s0", f"k {CANARY}", {"trainer.api_key": CANARY}, {"note": str(error)})
    spool.tags("k-s0", {"token": CANARY, "reason": str(error), "model": "token-classifier"})
    spool.close()
    with Ledger.open(tmp_path / "ledger.jsonl") as ledger:
        ledger.append(Finished(run_key="k-s0", status=TrialStatus.FAILED, reason=str(error)))
    written = "".join(p.read_text() for p in tmp_path.rglob("*.jsonl"))
    assert "canary" not in written and "token-classifier" in written
    (event,) = read_events(tmp_path / "ledger.jsonl")
    assert (
        isinstance(event, Finished)
        and event.reason == "401: key *** of postgresql://u:***@h/db refused"
    )


@pytest.mark.fault("S3")
@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql", "http"])
def test_a_store_that_does_not_answer_is_named_without_its_password(
    scheme: str, tmp_path: Path
) -> None:
    location = resolve_store(f"{scheme}://u:{CANARY}@127.0.0.1:1/db", cwd=tmp_path)
    with pytest.raises(UserError) as caught:
        require_reachable(location)
    assert "canary" not in f"{caught.value} {location} {location.described} {location.display}"
    assert "***" in str(caught.value)


TRAINER = """
import os, sys
def train(config, output, progress):
    print("environment:", dict(os.environ))
    print("password=" + os.environ["OPENAI_API_KEY"], file=sys.stderr)
    raise RuntimeError("refused: " + os.environ["MLFLOW_TRACKING_PASSWORD"])
"""


def write_leaky(folder: Path, key: str) -> Path:
    """A sweep whose trials fail and say what they know; its YAML holds secrets of every kind."""
    spec = write_spec(folder, rungs="[1]", trials=2, failure_rate=0.4, tokens=10_000)
    (folder / "leaky.py").write_text(TRAINER)
    with spec.open("a") as file:
        file.write(f"# password: {CANARY}\n")
        file.write(f"trainer: {{function: 'leaky:train', settings: {{api_key: {key}}}}}\n")
        file.write(f"tags: {{team: search, api_key: {CANARY}, hub: hf_{CANARY}}}\n")
        file.write(f"notify: {{webhook: 'http://127.0.0.1:1/hook/{CANARY}?token={CANARY}'}}\n")
    return spec


@pytest.mark.fault("S3")
@pytest.mark.processes
def test_a_secret_in_the_settings_of_a_trainer_is_refused(tmp_path: Path) -> None:
    spec = write_leaky(tmp_path, CANARY)
    done = run("sweep", "run", spec, "--store", tmp_path / "store", cwd=tmp_path).expect(2)
    assert "trainer.settings.api_key" in done.err and "$NAME" in done.err
    assert "canary" not in done.out + done.err
    assert not (tmp_path / "store").exists()


def beyond_loopback(processes: list[psutil.Process]) -> set[str]:
    """Listening sockets of these processes that others can reach."""
    found = set()
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            for connection in one.net_connections(kind="inet"):
                address = connection.laddr.ip.removeprefix("::ffff:") if connection.laddr else ""
                if connection.status == psutil.CONN_LISTEN and not (
                    address.startswith("127.") or address == "::1"
                ):
                    found.add(f"{address}:{connection.laddr.port} {one.name()}")
    return found


def open_to_others(store: Path) -> list[str]:
    """Files and folders below a store that others may read or enter."""
    return [
        f"{stat.S_IMODE(p.lstat().st_mode):04o} {p}"
        for p in (store, *store.rglob("*"))
        if not p.is_symlink() and p.stat().st_mode & 0o077
    ]


@pytest.mark.fault("S1", "S3", "S4")
@pytest.mark.processes
def test_a_failing_sweep_leaks_nothing_listens_on_loopback_and_is_private(tmp_path: Path) -> None:
    spec, store, log = (
        write_leaky(tmp_path, "$OPENAI_API_KEY"),
        tmp_path / "store",
        tmp_path / "log",
    )
    temporary = Path(tempfile.mkdtemp(prefix="kg", dir="/tmp"))  # Ray's sockets: short
    secrets = {"HF_TOKEN": f"hf_{CANARY}", "MLFLOW_TRACKING_PASSWORD": CANARY}
    env = environment(**secrets, OPENAI_API_KEY=f"plain {CANARY}", RAY_TMPDIR=str(temporary))
    env["PYTHONPATH"] = str(tmp_path)
    before, listened, looks = os.umask(0o022), set(), 0
    try:
        with background(
            "sweep", "run", spec, "--store", store, cwd=tmp_path, log=log, env=env
        ) as running:
            while running.process.poll() is None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    listened |= beyond_loopback(running.family())
                    looks += 1
                time.sleep(0.5)
        assert running.process.returncode == 1, running.output[-3000:]
        assert "FAILED: exception" in running.output and "trainer" in running.output
        assert looks > 5 and listened == set()
        assert open_to_others(store) == []
        found = [p for p in (*store.rglob("*"), log, *temporary.rglob("*")) if _holds(p)]
        assert found == []
    finally:
        os.umask(before)
        shutil.rmtree(temporary, ignore_errors=True)
    with contextlib.closing(sqlite3.connect(store / "mlflow.db")) as db:
        dump = "\n".join(db.iterdump())
    assert "canary" not in dump and "***" in dump and "keepgain.reason" in dump


def _holds(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.is_file() and b"canary" in path.read_bytes()
    return False


# -- S1, S2: who is let in --------------------------------------------------------------------


def post(url: str, **headers: str) -> int:
    """Status of a POST without a proxy."""
    given = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, data=b'{"max_results": 1}', headers=given)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.fault("S1", "S2")
@pytest.mark.processes
def test_the_ui_listens_on_loopback_and_refuses_strange_pages(tmp_path: Path) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    table = tmp_path / "t.csv"
    table.write_text("run,acc\na,0.5\nb,0.6\n")
    words = ("--id", "t", "--label", "run", "--objective", "acc:max:share", "--store", store)
    run("sweep", "import", table, *words, cwd=tmp_path).expect()
    SweepRuns(resolve_store(str(store)), "t", "t").open()  # imported tables are not in MLflow
    with background("sweep", "ui", "t", "--store", store, cwd=tmp_path, log=log) as running:
        running.until("the UI is ready", lambda: "Ctrl-C" in running.output)
        url = next(w for w in running.output.split() if w.startswith("http://127.0.0.1:"))
        assert beyond_loopback(running.family()) == set()
        search = f"{url}/api/2.0/mlflow/experiments/search"
        assert post(search) == 200
        assert post(search, Host="evil.example.org") == 403
        assert post(search, Origin="http://evil.example.org") == 403


@pytest.mark.fault("S2")
@pytest.mark.processes
def test_a_job_without_the_token_is_refused() -> None:
    with ray_head(dashboard=True) as cluster:
        jobs = f"{cluster.jobs}/api/jobs/"
        assert post(jobs) in (401, 403)
        assert post(jobs, Authorization="Bearer " + "0" * 64) in (401, 403)
        # With it the request is read, and found to lack an entry point.
        assert post(jobs, Authorization=f"Bearer {cluster.env['RAY_AUTH_TOKEN']}") == 400


# -- S4: who can read -------------------------------------------------------------------------


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.fault("S4")
def test_store_ledger_and_logs_are_their_owners_alone(tmp_path: Path, usual_umask: None) -> None:
    from keepgain.cluster.process import WorkerProcess
    from keepgain.core.launch import LaunchSpec

    store = resolve_store(str(tmp_path / "store"), create=True)
    assert store.folder is not None and stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    with Ledger.open(tmp_path / "ledger.jsonl"):
        pass
    worker = WorkerProcess(
        LaunchSpec(entry_point="tests.cluster.echo_worker", env={}, world_size=1,
                   log_path=str(tmp_path / "log"))
    )  # fmt: skip
    worker.close()
    for name in ("ledger.jsonl", "ledger.jsonl.lock", "log"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name
    assert PRIVATE_UMASK == 0o077


# -- S5: names --------------------------------------------------------------------------------

EVIL = "=cmd()|'x'!A0\x1b[31m\x1b]0;t\x07<script>alert(1)</script>\u202e`[a](javascript:b)"


@pytest.mark.fault("S5")
def test_names_are_escaped_wherever_they_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = {"learning_rate": 1e-3, "note": EVIL, EVIL: 1}
    trials = [
        base("s"),
        base("m"),
        Trial("aaaaaa11", "m", 0.8, params=params),
        Trial("bbbbbb22", "s", 0.8, params={"learning_rate": 3e-4, "note": "+1"}),
    ]
    evidence = build(trials, n_items=60)
    runs = tuple(
        r.model_copy(update={"reason": EVIL, "model": r.model}) for r in evidence.sweep.runs
    )
    sweep = evidence.sweep.model_copy(update={"name": EVIL, "runs": runs, "warnings": (EVIL,)})
    analysis = analyze(type(evidence)(sweep, evidence.items))
    said = render.text(analysis, width=200)
    markdown = render.markdown(analysis)
    for text in (said, markdown, render.csv_table(analysis)):
        assert not set("\x1b\x07\u202e") & set(text)
    assert "<script" not in markdown.replace("\\<", "") and "\\<script" in markdown
    cells = [c for row in csv.reader(io.StringIO(render.csv_table(analysis))) for c in row]
    assert not [c for c in cells if c[:1] in "=@\t\r" and c]
    assert any(c.startswith("'=cmd()") for c in cells)
    write_report(type(evidence)(sweep, evidence.items), analysis, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<script>alert(1)" not in page
    print_table(("name", EVIL), ((EVIL, "1"),))
    assert not set("\x1b\x07\u202e") & set(capsys.readouterr().out)


# -- paths ------------------------------------------------------------------------------------


@pytest.mark.fault("S4", "C6")
@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "a\0b"])
def test_records_with_paths_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    report = {"run_key": "k", "rung": 0, "tokens": 0, "examples": 0, "final": True, "metrics": {}}
    for field in ("items_path", "losses_path", "answers_path"):
        with pytest.raises(ValueError, match="below the sweep's folder"):
            RungReport.model_validate({**report, "items_path": "i", field: name})
    evidence = build([base("s"), Trial("aaaaaa11", "s", 0.8)], n_items=5)
    save_folder(tmp_path, evidence)
    record = json.loads((tmp_path / "record.json").read_text())
    record["runs"][0]["answers"] = [name]
    (tmp_path / "record.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="answers"):
        load_folder(tmp_path)


@pytest.mark.fault("C6")
def test_links_and_digests_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "sweep", tmp_path / "outside.parquet"
    folder.mkdir()
    write_answers(outside, [Answers("facts", "test", "../../outside", ("i",), ("secret",))])
    evidence = build([base("s"), Trial("aaaaaa11", "s", 0.8)], n_items=5)
    run_ = evidence.sweep.runs[0].model_copy(update={"answers": ("answers.parquet",)})
    (folder / "answers.parquet").symlink_to(outside)
    with pytest.raises(UserError, match="leads out"):
        texts_of({run_.run_key: folder}, [run_], "facts", "test")
    (folder / "answers.parquet").unlink()
    shutil.copy(outside, folder / "answers.parquet")  # its digest names a file outside
    with pytest.raises(UserError, match="leads out"):
        texts_of({run_.run_key: folder}, [run_], "facts", "test")
    with pytest.raises(UserError, match="leads out"):
        texts_path(folder, "../../etc/passwd")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    save_folder(folder, evidence)
    (folder / "items.parquet").unlink()
    (folder / "items.parquet").symlink_to(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="leads out"):
        load_folder(folder)


@pytest.mark.fault("C6")
@pytest.mark.parametrize(
    "sweep_id", ["../x", "a/b", "/etc", "..", ".", "", "a\0", "a\n", "а", "x" * 65, "a' OR 1=1"]
)
def test_ids_that_are_no_folder_names_are_refused(sweep_id: str) -> None:
    with pytest.raises(UserError, match="cannot be a sweep id") as caught:
        check_id(sweep_id)
    assert "\n" not in str(caught.value) and str(caught.value).isascii()
