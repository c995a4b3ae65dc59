"""The full grid of the recorded tables: 3 models x 2 methods x 6 learning rates x 5 x 3 shares."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from keepgain.core.config import TrialConfig
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.search.mixture import shares_by_role
from keepgain.sweeps.spec import load_spec

HERE = Path(__file__).parent
DOMAINS = ("far", "near")
METHODS = ("full", "lora")
LEARNING_RATES = (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
REPLAY_SHARES = (0.0, 0.02, 0.1, 0.3, 0.6)
"""Of all training tokens."""
SYNTHETIC_SHARES = (0.0, 0.25, 0.5)
"""Of the training tokens that are not replay."""
SEEDS = (0, 1)


@dataclass(frozen=True, order=True)
class Cell:
    """One configuration of the grid."""

    model: str
    method: str
    learning_rate: float
    replay_share: float
    synthetic_share: float


def cells(models: tuple[str, ...]) -> list[Cell]:
    """All configurations, 180 a model."""
    axes = (models, METHODS, LEARNING_RATES, REPLAY_SHARES, SYNTHETIC_SHARES)
    return [Cell(*values) for values in product(*axes)]


def prepared_grid(domain: str, folder: Path | None) -> Prepared:
    """The task of a domain; `folder` gets its normalised rows, None writes nothing."""
    return prepare(load_spec(HERE / f"{domain}.yaml"), folder)


def trial_config(prepared: Prepared, cell: Cell) -> TrialConfig:
    """The trial that a sweep would train for this configuration."""
    return prepared.trial_config(cell.model, params(prepared, cell))


def params(prepared: Prepared, cell: Cell) -> dict[str, Any]:
    """Flat parameters of a configuration, as a search space resolves them."""
    refs = prepared.source_refs
    shares = shares_by_role(
        cell.replay_share,
        cell.synthetic_share,
        {r.name: float(r.rows) for r in refs},
        {r.name: r.role for r in refs},
    )
    return {
        "method": cell.method,
        "learning_rate": cell.learning_rate,
        **{f"mixture.{name}": share for name, share in shares.items()},
    }
