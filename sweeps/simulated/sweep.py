"""The search stage of a sweep on recorded curves: the real program, ledger, search and rungs."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from keepgain.core.status import Stage
from keepgain.core.store.spool import Spool
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.program import SweepProgram
from keepgain.sweeps.progress import Progress
from keepgain.sweeps.recorder import DRIVER, Recorder
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.run import make_search
from keepgain.sweeps.search.ledger import Ledger
from keepgain.sweeps.simulated.curves import Curves
from keepgain.sweeps.simulated.runner import Step, run_program


def simulate_search(prepared: Prepared, curves: Curves, *, slots: int, folder: Path) -> list[Step]:
    """Runs base and search of a sweep on recorded curves, to try its `search:` settings.

    Args:
        prepared: A spec whose every configuration was recorded; its reference arms are left out.
        curves: See `Curves`.
        slots: Trials at a time.
        folder: Gets the ledger and the spool; continued if a simulation was interrupted there.

    Returns:
        The rungs, as `run_program` does.

    Raises:
        UserError: A configuration was not recorded.
    """
    prepared = replace(prepared, arms=())
    search = make_search(prepared, folder)
    with (
        Ledger.open(folder / LEDGER_NAME) as ledger,
        closing(Spool(folder / "spool", DRIVER)) as spool,
    ):
        program = SweepProgram(
            prepared=prepared,
            folder=folder,
            ledger=ledger,
            search=search,
            recorder=Recorder(spool, folder),
            progress=Progress(prepared.sweep_id, dict.fromkeys(Stage, 0), Console(quiet=True)),
            reusable={},
            on_test=lambda candidates: None,
            on_stage=lambda stage: None,
            last=Stage.SEARCH,
        )
        steps = run_program(program, curves, slots=slots)
        search.close(interrupted=False)
        return steps
