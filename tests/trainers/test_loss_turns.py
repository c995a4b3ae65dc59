"""`loss: all_turns`: which tokens of a chat carry the loss, cut, collated and packed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from transformers import AutoTokenizer  # noqa: F401 - the import that makes tokenizers usable

from keepgain.core.config import Runtime
from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.trainers.accumulate import Accumulator
from keepgain.trainers.data import IGNORED, DataCache, collate
from keepgain.trainers.encode import Encoded, cut, encode_rows
from keepgain.trainers.losses import answer_loss
from keepgain.trainers.models import BaseCache, plain
from keepgain.trainers.packing import pack
from keepgain.trainers.run import Run
from keepgain.trainers.tokens import Codec, codec_of
from tests.sweeps.test_show import byte_level
from tests.trainers import tiny


def chat(*texts: str, name: str = "c") -> Row:
    """Turns of user and assistant, in turn."""
    roles = ("user", "assistant") * len(texts)
    turns = tuple({"role": r, "content": t} for r, t in zip(roles, texts, strict=False))
    return Row(name, "chat", messages=turns, answer=texts[-1])


CHAT = chat("one", "two", "three", "four")
# The content is marked, its end-of-turn token is not.
BARELY_MARKED = tiny.MARKED_TEMPLATE.replace(
    "<|im_end|>{% endgeneration %}", "{% endgeneration %}<|im_end|>"
)


def encode(codec: Codec, row: Row, max_length: int = 200) -> Encoded:
    return encode_rows(codec, [row], max_length, "all_turns")[0]


def show(codec: Codec, item: Encoded) -> str:
    """The row as text, what carries the loss in brackets."""
    tokens = codec.tokenizer.convert_ids_to_tokens(item.ids.tolist())
    marked = (f"[{t}]" if on else t for t, on in zip(tokens, item.loss_mask, strict=True))
    return "".join(marked).replace("][", "")


@pytest.mark.parametrize("template", [tiny.PLAIN_TEMPLATE, tiny.MARKED_TEMPLATE, BARELY_MARKED])
def test_the_loss_is_on_every_assistant_turn_and_its_end_and_the_ids_are_the_same(template):
    codec = tiny.codec(template)
    item = encode(codec, CHAT)
    assert show(codec, item) == (
        "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n[two<|im_end|>]\n"
        "<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n[four<|im_end|>]"
    )
    assert item.loss_tokens == int(item.loss_mask.sum()) == 4 + 5
    (last,) = encode_rows(codec, [CHAT], 200)
    assert last.ids.tolist() == item.ids.tolist()
    assert (last.gaps, last.loss_tokens) == ((), 5)


def test_without_a_template_the_loss_is_on_the_text_of_each_turn():
    codec = tiny.codec()
    assert show(codec, encode(codec, CHAT)) == (
        "user: one\nassistant:[ two]\nuser: three\nassistant:[ four</s>]"
    )


def test_merges_over_bytes_find_the_same_turns_as_characters():
    made = byte_level(tiny.PLAIN_TEMPLATE)
    codec = codec_of(made, "bytes", len(made))
    item = encode(codec, chat("one", "two three four", "three é", "four"))
    on = np.flatnonzero(item.loss_mask)
    assert made.decode(item.ids[on]) == "two three four<|im_end|>four<|im_end|>"


def test_a_greeting_that_answers_nobody_is_not_trained_on():
    codec = tiny.codec(tiny.PLAIN_TEMPLATE)
    greeting = {"role": "assistant", "content": "hi"}
    row = Row("g", "chat", messages=(greeting, *CHAT.messages), answer="four")
    assert show(codec, encode(codec, row)).count("[") == 2


def test_a_cut_prompt_takes_its_part_of_the_mask_with_it():
    codec = tiny.codec(tiny.PLAIN_TEMPLATE)
    whole = encode(codec, CHAT)
    text = show(codec, whole)
    for length in range(6, len(whole.ids)):
        item = encode(codec, CHAT, length)
        # The tokenizer has no BOS: a cut row is the tail of the whole one.
        assert item.ids.tolist() == whole.ids[-length:].tolist()
        expected = whole.loss_mask[-length:].copy()
        expected[0] = False
        assert item.loss_mask.tolist() == expected.tolist(), text
        assert item.loss_tokens == int(expected.sum())
        assert item.truncated


def test_a_leading_bos_stays_before_what_is_left_of_a_turn():
    codec = replace(tiny.codec(), bos=(9,))
    item = cut(codec, [9, 8, 7, 6, 5, 4], [3, 2], 6, [(1, 4), (5, 6)])
    assert (item.ids.tolist(), item.start, item.gaps) == ([9, 6, 5, 4, 3, 2], 1, ((2, 3),))
    gone = cut(codec, [9, 8, 7, 6, 5, 4], [3, 2], 6, [(1, 3), (4, 5)])
    assert (gone.start, gone.gaps) == (2, ((3, 4),))


@pytest.mark.parametrize("kept", ["loop.last or m.role != 'assistant'", "loop.last"])
def test_a_template_that_writes_earlier_turns_differently_is_refused_with_the_row(kept):
    thinking = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        f"{{% if m.role == 'assistant' and {kept} %}}think\n{{% endif %}}"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\nthink\n{% endif %}"
    )
    codec = tiny.codec(thinking)
    assert encode_rows(codec, [CHAT], 200)[0].loss_tokens == 5
    with pytest.raises(UserError, match=r"turn 2 of row 'c' .*differently") as found:
        encode(codec, CHAT)
    assert "last_turn" in str(found.value)
    assert encode(codec, chat("one", "two")).loss_tokens == 4


def test_labels_have_holes_where_the_user_speaks_padded_and_packed():
    x = IGNORED
    rows = [
        Encoded(np.arange(1, 8, dtype=np.int32), 1, False, gaps=((2, 4), (5, 6))),
        Encoded(np.arange(11, 14, dtype=np.int32), 0, False, gaps=((2, 3),)),
    ]
    batch = collate(rows, 0)
    assert batch.labels.tolist() == [[x, 2, x, x, 5, x, 7], [11, 12, x, x, x, x, x]]
    packed = pack([*rows, rows[1]], 0)
    assert packed.labels.tolist() == [[x, 2, x, x, 5, x, 7], [x, 12, x, x, 12, x, x]]
    assert [r.loss_tokens for r in rows] == [3, 1]
    assert batch.loss_tokens == sum(r.loss_tokens for r in rows)


def test_a_runs_loss_is_the_mean_over_all_turns_and_packing_changes_nothing(tmp_path):
    model = tiny.model_folder(tmp_path / "m", template=tiny.PLAIN_TEMPLATE, eos_token_id=5)
    rows = [chat(*("abcdefgh"[: 1 + i % 5],) * (2 + 2 * (i % 3)), name=f"r{i}") for i in range(12)]
    config = tiny.trial(
        tmp_path, model, loss="all_turns", max_length=90,
        sources=(tiny.source(tmp_path, "task", rows),), mixture={"task": 1.0},
        suites=(tiny.suite(tmp_path, "s", tiny.sums(4), "exact_match"),),
    )  # fmt: skip
    assert config.trial_id != config.model_copy(update={"loss": "last_turn"}).trial_id
    run = Run(config, 3, BaseCache(), DataCache())
    drawn = list(run._rows["task"])
    assert any(r.gaps for r in drawn) and not all(r.gaps for r in drawn)
    batch = collate(drawn, run.codec.pad_id)
    with torch.no_grad():
        found = answer_loss(run.engine, batch, torch.device("cpu"))
        logits = plain(run.model)(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).logits
        by_hand = sum(
            float(F.cross_entropy(logits[i, t - 1], torch.tensor(int(row.ids[t]))))
            for i, row in enumerate(drawn)
            for t in np.flatnonzero(row.loss_mask)
        )
    assert float(found.plain) == pytest.approx(by_hand, rel=1e-5)
    losses = []
    for packing in (False, True):
        runtime = Runtime(packing=packing, micro_batch_size=12)
        how = config.model_copy(update={"runtime": runtime, "batch_size": 12})
        losses.append(Accumulator(run.engine, how, run.codec.pad_id)(drawn)["loss"])
    assert len(pack(drawn, run.codec.pad_id).input_ids) < len(drawn)
    tokens = sum(r.loss_tokens for r in drawn)
    assert losses == pytest.approx([by_hand / tokens] * 2, rel=1e-5)
    run.close()
