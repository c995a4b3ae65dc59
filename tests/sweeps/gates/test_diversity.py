"""How rows differ, by hand-worked numbers."""

import math

import pytest

from keepgain.sweeps.gates import diversity as module
from keepgain.sweeps.gates.diversity import check_diversity, diversity
from tests.sweeps.gates.prose import pair_set, paragraphs, text_set


def test_distinct_runs_are_counted_over_all_rows() -> None:
    """`a b a` and `a b`: 2 of 5 words are different, of 3 pairs 2 (a b, b a), of 1 triple 1."""
    found = diversity(text_set("x/train", ["a b a", "a b"]).rows)
    assert found.distinct == pytest.approx((2 / 5, 2 / 3, 1.0))


def test_templates_leave_out_numbers_names_and_rare_words() -> None:
    asked = [f"How far is it from {a} to Lower {b} in {n} days?" for a, b, n in (
        ("Ulm", "Bex", 3), ("Rom", "Aix", 17), ("Pau", "Gap", 40))]  # fmt: skip
    asked += ["Name all primes below 20!", "Name all primes below 30!"]
    found = diversity(pair_set("x/train", [(q, "x") for q in asked]).rows)
    assert (found.templates, found.template) == (2, "how far is it from * to * in # days")
    assert found.largest == 0.6
    # exp of -(.6 ln .6 + .4 ln .4)
    assert found.effective_templates == pytest.approx(math.exp(0.6730117))
    assert found.fixed == pytest.approx(8 / 12)


def test_a_source_of_one_template_is_warned_of() -> None:
    rows = [(f"Please tell me the price of {n} pounds of it today.", "1") for n in range(40)]
    (finding,) = check_diversity([pair_set("one/train", rows)])
    assert (finding.code, finding.severity, finding.count) == ("one_template", "warning", 40)
    assert finding.figures["effective_templates"] == pytest.approx(1)
    (items,) = check_diversity([pair_set("one/test", rows)])
    assert items.severity == "note" and "cluster" in (items.hint or "")


def test_rows_of_their_own_wording_get_a_note_and_items_nothing() -> None:
    (finding,) = check_diversity(
        [text_set("docs/train", paragraphs()), text_set("s/test", paragraphs())]
    )
    assert (finding.code, finding.severity) == ("diversity", "note")
    assert finding.figures["effective_templates"] > 0.9 * len(paragraphs())


def test_bare_slots_are_no_template() -> None:
    rows = [(f"A:{n}+{n % 7}=", str(n)) for n in range(40)]
    assert [f.code for f in check_diversity([pair_set("sums/train", rows)])] == ["diversity"]


def test_the_rows_looked_at_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 25)
    (finding,) = check_diversity([text_set("docs/train", paragraphs()[:60])])
    assert "Looked at 25 of 60." in finding.message and finding.of == 25
    assert check_diversity([text_set("few/train", ["a", "b"])]) == []
