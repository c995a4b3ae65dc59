"""Checkpoints that are damaged, foreign, or planted by somebody: none is loaded, and the run goes
on from the one before, or says why it cannot."""

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from safetensors.torch import load_file

from keepgain.core.config import (
    LoraSettings,
    ModelRef,
    PeftSettings,
    Runtime,
    ScoreConfig,
    TrialConfig,
)
from keepgain.core.errors import UserError
from keepgain.core.publish import (
    MANIFEST,
    DamagedError,
    exists,
    publish,
    remove,
    sweep_key,
    verify,
    write_json,
)
from keepgain.core.record import RungReport
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.sweeps.tune_adapter import _error_of
from keepgain.trainers.checkpoint import Checkpoints
from keepgain.trainers.data import DataCache
from keepgain.trainers.engine_torch import FILE
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.models import BaseCache
from keepgain.trainers.process import prepare_libraries
from keepgain.trainers.run import PROGRESS, Run
from tests.trainers import tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def libraries() -> None:
    prepare_libraries()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return tiny.llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return tiny.qwen3(tmp_path_factory.mktemp("models") / "qwen3")


class Payload:
    """Unpickling it writes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (open, (str(self.canary), "w"))


@pytest.fixture
def payload(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that was seen to work; the canary must not be there at the end of the test."""
    canary = tmp_path / "canary"
    data = pickle.dumps(Payload(canary))
    pickle.loads(data).close()
    assert canary.exists(), "the payload itself works"
    canary.unlink()
    yield data
    assert not canary.exists(), "code of a planted file was run"


@dataclass(frozen=True)
class Kept:
    """A run of three rungs, with the checkpoints of its first two."""

    config: TrialConfig
    sweep: Path
    reports: tuple[RungReport, ...]

    def request(self, rung: int, sweep: Path, **options: Any) -> TrainRequest:
        return TrainRequest(
            config=self.config, seed=3, rung=rung, sweep_folder=str(sweep), **options
        )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, llama: ModelRef) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    config = tiny.trial(folder, llama, budget=1200, rungs=(400, 800, 1200))
    made = Kept(config, folder / "sweep", ())
    jobs, reports = Jobs(), []
    for rung in range(3):
        reports.append(done(jobs.do(made.request(rung, made.sweep, keep_checkpoint=rung < 2))))
        if rung < 2:  # the next rung removes it
            source = made.sweep / str(reports[-1].checkpoint)
            shutil.copytree(source, folder / "copies" / source.name)
    run = made.sweep / "runs" / reports[0].run_key
    for path in (folder / "copies").iterdir():
        shutil.copytree(path, run / path.name)
    return Kept(config, made.sweep, tuple(reports))


def done(reply: WorkReply) -> RungReport:
    assert reply.report is not None, f"{reply.cause}: {reply.detail}"
    return reply.report


def copy_of(kept: Kept, folder: Path, place: str | None) -> Path:
    """The sweep's folder as its checkpoints are at `place`; those in the folder itself go there."""
    sweep = folder / "sweep"
    shutil.copytree(kept.sweep, sweep)
    if place is not None:
        checkpoints = Checkpoints(kept.request(1, sweep, checkpoints=place))
        for rung in range(2):
            source = sweep / str(kept.reports[rung].checkpoint)
            publish(
                checkpoints.at(checkpoints.name(rung)),
                lambda into, source=source: copy_files(source, into),
                key=checkpoints.key,
                staging=folder,
            )
            shutil.rmtree(source)
    return sweep


def copy_files(source: Path, into: Path) -> None:
    for path in source.iterdir():
        if path.name != MANIFEST:
            shutil.copy(path, into / path.name)


DAMAGE = ("cut", "emptied", "removed", "one bit flipped")


def damaged(data: bytes, how: str) -> bytes | None:
    if how == "removed":
        return None
    if how == "one bit flipped":
        return data[:-5] + bytes([data[-5] ^ 4]) + data[-4:]
    return data[: len(data) // 2] if how == "cut" else b""


@pytest.mark.fault("C1")
@pytest.mark.parametrize(
    ("where", "how"),
    [
        *(("in the sweep's folder", how) for how in DAMAGE),
        ("in a folder apart", "one bit flipped"),
        ("on a URL", "cut"),
        ("on a URL", "removed"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(kept, tmp_path, where, how):
    places = {
        "in the sweep's folder": None,
        "in a folder apart": str(tmp_path / "apart"),
        "on a URL": f"memory://c1-{tmp_path.name}-{how.split()[0]}",
    }
    place = places[where]
    sweep = copy_of(kept, tmp_path, place)
    checkpoints = Checkpoints(kept.request(1, sweep, checkpoints=place))
    name = checkpoints.name(1)
    if where == "on a URL":
        store = MemoryFileSystem()
        (path,) = [p for p in store.find(name) if p.endswith(FILE)]
        data = damaged(store.cat_file(path), how)
        store.pipe_file(path, data) if data is not None else store.rm(path)
    else:
        path = Path(checkpoints.at(name)) / FILE
        data = damaged(path.read_bytes(), how)
        path.write_bytes(data) if data is not None else path.unlink()
    report = done(Jobs().do(kept.request(2, sweep, resume_from=name, checkpoints=place)))
    (warning,) = report.warnings
    assert warning.startswith("checkpoint not used: ") and "checkpoint-r1" in warning
    assert report.metrics == kept.reports[2].metrics
    assert not list(sweep.rglob("tmp.*"))
    assert not exists(checkpoints.at(checkpoints.name(0))), "what it went on from has served"
    if place is not None and where == "on a URL":
        MemoryFileSystem().rm(place.removeprefix("memory:/"), recursive=True)


def test_checkpoints_in_another_place_are_used_by_the_next_worker_and_end_with_their_run(
    kept, tmp_path
):
    """Another worker, as on another node: it has nothing in memory."""
    for place in (str(tmp_path / "apart"), "memory://elsewhere/sweep-1"):
        sweep = tmp_path / place.rpartition("/")[2]
        first = done(Jobs().do(kept.request(0, sweep, checkpoints=place)))
        assert str(first.checkpoint).startswith(place)
        assert not list((sweep / "runs" / first.run_key).glob("checkpoint-*"))
        second = done(
            Jobs().do(kept.request(1, sweep, resume_from=first.checkpoint, checkpoints=place))
        )
        checkpoints = Checkpoints(kept.request(1, sweep, checkpoints=place))
        assert not exists(checkpoints.at(str(first.checkpoint)))
        options = {"resume_from": second.checkpoint, "checkpoints": place}
        last = done(Jobs().do(kept.request(2, sweep, keep_checkpoint=False, **options)))
        assert last.warnings == () and last.metrics == kept.reports[2].metrics
        assert not exists(checkpoints.at(str(second.checkpoint)))


SAVER = """
import sys, itertools
from pathlib import Path
import fsspec
from fsspec.implementations.local import LocalFileSystem
from keepgain.core.publish import publish

class Bucket(LocalFileSystem):
    # Objects in files: each appears whole, and nothing is renamed.
    protocol = "bucket"
    def __init__(self, **options):
        super().__init__(auto_mkdir=True, **options)
    def pipe_file(self, path, value, **options):
        target = Path(self._strip_protocol(path))
        target.with_suffix(".part").write_bytes(value)
        target.with_suffix(".part").replace(target)

fsspec.register_implementation("bucket", Bucket)
place, staging = sys.argv[1], Path(sys.argv[2])
target = place if "://" in place else Path(place)

def write(number):
    def to(into):
        for part in range(4):
            (into / f"part{part}").write_bytes(number.to_bytes(8, "big") * 20_000)
    return to

if __name__ == "__main__":
    for number in itertools.count(int(sys.argv[3])):
        publish(target, write(number), key=b"k" * 32, staging=staging)
        print(number, flush=True)
"""


@pytest.mark.fault("C2")
@pytest.mark.processes
@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_kill_at_any_moment_of_saving_leaves_the_old_checkpoint_or_the_new_one(
    tmp_path, kind, record_property
):
    """SIGKILL after a random time, 20 times a kind; the next writer goes on from what is there."""
    script = tmp_path / "saver.py"
    script.write_text(SAVER)
    shelf, staging = tmp_path / "shelf", tmp_path / "staging"
    shelf.mkdir(), staging.mkdir()
    place = str(shelf / "c") if kind == "folder" else f"bucket://{shelf / 'c'}"
    rng, tries = random.Random(0), 20
    record_property("tries", tries)
    began = 0
    for _ in range(tries):
        saver = subprocess.Popen(
            [sys.executable, str(script), place, str(staging), str(began)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert saver.stdout is not None
        first = saver.stdout.readline()
        assert first, "it began to save"
        time.sleep(rng.random() * 0.1)
        saver.kill()
        said = [int(line) for line in [first, *saver.stdout.read().split()]]
        saver.wait()
        number = loaded(shelf / "c")
        assert said[-1] <= number <= said[-1] + 1, "what was said to be saved is there"
        began = number + 1
    left = [p for p in shelf.iterdir() if p.name != "c"]
    assert all(p.name.startswith("tmp.") for p in left)


def loaded(target: Path) -> int:
    """The number in a checkpoint that is whole."""
    manifest = json.loads((target / MANIFEST).read_text())
    if "attempt" in manifest:
        inner = target / manifest["attempt"]
        (inner / MANIFEST).write_text(json.dumps(manifest))
        verify(inner, key=b"k" * 32)
        (inner / MANIFEST).unlink()
        target = inner
    else:
        verify(target, key=b"k" * 32)
    parts = {(target / f"part{part}").read_bytes() for part in range(4)}
    (data,) = parts
    assert data == data[:8] * 20_000
    return int.from_bytes(data[:8], "big")


@pytest.mark.fault("C3")
@pytest.mark.parametrize(
    ("written", "here", "said"),
    [
        ({"world_size": 2, "zero_stage": 3}, {"zero_stage": 3}, "world_size 2 .* with 1"),
        ({"zero_stage": 2}, {"zero_stage": 3}, "zero_stage 2 .* with 3"),
        ({"zero_stage": 3}, {"zero_stage": 2}, "zero_stage 3 .* with 2"),
        ({"zero_stage": 0}, {"zero_stage": 1}, "zero_stage 0 .* with 1"),
        ({"engine": "torch"}, {}, "engine torch .* with deepspeed"),
    ],
)
def test_a_checkpoint_of_another_layout_is_refused_before_training(
    kept, tmp_path, written, here, said
):
    """Between ZeRO 1 and 2, with any number of ranks, it is converted: see test_ranks.py."""
    run = Run(kept.config, 3, BaseCache(), DataCache())
    deepspeed = Runtime(engine="deepspeed")
    run.config = kept.config.model_copy(update={"runtime": deepspeed.model_copy(update=here)})

    def write(into: Path) -> None:
        copy_files(kept.sweep / str(kept.reports[0].checkpoint), into)
        state = json.loads((into / PROGRESS).read_text())
        state["runtime"] = deepspeed.model_copy(update=written).model_dump(mode="json")
        write_json(into / PROGRESS, state)

    publish(tmp_path / "c", write)
    with pytest.raises(UserError, match=said) as caught:
        run.load(tmp_path / "c", at_most=1)
    assert not isinstance(caught.value, DamagedError), "not passed over in silence"
    assert run.progress.tokens == 0


@pytest.mark.fault("C3")
@pytest.mark.parametrize("other", ["rank", "base"])
def test_a_checkpoint_of_another_rank_or_base_is_refused_before_training(
    tmp_path, llama, qwen3, other
):
    """A job that names it fails with the reason; it does not start over in silence."""
    config = tiny.trial(tmp_path, llama, method="lora")
    first = done(
        Jobs().do(TrainRequest(config=config, seed=3, rung=0, sweep_folder=str(tmp_path / "s")))
    )
    changed = {"rank": {"lora": LoraSettings(rank=8)}, "base": {"model": qwen3}}[other]
    reply = Jobs().do(
        TrainRequest(
            config=config.model_copy(update=changed), seed=3, rung=1,
            resume_from=first.checkpoint, sweep_folder=str(tmp_path / "s"),
        )
    )  # fmt: skip
    assert reply.report is None
    assert f"belongs to run {first.run_key}, not " in str(reply.detail)
    points = (tmp_path / "s" / "spool").glob("*.jsonl")
    trained = [p for p in points if not p.name.startswith(first.run_key)]
    assert all(not p.read_text() for p in trained), "nothing was trained"


@pytest.mark.fault("C3")
def test_weights_of_another_shape_do_not_fit_even_under_the_runs_own_name(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, method="lora")
    small = Run(config, 3, BaseCache(), DataCache())
    small.save(tmp_path / "c", 0)
    larger = config.model_copy(update={"lora": LoraSettings(rank=8, dropout=0.1)})
    run = Run(larger, 3, BaseCache(), DataCache())
    run.key = small.key
    with pytest.raises(UserError, match="belongs to another model"):
        run.load(tmp_path / "c", at_most=1)


PLANTED = ("rng.pt", "training_args.bin", "optimizer.pt", "pytorch_model.bin", "sub/state.pkl")


@pytest.mark.fault("C5")
@pytest.mark.parametrize("sealed", [False, True], ids=["beside the files", "with a new manifest"])
def test_planted_pickles_in_a_checkpoint_are_not_read(kept, tmp_path, payload, sealed):
    sweep = copy_of(kept, tmp_path, None)
    folder = sweep / str(kept.reports[1].checkpoint)

    def plant(into: Path) -> None:
        for name in (FILE, *PLANTED) if sealed else PLANTED:
            (into / name).parent.mkdir(exist_ok=True)
            (into / name).write_bytes(payload)

    if sealed:

        def write(into: Path) -> None:
            copy_files(folder, into)
            plant(into)

        publish(tmp_path / "made", write)
        shutil.rmtree(folder)
        shutil.move(tmp_path / "made", folder)
    else:
        plant(folder)
    asked = kept.reports[1].checkpoint
    report = done(Jobs().do(kept.request(2, sweep, resume_from=asked)))
    said = "this sweep has not written it" if sealed else "was added to it"
    assert said in report.warnings[0] and len(report.warnings) == 1
    assert report.metrics == kept.reports[2].metrics


@pytest.mark.fault("C5")
def test_a_checkpoint_of_another_sweep_is_not_read(kept, tmp_path):
    """Whoever can write to a shared place cannot put one there: it lacks this sweep's key."""
    sweep = copy_of(kept, tmp_path, None)
    (sweep / "checkpoint.key").unlink()
    assert sweep_key(sweep) != sweep_key(kept.sweep)
    report = done(Jobs().do(kept.request(2, sweep, resume_from=kept.reports[1].checkpoint)))
    assert [("has not written it" in w) for w in report.warnings] == [True, True, False]
    assert report.warnings[2] == "no whole checkpoint was left: the run started over"
    assert report.metrics == kept.reports[2].metrics


@pytest.mark.fault("C5")
@pytest.mark.processes
def test_deepspeed_does_not_unpickle_what_this_sweep_has_not_written(tmp_path, llama, payload):
    """Its own loader unpickles without asking (`weights_only=False`)."""
    pytest.importorskip("deepspeed")
    from tests.trainers.test_deepspeed import work

    runtime = Runtime(engine="deepspeed", zero_stage=2, micro_batch_size=4)
    config = tiny.trial(tmp_path, llama, runtime=runtime, budget=800, rungs=(400, 800))
    sweep = tmp_path / "sweep"

    def request(rung: int, resume_from: str | None = None) -> TrainRequest:
        return TrainRequest(
            config=config, seed=3, rung=rung, resume_from=resume_from, sweep_folder=str(sweep)
        )

    first = done(work([request(0)])[0])
    folder = sweep / str(first.checkpoint)
    pickles = sorted(p.relative_to(folder) for p in folder.rglob("*.pt"))
    assert pickles

    def write(into: Path) -> None:
        shutil.copytree(folder, into, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
        for name in pickles:
            (into / name).write_bytes(payload)

    publish(tmp_path / "made", write)
    verify(tmp_path / "made")  # by itself it is sound
    shutil.rmtree(folder)
    shutil.move(tmp_path / "made", folder)
    report = done(work([request(1, first.checkpoint)])[0])
    assert "this sweep has not written it" in report.warnings[0]


@pytest.mark.fault("C5")
def test_torchs_own_reader_would_have_run_the_payload(tmp_path):
    """What the tests above guard against: the control of their canary."""
    canary = tmp_path / "seen"
    torch.save({"x": Payload(canary)}, tmp_path / "file.pt")
    torch.load(tmp_path / "file.pt", weights_only=False)
    assert canary.exists()


@pytest.mark.fault("C4")
@pytest.mark.processes
def test_an_adapter_whose_parts_lie_on_several_ranks_is_saved_whole(tmp_path):
    """ZeRO 3 with every parameter partitioned (threshold 0) and a module trained in full."""
    pytest.importorskip("deepspeed")
    from tests.trainers.test_ranks import LOSS, WEIGHT, asked, losses, start

    base = tiny.model_folder(tmp_path / "base", tie_word_embeddings=False)
    settings = PeftSettings.model_validate({"type": "LOHA", "r": 4, "modules_to_save": ["lm_head"]})
    runtime = Runtime(
        engine="deepspeed", zero_stage=3, world_size=2, micro_batch_size=2,
        deepspeed={"zero_optimization": {"stage3_param_persistence_threshold": 0}},
    )  # fmt: skip
    config = tiny.trial(
        tmp_path, base, method="peft", peft=settings, budget=800, rungs=(800,), runtime=runtime
    )
    plain = config.model_copy(update={"runtime": Runtime()})

    def request(config: TrialConfig, sweep: Path) -> TrainRequest:
        return TrainRequest(config=config, seed=3, rung=0, sweep_folder=str(sweep), keep_model=True)

    ranks = start("keepgain.trainers.worker", 2, tmp_path)
    try:
        report = asked(ranks, request(config, tmp_path / "ranks"))
    finally:
        ranks.kill()
    alone = done(Jobs().do(request(plain, tmp_path / "alone")))
    assert losses(tmp_path / "ranks") == pytest.approx(losses(tmp_path / "alone"), rel=LOSS)
    found, expected = (
        load_file(sweep / str(report.model_folder) / "adapter_model.safetensors")
        for sweep in (tmp_path / "ranks", tmp_path / "alone")
    )
    assert found.keys() == expected.keys() and any("lm_head" in name for name in found)
    for name, tensor in found.items():
        assert tensor.numel() > 0, name
        assert float((tensor - expected[name]).abs().max()) < WEIGHT, name
    weights = {"checkpoint": report.model_folder, "trained_by": report.run_key}
    score = ScoreConfig(model=base, suites=config.suites, runtime=plain.runtime, **weights)
    again = ScoreRequest(config=score, report_as="again", sweep_folder=str(tmp_path / "ranks"))
    loaded = done(Jobs().do(again)).metrics
    assert {name: report.metrics[name] for name in loaded} == pytest.approx(loaded, abs=1e-6)
    assert alone.metrics.keys() == report.metrics.keys()


@pytest.mark.fault("C5")
@pytest.mark.parametrize("whose", ["another's", "everybody's", "ours"])
def test_only_our_own_error_files_of_tune_are_unpickled(tmp_path, payload, whose):
    """They lie in Ray's folder for temporary files, where others may be able to write."""
    path = tmp_path / "error.pkl"
    ours = RuntimeError("died")
    path.write_bytes(pickle.dumps(ours) if whose == "ours" else payload)
    if whose == "another's":
        if os.geteuid():
            pytest.skip("only root can give files away")
        os.chown(path, 12345, -1)
    if whose == "everybody's":
        path.chmod(0o666)
    found = _error_of(SimpleNamespace(pickled_error_file=str(path)))
    assert (repr(found) == repr(ours)) == (whose == "ours")


@pytest.mark.fault("C5")
@pytest.mark.parametrize("name", ["training_args.bin", "adapter_model.bin", "optimizer.pt"])
def test_planted_pickles_beside_kept_weights_are_neither_read_nor_exported(
    tmp_path, payload, capsys, name
):
    from keepgain.analysis.cli import main as analyze
    from keepgain.sweeps.cli.main import main as sweep_command
    from tests.sweeps.test_export import SWEEP, base_ref, make_store
    from tests.sweeps.tiny_models import make_model

    base = base_ref(make_model(tmp_path / "base"))
    store = make_store(tmp_path / "store", base, make_model(tmp_path / "tuned"))
    folder = store / "sweeps" / SWEEP
    for path in (folder, folder / "record", *folder.glob("runs/*/model"), folder / "decision"):
        for planted in (name, "searcher.pkl", "tuner.pkl", "model.pkl"):
            (path / planted).write_bytes(payload)
    assert sweep_command(["export", "last", "--to", str(tmp_path / "out"), "--store", str(store)])
    assert "was added to it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert analyze([SWEEP, "--store", str(store)]) == 0


TUNES = (
    "tuner.pkl", "trainable.pkl", "searcher-state-2026-01-01_00-00-00.pkl",
    "search_gen_state-2026-01-01_00-00-00.json", "scheduler-state.pkl",
    "experiment_state-2026-01-01_00-00-00.json", "params.pkl", "error.pkl",
)  # fmt: skip


@pytest.mark.fault("C5")
@pytest.mark.processes
def test_what_lies_among_tunes_files_is_not_read(tmp_path, payload):
    """A continued sweep starts a new Tuner; its own `restore` would unpickle these."""
    from tests.sweeps.test_program import SEARCH, edit
    from tests.sweeps.tiny_models import make_world

    spec = make_world(tmp_path / "world", models=1)
    edit(spec, "search: {trials_per_model: 12}\n", SEARCH)
    edit(spec, "confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 1, seeds: 2}")
    sweep = tmp_path / "sweep"
    for folder in (sweep / "ray" / "tiny", sweep / "ray" / "tiny" / "some-trial", sweep / "ray"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in TUNES:
            (folder / name).write_bytes(payload)
    done = subprocess.run(
        [sys.executable, "-m", "tests.sweeps.tune_sweep", str(spec), str(sweep), "1"],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["stage"] == "decided"


@pytest.mark.fault("C6")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_in_place_of_a_checkpoints_part_is_refused(kept, tmp_path, kind):
    sweep = copy_of(kept, tmp_path, None)
    folder = sweep / str(kept.reports[1].checkpoint)
    outside = tmp_path / "outside"
    if kind == "file":
        shutil.move(folder / FILE, outside)
        (folder / FILE).symlink_to(outside)
    else:
        outside.mkdir()
        (folder / "more").symlink_to(outside)
    report = done(Jobs().do(kept.request(2, sweep, resume_from=kept.reports[1].checkpoint)))
    assert "checkpoint not used: " in report.warnings[0]
    assert report.metrics == kept.reports[2].metrics
    assert outside.exists(), "nothing outside is removed with it"


@pytest.mark.fault("C6")
def test_removing_a_checkpoint_does_not_follow_links(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    publish(tmp_path / "c", lambda into: (into / "a").touch())
    (tmp_path / "c" / "link").symlink_to(outside)
    remove(tmp_path / "c")
    assert (outside / "kept").exists() and not (tmp_path / "c").exists()
