"""Nested subsets of the training rows: `TrialConfig.rows`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.trainers.data import DataCache, nested_subset
from tests.trainers import tiny

RECORDED = [1, 4, 12, 19, 40, 48, 50, 63, 84, 94]


@given(st.integers(1, 60), st.integers(0, 60), st.text(max_size=5))
def test_smaller_subsets_lie_within_larger_ones(few: int, more: int, digest: str) -> None:
    many = min(60, few + more)
    small, large = (nested_subset(60, digest, n).tolist() for n in (few, many))
    assert (len(small), len(large)) == (few, many)
    assert set(small) <= set(large)
    assert large == sorted(large), "rows stand as in the file"


def test_the_order_follows_from_the_content_and_is_not_that_of_the_file() -> None:
    # Recorded when it came: later versions must train on the same rows.
    assert nested_subset(100, "a", 10).tolist() == RECORDED
    assert nested_subset(100, "b", 10).tolist() != RECORDED
    assert nested_subset(100, "a", 100).tolist() == list(range(100))


def test_more_rows_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="11 rows are asked for, and there are 10"):
        nested_subset(10, "a", 11)


def test_only_rows_of_the_task_are_cut(tmp_path, llama) -> None:
    codec, data = tiny.codec(), DataCache()
    whole = tiny.trial(tmp_path, llama)
    part = whole.model_copy(update={"rows": 20})
    every, some = data.sources(whole, codec), data.sources(part, codec)
    assert (len(every["task"]), len(some["task"])) == (60, 20)
    chosen = nested_subset(60, whole.sources[0].digest, 20)
    assert [r.ids.tolist() for r in some["task"]] == [every["task"][i].ids.tolist() for i in chosen]
    assert some["replay"] is every["replay"]


def test_rows_are_in_the_identity_only_where_they_are_cut(tmp_path, llama) -> None:
    whole = tiny.trial(tmp_path, llama)
    assert "rows" in whole.model_dump()
    assert whole.model_copy(update={"rows": None}).trial_id == whole.trial_id
    ids = {whole.model_copy(update={"rows": n}).trial_id for n in (None, 10, 20)}
    assert len(ids) == 3
