"""Texts in another language than the source's."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from keepgain.core.rows import Row
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import found_in

SAMPLE = 20_000
MIN_LETTERS = 40
"""Shorter texts are not looked at: with 20 to 40 letters one in five goes unseen."""
MAX_CHARACTERS = 1_000
"""Of a text that are looked at; the rest would tell the same."""
MIN_PROBABILITY = 0.5
MAX_EXPECTED = 0.01
"""A text is of another language if that has at least the one and the expected ones together at most
the other probability: languages that are alike (Danish, Norwegian) are not told apart so."""
OWN_SHARE = 0.25
"""A language with this share of a source is one of its own."""
_FEW = 20
_NO_LANGUAGE = {"zxx", "und", "mis"}
"""What the model says of addresses, code and figures."""


def sampled(rows: int, size: int) -> npt.NDArray[np.int64]:
    """Positions, ascending and the same in every run."""
    if rows <= size:
        return np.arange(rows, dtype=np.int64)
    return np.sort(np.random.default_rng(0).choice(rows, size, replace=False))


def parts(row: Row) -> Iterator[tuple[str, str]]:
    """(part, text) of what may be of a language each: questions of translations are of another
    one than the answers."""
    if row.kind == "text":
        yield "texts", row.text
        return
    chat = [m["content"] for m in row.messages[:-1]]
    yield "prompts", " ".join(chat) if chat else row.prompt
    yield "answers", row.answer


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def probabilities(text: str) -> dict[str, float] | None:
    """ISO 639 code → probability, the likeliest first, by a naive Bayes model of byte n-grams (Lui
    and Baldwin 2012); None: the text has too few letters."""
    text = text[:MAX_CHARACTERS]
    letters = sum(map(str.isalpha, text))
    if not text.isascii():  # a Chinese character says as much as three letters
        letters += 2 * sum(c > "\u2e80" for c in text)
    if letters < MIN_LETTERS:
        return None
    return dict(_identifier().rank(text))


@dataclass(frozen=True)
class _Seen:
    row: int
    part: str
    likeliest: str
    probability: Mapping[str, float]


def check_language(
    sets: Sequence[RowSet], languages: Sequence[str] = (), sample: int = SAMPLE
) -> list[Finding]:
    """One warning a set and part (prompts, answers, texts) with texts in another language.

    Args:
        sets: The rows.
        languages: Of the spec (`en`, `pt-BR`); none: those that most texts of the set and part are
            in.
        sample: Rows of each set that are looked at.
    """
    given = {name.replace("_", "-").partition("-")[0].lower() for name in languages}
    findings = []
    for rows in sets:
        seen, short = _look(rows, sample)
        for part in dict.fromkeys(s.part for s in seen):
            of_part = [s for s in seen if s.part == part]
            expected = given or _own(of_part)
            if expected:
                findings += _finding(rows, part, of_part, short[part], expected, sample)
    return findings


def _look(rows: RowSet, sample: int) -> tuple[list[_Seen], Counter[str]]:
    seen, short = [], Counter[str]()
    for i in sampled(len(rows.rows), sample).tolist():
        for part, text in parts(rows.rows[i]):
            found = probabilities(text)
            likeliest = next(iter(found)) if found else ""
            if not found or likeliest in _NO_LANGUAGE:
                short[part] += 1
            else:
                kept = {k: p for k, p in found.items() if p > 1e-4}
                seen.append(_Seen(i, part, likeliest, kept))
    return seen, short


def _own(seen: Sequence[_Seen]) -> set[str]:
    """Languages that a good part of the texts is in; none if no language has half of them."""
    counts = Counter(s.likeliest for s in seen)
    (_, most) = counts.most_common(1)[0]
    if len(seen) < _FEW or most < len(seen) / 2:
        return set()
    return {name for name, count in counts.items() if count >= OWN_SHARE * len(seen)}


def _finding(
    rows: RowSet, part: str, seen: Sequence[_Seen], short: int, expected: set[str], sample: int
) -> list[Finding]:
    wrong = [
        s
        for s in seen
        if s.likeliest not in expected
        and s.probability[s.likeliest] >= MIN_PROBABILITY
        and sum(s.probability.get(name, 0.0) for name in expected) <= MAX_EXPECTED
    ]
    if not wrong:
        return []
    named = ", ".join(f"{n} {c}" for n, c in Counter(s.likeliest for s in wrong).most_common(3))
    looked = f"{len(seen):,} {part}"
    of = f" of {sample:,} rows drawn" if len(rows.rows) > sample else ""
    return [
        Finding(
            code="wrong_language",
            severity="warning",
            where=rows.label,
            message=f"{len(wrong):,} of {looked} looked at{of} are not in {_listed(expected)} "
            f"({named}); {short:,} have fewer than {MIN_LETTERS} letters or no language.",
            all_rows=found_in(rows, [s.row for s in wrong]),
            hint="Take them out, or name all languages in the data specification.",
            count=len(wrong),
            of=len(seen),
            figures={"share": len(wrong) / len(seen), "not_looked_at": float(short)},
        )
    ]


def _listed(names: set[str]) -> str:
    return " or ".join(sorted(names))
