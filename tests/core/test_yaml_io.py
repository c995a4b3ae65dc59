"""The parser's part of traps.md 7.5: each fault is one UserError that names file and place."""

from pathlib import Path

import pytest

from keepgain.core.errors import EXIT_BAD_INPUT, UserError
from keepgain.core.yaml_io import (
    MAX_ALIASES,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    load_yaml,
    parse_yaml,
)

BOMB = "a: &a [x, x]\n" + "".join(
    f"b{i}: &b{i} [{', '.join([f'*b{i - 1}' if i else '*a'] * 9)}]\n" for i in range(9)
)
NARROW = "a0: &a0 [x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 3)}]\n" for i in range(1, 16)
)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("name: x\n\tspace: y\n", "s.yaml:2", "not tabs"),  # 26
        ("a: 1\nb: 2\na: 3\n", "s.yaml:a", "given twice.*line 3"),  # 27
        ("data: {t: {path: x, path: y}}\n", "s.yaml:data.t.path", "given twice"),  # 27, nested
        (BOMB, "s.yaml", f"more than {MAX_ALIASES} aliases"),  # 28
        ("a: !!python/object/apply:os.system ['true']\n", "s.yaml:1", "not readable as YAML"),  # 29
        ("a: 1\n---\nb: 2\n", "s.yaml:2", "not readable as YAML"),  # 45
        ("- a\n- b\n", "s.yaml", "must be a mapping"),  # 46
        ("just words\n", "s.yaml", "must be a mapping"),  # 46
        ("", "s.yaml", "empty"),
        ("# only a comment\n", "s.yaml", "empty"),
        ("a: [1, 2\n", "s.yaml:2", "not readable as YAML"),
        ("? [a, b]\n: 1\n", "s.yaml:1", "plain text"),
        ("a: *unknown\n", "s.yaml:1", "not readable as YAML"),
        ("a: " + "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "s.yaml", "levels deep"),
        (NARROW, "s.yaml", f"more than {MAX_NODES} values"),  # 28, within the cap of aliases
        ("a: &a {b: *a}", "s.yaml", "levels deep"),
        ("a: " + "9" * 5000, "s.yaml", "cannot be read"),
        ("a: !!int x\n", "s.yaml", "cannot be read"),
        ("a: 1\nb: !!timestamp 2024-99-99\n", "s.yaml:2", "!!timestamp is not allowed"),
        ("a: !!python/name:os.system\n", "s.yaml:1", "!!python/name"),
        ("a: !!set {x, y}\n", "s.yaml:1", "!!set is not allowed"),
        ("a: !secret x\n", "s.yaml:1", "!secret is not allowed"),
        ("a: " + "[" * 50_000, "s.yaml", "nested too deeply|levels deep|not readable"),
    ],
)
def test_malformed_text_is_one_clear_error(text: str, where: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        parse_yaml(text, "s.yaml")
    assert caught.value.where == where
    assert caught.value.exit_code == EXIT_BAD_INPUT
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),  # 30: a string in PyYAML
        ("1E3", 1000.0),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("1_000", 1000),
        ("0", 0),
        ("no", "no"),  # 31
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30", "12:30"),  # a base-60 number in PyYAML
        ("0o17", "0o17"),
        ("017", "017"),
        ("2024-01-01", "2024-01-01"),
        ("'1e-5'", "1e-5"),
        ("1e", "1e"),
        ("größe", "größe"),
    ],
)
def test_scalars_mean_what_people_mean(text: str, value: object) -> None:
    data, _ = parse_yaml(f"key: {text}\n", "s.yaml")
    assert data["key"] == value and type(data["key"]) is type(value)


def test_words_stay_words_as_keys() -> None:
    data, _ = parse_yaml("no: 1\non: 2\n", "s.yaml")
    assert data == {"no": 1, "on": 2}


def test_every_dotted_key_has_its_line() -> None:
    _, lines = parse_yaml("a: 1\nb:\n  c: [x,\n    y]\n  d: {e: 1}\n", "s.yaml")
    assert lines == {"a": 1, "b": 2, "b.c": 3, "b.c.0": 3, "b.c.1": 4, "b.d": 5, "b.d.e": 5}


def test_a_few_aliases_are_fine() -> None:
    data, _ = parse_yaml("a: &x {k: 1}\nb: *x\n", "s.yaml")
    assert data["b"] == {"k": 1}


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    latin, large = tmp_path / "latin.yaml", tmp_path / "large.yaml"
    latin.write_bytes(b"a: \xff\n")
    large.write_text("a: " + "x" * MAX_BYTES)
    faults = {
        tmp_path / "absent.yaml": "no such file",
        tmp_path: "not a regular file",
        latin: "not UTF-8 at byte 3",
        large: "larger than",
    }
    for path, words in faults.items():
        with pytest.raises(UserError, match=words) as caught:
            load_yaml(path)
        assert caught.value.where == str(path)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert load_yaml(path)[0] == {"a": 1}


def test_a_character_that_yaml_does_not_have_is_refused_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"name: a\x7fb\n")
    with pytest.raises(UserError, match=r"s\.yaml: not readable as YAML: .*#x007f"):
        load_yaml(path)
