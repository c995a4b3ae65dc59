"""`answers: base` from the spec to the jobs: prompts alone, counted at most, refused elsewhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import BaseAnswers
from keepgain.core.errors import UserError
from keepgain.core.rows import read_rows
from keepgain.sweeps.check import check, check_sweep
from keepgain.sweeps.cli.check import render
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.show import shown_rows
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.stages.base import base_jobs
from tests.sweeps.tiny_models import TEMPLATE, make_model, make_world, write_jsonl

GIVEN = "general: {path: general.jsonl, role: replay}"
BASE = "general: {path: prompts.jsonl, role: replay, answers: base, max_new_tokens: 10}"
PARAMS = {
    "method": "full", "learning_rate": 1e-4, "mixture.tickets": 0.5, "mixture.general": 0.5,
}  # fmt: skip
PROMPTS = [{"prompt": f"tell me about {i}"} for i in range(50)]


def world(
    folder: Path, source: str = BASE, rows: list[dict[str, Any]] | None = None, **changes: str
) -> Path:
    path = make_world(folder)
    write_jsonl(folder / "prompts.jsonl", rows or PROMPTS)
    text = path.read_text()
    for old, new in {GIVEN: source, **changes}.items():
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("base-answers")
    return prepare(load_spec(world(folder)), folder / "sweep")


def test_trials_and_bases_know_that_the_base_answers(prepared: Prepared) -> None:
    trial = prepared.trial_config("m0", PARAMS)
    general = next(s for s in trial.sources if s.name == "general")
    assert general.answers == BaseAnswers(max_new_tokens=10)
    assert {r.answer for r in read_rows(Path(general.path))} == {""}
    jobs = base_jobs(prepared, Path("somewhere"))
    asked = {j.label: j.request.config.replay for j in jobs}  # type: ignore[union-attr]
    assert asked["m0 base"] is not None and asked["m1 base"] == asked["m0 base"]
    assert [label for label, replay in asked.items() if replay] == ["m0 base", "m1 base"]
    assert asked["m0 base"].sources == (general,)
    splits = [(s.name, s.split) for s in asked["m0 base"].against]
    assert splits == [("forgetting", "validation"), ("forgetting", "test")]
    assert all(Path(s.path).is_file() for s in asked["m0 base"].against)
    assert prepared.base_config("m0", split="test").replay is None


def test_where_a_sweep_starts_from_a_tuned_model_that_one_answers(prepared: Prepared) -> None:
    start, original = prepared.models
    second = replace(prepared, models=(replace(start, reference=original.ref),))
    jobs = base_jobs(second, Path("somewhere"))
    asked = [(j.request.config.model, j.request.config.replay is not None) for j in jobs[:2]]  # type: ignore[union-attr]
    assert asked == [(original.ref, False), (start.ref, True)]


def test_prompts_are_one_source_with_or_without_answers_of_their_own(tmp_path: Path) -> None:
    def trial(name: str, rows: list[dict[str, Any]], source: str = BASE) -> str:
        path = world(tmp_path / name, source, rows)
        return prepare(load_spec(path), None).trial_config("m0", PARAMS).trial_id

    alone = trial("alone", PROMPTS)
    assert alone == trial("answered", [{**p, "answer": "no"} for p in PROMPTS])
    assert alone != trial("given", [{**p, "answer": "no"} for p in PROMPTS],
                          GIVEN.replace("general.jsonl", "prompts.jsonl"))  # fmt: skip
    assert alone != trial("longer", PROMPTS, BASE.replace("10", "11"))
    assert alone != trial("drawn", PROMPTS, BASE.replace("10", "10, temperature: 0.7"))


def test_chats_may_end_with_the_user_or_with_an_answer(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": f"about {i}"} for i in range(4)]
    last = {"role": "assistant", "content": "old"}
    rows = [{"messages": [t, last] if i % 2 else [t]} for i, t in enumerate(turns)]
    found = prepare(load_spec(world(tmp_path, rows=rows)), None)
    chats = list(found.sources["general"].train.rows)
    empty = {"role": "assistant", "content": ""}
    assert [r.messages for r in chats] == [(t, empty) for t in turns]
    assert [r.question() for r in chats] == [f"user: about {i}" for i in range(4)]


def test_tokens_are_counted_as_at_most_and_said_to_be(prepared: Prepared) -> None:
    stats = prepared.token_stats["m0", "general/train"]
    prompt = len("tell me about 10")
    assert stats.longest == prompt + 1 + 10  # with the end, and 10 that the base may write
    assert stats.tokens == sum(len(p["prompt"]) + 1 + 10 for p in PROMPTS)
    text = render(prepared, check_sweep(prepared))
    assert "at most 1.34k tokens: the base writes up to 10 each" in text
    assert "is drawn at least" in text  # answers may be shorter, rows drawn more often


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_shown_are_the_prompts_alone(
    prepared: Prepared, tmp_path: Path, template: str | None
) -> None:
    model = prepared.models[0]
    if template is not None:
        path = str(make_model(tmp_path / "m", template=template))
        model = replace(model, ref=model.ref.model_copy(update={"path": path}))
    row, _ = shown_rows(prepared.sources["general"], model, 64, "last_turn", 2)
    asked = "tell me about 0"
    expected = asked if template is None else f"<user>{asked}</s><assistant>"
    assert "".join(text for text, _ in row.parts) == expected
    assert row.answered_by_base and not any(row.loss) and len(row.ids) == len(row.tokens)
    text = render(prepared, check_sweep(prepared), {"general": [row]}, "m0")
    assert "the first prompts as m0 answers them" in text
    assert f"a prompt of {len(row.ids)} tokens, answered by the base" in text


def test_prompts_that_a_general_suite_asks_are_found_before_any_answer(tmp_path: Path) -> None:
    path = world(tmp_path)
    write_jsonl(
        tmp_path / "general_eval.jsonl",
        [{"prompt": f"tell me about {i}", "answer": "x"} for i in range(45, 345)],
    )
    found = [f for f in check(prepare(load_spec(path), None)) if f.code == "replay_overlap"]
    assert found and {f.severity for f in found} == {"error"}


def test_answers_longer_than_a_model_can_write_are_refused(tmp_path: Path) -> None:
    path = world(tmp_path, BASE.replace("10", "64"))
    make_model(tmp_path / "short", max_position_embeddings=64)
    path.write_text(path.read_text().replace("models: [m0", "models: [short, m0"))
    found = [f for f in check(prepare(load_spec(path), None)) if f.code == "no_room_for_prompts"]
    assert [(f.severity, f.where) for f in found] == [("error", "short")]
    assert "general" in found[0].message and "64 positions" in found[0].message


@pytest.mark.parametrize(
    ("source", "key", "words"),
    [
        (BASE.replace("role: replay", "role: task"), "data.general.answers", "role: replay"),
        (BASE.replace("answers: base, ", ""), "data.general.max_new_tokens", "`answers: base`"),
        (BASE.replace("10", "0"), "data.general.max_new_tokens", "equal to 1"),
        (BASE.replace("10", "1, temperature: -1"), "data.general.temperature", "equal to 0"),
        (BASE.replace("base", "own"), "data.general.answers", "'base'"),
    ],
)
def test_what_cannot_be_answered_by_the_base_is_refused_by_field(
    tmp_path: Path, source: str, key: str, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_spec(world(tmp_path, source))
    assert f":{key}" in str(caught.value.where) and words in str(caught.value)


def test_a_suite_from_such_a_source_has_nothing_to_score_by(tmp_path: Path) -> None:
    change = {"{path: general_eval.jsonl, scorer: bits_per_byte}": "{from: general, scorer: bleu}"}
    with pytest.raises(UserError, match="no answers to score by"):
        load_spec(world(tmp_path, **change))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "a fact"}, "asks nothing that the base could answer"),
        ({"messages": [{"role": "system", "content": "x"}]}, "last turn of 'messages' is system"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "is assistant"),
        ({"answer": "alone"}, "no format fits"),
    ],
)
def test_rows_without_a_prompt_are_refused_with_their_line(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        prepare(load_spec(world(tmp_path, rows=[row])), None)
    assert str(caught.value.where).endswith("prompts.jsonl:1")
