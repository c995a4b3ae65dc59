"""How much the rows of a set differ: distinct n-grams, and the templates they are made from."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.core.rows import Row
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.shingles import distinct, hash_words, normal, row_text, shingles
from keepgain.sweeps.gates.sketches import sampled_rows

SAMPLE = 5_000
"""Rows looked at of a longer set: shares of distinct n-grams fall with the number of rows."""
FEW_ROWS = 20
TEMPLATE_WORDS = 200
"""First words of a row that its template is told by."""
RARE = 0.01
"""A word in a smaller share of the rows fills a slot of a template."""
NARROW = 0.5
"""Share of the rows that one template may hold."""
LEAST_FIXED = 3
"""Words that a template has, below which it says nothing about how rows are put."""

_TOKEN = re.compile(r"[^\W\d]+|\d+|[.!?:\n]")
_SLOT, _NUMBER = "*", "#"


@dataclass(frozen=True)
class Diversity:
    """Of the rows looked at."""

    rows: int
    distinct: tuple[float, float, float]
    """Different runs of 1, 2 and 3 words, over all of them (Li et al. 2016, "distinct-n")."""
    templates: int
    effective_templates: float
    """exp of the Shannon entropy of the templates' shares: the Hill number of order 1 (Hill 1973).
    """
    largest: float
    """Share of the rows that the largest template holds."""
    template: str
    """The largest: `*` words that change, `#` numbers."""
    fixed: float
    """Share of its rows' words that the template has."""

    @property
    def narrow(self) -> bool:
        """True if one template holds most rows and most of what they say."""
        words = sum(part not in (_SLOT, _NUMBER) for part in self.template.split())
        return self.largest > NARROW and self.fixed >= NARROW and words >= LEAST_FIXED


def diversity(rows: Sequence[Row]) -> Diversity:
    """Of some rows; at least one.

    A template is what is left of a question (or text) without numbers, capitalised words inside of
    sentences and words in fewer than a hundredth of the rows.
    """
    words = hash_words([normal(row_text(row)) for row in rows])
    unlike = []
    for size in (1, 2, 3):
        runs = shingles(words, size)[words.left >= size]
        unlike.append(len(distinct(runs)) / max(len(runs), 1))
    texts = [_TOKEN.findall(row.question())[:TEMPLATE_WORDS] for row in rows]
    common = Counter(word for text in texts for word in {t.casefold() for t in text})
    least = max(2.0, RARE * len(rows))
    forms = Counter[str]()
    fixed, total = Counter[str](), Counter[str]()
    for text in texts:
        form = _template(text, common, least)
        parts = form.split()
        forms[form] += 1
        fixed[form] += sum(part not in (_SLOT, _NUMBER) for part in parts)
        total[form] += sum(t[0].isalnum() for t in text)
    template, most = forms.most_common(1)[0]
    shares = np.array(list(forms.values())) / len(rows)
    return Diversity(
        rows=len(rows),
        distinct=(unlike[0], unlike[1], unlike[2]),
        templates=len(forms),
        effective_templates=math.exp(float(-(shares * np.log(shares)).sum())),
        largest=most / len(rows),
        template=template,
        fixed=fixed[template] / max(total[template], 1),
    )


def _template(tokens: Sequence[str], common: Counter[str], least: float) -> str:
    form: list[str] = []
    begins = True
    for token in tokens:
        if not token[0].isalnum():
            begins = True
            continue
        folded = token.casefold()
        if token[0].isdigit():
            part = _NUMBER
        elif (token[0].isupper() and not begins) or common[folded] < least:
            part = _SLOT
        else:
            part = folded
        begins = False
        if part not in (_SLOT, _NUMBER) or form[-1:] != [part]:  # a slot holds any number of words
            form.append(part)
    return " ".join(form)


def check_diversity(sets: Sequence[RowSet]) -> list[Finding]:
    """Of sets of at least `FEW_ROWS` rows, a note on each source, or a warning where one template
    holds most rows and most of what they say; of suites a note where that is so."""
    findings = []
    for one in sets:
        if len(one.rows) < FEW_ROWS:
            continue
        found = diversity(sampled_rows(one.rows, SAMPLE))
        if one.part == "train" or found.narrow:
            findings.append(_finding(one, found))
    return findings


def _finding(one: RowSet, found: Diversity) -> Finding:
    train = one.part == "train"
    kind = "rows" if train else "items"
    hint = None
    if found.narrow:
        hint = (
            "Add rows that are put differently: the model may learn the template."
            if train
            else "Items of one template say less than as many different ones: name the field that "
            "they share as `cluster`."
        )
    if found.templates == found.rows:
        templates = f"each of {found.rows:,} {kind} is put in its own way"
    else:
        ways = "1 way" if found.templates == 1 else f"{found.templates:,} ways"
        templates = (
            f"{found.rows:,} {kind} are put in {ways}, which is as varied as "
            f"{found.effective_templates:,.0f} equally frequent ones; the commonest holds "
            f"{found.largest:.0%} ({_shown(found.template)})"
        )
    seen = f" Looked at {found.rows:,} of {len(one.rows):,}." if found.rows < len(one.rows) else ""
    return Finding(
        code="one_template" if found.narrow else "diversity",
        severity="warning" if found.narrow and train else "note",
        where=one.label,
        message=f"{templates}. Of pairs of words {found.distinct[1]:.0%} are distinct.{seen}",
        hint=hint,
        count=round(found.largest * found.rows),
        of=found.rows,
        figures={
            "distinct_1": found.distinct[0],
            "distinct_2": found.distinct[1],
            "distinct_3": found.distinct[2],
            "templates": float(found.templates),
            "effective_templates": found.effective_templates,
            "largest_template": found.largest,
        },
    )


def _shown(template: str) -> str:
    return f"'{template[:60]}...'" if len(template) > 60 else f"'{template}'"
