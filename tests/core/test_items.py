from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.core.items import ItemScores, read_items, write_items

# Characters that numpy's fixed-width strings and Parquet both keep: no NUL, no surrogates.
WORDS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=8
)
SLICES = st.sets(WORDS, max_size=2)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def item_scores(draw: st.DrawFn, number: int) -> ItemScores:
    n = draw(st.integers(1, 6))
    labels = st.tuples(*[st.none() | WORDS] * n)
    return ItemScores(
        suite=draw(WORDS),
        split=draw(st.sampled_from(["validation", "test"])),
        metric="exact_match",
        item_ids=np.array([draw(WORDS) for _ in range(n)], dtype=np.str_),
        values=np.array([draw(NUMBERS) for _ in range(n)]),
        weights=np.array([draw(st.floats(0.5, 9)) for _ in range(n)]),
        tokens=number,  # keeps neighbours apart: a run is scored once per suite and rung
        groups=_or_nothing(draw(labels)),
        clusters=_or_nothing(draw(labels)),
        slices={name: v for name in draw(SLICES) if (v := _or_nothing(draw(labels)))},
    )


def _or_nothing(labels: tuple[str | None, ...]) -> tuple[str | None, ...]:
    return labels if any(label is not None for label in labels) else ()


def flat(pair: tuple[str, ItemScores]) -> tuple[object, ...]:
    key, s = pair
    return (
        *(key, s.suite, s.split, s.metric, s.tokens, s.groups, s.clusters),
        dict(s.slices),
        *(s.item_ids.tolist(), s.values.tolist(), s.weights.tolist()),
    )


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_items_come_back_exactly(tmp_path: Path, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 4))
    pairs = [(data.draw(WORDS), data.draw(item_scores(number=i))) for i in range(count)]
    write_items(tmp_path / "items.parquet", pairs)
    assert [flat(p) for p in read_items(tmp_path / "items.parquet")] == [flat(p) for p in pairs]


def test_writing_leaves_no_temporary_file_and_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    scores = ItemScores("s", "test", "m", np.array(["a"]), np.array([1.0]), np.array([2.0]))
    write_items(path, [("k", scores)])
    write_items(path, [])
    assert read_items(path) == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_without_slices_is_as_it_was_before_there_were_any(tmp_path: Path) -> None:
    scores = ItemScores("s", "test", "m", np.array(["a"]), np.array([1.0]), np.array([2.0]))
    write_items(tmp_path / "new.parquet", [("k", scores)])
    assert pq.read_schema(tmp_path / "new.parquet").names == [
        "run_key", "suite", "split", "metric", "tokens", "item_id", "value", "weight", "group",
        "cluster",
    ]  # fmt: skip
    ((key, back),) = read_items(tmp_path / "new.parquet")
    assert (key, back.slices) == ("k", {})


def test_runs_with_and_without_slices_share_a_file(tmp_path: Path) -> None:
    two = np.array([1.0, 2.0])
    plain = ItemScores("s", "test", "m", np.array(["a", "b"]), two, two)
    sliced = replace(plain, slices={"language": ("de", None), "level": ("1", "2")})
    write_items(tmp_path / "i.parquet", [("old", plain), ("new", sliced)])
    assert [s.slices for _, s in read_items(tmp_path / "i.parquet")] == [{}, sliced.slices]


def test_runs_on_the_same_items_share_their_labels_and_nobody_can_write_to_them(
    tmp_path: Path,
) -> None:
    two = np.array([1.0, 2.0])
    one = ItemScores("s", "test", "m", np.array(["a", "b"]), two, two, clusters=("x", None))
    other = replace(one, values=two + 1, item_ids=np.array(["b", "a"]))
    write_items(tmp_path / "i.parquet", [("k", one), ("l", replace(one, tokens=1)), ("m", other)])
    (_, a), (_, b), (_, c) = read_items(tmp_path / "i.parquet")
    assert a.item_ids is b.item_ids and a.clusters is b.clusters is c.clusters
    assert c.item_ids.tolist() == ["b", "a"]
    for array in (a.item_ids, a.values, a.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_a_file_of_several_row_groups_is_read_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)

    def some(key: int) -> tuple[str, ItemScores]:
        n = int(rng.integers(1, 9))
        ids = np.array([f"{key}-{i}" for i in range(n)])
        labels = tuple(None if rng.random() < 0.5 else str(i) for i in range(n))
        labels = _or_nothing(labels)
        slices = {"language": labels} if labels and key % 2 else {}
        scores = ItemScores("s", "test", "m", ids, rng.random(n), np.ones(n), key, labels)
        return f"k{key // 3}", replace(scores, slices=slices)

    pairs = [some(key) for key in range(40)]
    monkeypatch.setattr("keepgain.core.items._ROWS_AT_ONCE", 10)
    write_items(tmp_path / "i.parquet", pairs)
    assert pq.ParquetFile(tmp_path / "i.parquet").num_row_groups > 5
    assert [flat(p) for p in read_items(tmp_path / "i.parquet")] == [flat(p) for p in pairs]


def test_a_table_without_a_column_or_a_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    scores = ItemScores("s", "test", "m", np.array(["a"]), np.array([1.0]), np.array([2.0]))
    write_items(path, [("k", scores)])
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["weight"]), path)
    with pytest.raises(UserError, match="no column weight"):
        read_items(path)
    absent = pa.array([None], pa.float64())
    at = table.schema.get_field_index("value")
    pq.write_table(table.set_column(at, "value", absent), path)
    with pytest.raises(UserError, match="a row without value"):
        read_items(path)


def test_what_is_no_such_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_items(path)
    assert caught.value.where == str(path)
    path.write_bytes(b"PAR1 not at all")
    with pytest.raises(UserError, match="cannot be read"):
        read_items(path)


def test_the_mean_is_weighted() -> None:
    scores = ItemScores(
        "s", "test", "m", np.array(["a", "b"]), np.array([1.0, 4.0]), np.array([2.0, 1.0])
    )
    assert scores.mean == 2.0


def test_columns_of_different_lengths_are_a_fault() -> None:
    with pytest.raises(AssertionError, match="lengths"):
        ItemScores("s", "test", "m", np.array(["a"]), np.array([1.0, 2.0]), np.array([1.0]))
