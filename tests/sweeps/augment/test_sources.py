"""Sources that are made from others: copies of training rows, files that follow their parents."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.augment import follow
from keepgain.sweeps.check import check
from keepgain.sweeps.gates import columns
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.gates.whole import whole
from tests.sweeps.tiny_models import make_world, write_jsonl

TICKETS = "  tickets: {path: tickets.jsonl, role: task, split: auto}\n"
TYPOS = "{augment: tickets, by: [typos, casing], copies: 2, role: synthetic, seed: 3}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_world(tmp_path_factory.mktemp("world"), models=1)
    rows = [
        {
            "prompt": f"Route this ticket: my parcel {i} is not here, please ask desk {i % 7}",
            "answer": f"desk {i % 7}",
            "annotator": "ann" if i % 2 else "bob",
        }
        for i in range(400)
    ]
    write_jsonl(path.parent / "tickets.jsonl", rows)
    return path


def with_sources(world: Path, **sources: str) -> Path:
    """The spec with further sources."""
    text = world.read_text()
    lines = "".join(f"  {name}: {entry}\n" for name, entry in sources.items())
    path = world.with_name("changed.yaml")
    path.write_text(text.replace(TICKETS, TICKETS + lines))
    return path


def prepared_with(world: Path, **sources: str) -> Prepared:
    return prepare(load_spec(with_sources(world, **sources)), None)


def test_copies_are_made_of_training_rows_alone_and_keep_their_answers(world: Path) -> None:
    prepared = prepared_with(world, typos=TYPOS)
    tickets, typos = prepared.sources["tickets"], prepared.sources["typos"]
    assert list(prepared.sources) == ["tickets", "typos", "general"]
    parents = {row.id: row for row in tickets.train.rows}
    assert len(typos.train.rows) == 2 * len(parents)
    assert not typos.validation.rows and not typos.test.rows
    numbers = Counter()
    parent_of = typos.train.columns["parent"]
    for row, parent in zip(typos.train.rows, parent_of, strict=True):
        of, _, number = row.id.rpartition("~")
        assert of == parent
        assert row.answer == parents[of].answer and row.prompt != parents[of].prompt
        assert row.answer.split()[-1] in row.prompt and "not" in row.prompt.split()
        numbers[number] += 1
    assert numbers == {"1": len(parents), "2": len(parents)}
    assert len({row.prompt for row in typos.train.rows}) == len(typos.train.rows)


def test_copies_name_their_parents_place_and_keep_its_fields(world: Path) -> None:
    prepared = prepared_with(world, typos=TYPOS)
    tickets, typos = prepared.sources["tickets"].train, prepared.sources["typos"].train
    places = {row.id: place for row, place in tickets.placed()}
    annotators = {r.id: a for r, a in zip(tickets.rows, tickets.columns["annotator"], strict=True)}
    kinds = Counter(typos.columns["by"])
    for row, place, a in zip(typos.rows, typos.places, typos.columns["annotator"], strict=True):
        parent = row.id.rpartition("~")[0]
        assert (place, a) == (places[parent], annotators[parent])
    assert kinds == {"typos": len(tickets.rows), "casing": len(tickets.rows)}
    assert set(typos.columns["generator"]) == {"keepgain"}


def test_one_copy_by_two_kinds_is_about_half_by_either(world: Path) -> None:
    entry = TYPOS.replace("copies: 2", "copies: 1")
    kinds = Counter(prepared_with(world, typos=entry).sources["typos"].train.columns["by"])
    assert 0.4 < kinds["typos"] / kinds.total() < 0.6


def test_copies_are_the_same_in_every_run_and_others_by_another_seed(world: Path) -> None:
    one, two = (prepared_with(world, typos=TYPOS) for _ in range(2))
    assert one.sweep_id == two.sweep_id
    assert [r.digest for r in one.source_refs] == [r.digest for r in two.source_refs]
    other = prepared_with(world, typos=TYPOS.replace("seed: 3", "seed: 4"))
    assert other.sweep_id != one.sweep_id


def test_other_sources_and_their_digests_stay_as_they_are(world: Path) -> None:
    plain, more = prepare(load_spec(world), None), prepared_with(world, typos=TYPOS)
    digests = {r.name: r.digest for r in plain.source_refs}
    assert {r.name: r.digest for r in more.source_refs if r.name != "typos"} == digests
    params = {"method": "full", "learning_rate": 1e-4, "mixture.tickets": 1.0}
    trial = [p.trial_config("m0", params).trial_id for p in (plain, more)]
    assert trial[0] == trial[1], "a trial that draws nothing of a source is the same one"


def test_templates_put_a_prompt_in_other_words(world: Path) -> None:
    entry = (
        "{augment: tickets, by: [template], role: task, copies: 3, templates: {"
        '"from": "Route this ticket: {ticket}", '
        'to: ["Who reads this? {ticket}", "{ticket}\\nWhich desk?"]}}'
    )
    prepared = prepared_with(world, frames=entry)
    parents = {r.id: r.prompt for r in prepared.sources["tickets"].train.rows}
    for row in prepared.sources["frames"].train.rows:
        ticket = parents[row.id.rpartition("~")[0]].removeprefix("Route this ticket: ")
        assert row.prompt in (f"Who reads this? {ticket}", f"{ticket}\nWhich desk?")
    # Two templates cannot give three different copies.
    (finding,) = [f for f in check(prepared) if f.code == "unchanged_copies"]
    assert finding.severity == "note" and finding.where == "data.frames"
    assert finding.of == 3 * len(parents) and finding.count is not None
    assert finding.count >= len(parents)


def test_the_answer_is_protected_and_so_are_entities_and_group_words(world: Path) -> None:
    path = with_sources(world, typos=TYPOS.replace("typos, casing", "typos").replace("2", "5"))
    rules = (
        'data_spec: {entities: {desk: "desk [0-9]"}, groups: {g: {words: {a: [parcel], b: [x]}}}}'
    )
    path.write_text(path.read_text() + rules + "\n")
    changed = Counter[str]()
    for row in prepare(load_spec(path), None).sources["typos"].train.rows:
        assert "my parcel" in row.prompt and "desk" in row.prompt
        changed.update(set("Route this ticket please here".split()) - set(row.prompt.split()))
    assert set(changed) >= {"Route", "this", "please"}


def test_of_a_chat_the_users_last_turn_is_changed(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    turns = ["Where is my order", "Which one is it", "The yellow one of course", "On its way"]
    roles = ["user", "assistant"] * 2
    rows = [
        {
            "messages": [
                {"role": r, "content": f"{t} {i}"} for r, t in zip(roles, turns, strict=True)
            ]
        }
        for i in range(200)
    ]
    write_jsonl(tmp_path / "tickets.jsonl", rows)
    prepared = prepared_with(path, typos=TYPOS)
    parents = {r.id: r for r in prepared.sources["tickets"].train.rows}
    for row in prepared.sources["typos"].train.rows:
        before, after = parents[row.id.rpartition("~")[0]].messages, row.messages
        assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True]


def follower(world: Path, rows: list[dict[str, Any]]) -> str:
    """A file of the world, as an entry of `data`."""
    write_jsonl(world.parent / "made.jsonl", rows)
    return "{path: made.jsonl, role: synthetic, follows: tickets}"


def made_from(prepared: Prepared, part: str) -> list[dict[str, Any]]:
    rows = getattr(prepared.sources["tickets"], part).rows
    return [
        {"prompt": f"{part} {i}?", "answer": r.answer, "parent": r.id} for i, r in enumerate(rows)
    ]


def test_rows_follow_their_parents_and_those_of_items_are_left_out(world: Path) -> None:
    plain = prepare(load_spec(world), None)
    rows = [*made_from(plain, "validation"), *made_from(plain, "train"), *made_from(plain, "test")]
    rows.append({"prompt": "nobody's", "answer": "desk 1", "parent": "unheard"})
    rows.append({"prompt": "nobody's too", "answer": "desk 1"})
    prepared = prepared_with(world, made=follower(world, rows))
    kept = [row.prompt for row in prepared.sources["made"].train.rows]
    assert kept == [r["prompt"] for r in made_from(plain, "train")]
    findings = {f.code: f for f in check(prepared)}
    items = len(rows) - len(kept) - 2
    assert findings["parent_is_item"].count == items
    assert findings["parent_is_item"].severity == "warning"
    assert findings["parent_is_item"].rows[0].endswith("made.jsonl:1")
    assert findings["parent_unknown"].count == 2
    assert whole(findings["parent_unknown"]) == [len(rows) - 1, len(rows)]
    assert len(whole(findings["parent_is_item"])) == items
    assert not {"near_shared_rows", "shared_rows"} & set(findings)


def test_rows_of_more_parents_than_a_column_may_name_follow_them(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = made_from(prepare(load_spec(world), None), "train")
    for module in (columns, follow):
        monkeypatch.setattr(module, "MAX_DISTINCT", 100)
    assert len(rows) > 100
    made = prepared_with(world, made=follower(world, rows)).sources["made"].train
    assert len(made.rows) == len(rows) and "parent" not in made.columns


def test_a_file_without_parents_cannot_follow(world: Path) -> None:
    entry = follower(world, [{"prompt": "a?", "answer": "b"}])
    with pytest.raises(UserError, match=r"changed.yaml:data.made.path .*no field 'parent'"):
        prepared_with(world, made=entry)
    entry = follower(world, [{"prompt": "a?", "answer": "b", "parent": "unheard"}])
    with pytest.raises(UserError, match=r"none of its 1 rows was made from a training row"):
        prepared_with(world, made=entry)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{augment: nowhere, by: [typos], role: task}", "unknown source 'nowhere'"),
        ("{augment: general, by: [typos], role: task}", "'general' is replay"),
        ("{augment: other, by: [typos], role: task}", "made from others themselves"),
        ("{augment: tickets, role: task}", "`augment` needs `by`"),
        ("{augment: tickets, by: [typo], role: task}", "by"),
        ("{augment: tickets, by: [typos], role: replay}", "of `role: task` or `synthetic`"),
        ("{augment: tickets, by: [typos], role: task, path: a.jsonl}", "leave `path` out"),
        ("{augment: tickets, by: [template], role: task}", "belong together"),
        (
            "{augment: tickets, by: [template], role: task, templates: {to: ['no slot']}}",
            "leaves the slot {question} out",
        ),
        ("{path: tickets.jsonl, role: task, by: [typos]}", "`by` needs `augment"),
        ("{path: tickets.jsonl, role: task, follows: nowhere}", "unknown source 'nowhere'"),
        ("{path: tickets.jsonl, role: task, follows: tickets, split: auto}", "both say where"),
    ],
)
def test_faults_are_named_with_their_line(world: Path, entry: str, says: str) -> None:
    other = "{augment: tickets, by: [typos], role: task}"
    with pytest.raises(UserError, match=says) as caught:
        load_spec(with_sources(world, made=entry, other=other))
    assert "changed.yaml:data.made" in str(caught.value) and "(line" in str(caught.value)


def test_nothing_is_scored_on_what_was_made(world: Path) -> None:
    path = with_sources(world, typos=TYPOS)
    path.write_text(path.read_text().replace("gain: {from: tickets", "gain: {from: typos"))
    with pytest.raises(UserError, match=r"only trained on.*Score on 'tickets'"):
        load_spec(path)


def test_plain_text_is_not_augmented(world: Path) -> None:
    texts = "{path: general.jsonl, role: synthetic}"
    entry = "{augment: texts, by: [typos], role: synthetic}"
    with pytest.raises(UserError, match="plain text: what is changed would be learnt"):
        prepared_with(world, texts=texts, typos=entry)


def test_the_rows_that_workers_read_have_the_parents_id_in_theirs(
    world: Path, tmp_path: Path
) -> None:
    path = with_sources(world, typos=TYPOS)
    prepared = prepare(load_spec(path), tmp_path)
    ref = next(r for r in prepared.source_refs if r.name == "typos")
    lines = [json.loads(line) for line in Path(ref.path).open()]
    assert len(lines) == ref.rows and all("~" in line["id"] for line in lines)
