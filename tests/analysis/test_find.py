"""Trials by what a person types."""

import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.find import find_name, find_row
from keepgain.analysis.result import Row
from keepgain.core.errors import UserError
from tests.analysis.evidence import Trial, base, build


@pytest.fixture(scope="module")
def rows() -> tuple[Row, ...]:
    trials = [
        base("s"),
        base("m"),
        Trial("abc", "m", 0.8, seeds=1),
        Trial("abcdef99", "m", 0.8, seeds=1),
        Trial("abcdxx11", "s", 0.8, seeds=1),
    ]
    return analyze(build(trials, n_items=40)).rows


@pytest.mark.parametrize(
    ("given", "trial"),
    [
        ("abc", "abc"),  # in full, before the beginnings of others
        ("abcdef", "abcdef99"),
        ("abcde", "abcdef99"),
        ("s abcdxx", "abcdxx11"),
        ("S-Base", "base-s"),
        ("m/base", "base-m"),
    ],
)
def test_ids_labels_and_their_beginnings(rows: tuple[Row, ...], given: str, trial: str) -> None:
    assert find_row(rows, given).who.trial_id == trial


def test_several_or_none_are_named(rows: tuple[Row, ...]) -> None:
    with pytest.raises(UserError, match="'abcd' may be any of s abcdxx, m abcdef"):
        find_row(rows, "abcd")
    with pytest.raises(UserError, match=r"no trial.* 'abcdex'\. Nearest: .*m abcdef"):
        find_row(rows, "abcdex")
    with pytest.raises(UserError, match="Known: s base, s abcdxx, m base"):
        find_row(rows, "zzzzzzzz")


def test_names_from_outside_are_said_without_control_characters() -> None:
    with pytest.raises(UserError) as raised:
        find_name("suite", "a\x1b[31m", ["facts"])
    assert "\x1b" not in str(raised.value)
