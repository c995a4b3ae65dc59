import math
from pathlib import Path

import pytest

from keepgain.core.config import ModelRef, SourceRef, TrialConfig
from keepgain.trainers.schedule import learning_rate


def config(schedule: str, **options: float) -> TrialConfig:
    fields: dict = {"warmup_share": 0.1, "decay_share": 0.2, "learning_rate": 1.0, **options}
    return TrialConfig(
        model=ModelRef(name="m", path="/m", digest="d"),
        schedule=schedule,
        budget=10,
        rungs=(10,),
        mixture={"a": 1.0},
        sources=(SourceRef(name="a", role="task", path=str(Path("/a")), digest="d", rows=1),),
        suites=(),
        **fields,
    )


def test_wsd_warms_up_holds_and_decays_linearly_to_zero():
    rates = [learning_rate(config("wsd"), f) for f in (0.0, 0.05, 0.1, 0.5, 0.8, 0.9, 1.0)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [("constant", 1.0, 1.0), ("linear", 0.5, 0.0), ("cosine", 0.5, 0.0)],
)
def test_other_schedules_at_the_middle_and_the_end_of_what_follows_warm_up(schedule, middle, end):
    made = config(schedule)
    assert learning_rate(made, 0.55) == pytest.approx(middle)
    assert learning_rate(made, 1.0) == pytest.approx(end)
    assert learning_rate(made, 0.05) == pytest.approx(0.5)


def test_nothing_happens_at_a_rate_of_zero_and_beyond_the_budget_the_end_holds():
    assert learning_rate(config("cosine", learning_rate=0.0), 0.3) == 0.0
    assert learning_rate(config("wsd"), 1.2) == 0.0


@pytest.mark.parametrize("schedule", ["wsd", "constant", "linear", "cosine"])
def test_extreme_shares_never_divide_by_zero(schedule):
    for warmup, decay in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        made = config(schedule, warmup_share=warmup, decay_share=decay)
        rates = [learning_rate(made, f) for f in (0.0, 0.5, 1.0)]
        assert all(math.isfinite(r) and 0 <= r <= 1 for r in rates)
