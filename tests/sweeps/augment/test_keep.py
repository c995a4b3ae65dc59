"""What of an endpoint's answers may stand for the original."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keepgain.core.endpoint.messages import Answer, Refused
from keepgain.core.errors import UserError
from keepgain.core.perturb import Protected
from keepgain.core.rows import Row, RowSpool
from keepgain.core.schema import parse
from keepgain.sweeps.augment import copies, keep
from keepgain.sweeps.augment.keep import Items, cleaned, fault, parts_to_keep
from keepgain.sweeps.augment.questions import protected_parts
from keepgain.sweeps.augment.write import write_jsonl
from keepgain.sweeps.located import Located, Places
from keepgain.sweeps.spec_augment import AugmentKeys
from keepgain.sweeps.spec_data import DataRules

QUESTION = "Is order AB-12 of 3,500 euros at desk 4 or at Desk 5? Ada asked"
ROW = Row("r", "pair", prompt=QUESTION, answer="desk 4", choices=("desk 4", "Desk 5", "desk 9"))


def said(text: str, **more: Any) -> Answer:
    return Answer(text, more.pop("finish", "stop"), 1, 1, **more)


def test_entities_group_words_and_answers_in_the_question_are_kept() -> None:
    protected = Protected(frozenset({"ada"}), (re.compile(r"[A-Z]{2}-\d+"),))
    assert parts_to_keep(ROW, protected) == ("AB-12", "Ada", "desk 4", "Desk 5")
    assert parts_to_keep(Row("r", "pair", prompt="shield", answer="hi"), Protected()) == ()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_jsonl(tmp_path / ("a" * 250), [{"a": 1}])


def test_an_entity_that_takes_for_ever_to_find_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (copies, keep):
        monkeypatch.setattr(module, "PATTERN_SECONDS", 0.1)
    rules = parse(DataRules, {"entities": {"x": "(a+)+$"}}, source="")
    row = Row("r", "pair", prompt=f"{'a' * 60}! is what it says", answer="b")
    with pytest.raises(UserError, match=r"data_spec\.entities: matching took more than"):
        parts_to_keep(row, protected_parts(rules))
    spool = RowSpool()
    spool.add(row)
    rows = Located(spool.rows(), Places(Path("rows.jsonl"), np.array([1])))
    keys = AugmentKeys(augment="tickets", by=("typos",))
    with pytest.raises(UserError, match=r"data_spec\.entities: matching took more than"):
        copies.copied_rows(rows, keys, rules, "data.typos")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Ada wants to know: is AB-12, 3,500 euros, with desk 4 or desk 5?", None),
        ("", "empty"),
        (f"  {QUESTION.upper()} ", "same"),
        ("Ada wants to know: is AB-12, 3,500 euros, with the fourth desk or desk 5?", "lost"),
        ("Ada wants to know: is AB-12, 3500 euros, with desk 4 or desk 5?", "lost"),
        (f"{QUESTION} {QUESTION} {QUESTION} {QUESTION}", "length"),
    ],
)
def test_texts_that_lost_something_are_told(text: str, reason: str | None) -> None:
    found = fault(said(text), cleaned(text, QUESTION), ROW, ("desk 4", "Desk 5"))
    assert (found or "").partition(":")[0] == (reason or "")


def test_cut_filtered_and_refused_answers_are_told() -> None:
    text = "Ada wants to know: is AB-12, 3,500 euros, with desk 4 or desk 5?"
    assert str(fault(said(text, finish="length"), text, ROW, ())).startswith("cut")
    assert str(fault(said(text, finish="content_filter"), text, ROW, ())).startswith("filtered")
    assert fault(Refused("status 400: too long"), "", ROW, ()) == "refused: status 400: too long"


def test_quotes_that_a_model_adds_are_taken_off() -> None:
    assert cleaned(' "Where is it?" ', "Where was it?") == "Where is it?"
    assert cleaned('"No" means no', "No is no") == '"No" means no'
    assert cleaned('"Yes"', '"Yes" he said') == '"Yes"'


def test_items_are_recognised_exactly_and_nearly() -> None:
    words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi"
    item = f"{words} rho sigma tau upsilon phi chi psi omega"
    learnt = [Row(str(i), "pair", prompt=f"say letter {i}", answer="x") for i in range(50)]
    exam = [Row("1", "pair", prompt=item, answer="x"), Row("2", "text", text="A short fact")]
    items = Items(exam, learnt)
    assert items.has(item.upper()) and items.has("a  short fact")
    assert items.has(item.replace("delta", "DELTA,").replace("sigma", "sigmas"))
    assert not items.has(" ".join(reversed(item.split())))
    assert not items.has("Another short fact")
