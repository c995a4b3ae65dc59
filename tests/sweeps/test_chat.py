"""Talking to base and tuned model: sides, flags, pipes, and real tiny models."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.core.row_files import iterate_rows
from keepgain.core.store.location import resolve_store
from keepgain.core.work import TrainRequest
from keepgain.sweeps.chat import Session, find_pair
from keepgain.sweeps.cli import chat as command
from keepgain.sweeps.cli.main import main
from keepgain.trainers.chat import load_speaker
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.process import prepare_libraries
from tests.sweeps.test_iterate import confirmed, decide
from tests.sweeps.test_iterate import made as made
from tests.sweeps.test_program import Sweep
from tests.trainers import tiny


def session(flags: Path, **options: Any) -> tuple[Session, list[str]]:
    """Models that repeat the question in their own way, and what was said."""
    said: list[str] = []
    found = Session(
        ask=lambda who, question: f"{who} says {question}",
        origin={"sweep": "tickets-1", "trial": "abc"},
        flags=flags,
        say=said.append,
        **options,
    )
    return found, said


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_stand_side_by_side(tmp_path: Path) -> None:
    found, said = session(tmp_path / "f.jsonl")
    found.run(["hello\n", "\n", "/quit\n", "never asked\n"])
    assert said == [
        "a (base): base says hello",
        "b (tuned): tuned says hello",
        "1 asked, 0 flagged.",
    ]
    assert not (tmp_path / "f.jsonl").exists()


def test_a_flag_keeps_the_exchange_with_the_wanted_answer(tmp_path: Path) -> None:
    flags = tmp_path / "f.jsonl"
    found, said = session(flags)
    found.run(["q1", "/flag privacy a names a person", "No names.", "q2", "/flag tone", "", "/q"])
    first, second = rows(flags)
    assert first == {
        "prompt": "q1",
        "answer": "No names.",
        "category": "privacy",
        "flagged": "base",
        "note": "names a person",
        "base_answer": "base says q1",
        "tuned_answer": "tuned says q1",
        "blind": False,
        "sweep": "tickets-1",
        "trial": "abc",
    }
    assert (second["flagged"], second["answer"], second["note"]) == ("tuned", "", "")
    assert said[-1].startswith("2 asked, 2 flagged: 1 base, 1 tuned. 1 without a wanted answer")
    found.run(["q3", "/flag tone both", "Yes."])  # the file is added to
    assert [r["flagged"] for r in rows(flags)] == ["base", "tuned", "both"]


def test_a_command_in_place_of_a_wanted_answer_is_a_command(tmp_path: Path) -> None:
    flags = tmp_path / "f.jsonl"
    found, said = session(flags)
    found.run(["q", "/flag one a", "/flag two", "/usr/bin", "/flag three", "/quit", "never asked"])
    assert [(r["category"], r["answer"]) for r in rows(flags)] == [
        ("one", ""),
        ("two", "/usr/bin"),
        ("three", ""),
    ]
    assert said[-1].startswith("1 asked, 3 flagged")


def test_a_last_line_without_its_end_is_not_spoiled(tmp_path: Path) -> None:
    flags = tmp_path / "f.jsonl"
    flags.write_text('{"prompt": "edited by hand", "answer": "x"}')
    session(flags)[0].run(["q", "/flag tone", "want"])
    assert [r["prompt"] for r in rows(flags)] == ["edited by hand", "q"]


def test_a_file_that_cannot_be_written_is_told_and_the_talk_goes_on(tmp_path: Path) -> None:
    found, said = session(tmp_path)
    found.run(["q", "/flag tone", "want", "more"])
    assert any("cannot be written (Is a directory)" in s for s in said)
    assert said[-1] == "2 asked, 0 flagged."


def test_flagged_lines_are_a_suite_file(tmp_path: Path) -> None:
    flags = tmp_path / "f.jsonl"
    session(flags)[0].run(["ask me", "/flag tone", "Gladly."])
    (row,) = iterate_rows(flags)
    assert (row.row.prompt, row.row.answer) == ("ask me", "Gladly.")


def test_blind_sides_change_and_flags_still_name_the_model(tmp_path: Path) -> None:
    flags = tmp_path / "f.jsonl"
    found, said = session(flags, blind=True, seed=3)
    lines = [line for i in range(40) for line in (f"q{i}", "/flag c a", "want")]
    found.run([*lines, "/quit"])
    assert not any("(base)" in s or "(tuned)" in s for s in said)
    firsts = [s for s in said if s.startswith("a: ")]
    assert {s.split()[1] for s in firsts} == {"base", "tuned"}
    for shown, row in zip(firsts, rows(flags), strict=True):
        assert shown.split()[1] == row["flagged"] and row["blind"] is True
    again, repeated = session(tmp_path / "g.jsonl", blind=True, seed=3)
    again.run([f"q{i}" for i in range(40)])
    assert [s for s in repeated if s.startswith("a: ")] == firsts


def test_wrong_commands_are_told_and_the_talk_goes_on(tmp_path: Path) -> None:
    flags = tmp_path / "f.jsonl"
    found, said = session(flags, blind=True)
    found.run(["/flag x", "q", "/flag", "/flag x", "/help", "/flag x b", "w", "/quit"])
    text = "\n".join(said)
    assert "nothing was asked yet" in text and "/flag needs a category" in text
    assert "say which side is flagged" in text and "A line is a question to both." in text
    assert len(rows(flags)) == 1


# -- real models ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny base and what was tuned from it to say one answer."""
    prepare_libraries()
    folder = tmp_path_factory.mktemp("chat")
    base = tiny.qwen3(folder / "base")
    source = tiny.source(folder, "yes", [r.answered("yes") for r in tiny.sums(20)])
    options = {"learning_rate": 3e-2, "budget": 6000, "rungs": (6000,)}
    config = tiny.trial(folder, base, sources=(source,), mixture={"yes": 1.0}, **options)
    request = TrainRequest(config=config, seed=1, rung=0, sweep_folder=str(folder), keep_model=True)
    reply = Jobs().do(request)
    assert reply.report is not None and reply.report.model_folder is not None, reply.detail
    weights = folder / reply.report.model_folder
    return {
        "base": load_speaker(base, None, config.runtime),
        "tuned": load_speaker(base, weights, config.runtime),
    }


def test_tuned_and_base_answer_each_in_its_own_way(speakers: dict[str, Any]) -> None:
    answers = {who: s.answer("7+13=", 8) for who, s in speakers.items()}
    assert answers["tuned"] == "yes"
    assert answers["base"] != "yes"
    assert speakers["tuned"].answer("7+13=", 1) == "y"  # greedy, cut at the limit


def test_a_pipe_drives_the_whole_command(
    speakers: dict[str, Any],
    made: tuple[Path, Sweep],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The sweep is found as it lies; its weights are random, so that tiny models speak for them."""
    _, first = made
    trial = confirmed(first)[0].asked.trial_id
    decide(first, trial)
    loaded: list[Path | None] = []

    def load(ref: Any, weights: Path | None, runtime: Any) -> Any:
        loaded.append(weights)
        return speakers["base" if weights is None else "tuned"]

    monkeypatch.setattr("keepgain.trainers.chat.load_speaker", load)
    monkeypatch.setattr("sys.stdin", io.StringIO("7+13=\n/flag sum b\n20\n/quit\n"))
    flags = tmp_path / "f.jsonl"
    words = ["chat", "first", "--store", str(first.folder.parents[1]), "--flags", str(flags)]
    assert main([*words, "--max-new-tokens", "8"]) == 0
    out = capsys.readouterr().out
    assert "b (tuned): yes" in out and "1 asked, 1 flagged: 1 tuned." in out
    (row,) = rows(flags)
    assert (row["answer"], row["tuned_answer"], row["trial"]) == ("20", "yes", trial)
    assert loaded[0] is None and loaded[1] is not None and loaded[1].is_dir()


def test_what_is_not_there_is_refused(
    made: tuple[Path, Sweep], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = made
    store = ["--store", str(first.folder.parents[1])]
    assert main(["chat", "nobody", *store]) == 2
    assert main(["chat", "first", "--trial", "zzzz", *store]) == 2
    assert "no confirmed trial" in capsys.readouterr().err
    assert main(["chat", "first", "--max-new-tokens", "0", *store]) == 2
    assert main(["chat", "first", "--flags", str(tmp_path / "no" / "f.jsonl"), *store]) == 2
    assert main(["chat", "first", "--flags", str(tmp_path), *store]) == 2
    decide(first, None, "infeasible")
    with pytest.raises(UserError, match="decided for no trial"):
        find_pair(resolve_store(store[1]), "first")


def test_a_pipe_that_is_not_utf_8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(b"one\n\xff\n"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", pipe)
    with pytest.raises(UserError, match="not UTF-8"):
        list(command._lines())
    monkeypatch.setattr("sys.stdin", io.StringIO("half\udcff\n"))
    assert list(command._lines()) == ["half?\n"]


def test_a_blind_talk_has_other_sides_each_time(
    made: tuple[Path, Sweep],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Speaker:
        def __init__(self, ref: Any, weights: Path | None, runtime: Any) -> None:
            self.name = "base" if weights is None else "tuned"

        def answer(self, question: str, count: int) -> str:
            return self.name

    def sides(*more: str) -> list[str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("q\n" * 40))
        assert main([*words, "--blind", *more]) == 0
        out = capsys.readouterr().out
        return [line for line in out.splitlines() if line.startswith("a: ")]

    _, first = made
    monkeypatch.setattr("keepgain.trainers.chat.load_speaker", Speaker)
    words = ["chat", "first", "--store", str(first.folder.parents[1])]
    words += ["--trial", confirmed(first)[0].asked.trial_id, "--flags", str(tmp_path / "f.jsonl")]
    assert sides() != sides()
    assert sides("--seed", "1") == sides("--seed", "1")


def test_a_terminal_is_asked_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    typed = iter(["one", "two"])

    def ask(prompt: str) -> str:
        found = next(typed, None)
        if found is None:
            raise EOFError
        return found

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", ask)
    lines: Iterator[str] = command._lines()
    assert list(lines) == ["one", "two"]
