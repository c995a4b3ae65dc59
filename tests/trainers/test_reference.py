import pytest

from keepgain.core.rows import Row
from keepgain.trainers.encode import spans_of
from keepgain.trainers.reference import Prompting, prompt_ids
from tests.trainers import tiny

ROW = Row("p", "pair", prompt="1+2=", answer="3", context="a hint")
SHOTS = ({"prompt": "4+4=", "answer": "8"},)


def shown(template: str | None, prompting: Prompting, row: Row = ROW) -> str:
    codec = tiny.codec(template)
    ids = prompt_ids(codec, row, prompting)
    return "".join(codec.tokenizer.convert_ids_to_tokens(ids))


@pytest.mark.parametrize("template", [None, tiny.PLAIN_TEMPLATE, tiny.MARKED_TEMPLATE])
def test_the_base_is_asked_with_exactly_the_prompt_of_training(template):
    codec = tiny.codec(template)
    assert prompt_ids(codec, ROW, Prompting()) == spans_of(codec, [ROW])[0][0]


def test_arms_without_template_are_pieces_with_a_blank_line_between():
    assert shown(None, Prompting("system_prompt", "add")) == "add\n\n1+2="
    assert shown(None, Prompting("few_shot", few_shot=SHOTS)) == "4+4=8\n\n1+2="
    assert shown(None, Prompting("context")) == "a hint\n\n1+2="


def test_arms_with_template_are_turns():
    turn = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    system = shown(tiny.PLAIN_TEMPLATE, Prompting("system_prompt", "add"))
    assert system == "<|im_start|>system\nadd<|im_end|>\n" + turn.format("1+2=")
    shots = shown(tiny.MARKED_TEMPLATE, Prompting("few_shot", few_shot=SHOTS))
    assert shots == turn.format("4+4=") + "8<|im_end|>\n" + turn.format("1+2=")
    context = shown(tiny.PLAIN_TEMPLATE, Prompting("context"))
    assert context == turn.format("a hint\n\n1+2=")


@pytest.mark.parametrize("template", [None, tiny.PLAIN_TEMPLATE, tiny.MARKED_TEMPLATE])
def test_an_item_without_context_is_asked_as_it_stands(template):
    row = Row("q", "pair", prompt="1+1=", answer="2")
    assert shown(template, Prompting("context"), row) == shown(template, Prompting(), row)
