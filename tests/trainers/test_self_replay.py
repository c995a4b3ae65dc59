"""Replay that the base writes itself: the answers that scoring would get, once for each base."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from keepgain.core.config import BaseAnswers, ModelRef, Runtime, ScoreConfig, SelfReplay, SourceRef
from keepgain.core.errors import UserError
from keepgain.core.identity import file_digest, folder_digest
from keepgain.core.rows import Row, read_rows
from keepgain.core.work import ScoreRequest, TrainRequest
from keepgain.trainers.data import DataCache
from keepgain.trainers.encode import encode_rows
from keepgain.trainers.generate import generate
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.models import Base, BaseCache, numerics_of
from keepgain.trainers.overlap import containing
from keepgain.trainers.reference import Prompting
from keepgain.trainers.self_replay import ANSWERS, answer_all, answered, with_answers
from keepgain.trainers.suites import prepare_suite
from tests.trainers import tiny

RUNTIME = Runtime(scoring_batch_size=4)
PAIRS = [Row(f"p{i}", "pair", prompt=f"say {'abcdefgh'[: i % 8 + 1]} {i}:") for i in range(37)]
CHATS = [
    Row(f"c{n}", "chat", messages=(
        {"role": "system", "content": f"you are {n}"}, {"role": "user", "content": "one?"},
        {"role": "assistant", "content": "two"}, {"role": "user", "content": f"and {n}?"},
        {"role": "assistant", "content": ""},
    )[0 if n % 2 else 3 :])
    for n in range(8)
]  # fmt: skip


def prompts(folder: Path, rows: list[Row], **settings: Any) -> SourceRef:
    ref = tiny.source(folder, "replay", rows, "replay")
    return ref.model_copy(update={"answers": BaseAnswers(**{"max_new_tokens": 6} | settings)})


def base_of(ref: ModelRef) -> Base:
    n = numerics_of(RUNTIME)
    return BaseCache().load(ref, n.dtype, n.device, n.attention)


def rows_of(source: SourceRef, model: ModelRef) -> list[Row]:
    found = answered(source, model, RUNTIME, lambda: base_of(model))
    assert found.ref.answers is None
    assert file_digest(Path(found.ref.path)) == found.ref.digest
    rows = list(read_rows(Path(found.ref.path)))
    assert len(rows) == found.ref.rows == source.rows - found.empty
    return rows


def loose(folder: Path, seed: int = 0, **options: Any) -> ModelRef:
    """A random base that does not merely repeat what it read last."""
    return tiny.model_folder(
        folder, tie_word_embeddings=False, initializer_range=0.5, seed=seed, **options
    )


def flat(folder: Path) -> ModelRef:
    """A base to which every token is equally likely."""
    ref = tiny.model_folder(folder, tie_word_embeddings=False)
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.weight"] = torch.zeros_like(weights["lm_head.weight"])
    save_file(weights, path, {"format": "pt"})
    digest = folder_digest(folder, ("*.json", "*.safetensors"))
    return ref.model_copy(update={"digest": digest})


@pytest.mark.parametrize("template", [None, tiny.PLAIN_TEMPLATE, tiny.MARKED_TEMPLATE])
def test_answers_are_those_that_scoring_gets(tmp_path: Path, template: str | None) -> None:
    model = loose(tmp_path / "model", template=template)
    base = base_of(model)
    asked = [*PAIRS, *CHATS]
    rows = rows_of(prompts(tmp_path, asked, max_new_tokens=4), model)
    suite = tiny.suite(tmp_path, "s", [r.answered("x") for r in asked], "exact_match",
                       max_new_tokens=4)  # fmt: skip
    items = prepare_suite(base.codec, suite, [r.answered("x") for r in asked], Prompting(), None)
    made = generate(base.model, base.codec, items.prompts, 4, 64)
    texts = {r.id: base.codec.text(a) for r, a in zip(asked, made.answers, strict=True)}
    assert {r.id: r.answer.strip() for r in rows} == {
        i: t.strip() for i, t in texts.items() if t.strip()
    }
    assert len({r.answer for r in rows}) > 3
    # What is trained on is the prompt and the answer as the base wrote them.
    given = dict(zip([r.id for r in asked], zip(items.prompts, made.answers, strict=True),
                     strict=True))  # fmt: skip
    plain = [r for r in rows if min(given[r.id][1]) >= len(tiny.SPECIAL)]
    assert {r.kind for r in plain} == {"pair", "chat"}
    for row, trained in zip(plain, encode_rows(base.codec, plain, 256), strict=True):
        prompt, answer = given[row.id]
        if row.kind == "chat" and not base.codec.has_template:
            answer = base.codec.ids(f" {base.codec.text(answer).removeprefix(' ')}")
        assert trained.ids.tolist() == [*prompt, *answer, base.codec.end_id]


def test_an_answer_that_training_could_not_locate_is_left_out(tmp_path: Path) -> None:
    # As templates of reasoning models do, it writes other things around some answers.
    marks = "{{ '?' if message['role'] == 'assistant' and 'a' in message['content'] }}"
    head = "{{ message['role'] }}"
    template = tiny.PLAIN_TEMPLATE.replace(head, head + marks)
    model = loose(tmp_path / "model", template=template)
    source = prompts(tmp_path, PAIRS)
    found = answered(source, model, RUNTIME, lambda: base_of(model))
    rows = list(read_rows(Path(found.ref.path)))
    assert len(rows) == found.ref.rows == len(PAIRS) - found.empty - found.unplaced
    assert rows and found.unplaced and not any("a" in row.answer for row in rows)
    encode_rows(base_of(model).codec, rows, 256)
    asked = SelfReplay(sources=(source,), against=())
    told = answer_all(asked, model, RUNTIME, base_of(model))
    assert any(f"{found.unplaced} of 37 answers" in t and "template" in t for t in told)
    # Where it does so to every answer, it says what to do about it.
    always = tiny.PLAIN_TEMPLATE.replace(head, head + marks.replace("'a' in", "'x' !="))
    other = loose(tmp_path / "always", template=always).model_copy(update={"digest": "always"})
    with pytest.raises(UserError, match="cannot be located"):
        answered(source, other, RUNTIME, lambda: base_of(other))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A base that answers while it is scored, and then a trial of it; and another base's trial."""
    folder = tmp_path_factory.mktemp("sweep")
    models = [loose(folder / f"m{i}", seed=i) for i in range(2)]
    general = tiny.suite(folder, "general", tiny.sums(5), "exact_match", measures="forgetting")
    source = prompts(folder, PAIRS)
    probe = rows_of(prompts(folder / "probe", PAIRS), models[0]) if mkdir(folder / "probe") else []
    # Two items that stand in the rows as the base will answer them, and one that does not.
    copied = [Row(f"copy{i}", "pair", prompt=r.prompt.upper(), answer=f"{r.answer}.")
              for i, r in enumerate(probe[:2])]  # fmt: skip
    held = tiny.suite(folder, "held", [*copied, *tiny.sums(1)], "exact_match",
                      measures="forgetting", split="test")  # fmt: skip
    options: dict[str, Any] = {
        "sources": (tiny.source(folder, "task", tiny.sums(60)), source),
        "suites": (general,),
        "budget": 400,
        "rungs": (400,),
        "runtime": RUNTIME,
    }
    trials = [tiny.trial(folder, m, **options) for m in models]
    replay = SelfReplay(sources=(source,), against=(general, held))
    scored = ScoreConfig(model=models[0], suites=(general,), replay=replay, runtime=RUNTIME)
    jobs = Jobs()
    logger = logging.getLogger("keepgain")
    level = logger.level
    logger.setLevel(logging.INFO)  # as in a worker's process
    base = jobs.do(ScoreRequest(config=scored, report_as="base", sweep_folder=str(folder)))
    written = {p: p.stat().st_mtime_ns for p in (folder / ANSWERS).rglob("rows.jsonl")}
    replies = [
        jobs.do(TrainRequest(config=t, seed=0, rung=0, sweep_folder=str(folder))) for t in trials
    ]
    logger.setLevel(level)
    yield {
        "folder": folder, "models": models, "source": source, "trials": trials, "base": base,
        "written": written, "replies": replies, "probe": probe, "scored": scored,
    }  # fmt: skip


def mkdir(folder: Path) -> bool:
    folder.mkdir()
    return True


def test_the_scoring_of_the_base_writes_what_its_trials_train_on(trained: Any) -> None:
    assert trained["base"].report is not None, trained["base"].detail
    assert len(trained["written"]) == 1
    (path,) = trained["written"]
    assert list(read_rows(path)) == trained["probe"]
    first, second = trained["replies"]
    assert first.report is not None, first.detail
    assert second.report is not None, second.detail
    assert first.report.drawn["replay"]["tokens"] > 0
    assert path.stat().st_mtime_ns == trained["written"][path], "the trial writes nothing"
    log = trained["folder"] / "runs" / "base" / "worker.log"
    assert "37 of 37 prompts answered" in log.read_text()
    assert "answered" not in (log.parents[1] / first.report.run_key / "worker.log").read_text()


def test_each_base_answers_for_itself(trained: Any) -> None:
    files = list((trained["folder"] / ANSWERS).rglob("rows.jsonl"))
    assert len(files) == 2
    a, b = ([r.answer for r in read_rows(p)] for p in files)
    assert a != b
    codec = base_of(trained["models"][0]).codec
    read = [DataCache().sources(with_answers(t, BaseCache()), codec)["replay"]
            for t in trained["trials"]]  # fmt: skip
    ids = [[r.ids.tolist() for r in rows] for rows in read]
    assert ids[0] != ids[1]
    assert ids[0] == [r.ids.tolist() for r in encode_rows(codec, trained["probe"], 64)]


def test_cut_answers_and_items_in_the_rows_are_reported_with_their_suite(trained: Any) -> None:
    *counted, held = trained["base"].report.warnings
    left = len(trained["probe"])
    assert f"2 of {left} rows, as the base answered them, contain test items of 'held'" in held
    assert f"(first row: {trained['probe'][0].id})" in held
    expected = (
        [f"data.replay: {37 - left} of 37 answers of the base are empty"] if left < 37 else []
    )
    assert [w.partition(";")[0] for w in counted[:-1]] == expected
    number = int(counted[-1].split()[1])
    assert left - 5 < number <= 37 and "cut at max_new_tokens 6" in counted[-1]


def test_ids_know_the_answers_where_the_base_writes_them_and_only_there(trained: Any) -> None:
    trial, source = trained["trials"][0], trained["source"]
    fields = {**source.model_dump(), "answers": None}

    def with_source(**change: Any) -> str:
        other = SourceRef.model_validate(fields | change)
        return trial.model_copy(update={"sources": (trial.sources[0], other)}).trial_id

    given = with_source()
    plain = trial.model_dump()
    del plain["sources"][1]["answers"]
    assert type(trial).model_validate(plain).trial_id == given
    ids = [given, trial.trial_id, with_source(answers=BaseAnswers(max_new_tokens=7)),
           with_source(answers=BaseAnswers(max_new_tokens=6, temperature=0.5))]  # fmt: skip
    assert len(set(ids)) == 4
    scored = trained["scored"]
    assert scored.model_copy(update={"replay": None}).trial_id != scored.trial_id


@pytest.mark.parametrize("harm", ["cut", "unfinished"])
def test_a_half_written_file_is_made_anew_with_the_same_rows(
    tmp_path: Path, llama: ModelRef, harm: str
) -> None:
    source = prompts(tmp_path, PAIRS)
    before = rows_of(source, llama)
    (path,) = (tmp_path / ANSWERS).rglob("rows.jsonl")
    if harm == "cut":
        os.truncate(path, 100)
    else:  # as a writer that was killed leaves it
        path.parent.rename(path.parents[1] / "tmp.dead")
    assert rows_of(source, llama) == before
    assert sorted(p.name for p in path.parents[1].iterdir()) == ["lock", "rows"]


def test_drawn_answers_follow_from_both_digests_and_empty_ones_are_dropped(tmp_path: Path) -> None:
    model = flat(tmp_path / "flat")
    source = prompts(tmp_path, PAIRS * 2, temperature=1.0, max_new_tokens=1)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found = answered(source, model, RUNTIME, lambda: base_of(model))
    assert torch.equal(torch.get_rng_state(), state)
    rows = list(read_rows(Path(found.ref.path)))
    # Of 50 tokens the unknown one, the end and two blanks leave nothing: 6 of 74 rows expected.
    assert 1 <= found.empty == 74 - len(rows) <= 16
    assert all(len(r.answer.strip()) == 1 or r.answer in tiny.SPECIAL for r in rows)
    assert len({r.answer for r in rows}) > 20
    assert len(rows) <= found.cut_off <= 74, "one token is an end, or it is cut"
    torch.manual_seed(4)
    assert rows_of(source, model) == rows
    (path,) = (tmp_path / ANSWERS).rglob("rows.jsonl")
    path.unlink()
    assert rows_of(source, model) == rows, "whatever the process drew before"


def test_a_base_that_answers_nothing_is_refused(tmp_path: Path) -> None:
    model = flat(tmp_path / "flat")  # the first of equally likely tokens is the unknown one
    with pytest.raises(UserError, match="left the answers to all 37 prompts of 'replay' empty"):
        rows_of(prompts(tmp_path, PAIRS), model)
    assert not list((tmp_path / ANSWERS).rglob("rows.jsonl"))


def item(prompt: str, answer: str) -> Row:
    return Row("i", "pair", prompt=prompt, answer=answer)


LONG = " ".join(f"w{i}" for i in range(20))


@pytest.mark.parametrize(
    ("row", "of", "found"),
    [
        (("What is the capital of France?", "It is Paris, of course."),
         ("the capital of France?", "It is PARIS"), True),
        (("What is the capital of France?", "It is Lyon."),
         ("the capital of France?", "It is Paris"), False),
        (("a b", "yes"), ("b", "yes"), False),  # two words are everywhere
        (("so " + LONG, "z"), (LONG + " more", "y"), True),
        ((" ".join(f"w{i}" for i in range(12)), "z"), (LONG, "y"), False),
        ((" ".join(f"w{i}" for i in range(5, 18)), "z"), (LONG, "y"), True),
    ],
)  # fmt: skip
def test_a_row_contains_an_item_by_thirteen_words_or_by_all_of_fewer(
    row: tuple[str, str], of: tuple[str, str], found: bool
) -> None:
    given = Row("r", "pair", prompt=row[0], answer=row[1])
    assert containing([given], [item(*of)]) == (["r"] if found else [])
    turns = ({"role": "user", "content": row[0]}, {"role": "assistant", "content": row[1]})
    assert containing([Row("r", "chat", messages=turns, answer=row[1])], [item(*of)]) == (
        ["r"] if found else []
    )
