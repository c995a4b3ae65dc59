"""What the soak counts as a second end of a run, by hand-written events."""

from keepgain.core.status import TrialStatus
from keepgain.sweeps.search.ledger import Finished
from tests.faults.soak import ended_twice

FAILED, COMPLETED = TrialStatus.FAILED, TrialStatus.COMPLETED
TAKEN_BACK = TrialStatus.INTERRUPTED


def ends(*statuses: TrialStatus) -> set[str]:
    return ended_twice([Finished(run_key="a", status=s) for s in statuses])


def test_a_failure_that_was_taken_back_is_no_end() -> None:
    assert ends(FAILED, TAKEN_BACK, COMPLETED) == set()
    assert ends(TAKEN_BACK, COMPLETED) == set()


def test_any_other_second_end_is_found() -> None:
    for statuses in ([COMPLETED, COMPLETED], [FAILED, COMPLETED], [COMPLETED, FAILED]):
        assert ends(*statuses) == {"a"}
    assert ends(COMPLETED, TAKEN_BACK, COMPLETED) == {"a"}, "what is completed is done"
    assert ends(FAILED, TAKEN_BACK, COMPLETED, COMPLETED) == {"a"}
