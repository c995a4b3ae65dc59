"""How many trials fit on the nodes of a cluster: a trial's bundles are whole on one node each.

Sums over the cluster would mislead: a trial of four CPUs fits on no cluster of two nodes of two.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from keepgain.core.errors import UserError
from keepgain.core.launch import GPU_TYPE_LABEL, Footprint, ResourceRequest


@dataclass(frozen=True)
class Node:
    """A machine of a cluster, or a part of one that Ray takes for a machine."""

    cpus: float
    gpus: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)

    def has(self, labels: dict[str, str]) -> bool:
        """Whether all these labels are on it."""
        return all(self.labels.get(key) == value for key, value in labels.items())


def trials_that_fit(nodes: Sequence[Node], footprint: Footprint) -> int:
    """Most trials at a time. Bundles of a trial are alike, so only their number on a node counts.

    With `strict_spread` it is the most that can be laid out; Ray lays out one trial after the
    other and may reach fewer, the next then waits.
    """
    holds = [
        bundles_on(node, footprint.bundle) if node.has(footprint.labels) else 0 for node in nodes
    ]
    each = footprint.bundles
    match footprint.placement:
        case "strict_pack":
            return sum(held // each for held in holds)
        case "pack" | "spread":
            return sum(holds) // each
        case "strict_spread":
            # A trial uses a node once: with t trials a node gives at most t of its places.
            count = sum(holds) // each
            while count and sum(min(held, count) for held in holds) < count * each:
                count -= 1
            return count


def bundles_on(node: Node, bundle: ResourceRequest) -> int:
    """How often a bundle fits on a node; a share of a GPU lies whole on one."""
    limits = []
    if bundle.cpus > 0:
        limits.append(_times(node.cpus, bundle.cpus))
    if 0 < bundle.gpus < 1:
        limits.append(int(node.gpus) * _times(1, bundle.gpus))
    elif bundle.gpus:
        limits.append(_times(node.gpus, bundle.gpus))
    return min(limits)


def refusal(nodes: Sequence[Node], footprint: Footprint) -> UserError:
    """Why not even one trial fits, with the arithmetic."""
    for key, value in footprint.labels.items():
        if not any(node.has({key: value}) for node in nodes):
            return _no_such_label(nodes, key, value)
    fitting = [node for node in nodes if node.has(footprint.labels)]
    if not fitting:
        wanted = ", ".join(f"{k}={v}" for k, v in footprint.labels.items())
        return UserError(f"no node has all of the labels {wanted}.", where="resources.labels")
    name, need, each = _scarcest(fitting, footprint)
    have = [_amount(node, name) for node in fitting]
    trial = f"a trial needs {need:g} {name}"
    hint = "Lower the need of a trial, or use a larger cluster."
    if footprint.bundles > 1:
        trial = f"a trial needs {each} workers × {need / each:g} {name} = {need:g} {name}"
    if footprint.placement == "strict_spread" and footprint.bundles > 1:
        trial += f" on {each} different nodes"
    elif footprint.placement == "strict_pack" and len(fitting) > 1:
        trial += " on one node"
        if sum(have) >= need:
            hint = "Set `resources.placement` to `pack` or `spread`, or lower the need of a trial."
    where = "those nodes have" if footprint.labels else "the cluster has"
    return UserError(f"{trial}; {where} {_described(have, name)}.", where="resources", hint=hint)


def arithmetic(nodes: Sequence[Node], footprint: Footprint) -> str:
    """Behind `trials_that_fit`, e.g. `2 nodes of 4 CPUs / 2 a trial`."""
    fitting = [node for node in nodes if node.has(footprint.labels)]
    name, need, each = _scarcest(fitting, footprint)
    have = _described([_amount(node, name) for node in fitting], name)
    if footprint.bundles == 1:
        return f"{have} / {need:g} a trial"
    return f"{have} / {each} workers × {need / each:g} a trial, {footprint.placement}"


def _scarcest(nodes: Sequence[Node], footprint: Footprint) -> tuple[str, float, int]:
    """Name of the resource of which the fewest trials fit, a trial's need of it, its bundles."""
    found = []
    for name in ("CPUs", "GPUs"):
        own = ResourceRequest(
            cpus=footprint.bundle.cpus if name == "CPUs" else 0.0,
            gpus=footprint.bundle.gpus if name == "GPUs" else 0.0,
        )
        if own.cpus or own.gpus:
            alone = footprint.model_copy(update={"bundle": own})
            need = (own.cpus + own.gpus) * footprint.bundles
            found.append((trials_that_fit(nodes, alone), name, need))
    _, name, need = min(found)
    return name, need, footprint.bundles


def _amount(node: Node, name: str) -> float:
    return node.cpus if name == "CPUs" else node.gpus


def _described(have: Sequence[float], name: str) -> str:
    """`2 CPUs`, or `3 nodes of 2 CPUs and 1 node of 4 CPUs`."""
    if len(have) == 1:
        return f"{have[0]:g} {name}"
    return " and ".join(
        f"{count} node{'s' if count > 1 else ''} of {amount:g} {name}"
        for amount, count in sorted(Counter(have).items())
    )


def _no_such_label(nodes: Sequence[Node], key: str, value: str) -> UserError:
    is_type = key == GPU_TYPE_LABEL
    there = sorted({node.labels[key] for node in nodes if key in node.labels})
    what = f"GPUs of type {value}" if is_type else f"the label {key}={value}"
    return UserError(
        f"no node of the cluster has {what} (there is: {', '.join(there) or 'none'}).",
        where="resources.gpu_type" if is_type else "resources.labels",
        hint="`ray list nodes --detail` shows what the nodes have."
        if is_type
        else f"Start a node with `ray start ... --labels {key}={value}`.",
    )


def _times(have: float, need: float) -> int:
    return int(have / need + 1e-9)
