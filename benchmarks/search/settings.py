"""The constants of our scheduler, as chosen on `far` and committed before `near` is looked at."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from keepgain.core.config import Count
from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel, parse
from keepgain.core.yaml_io import load_yaml
from keepgain.sweeps.spec_search import StoppingSpec

HERE = Path(__file__).parent
CHOSEN = HERE / "chosen.yaml"
CHOICE_DOMAIN = "far"
"""The one that constants are chosen on."""


class Chosen(StrictModel):
    """`chosen.yaml`."""

    date: str
    """Of the choice, ISO 8601."""
    generation_size: Count | None = None
    """None: as the search chooses."""
    stopping: StoppingSpec = StoppingSpec()


@dataclass(frozen=True)
class Constants:
    """What the arms are run with."""

    generation_size: int | None = None
    stopping: StoppingSpec = field(default_factory=StoppingSpec)
    syne_tune: Path | None = None
    """Python of the environment that `syne_tune_env.sh` makes."""


def chosen_constants(syne_tune: Path | None, path: Path = CHOSEN) -> Constants:
    """Those of `chosen.yaml`; our defaults where it does not exist yet.

    Raises:
        UserError: The file cannot be used.
    """
    if not path.exists():
        return Constants(syne_tune=syne_tune)
    raw, lines = load_yaml(path)
    chosen = parse(Chosen, raw, source=str(path), lines=lines)
    return Constants(chosen.generation_size, chosen.stopping, syne_tune)


def check_may_look(domain: str, path: Path = CHOSEN) -> None:
    """Refuses any domain but the one of the choice until the choice is committed as it stands.

    Raises:
        UserError: It is not.
    """
    if domain == CHOICE_DOMAIN:
        return
    here = path.read_bytes() if path.exists() else None
    if here is not None and here == _committed(path):
        return
    raise UserError(
        f"'{domain}' may not be looked at before the constants are chosen.",
        where=str(path),
        hint="Choose them on 'far' (choose.py), write chosen.yaml and commit it; a change of it "
        "must be committed too.",
    )


def _committed(path: Path) -> bytes | None:
    """The file as it is in HEAD; None if it is not there, or this is no repository."""
    found = subprocess.run(
        ["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True, check=False
    )
    return found.stdout if found.returncode == 0 else None
