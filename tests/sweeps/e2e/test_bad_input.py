"""Input that cannot be used, by the command line: exit code 2, one message, nothing written."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from keepgain.sweeps.cli.main import main
from tests.sweeps.e2e.world import PATIENCE, environment, run
from tests.sweeps.tiny_models import make_world, write_jsonl

Spoil = Callable[[Path], None]


def replace(old: str, new: str) -> Spoil:
    """Changes the spec."""

    def spoil(folder: Path) -> None:
        path = folder / "sweep.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return spoil


def add(text: str) -> Spoil:
    """Appends to the spec."""

    def spoil(folder: Path) -> None:
        with (folder / "sweep.yaml").open("a") as handle:
            handle.write(text)

    return spoil


def write(name: str, text: str | bytes) -> Spoil:
    """Replaces a file."""

    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return spoil


def config(**changes: object) -> Spoil:
    """Changes the config.json of the first model."""

    def spoil(folder: Path) -> None:
        path = folder / "m0" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def overlapping(folder: Path) -> None:
    """The same rows in training and validation."""
    rows = [{"prompt": f"q {i}", "answer": "a"} for i in range(60)]
    for split in ("train", "validation", "test"):
        write_jsonl(folder / f"{split}.jsonl", [{**r, "prompt": f"{split} {r['prompt']}"}
                                                for r in rows])  # fmt: skip
    write_jsonl(folder / "validation.jsonl", [{**r, "prompt": f"train {r['prompt']}"}
                                              for r in rows])  # fmt: skip
    replace(
        "{path: tickets.jsonl, role: task, split: auto}",
        "{train: train.jsonl, validation: validation.jsonl, test: test.jsonl, role: task}",
    )(folder)


GOOD_ROW = json.dumps({"prompt": "q", "answer": "a"}) + "\n"
SPOILED: dict[str, tuple[Spoil, list[str]]] = {
    "unknown key": (add("sumer: 3\n"), ["sweep.yaml:sumer", "line"]),
    "unknown nested key": (replace("seeds: 3", "seed: 3"), ["sweep.yaml:confirm.seed", "line"]),
    "duplicate key": (add("name: other\n"), ["sweep.yaml", "name", "line"]),
    "wrong type": (replace("finalists: 4", "finalists: many"), ["sweep.yaml:confirm.finalists"]),
    "not YAML": (add("\t[\n"), ["sweep.yaml"]),
    "empty space": (
        replace("space:", "space: {}\nignored:"),
        ["sweep.yaml:"],
    ),
    "a space without choices": (
        replace("method: [full, lora]", "method: []"),
        ["sweep.yaml:space.method"],
    ),
    "condition on an unknown parameter": (
        replace("when: {method: lora}", "when: {methd: lora}"),
        ["sweep.yaml:space.lora.rank", "methd"],
    ),
    "simplex over an unknown source": (
        replace("mixture: {tickets: [0.5, 1]", "mixture: {tikets: [0.5, 1]"),
        ["sweep.yaml:space.mixture", "tikets"],
    ),
    "missing data": (
        replace("path: tickets.jsonl", "path: nowhere.jsonl"),
        ["sweep.yaml:data.tickets.path", "nowhere.jsonl"],
    ),
    "empty data": (write("tickets.jsonl", ""), ["tickets.jsonl"]),
    "malformed row": (write("tickets.jsonl", GOOD_ROW * 2 + "{oops\n"), ["tickets.jsonl:3"]),
    "not UTF-8": (write("tickets.jsonl", GOOD_ROW.encode() + b"\xff\xfe{}\n"), ["tickets.jsonl"]),
    "row without a field": (
        write("tickets.jsonl", GOOD_ROW * 3 + '{"prompt": "q"}\n'),
        ["tickets.jsonl:4", "answer"],
    ),
    "empty suite": (write("general_eval.jsonl", "\n\n"), ["general_eval.jsonl"]),
    "a suite without items": (
        replace("path: general_eval.jsonl,", "path: general_eval.jsonl, limit: 1,"),
        ["suites.forgetting", "items"],
    ),
    "splits that overlap": (overlapping, ["validation.jsonl:1", "train.jsonl:1"]),
    "unknown model folder": (replace("m0, m1", "./m0, ./nowhere"), ["models.1", "./nowhere"]),
    "model offline": (replace("m0, m1", "nobody/no-such"), ["models.0", "nobody/no-such"]),
    "no causal LM": (
        config(architectures=["BertForMaskedLM"]),
        ["m0", "BertForMaskedLM", "not a causal language model"],
    ),
    "more GPUs than there are": (
        add("resources: {gpus_per_trial: 64}\n"),
        ["sweep.yaml:resources", "64 GPUs"],
    ),
    "unknown profile": (lambda folder: None, ["no profile 'nope'", "smoke"]),
}


@pytest.mark.parametrize("case", SPOILED)
def test_bad_input_is_refused_before_anything_is_written(
    case: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    make_world(tmp_path)
    spoil, words = SPOILED[case]
    spoil(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    profile = ["--profile", "nope"] if case == "unknown profile" else []
    assert main(["run", "sweep.yaml", *profile]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sweep: ") and len(error.strip().splitlines()) == 1, error
    for word in words:
        assert word in error, error
    assert "Traceback" not in error
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_no_traceback_reaches_the_terminal(no_store_above: Path) -> None:
    """One of the cases above as its own process, with all that Python prints at its end."""
    make_world(no_store_above)
    write("tickets.jsonl", "{oops\n")(no_store_above)
    done = run("sweep", "run", "sweep.yaml", cwd=no_store_above).expect(2)
    assert len(done.err.strip().splitlines()) == 1 and "tickets.jsonl:1" in done.err
    assert not (no_store_above / ".keepgain").exists()


def test_an_unreachable_server_is_said_within_seconds(no_store_above: Path) -> None:
    make_world(no_store_above)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        uri = f"http://127.0.0.1:{one.getsockname()[1]}"
        for command in (
            ("sweep", "run", "sweep.yaml"),
            ("sweep", "list"),
            ("sweep", "status", "tiny-000000"),
            ("analyze", "tiny-000000"),
        ):
            done = run(*command, "--store", uri, cwd=no_store_above).expect(2)
            assert uri in done.err and "cannot be reached" in done.err
            assert "Traceback" not in done.err
            assert done.seconds < 30 * PATIENCE
    assert not (no_store_above / ".keepgain").exists()


def test_a_command_without_a_store_says_where_it_looked(
    no_store_above: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("list", "status", "logs"):
        assert main([command]) == 2
        error = capsys.readouterr().err
        assert str(no_store_above) in error and "KEEPGAIN_STORE" in error
    assert list(no_store_above.iterdir()) == []


def test_a_cluster_that_does_not_answer_is_said(no_store_above: Path) -> None:
    make_world(no_store_above)
    # More than this machine has: it is the cluster's to say whether that fits.
    add("resources: {gpus_per_trial: 64, slots: 500}\n")(no_store_above)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
        command = ("sweep", "run", "sweep.yaml", "--address", address)
        done = run(*command, cwd=no_store_above).expect(2)
    assert address in done.err and "Traceback" not in done.err
    assert done.seconds < 30 * PATIENCE
    assert not (no_store_above / ".keepgain").exists()


@pytest.mark.fault("R6")
def test_a_ray_that_cannot_be_started_here_is_said(no_store_above: Path) -> None:
    make_world(no_store_above)
    too_long = environment(RAY_TMPDIR=str(no_store_above / ("d" * 100)))  # for its sockets
    done = run("sweep", "run", "sweep.yaml", cwd=no_store_above, env=too_long).expect(2)
    assert "no Ray could be started on this machine" in done.err and "Traceback" not in done.err
    assert not (no_store_above / ".keepgain").exists()
