"""`sweep run` as a command line; what it does is in `tests/sweeps/e2e`."""

import os
import signal
import sys

import pytest

from keepgain.sweeps.cli.main import main


@pytest.mark.fault("P6")
def test_a_sigterm_while_tune_does_not_run_is_an_interruption_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray's own handler, there from `ray.init` on, ends the process with code 15."""
    monkeypatch.setattr(
        "keepgain.sweeps.run.run_sweep", lambda options, say: sys.exit(signal.SIGTERM)
    )
    old = os.umask(0o077)
    try:
        assert main(["run", "sweep.yaml"]) == 130
    finally:
        os.umask(old)
    assert capsys.readouterr().err == "sweep: interrupted.\n"
