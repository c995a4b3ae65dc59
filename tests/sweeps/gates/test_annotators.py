"""Labels by annotator and by month."""

import numpy as np
import pytest

from keepgain.sweeps.gates.annotators import check_annotators, month_of
from tests.sweeps.gates.labelled import Case, known, labelled
from tests.sweeps.gates.whole import whole


def given(rows: int, share_of_yes: dict[str, float]) -> tuple[list[Case], list[dict[str, str]]]:
    """`rows` rows of each annotator, of which so many are yes."""
    cases, fields = [], []
    for name, share in share_of_yes.items():
        for i in range(rows):
            cases.append((f"{name} {i}", "yes" if i < share * rows else "no"))
            fields.append({"annotator": name})
    return cases, fields


def test_the_annotator_with_other_shares_is_named_and_no_other() -> None:
    cases, fields = given(100, {"ann": 0.5, "bob": 0.48, "cem": 0.9, "dea": 0.52})
    (finding,) = check_annotators(*known(labelled("t/train", cases, fields, role="task")))
    assert (finding.code, finding.count, finding.of) == ("labels_by_annotator", 100, 400)
    assert "'cem' gives 'yes' to 90% of 100 rows, the others to 50%" in finding.message
    assert finding.figures["odd"] == 1


@pytest.mark.parametrize("rows", [10, 100])
def test_shares_that_chance_explains_are_not_named(rows: int) -> None:
    cases, fields = given(rows, {"ann": 0.5, "bob": 0.6, "cem": 0.4})
    assert check_annotators(*known(labelled("t/train", cases, fields, role="task"))) == []


def test_months_are_compared_where_the_labels_change() -> None:
    cases = [(f"q{i}", "yes" if i % 2 or i >= 200 else "no") for i in range(300)]
    fields = [{"created_at": f"2024-0{1 + i // 100}-{1 + i % 28:02d}T10:00"} for i in range(300)]
    (finding,) = check_annotators(*known(labelled("t/train", cases, fields, role="task")))
    assert finding.code == "labels_by_month"
    assert "'2024-03' gives 'yes' to 100% of 100 rows, the others to 50%" in finding.message


def test_a_field_that_the_spec_names_is_taken() -> None:
    cases, fields = given(100, {"ann": 0.5, "bob": 0.95})
    fields = [{"by whom": f["annotator"]} for f in fields]
    gate = known(labelled("t/train", cases, fields, role="task"))
    assert check_annotators(*gate) == []
    assert [f.code for f in check_annotators(*gate, "by whom")] == ["labels_by_annotator"]


def test_agreement_and_conflicts_of_questions_that_several_labelled() -> None:
    """Three annotators on 60 questions; one turns every other answer around."""
    cases, fields = [], []
    for i in range(60):
        truth = ("yes", "no")[i % 2]
        other = {"yes": "no", "no": "yes"}[truth]
        for name in ("ann", "bob", "cem"):
            cases.append((f"q{i}", other if name == "cem" and i % 4 < 2 else truth))
            fields.append({"rater": name})
    for i in range(200):  # alone with their questions
        cases.append((f"r{i}", ("yes", "no")[i % 2]))
        fields.append({"rater": ("ann", "bob")[i % 2]})
    found = {f.code: f for f in check_annotators(*known(labelled("t/train", cases, fields)))}
    agreement = found["annotator_agreement"]
    # 30 of 60 units have one odd value of three: D_o = 30 * (2 * 2 * 1 / 2) / 180 = 1/3;
    # 90 of 180 values are yes: D_e = 2 * 90 * 90 / (180 * 179).
    assert agreement.figures["alpha"] == pytest.approx(1 - (1 / 3) / (2 * 90 * 90 / (180 * 179)))
    assert (agreement.severity, agreement.count) == ("warning", 60)
    assert found["conflicts_by_annotator"].message.endswith("than the others: 'cem' 30 of 60.")
    turned = [3 * i + 3 for i in range(60) if i % 4 < 2]
    assert whole(found["conflicts_by_annotator"]) == turned


@pytest.mark.parametrize(
    ("date", "month"),
    [
        ("2024-03-07", "2024-03"),
        ("2024/03", "2024-03"),
        ("20240307", "2024-03"),
        ("2024-03-07T12:00:00Z", "2024-03"),
        ("1709800000", "2024-03"),
        ("1709800000123", "2024-03"),
        ("03/04/2024", None),
        ("2024-13-01", None),
        ("yesterday", None),
        ("12", None),
    ],
)
def test_months_of_dates(date: str, month: str | None) -> None:
    assert month_of(date) == month


def test_without_labels_nothing_is_compared() -> None:
    random = np.random.default_rng(0)
    cases = [(f"q{i}", f"free {random.integers(10**9)}") for i in range(100)]
    fields = [{"annotator": "ab"[i % 2]} for i in range(100)]
    assert check_annotators(*known(labelled("t/train", cases, fields, role="task"))) == []
