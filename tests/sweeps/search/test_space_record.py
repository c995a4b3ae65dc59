"""The space in the record: every form of a range, with the hard limits of its setting."""

from keepgain.core.record import SpaceDimension
from keepgain.sweeps.search.space import parse_space
from keepgain.sweeps.search.space_record import space_record


def recorded(raw: dict[str, object], *sources: str) -> dict[str, SpaceDimension]:
    space = parse_space(raw, sources=sources or ("tickets",), where="sweep.yaml")
    return {d.name: d for d in space_record(space)}


def test_every_searched_setting_is_recorded_and_fixed_ones_are_not() -> None:
    found = recorded(
        {
            "method": ["full", "lora"],
            "learning_rate": {"log": [1e-5, 1e-3]},
            "lora.rank": {"log_int": [4, 64]},
            "lora.alpha": {"uniform": [10.0, 20.0]},
            "warmup_share": {"uniform": [0.0, 0.1], "step": 0.05},
            "batch_size": {"ordered": [8, 16, 32]},
            "max_length": {"int": [64, 128], "step": 8},
            "weight_decay": 0.1,
        }
    )
    assert set(found) == {
        "method", "learning_rate", "lora.rank", "lora.alpha", "warmup_share", "batch_size",
        "max_length",
    }  # fmt: skip
    lr = found["learning_rate"]
    assert (lr.form, lr.low, lr.high, lr.least, lr.most) == ("log", 1e-5, 1e-3, 0, None)
    rank = found["lora.rank"]
    assert (rank.form, rank.low, rank.least) == ("log_int", 4, 1)
    assert rank.when == {"method": ("lora",)}
    assert found["lora.alpha"].least == 1.0  # must be above 0: a tenth of the way from it
    assert (found["warmup_share"].form, found["warmup_share"].step) == ("uniform", 0.05)
    assert (found["warmup_share"].least, found["warmup_share"].most) == (0, 1)
    assert (found["batch_size"].form, found["batch_size"].choices) == ("ordered", (8, 16, 32))
    assert (found["max_length"].form, found["max_length"].step) == ("int", 8)
    assert (found["method"].form, found["method"].choices) == ("choice", ("full", "lora"))


def test_a_mixture_is_recorded_with_its_fixed_shares() -> None:
    found = recorded(
        {"mixture": {"general": [0, 0.3], "synthetic": 0.2, "tickets": [0.5, 0.8]}},
        "general",
        "synthetic",
        "tickets",
    )
    assert {n: (d.form, d.low, d.high) for n, d in found.items()} == {
        "mixture.general": ("share", 0, 0.3),
        "mixture.synthetic": ("share", 0.2, 0.2),
        "mixture.tickets": ("share", 0.5, 0.8),
    }
