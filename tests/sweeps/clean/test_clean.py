"""`sweep clean`: every row is kept, changed, dropped or set aside, and the log says why."""

import gzip
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keepgain.core.rows import Row
from keepgain.sweeps.clean.cleaning import Options, clean
from keepgain.sweeps.clean.folder import Target
from keepgain.sweeps.clean.inputs import inputs_of_files
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.data_files import bucket
from keepgain.sweeps.sources import read_sources
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world, write_jsonl

DESKS = ("north", "south", "east")
WORDS = {
    "north": "router modem cable antenna signal",
    "south": "invoice refund payment receipt tax",
    "east": "parcel courier box label delivery",
}


def ticket(i: int, desk: str | None = None) -> dict[str, Any]:
    """A ticket whose words tell the desk."""
    right = DESKS[i % 3]
    words = WORDS[right].split()
    about = " ".join(words[(i + k) % 5] for k in range(3))
    asked = f"ticket {i} about {about}"
    return {"id": f"t{i}", "prompt": asked, "answer": desk or right, "by": "ab"[i % 2]}


TICKETS = [ticket(i) for i in range(300)]
CONTRADICTING = [*TICKETS, {**ticket(9, "east"), "id": "contra"}]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_world(tmp_path, models=1)
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "tickets.jsonl", TICKETS)
    return tmp_path


def sweep_clean(*words: str) -> int:
    return main(["clean", *words])


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def log_of(folder: Path, action: str) -> dict[int, dict[str, Any]]:
    return {e["line"]: e for e in rows_of(folder / "log.jsonl") if e["action"] == action}


def test_clean_rows_come_out_as_they_were(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep_clean("sweep.yaml", "--to", "out", "--json") == 0
    counts = {
        Path(f["file"]).name: (f["rows"], f["kept"], f["changed"])
        for f in json.loads(capsys.readouterr().out)["files"]
    }
    assert counts == {
        "tickets.jsonl": (300, 300, 0),
        "general.jsonl": (100, 100, 0),
        "general_eval.jsonl": (300, 300, 0),
    }
    for name in counts:
        assert rows_of(world / "out" / name) == rows_of(world / name)
    assert (world / "out" / "log.jsonl").read_text() == ""
    assert (world / "out" / "review.jsonl").read_text() == ""


def test_copies_are_dropped_and_the_log_names_the_row_that_stays(world: Path) -> None:
    first = ticket(7)
    copies = [
        {**first, "id": "c1"},
        {**first, "id": "c2", "prompt": first["prompt"].upper() + "  "},
        {**first, "id": "c3", "prompt": first["prompt"] + " please"},
    ]
    write_jsonl(world / "tickets.jsonl", TICKETS + copies)
    assert sweep_clean("sweep.yaml", "--to", "out", "--keep-doubtful") == 0
    ids = [row["id"] for row in rows_of(world / "out" / "tickets.jsonl")]
    assert ids == [f"t{i}" for i in range(300)] + ["c3"]
    dropped = log_of(world / "out", "dropped")
    assert list(dropped) == [301, 302]
    assert {(e["reason"], e["of"]) for e in dropped.values()} == {
        ("duplicate", f"{world}/tickets.jsonl:8")
    }


def test_near_copies_are_dropped_on_request(world: Path) -> None:
    long = (
        "the customer says that the parcel came three days late, that nobody answered the phone "
        "all morning, and that a neighbour found the wet box in the garden behind the house"
    )
    rows = [{"id": "n1", "prompt": long, "answer": "east"}]
    rows.append({"id": "n2", "prompt": f"{long} today", "answer": "east"})
    write_jsonl(world / "tickets.jsonl", TICKETS + rows)
    assert sweep_clean("sweep.yaml", "--to", "out", "--keep-doubtful") == 0
    assert log_of(world / "out", "dropped") == {}
    assert sweep_clean("sweep.yaml", "--to", "near", "--near", "--keep-doubtful") == 0
    dropped = log_of(world / "near", "dropped")
    assert {line: (e["reason"], e["of"]) for line, e in dropped.items()} == {
        302: ("near_duplicate", f"{world}/tickets.jsonl:301")
    }


def test_a_copy_of_a_row_to_train_on_stays_among_the_items(world: Path) -> None:
    """It is a leak: the training row is what has to go."""
    items = rows_of(world / "general_eval.jsonl")
    write_jsonl(world / "general.jsonl", [*rows_of(world / "general.jsonl"), items[5], items[5]])
    assert sweep_clean("sweep.yaml", "--to", "out", "--keep-doubtful") == 0
    assert len(rows_of(world / "out" / "general_eval.jsonl")) == 300
    assert len(rows_of(world / "out" / "general.jsonl")) == 101
    assert sweep_clean("sweep.yaml", "--to", "kept", "--drop-leaked", "--keep-doubtful") == 0
    assert len(rows_of(world / "kept" / "general.jsonl")) == 100
    assert len(rows_of(world / "kept" / "general_eval.jsonl")) == 300
    dropped = log_of(world / "kept", "dropped")
    assert {e["reason"] for e in dropped.values()} == {"leaked"} and len(dropped) == 2
    assert dropped[101]["of"] == f"{world}/general_eval.jsonl:6"


def test_contradictions_and_wrong_labels_are_set_aside_and_come_back_corrected(world: Path) -> None:
    rows = [ticket(i, "south" if i == 30 else None) for i in range(300)]
    rows.append({**ticket(9, "east"), "id": "contra"})
    write_jsonl(world / "tickets.jsonl", rows)
    assert sweep_clean("sweep.yaml", "--to", "out") == 0
    review = rows_of(world / "out" / "review.jsonl")
    wrong = {e["line"]: (e["reason"], e["answer"], e["suggested"]) for e in review}
    assert wrong[31] == ("probable_label_error", "south", "north")
    assert {wrong[10][0], wrong[301][0]} <= {"conflict", "probable_label_error"}
    kept = {row["id"] for row in rows_of(world / "out" / "tickets.jsonl")}
    assert kept.isdisjoint({"t30", "t9", "contra"}) and len(kept) + len(review) == 301
    for entry in review:
        if entry["line"] == 31:
            entry["new_answer"] = "north"
        elif entry["line"] == 10:
            entry["new_answer"] = "north"  # as it was
        elif entry["line"] == 301:
            entry["drop"] = True
    write_jsonl(world / "reviewed.jsonl", review)
    assert sweep_clean("sweep.yaml", "--to", "out2", "--apply", "reviewed.jsonl") == 0
    by_id = {row["id"]: row for row in rows_of(world / "out2" / "tickets.jsonl")}
    assert by_id["t30"] == ticket(30) and by_id["t9"] == ticket(9) and "contra" not in by_id
    corrected = log_of(world / "out2", "corrected")
    assert {line: e["changes"] for line, e in corrected.items()} == {
        31: {"answer": {"before": "south", "after": "north"}}
    }
    assert log_of(world / "out2", "dropped")[301]["reason"] == "reviewed"
    left = {e["line"] for e in rows_of(world / "out2" / "review.jsonl")}
    assert left == {e["line"] for e in review} - {10, 31, 301}


def test_doubtful_rows_stay_on_request(world: Path) -> None:
    write_jsonl(
        world / "tickets.jsonl",
        CONTRADICTING,
    )
    assert sweep_clean("sweep.yaml", "--to", "out", "--keep-doubtful") == 0
    assert len(rows_of(world / "out" / "tickets.jsonl")) == 301


def test_labels_of_a_field_are_corrected_there(world: Path) -> None:
    rows = [
        {"prompt": ticket(i)["prompt"], "answer": f"reply {i}", "desk": DESKS[i % 3]}
        for i in range(300)
    ]
    rows[30]["desk"] = "south"
    write_jsonl(world / "tickets.jsonl", rows)
    spec = (
        world / "sweep.yaml"
    ).read_text() + "data_spec: {columns: {label: desk}, labels: [north, south, east]}\n"
    (world / "sweep.yaml").write_text(spec)
    assert sweep_clean("sweep.yaml", "--to", "out") == 0
    (entry,) = [e for e in rows_of(world / "out" / "review.jsonl") if e["line"] == 31]
    assert (entry["answer"], entry["suggested"], entry["field"]) == ("south", "north", "desk")
    write_jsonl(world / "reviewed.jsonl", [{**entry, "new_answer": "north"}])
    assert sweep_clean("sweep.yaml", "--to", "out2", "--apply", "reviewed.jsonl") == 0
    (fixed,) = [r for r in rows_of(world / "out2" / "tickets.jsonl") if r["answer"] == "reply 30"]
    assert fixed["desk"] == "north"


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world that was cleaned into `out`."""
    world = tmp_path_factory.mktemp("reviewed")
    spec = make_world(world, models=1)
    spec.write_text(spec.read_text() + "data_spec: {labels: [north, south, east]}\n")
    write_jsonl(world / "tickets.jsonl", CONTRADICTING)
    assert sweep_clean(str(spec), "--to", str(world / "out")) == 0
    return world


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hash": "0" * 16}, "is another one than was set aside"),
        ({"id": "nobody"}, "there is no row with the id 'nobody'"),
        ({"id": None, "line": 900}, "there is no row 900"),
        ({"file": "elsewhere.jsonl"}, "no file 'elsewhere.jsonl' is cleaned"),
        ({"new_answer": "west"}, "is none of the 3 labels"),
        ({"new_answer": " "}, "`new_answer` is empty"),
        ({"drop": True}, "both `drop` and `new_answer`"),
        ({"new_anwser": "north"}, "unknown key 'new_anwser'"),
    ],
)
def test_reviews_of_unknown_and_changed_rows_are_refused(
    reviewed: Path, change: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = rows_of(reviewed / "out" / "review.jsonl")[0]
    path = reviewed / "reviewed.jsonl"
    write_jsonl(path, [{**entry, "new_answer": "north", **change}])
    words = (str(reviewed / "sweep.yaml"), "--to", str(reviewed / "out2"), "--apply", str(path))
    assert sweep_clean(*words) == 2
    err = capsys.readouterr().err
    assert "reviewed.jsonl:1" in err and said in err and not (reviewed / "out2").exists()


def test_personal_data_is_in_no_file_once_masked(world: Path) -> None:
    rows = [ticket(i) for i in range(300)]
    rows[3]["prompt"] += " from jane.doe@gmail.com\u00a0"
    rows.append({**rows[3], "answer": "south", "id": "contra"})
    write_jsonl(world / "tickets.jsonl", rows)
    assert sweep_clean("sweep.yaml", "--to", "out", "--mask-personal") == 0
    written = "".join(p.read_text() for p in (world / "out").iterdir())
    assert "jane.doe" not in written and "j***@g***.com" in written


def test_tables_become_json_lines_and_names_stay_apart(world: Path) -> None:
    (world / "a").mkdir()
    (world / "b").mkdir()
    (world / "a" / "rows.csv").write_text('prompt,answer,n\nwhat now,"so, be it ",1\n')
    pq.write_table(
        pa.table({"prompt": ["q"], "answer": ["r"], "d": [1.5]}), world / "b" / "rows.parquet"
    )
    with gzip.open(world / "log.jsonl.gz", "wt") as handle:
        handle.write(json.dumps({"text": "t"}) + "\n")
    files = ["a/rows.csv", "b/rows.parquet", "log.jsonl.gz"]
    assert sweep_clean(*files, "--to", "out", "--keep-doubtful") == 0
    out = world / "out"
    (changed,) = rows_of(out / "rows.jsonl")
    del changed["id"]
    assert changed == {"prompt": "what now", "answer": "so, be it", "n": "1"}
    assert rows_of(out / "b-rows.jsonl") == [{"prompt": "q", "answer": "r", "d": 1.5}]
    names = set(json.loads((out / "clean.json").read_text())["names"])
    assert names == {p.name for p in out.iterdir()} and len(names) == 6


def test_a_row_of_which_nothing_is_left_is_dropped(world: Path) -> None:
    rows = [{"prompt": "a", "answer": "b"}, {"prompt": "c", "answer": "\u200b"}]
    write_jsonl(world / "t.jsonl", rows)
    assert sweep_clean("t.jsonl", "--to", "out", "--keep-doubtful") == 0
    assert rows_of(world / "out" / "t.jsonl") == rows[:1]
    assert log_of(world / "out", "dropped")[2]["reason"] == "empty"


def test_a_dry_run_writes_nothing_and_counts_the_same(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(world / "tickets.jsonl", [*TICKETS, {**ticket(1), "id": "c"}])
    before = sorted(world.iterdir())
    assert sweep_clean("sweep.yaml", "--to", "out", "--dry-run", "--json") == 0
    dry = json.loads(capsys.readouterr().out)
    assert sorted(world.iterdir()) == before
    assert sweep_clean("sweep.yaml", "--to", "out", "--json") == 0
    assert json.loads(capsys.readouterr().out) == dry


@pytest.mark.parametrize(
    ("make", "words", "said"),
    [
        ("", ("--to", "."), "holds what no cleaning wrote"),
        ("out/theirs.txt", ("--to", "out", "--force"), "holds what no cleaning wrote: theirs.txt"),
        ("", ("--to", "tickets.jsonl"), "is a file"),
        ("file", ("--to", "file"), "is a file"),
        ("", ("--to", "out", "--plant-canaries", "0"), "0 canaries"),
        ("", ("--to", "out", "--plant-canaries", "2", "--repeats", "x"), "no list of numbers"),
    ],
)
def test_targets_and_numbers_that_cannot_be_are_refused(
    world: Path, make: str, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if make:
        (world / make).parent.mkdir(exist_ok=True)
        (world / make).write_text("theirs")
    before = {p: p.read_bytes() for p in world.rglob("*") if p.is_file()}
    assert sweep_clean("sweep.yaml", *words) == 2
    assert said in capsys.readouterr().err
    assert {p: p.read_bytes() for p in world.rglob("*") if p.is_file()} == before


def test_an_earlier_cleaning_is_replaced_with_force_only(world: Path) -> None:
    assert sweep_clean("tickets.jsonl", "general.jsonl", "--to", "out", "--keep-doubtful") == 0
    assert sweep_clean("tickets.jsonl", "--to", "out", "--keep-doubtful") == 2
    assert sweep_clean("tickets.jsonl", "--to", "out", "--force", "--keep-doubtful") == 0
    assert not (world / "out" / "general.jsonl").exists()
    assert not list(world.glob(".out*"))


def test_a_link_to_a_folder_stays_a_link(world: Path) -> None:
    assert sweep_clean("tickets.jsonl", "--to", "out", "--keep-doubtful") == 0
    (world / "link").symlink_to("out")
    for _ in range(2):
        assert sweep_clean("general.jsonl", "--to", "link", "--force", "--keep-doubtful") == 0
    assert (world / "link").is_symlink() and (world / "out" / "general.jsonl").exists()
    assert not list(world.glob(".*"))


def test_a_fault_in_the_last_file_leaves_nothing(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep_clean("tickets.jsonl", "--to", "out", "--keep-doubtful") == 0
    kept = (world / "out" / "tickets.jsonl").read_bytes()
    (world / "bad.jsonl").write_text('{"prompt": "a", "answer": "b"}\n{"prompt": ""}\n')
    assert (
        sweep_clean("tickets.jsonl", "bad.jsonl", "--to", "out", "--force", "--keep-doubtful") == 2
    )
    assert "bad.jsonl:2" in capsys.readouterr().err
    assert (world / "out" / "tickets.jsonl").read_bytes() == kept
    assert not list(world.glob(".out*"))


def test_a_killed_cleaning_leaves_no_folder_and_the_next_one_removes_its_rest(world: Path) -> None:
    inputs, there = inputs_of_files([Path("tickets.jsonl")]), multiprocessing.get_context("fork")
    half_done = there.Event()

    def wait_for_the_end(_: Target) -> int:
        half_done.set()
        time.sleep(60)
        return 0

    running = there.Process(
        target=clean, args=(inputs, Options(), Path("out")), kwargs={"beside": wait_for_the_end}
    )
    running.start()
    assert half_done.wait(30)
    running.kill()
    running.join()
    partial = world / ".out.partial"
    assert partial.exists() and not (world / "out").exists()
    assert sweep_clean("tickets.jsonl", "--to", "out", "--keep-doubtful") == 0
    assert not partial.exists() and len(rows_of(world / "out" / "tickets.jsonl")) == 300


def test_an_interrupted_cleaning_leaves_nothing(world: Path) -> None:
    def interrupt(_: Target) -> int:
        raise KeyboardInterrupt

    before = sorted(world.iterdir())
    with pytest.raises(KeyboardInterrupt):
        clean(inputs_of_files([Path("tickets.jsonl")]), Options(), Path("out"), beside=interrupt)
    assert sorted(world.iterdir()) == before


def test_what_is_read_is_not_replaced(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep_clean("tickets.jsonl", "--to", "out", "--keep-doubtful") == 0
    assert sweep_clean("out/tickets.jsonl", "--to", "out", "--force", "--keep-doubtful") == 2
    assert "holds out/tickets.jsonl, which is read" in capsys.readouterr().err


def test_canaries_are_written_beside_the_rows(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--plant-canaries", "3", "--repeats", "1,4", "--seed", "5")
    assert sweep_clean("tickets.jsonl", "--to", "out", "--keep-doubtful", *words) == 0
    assert len(rows_of(world / "out" / "canaries.jsonl")) == 6
    assert len(rows_of(world / "out" / "canary_controls.jsonl")) == 120
    halves = [rows_of(world / "out" / f"canary_{half}.jsonl") for half in ("validation", "test")]
    assert [len(half) for half in halves] == [62, 61]
    out = capsys.readouterr().out
    assert "canaries: {path: out/canaries.jsonl, role: task}" in out
    assert "validation: out/canary_validation.jsonl, test: out/canary_test.jsonl, scorer: c" in out


def test_what_is_cleaned_has_the_same_splits(world: Path) -> None:
    """Questions are dealt to splits by their hash, white space and case apart."""
    rows = [ticket(i) for i in range(300)]
    for row in rows:
        row["prompt"] = f" {row['prompt']}\u00a0"
    write_jsonl(world / "tickets.jsonl", rows)
    assert sweep_clean("sweep.yaml", "--to", "out", "--keep-doubtful") == 0
    for before, after in zip(rows, rows_of(world / "out" / "tickets.jsonl"), strict=True):
        asked = [Row("", "pair", prompt=r["prompt"]) for r in (before, after)]
        assert bucket(asked[0], 10, "split") == bucket(asked[1], 10, "split")


def test_rows_made_from_others_find_them_again_when_those_were_tidied(world: Path) -> None:
    """Rows without an id are named by their content, which cleaning changes."""
    rows = [{k: v for k, v in ticket(i).items() if k != "id"} for i in range(300)]
    rows = [{**row, "prompt": f" {row['prompt']}"} for row in rows]
    write_jsonl(world / "tickets.jsonl", rows)
    trained = read_sources(load_spec(world / "sweep.yaml"))["tickets"].train.rows
    follow = [
        {"id": f"{row.id}~1", "parent": row.id, "prompt": f"say: {i} {row.prompt}", "answer": "x"}
        for i, row in enumerate(trained)
    ]
    write_jsonl(world / "reworded.jsonl", follow)
    source = "  tickets: {path: tickets.jsonl, role: task, split: auto}\n"
    spec = (world / "sweep.yaml").read_text()
    assert source in spec
    more = "  reworded: {path: reworded.jsonl, role: synthetic, follows: tickets}\n"
    (world / "sweep.yaml").write_text(spec.replace(source, source + more))
    assert sweep_clean("sweep.yaml", "--to", "out", "--keep-doubtful") == 0
    assert all("id" in row for row in rows_of(world / "out" / "tickets.jsonl"))
    cleaned = (world / "sweep.yaml").read_text()
    for name in ("tickets.jsonl", "reworded.jsonl"):
        cleaned = cleaned.replace(f"path: {name}", f"path: out/{name}")
    (world / "cleaned.yaml").write_text(cleaned)
    found = read_sources(load_spec(world / "cleaned.yaml"))["reworded"]
    assert len(found.train.rows) == len(follow)


def test_what_was_masked_leaves_no_hash_to_guess_it_by(world: Path) -> None:
    write_jsonl(world / "t.jsonl", [{"prompt": " from jane.doe@gmail.com", "answer": "b"}])
    assert sweep_clean("t.jsonl", "--to", "out", "--mask-personal", "--keep-doubtful") == 0
    (row,) = rows_of(world / "out" / "t.jsonl")
    assert "***" in row["prompt"] and "id" not in row


def test_what_a_person_has_filled_in_is_not_replaced(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(world / "tickets.jsonl", CONTRADICTING)
    assert sweep_clean("sweep.yaml", "--to", "out") == 0
    review = world / "out" / "review.jsonl"
    entries = rows_of(review)
    write_jsonl(review, [{**entries[0], "new_answer": "north"}, *entries[1:]])
    filled_in = review.read_bytes()
    apply = ("--apply", "out/review.jsonl")
    assert sweep_clean("sweep.yaml", "--to", "out", "--force", *apply) == 2
    assert "filled it in" in capsys.readouterr().err and review.read_bytes() == filled_in
    assert sweep_clean("sweep.yaml", "--to", "out2", *apply) == 0


def test_a_decision_is_true_of_exact_copies_of_the_row(world: Path) -> None:
    rows = [*CONTRADICTING, {**ticket(9), "id": "copy"}, {**ticket(9, "east"), "id": "contra2"}]
    write_jsonl(world / "tickets.jsonl", rows)
    assert sweep_clean("sweep.yaml", "--to", "out") == 0
    review = rows_of(world / "out" / "review.jsonl")
    decided = [{**e, "new_answer": "north"} for e in review if e["id"] == "t9"]
    decided += [{**e, "drop": True} for e in review if e["id"] == "contra"]
    write_jsonl(world / "reviewed.jsonl", decided)
    assert sweep_clean("sweep.yaml", "--to", "out2", "--apply", "reviewed.jsonl") == 0
    kept = {row["id"] for row in rows_of(world / "out2" / "tickets.jsonl")}
    assert "t9" in kept and kept.isdisjoint({"contra", "copy", "contra2"})
    left = {e["id"] for e in rows_of(world / "out2" / "review.jsonl")}
    assert left.isdisjoint({"t9", "contra", "copy", "contra2"})


def test_answers_of_chats_in_tables_are_corrected(world: Path) -> None:
    def chat(asked: str, answer: str) -> str:
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        return json.dumps(turns)

    chats = [chat(t["prompt"], t["answer"]) for t in CONTRADICTING]
    pq.write_table(pa.table({"messages": chats}), world / "chats.parquet")
    assert sweep_clean("chats.parquet", "--to", "out") == 0
    (contra,) = [e for e in rows_of(world / "out" / "review.jsonl") if e["line"] == 301]
    write_jsonl(world / "reviewed.jsonl", [{**contra, "new_answer": "west"}])
    assert sweep_clean("chats.parquet", "--to", "out2", "--apply", "reviewed.jsonl") == 0
    answers = [r["messages"][-1]["content"] for r in rows_of(world / "out2" / "chats.jsonl")]
    assert answers.count("west") == 1


def test_two_decisions_on_a_row_are_refused(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(world / "tickets.jsonl", CONTRADICTING)
    assert sweep_clean("sweep.yaml", "--to", "out") == 0
    entry = rows_of(world / "out" / "review.jsonl")[0]
    both = [{**entry, "new_answer": "north"}, {**entry, "drop": True}]
    write_jsonl(world / "reviewed.jsonl", both)
    assert sweep_clean("sweep.yaml", "--to", "out2", "--apply", "reviewed.jsonl") == 2
    assert "reviewed.jsonl:2: the row is decided on at" in capsys.readouterr().err
