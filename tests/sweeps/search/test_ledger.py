"""The ledger: nothing acknowledged is lost, nothing torn is read, one driver at a time."""

import os
import signal
import subprocess
import sys
import time

import pytest
from pydantic import ValidationError

from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.search.ledger import (
    Asked,
    Finished,
    Ledger,
    Promoted,
    Reused,
    Rung,
    SearchStarted,
    StageFinished,
    TestOpened,
    read_events,
)
from keepgain.sweeps.search.replay import replay


def asked(key="t1-s7", **more):
    return Asked(
        run_key=key,
        trial_id=key.split("-")[0],
        seed=7,
        stage=Stage.SEARCH,
        kind="trial",
        model="a",
        config={"learning_rate": 1e-5, "nested": {"x": [1, None]}},
        **more,
    )


def rung(n, key="t1-s7", final=False):
    report = RungReport(
        run_key=key,
        rung=n,
        tokens=100 * (n + 1),
        examples=10,
        final=final,
        metrics={"validation/gain": 0.5 + n},
        items_path="items.parquet",
        checkpoint=f"runs/{key}/{n}",
    )
    return Rung(report=report)


ALL = [
    SearchStarted(settings={"seed": 1}, versions={"optuna": "5"}),
    asked(number=0, generation=0, index=0, origin="quasi_random", raw={"x": 0.1}, params={"x": 1}),
    rung(0),
    Promoted(run_key="t1-s7", rung=1),
    Finished(run_key="t1-s7", status="failed", reason="loss nan", cause=FailureCause.NAN),
    asked("t2-s7"),
    Reused(run_key="t2-s7", sweep="old-1a2b3c", reports=(rung(0, "t2-s7").report,)),
    StageFinished(stage=Stage.SEARCH, note="12 trials"),
    TestOpened(candidates=("t1-s7",), items_hash="ab", time="2026-01-01T00:00:00Z"),
]


def test_events_come_back_as_they_were(tmp_path):
    path = tmp_path / "sweep" / "ledger.jsonl"
    with Ledger.open(path) as ledger:
        for event in ALL:
            ledger.append(event)
        assert ledger.events() == ALL == read_events(path)
    with Ledger.open(path) as ledger:
        assert ledger.events() == ALL
        ledger.append(ALL[-1])
    assert read_events(path) == [*ALL, ALL[-1]]
    assert oct(path.stat().st_mode)[-3:] == "600"


def test_a_torn_last_line_is_cut_off_wherever_it_is_torn(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Ledger.open(path) as ledger:
        for event in ALL[:3]:
            ledger.append(event)
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for cut in range(start, len(whole), 7):
        path.write_bytes(whole[:cut])
        assert read_events(path) == ALL[:2]
        with Ledger.open(path) as ledger:
            assert ledger.events() == ALL[:2]
            ledger.append(ALL[2])
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [b"{}", b"[1]", b"not json", b'{"event": "asked"}', b'{"event": "moved"}', b"\x00\x00", b""],
)
def test_any_other_malformed_line_is_named(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    good = ALL[0].model_dump_json().encode()
    path.write_bytes(b"\n".join([good, line, good, b""]))
    with pytest.raises(UserError) as error:
        Ledger.open(path)
    assert error.value.where == f"{path}:2"
    path.write_bytes(good + b"\n")
    Ledger.open(path).close()  # the refused opening left no lock


def test_a_status_that_is_no_end_is_refused():
    with pytest.raises(ValidationError, match="not an end"):
        Finished(run_key="t1-s7", status=TrialStatus.RUNNING)


@pytest.mark.fault("R5")
def test_a_write_that_fails_leaves_the_ledger_as_it_was(tmp_path):
    """A full disk, by a real limit on the file size."""
    code = """
import resource, signal, sys
from pathlib import Path
from keepgain.sweeps.search.ledger import Ledger, StageFinished, read_events
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
ledger = Ledger.open(path)
ledger.append(StageFinished(stage="search", note="first"))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    ledger.append(StageFinished(stage="search", note="x" * 200))
except OSError as error:
    print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.append(StageFinished(stage="confirm", note="second"))
notes = [[e.note for e in events] for events in (read_events(path), ledger.events())]
print(notes == [["first", "second"]] * 2)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "l")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["File too large", "True"], done.stderr


WRITER = """
import sys
from pathlib import Path
from keepgain.sweeps.search.ledger import Ledger, StageFinished
ledger = Ledger.open(Path(sys.argv[1]))
start = len(ledger.events())
print("open", start, flush=True)
for n in range(start, 10**6):
    ledger.append(StageFinished(stage="search", note=str(n) + "x" * 5000))
    print(n, flush=True)
"""


def writer(path):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.fault("P5")
def test_killed_while_appending_nothing_acknowledged_is_lost(tmp_path):
    path = tmp_path / "ledger.jsonl"
    acknowledged = -1
    for pause in (0.01, 0.05, 0.12):
        process = writer(path)
        assert process.stdout.readline().startswith("open")
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        lines = process.communicate(timeout=30)[0].splitlines()
        acknowledged = max([acknowledged, *map(int, lines)])
        with Ledger.open(path) as ledger:  # at once: the dead driver's lock is gone
            notes = [int(e.note.rstrip("x")) for e in ledger.events()]
        assert notes == list(range(len(notes)))
        assert acknowledged < len(notes) <= acknowledged + 2
    assert acknowledged > 0


@pytest.mark.fault("P12")
def test_a_second_driver_refuses_and_a_reader_does_not(tmp_path):
    path = tmp_path / "ledger.jsonl"
    process = writer(path)
    try:
        assert process.stdout.readline().startswith("open")
        with pytest.raises(UserError, match=f"process {process.pid} on {os.uname().nodename}"):
            Ledger.open(path)
        read_events(path)
    finally:
        process.kill()
        process.communicate(timeout=30)
    first = Ledger.open(path)
    with pytest.raises(UserError, match=f"process {os.getpid()} "):
        Ledger.open(path)
    first.close()
    first.close()
    Ledger.open(path).close()


def test_replay_gives_the_state_of_every_run():
    interrupted = Finished(run_key="t1-s7", status="interrupted", reason="Ctrl-C")
    state = replay([asked(), asked("t2-s7")])
    assert [r.status for r in state.runs.values()] == [TrialStatus.ASKED] * 2
    assert state.runs["t1-s7"].last_report is None

    events = [asked(), rung(0), rung(1)]
    assert replay(events).runs["t1-s7"].status == TrialStatus.PAUSED
    assert replay(events).runs["t1-s7"].last_report == rung(1).report
    assert replay([*events, interrupted]).runs["t1-s7"].status == TrialStatus.INTERRUPTED
    # Continued: the rung that was under way is trained again, and its later report stands.
    again = rung(1, final=True)
    events += [interrupted, again]
    assert replay(events).runs["t1-s7"].reports == (rung(0).report, again.report)
    assert replay(events).runs["t1-s7"].status == TrialStatus.PAUSED
    done = Finished(run_key="t1-s7", status="completed")
    assert replay([*events, done]).runs["t1-s7"].status == TrialStatus.COMPLETED

    state = replay(ALL)
    assert state.stages == (Stage.SEARCH,)
    assert state.openings == (ALL[-1],)
    assert state.runs["t1-s7"].cause == FailureCause.NAN
    assert state.runs["t2-s7"].reused_from == "old-1a2b3c"


def test_a_repeated_draw_does_not_hide_the_first():
    first, second = asked(number=0), asked(number=3)
    run = replay([first, rung(0, final=True), second]).runs["t1-s7"]
    assert run.asked == first
    assert run.last_report is not None


def test_results_of_a_run_never_asked_for_are_refused():
    with pytest.raises(UserError, match="never asked"):
        replay([rung(0)])


def test_a_run_waits_at_its_rung_until_it_is_promoted_or_ends():
    def waits(*events):
        return replay([asked(), *events]).runs["t1-s7"].waits

    up = Promoted(run_key="t1-s7", rung=1)
    stopped = Finished(run_key="t1-s7", status="pruned", reason="ranked 2 of 2")
    assert not waits()
    assert waits(rung(0))
    assert not waits(rung(0), up)
    assert waits(rung(0), up, rung(1))
    assert waits(rung(0), Finished(run_key="t1-s7", status="interrupted"))
    assert not waits(rung(0), up, Finished(run_key="t1-s7", status="interrupted"))
    assert not waits(rung(0), stopped)
    assert not waits(rung(0), up, rung(1, final=True))
