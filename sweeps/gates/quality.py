"""Rows that teach nothing or something wrong: empty, broken, copied, looping, cut off."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.core.rows import Row
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet, normalised
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.scan import Arrays, scan_sets

PROBE = "quality"
FAULTS = {
    "empty_rows": "have nothing but white space, punctuation or a word for nothing where an answer "
    "(a text) should be",
    "answers_repeat_prompts": "answer with their own prompt",
    "broken_characters": "have control characters or ones of a wrong encoding (`Ã©`, U+FFFD)",
    "broken_markup": "begin as JSON, a code block or markup and do not end as such",
    "boilerplate_rows": "have boilerplate (of web pages or of assistants)",
    "looping_rows": "repeat a few words again and again",
}
"""Code of each fault that a row has by itself, and what its finding says."""
MIN_WORDS = 5
"""Shorter answers and texts are labels or headings: their ends and lengths tell nothing."""
ENDING_SHARE = 0.85
"""Share of ended texts from which one without an end is one that was cut off."""
FAR = 6.0
"""Robust z of the log length beyond which a row is far from the others; ten times shorter or
longer it must be as well."""
LONG_ANSWER = 40
"""Characters from which answers that many rows share are no labels."""
_SHARED_ROWS = 5
_FEW = 30
"""Rows below which nothing is typical."""

_MOJIBAKE = re.compile("[ÂÃ][\u0080-\u00bf]|â€|ï»¿|ðŸ|(?:[ÐÑ][\u0080-\u00bf]){2}|\ufffd")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_BOILERPLATE = (
    "as an ai language model", "as a large language model", "as an ai assistant", "as an ai model",
    "my knowledge cutoff", "my training data only", "regenerate response", "lorem ipsum",
    "click here to", "subscribe to our", "sign up for our", "to unsubscribe",
    "this site uses cookies",
    "this website uses cookies", "we use cookies", "uses cookies to", "accept all cookies",
    "accept cookies", "our cookie policy", "enable javascript", "javascript is disabled",
    "your browser does not support", "follow us on", "share this on", "share on facebook",
    "affiliate links", "skip to main content", "all rights reserved. privacy", "add to cart",
    "[insert name", "[insert your", "terms of use and privacy policy",
)  # fmt: skip
_NOTHING = {"null", "nan", "n/a", "#n/a", "undefined", "todo", "tbd", "placeholder", "[deleted]",
            "[removed]"}  # fmt: skip
_JSON = re.compile(r'\s*(?:\{\s*["}]|\[\s*(?:[{"]|\[\s*["\d]))')
_DECODER = json.JSONDecoder()
_TAG = re.compile(r"<(/?)([A-Za-z][\w:-]*)(?:\s[^<>]*)?(/?)>")
_ELEMENTS = {
    "html", "head", "body", "div", "span", "table", "ul", "ol", "a", "b", "i", "em", "strong",
    "pre", "code", "h1", "h2", "h3", "h4", "script", "style", "form", "button", "section",
    "article", "nav",
}  # fmt: skip
_VOID = {"br", "hr", "img", "input", "meta", "link", "li", "p", "td", "tr", "th", "dt", "dd"}
"""Elements that need no closing tag."""
_CUT = re.compile(
    r"(?:,|\b(?:a|an|the|of|and|or|to|in|with|for|that|which|is|are|by|from|at|its|their))\s*\Z"
)
"""No sentence of English ends so."""
_ENDED = tuple(".!?…:;)]}>\"'”’»`*|。！？」』।؟")
_LONG_WORD = 24
_LETTERS_LOOP = re.compile(r"([^\W\d_])\1{11,}|([^\W\d_]{2,12}?)\2{5,}")


@dataclass(frozen=True)
class QualityProbe:
    """What is wrong with each row by itself, and what the set's own measure is held against."""

    name: str = PROBE

    def measure(self, rows: Sequence[Row]) -> Arrays:
        """`faults`: bool of shape [rows, faults], in the order of `FAULTS`. `characters`: int32 of
        question and answer; `words` and `end`: of the answer, or of a text; 1: as sentences end,
        -1: as none does, 0: otherwise. `answer`, `question`: uint64, equal for equal ones; `long`:
        bool, of the answer. All of shape [rows].
        """
        n = len(rows)
        faults = np.zeros((n, len(FAULTS)), dtype=np.bool_)
        lengths = np.zeros((n, 3), dtype=np.int32)
        keys = np.zeros((n, 2), dtype=np.uint64)
        long = np.zeros(n, dtype=np.bool_)
        for i, row in enumerate(rows):
            question, last = row.question(), row.text if row.kind == "text" else row.answer
            faults[i] = _faults(row, question, last)
            whole = len(question) + len(row.answer)
            lengths[i] = whole, len(last.split()), _end(last)
            keys[i] = _key(row.answer), _key(question)
            long[i] = len(row.answer) >= LONG_ANSWER
        characters, words, end = lengths.T
        answer, asked = keys.T
        return {
            "faults": faults,
            "characters": characters,
            "words": words,
            "end": end,
            "answer": answer,
            "question": asked,
            "long": long,
        }


def _key(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _end(text: str) -> int:
    if text.rstrip().endswith(_ENDED):
        return 1
    return -1 if _CUT.search(text[-20:]) else 0


def _faults(row: Row, question: str, last: str) -> tuple[bool, ...]:
    whole = f"{question}\n{row.answer}"
    low = whole.lower()
    asked = row.messages[-2]["content"] if len(row.messages) > 1 else row.prompt
    strange = not whole.isascii() and _MOJIBAKE.search(whole) is not None
    return (
        _is_nothing(last),
        len(last) > 1 and normalised(asked) == normalised(last),
        strange or _CONTROL.search(whole) is not None,
        last.count("```") % 2 == 1 or _is_broken(last) or _is_broken(asked),
        any(phrase in low for phrase in _BOILERPLATE),
        _loops(whole.split()),
    )


def _is_nothing(text: str) -> bool:
    return len(text) < 200 and (
        not any(c.isalnum() or ord(c) > 0x2000 for c in text) or text.strip().lower() in _NOTHING
    )


def _is_broken(text: str) -> bool:
    """It begins as JSON or markup, and does not go on so."""
    if _JSON.match(text):
        try:
            _DECODER.raw_decode(text.lstrip())
        except (ValueError, RecursionError):
            return True
        return False
    if not text.lstrip().startswith("<"):
        return False
    begun, ended = Counter[str](), Counter[str]()
    for closing, name, empty in _TAG.findall(text):
        if not empty and name.lower() not in _VOID:
            (ended if closing else begun)[name.lower()] += 1
    # `<name of author>` is a blank to fill in.
    return any(begun[n] != ended[n] for n in {*begun, *ended} if n in _ELEMENTS or ended[n])


def _loops(words: Sequence[str]) -> bool:
    """At most eight words, or a part of one word, at least four times running."""
    if max(map(len, words), default=0) > _LONG_WORD and any(
        _LETTERS_LOOP.search(word) for word in words if len(word) > _LONG_WORD
    ):
        return True
    triples = [*zip(words, words[1:], words[2:], strict=False)]
    if len(triples) - len({*triples}) < 2 or max(Counter(triples).values()) < 3:
        return False
    return any(_runs(words, lag) for lag in range(1, 9))


def _runs(words: Sequence[str], lag: int) -> bool:
    """Tables and rules of signs repeat as well: a loop has letters."""
    run = 0
    for i in range(lag, len(words)):
        run = run + 1 if words[i] == words[i - lag] else 0
        if run >= max(4, 3 * lag):
            if any(c.isalpha() for word in words[i - lag + 1 : i + 1] for c in word):
                return True
            run = 0
    return False


def check_quality(
    sets: Sequence[RowSet], measured: Mapping[str, Arrays] | None = None
) -> list[Finding]:
    """One warning a set and fault.

    Args:
        sets: The rows.
        measured: Label → what `QualityProbe` measured; None: measured here.
    """
    if measured is None:
        measured = {k: v[PROBE] for k, v in scan_sets(sets, [QualityProbe()]).items()}
    findings = []
    for rows in sets:
        arrays = measured[rows.label]
        if not len(rows.rows):
            continue
        for k, (code, said) in enumerate(FAULTS.items()):
            findings += _found(rows, code, arrays["faults"][:, k], said)
        findings += _cut_off(rows, arrays) + _far_lengths(rows, arrays) + _shared(rows, arrays)
    return findings


def faulty(arrays: Arrays) -> npt.NDArray[np.bool_]:
    """True for rows with one of `FAULTS`; of shape [rows].

    Args:
        arrays: What `QualityProbe` measured.
    """
    faults = arrays["faults"]
    held = [not _is_the_task(code, faults[:, k]) for k, code in enumerate(FAULTS)]
    return np.asarray(faults[:, held].any(axis=1), dtype=np.bool_)


def _is_the_task(code: str, flagged: npt.NDArray[np.bool_]) -> bool:
    """Punctuation as the answer to most questions is the task, and so are prompts without
    answers."""
    return code == "empty_rows" and int(flagged.sum()) > len(flagged) / 2


def _found(
    rows: RowSet, code: str, flagged: npt.NDArray[np.bool_], said: str, hint: str | None = None
) -> list[Finding]:
    where = np.flatnonzero(flagged)
    count, of = len(where), len(rows.rows)
    if not count or _is_the_task(code, flagged):
        return []
    return [
        Finding(
            code=code,
            severity="warning",
            where=rows.label,
            message=f"{count:,} of {of:,} rows {said}.",
            all_rows=found_in(rows, where),
            hint=hint or "Correct them or take them out.",
            count=count,
            of=of,
            figures={"share": count / of},
        )
    ]


def _cut_off(rows: RowSet, arrays: Arrays) -> list[Finding]:
    looked, end = arrays["words"] >= MIN_WORDS, arrays["end"]
    total = int(looked.sum())
    share = float((end[looked] == 1).mean()) if total >= _FEW else 0.0
    if share < 0.5:  # lists, titles, or a text cut into pieces
        return []
    cut = looked & (end < 1 if share >= ENDING_SHARE else end < 0)
    said = f"end in the middle of a sentence, where {share:.0%} of all end with one"
    return _found(rows, "cut_off_rows", cut, said, "Was an export or a generation limited?")


def _far_lengths(rows: RowSet, arrays: Arrays) -> list[Finding]:
    """Robust z by median and MAD of log lengths (Iglewicz and Hoaglin 1993)."""
    if len(rows.rows) < _FEW:
        return []
    logs = np.log1p(arrays["characters"].astype(np.float64))
    median = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - median))), 0.1)
    off = (logs - median) / spread
    tenfold = np.abs(logs - median) > np.log(10)
    typical = f"({np.expm1(median):,.0f} characters)"
    return [
        *_found(
            rows, "very_long_rows", (off > FAR) & tenfold, f"are far longer than the rest {typical}"
        ),
        *_found(
            rows, "very_short_rows", (off < -FAR) & tenfold,
            f"are far shorter than the rest {typical}",
        ),
    ]  # fmt: skip


def _shared(rows: RowSet, arrays: Arrays) -> list[Finding]:
    """Where most answers are their row's own, one that many questions share is none to any."""
    long = np.flatnonzero(arrays["long"])
    asked, answers = arrays["question"][long], arrays["answer"][long]
    order = np.lexsort((asked, answers))
    asked, answers = asked[order], answers[order]
    if len(answers) < _FEW:
        return []
    first = np.ones(len(answers), dtype=np.bool_)
    first[1:] = (answers[1:] != answers[:-1]) | (asked[1:] != asked[:-1])
    distinct, questions = np.unique(answers[first], return_counts=True)
    if (questions == 1).sum() < first.sum() / 2:
        return []
    shared = distinct[questions >= max(_SHARED_ROWS, 0.001 * len(answers))]
    flagged = arrays["long"] & np.isin(arrays["answer"], shared)
    said = f"have one of {len(shared):,} long answers that different questions share word for word"
    return _found(rows, "shared_answers", flagged, said)
