"""What may be printed."""

import pytest

from keepgain.core.terminal import clean, shown


@pytest.mark.parametrize("half", ["\ud800", "\udbff", "\udc00", "\udfff"])
def test_half_a_character_is_no_character(half: str) -> None:
    assert clean(f"a{half}b") == shown(f"a{half}b") == "ab"
    assert clean("😀") == shown("😀") == "😀"
