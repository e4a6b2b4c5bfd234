"""Run tasks of a batch on a Ray cluster, with a warm model per worker; again where a
worker dies.

All nodes see the project folders, the folder of the results and, for split clips,
$REGRAIN_CACHE under the same paths, as on a network file system.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regrain.editing.boundary import boundary
from regrain.editing.cli.jobs import Outcome, Task, work
from regrain.editing.errors import RequestError, ResourceError, shorten

_SECONDS = 5  # to reach the cluster
_TRIES = 3  # of a task whose worker dies
_PASSED_ON = (
    "REGRAIN_CACHE",
    "REGRAIN_MODELS",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS",
)


@dataclass(frozen=True)
class Cluster:
    """Runs tasks on the nodes of a cluster.

    Args:
        address: Address of the cluster; `auto` for the one of this machine, `local` to
            start one.
        out: Folder of the results.
        cpus: CPUs a worker needs.
        gpus: GPUs a worker needs; by default one, or 0 where the cluster has none.
    """

    address: str
    out: Path
    cpus: float = 1
    gpus: float | None = None

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Run tasks, those of one job in their order, and yield their outcomes as they
        end; of a job that failed, only those until then.

        Raises:
            RequestError: Ray is not installed, or the cluster cannot be reached.
            ResourceError: No node has room for a worker.
        """
        ray = _connected(self.address)
        gpus = self._gpus(ray)
        # Ray begins a task once those before it are done, again where its worker or
        # node dies, and in a process that has the model already, if one is idle.
        remote = ray.remote(
            num_cpus=self.cpus, num_gpus=gpus, max_retries=_TRIES - 1, max_calls=0
        )(_work)
        begun: dict[tuple[str, int | None], Any] = {}
        asked: dict[Any, Task] = {}
        for task in tasks:
            before = [begun[task.job.name, shot] for shot in task.after]
            handle = remote.remote(task, self.out.resolve(), *before)
            begun[task.job.name, task.shot] = handle
            asked[handle] = task
        failed: set[str] = set()  # jobs
        while asked:
            ready, _ = ray.wait([*asked], num_returns=1, timeout=_SECONDS)
            if not ready and not self._has_room(ray, gpus):
                raise ResourceError(
                    "--ray", "No node has room for a worker. Lower --cpus or --gpus."
                )
            for handle in ready:
                task = asked.pop(handle)
                outcome = _outcome(ray, handle, task)
                if task.job.name not in failed:
                    yield outcome
                if outcome.error:
                    failed.add(task.job.name)
                    for other, later in asked.items():
                        if later.job.name in failed:
                            ray.cancel(other)

    def _gpus(self, ray: Any) -> float:
        if self.gpus is not None:
            return self.gpus
        return 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0

    def _has_room(self, ray: Any, gpus: float) -> bool:
        """Tell whether a living node is large enough for a worker."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return any(
            node.get("CPU", 0) >= self.cpus and node.get("GPU", 0) >= gpus
            for node in nodes
        )


def _work(task: Task, out: Path, *before: Outcome) -> Outcome:
    """Do a task after others of its job; see `editing.cli.jobs.work`."""
    return next((one for one in before if one.error), None) or work(task, out)


def _outcome(ray: Any, handle: Any, task: Task) -> Outcome:
    """Return the outcome of a task that has ended."""
    try:
        return ray.get(handle)
    except ray.exceptions.RayError as error:  # the worker died, or its node
        kind = type(error).__name__
        return Outcome(task, f"{task.title}: Its worker died {_TRIES} times ({kind}).")


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError:
        raise RequestError(
            "--ray", "Ray is not installed. Run `pip install regrain[ray]`."
        ) from None
    if ray.is_initialized():
        return ray
    said = (
        f"The cluster at {shorten(address)} cannot be reached. Start one with "
        "`ray start --head`."
    )
    is_local = address == "local"
    if address not in ("auto", "local"):
        # Refused where nobody listens: Ray itself would try for minutes.
        host, _, port = address.removeprefix("ray://").rpartition(":")
        with boundary("--ray", said):
            socket.create_connection((host, int(port)), _SECONDS).close()
    variables = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        ray.init(
            None if is_local else address,
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            include_dashboard=False if is_local else None,
        )
    except Exception:  # Ray raises many kinds
        raise RequestError("--ray", said) from None
    return ray
