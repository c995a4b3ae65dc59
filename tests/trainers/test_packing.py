"""Packed rows: every row once, apart from the others, with the same loss and gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import MambaConfig, MambaForCausalLM

from keepgain.core.config import LoraSettings, Runtime
from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.trainers.accumulate import Accumulator
from keepgain.trainers.data import IGNORED, DataCache
from keepgain.trainers.encode import Encoded
from keepgain.trainers.engine_torch import TorchEngine
from keepgain.trainers.models import BaseCache, numerics_of
from keepgain.trainers.packing import bins_of, check_rows_stay_apart, pack
from keepgain.trainers.run import Run
from tests.trainers import tiny


def row(*ids: int, start: int = 0) -> Encoded:
    return Encoded(np.array(ids, dtype=np.int32), start, False)


def test_the_longest_row_goes_first_and_each_into_the_fullest_bin_that_has_room():
    # 9 | 6 3 | 5 2: the 3 fits beside 6 (room 4) and beside 5 (room 5), the 2 beside 5 alone.
    assert bins_of([5, 3, 9, 6, 2], 10) == [[2], [3, 1], [0, 4]]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_every_row_is_in_one_bin_and_no_bin_is_over_full(lengths):
    bins = bins_of(lengths, max(lengths))
    assert sorted(i for places in bins for i in places) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in places) <= max(lengths) for places in bins)
    # No two bins would fit into one: else a row would have gone there.
    loads = sorted(sum(lengths[i] for i in places) for places in bins)
    assert len(loads) < 2 or loads[0] + loads[1] > max(lengths)


def test_positions_begin_anew_and_no_row_is_predicted_from_the_one_before():
    batch = pack([row(7, 8, start=0), row(1, 2, 3, 4, start=2), row(5, 6, start=1)], pad_id=0)
    assert batch.attention_mask is None
    assert batch.input_ids.tolist() == [[1, 2, 3, 4], [7, 8, 5, 6]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[0, 1, 2, 3], [0, 1, 0, 1]]
    x = IGNORED
    assert batch.labels.tolist() == [[x, x, 3, 4], [x, 8, x, 6]]
    assert batch.row_of.tolist() == [[1, 1, 1, 1], [0, 0, 2, 2]]
    assert batch.row_lengths.tolist() == [[4, 4, 4, 4], [2, 2, 2, 2]]


@pytest.mark.parametrize("family", ["llama", "qwen3"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_loss_and_gradient_are_those_of_unpacked_rows(tmp_path, request, family, method):
    """Both models compute in float32 here; rows of a pack would change both if they met."""
    model = request.getfixturevalue(family)
    long = [Row(f"long{i}", "text", text="some long text " * 4 + str(i)) for i in range(9)]
    config = tiny.trial(
        tmp_path, model, method=method, runtime=Runtime(dtype="float32"),
        lora=LoraSettings(rank=4) if method == "lora" else None,
        sources=(
            tiny.source(tmp_path, "task", tiny.sums(60)),
            tiny.source(tmp_path, "replay", long, "replay"),
        ),
    )  # fmt: skip
    run = Run(config, 3, BaseCache(), DataCache())
    drawn = [run._rows[name][i] for name, i in run.mixture.rows(12)]
    found = []
    for packing, micro in ((False, 12), (True, 12), (True, 5)):
        runtime = Runtime(dtype="float32", packing=packing, micro_batch_size=micro)
        how = config.model_copy(update={"runtime": runtime, "batch_size": 12})
        loss = Accumulator(run.engine, how, run.codec.pad_id)(drawn)
        gradients = {
            n: p.grad.clone() for n, p in run.model.named_parameters() if p.grad is not None
        }
        found.append((loss, gradients))
        run.model.zero_grad()
    packed = pack(drawn, run.codec.pad_id)
    assert len(packed.input_ids) < len(drawn), "some rows share a sequence"
    for loss, gradients in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)
        for name, gradient in found[0][1].items():
            torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-7)


def test_a_model_that_carries_a_state_from_row_to_row_is_refused(tmp_path, llama):
    torch.manual_seed(0)
    mamba = MambaForCausalLM(
        MambaConfig(vocab_size=20, hidden_size=16, num_hidden_layers=2, state_size=4)
    ).eval()
    config = tiny.trial(tmp_path, llama)
    numerics = numerics_of(config.runtime)
    with pytest.raises(UserError, match="changes the logits of the next"):
        check_rows_stay_apart(TorchEngine(mamba, config, numerics), 20)
