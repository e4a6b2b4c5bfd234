"""Run tasks of a batch on a Ray cluster, with a warm model per worker; again where a
worker dies.

All nodes see the project folders, the folder of the results and, for split clips,
$REGRAIN_CACHE under the same paths, as on a network file system.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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


class Worker:
    """An actor: holds a model, and does one task at a time into a folder of results."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def work(self, task: Task) -> Outcome:
        """See `editing.cli.jobs.work`."""
        return work(task, self._out)


@dataclass
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
    _idle: list[Any] = field(default_factory=list)  # workers
    # worker and task by handle
    _busy: dict[Any, tuple[Any, Task]] = field(default_factory=dict)
    # by job and shot
    _deaths: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    _waiting: list[Task] = field(default_factory=list)
    _done: set[tuple[str, int | None]] = field(default_factory=set)  # job and shot
    _failed: set[str] = field(default_factory=set)  # jobs

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Run tasks, those of one job in their order, and yield their outcomes as they
        end.

        Raises:
            RequestError: Ray is not installed, or the cluster cannot be reached.
            ResourceError: No node has room for a worker.
        """
        ray = _connected(self.address)
        self._waiting = list(tasks)
        while self._waiting or self._busy:
            self._start(ray)
            if not self._busy:
                continue
            ready, _ = ray.wait(list(self._busy), num_returns=1, timeout=5)
            for handle in ready:
                outcome = self._end(ray, handle)
                if outcome is None:
                    continue
                task = outcome.task
                if outcome.error:
                    self._failed.add(task.job.name)
                else:
                    self._done.add((task.job.name, task.shot))
                yield outcome

    def _end(self, ray: Any, handle: Any) -> Outcome | None:
        """Return the outcome of a task; None if its worker died and it waits for
        another try."""
        worker, task = self._busy.pop(handle)
        try:
            outcome = ray.get(handle)
        except ray.exceptions.RayError as error:  # the worker died, or its node
            name = task.job.name, task.shot
            self._deaths[name] += 1
            if self._deaths[name] < _TRIES:
                self._waiting.insert(0, task)
                return None
            return Outcome(
                task,
                f"{task.title}: Its worker died {_TRIES} times ({type(error).__name__}).",
            )
        self._idle.append(worker)
        return outcome

    def _start(self, ray: Any) -> None:
        """Give every idle worker a task that may begin; drop tasks of jobs that
        failed."""
        self._waiting = [
            task for task in self._waiting if task.job.name not in self._failed
        ]
        ready = [
            task
            for task in self._waiting
            if all((task.job.name, shot) in self._done for shot in task.after)
        ]
        room = self._room(ray)
        if ready and not self._busy and not self._idle and room < 1:
            raise ResourceError(
                "--ray", "No node has room for a worker. Lower --cpus or --gpus."
            )
        for task in ready:
            if self._idle:
                worker = self._idle.pop()
            elif room >= 1:
                needs = {"num_cpus": self.cpus, "num_gpus": self._gpus(ray)}
                actor = ray.remote(Worker).options(**needs)
                worker = actor.remote(self.out.resolve())
                room -= 1
            else:
                return
            self._waiting.remove(task)
            handle = worker.work.remote(task)
            self._busy[handle] = worker, task

    def _gpus(self, ray: Any) -> float:
        if self.gpus is not None:
            return self.gpus
        return 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0

    def _room(self, ray: Any) -> int:
        """Return how many more workers the living nodes have room for."""
        gpus = self._gpus(ray)
        room = 0
        for node in ray.nodes():
            if not node["Alive"]:
                continue
            total = node["Resources"]
            fitting = total.get("CPU", 0) // self.cpus
            if gpus:
                fitting = min(fitting, total.get("GPU", 0) // gpus)
            room += int(fitting)
        return room - len(self._busy) - len(self._idle)


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
