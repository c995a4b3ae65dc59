"""The crew of a sweep: the Ray that carries its jobs out, and how many at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keepgain.cluster import ray_cluster
from keepgain.cluster.head_watch import watched_head
from keepgain.core.errors import UserError
from keepgain.core.launch import COLLECTIVE_SECONDS, GPU_TYPE_LABEL, Footprint, ResourceRequest
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.program import SweepProgram
from keepgain.sweeps.spec_resources import ResourcesSpec


@dataclass(frozen=True)
class Crew:
    """A Ray that this process is connected to."""

    cluster: str
    """For people: local or which address, and its size."""
    footprint: Footprint
    """Of one trial."""
    slots: int
    asked: ResourcesSpec

    @property
    def resources(self) -> ResourceRequest:
        """Of one trial."""
        return self.footprint.total

    @classmethod
    def start(
        cls,
        prepared: Prepared,
        say: Callable[[str], None],
        *,
        address: str | None,
        slots: int | None,
    ) -> "Crew":
        """Connects to a Ray, or starts one that ends with `dismiss`.

        Raises:
            UserError: No Ray answers, or not even one trial fits.
        """
        cluster = ray_cluster.connect(address)
        asked = prepared.spec.resources
        try:
            footprint = footprint_of(asked, has_gpu=cluster.has_gpu)
            found = ray_cluster.slots(cluster.nodes, footprint, slots or asked.slots)
        except UserError:
            ray_cluster.disconnect()
            raise
        say(f"Ray: {cluster.described}")
        say(f"slots: {found.count} trials at a time ({found.why})")
        return cls(cluster.described, footprint, found.count, asked)

    def work(self, program: SweepProgram, sweep_id: str, folder: Path) -> None:
        """Runs the program until it has finished or is interrupted."""
        from keepgain.sweeps.tune_runner import run_program

        env = worker_env(self.resources, self.asked.workers_per_trial)
        with watched_head(_say):
            run_program(
                program,
                sweep_id=sweep_id,
                folder=folder,
                footprint=self.footprint,
                slots=self.slots,
                env={**env, COLLECTIVE_SECONDS: str(self.asked.collective_timeout_seconds)},
                hang_seconds=self.asked.hang_seconds,
                say=program.progress.say,
            )

    def dismiss(self) -> None:
        """Leaves the cluster; a local one ends."""
        ray_cluster.disconnect()


def footprint_of(asked: ResourcesSpec, *, has_gpu: bool) -> Footprint:
    """Of one trial. Workers that must share a machine share a bundle: it is whole on one machine,
    and takes no actors beside the trial's own."""
    workers = asked.workers_per_trial
    gpus = asked.gpus_per_trial
    if gpus is None:
        gpus = float(workers if has_gpu or asked.gpu_type else 0)
    cpus = asked.cpus_per_trial or float(workers)
    own_type = {GPU_TYPE_LABEL: asked.gpu_type} if asked.gpu_type else {}
    bundles = 1 if asked.placement == "strict_pack" else workers
    return Footprint(
        bundle=ResourceRequest(cpus=cpus / bundles, gpus=gpus / bundles),
        bundles=bundles,
        placement=asked.placement,
        labels={**asked.labels, **own_type},
    )


def worker_env(resources: ResourceRequest, workers: int = 1) -> dict[str, str]:
    """Threads as the CPUs of each of the trial's workers: more were 4 to 10 times slower when
    trials run side by side."""
    threads = str(max(1, int(resources.cpus / workers)))
    env = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
    }
    return env if resources.gpus else {**env, "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}


def _say(text: str) -> None:
    """At once: the process may end any moment, and the progress belongs to another thread."""
    print(text, flush=True)
