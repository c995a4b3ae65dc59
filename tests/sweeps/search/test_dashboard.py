"""optuna-dashboard, the real one, opens the journal that a search leaves."""

import json
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.sweeps.search.searches import BOTH, make_search, mixed, run, trials


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture
def dashboard(tmp_path):
    """The address of a dashboard on the journal of `tmp_path`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start():
        command = [sys.executable, "-c", "from optuna_dashboard._cli import main; main()"]
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), str(tmp_path / "journal")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        address = f"http://127.0.0.1:{port}/api/studies"
        for _ in range(120):
            try:
                fetch(address)
                return address
            except OSError:
                assert process.poll() is None, "the dashboard ended"
                time.sleep(0.5)
        raise AssertionError("the dashboard does not answer")

    started = []
    yield start
    for process in started:
        process.terminate()
        process.wait(30)


def test_studies_and_trials_are_shown(tmp_path, dashboard):
    search = make_search(tmp_path, rungs=2)
    run(search, mixed)
    address = dashboard()
    shown = {s["study_name"]: s for s in fetch(address)["study_summaries"]}
    names = ["sweep-1a2b3c/xs", "sweep-1a2b3c/s"]
    assert set(shown) == {*names, *(f"{name}@rung0" for name in names)}
    for model, known in trials(search).items():
        study = shown[f"sweep-1a2b3c/{model}"]
        assert study["directions"] == list(BOTH.values())
        found = fetch(f"{address}/{study['study_id']}?after=0")["trials"]
        assert [(t["number"], t["state"].upper(), t.get("values")) for t in found] == [
            (number, state.name, values) for number, state, _, values, _, _ in known
        ]
