from dataclasses import replace

import numpy as np
import pytest
import torch

from keepgain.core.config import ModelRef
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.rows import Row
from keepgain.trainers.models import Base, BaseCache
from keepgain.trainers.reference import Prompting
from keepgain.trainers.scoring import _row as row_of
from keepgain.trainers.scoring import score_suite, scored_logits
from keepgain.trainers.suites import SuiteItems, prepare_suite
from tests.trainers import tiny


def load(ref: ModelRef) -> Base:
    return BaseCache().load(ref, torch.float32, torch.device("cpu"))


def prepare(base: Base, tmp_path, rows, scorer="exact_match", limit=256, **options) -> SuiteItems:
    suite = tiny.suite(tmp_path, "s", rows, scorer, **options)
    return prepare_suite(base.codec, suite, rows, Prompting(), limit)


def learned(base: Base, rows: list[Row]) -> Base:
    """The model after some steps on the rows, so that some answers are right and some wrong."""
    from keepgain.trainers.data import collate
    from keepgain.trainers.encode import encode_rows

    batch = collate(encode_rows(base.codec, rows, 200), base.codec.pad_id)
    optimizer = torch.optim.AdamW(base.model.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for _ in range(110):
        out = base.model(batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels)
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return base


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_padding_does_not_change_any_items_score(tmp_path, request, family):
    base = load(request.getfixturevalue(family))
    for rows, scorer in ((tiny.sums(30), "exact_match"), (tiny.words(30), "bits_per_byte")):
        items = prepare(base, tmp_path, rows, scorer)
        alone, padded = (score_suite(base.model, base.codec, items, n, 0) for n in (1, 16))
        np.testing.assert_allclose(alone.scores.values, padded.scores.values, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_generated_exact_match_equals_teacher_forced_argmax(tmp_path, request, family):
    rows = tiny.sums(24)
    base = learned(load(request.getfixturevalue(family)), rows[:16])
    items = prepare(base, tmp_path, rows)
    found = score_suite(base.model, base.codec, items, 7, 0).scores.values
    assert 0 < found.mean() < 1, "the test needs right and wrong answers"
    for i, value in enumerate(found):
        whole = row_of(items, i)
        ended = type(whole)(
            np.append(whole.ids, np.int32(base.codec.end_id)), whole.start, whole.truncated
        )
        logits, targets = scored_logits(base.model, base.codec, [ended])
        assert float(bool((logits.argmax(-1) == targets).all())) == value


def test_bits_per_byte_of_an_answer_are_its_tokens_bits_over_its_bytes(tmp_path, llama):
    base = load(llama)
    items = prepare(base, tmp_path, tiny.sums(3), "bits_per_byte")
    scores = score_suite(base.model, base.codec, items, 2, 77).scores
    ids = torch.tensor([items.prompts[0] + items.answers[0]])
    start = len(items.prompts[0])
    with torch.inference_mode():
        logp = torch.log_softmax(base.model(ids).logits[0].double(), -1)
    nats = -sum(logp[t - 1, ids[0, t]].item() for t in range(start, ids.shape[1]))
    size = len(items.rows[0].answer.encode())
    assert scores.values[0] == pytest.approx(nats / np.log(2) / size, rel=1e-5)
    assert scores.weights[0] == size
    assert (scores.tokens, scores.metric) == (77, "bits_per_byte")


def test_bits_per_byte_of_a_text_leaves_out_the_first_token_and_its_bytes(tmp_path, llama):
    base = load(llama)
    items = prepare(base, tmp_path, [Row("t", "text", text="abcd")], "bits_per_byte")
    assert (len(items.prompts[0]), len(items.answers[0]), items.bytes[0]) == (1, 3, 3)


def test_a_text_longer_than_the_model_counts_only_the_bytes_it_scored(tmp_path, llama):
    base = load(llama)
    rows = [Row("t", "text", text="abcdefgh")]
    items = prepare(base, tmp_path, rows, "bits_per_byte", limit=5)
    assert (len(items.answers[0]), items.bytes[0], items.shortened) == (4, 4, 1)


@pytest.mark.parametrize("limit", [256, 5])
def test_a_text_weighs_its_full_length_whatever_part_of_it_is_scored(tmp_path, llama, limit):
    """Else sizes whose tokenizers differ would be compared on different mixtures of items."""
    base = load(llama)
    items = prepare(base, tmp_path, [Row("t", "text", text="abcdéfgh")], "bits_per_byte", limit)
    scores = score_suite(base.model, base.codec, items, 1, 0).scores
    assert items.bytes[0] < scores.weights[0] == len("abcdéfgh".encode())


@pytest.mark.fault("N5")
def test_an_item_with_nothing_to_score_is_named(tmp_path, llama):
    with pytest.raises(TrialFailure, match="item 'one' of suite 's'"):
        prepare(load(llama), tmp_path, [Row("one", "text", text="a")], "bits_per_byte")


def test_exact_match_of_plain_text_is_refused(tmp_path, llama):
    with pytest.raises(UserError, match="has no answer to match"):
        prepare(load(llama), tmp_path, tiny.words(2), "exact_match")


def test_the_generation_limit_is_the_longest_reference_and_eight(tmp_path, llama):
    base, rows = load(llama), tiny.sums(5)
    longest = max(len(r.answer) for r in rows)
    assert prepare(base, tmp_path, rows).max_new_tokens == longest + 8
    assert prepare(base, tmp_path, rows, max_new_tokens=4).max_new_tokens == 4
    tight = prepare(base, tmp_path, rows, limit=10)
    assert tight.max_new_tokens == 10 - max(len(p) for p in tight.prompts)
    assert tight.shortened == 0, "fewer tokens are generated before a prompt is cut"


@pytest.mark.fault("N2")
def test_scores_that_are_not_finite_fail_with_suite_and_item(tmp_path, llama):
    base = load(llama)
    base.model.get_input_embeddings().weight.data[7] = float("nan")
    with pytest.raises(TrialFailure, match="incomplete_scores") as caught:
        items = prepare(base, tmp_path, tiny.words(4), "bits_per_byte")
        score_suite(base.model, base.codec, items, 4, 0)
    assert "'text0'" in caught.value.detail


def test_a_folders_own_sampling_settings_do_not_matter(tmp_path, llama):
    import json
    import shutil
    from pathlib import Path

    folder = tmp_path / "sampling"
    shutil.copytree(Path(llama.path), folder)
    settings = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 3.0, "min_length": 9}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    rows = tiny.sums(20)
    odd = load(ModelRef(name="odd", path=str(folder), digest="odd"))
    plain_base = load(llama)
    from keepgain.trainers.generate import generate

    items = prepare(plain_base, tmp_path, rows)
    one = generate(odd.model, odd.codec, items.prompts, 6, 8)
    two = generate(plain_base.model, plain_base.codec, items.prompts, 6, 8)
    assert one.answers == two.answers


def test_item_scores_carry_the_slices_of_their_rows(tmp_path, llama):
    base = load(llama)
    languages = ("de", None, "en")
    rows = [
        replace(row, slices=(("language", value),) if value else ())
        for row, value in zip(tiny.sums(3), languages, strict=True)
    ]
    scores = score_suite(base.model, base.codec, prepare(base, tmp_path, rows), 2, 0).scores
    assert scores.slices == {"language": languages}
    assert scores.groups == ("g0", "g1", "g2")
