"""A batch: many projects, edited one after the other or on a Ray cluster.

All nodes of a cluster see the projects and the folder of the results under the same
paths, as on a network file system.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from regrain.editing.boundary import boundary
from regrain.editing.errors import EditingError, RequestError, shorten
from regrain.editing.removed import instead
from regrain.editing.request.project import FILE, load_project
from regrain.editing.storage.local_models import find_project

log = logging.getLogger(__name__)
_SECONDS = 5  # to reach a cluster
_TRIES = 3  # of a project whose worker dies
# Where files and the hub are; no secret, as a cluster shows these.
_PASSED_ON = re.compile(
    r"REGRAIN_(?!DEVICE)\w+|HF_(?!TOKEN$)\w+|HUGGINGFACE_\w+|XDG_CACHE_HOME|"
    r"OMP_NUM_THREADS|TRANSFORMERS_OFFLINE|SSL_CERT_\w+"
)


def find_projects(given: Iterable[str]) -> dict[str, Path]:
    """Find project folders, by their names, which are those of the folders of their
    results.

    Raises:
        RequestError: A folder has no project, or two have the same name.
    """
    found: dict[str, Path] = {}
    for text in given:
        if text.endswith(".jsonl"):
            raise RequestError("FOLDER", instead("a file of jobs"))
        said = f"{shorten(text)} has no {FILE} that can be read. Use a project folder."
        with boundary("FOLDER", said):
            folder = find_project(text).resolve(strict=True)
            if not os.access(folder / FILE, os.R_OK):
                raise RequestError("FOLDER", said)
        if folder in found.values():
            raise RequestError(
                "FOLDER", f"{shorten(folder.name)} is given twice. Give it once."
            )
        # Names that differ in case alone are one on some disks.
        if folder.name.casefold() in map(str.casefold, found):
            raise RequestError(
                "FOLDER", f"Two are called {shorten(folder.name)}. Rename one."
            )
        found[folder.name] = folder
    return found


def is_done(project: Path, results: Path) -> bool:
    """Tell whether the results are of this project as it is."""
    try:
        report = json.loads((results / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(report, dict) and report.get("project") == _digest(project)


def _digest(project: Path) -> str:
    """Return the SHA-256 of a project's files."""
    found = hashlib.sha256()
    for file in sorted(path for path in project.rglob("*") if path.is_file()):
        name = str(file.relative_to(project))
        found.update(name.encode(errors="surrogateescape"))
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()


def edit_project(project: Path, results: Path) -> str:
    """Edit a project, unless that is done; return what went wrong, or nothing."""
    try:
        if not is_done(project, results):
            _edit(project, results)
    except EditingError as error:
        return str(error)
    except Exception as error:
        log.exception("a project of a batch failed")
        return f"{type(error).__name__} inside Regrain. The log has the details."
    return ""


def _edit(project: Path, results: Path) -> None:
    from regrain.editing.pipeline.outputs import write_outputs
    from regrain.editing.pipeline.runner import edit
    from regrain.editing.recipe.events import Finished

    digest = _digest(project)
    request = load_project(project)
    finished = next(event for event in edit(request) if isinstance(event, Finished))
    report = {**finished.report, "project": digest}
    write_outputs(finished.result, request, report, results)


def edit_here(work: Mapping[Path, Path]) -> Iterator[tuple[Path, str]]:
    """Edit projects one after the other; the model stays loaded.

    Args:
        work: The folder of the results for each project.
    Yields:
        Each project as it ends, and what went wrong.
    """
    for project, results in work.items():
        yield project, edit_project(project, results)


def edit_on_ray(work: Mapping[Path, Path], address: str) -> Iterator[tuple[Path, str]]:
    """Edit projects on a cluster, each worker with a model of its own; as `edit_here`.

    A worker has one GPU where there are any. If it or its node dies, another begins
    its project again.

    Args:
        address: Address of the cluster; `auto` for that of this machine, `local` to
            start one.
    Raises:
        RequestError: Ray is not installed, or the cluster cannot be reached, or is
            lost.
    """
    ray = _connected(address)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU", 0) else 0
        # `max_calls=0`: a process goes on with the model that it has.
        options = {"num_gpus": gpus, "max_retries": _TRIES - 1, "max_calls": 0}
        remote = ray.remote(**options)(edit_project)
        asked = {
            remote.remote(project, results): project
            for project, results in work.items()
        }
        while asked:
            (handle,), _ = ray.wait([*asked], num_returns=1)
            try:
                error = ray.get(handle)
            except ray.exceptions.RayTaskError as failure:
                error = f"Its worker failed: {shorten(str(failure.cause))}."
            except ray.exceptions.RayError as failure:
                kind = type(failure).__name__
                error = f"Its worker died {_TRIES} times ({kind})."
            yield asked.pop(handle), error
    except (
        ConnectionError,
        ray.exceptions.RaySystemError,
        ray.exceptions.RpcError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.LocalRayletDiedError,
    ) as failure:
        raise RequestError(
            "--ray",
            "The cluster was lost. Start it, and give the command again, which goes on.",
        ) from failure


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
    variables = {
        name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)
    }
    with boundary("--ray", said):
        if address not in ("auto", "local"):
            # Refused where nobody listens: Ray itself would try for minutes.
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), _SECONDS).close()
        ray.init(
            None if is_local else address,
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if is_local else None,
        )
    return ray
