"""Words that a dictionary lacks are told of prose, and of prose only."""

from keepgain.core.rows import Row
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.spelling import check_spelling
from tests.sweeps.gates.test_language import ENGLISH, OTHERS


def texts(lines: list[str]) -> RowSet:
    rows = [Row(str(i), "text", text=t) for i, t in enumerate(lines)]
    return RowSet("d/train", "train", rows, [f"f:{i + 1}" for i in range(len(rows))], role="task")


def test_errors_are_told_with_their_rate_and_nothing_else_is_wrong() -> None:
    right = ENGLISH * 10
    assert check_spelling([texts(right)]) == []
    wrong = [*right, "They recieve the lettres on teh first day of each month, he says to them."]
    (found,) = check_spelling([texts(wrong)])
    assert (found.code, found.severity, found.count) == ("spelling", "note", 3)
    assert "recieve 1" in found.message and "teh 1" in found.message
    assert found.figures["per_1000_words"] == 1000 * 3 / found.of  # type: ignore[operator]


def test_terms_names_and_figures_are_no_errors_but_common_slips_are() -> None:
    term = "We put the kubelet of the node in front of what the others have in the row."
    lines = [*ENGLISH * 10, *[term] * 3, "In Keswyck the X12b and the foo_bar are what they were."]
    assert check_spelling([texts(lines)]) == []
    slip = "It was teh last one of all of them that we have seen here today."
    (found,) = check_spelling([texts([*lines, *[slip] * 4])])
    assert "teh 4" in found.message


def test_rows_that_are_no_prose_are_not_looked_at() -> None:
    code = ["if (zzqx == NULL) { frbl(qwx, 3); } // " + str(i) for i in range(400)]
    assert check_spelling([texts(code)]) == []
    assert check_spelling([texts(["T:vpn crit 73= eg1"] * 400)]) == []


def test_each_language_has_its_own_dictionary() -> None:
    wrong = "Der Hund hat gestern den gantzen Tag im Garten geschlaffen und gebellt."
    lines = [*ENGLISH * 6, *OTHERS[:1] * 40, wrong]
    (found,) = check_spelling([texts(lines)])
    assert found.severity == "note" and "'de'" in found.message
    assert check_spelling([texts(lines)], ["en"]) == []


def test_scripts_without_capitals_are_prose_as_well() -> None:
    right = "هذا البيت كبير جدا و نحن في المدينة كل يوم من الصباح حتى المساء مع الناس"
    lines = [right] * 30
    before = check_spelling([texts(lines)])
    after = check_spelling([texts([*lines, f"{right} كككبيررر"])])
    assert before == [] and [f.count for f in after] == [1]
