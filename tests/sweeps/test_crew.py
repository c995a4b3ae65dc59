"""What a trial asks of the cluster, from the spec's `resources`."""

from typing import Any

import pytest

from keepgain.core.launch import GPU_TYPE_LABEL, Footprint, ResourceRequest
from keepgain.sweeps.crew import footprint_of
from keepgain.sweeps.spec_resources import ResourcesSpec
from keepgain.sweeps.tune_runner import placement_group


@pytest.mark.parametrize(
    ("asked", "has_gpu", "bundles", "cpus", "gpus"),
    [
        ({}, False, 1, 1, 0),
        ({}, True, 1, 1, 1),
        ({"gpus_per_trial": 0.5}, True, 1, 1, 0.5),
        ({"placement": "spread"}, False, 1, 1, 0),
        ({"workers_per_trial": 4}, True, 1, 4, 4),
        ({"workers_per_trial": 4, "placement": "spread"}, True, 4, 1, 1),
        ({"workers_per_trial": 4, "placement": "pack", "cpus_per_trial": 6}, False, 4, 1.5, 0),
        ({"gpu_type": "H100", "workers_per_trial": 2, "placement": "pack"}, False, 2, 1, 1),
    ],
)
def test_workers_that_need_not_share_a_machine_have_a_bundle_each(
    asked: dict[str, Any], has_gpu: bool, bundles: int, cpus: float, gpus: float
) -> None:
    found = footprint_of(ResourcesSpec(**asked), has_gpu=has_gpu)
    assert (found.bundles, found.bundle.cpus, found.bundle.gpus) == (bundles, cpus, gpus)
    assert found.total == ResourceRequest(cpus=bundles * cpus, gpus=bundles * gpus)


def test_a_type_of_gpu_is_a_label_of_every_bundle_in_tunes_placement_group() -> None:
    asked = ResourcesSpec(
        workers_per_trial=2, placement="strict_spread", gpu_type="H100", labels={"zone": "a"}
    )
    group = placement_group(footprint_of(asked, has_gpu=True))
    assert group.strategy == "STRICT_SPREAD" and not group.head_bundle_is_empty
    assert group.bundles == [{"CPU": 1.0, "GPU": 1.0}] * 2
    selector = group._bound.arguments["bundle_label_selector"]
    assert selector == [{"zone": "a", GPU_TYPE_LABEL: "H100"}] * 2


def test_an_ordinary_trial_asks_for_no_label() -> None:
    group = placement_group(Footprint())
    assert group.bundles == [{"CPU": 1.0}]
    assert "bundle_label_selector" not in group._bound.arguments
