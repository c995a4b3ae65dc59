"""Dates of rows are read, and rows and suites that are old are found."""

from datetime import date, timedelta
from typing import Any

import pytest

from keepgain.core.rows import Row
from keepgain.sweeps.gates.age import check_age, dates_of, read_dates
from keepgain.sweeps.gates.columns import ColumnsBuilder
from keepgain.sweeps.gates.material import RowSet
from tests.sweeps.gates.whole import whole

TODAY = date(2026, 6, 1)


def row_set(values: list[str | None], label: str = "data/train", field: str = "date",
            **kind: Any) -> RowSet:  # fmt: skip
    builder = ColumnsBuilder()
    for value in values:
        builder.add({} if value is None else {field: value})
    rows = [Row(str(i), "pair", prompt=f"q{i}", answer="a") for i in range(len(values))]
    name, part = label.split("/")
    more = ({"role": "task"} if part == "train" else {"measures": "gain"}) | {"source": name} | kind
    return RowSet(label, part, rows, [f"f:{i + 1}" for i in range(len(rows))],  # type: ignore[arg-type]
                  columns=builder.columns(), **more)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-03-05", date(2024, 3, 5)),
        ("2024-03-05T10:00:00Z", date(2024, 3, 5)),
        ("2024/3/5", date(2024, 3, 5)),
        ("2024-03", date(2024, 3, 1)),
        ("2024", date(2024, 1, 1)),
        ("05.03.2024", date(2024, 3, 5)),
        ("20240305", date(2024, 3, 5)),
        ("5 March 2024", date(2024, 3, 5)),
        ("Mar 5, 2024", date(2024, 3, 5)),
        ("1709596800", date(2024, 3, 5)),
        ("1709596800000", date(2024, 3, 5)),
        ("1709596800.0", date(2024, 3, 5)),
        ("1709596800000.0", date(2024, 3, 5)),
        ("1709596800000000", date(2024, 3, 5)),
        ("1709596800000000000", date(2024, 3, 5)),
        (str(1709596800e9), date(2024, 3, 5)),
        ("2024.0", date(2024, 1, 1)),
        ("20240305.0", date(2024, 3, 5)),
        ("17095968001", None),
        ("2024-02-31", None),
        ("soon", None),
        ("12", None),
    ],
)
def test_a_date_is_read(text: str, day: date | None) -> None:
    assert read_dates([text]) == [day]


def test_the_month_comes_first_where_another_value_shows_it() -> None:
    assert read_dates(["3/4/2024", "3/14/2024"]) == [date(2024, 3, 4), date(2024, 3, 14)]
    assert read_dates(["3/4/2024", "14/3/2024"]) == [date(2024, 4, 3), date(2024, 3, 14)]


def test_a_field_of_dates_is_known_by_its_name_and_its_values() -> None:
    assert dates_of(row_set(["soon", "later"])) is None
    assert dates_of(row_set(["2024-01-01"], field="colour")) is None
    dates = dates_of(row_set(["2024-01-01", None, "2024-01-03"], field="created_at"))
    assert dates is not None and dates.field == "created_at"
    assert dates.days.tolist() == [date(2024, 1, 1).toordinal(), 0, date(2024, 1, 3).toordinal()]
    assert dates_of(row_set(["2024-01-01"], field="colour"), "colour") is not None


def test_the_range_is_noted_and_old_rows_are_counted() -> None:
    rows = row_set(["2020-01-01", "2025-01-01", "2026-01-01", None])
    (noted,) = check_age([rows], TODAY)
    assert (noted.code, noted.severity) == ("dates", "note")
    assert "from 2020-01-01 to 2026-01-01, with the middle at 2025-01-01 (3 of 4 " in noted.message
    _, old = check_age([rows], TODAY, {"data": 365})
    assert (old.code, old.count, old.rows) == ("old_rows", 2, ("f:1", "f:2"))
    assert whole(old) == [1, 2]
    assert check_age([rows], TODAY, {"other": 365}) == [noted]


def test_what_is_read_as_no_date_is_counted_and_shown() -> None:
    (noted,) = check_age([row_set(["2026-01-01", "soon", "2026-01-02", "soon", None])], TODAY)
    assert "(2 of 5 rows have one, 2 have what is read as none, such as 'soon')" in noted.message
    assert noted.figures == {"unread": 2}


def test_a_field_that_the_spec_names_and_that_has_few_dates_is_noted() -> None:
    rows = row_set(["soon", "later", "2026-01-01"], field="when")
    (noted,) = check_age([rows], TODAY, field="when")
    assert (noted.code, noted.severity, noted.count, noted.of) == ("dates", "note", 1, 3)
    assert "2 have what is read as none, such as 'soon'" in noted.message
    assert check_age([rows], TODAY) == [], "nobody said that it has dates"
    assert check_age([row_set([None], field="when")], TODAY, field="when") == []


def test_a_source_may_have_one_date_for_all() -> None:
    rows, limits = row_set([None, None]), {"data": 100}
    (old,) = check_age([rows], TODAY, limits, {"data": date(2026, 1, 1)})
    assert (old.code, old.count) == ("old_rows", 2)
    assert check_age([rows], TODAY, limits, {"data": date(2026, 5, 1)}) == []


def test_dates_that_are_still_to_come_are_found() -> None:
    _, found = check_age([row_set(["2026-06-02", "2026-06-03", "2026-01-01"])], TODAY)
    assert (found.code, found.rows) == ("future_dates", ("f:2",))


def days(first: date, count: int, step: int = 1) -> list[str | None]:
    return [(first + timedelta(days=i * step)).isoformat() for i in range(count)]


def test_a_suite_that_ends_before_the_training_rows_do_is_warned_of() -> None:
    train = row_set(days(date(2025, 1, 1), 100))
    old = row_set(days(date(2024, 12, 1), 60), "gain/test")  # to 29 January: 71 rows are newer
    (found,) = [f for f in check_age([train, old], TODAY) if f.severity != "note"]
    assert (found.code, found.where) == ("evaluation_older", "gain/test")
    assert found.figures == {"gap_days": 71.0, "newer_share": 0.71}
    drawn = row_set(days(date(2025, 1, 3), 48, 2), "gain/test")  # from the same days
    assert {f.code for f in check_age([train, drawn], TODAY)} == {"dates"}
    general = row_set(days(date(2020, 1, 1), 60), "general/test", measures="forgetting")
    assert {f.code for f in check_age([train, general], TODAY)} == {"dates"}


def test_a_limit_that_nothing_can_be_held_against_is_said() -> None:
    undated = row_set(["a", "b"], field="note")
    (found,) = check_age([undated], TODAY, limits={"data": 365})
    assert (found.code, found.severity, found.where) == ("age_unknown", "warning", "data/train")
    assert check_age([undated], TODAY) == []
    assert check_age([undated], TODAY, {"data": 365}, {"data": date(2026, 5, 1)}) == []
