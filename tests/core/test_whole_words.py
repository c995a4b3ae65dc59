"""Texts as whole words."""

from keepgain.core.whole_words import whole_words


def test_a_text_is_found_as_it_stands_but_not_within_a_longer_word() -> None:
    found = whole_words("art", "c++", "a|b")
    assert [m.group() for m in found.finditer("art, start, artful, c++, a|b. art")] == [
        "art",
        "c++",
        "a|b",
        "art",
    ]
    assert whole_words("a").search("3a") is None


def test_case_counts_unless_it_is_to_be_ignored() -> None:
    assert whole_words("art").search("Art") is None
    assert whole_words("art", ignore_case=True).search("Art") is not None
