"""`sweep check --show`: token for token what training encodes, legible without colour too."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from keepgain.core.rows import Row
from keepgain.sweeps.folder_codec import folder_codec
from keepgain.sweeps.gates.tokens import FolderTokenizer
from keepgain.sweeps.show import ShownRow, _shown, render_rows
from keepgain.trainers.encode import encode_rows
from keepgain.trainers.tokens import Codec, load_codec
from tests.trainers import tiny

LLAMA_LIKE = (
    "{{- bos_token }}{%- if messages[0].role == 'system' %}{%- set first = messages[0].content %}"
    "<<{{ first | trim }}>>{%- endif %}\n"
    "{%- for m in messages if m.role != 'system' %}"
    "<|im_start|>{{ m.role }}{{ '\\n' }}{{ m['content'] | trim }}<|im_end|>{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{%- endif %}"
)
BARE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TEMPLATES = {
    "none": None,
    "without markers": tiny.PLAIN_TEMPLATE,
    "with markers": tiny.MARKED_TEMPLATE,
    "without an end of turn": BARE,
    "system turn apart": LLAMA_LIKE,
}

CHAT = Row(
    "c",
    "chat",
    messages=(
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "four"},
    ),
    answer="four",
)
PAIR = Row("p", "pair", prompt="1+2=", answer="3")
TEXT = Row("t", "text", text="abc")
ROWS = [CHAT, PAIR, TEXT]


def byte_level(template: str | None) -> PreTrainedTokenizerFast:
    """Merges over bytes, as most models have: words with their space, borders that merge."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    corpus = ["one two three four be brief 1+2=3 user assistant\n", "é𝔘שלום "] * 20
    core.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    made.chat_template = template
    return made


@pytest.fixture(scope="module", params=[(k, t) for k in ("tiny", "bytes") for t in TEMPLATES])
def codecs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Codec, Codec, FolderTokenizer]:
    """What training reads from a folder, and what --show reads from the same."""
    kind, template = request.param
    make = tiny.tokenizer if kind == "tiny" else byte_level
    folder = tmp_path_factory.mktemp("model")
    make(TEMPLATES[template]).save_pretrained(folder)
    tokenizer = FolderTokenizer(folder)
    size = tokenizer.tokenizer.get_vocab_size()
    return load_codec(str(folder), "m", size), folder_codec(tokenizer, "m"), tokenizer


def test_the_codec_of_a_folder_has_every_fact_of_the_one_that_trains(codecs: Any) -> None:
    real, light, _ = codecs
    for name in Codec.__dataclass_fields__:
        if name != "tokenizer":
            assert getattr(light, name) == getattr(real, name), name
    assert light.tokenizer.all_special_ids == real.tokenizer.all_special_ids


@pytest.mark.parametrize("max_length", [200, 24, 3])
def test_shown_tokens_and_loss_are_those_that_training_encodes(
    codecs: Any, max_length: int
) -> None:
    real, light, tokenizer = codecs
    for row, on in itertools.product(ROWS, ("last_turn", "all_turns")):
        (expected,) = encode_rows(real, [row], max_length, on)
        shown = _shown(light, tokenizer, row, "f:1", max_length, on)
        assert list(shown.ids) == expected.ids.tolist()
        assert list(shown.tokens) == real.tokenizer.convert_ids_to_tokens(expected.ids.tolist())
        assert sum(shown.loss) == expected.loss_tokens
        tail = range(max(expected.start, 1), len(expected.ids))
        holes = {i for gap in expected.gaps for i in range(*gap)}
        assert [i for i, x in enumerate(shown.loss) if x] == [i for i in tail if i not in holes]
        assert bool(shown.cut_left or shown.cut_right) == expected.truncated
        (whole,) = encode_rows(real, [row], 1000)
        assert shown.cut_left + shown.cut_right == len(whole.ids) - len(shown.ids)


TURNS = st.text(min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=25, deadline=None)
@given(st.lists(TURNS, min_size=2, max_size=4), st.integers(4, 40))
def test_any_text_is_encoded_alike(codecs: Any, texts: list[str], max_length: int) -> None:
    real, light, tokenizer = codecs
    texts = texts[: len(texts) // 2 * 2]
    roles = ("user", "assistant") * len(texts)
    turns = tuple({"role": r, "content": t} for r, t in zip(roles, texts, strict=False))
    rows = [
        Row("c", "chat", messages=turns, answer=texts[-1]),
        Row("p", "pair", prompt=texts[0], answer=texts[1]),
        Row("t", "text", text=texts[0]),
    ]
    for row in rows:
        shown = _shown(light, tokenizer, row, "f:1", max_length)
        if shown.refused is None:
            (expected,) = encode_rows(real, [row], max_length)
            assert (list(shown.ids), sum(shown.loss)) == (
                expected.ids.tolist(),
                expected.loss_tokens,
            )
        else:
            with pytest.raises(Exception, match=r"cannot be located|mark nothing|no token"):
                encode_rows(real, [row], max_length)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> FolderTokenizer:
    folder = tmp_path_factory.mktemp("plain")
    tiny.tokenizer(tiny.PLAIN_TEMPLATE).save_pretrained(folder)
    return FolderTokenizer(folder)


def show(tokenizer: FolderTokenizer, row: Row, max_length: int = 200) -> ShownRow:
    return _shown(folder_codec(tokenizer, "m"), tokenizer, row, "f.jsonl:7", max_length)


def test_without_colour_the_loss_stands_in_brackets(plain: FolderTokenizer) -> None:
    text = render_rows("tickets", [show(plain, PAIR)], colour=False)
    assert "\x1b" not in text
    assert "f.jsonl:7: 25 tokens, 2 with loss" in text
    assert "<|im_start|>user↵\n    1+2=<|im_end|>↵" in text
    assert "<|im_start|>assistant↵\n    ⟦3<|im_end|>⟧" in text


def test_every_assistant_turn_stands_in_brackets_where_the_loss_is_on_all(
    plain: FolderTokenizer,
) -> None:
    codec = folder_codec(plain, "m")
    shown = [_shown(codec, plain, CHAT, "f:1", 200, on) for on in ("last_turn", "all_turns")]
    last, every = (render_rows("t", [row], colour=False) for row in shown)
    assert "two<|im_end|>↵" in last and "⟦four<|im_end|>⟧" in last
    assert "⟦two<|im_end|>⟧↵" in every and "⟦four<|im_end|>⟧" in every
    assert every.splitlines()[1].endswith("9 with loss")
    green = render_rows("t", [shown[1]], colour=True)
    assert green.count("\x1b[1;32m") == 2


def test_with_colour_loss_is_green_and_the_rest_dim(plain: FolderTokenizer) -> None:
    text = render_rows("tickets", [show(plain, PAIR)], colour=True)
    assert "⟦" not in text.splitlines()[-1]
    assert "\x1b[1;32m3<|im_end|>\x1b[0m" in text
    assert "\x1b[2m" in text


def test_what_is_cut_is_marked_and_counted(plain: FolderTokenizer) -> None:
    row = Row("t", "text", text="abcdefghijkl")
    assert "8 tokens, 7 with loss, 5 cut off at its end" in render_rows(
        "t", [show(plain, row, 8)], False
    )
    pair = Row("p", "pair", prompt="0" * 50, answer="ab")
    text = render_rows("t", [show(plain, pair, 40)], False)
    assert "40 tokens, 3 with loss, 32 cut off at its left" in text and "…✂" in text


def test_a_text_has_no_loss_on_its_first_token(plain: FolderTokenizer) -> None:
    assert "    a⟦bc</s>⟧" in render_rows("t", [show(plain, TEXT)], False)


def test_a_row_that_cannot_be_trained_on_says_why(tmp_path: Path) -> None:
    rewriting = tiny.PLAIN_TEMPLATE.replace("{% for", "{{ messages|length }}{% for", 1)
    tiny.tokenizer(rewriting).save_pretrained(tmp_path)
    shown = show(FolderTokenizer(tmp_path), CHAT)
    assert "cannot be located" in render_rows("t", [shown], False)
    assert shown.to_json()["refused"] == shown.refused


def test_what_a_row_says_cannot_control_the_terminal(tmp_path: Path) -> None:
    byte_level(None).save_pretrained(tmp_path)
    row = Row("p", "pair", prompt="\x1b[31m\u202e", answer="a\x07")
    text = render_rows("t", [show(FolderTokenizer(tmp_path), row)], False)
    assert "\\u001b[31m\\u202e" in text and "\\u0007" in text
    assert not set("\x1b\x07\u202e") & set(text)
