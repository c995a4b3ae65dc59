"""CSV, Parquet, compressed files and saved datasets: the same rows, the same care for the place."""

import csv
import datetime
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.core.row_files import read_row_file
from keepgain.core.rows import Row

Records = list[dict[str, Any]]
CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SAVED = Path(__file__).parent / "saved_dataset"
"""Written by `datasets` 5.2: two rows in two files, columns `prompt`, `answer` and `group`."""


# -- writers ----------------------------------------------------------------------------------


def _lines(records: Records) -> bytes:
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()


def write_jsonl(path: Path, records: Records) -> Path:
    path.write_bytes(_lines(records))
    return path


def write_gzip(path: Path, records: Records) -> Path:
    path.write_bytes(gzip.compress(_lines(records)))
    return path


def write_zstd(path: Path, records: Records) -> Path:
    path.write_bytes(pa.compress(_lines(records), codec="zstd", asbytes=True))
    return path


def write_csv(path: Path, records: Records) -> Path:
    """Lists as JSON text, what is absent as an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(
            out, list(records[0]), delimiter="\t" if path.suffix == ".tsv" else ","
        )
        writer.writeheader()
        for record in records:
            writer.writerow(
                {k: json.dumps(v) if isinstance(v, list) else v for k, v in record.items()}
            )
    return path


def write_parquet(path: Path, records: Records) -> Path:
    pq.write_table(pa.Table.from_pylist(records), path, row_group_size=2)
    return path


def write_saved(path: Path, records: Records) -> Path:
    """As `datasets.Dataset.save_to_disk` does, one file a row."""
    path.mkdir(exist_ok=True)
    schema = pa.Table.from_pylist(records).schema
    names = [f"data-{i:05}-of-{len(records):05}.arrow" for i in range(len(records))]
    for name, record in zip(names, records, strict=True):
        with pa.ipc.new_stream(path / name, schema) as out:
            out.write_table(pa.Table.from_pylist([record], schema))
    state = {"_data_files": [{"filename": name} for name in names]}
    (path / "state.json").write_text(json.dumps(state))
    return path


KINDS: list[tuple[str, Callable[[Path, Records], Path]]] = [
    ("rows.jsonl", write_jsonl),
    ("rows.jsonl.gz", write_gzip),
    ("rows.JSONL.ZST", write_zstd),
    ("rows.csv", write_csv),
    ("rows.tsv", write_csv),
    ("rows.parquet", write_parquet),
    ("rows", write_saved),
]

# -- the same rows from every kind ------------------------------------------------------------

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
TEXT = st.text(CHARACTERS | st.sampled_from(',"\n\r\t; 𝔘é\u2028'), min_size=1).filter(str.strip)
PAIRS = st.fixed_dictionaries(
    {"question": TEXT, "answer": TEXT, "context": st.none() | TEXT, "language": st.none() | TEXT}
)
CHATS = st.fixed_dictionaries(
    {
        "messages": st.lists(TEXT, min_size=1, max_size=3).map(
            lambda texts: [
                {"role": role, "content": text} for text in texts for role in ("user", "assistant")
            ]
        ),
        "group": st.none() | TEXT,
    }
)
LISTS = st.lists(PAIRS, min_size=1, max_size=5) | st.lists(CHATS, min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(LISTS)
def test_every_kind_of_file_holds_the_same_rows(tmp_path_factory: Any, records: Records) -> None:
    folder = tmp_path_factory.mktemp("kinds")
    read = {
        name: read_row_file(write(folder / name, records), slices=["language"])
        for name, write in KINDS
    }
    first = read["rows.jsonl"]
    assert [r.question() for r in first.rows if r.kind == "pair"] == [
        r["question"] for r in records if "question" in r
    ]
    for file in read.values():
        assert (file.rows, file.format) == (first.rows, first.format)


def test_row_formats_and_fields_work_on_every_kind(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    cases: list[tuple[dict[str, Any], dict[str, str], str]] = [
        ({"messages": CHAT}, {}, "messages"),
        ({"talk": turns}, {"conversations": "talk"}, "sharegpt"),
        ({"instruction": "q", "input": None, "output": "a"}, {}, "alpaca"),
        ({"body": "q", "label": "a"}, {"prompt": "body"}, "prompt_answer"),
        ({"text": "q"}, {}, "text"),
    ]
    for i, (record, fields, format) in enumerate(cases):
        for name, write in KINDS:
            (tmp_path / str(i)).mkdir(exist_ok=True)
            file = read_row_file(write(tmp_path / str(i) / name, [record]), fields=fields)
            assert (file.format, len(file.rows)) == (format, 1)
            assert file.rows[0].answer == ("" if format == "text" else "a")


def test_a_folder_that_datasets_itself_saved_is_read() -> None:
    file = read_row_file(SAVED)
    assert [(r.prompt, r.answer, r.group) for r in file.rows] == [
        ("2+2=", "4", "easy"),
        ("17·23=", "391", None),
    ]
    assert file.lines == (1, 2)


def test_the_limit_stops_reading_before_a_later_fault(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": ""}]
    for name, write in KINDS:
        path = write(tmp_path / name, rows)
        assert len(read_row_file(path, limit=1).rows) == 1
        with pytest.raises(UserError, match="empty"):
            read_row_file(path)


# -- CSV --------------------------------------------------------------------------------------

MALFORMED_CSV: list[tuple[str, bytes, int | None, str]] = [
    ("empty", b"", None, "no rows"),
    ("header alone", b"prompt,answer\n", None, "no rows"),
    ("no header", b"what,is\nhello,b\n", 2, "'what', 'is'"),
    ("repeated column", b"prompt,answer,prompt\n", 1, "'prompt'"),
    ("too many cells", b"prompt,answer\na,b\na,b,c\n", 3, "3 cells and the header 2"),
    ("too few cells", b"prompt,answer\na\n", 2, "1 cell and the header 2"),
    ("after a row of three lines", b'prompt,answer\n"a\n\nb",c\nd\n', 5, "1 cell"),
    ("a quote that never closes", b'prompt,answer\na,b\nc,"d\ne,f\n', 3, "never closed"),
    ("text after a quote", b'prompt,answer\n"a"b,c\n', 2, "doubled"),
    ("carriage returns", b"prompt,answer\ra,b\r", 1, "LF or CRLF"),
    ("empty cell", b"prompt,answer\na,\n", 2, "'answer' is empty"),
    ("invalid UTF-8", b"prompt,answer\na,\xff\n", 2, "not UTF-8"),
    ("Latin-1 in a quoted line", b'prompt,answer\n"a\n\xe9",b\n', 3, "not UTF-8"),
    ("UTF-16", "prompt,answer\na,b\n".encode("utf-16"), 1, "UTF-16"),
    ("NUL", b"prompt,answer\na,\0\n", 2, "NUL"),
    ("semicolons", b"prompt;answer\na;b\n", 2, "'prompt;answer'"),
    ("long cell", b'text\n"' + (b"x" * 3_000_000 + b"\n") * 2 + b'"\n', 2, "field limit"),
    ("same id", b"id,text\n1,a\n\n1,b\n", 4, "line 2"),
    ("turns that are no JSON", b"messages\n[hello]\n", 2, "no list in JSON"),
    ("a workbook", b"PK\x03\x04", 1, "zip archive"),
]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [(c, n, w) for _, c, n, w in MALFORMED_CSV],
    ids=[name for name, *_ in MALFORMED_CSV],
)
def test_malformed_csv_is_refused_with_its_line(
    tmp_path: Path, content: bytes, line: int | None, words: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_row_file(path)
    assert caught.value.where == (str(path) if line is None else f"{path}:{line}")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfprompt,answer\na,b\n",
        b'\xef\xbb\xbf"prompt","answer"\r\n"a","b"\r\n',
        b"\nprompt,answer\n\na,b",
        b",prompt,answer\n0,a,b\n",
    ],
    ids=["byte order mark", "mark, quotes and CRLF", "blank lines", "pandas with its index"],
)
def test_harmless_oddities_of_csv_are_accepted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    (row,) = read_row_file(path).rows
    assert (row.prompt, row.answer) == ("a", "b")


def test_empty_labels_of_csv_are_absent(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text,group,language\n,a,,\n7,b,x,de\n")
    without, labelled = read_row_file(path, slices=["language"]).rows
    assert (without.group, without.slices) == (None, ())
    assert labelled == Row("7", "text", text="b", group="x", slices=(("language", "de"),))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_user_error(tmp_path_factory: Any, content: bytes) -> None:
    for name in ("fuzz.csv", "fuzz.parquet", "fuzz.jsonl.gz", "fuzz.jsonl.zst"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(content if name != "fuzz.csv" else b"text\n" + content)
        try:
            assert read_row_file(path).rows
        except UserError as error:
            assert str(path) in str(error)


# -- Parquet and saved datasets ---------------------------------------------------------------

DAY = datetime.date(2026, 1, 2)


PAIR = {"prompt": "q", "answer": "a", "group": None}


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([PAIR, PAIR | {"answer": None}], "'answer' is null; it must be text"),
        ([PAIR, PAIR | {"group": 1.5}], "the number 1.5"),
        ([PAIR | {"answer": 4}], "the number 4; it must be text"),
        ([PAIR | {"answer": DAY}], "of type date"),
        ([PAIR | {"answer": b"a"}], "of type bytes"),
        ([{"messages": CHAT[0]}], "an object; it must be a list of turns"),
        ([{"messages": CHAT}, {"messages": [*CHAT, None]}], "messages[2]"),
        (
            [{"messages": CHAT}, {"messages": [CHAT[0] | {"content": None}, CHAT[1]]}],
            "messages[0].content",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["rows.parquet", "rows"])
def test_wrong_values_of_tables_are_refused_with_the_row(
    tmp_path: Path, kind: str, records: Records, words: str
) -> None:
    path = dict(KINDS)[kind](tmp_path / kind, records)
    with pytest.raises(UserError) as caught:
        read_row_file(path)
    assert caught.value.where == f"{path}:{len(records)}"
    assert words in str(caught.value)


def test_bytes_that_are_no_utf8_are_found_in_their_row(tmp_path: Path) -> None:
    raw = pa.array([b"a", b"b", b"\xff", b"c"], pa.binary())
    text = pa.StringArray.from_buffers(4, *raw.buffers()[1:])
    pq.write_table(pa.table({"text": text}), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_row_file(tmp_path / "rows.parquet")
    assert caught.value.where == f"{tmp_path / 'rows.parquet'}:3"


def test_a_fact_of_a_type_that_json_has_not_is_refused_with_its_row(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "answer": "b", "kind": value} for value in (datetime.date(2026, 1, 2), None)
    ]
    path = write_parquet(tmp_path / "rows.parquet", rows)
    with pytest.raises(UserError, match="'kind' is of type date, which the scorer") as caught:
        read_row_file(path, facts=["kind"])
    assert caught.value.where == f"{path}:1"


def test_a_table_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="two columns are named 'text'"):
        read_row_file(tmp_path / "rows.parquet")


def test_what_is_no_parquet_file_and_what_is_cut_off_is_said(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "rows.parquet", [{"text": "a"}])
    whole = path.read_bytes()
    for content in (b"", b"text\na\n", whole[:-9], whole[:40] + b"\0" * 40 + whole[80:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"Parquet|row cannot be read") as caught:
            read_row_file(path)
        assert str(path) in str(caught.value.where)


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.zst"])
def test_a_compressed_file_that_is_cut_off_is_said(tmp_path: Path, name: str) -> None:
    write = write_gzip if name.endswith("gz") else write_zstd
    path = write(tmp_path / name, [{"text": f"row {i * 7919}"} for i in range(4_000)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"cannot be read \(Truncated") as caught:
        read_row_file(path)
    assert str(caught.value.where).startswith(f"{path}:")


def test_a_folder_of_several_splits_names_them(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(UserError, match=f"{tmp_path.name}/train, {tmp_path.name}/test"):
        read_row_file(tmp_path)


def test_a_saved_dataset_without_its_files_is_refused(tmp_path: Path) -> None:
    path = write_saved(tmp_path / "rows", [{"text": "a"}, {"text": "b"}])
    damaged = path / "data-00001-of-00002.arrow"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(UserError, match="Arrow stream"):
        read_row_file(path)
    damaged.unlink()
    with pytest.raises(UserError, match="no such file"):
        read_row_file(path)
    (path / "state.json").write_text("{}")
    with pytest.raises(UserError, match="no data files"):
        read_row_file(path)
    (path / "state.json").write_text("{")
    with pytest.raises(UserError, match="JSON"):
        read_row_file(path)
    with pytest.raises(UserError, match="save_to_disk"):
        read_row_file(tmp_path)
