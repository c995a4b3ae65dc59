import pytest
from transformers import AutoTokenizer  # noqa: F401 - the import that makes tokenizers usable

from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.trainers.data import IGNORED, collate
from keepgain.trainers.encode import Encoded, encode_rows
from keepgain.trainers.tokens import Codec
from tests.trainers import tiny

CHAT = Row(
    "c",
    "chat",
    messages=(
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "four"},
    ),
    answer="four",
)
PAIR = Row("p", "pair", prompt="1+2=", answer="3")
TEXT = Row("t", "text", text="abc")


def show(codec: Codec, item: Encoded) -> tuple[str, str]:
    """(without loss, with loss) as text, special tokens shown."""
    tokens = codec.tokenizer.convert_ids_to_tokens(item.ids.tolist())
    return "".join(tokens[: item.start]), "".join(tokens[item.start :])


def encode(codec: Codec, row: Row, max_length: int = 200) -> Encoded:
    return encode_rows(codec, [row], max_length)[0]


def test_a_pair_without_template_is_prompt_answer_and_end():
    assert show(tiny.codec(), encode(tiny.codec(), PAIR)) == ("1+2=", "3</s>")


def test_a_text_is_trained_on_every_token_and_the_end():
    item = encode(tiny.codec(), TEXT)
    assert show(tiny.codec(), item) == ("", "abc</s>")
    assert item.loss_tokens == 3, "the first token has nothing that predicts it"


@pytest.mark.parametrize("template", [tiny.PLAIN_TEMPLATE, tiny.MARKED_TEMPLATE])
def test_loss_is_on_the_last_assistant_turn_and_its_end_with_and_without_markers(template):
    codec = tiny.codec(template)
    assert codec.marks_answers == (template == tiny.MARKED_TEMPLATE)
    before, answer = show(codec, encode(codec, CHAT))
    assert answer == "four<|im_end|>"
    assert before == (
        "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n"
        "<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_pair_becomes_a_chat_where_the_tokenizer_has_a_template():
    codec = tiny.codec(tiny.PLAIN_TEMPLATE)
    assert show(codec, encode(codec, PAIR)) == (
        "<|im_start|>user\n1+2=<|im_end|>\n<|im_start|>assistant\n",
        "3<|im_end|>",
    )


def test_a_chat_without_template_becomes_plain_lines():
    before, answer = show(tiny.codec(), encode(tiny.codec(), CHAT))
    assert before == "user: one\nassistant: two\nuser: three\nassistant:"
    assert answer == " four</s>"


def test_a_template_that_rewrites_earlier_turns_is_refused_with_the_row_named():
    rewriting = tiny.PLAIN_TEMPLATE.replace("{% for", "{{ messages|length }}{% for", 1)
    with pytest.raises(UserError, match="answer of row 'c' cannot be located"):
        encode(tiny.codec(rewriting), CHAT)


def test_a_template_without_end_of_turn_token_ends_answers_with_end_of_sequence():
    bare = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    codec = tiny.codec(bare)
    assert codec.appends_end
    assert show(codec, encode(codec, PAIR)) == ("user: 1+2=\nassistant: ", "3\n</s>")


def test_a_tokenizer_without_padding_token_pads_with_what_it_has_and_hides_it():
    codec = tiny.codec()
    assert codec.tokenizer.pad_token_id is None
    assert codec.pad_id == codec.eos_id
    batch = collate(encode_rows(codec, [PAIR, TEXT], 50), codec.pad_id)
    assert batch.input_ids.shape == (2, 6)
    assert batch.attention_mask[1].tolist() == [1, 1, 1, 1, 0, 0]
    assert batch.labels[1, 4:].tolist() == [IGNORED, IGNORED]
    assert batch.labels[0].tolist()[:4] == [IGNORED] * 4
    assert batch.loss_tokens == 2 + 3


def test_a_padding_token_without_an_embedding_is_not_used():
    made = tiny.tokenizer(pad_token="<pad>")
    from keepgain.trainers.tokens import codec_of

    assert codec_of(made, "m", 49).pad_id == 3
    assert codec_of(made, "m", 3).pad_id == 2, "embedding rows end before <pad>"


def test_long_rows_lose_the_left_of_the_prompt_and_are_marked():
    codec = tiny.codec()
    item = encode(codec, Row("p", "pair", prompt="0123456789", answer="ab"), 8)
    assert item.truncated
    assert show(codec, item) == ("56789", "ab</s>")
    assert not encode(codec, PAIR, 8).truncated
    long_text = encode(codec, Row("t", "text", text="abcdefghijkl"), 8)
    assert show(codec, long_text)[1] == "abcdefgh"
    long_answer = encode(codec, Row("p", "pair", prompt="xyz", answer="0123456789"), 8)
    assert show(codec, long_answer) == ("z", "0123456")


def test_the_tokenizers_own_bos_comes_first_and_survives_truncation():
    from tokenizers.processors import TemplateProcessing

    made = tiny.tokenizer(bos_token="<s>")
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    from keepgain.trainers.tokens import codec_of

    codec = codec_of(made, "m", 49)
    assert codec.bos == (1,)
    assert show(codec, encode(codec, PAIR)) == ("<s>1+2=", "3</s>")
    assert show(codec, encode(codec, TEXT)) == ("<s>", "abc</s>")
    long = encode(codec, Row("p", "pair", prompt="0123456789", answer="ab"), 8)
    assert show(codec, long) == ("<s>6789", "ab</s>")


@pytest.mark.fault("N5")
def test_a_row_with_nothing_to_train_on_is_named():
    with pytest.raises(UserError, match="row 'e' has no token to train on"):
        encode(tiny.codec(), Row("e", "text", text=""))
