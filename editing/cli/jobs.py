"""Resumable batches of edits with atomic output, one after the other or spread over a
cluster."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.cli.changes import changes_model
from regrain.editing.errors import EditingError, RequestError, from_validation, shorten
from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit_request import EditRequest, override
from regrain.editing.request.fields import Strict
from regrain.editing.request.plan import scan
from regrain.editing.request.project import FILE, load_project
from regrain.editing.request.runnable import check_runnable
from regrain.editing.storage.folders import (
    check_marked,
    readable,
    replacing,
    writable,
)
from regrain.editing.storage.local_models import find_project

log = logging.getLogger(__name__)
STATUS = "batch.json"
_WORK = ".work"  # results that are not finished
_MAX_LINES, _MAX_LINE = 100_000, 100_000
_MAX_STEM = 80


class _Job(Strict):
    project: str = Field(min_length=1, max_length=4000)
    name: str = Field("", max_length=_MAX_STEM)


JobSpec = changes_model("JobSpec", _Job)
"""A line of a .jsonl file: a project, and what to replace in it."""


@dataclass(frozen=True)
class EditJob:
    """One edit of a project folder; `changes` replace the project's values, as
    `override` takes them.

    Its name is unique in the batch: it is that of the folder of its results.
    """

    name: str
    project: Path
    changes: Mapping[str, Any] = field(default_factory=dict)

    def request(self) -> tuple[EditRequest, list[str]]:
        """Return the request, and notes for the report."""
        request, notes = override(load_project(self.project), **self.changes)
        check_runnable(request)
        return request, notes

    def mark(self) -> dict[str, str]:
        """Return the name, and the SHA-256 of all that the result depends on: project
        files and changes."""
        found = hashlib.sha256(json.dumps(dict(self.changes), sort_keys=True).encode())
        files = sorted(path for path in self.project.rglob("*") if path.is_file())
        for file in files:
            found.update(
                str(file.relative_to(self.project)).encode(errors="surrogateescape")
            )
            with file.open("rb") as content:
                found.update(hashlib.file_digest(content, "sha256").digest())
        return {"name": self.name, "digest": found.hexdigest()}


@dataclass(frozen=True)
class Task:
    """A piece of work for one worker: a whole job, or one shot of it.

    Attributes:
        shot: Number of the shot, from 0, whose windows are edited and kept in the
            cache; None for the whole job, which takes from there what is done.
        after: Tasks of the same job that must be done before, by their shots.
    """

    job: EditJob
    shot: int | None = None
    after: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """Its name in messages."""
        shot = "" if self.shot is None else f", shot {self.shot + 1}"
        return f"{self.job.name}{shot}"


@dataclass(frozen=True)
class Outcome:
    """The end of a task; `error` is empty if it was done."""

    task: Task
    error: str = ""


def read_jobs(sources: Iterable[str]) -> list[EditJob]:
    """Read jobs: project folders, patterns of them, and .jsonl files with a `JobSpec`
    each.

    Paths in a .jsonl file are relative to its folder.

    Raises:
        RequestError: A source has no project, a line is not allowed, or two jobs have
            the same name.
    """
    named: dict[
        str, EditJob
    ] = {}  # by names that differ also where case does not count
    for source in sources:
        is_file = source.endswith(".jsonl")
        for job in _read_lines(Path(source)) if is_file else _find(source):
            name = job.name
            number = 2
            while name.casefold() in named:
                name = f"{job.name}_{number}"
                number += 1
            named[name.casefold()] = replace(job, name=name)
    if not named:
        raise RequestError(
            "JOBS", "No jobs given. Give project folders, a pattern, or a .jsonl file."
        )
    return list(named.values())


def _find(source: str) -> list[EditJob]:
    with boundary("JOBS", f"{shorten(source)} cannot be read. Use a project folder."):
        folder = find_project(source)
        is_one = os.path.isdir(folder)
        paths = [folder] if is_one else sorted(map(Path, glob.glob(source)))
        folders = [
            path.resolve() for path in readable(paths) if (path / FILE).is_file()
        ]
    if not folders:
        raise RequestError(
            "JOBS",
            f"{shorten(source)} has no project. Use a folder with {FILE}, a "
            "pattern, or a .jsonl file.",
        )
    return [EditJob(_stem(folder.name), folder) for folder in folders]


def _read_lines(file: Path) -> list[EditJob]:
    check_regular(file, "JOBS")
    name = shorten(file.name)
    unreadable = (
        f"{name} cannot be read. Use a UTF-8 file with one JSON object per line."
    )
    with boundary("JOBS", unreadable), file.open(encoding="utf-8-sig") as lines:
        texts = list(islice(lines, _MAX_LINES + 1))
    if len(texts) > _MAX_LINES:
        raise RequestError(
            "JOBS", f"{name} has more than {_MAX_LINES} lines. Split it."
        )
    return [
        _read_line(text, f"{file.name}, line {number}", file.parent)
        for number, text in enumerate(texts, 1)
        if text.strip()
    ]


def _read_line(text: str, place: str, folder: Path) -> EditJob:
    with boundary(place, "The line is not a JSON object. Correct it."):
        if len(text) > _MAX_LINE:
            raise RequestError(
                place, f"The line has more than {_MAX_LINE} characters. Shorten it."
            )
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError("no object")
    try:
        line = JobSpec.model_validate(content)
    except ValidationError as error:
        raise from_validation(error, JobSpec, f"{place}: ") from None
    missing = f"{shorten(line.project)} has no {FILE}. Use a project folder."
    with boundary(place, missing):
        project = (folder / line.project).resolve()
        if not (project / FILE).is_file():
            raise RequestError(place, missing)
    changes = line.model_dump(exclude=set(_Job.model_fields), exclude_defaults=True)
    return EditJob(_stem(line.name or project.name), project, changes)


def _stem(name: str) -> str:
    """Return a name that any system takes for a folder."""
    kept = "".join(c if c.isalnum() or c in "-_ " else "_" for c in name).strip(" .")
    return kept[:_MAX_STEM] or "job"


def split(jobs: Iterable[EditJob]) -> list[Task]:
    """Return the tasks of jobs whose clips are cut into shots: one for each shot, then
    the job."""
    tasks: list[Task] = []
    for job in jobs:
        request, _ = job.request()
        cuts = request.decided.cuts
        if cuts is None:
            cuts = [number for number, is_cut in scan(request.clip) if is_cut]
        count = len(cuts) + 1
        # What is done once for all windows, such as tuning, the first shot does; the
        # others find it cached.
        first = (0,) if METHODS[request.method].setup else ()
        shots = range(count) if count > 1 else ()
        tasks += [Task(job, shot, first if shot else ()) for shot in shots]
        tasks.append(Task(job, None, tuple(shots)))
    return tasks


def is_done(job: EditJob, out: Path) -> bool:
    """Tell whether a job's results are there, of this project and these values."""
    report = out / job.name / "report.json"
    if not report.is_file():
        return False
    try:
        kept = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(kept, dict) and kept.get("job") == job.mark()


def work(task: Task, out: Path) -> Outcome:
    """Do a task, unless it is done; the outcome says what went wrong."""
    try:
        if task.shot is None:
            if not is_done(task.job, out):
                _edit(task.job, out)
        else:
            from regrain.editing.pipeline.runner import edit_shot

            for _ in edit_shot(task.job.request()[0], task.shot):
                pass
    except EditingError as error:
        return Outcome(task, str(error))
    except Exception as error:
        log.exception("a job failed")
        kind = type(error).__name__
        return Outcome(
            task, f"{task.title}: {kind} inside Regrain. The log has the details."
        )
    return Outcome(task)


def _edit(job: EditJob, out: Path) -> None:
    """Edit, write beside the results of others, and move into place: all at once, and
    only once."""
    from regrain.editing.pipeline.outputs import write_outputs
    from regrain.editing.pipeline.runner import edit
    from regrain.editing.recipe.events import Finished

    request, notes = job.request()
    mark = job.mark()
    finished = next(event for event in edit(request) if isinstance(event, Finished))
    warnings: Any = finished.report["warnings"]
    report = {**finished.report, "warnings": [*warnings, *notes], "job": mark}
    place = out / _WORK / uuid.uuid4().hex
    try:
        write_outputs(finished.result, request, report, place)
        target = out / job.name
        if target.exists() and not is_done(job, out):
            target.rename(out / _WORK / uuid.uuid4().hex)  # results of other values
        place.rename(target)
    except OSError:
        # else another worker was faster, with the same result
        if not is_done(job, out):
            raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def check_batch(out: Path) -> None:
    """Refuse, before any work, a folder that is a file, cannot be written or holds more
    than a batch."""
    check_marked(out, STATUS, "a new folder, or one of this batch")


class Status:
    """The states of a batch's jobs, kept in batch.json beside the results."""

    def __init__(self, jobs: Sequence[EditJob], out: Path) -> None:
        self._out = out
        self._states = {job.name: {"state": "waiting"} for job in jobs}
        with writable():
            (out / _WORK).mkdir(parents=True, exist_ok=True)
        self._write()

    def take(self, outcome: Outcome) -> None:
        """Note the outcome of a task."""
        task = outcome.task
        if outcome.error:
            failed = {"state": "failed", "error": outcome.error}
            self._states[task.job.name] = failed
        elif task.shot is None:
            self._states[task.job.name] = {"state": "done"}
        self._write()

    def count(self, state: str) -> int:
        """Number of jobs that are done, failed or waiting."""
        return sum(job["state"] == state for job in self._states.values())

    def close(self) -> None:
        """Remove what was begun and not finished."""
        shutil.rmtree(self._out / _WORK, ignore_errors=True)

    def _write(self) -> None:
        text = json.dumps(
            {"version": 1, "jobs": self._states}, indent=2, ensure_ascii=False
        )
        with writable(), replacing(self._out / STATUS) as part:
            part.write_text(text + "\n", encoding="utf-8")
