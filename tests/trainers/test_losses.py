"""The loss on answers: by hand, and by the library's own."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from keepgain.core.config import TrialConfig
from keepgain.core.errors import UserError
from keepgain.trainers.data import DataCache, collate
from keepgain.trainers.losses import answer_loss
from keepgain.trainers.models import BaseCache, load_model, plain
from keepgain.trainers.noise import EmbeddingNoise, set_dropout
from keepgain.trainers.run import Run
from tests.trainers import tiny

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path, llama):
    made = Run(tiny.trial(tmp_path, llama), 3, BaseCache(), DataCache())
    yield made
    made.close()


def batch_of(run: Run, count: int = 4):
    rows = [run._rows[name][i] for name, i in run.mixture.rows(count)]
    return rows, collate(rows, run.codec.pad_id)


def test_the_loss_is_the_librarys_own(run):
    _, batch = batch_of(run)
    with torch.no_grad():
        ours = answer_loss(run.engine, batch, CPU)
        theirs = plain(run.model)(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
        ).loss
    assert float(ours.plain) / batch.loss_tokens == pytest.approx(float(theirs), rel=1e-5)
    assert float(ours.objective) == float(ours.plain)


def test_smoothing_mixes_in_the_mean_over_the_vocabulary_and_is_not_reported(run):
    _, batch = batch_of(run)
    with torch.no_grad():
        logits = plain(run.model)(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).logits[:, :-1]
        wanted = batch.labels[:, 1:] != -100
        logp = F.log_softmax(logits[wanted], dim=-1)
        nll = -logp.gather(1, batch.labels[:, 1:][wanted][:, None]).sum()
        by_hand = 0.9 * nll + 0.1 * -logp.mean(dim=-1).sum()
        found = answer_loss(run.engine, batch, CPU, smoothing=0.1)
    assert float(found.objective) == pytest.approx(float(by_hand), rel=1e-5)
    assert float(found.plain) == pytest.approx(float(nll), rel=1e-5)


def test_weighed_rows_give_the_weighed_sum_and_each_rows_own(run):
    rows, batch = batch_of(run)
    weights = torch.tensor([0.5, 0.0, 2.0, 1.0])
    with torch.no_grad():
        alone = [
            float(answer_loss(run.engine, collate([r], run.codec.pad_id), CPU).plain) for r in rows
        ]
        found = answer_loss(run.engine, batch, CPU, weights=weights)
    assert found.by_row is not None
    assert found.by_row.tolist() == pytest.approx(alone, rel=1e-4)
    assert float(found.objective) == pytest.approx(float(np.dot(weights, alone)), rel=1e-4)


def trained(tmp_path, llama, **options) -> Run:
    config: TrialConfig = tiny.trial(tmp_path, llama, budget=600, rungs=(600,), **options)
    run = Run(config, 3, BaseCache(), DataCache())
    run.train(0, lambda *_: None)
    return run


@pytest.mark.parametrize(
    "option", [{"dropout": 0.3}, {"label_smoothing": 0.2}, {"neftune_alpha": 5.0}]
)
def test_each_setting_changes_the_training_and_repeats_itself(tmp_path, llama, option):
    usual, once, again = (trained(tmp_path, llama, **o) for o in ({}, option, option))
    assert once.progress.last_loss != usual.progress.last_loss
    assert once.progress.last_loss == again.progress.last_loss


def test_embedding_noise_is_bounded_by_row_length_and_only_there_while_training(llama):
    model = load_model(llama.path, torch.float32)
    noise = EmbeddingNoise(model, 5.0)
    ids = torch.ones((2, 16), dtype=torch.int64)
    lengths = torch.tensor([[16] * 16, [4] * 4 + [1] * 12])
    embedding = plain(model).get_input_embeddings()
    noise.rows(lengths)
    assert torch.equal(embedding(ids), embedding.weight[ids])
    model.train()
    change = (embedding(ids) - embedding.weight[ids]).abs()
    width = embedding.weight.shape[1]
    for row, length in ((change[0], 16), (change[1, :4], 4)):
        bound = 5.0 / (length * width) ** 0.5
        assert 0.8 * bound < float(row.max()) <= bound * 1.001
    noise.close()
    assert torch.equal(embedding(ids), embedding.weight[ids])


def test_dropout_reaches_every_place_and_a_base_without_any_is_refused(llama):
    model = load_model(llama.path, torch.float32)
    set_dropout(model, 0.25)
    rates = {m.attention_dropout for m in model.modules() if hasattr(m, "attention_dropout")}
    assert rates == {0.25}
    with pytest.raises(UserError, match="no dropout to set"):
        set_dropout(torch.nn.Linear(2, 2), 0.1)
