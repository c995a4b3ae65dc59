"""Slots: the arithmetic, and its refusals. What needs a Ray is in `tests/sweeps/e2e`."""

import json
import socket
import time

import pytest

from keepgain.cluster.placement import Node
from keepgain.cluster.ray_cluster import (
    JOB_CONFIG_VARIABLE,
    inside_ray_job,
    require_listening,
    slots,
    submission_id,
)
from keepgain.core.errors import UserError
from keepgain.core.launch import Footprint, ResourceRequest


def asks(cpus: float, gpus: float) -> Footprint:
    return Footprint(bundle=ResourceRequest(cpus=cpus, gpus=gpus))


@pytest.mark.parametrize(
    ("have", "need", "wanted", "count", "why"),
    [
        ((2, 0), (1, 0), None, 2, "2 CPUs / 1 a trial"),
        ((8, 2), (1, 1), None, 2, "2 GPUs / 1 a trial"),
        ((2, 4), (1, 1), None, 2, "2 CPUs / 1 a trial"),
        ((8, 1), (1, 0.25), None, 4, "1 GPUs / 0.25 a trial"),
        ((1, 0), (0.1, 0), None, 10, "1 CPUs / 0.1 a trial"),
        ((3, 0), (2, 0), None, 1, "3 CPUs / 2 a trial"),
        ((8, 0), (1, 0), 3, 3, "as the spec asks; 8 CPUs / 1 a trial would allow 8"),
        ((2, 0), (1, 0), 3, 2, "2 CPUs / 1 a trial"),
        ((4, 2), (0, 1), None, 2, "2 GPUs / 1 a trial"),
    ],
)
def test_as_many_trials_as_the_scarcest_resource_allows(
    have: tuple[float, float],
    need: tuple[float, float],
    wanted: int | None,
    count: int,
    why: str,
) -> None:
    found = slots((Node(*have),), asks(*need), wanted)
    assert (found.count, found.why) == (count, why)


@pytest.mark.fault("P14")
@pytest.mark.parametrize(
    ("have", "need", "words"),
    [
        ((2, 0), (3, 0), "a trial needs 3 CPUs; the cluster has 2"),
        ((2, 0), (1, 1), "a trial needs 1 GPUs; the cluster has 0"),
        ((64, 4), (1, 8), "a trial needs 8 GPUs; the cluster has 4"),
        ((2, 0), (0, 0), "must ask for a CPU or a GPU"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_arithmetic(
    have: tuple[float, float], need: tuple[float, float], words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        slots((Node(*have),), asks(*need))
    assert caught.value.exit_code == 2


def test_an_address_where_nobody_listens_is_refused_at_once() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(UserError, match=f"no Ray cluster answers at '{address}'"):
            require_listening(address)
        assert time.monotonic() - begun < 10
        one.listen()
        require_listening(address)
        require_listening(f"ray://{address}")


@pytest.mark.parametrize("address", [None, "auto", "local"])
def test_addresses_that_ray_resolves_are_left_to_it(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    require_listening(address)


@pytest.mark.parametrize(
    ("value", "inside", "found"),
    [
        (None, False, None),
        (json.dumps({"metadata": {"job_submission_id": "raysubmit_x"}}), True, "raysubmit_x"),
        ("{}", True, None),
        ("not JSON", True, None),
    ],
)
def test_a_ray_job_is_known_by_its_environment(
    value: str | None, inside: bool, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(JOB_CONFIG_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(JOB_CONFIG_VARIABLE, value)
    assert inside_ray_job() is inside
    assert submission_id() == found
