"""`loss: all_turns` against chat templates, before anything starts."""

from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import TEMPLATE, make_model, make_world, write_jsonl

THINKING = TEMPLATE.replace(
    "{{ m['content'] }}",
    "{% if loop.last and m['role'] == 'assistant' %}hm {% endif %}{{ m['content'] }}",
).replace("<assistant>{% endif %}", "<assistant>hm {% endif %}")
LAST, ALL = "training: {loss: last_turn}\n", "training: {loss: all_turns}\n"


def prepared(folder: Path, template: str, keys: str, turns: int = 2) -> Prepared:
    path = make_world(folder, models=0)
    make_model(folder / "m0", template=template)
    chat = [{"role": r, "content": "say"} for r in ("user", "assistant") * turns]
    rows = [{"messages": [{"role": "user", "content": f"t {i}"}, *chat[1:]]} for i in range(100)]
    write_jsonl(folder / "tickets.jsonl", rows)
    text = path.read_text().replace("models: []", "models: [m0]")
    if keys.startswith("training"):
        text += keys
    else:
        text = text.replace("space:\n", f"space:\n  {keys}\n")
    path.write_text(text)
    return prepare(load_spec(path), None)


@pytest.mark.parametrize("keys", [ALL, "loss: [last_turn, all_turns]"])
def test_a_template_that_hides_earlier_turns_is_refused_with_the_row(
    tmp_path: Path, keys: str
) -> None:
    where = "training" if keys == ALL else "space"
    with pytest.raises(UserError, match=r"tickets.jsonl:\d+: turn 2 .*differently.*m0") as found:
        prepared(tmp_path, THINKING, keys)
    assert f"{where}.loss (line" in str(found.value)
    assert "last_turn" in str(found.value)


def test_chats_of_one_answer_and_the_last_turn_alone_are_not_refused(tmp_path: Path) -> None:
    prepared(tmp_path / "last", THINKING, LAST)
    prepared(tmp_path / "one", THINKING, ALL, turns=1)


def test_the_loss_reaches_the_trial_and_the_default_changes_no_id(tmp_path: Path) -> None:
    params = {"method": "full", "learning_rate": 1e-4}
    last, every = (
        prepared(tmp_path / name, TEMPLATE, keys) for name, keys in (("last", LAST), ("all", ALL))
    )
    assert every.trial_config("m0", params).loss == "all_turns"
    both = (p.trial_config("m0", params) for p in (last, every))
    assert len({c.trial_id for c in both}) == 2
    unsaid = prepared(tmp_path / "unsaid", TEMPLATE, "training: {}\n")
    assert unsaid.sweep_id == last.sweep_id != every.sweep_id
