"""The crew of a sweep: the Ray that carries its jobs out, and how many at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keepgain.cluster import ray_cluster
from keepgain.core.launch import ResourceRequest
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.program import SweepProgram


@dataclass(frozen=True)
class Crew:
    """A Ray that this process is connected to."""

    cluster: str
    """For people: local or which address, and its size."""
    resources: ResourceRequest
    """Of one trial."""
    slots: int
    workers: int
    """Processes of one trial, which share its resources."""

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
        resources = _resources(prepared, has_gpu=cluster.gpus >= 1)
        wanted = slots or prepared.spec.resources.slots
        found = ray_cluster.slots(cluster, resources, wanted)
        say(f"Ray: {cluster.described}")
        say(f"slots: {found.count} trials at a time ({found.why})")
        workers = prepared.spec.resources.workers_per_trial
        return cls(cluster.described, resources, found.count, workers)

    def work(self, program: SweepProgram, sweep_id: str, folder: Path) -> None:
        """Runs the program until it has finished or is interrupted."""
        from keepgain.sweeps.tune_runner import run_program

        run_program(
            program,
            sweep_id=sweep_id,
            folder=folder,
            resources=self.resources,
            slots=self.slots,
            env=worker_env(self.resources, self.workers),
        )

    def dismiss(self) -> None:
        """Leaves the cluster; a local one ends."""
        ray_cluster.disconnect()


def _resources(prepared: Prepared, *, has_gpu: bool) -> ResourceRequest:
    given = prepared.spec.resources
    workers = given.workers_per_trial
    gpus = given.gpus_per_trial if given.gpus_per_trial is not None else float(has_gpu * workers)
    return ResourceRequest(cpus=given.cpus_per_trial or workers, gpus=gpus)


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
