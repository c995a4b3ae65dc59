"""Nested subsets of the training rows: `TrialConfig.rows`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.trainers.data import DataCache, nested_subset
from tests.trainers import tiny


@given(st.integers(1, 60), st.integers(0, 60), st.text(max_size=5))
def test_smaller_subsets_lie_within_larger_ones(few: int, more: int, digest: str) -> None:
    rows, many = list(range(60)), min(60, few + more)
    small, large = nested_subset(rows, digest, few), nested_subset(rows, digest, many)
    assert (len(small), len(large)) == (few, many)
    assert set(small) <= set(large)
    assert large == sorted(large), "rows stand as in the file"


def test_the_order_follows_from_the_content_and_is_not_that_of_the_file() -> None:
    rows = list(range(100))
    assert nested_subset(rows, "a", 10) == nested_subset(rows, "a", 10)
    assert nested_subset(rows, "a", 10) != nested_subset(rows, "b", 10)
    assert max(nested_subset(rows, "a", 10)) > 50
    assert nested_subset(rows, "a", 100) == rows


def test_more_rows_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="11 rows are asked for, and there are 10"):
        nested_subset(list(range(10)), "a", 11)


def test_only_rows_of_the_task_are_cut(tmp_path, llama) -> None:
    codec, data = tiny.codec(), DataCache()
    whole = tiny.trial(tmp_path, llama)
    part = whole.model_copy(update={"rows": 20})
    every, some = data.sources(whole, codec), data.sources(part, codec)
    assert (len(every["task"]), len(some["task"])) == (60, 20)
    assert all(any(row is other for other in every["task"]) for row in some["task"])
    assert some["replay"] is every["replay"]


def test_rows_are_in_the_identity_only_where_they_are_cut(tmp_path, llama) -> None:
    whole = tiny.trial(tmp_path, llama)
    assert "rows" in whole.model_dump()
    assert whole.model_copy(update={"rows": None}).trial_id == whole.trial_id
    ids = {whole.model_copy(update={"rows": n}).trial_id for n in (None, 10, 20)}
    assert len(ids) == 3
