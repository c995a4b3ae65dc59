"""The processes of one local cluster: known by a random mark that they inherited.

Every process below a `ray start` of ours has the mark in its environment, also after its parent was
killed and whatever session or group it has made for itself. So what is ended is what was started,
and nothing is looked for by name.
"""

import contextlib
import ipaddress
import os
import signal
import time
from collections.abc import Iterable

import psutil

VARIABLE = "KEEPGAIN_CLUSTER_MARK"
"""`MARK/NUMBER` of the node, in the environment of all its processes."""
KEEP_ENVIRONMENT = {"SPT_NOENV": "1"}
"""Else `setproctitle`, which Ray calls in its workers, writes over the environment that /proc shows
(a shorter title in `ps` is the price)."""


def marked(mark: str) -> list[psutil.Process]:
    """Live processes with this mark (`MARK` or `MARK/NUMBER`), and all below them."""
    found: dict[int, psutil.Process] = {}
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended just now, or another user's
            value = one.environ().get(VARIABLE, "")
            if (value == mark or value.startswith(f"{mark}/")) and is_live(one):
                found[one.pid] = one
                found |= {p.pid: p for p in one.children(recursive=True) if is_live(p)}
    found.pop(os.getpid(), None)  # a job of the cluster that takes it down
    return list(found.values())


def is_live(one: psutil.Process) -> bool:
    """False for one that has ended, waited for or not, and for another with its number."""
    try:
        return bool(one.is_running()) and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def recorded(pid: int, started: float) -> psutil.Process | None:
    """The process that had this id and start time (seconds since 1970), if it still lives."""
    try:
        one = psutil.Process(pid)
        return one if abs(one.create_time() - started) < 1.0 and is_live(one) else None
    except psutil.NoSuchProcess:
        return None


def end(mark: str, also: Iterable[psutil.Process] = (), *, grace_seconds: float = 5.0) -> list[int]:
    """Ends all with this mark: SIGTERM, then SIGKILL until none is left.

    Args:
        also: Recorded processes, ended with them.
        grace_seconds: Between the signals; 0: SIGKILL at once.

    Returns:
        Process ids of those that SIGKILL did not end within 30 s (uninterruptible); usually none.
    """
    others = list(also)
    if grace_seconds > 0:
        first = [*marked(mark), *others]
        _signal(first, signal.SIGTERM)
        _wait(first, grace_seconds)
    deadline = time.monotonic() + 30.0
    while left := [*marked(mark), *filter(is_live, others)]:
        # Again and again: one that was not yet dead may have started another.
        if time.monotonic() > deadline:
            return sorted({p.pid for p in left})
        _signal(left, signal.SIGKILL)
        _wait(left, 1.0)
    return []


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(number)


def _wait(processes: list[psutil.Process], seconds: float) -> None:
    """Until none lives. psutil's own wait takes those that nobody has waited for as alive."""
    deadline = time.monotonic() + seconds
    while any(map(is_live, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)


def listening_elsewhere(processes: Iterable[psutil.Process]) -> list[str]:
    """`ADDRESS:PORT NAME` of what listens on other addresses than loopback, sorted."""
    found = []
    for one in processes:
        with contextlib.suppress(psutil.Error):
            for c in one.net_connections(kind="tcp"):
                if c.status == psutil.CONN_LISTEN and not _is_loopback(c.laddr.ip):
                    found.append(f"{c.laddr.ip}:{c.laddr.port} {one.name()}")
    return sorted(found)


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)  # Ray binds ::ffff:127.0.0.1
    return (mapped or parsed).is_loopback
