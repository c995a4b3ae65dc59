"""Files and specs that are not what they should be: refused by `sweep run` and `sweep check` with
exit code 2 and one line that names the place, with nothing started and nothing written.

Numbers are those of the catalogue (`M1` to `M46`). What the readers say of single bytes is tested
in `tests/core`; here it is what a person sees.
"""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keepgain.analysis.cli import main as analyze
from keepgain.sweeps.cli.main import main as sweep
from tests.sweeps.tiny_models import TEMPLATE, make_model, make_world, write_jsonl

Spoil = Callable[[Path], None]
PROGRESS = ("reading data", "reading models", "counting tokens")
"""What `sweep check` says on the way."""
GOOD = b'{"prompt": "route this", "answer": "desk 1"}\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_world(folder, models=1, rows=150)
    return folder


@pytest.fixture
def world(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A spec, a model and data, and the working directory; no store upwards."""
    folder = tmp_path / "user"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    for name in ("KEEPGAIN_STORE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    yield folder
    assert not any((p / ".keepgain").exists() for p in (folder, *folder.parents))


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *command: str) -> str:
    """The one line with which a command refuses; nothing else changes."""
    before = {p: p.lstat().st_mtime_ns for p in folder.rglob("*")}
    code = sweep([*command])
    error = capsys.readouterr().err
    assert code == 2, error
    assert "Traceback" not in error
    lines = [x for x in error.strip().splitlines() if x not in PROGRESS]
    assert len(lines) == 1 and lines[0].startswith("sweep: "), error
    assert {p: p.lstat().st_mtime_ns for p in folder.rglob("*")} == before
    assert "\x1b" not in error and len(error) < 1500
    return lines[0]


def data(content: bytes | Callable[[Path], object]) -> Spoil:
    """The task's rows are this file, or made by a function."""

    def spoil(folder: Path) -> None:
        path = folder / "tickets.jsonl"
        path.unlink()
        if callable(content):
            content(path)
        else:
            path.write_bytes(content)

    return spoil


def spec(old: str, new: str) -> Spoil:
    """Changes the spec's text; an empty `old`: appends."""

    def spoil(folder: Path) -> None:
        path = folder / "sweep.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text, old
        path.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")

    return spoil


def whole_spec(content: bytes) -> Spoil:
    return lambda folder: (folder / "sweep.yaml").write_bytes(content) and None


def messages(*turns: tuple[str, str]) -> bytes:
    row = {"messages": [{"role": r, "content": c} for r, c in turns]}
    return json.dumps(row).encode() + b"\n"


@dataclass(frozen=True)
class Case:
    """One input: its number, how it is made, and what the line must say."""

    number: int
    spoil: Spoil
    where: str
    words: str = ""
    name: str = ""


def params(cases: list[Case]) -> list[Any]:
    return [
        pytest.param(
            c,
            id=f"M{c.number}{' ' if c.name else ''}{c.name}",
            marks=pytest.mark.fault(f"M{c.number}"),
        )
        for c in cases
    ]


def in_row(line: bytes, number: int, where: str, words: str, name: str = "") -> Case:
    """The third line of the file is this one."""
    return Case(number, data(GOOD + GOOD + line + b"\n" + GOOD), where, words, name)


LINE = "tickets.jsonl:3"
DATA_FILES = [
    Case(1, data(b""), "tickets.jsonl", "no rows"),
    Case(2, data(b"\n  \n\r\n\n"), "tickets.jsonl", "no rows"),
    Case(3, data(GOOD * 2 + b'{"prompt": "route th'), LINE, "cut off"),
    Case(4, data(b"[" + GOOD.strip() + b"]\n"), "tickets.jsonl:1", "jq"),
    Case(6, data(GOOD.decode().encode("utf-16")), "tickets.jsonl:1", "iconv"),
    in_row(b'{"prompt": "\xff\xfe", "answer": "b"}', 7, LINE, "not UTF-8 at byte"),
    in_row(b'{"prompt": "a\x00b", "answer": "b"}', 8, LINE, "NUL"),
    in_row(b'{"prompt": "\\ud800", "answer": "b"}', 10, LINE, "\\ud800"),
    in_row(b'{"prompt": "a", "prompt": "b", "answer": "c"}', 11, LINE, "given twice"),
    in_row(b'{"id": "7"}', 12, LINE, "prompt"),
    in_row(b'{"prompt": null, "answer": "b"}', 13, LINE, "null", "null"),
    in_row(b'{"prompt": "a", "answer": 4}', 13, LINE, "must be text", "number"),
    in_row(b'{"prompt": ["a"], "answer": "b"}', 13, LINE, "a list", "list"),
    in_row(b'{"prompt": "a", "answer": ""}', 14, LINE, "empty"),
    in_row(b'{"prompt": "' + b"x" * 10_000_000 + b'", "answer": "b"}', 15, LINE, "4,000,000"),
    in_row(
        b'{"prompt": "a", "answer": "b", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        *(16, LINE, "nested too deeply"),
    ),
    in_row(b'{"prompt": "a", "answer": "b", "x": NaN}', 17, LINE, "NaN", "NaN"),
    in_row(b'{"prompt": "a", "answer": "b", "x": -Infinity}', 17, LINE, "Infinity", "Infinity"),
    in_row(b'{"prompt": 9223372036854775808, "answer": "b"}', 18, LINE, "must be text"),
    Case(19, data(messages(("wizard", "q"), ("assistant", "a"))), "tickets.jsonl:1", "'wizard'"),
    Case(19, data(messages(("user", "q"))), "tickets.jsonl:1", "assistant", "no assistant"),
    Case(21, data(gzip.compress(GOOD * 50)), "tickets.jsonl:1", "gzip"),
    Case(22, data(lambda path: os.mkfifo(path)), "tickets.jsonl", "pipe", "pipe"),
    Case(22, data(lambda path: path.mkdir()), "tickets.jsonl", "", "directory"),
    Case(22, spec("path: tickets.jsonl", "path: /dev/zero"), "/dev/zero", "device", "device"),
]
"""Refused; M5, M9, M18, M20, M23, M24 and M25 have tests of their own."""


@pytest.mark.parametrize("case", params(DATA_FILES))
def test_a_malformed_data_file_is_refused_with_its_line(
    case: Case, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case.spoil(world)
    for command in ("run", "check"):
        line = refused(capsys, world, command, "sweep.yaml")
        assert case.where in line and case.words in line, line


def tickets(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"route {i}", "answer": f"desk {i % 7}", **more} for i in range(count)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda b: b"\xef\xbb\xbf" + b, marks=pytest.mark.fault("M5"), id="M5"),
        pytest.param(lambda b: b.replace(b"\n", b"\r\n"), marks=pytest.mark.fault("M9"), id="M9"),
        pytest.param(
            lambda b: b.replace(b"}\n", b', "x": 9223372036854775808}\n'),
            marks=pytest.mark.fault("M18"),
            id="M18",
        ),
    ],
)
def test_harmless_oddities_of_a_data_file_change_nothing(
    change: Callable[[bytes], bytes], world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world / "tickets.jsonl"
    assert sweep(["check", "sweep.yaml", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    content = path.read_bytes()
    path.write_bytes(change(content))
    assert path.read_bytes() != content
    assert sweep(["check", "sweep.yaml", "--json"]) == 0
    now = json.loads(capsys.readouterr().out)
    for facts in (plain, now):
        del facts["data_card"], facts["seconds"]  # the card names the fields of the file
    assert now == plain, "the same rows, the same sweep"


@pytest.mark.fault("M20")
def test_rows_in_training_and_evaluation_are_refused_with_their_number(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tickets(60)
    write_jsonl(world / "train.jsonl", rows)
    write_jsonl(world / "validation.jsonl", [*rows[:7], *tickets(50, prompt="other")][:7])
    write_jsonl(world / "test.jsonl", [{**r, "prompt": f"unseen {r['prompt']}"} for r in rows])
    spec(
        "{path: tickets.jsonl, role: task, split: auto}",
        "{train: train.jsonl, validation: validation.jsonl, test: test.jsonl, role: task}",
    )(world)
    line = refused(capsys, world, "run", "sweep.yaml")
    assert "7" in line and "validation.jsonl:1" in line and "train.jsonl:1" in line


@pytest.mark.fault("M24")
@pytest.mark.parametrize("text", ["שלום עולם", "👩‍👩‍👧‍👦", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "a\u2028b", "\u202eabc"])
def test_every_script_reaches_the_training_rows_unchanged(
    text: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"{text} {i}", "answer": f"{text} {i % 7}"} for i in range(150)]
    write_jsonl(world / "tickets.jsonl", rows)
    assert sweep(["check", "sweep.yaml", "--show", "1", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["shown"]["tickets"]
    assert shown["id"]
    from keepgain.sweeps.prepare import prepare
    from keepgain.sweeps.spec import load_spec

    found = {r.prompt: r.answer for r in prepare(load_spec(world / "sweep.yaml"), None).sources[
        "tickets"].train.rows}  # fmt: skip
    given = {r["prompt"]: r["answer"] for r in rows}
    assert found and found.items() <= given.items()


@pytest.mark.fault("M25")
def test_rows_that_the_template_makes_too_long_are_counted(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(world / "m0")
    make_model(world / "m0", template=TEMPLATE)
    rows = [
        {"messages": [{"role": "user", "content": f"{'long ' * 30 * (i < 20)}{i}"},
                      {"role": "assistant", "content": f"desk {i % 7}"}]}
        for i in range(150)
    ]  # fmt: skip
    write_jsonl(world / "tickets.jsonl", rows)
    spec("", "training: {max_length: 64, budget_tokens: 2000}\n")(world)
    sweep(["check", "sweep.yaml", "--json"])
    facts = json.loads(capsys.readouterr().out)
    (source,) = [s for s in facts["sources"] if s["name"] == "tickets"]
    assert 0 < source["cut_rows"]["m0"] <= 20
    said = [
        f["message"] for f in facts["findings"] if str(source["cut_rows"]["m0"]) in f["message"]
    ]
    assert said, facts["findings"]


ALIASES = "\n".join(
    ["a0: &a0 [lol, lol, lol]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
)
SPECS = [
    Case(26, spec("", "limits:\n\ttrials: 3\n"), "sweep.yaml:", "tab"),
    Case(27, spec("", "name: other\n"), "sweep.yaml:name", "given twice"),
    Case(28, whole_spec(ALIASES.encode()), "sweep.yaml", "aliases"),
    Case(28, whole_spec(b"a: &a [*a, *a]\n"), "sweep.yaml", "", "recursive"),
    Case(29, spec("", "tags: !!python/object/apply:os.system ['touch canary']\n"), "sweep.yaml:"),
    Case(30, spec("{log: [1e-5, 1e-3]}", "{log: ['1e-5', 1e-3]}"), "learning_rate",
         "without quotes"),
    Case(30, spec("", "training: {learning_rate: 1e-4x}\n"), "training.learning_rate", "number",
         "no number"),
    Case(31, spec("delta: 0.02", "delta: no"), "sweep.yaml:question.delta", "'no'"),
    Case(32, spec("seeds: 3", "sedes: 3"), "sweep.yaml:confirm.sedes", "seeds"),
    Case(33, spec("{log: [1e-5, 1e-3]}", "{log: [1e-3, 1e-5]}"), "sweep.yaml:space.learning_rate"),
    Case(33, spec("{log: [1e-5, 1e-3]}", "{log: [0, 1e-3]}"), "space.learning_rate", "0", "log 0"),
    Case(33, spec("[1e-5, 1e-3]", "[.nan, 1e-3]"), "space.learning_rate", "", "nan"),
    Case(33, spec("[1e-5, 1e-3]", "[1e-5, .inf]"), "space.learning_rate", "", "inf"),
    Case(34, spec("method: [full, lora]", "method: [full, 3]"), "sweep.yaml:space.method"),
    Case(34, spec("method: [full, lora]", "method: [full, [a]]"), "space.method", "", "a list"),
    Case(34, spec("method: [full, lora]", "method: [full, {a: 1}]"), "space.method", "", "a map"),
    Case(35, spec("space:", "space: {}\nunused:"), "sweep.yaml:"),
    Case(36, spec("trials_per_model: 12", "trials_per_model: 0"), "search.trials_per_model", "1"),
    Case(36, spec("trials_per_model: 12", "trials_per_model: -1"), "search.trials_per_model", "1",
         "negative"),
    Case(36, spec("trials_per_model: 12", "trials_per_model: 1000000000"),
         "search.trials_per_model", "10000", "a milliard"),
    Case(37, spec("delta: 0.02", "delta: 0.02, weights: {gain: -1}"), "question.weights",
         "at least", "a negative weight"),
    Case(37, spec("delta: 0.02", "delta: 0.02, weights: {gian: 1}"), "question.weights", "gain",
         "no objective"),
    Case(37, spec("delta: 0.02", "delta: 0.02, weights: {gain: 1, gain: 2}"), "question.weights",
         "given twice", "twice"),
    Case(38, spec("trials_per_model: 12", "trials_per_model: 12, stopping: {metric: accuracy}"),
         "search.stopping.metric", "unknown key"),
    Case(38, spec("scorer: bits_per_byte", "scorer: bits_per_byte, proxy_for: nothing"),
         "suites.forgetting.proxy_for", "nothing", "a proxy"),
    Case(40, spec("", "training: {engine: deepspeed, deepspeed: "
                      "{zero_optimization: {reduce_bucket_size: auto}}}\n"),
         "training.deepspeed.zero_optimization.reduce_bucket_size", "auto"),
    Case(41, spec("", "training: {engine: deepspeed, batch_size: 10, micro_batch_size: 4}\n"),
         "micro_batch_size", "10"),
    Case(41, spec("", "training: {engine: deepspeed, deepspeed: {train_batch_size: 7}}\n"),
         "training.deepspeed.train_batch_size", "16", "DeepSpeed's own"),
    Case(44, spec("", "search.storage: x\n"), "sweep.yaml:", "", "a dotted key"),
    Case(45, spec("", "---\nname: second\n"), "sweep.yaml:", "document"),
    Case(46, whole_spec(b"- name: tiny\n"), "sweep.yaml", "mapping"),
    Case(46, whole_spec(b"just words\n"), "sweep.yaml", "mapping", "text"),
    Case(46, whole_spec(b""), "sweep.yaml", "empty", "nothing"),
]  # fmt: skip


@pytest.mark.parametrize("case", params(SPECS))
def test_a_malformed_spec_is_refused_with_its_key(
    case: Case, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case.spoil(world)
    for command in ("run", "check"):
        line = refused(capsys, world, command, "sweep.yaml")
        assert case.where in line and case.words in line, line
    assert not (world / "canary").exists()


@pytest.mark.fault("M39")
def test_more_gpus_than_there_are_is_refused_with_the_arithmetic(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec("", "resources: {gpus_per_trial: 64}\n")(world)
    line = refused(capsys, world, "run", "sweep.yaml")
    assert "sweep.yaml:resources" in line and "64 GPUs" in line


@pytest.mark.fault("M30", "M31")
def test_numbers_are_numbers_and_words_are_words(world: Path) -> None:
    """PyYAML alone reads `1e-4` as text, and `no` and `on` as booleans."""
    from keepgain.sweeps.spec import load_spec

    path = world / "sweep.yaml"
    text = (
        path.read_text().replace("tickets: {path", "no: {path").replace("from: tickets", "from: no")
    )
    text = text.replace("tickets: [0.5, 1]", "no: [0.5, 1]").replace("general: ", "on: ")
    text = text.replace("{log: [1e-5, 1e-3]}", "[1e-4, 2E-4, 3_0e-5]")
    path.write_text(text + "tags: {off: yes}\n")
    loaded = load_spec(path)
    assert list(loaded.spec.data) == ["no", "on"] and loaded.spec.tags == {"off": "yes"}
    assert loaded.spec.space["learning_rate"] == [1e-4, 2e-4, 3e-4]
    assert sweep(["check", "sweep.yaml"]) == 0


IDS = ["../x", "a' OR 1=1", "", "..", "x" * 300, "tiny\u2010123456", "a\nb", "a\x1b[31m", "%2e%2e"]


@pytest.mark.fault("M42")
@pytest.mark.parametrize("given", IDS, ids=ascii)
def test_what_cannot_be_a_sweep_id_is_refused(
    given: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (world / "store" / "sweeps").mkdir(parents=True)
    (tmp_path / "x").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for program, command in (
        (sweep, ["status"]),
        (sweep, ["logs"]),
        (sweep, ["stop"]),
        (sweep, ["export", "--to", "out"]),
        (analyze, []),
    ):
        assert program([*command[:1], given, *command[1:], "--store", "store"]) == 2
        error = capsys.readouterr().err
        assert len(error.strip().splitlines()) == 1 and "Traceback" not in error
        assert "\x1b" not in error and "\u2010" not in error and len(error) < 600
    assert sorted(tmp_path.rglob("*")) == before


SECRET = "s3cretpassword"


@pytest.mark.fault("M44")
@pytest.mark.parametrize(
    ("store", "words"),
    [
        ("file:///tmp/mlruns", "file store"),
        ("file:mlruns", "migrate-filestore"),
        ("mlruns", "file store"),
        (f"http://me:{SECRET}@127.0.0.1:9/", "me:***@"),
        (f"postgresql://me:{SECRET}@127.0.0.1:9/db", "me:***@"),
        (f"ftp://me:{SECRET}@host/x", "unknown kind"),
    ],
)
def test_a_store_that_cannot_be_used_is_explained_without_its_password(
    store: str, words: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, world, "run", "sweep.yaml", "--store", store)
    assert words in line and SECRET not in line, line
