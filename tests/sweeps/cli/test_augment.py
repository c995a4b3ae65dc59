"""`sweep augment` against a real endpoint on the loopback: rows, review, refusals."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from keepgain.sweeps.cli.main import main
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec
from tests.core.endpoint.server import OK, Reply, serving
from tests.sweeps.tiny_models import make_world, write_jsonl

TICKETS = "  tickets: {path: tickets.jsonl, role: task, split: auto}\n"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_world(tmp_path, models=1)
    rows = [
        {
            "prompt": f"Parcel {i} did not arrive at Mill Street {i % 9}, ask desk {i % 7}",
            "answer": f"desk {i % 7}",
            "language": "en",
            "annotator": "ann",
        }
        for i in range(30)
    ]
    write_jsonl(tmp_path / "tickets.jsonl", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def endpoint(world: Path, url: str, **more: Any) -> None:
    """Names it in the spec."""
    entry = json.dumps({"base_url": url, "model": "m-1", "max_attempts": 1, **more})
    path = world / "sweep.yaml"
    path.write_text(path.read_text() + f"endpoints: {{writer: {entry}}}\n")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.open()]


def reworded(text: str) -> str:
    return f"Please note: {text}"


PARAPHRASE = ["augment", "sweep.yaml", "--source", "tickets", "--by", "paraphrase"]


def test_training_rows_are_rewritten_and_wait_for_review(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare(load_spec(world / "sweep.yaml"), None)
    parents = {r.id: r for r in prepared.sources["tickets"].train.rows}
    with serving(says=reworded) as server:
        endpoint(world, server.url)
        assert main([*PARAPHRASE, "--to", "new.jsonl"]) == 0
    said = capsys.readouterr().out
    assert f"{len(parents)} rows: new.jsonl" in said and "tokens in" in said
    rows, review = lines(world / "new.jsonl"), lines(world / "new.review.jsonl")
    assert [r["parent"] for r in rows] == list(parents)
    assert not (world / "new.dropped.jsonl").exists()
    for row, item in zip(rows, review, strict=True):
        parent = parents[row["parent"]]
        assert row["id"] == item["id"] == f"{parent.id}~1"
        assert (row["prompt"], row["answer"]) == (reworded(parent.prompt), parent.answer)
        assert (row["generator"], row["by"], row["language"]) == ("m-1", "paraphrase", "en")
        assert row["synthetic"] is True and row["reviewed"] is False and row["prompt_hash"]
        assert "annotator" not in row, "nobody has looked at this wording"
        assert item["accept"] is None and item["original"] == parent.prompt
    answers = {p.prompt: p.answer for p in parents.values()}
    for system, user in (asked["messages"] for asked in server.asked):
        assert system["content"].endswith(f'must stay: "{answers[user["content"]]}".')


def test_what_a_review_accepts_becomes_a_source_that_follows(world: Path) -> None:
    with serving(says=reworded) as server:
        endpoint(world, server.url)
        assert main([*PARAPHRASE, "--limit", "9", "--to", "new.jsonl"]) == 0
    review = lines(world / "new.review.jsonl")
    for item, accept in zip(review, [True] * 4 + [False] * 2 + [None] * 3, strict=True):
        item["accept"] = accept
    write_jsonl(world / "new.review.jsonl", review)
    assert main(["augment", "--apply", "new.review.jsonl", "--to", "good.jsonl"]) == 0
    rows = lines(world / "good.jsonl")
    assert [r["id"] for r in rows] == [r["id"] for r in review[:4]]
    assert all(r["reviewed"] is True for r in rows)
    text = (world / "sweep.yaml").read_text()
    source = "  more: {path: good.jsonl, role: synthetic, follows: tickets}\n"
    (world / "sweep.yaml").write_text(text.replace(TICKETS, TICKETS + source))
    prepared = prepare(load_spec(world / "sweep.yaml"), None)
    assert [r.id for r in prepared.sources["more"].train.rows] == [r["id"] for r in rows]


def test_a_review_may_come_back_as_a_table(world: Path) -> None:
    write_jsonl(
        world / "new.jsonl", [{"id": f"a~{n}", "prompt": "p", "answer": "b"} for n in "123"]
    )
    (world / "r.csv").write_text("id,accept\na~1,yes\na~2,no\na~3,\n")
    apply = ["augment", "--apply", "r.csv", "--rows", "new.jsonl", "--to", "good.jsonl"]
    assert main(apply) == 0
    assert [r["id"] for r in lines(world / "good.jsonl")] == ["a~1"]


@pytest.mark.parametrize(
    ("review", "says"),
    [
        ([{"id": "b~1", "accept": True}], "r.jsonl:1: no row of new.jsonl has the id 'b~1'"),
        ([{"id": "a~1", "accept": True}] * 2, "r.jsonl:2: 'a~1' is decided twice"),
        ([{"id": "a~1", "accept": "maybe"}], "r.jsonl:1: `accept` is the text 'maybe'"),
        ([{"id": "a~1"}], "has `id` and `accept`"),
        ([{"id": "a~1", "accept": True, "new": "edited"}], "the text of 'a~1' is not that"),
        ([{"id": "a~1", "accept": None}], "no row is accepted"),
    ],
)
def test_faults_of_a_review_are_named_by_line(
    world: Path, review: list[dict[str, Any]], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(world / "new.jsonl", [{"id": "a~1", "prompt": "p", "answer": "b"}])
    write_jsonl(world / "r.jsonl", review)
    apply = ["augment", "--apply", "r.jsonl", "--rows", "new.jsonl", "--to", "good.jsonl"]
    assert main(apply) == 2
    assert says in capsys.readouterr().err and not (world / "good.jsonl").exists()


def test_what_cannot_be_used_is_dropped_with_its_reason(world: Path) -> None:
    prepared = prepare(load_spec(world / "sweep.yaml"), None)
    items = [r.prompt for r in prepared.suites["gain"].validation.rows]
    answers = {
        0: lambda t: t,
        1: lambda t: t.replace("Parcel", "Package").replace("desk", "counter"),
        2: lambda t: "The parcel has not come; desk " + t[-1],
        3: lambda _: "",
        4: lambda t: reworded(t) * 9,
        5: lambda t: f'"{reworded(t)}"',
    }
    told: dict[str, int] = {}

    def says(text: str) -> str:
        return answers[told.setdefault(text, len(told) % 6)](text)

    with serving(says=says) as server:
        endpoint(world, server.url, concurrency=1)
        assert main([*PARAPHRASE, "--limit", "12", "--to", "new.jsonl"]) == 0
    dropped = lines(world / "new.dropped.jsonl")
    reasons = [d["reason"] for d in dropped]
    assert reasons[:5] == [
        "same: it is the original",
        f"lost: '{dropped[1]['original'][-6:]}'",
        reasons[2],
        "empty",
        reasons[4],
    ]
    assert reasons[2].startswith("lost: the number") and reasons[4].startswith("length: ")
    kept = lines(world / "new.jsonl")
    assert len(kept) == 2 and all(r["prompt"].startswith("Please note: P") for r in kept)
    assert not {r["prompt"] for r in kept} & set(items)


def test_back_translation_goes_there_and_back(world: Path) -> None:
    def says(text: str) -> str:
        return text.removeprefix("DE ") + " indeed" if text.startswith("DE ") else "DE " + text

    with serving(says=says) as server:
        endpoint(world, server.url)
        command = ["augment", "sweep.yaml", "--source", "tickets", "--by", "back_translation"]
        command += ["--original", "en", "--language", "de", "--limit", "5", "--to", "new.jsonl"]
        assert main(command) == 0
    rows = lines(world / "new.jsonl")
    assert len(rows) == 5 and len(server.asked) == 10
    assert all(r["prompt"].endswith(" indeed") and r["by"] == "back_translation" for r in rows)
    instructions = {a["messages"][0]["content"].split(".")[0] for a in server.asked}
    assert instructions == {
        "Translate the user's text from English into German",
        "Translate the user's text from German into English",
    }


def test_a_command_that_failed_goes_on_where_it_was(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(*[OK] * 4, Reply(500), says=reworded) as server:
        endpoint(world, server.url, concurrency=1)
        assert main([*PARAPHRASE, "--to", "new.jsonl"]) == 1
        assert "Run again to go on" in capsys.readouterr().err
        assert not list(world.glob("new*"))
        server.plan = [OK]
        before = len(server.asked)
        assert main([*PARAPHRASE, "--to", "new.jsonl"]) == 0
    rows = lines(world / "new.jsonl")
    assert len(server.asked) - before == len(rows) - 4
    assert "(4 were known)" in capsys.readouterr().out


def test_a_dry_run_sends_and_writes_nothing(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 2.0}
    with serving() as server:
        endpoint(world, server.url, **prices, api_key_env="TEAM_NOT_SET")
        before = sorted(world.rglob("*"))
        assert main([*PARAPHRASE, "--copies", "2", "--dry-run", "--json"]) == 0
        assert sorted(world.rglob("*")) == before and not server.asked
    found = json.loads(capsys.readouterr().out)
    rows = len(prepare(load_spec(world / "sweep.yaml"), None).sources["tickets"].train.rows)
    assert found["requests"] == 2 * rows and found["known"] == 0
    # A question has about 480 bytes with its instruction, an answer about 55.
    assert 100 < found["input_tokens"] / found["requests"] < 200
    assert 10 < found["output_tokens"] / found["requests"] < 30
    usd = (found["input_tokens"] + 2 * found["output_tokens"]) / 1e6
    assert found["usd"] == pytest.approx(usd)


def test_without_an_endpoint_nothing_is_written(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(world.rglob("*"))
    assert main([*PARAPHRASE, "--to", "new.jsonl"]) == 2
    assert "the spec names no endpoint. Add e.g. `endpoints:" in capsys.readouterr().err
    assert sorted(world.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["augment", "sweep.yaml"], "missing: --source, --by, --to"),
        ([*PARAPHRASE, "--to", "tickets.jsonl"], "tickets.jsonl: the file is there already"),
        ([*PARAPHRASE, "--to", "no/new.jsonl"], "no such folder"),
        ([*PARAPHRASE, "--to", "n.jsonl", "--endpoint", "x"], "no endpoint 'x'"),
        ([*PARAPHRASE, "--to", "n.jsonl", "--language", "de"], "are of --by back_translation"),
        (
            [*PARAPHRASE[:-1], "back_translation", "--to", "n.jsonl", "--language", "de"],
            "--original: a language is needed",
        ),
        (
            ["augment", "sweep.yaml", "--source", "no", *PARAPHRASE[4:], "--to", "n"],
            "no source 'no'",
        ),
        (
            ["augment", "sweep.yaml", "--source", "general", *PARAPHRASE[4:], "--to", "n"],
            "is replay",
        ),
        (["augment", "--apply", "r.jsonl", "--to", "n"], "Name them with --rows"),
    ],
)
def test_faults_of_the_command_are_named(
    world: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint(world, "http://127.0.0.1:9/v1")
    before = sorted(world.rglob("*"))
    assert main(words) == 2
    assert says in capsys.readouterr().err
    assert sorted(world.rglob("*")) == before


def test_a_refusal_of_every_request_is_an_error(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Reply(400, body=b'{"error": {"message": "no such model"}}')) as server:
        endpoint(world, server.url)
        assert main([*PARAPHRASE, "--to", "new.jsonl"]) == 2
    assert "takes no request: status 400: no such model" in capsys.readouterr().err
    assert not list(world.glob("new*"))


def test_the_endpoint_is_no_part_of_the_sweeps_id(world: Path) -> None:
    before = prepare(load_spec(world / "sweep.yaml"), None).sweep_id
    endpoint(world, "http://127.0.0.1:9/v1")
    assert prepare(load_spec(world / "sweep.yaml"), None).sweep_id == before


def test_the_cache_lies_beside_the_spec_without_any_row(world: Path) -> None:
    with serving(says=lambda text: f"{text[-6:]} is to be asked") as server:
        endpoint(world, server.url)
        main([*PARAPHRASE, "--limit", "3", "--to", "new.jsonl"])
    with sqlite3.connect(world / "endpoint-cache.sqlite") as file:
        (texts,) = zip(*file.execute("SELECT text FROM answers"), strict=True)
    assert len(texts) == 3
    assert b"Mill Street" not in (world / "endpoint-cache.sqlite").read_bytes()
