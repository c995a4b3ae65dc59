"""`data_spec`: read strictly, no part of any id, its examples a suite beside the others."""

from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.check import check
from keepgain.sweeps.named_files import to_upload
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world

PAIRS = """\
  examples:
    - {prompt: route me, good: desk 1, bad: no idea}
    - {prompt: route him, good: desk 2, bad: no idea at all}
    - {prompt: route her, good: desk 3, bad: none}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), models=1)


def with_rules(world: Path, text: str, name: str = "ruled.yaml") -> Path:
    path = world.with_name(name)
    path.write_text(world.read_text() + text)
    return path


def prepared(path: Path) -> Prepared:
    return prepare(load_spec(path), None)


def test_rules_inline_and_in_a_file_beside_the_spec_find_the_same(world: Path) -> None:
    (world.parent / "rules.yaml").write_text("labels: [desk 0, desk 1]\n")
    inline = with_rules(world, "data_spec: {labels: [desk 0, desk 1]}\n", "inline.yaml")
    by_name = with_rules(world, "data_spec: rules.yaml\n", "named.yaml")
    findings = [check(prepared(path)) for path in (inline, by_name)]
    assert findings[0] == findings[1]
    (broken,) = [f for f in findings[0] if f.code == "unknown_label"]
    assert (broken.severity, broken.count, broken.of) == ("error", 285, 400)  # 5 of 7 desks


def test_rules_are_no_part_of_the_id_of_a_sweep_or_its_trials(world: Path) -> None:
    plain = prepared(world)
    ruled = prepared(with_rules(world, "data_spec: {answer: {max_words: 2}}\n"))
    params = {"method": "full", "learning_rate": 1e-4, "mixture.tickets": 1.0}
    assert ruled.sweep_id == plain.sweep_id
    ids = {p.trial_config("m0", params).trial_id for p in (plain, ruled)}
    assert len(ids) == 1


def test_a_file_of_rules_travels_with_the_job(world: Path) -> None:
    (world.parent / "rules.yaml").write_text("languages: [en]\n")
    loaded = load_spec(with_rules(world, "data_spec: rules.yaml\n"))
    assert "rules.yaml" in to_upload(loaded, world.parent)


def test_examples_are_a_suite_that_ranks_good_over_bad_and_decides_nothing(world: Path) -> None:
    path = with_rules(world, "data_spec:\n" + PAIRS)
    made = prepared(path)
    refs = {split: made.suite_refs[split][-1] for split in ("validation", "test")}
    assert [(r.name, r.measures, r.scorer) for r in refs.values()] == [
        ("examples", "behaviour", "multiple_choice_normalised")
    ] * 2
    rows = [
        row for split in ("validation", "test") for row in made.suites["examples"].items(split).rows
    ]
    assert {(r.prompt, r.answer, r.choices[1]) for r in rows} == {
        ("route me", "desk 1", "no idea"),
        ("route him", "desk 2", "no idea at all"),
        ("route her", "desk 3", "none"),
    }
    assert all(r.choices[0] == r.answer for r in rows)
    places = {
        p for split in ("validation", "test") for p in made.suites["examples"].items(split).places
    }
    first = path.read_text().splitlines().index("    - " + PAIRS.splitlines()[1][6:]) + 1
    assert places == {f"{path}:{first + i}" for i in range(3)}
    of_examples = [f for f in check(made) if f.where.startswith("examples")]
    assert {f.severity for f in of_examples} <= {"note"}
    assert made.suite_infos[-1].chance == 0.5


def test_examples_that_stand_in_a_file_are_a_suite_too(world: Path) -> None:
    (world.parent / "rules.yaml").write_text(PAIRS.replace("  examples", "examples", 1))
    suite = prepared(with_rules(world, "data_spec: rules.yaml\n")).suites["examples"]
    assert (len(suite.validation.rows), len(suite.test.rows)) == (1, 2)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("{answer: {pattern: '(a'}}", "no regular expression"),
        ("{answer: {pattern: '(a'}}", "data_spec.answer.pattern (line "),
        ("{anwser: {}}", "unknown key 'anwser'"),
        ("{fields: {x: {min: 1}}}", "are of numbers: add `type: number`"),
        ("{fields: {x: {type: date, formats: ['day']}}}", "'day' is no format of dates"),
        ("{answer: {min_words: 3, max_words: 2}}", "`min_words` is above `max_words`"),
        ("{labels: [a]}", "at least two different texts"),
        ("{languages: [English]}", "'English' is no code of ISO 639"),
        ("{groups: {g: {field: x, words: {a: [b], c: [d]}}}}", "either `field` or `words`"),
        ("{applies_to: [nobody]}", "data_spec.applies_to.0 (line "),
        ("{sources: {nobody: {licence: MIT}}}", "unknown source 'nobody'. Known sources: tickets"),
        ("{sources: {tickets: {date: soon}}}", "data_spec.sources.tickets.date"),
        ("{examples: [{prompt: p, good: a, bad: b}]}", "at least 2"),
        ("{examples: [{prompt: p, good: a, bad: ' a'}]}", "`good` and `bad` are the same"),
        ("nowhere.yaml", "no such file"),
        ("[1]", "data_spec"),
    ],
)
def test_faults_of_the_rules_name_their_key(world: Path, rules: str, said: str) -> None:
    path = with_rules(world, f"data_spec: {rules}\n", "faulty.yaml")
    with pytest.raises(UserError) as caught:
        load_spec(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_faults_of_a_file_of_rules_name_that_file_and_its_line(world: Path) -> None:
    (world.parent / "rules.yaml").write_text("languages: [en]\nlabels: [a, a]\n")
    with pytest.raises(UserError, match=r"rules\.yaml:labels \(line 2\)"):
        load_spec(with_rules(world, "data_spec: rules.yaml\n"))


def test_a_suite_of_the_name_of_the_examples_is_refused(world: Path) -> None:
    pairs = "{pairs: [{prompt: p, good: a, bad: b}, {prompt: q, good: a, bad: b}], "
    own = f"  examples: {pairs}scorer: multiple_choice, measures: behaviour}}\n"
    text = world.read_text().replace("space:\n", f"{own}space:\n")
    path = world.with_name("own.yaml")
    path.write_text(text)
    assert prepared(path).suites["examples"].spec.scorer == "multiple_choice"
    path.write_text(text + "data_spec:\n" + PAIRS)
    with pytest.raises(UserError, match=r"makes a suite 'examples', and there is one"):
        load_spec(path)
    path.write_text(text.replace("scorer: multiple_choice", "scorer: exact_match"))
    with pytest.raises(UserError, match=r"`pairs` are scored by multiple_choice"):
        load_spec(path)


def test_rules_are_for_the_sources_that_they_name(world: Path) -> None:
    rules = "{applies_to: [general], answer: {max_words: 2}}"
    found = check(prepared(with_rules(world, f"data_spec: {rules}\n")))
    (finding,) = [f for f in found if f.code == "answer_length"]
    assert finding.message.startswith("100 of 100 rows")
