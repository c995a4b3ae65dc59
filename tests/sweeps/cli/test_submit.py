"""`sweep submit` without a cluster: what is checked, chosen and refused before anything is sent."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from keepgain.cluster import submit as jobs
from keepgain.cluster.submit import JobState, check_size
from keepgain.cluster.wheel import PACKAGES, write_unpacked
from keepgain.core.errors import UserError
from keepgain.sweeps import submit as submitting
from keepgain.sweeps import submitted
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.named_files import to_upload
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.submit import (
    SubmitOptions,
    entrypoint,
    forwarded,
    stage,
    submit,
    working_dir,
)
from keepgain.sweeps.submitted import (
    Away,
    Here,
    Submission,
    locate,
    read_notes,
    sweep_in_log,
    write_note,
)

ROOT = Path(__file__).parents[3]
NOWHERE = "http://127.0.0.1:1"
CANARY = "hf_CanaryCanaryCanary1"

SPEC = """\
name: tiny
models: [{path: models/base}, {path: /shared/models/big}]
data:
  ours: {path: data/ours.jsonl, role: task}
suites:
  gain: {validation: data/v.jsonl, test: data/t.jsonl, scorer: "core.judge:score"}
  forgetting: {validation: data/v.jsonl, test: data/t.jsonl, scorer: program,
    command: [python, tools/judge.py, refs.json]}
space: {learning_rate: {log: [1e-4, 1e-3]}}
trainer: {command: [python, train.py], files: [extra.cfg]}
"""
FILES = {
    "models/base/config.json": "{}",
    "models/base/model.safetensors": "w",
    "models/base/optimizer.pt": "not used",
    "data/ours.jsonl": "",
    "data/v.jsonl": "",
    "data/t.jsonl": "",
    "data/unused.jsonl": "",
    "core/__init__.py": "",
    "core/judge.py": "from core.words import f\nimport helpers\n",
    "core/words.py": "",
    "helpers.py": "import json, numpy\n",
    "tools/judge.py": "from beside import g\n",
    "tools/beside.py": "",
    "tools/unused.py": "",
    "refs.json": "{}",
    "train.py": "import torch, helpers\n",
    "extra.cfg": "",
    ".env": f"TOKEN={CANARY}",
    "notes.txt": "",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with much that a spec does not name."""
    folder = tmp_path / "project"
    for name, text in {**FILES, "sweep.yaml": SPEC}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_what_the_spec_names_is_uploaded_and_nothing_else(project: Path) -> None:
    found = to_upload(load_spec(project / "sweep.yaml"), project)
    left_out = {"models/base/optimizer.pt", "data/unused.jsonl", ".env", "notes.txt",
                "tools/unused.py"}  # fmt: skip
    assert set(found) == {*FILES, "sweep.yaml"} - left_out


def test_hidden_files_of_a_package_stay_here_and_leave_nothing_out(
    project: Path, tmp_path: Path
) -> None:
    """A password in `core/.env`; and Ray obeys a `.gitignore` that it finds in an upload."""
    from ray._private.runtime_env.packaging import create_package

    for name in ("core/.env", "core/.gitignore", "core/.git/config", "core/words/list.jsonl"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("*.jsonl\n")
    found = to_upload(load_spec(project / "sweep.yaml"), project)
    assert not [name for name in found if "/." in name]
    stage(found, tmp_path / "staged")
    create_package(str(tmp_path / "staged"), tmp_path / "packed.zip", include_gitignore=True)
    with zipfile.ZipFile(tmp_path / "packed.zip") as packed:
        assert {n for n in packed.namelist() if not n.endswith("/")} == set(found)


def test_the_upload_keeps_its_places_below_the_folder_that_one_is_in(project: Path) -> None:
    found = to_upload(load_spec(project / "sweep.yaml"), project.parent)
    assert "project/sweep.yaml" in found and "project/core/judge.py" in found


def test_the_working_directory_is_this_folder_if_the_spec_lies_below_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert working_dir(Path("project/sweep.yaml")) == tmp_path.resolve()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert working_dir(Path("../project/sweep.yaml")) == project.resolve()


def test_links_are_uploaded_as_what_they_lead_to(project: Path, tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("weights")
    weights = project / "models/base/model.safetensors"
    weights.unlink()
    weights.symlink_to(tmp_path / "blob")
    target = tmp_path / "staged"
    stage(to_upload(load_spec(project / "sweep.yaml"), project), target)
    staged = target / "models/base/model.safetensors"
    assert staged.read_text() == "weights" and not staged.is_symlink()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("data/ours.jsonl", "../ours.jsonl", "data.ours.path"),
        ("models/base", "../base", "models.0"),
        ("command: [python, train.py], files: [extra.cfg]", "function: 'train:main'", ""),
    ],
)
def test_a_path_outside_is_refused_before_anything_is_sent(
    project: Path, old: str, new: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = project / "sweep.yaml"
    spec.write_text(SPEC.replace(old, new))
    if not key:
        assert "train.py" in to_upload(load_spec(spec), project)
        return
    before = sorted(project.rglob("*"))
    words = ("submit", str(spec), "--address", NOWHERE, "--store", "/shared/keepgain")
    assert main([*words]) == 2
    error = capsys.readouterr().err
    assert key in error and "lies outside the job's working directory" in error
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("records", "relative"),
        ("sqlite:///mlflow.db", "relative"),
        (None, "needs a durable store"),
        ("http://127.0.0.1:1", "KEEPGAIN_WORK"),
        ("postgresql://me:geheim99@db/x", "holds a password"),
    ],
)
def test_a_store_that_would_vanish_or_tell_a_password_is_refused(
    project: Path,
    store: str | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("KEEPGAIN_STORE", "MLFLOW_TRACKING_URI", "KEEPGAIN_WORK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(project)
    asked = ["--store", store] if store else []
    assert main(["submit", "sweep.yaml", "--address", NOWHERE, *asked]) == 2
    error = capsys.readouterr().err
    assert said in error and "geheim99" not in error
    assert not (project / ".keepgain").exists()


@pytest.mark.fault("S3")
@pytest.mark.parametrize(
    "given",
    ["HF_TOKEN", f"PLAIN={CANARY}", "DB_PASSWORD=abc", "URL=http://me:geheim99@host/x"],
)
def test_secrets_are_not_forwarded_to_where_a_dashboard_shows_them(given: str) -> None:
    with pytest.raises(UserError, match="holds a secret") as caught:
        forwarded([given], {"HF_TOKEN": CANARY})
    assert CANARY not in str(caught.value) and "geheim99" not in str(caught.value)


def test_variables_are_forwarded_by_name_or_by_value() -> None:
    found = forwarded(["HF_HUB_OFFLINE", "MAX_TOKENS=5", "EMPTY="], {"HF_HUB_OFFLINE": "1"})
    assert found == {"HF_HUB_OFFLINE": "1", "MAX_TOKENS": "5", "EMPTY": ""}
    for given, said in (("NOT_SET", "is not set"), ("a-b=1", "is not NAME")):
        with pytest.raises(UserError, match=said):
            forwarded([given], {})


def test_the_command_of_the_job_is_quoted_and_replaces_its_shell() -> None:
    options = SubmitOptions(Path("x"), NOWHERE, profile="a b", more=("--retry-failed",))
    command = entrypoint(Path("my sweep.yaml"), "/shared/a b", options)
    assert command.startswith("exec python3 -m keepgain.sweeps.cli.main run 'my sweep.yaml'")
    assert command.endswith("--profile 'a b' --store '/shared/a b' --retry-failed")


def test_more_than_the_dashboard_takes_is_refused_with_the_arithmetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MAX_UPLOAD_BYTES", 2 << 20)
    (tmp_path / "zeros.jsonl").write_bytes(bytes(3 << 20))
    check_size(tmp_path)  # 3 MiB, and next to nothing when it is packed
    (tmp_path / "weights").write_bytes(os.urandom(2 << 20))
    with pytest.raises(UserError, match=r"5 MiB \(zeros.jsonl 3 MiB, weights 2 MiB\)"):
        check_size(tmp_path)


def test_the_limit_is_that_of_the_installed_ray() -> None:
    found = find_spec("ray")
    assert found is not None and found.origin is not None
    text = Path(found.origin).with_name("_private").joinpath("ray_constants.py").read_text()
    assert "\nDASHBOARD_CLIENT_MAX_SIZE = 100 * 1024**2\n" in text
    assert jobs.MAX_UPLOAD_BYTES == 100 * 1024**2


def test_the_unpacked_wheel_is_the_package_with_its_data(tmp_path: Path) -> None:
    """What lies in the source folders is in it, and it is what an installer would have written."""
    written = write_unpacked(tmp_path)
    there = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert there == {str(p) for p in written}
    folders = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests"}
    assert folders == set(PACKAGES)
    for package in PACKAGES:
        for source in (ROOT / package).rglob("*.py"):
            assert f"keepgain/{source.relative_to(ROOT)}" in there
    assert "keepgain/analysis/report/templates" in {str(Path(p).parent) for p in there}
    assert not [p for p in there if "__pycache__" in p]
    info = f"keepgain-{distribution('keepgain').version}.dist-info"
    recorded = (tmp_path / info / "RECORD").read_text().splitlines()
    assert {line.split(",")[0] for line in recorded} == there
    assert (
        "sweep = keepgain.sweeps.cli.main:main"
        in (tmp_path / info / "entry_points.txt").read_text()
    )
    with pytest.raises(UserError, match="has a 'keepgain' of its own"):
        write_unpacked(tmp_path)


def test_the_unpacked_wheel_runs_where_keepgain_is_not_installed(tmp_path: Path) -> None:
    """And before packages in the working directory that are named like ours."""
    write_unpacked(tmp_path)
    for name in ("core", "sweeps", "analysis"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the user\\'s own')")
    code = (
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'ditable' not in repr(f)];"
        "sys.path[:] = [p for p in sys.path if 'ditable' not in p];"
        "import importlib.metadata as m, keepgain.core.launch as k;"
        "print(k.__file__, m.distribution('keepgain')._path)"
    )
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ours, info = done.stdout.split()
    assert ours == str(tmp_path / "keepgain/core/launch.py")
    assert (tmp_path / info).parent == tmp_path


def test_what_a_second_connection_repeats_is_shown_once() -> None:
    shown: list[str] = []
    log = jobs._Followed(shown.append)
    log.begin()
    log.take("abc")
    log.take("def")
    log.begin()  # cut off, and connected again
    log.take("abcd")
    log.take("efgh")
    log.take_all("abcdefghij")
    assert "".join(shown) == "abcdefghij"


def test_a_log_whose_connection_is_gone_unnoticed_is_asked_for_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a laptop's sleep nothing comes any more, and nothing says so."""

    class Client:
        left = 0

        async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
            try:
                yield "abc"
                await asyncio.sleep(60)
            finally:
                self.left += 1

    monkeypatch.setattr(jobs, "SILENT_SECONDS", 0.05)
    cluster = object.__new__(jobs.Jobs)
    client = Client()
    monkeypatch.setattr(cluster, "_client", client, raising=False)
    shown: list[str] = []
    log = jobs._Followed(shown.append)
    began = time.monotonic()
    asyncio.run(cluster._tail("j", log))
    asyncio.run(cluster._tail("j", log))
    assert shown == ["abc"] and client.left == 2 and time.monotonic() < began + 30


def test_a_cluster_that_takes_the_connection_and_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "ANSWER_SECONDS", (5.0, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(UserError, match="no Ray dashboard answers"):
            jobs.Jobs(f"http://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize(
    ("status", "driver", "code"),
    [("SUCCEEDED", 0, 0), ("FAILED", 2, 2), ("FAILED", None, 1), ("STOPPED", None, 130)],
)
def test_the_exit_code_is_that_of_the_driver(status: str, driver: int | None, code: int) -> None:
    state = JobState("j", status, "", {}, None, None, driver)
    assert state.is_final and state.exit_code == code


def test_the_sweep_is_read_from_the_first_lines_of_its_driver() -> None:
    log = "reading data\nwarning: x\nsweep tiny-1139ff (continued)\nstore: /s\n"
    assert sweep_in_log(log) == "tiny-1139ff"
    assert sweep_in_log("reading data\nno sweep here\n") is None


def note(at: float, **changes: str) -> Submission:
    told = {"job": f"j{at:g}", "address": NOWHERE, "name": "tiny", "sweep": "tiny-1", **changes}
    return Submission(at=at, **told)  # type: ignore[arg-type]


def test_notes_are_found_from_below_and_the_newest_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_note(note(1), tmp_path)
    write_note(note(2, sweep="tiny-2"), tmp_path)
    assert (tmp_path / ".keepgain").stat().st_mode & 0o777 == 0o700
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert [n.job for n in read_notes()] == ["j2", "j1"]
    assert locate("last", None, None) == Away(note(2, sweep="tiny-2"))
    assert locate("tiny-1", None, None) == Away(note(1))
    assert locate("j1", None, None) == Away(note(1))


def test_a_sweep_whose_folder_is_here_needs_no_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "shared"
    (store / "sweeps" / "tiny-1").mkdir(parents=True)
    (store / "sweeps" / "tiny-1" / "ledger.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    write_note(note(1, store=str(store)))
    found = locate("tiny-1", None, None)
    assert isinstance(found, Here) and found.location.folder == store.resolve()
    assert isinstance(locate("tiny-1", None, None, prefer_job=True), Away)


def test_the_last_of_a_store_is_not_a_job_that_records_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else `sweep stop last --store HERE` would end a job on a cluster."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "sweeps").mkdir(parents=True)
    write_note(note(1, store="http://mlflow:5000"))
    write_note(note(2, store="/shared/keepgain"))
    found = locate("last", "here", None)
    assert isinstance(found, Here) and found.location.folder == tmp_path / "here"
    assert locate("last", "http://mlflow:5000", None) == Away(note(1, store="http://mlflow:5000"))


def test_a_job_is_asked_for_at_the_address_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note has the address by which it was submitted; today's way may be a tunnel."""
    tunnel = "http://127.0.0.1:8265"

    class Listing(Cluster):
        def states(self) -> list[JobState]:
            return [JobState("j1", "RUNNING", "", {"keepgain.name": "tiny"}, 1.0, None, None)]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(submitted, "Jobs", Listing)
    write_note(note(1))
    for name in ("tiny-1", "j1", "last"):
        assert locate(name, None, tunnel) == Away(note(1, address=tunnel))


class Cluster:
    """One that notes what it is sent, or refuses it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sent: list[dict[str, str]] = []
        self.found: list[Submission] = []
        self.refuses = False
        self.knows = False

    def state(self, job: str) -> None:
        if not self.knows:
            raise UserError(f"no job '{job}'")

    def submit(self, folder: Path, entrypoint: str, **told: Any) -> None:
        self.found = read_notes()
        if self.refuses:
            raise UserError("no")
        self.sent.append(told["env"])


def test_a_job_has_its_note_before_it_runs_and_a_refused_one_leaves_none(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its note a job would run where nobody finds it, to look at it or to stop it."""
    cluster = Cluster(NOWHERE)
    monkeypatch.setattr(submitting, "Jobs", lambda address: cluster)
    monkeypatch.chdir(project)
    monkeypatch.setenv("KEEPGAIN_WORK", "/of/this/machine")
    options = SubmitOptions(Path("sweep.yaml"), NOWHERE, store="nodes", sends_keepgain=False)
    cluster.refuses = True
    with pytest.raises(UserError, match="no"):
        submit(options, print)
    assert len(cluster.found) == 1 and read_notes() == []
    cluster.knows = True  # its answer was lost, and not the request
    late, _ = submit(options, print)
    (note,) = read_notes()
    assert note.job == late.job
    (project / ".keepgain" / "submitted" / f"{late.job}.json").unlink()
    cluster.refuses = cluster.knows = False
    sent, _ = submit(options, print)
    assert cluster.found == read_notes() == [sent]
    assert cluster.sent == [{}]  # the nodes' own store, and their own KEEPGAIN_WORK
    notes = project / ".keepgain" / "submitted"
    shutil.rmtree(notes)
    notes.touch()
    with pytest.raises(UserError, match="cannot be"):
        submit(options, print)
    assert len(cluster.sent) == 1


@pytest.mark.parametrize("words", [("status",), ("logs",), ("logs", "--follow"), ("stop",)])
def test_a_cluster_that_is_away_is_said_in_one_line(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "AWAY_SECONDS", 0.0)
    write_note(note(1))
    assert main([words[0], "last", *words[1:]]) == 2
    error = capsys.readouterr().err
    assert f"no Ray dashboard answers at {NOWHERE}" in error and error.count("\n") == 1


def test_a_damaged_note_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_note(note(1))
    path.write_text("{")
    with pytest.raises(UserError, match=r"j1\.json.*Delete it"):
        read_notes()
    path.write_text(json.dumps({"job": "x"}))
    with pytest.raises(UserError, match=r"j1\.json"):
        read_notes()
