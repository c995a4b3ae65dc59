"""Labels that stand where a model can read them."""

import numpy as np
import pytest

from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.label_leakage import check_label_leakage, predictor
from keepgain.sweeps.gates.labels import facts_of, labels_of
from tests.sweeps.gates.labelled import THINGS, Case, known, labelled, tickets
from tests.sweeps.gates.whole import whole

CODES = {name: str(i + 1) for i, name in enumerate(THINGS)}
CASES = tickets(400)


def found(cases: list[Case], fields: list[dict[str, str]] | None = None) -> list[Finding]:
    sets, _, labels = known(labelled("t/train", cases, fields, role="task"))
    return check_label_leakage(sets, labels)


@pytest.mark.parametrize(
    ("leaking", "place"),
    [
        ("{q} Category: {a}", "after 'category:'"),
        ("{q} ({a})", "at the end"),
        ("{a}: {q}", "at the begin"),
        ("{q} <label={a}> thanks", "after 'label='"),
    ],
)
@pytest.mark.parametrize("every", [1, 20])
def test_a_label_in_a_fixed_place_is_found_in_all_or_few_rows(
    leaking: str, place: str, every: int
) -> None:
    cases = [
        (leaking.format(q=q, a=a) if i % every == 0 else q, a) for i, (q, a) in enumerate(CASES)
    ]
    finding = found(cases)[0]
    assert (finding.code, finding.count) == ("label_in_prompt", 400 // every)
    assert place in finding.message
    assert whole(finding) == list(range(1, 401, every))


def test_the_id_of_a_label_is_found_where_a_field_says_what_it_stands_for() -> None:
    cases = [(f"{CODES[a]} | {q}", a) for q, a in CASES]
    fields = [{"label_id": CODES[a]} for _, a in CASES]
    in_prompt, in_field = found(cases, fields)
    assert "'label_id' stands at the begin" in in_prompt.message
    assert (in_field.code, in_field.severity) == ("label_in_field", "note")


@pytest.mark.parametrize(
    "harmless",
    [
        lambda i, q, a: q,
        lambda i, q, a: f"{q} Choose: refund, delivery or login",
        lambda i, q, a: f"Category: {list(THINGS)[i % 3]} {q}",
        lambda i, q, a: f"{q}, says {list(THINGS)[i % 3]}",
    ],
    ids=["clean", "the choices", "a label at random", "a label at the end at random"],
)
def test_labels_that_prompts_name_anyway_are_no_leak(harmless: object) -> None:
    assert callable(harmless)
    assert found([(harmless(i, q, a), a) for i, (q, a) in enumerate(CASES)]) == []


def test_prompts_that_name_their_label_and_no_other_are_found() -> None:
    (finding,) = found([(q.replace("case", f"my {a} case"), a) for q, a in CASES])
    assert "100% of 400 prompts name their own label" in finding.message
    assert whole(finding) == list(range(1, 401))


def test_a_field_that_tells_the_label_alone_is_found_and_ids_are_not() -> None:
    random = np.random.default_rng(0)
    fields = [
        {"desk": f"{a}-{random.integers(2)}", "id": str(i), "hour": str(random.integers(24))}
        for i, (_, a) in enumerate(CASES)
    ]
    (finding,) = found(CASES, fields)
    assert (finding.code, finding.severity) == ("label_in_field", "warning")
    assert "'desk' alone gives the label of 100.0%" in finding.message


def test_the_field_that_the_spec_names_as_the_label_is_none_of_those_that_give_it_away() -> None:
    fields = [{"kind": a, "desk": f"to {a}"} for _, a in CASES]
    rows = labelled("t/train", CASES, fields, role="task")
    labels = labels_of([rows], facts_of([rows]), "kind")
    (finding,) = check_label_leakage([rows], labels, "kind")
    assert (finding.code, finding.severity) == ("label_in_field", "warning")
    assert "'desk' alone" in finding.message and "'kind'" not in finding.message
    only = labelled("t/train", CASES, [{"kind": a} for _, a in CASES], role="task")
    assert check_label_leakage([only], labels_of([only], facts_of([only]), "kind"), "kind") == []


def test_a_value_is_guessed_by_its_other_rows() -> None:
    """x: three of a, one of b: each a is guessed right by the others, b wrong; y: one of each, a
    tie without the row that is guessed; z: a row by itself says nothing."""
    field = Column(("x", "y", "z"), np.array([0, 0, 0, 0, 1, 1, 2] * 3, dtype=np.int32)[:7])
    labels = Column(("a", "b"), np.array([0, 0, 0, 1, 0, 1, 0], dtype=np.int32))
    assert predictor("f", field, labels) is None, "three values of seven rows are an id's"
    more = Column(("x", "y", "z"), np.array([0] * 18 + [1, 1, 2], dtype=np.int32))
    told = predictor(
        "f", more, Column(("a", "b"), np.array([0] * 15 + [1] * 3 + [0, 1, 0], np.int32))
    )
    assert told is not None
    assert (told.hits, told.of, told.majority, told.one_to_one) == (15, 21, 17, False)


def test_free_answers_leak_only_where_a_prompt_calls_them_so() -> None:
    spans = [
        (f"{q}. What is the case?", q.split("case ")[1] + f" of {i}")
        for i, (q, _) in enumerate(CASES)
    ]
    assert found(spans) == []
    leaking = [(f"{q} Answer: {a}", a) if i % 10 == 0 else (q, a) for i, (q, a) in enumerate(spans)]
    (finding,) = found(leaking)
    assert whole(finding) == list(range(1, 401, 10))
    assert finding.count == 40 and "the answer stands after 'answer:'" in finding.message


def test_all_places_of_a_label_are_named_and_few_rows_of_many_are_enough() -> None:
    cases = tickets(2000)
    for i in range(6):
        (q, a), (r, b) = cases[i], cases[100 + i]
        cases[i], cases[100 + i] = (f"({a}) {q}", a), (f"{r} [label: {b}]", b)
    (finding,) = found(cases)
    assert whole(finding) == [*range(1, 7), *range(101, 107)]
    assert finding.count == 12 and finding.figures["share"] == 12 / 2000
    assert (
        "after '(' in the prompt in 6 and after 'label:' in the prompt in 6 of" in finding.message
    )
