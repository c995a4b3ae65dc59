"""How many trials fit on nodes: cases worked by hand, and all layouts tried one by one."""

from itertools import combinations, combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.cluster.placement import (
    Node,
    arithmetic,
    bundles_on,
    refusal,
    trials_that_fit,
)
from keepgain.core.launch import GPU_TYPE_LABEL, Footprint, Placement, ResourceRequest

TWO_OF_TWO = (Node(2), Node(2))


def asks(
    bundles: int, placement: Placement, cpus: float = 1, gpus: float = 0, **labels: str
) -> Footprint:
    return Footprint(
        bundle=ResourceRequest(cpus=cpus, gpus=gpus),
        bundles=bundles,
        placement=placement,
        labels=labels,
    )


@pytest.mark.parametrize(
    ("nodes", "footprint", "count"),
    [
        (TWO_OF_TWO, asks(1, "strict_pack", 4), 0),
        (TWO_OF_TWO, asks(4, "strict_pack"), 0),
        (TWO_OF_TWO, asks(4, "spread"), 1),
        (TWO_OF_TWO, asks(4, "pack"), 1),
        (TWO_OF_TWO, asks(2, "strict_spread"), 2),
        (TWO_OF_TWO, asks(3, "strict_spread"), 0),
        (TWO_OF_TWO, asks(1, "strict_pack", 1.5), 2),
        ((Node(3), Node(3)), asks(2, "pack", 2), 1),
        ((Node(3), Node(3)), asks(2, "strict_pack", 1), 2),
        ((Node(3), Node(1)), asks(2, "strict_spread"), 1),
        ((Node(1), Node(1), Node(1), Node(3)), asks(2, "strict_spread"), 3),
        ((Node(8, 2), Node(8, 1)), asks(2, "strict_pack", 1, 1), 1),
        ((Node(8, 2), Node(8, 1)), asks(3, "pack", 1, 1), 1),
        ((Node(8, 2),), asks(1, "strict_pack", 1, 0.4), 4),
        ((Node(8, 2), Node(8)), asks(1, "strict_pack", 1, 0.5), 4),
        ((Node(4, labels={"zone": "a"}), Node(4)), asks(1, "pack", zone="a"), 4),
        ((), asks(1, "pack"), 0),
    ],
)
def test_trials_are_counted_node_by_node(
    nodes: tuple[Node, ...], footprint: Footprint, count: int
) -> None:
    assert trials_that_fit(nodes, footprint) == count


def by_trying(places: tuple[int, ...], bundles: int, placement: str) -> int:
    """Most trials by laying out every trial in every way on nodes with so many places."""
    every = range(len(places))
    if placement == "strict_pack":
        ways = [(n,) * bundles for n in every]
    elif placement == "strict_spread":
        ways = list(combinations(every, bundles))
    else:
        ways = list(combinations_with_replacement(every, bundles))
    best = 0
    for way in ways:
        left = list(places)
        for node in way:
            left[node] -= 1
        if min(left, default=0) >= 0:
            best = max(best, 1 + by_trying(tuple(left), bundles, placement))
    return best


@settings(max_examples=150, deadline=None)
@given(
    cpus=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    bundles=st.integers(1, 3),
    placement=st.sampled_from(["pack", "spread", "strict_pack", "strict_spread"]),
)
def test_no_layout_holds_more_and_one_holds_as_many(
    cpus: list[int], bundles: int, placement: Placement
) -> None:
    nodes = tuple(Node(float(n)) for n in cpus)
    found = trials_that_fit(nodes, asks(bundles, placement))
    assert found == by_trying(tuple(cpus), bundles, placement)


def test_a_share_of_a_gpu_lies_on_one_gpu() -> None:
    assert bundles_on(Node(8, 2), ResourceRequest(cpus=1, gpus=0.6)) == 2
    assert bundles_on(Node(1, 2), ResourceRequest(cpus=0.25, gpus=0.25)) == 4


@pytest.mark.parametrize(
    ("nodes", "footprint", "words", "key"),
    [
        ((Node(2),), asks(1, "strict_pack", 3), "a trial needs 3 CPUs; the cluster has 2 CPUs",
         "resources"),
        (TWO_OF_TWO, asks(1, "strict_pack", 4),
         "a trial needs 4 CPUs on one node; the cluster has 2 nodes of 2 CPUs. Set "
         "`resources.placement` to `pack` or `spread`", "resources"),
        (TWO_OF_TWO, asks(5, "spread"),
         "a trial needs 5 workers × 1 CPUs = 5 CPUs; the cluster has 2 nodes of 2 CPUs",
         "resources"),
        ((Node(8), Node(4)), asks(3, "strict_spread"),
         "3 workers × 1 CPUs = 3 CPUs on 3 different nodes; the cluster has 1 node of 4 CPUs and "
         "1 node of 8 CPUs", "resources"),
        ((Node(8, 1, {GPU_TYPE_LABEL: "A100"}),),
         asks(1, "pack", 1, 1, **{GPU_TYPE_LABEL: "H100"}),
         "no node of the cluster has GPUs of type H100 (there is: A100)", "resources.gpu_type"),
        (TWO_OF_TWO, asks(1, "pack", disk="fast"),
         "no node of the cluster has the label disk=fast (there is: none)", "resources.labels"),
        ((Node(8, labels={"a": "1"}), Node(8, labels={"b": "2"})), asks(1, "pack", a="1", b="2"),
         "no node has all of the labels a=1, b=2", "resources.labels"),
        ((Node(2, labels={"a": "1"}), Node(8)), asks(1, "pack", 4, a="1"),
         "a trial needs 4 CPUs; those nodes have 2 CPUs", "resources"),
    ],
)  # fmt: skip
def test_a_trial_that_fits_nowhere_is_refused_with_the_arithmetic(
    nodes: tuple[Node, ...], footprint: Footprint, words: str, key: str
) -> None:
    error = refusal(nodes, footprint)
    assert words in str(error) and error.where == key


@pytest.mark.parametrize(
    ("nodes", "footprint", "text"),
    [
        ((Node(8),), asks(1, "strict_pack", 2), "8 CPUs / 2 a trial"),
        (TWO_OF_TWO, asks(1, "strict_pack", 2), "2 nodes of 2 CPUs / 2 a trial"),
        (TWO_OF_TWO, asks(4, "spread"), "2 nodes of 2 CPUs / 4 workers × 1 a trial, spread"),
        ((Node(8, 1), Node(8, 4)), asks(1, "pack", 1, 1),
         "1 node of 1 GPUs and 1 node of 4 GPUs / 1 a trial"),
    ],
)  # fmt: skip
def test_the_arithmetic_is_said(nodes: tuple[Node, ...], footprint: Footprint, text: str) -> None:
    assert arithmetic(nodes, footprint) == text
