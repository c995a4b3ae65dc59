"""Texts found in longer ones as whole words."""

import re


def whole_words(*texts: str, ignore_case: bool = False) -> re.Pattern[str]:
    """Finds any of the texts where it is no part of a longer word.

    Words are runs of `\\w`, so in scripts without blanks nothing is found inside a sentence.
    """
    some = "|".join(map(re.escape, texts))
    return re.compile(rf"(?<!\w)(?:{some})(?!\w)", re.IGNORECASE if ignore_case else 0)
