"""Results made earlier and shipped with a project, to be seen before anything has
run."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regrain.editing.pipeline.outputs import EDITS
from regrain.editing.request.project import FILE

log = logging.getLogger(__name__)
RESULT, REPORT = "result", "report.json"


@dataclass(frozen=True)
class ShippedResult:
    """The result of an earlier run of a project.

    Attributes:
        files: Paths by name: the edits, one per prompt, and the report.
        report: The report of the run: its prompt, parameters, seconds and metrics.
    """

    files: Mapping[str, str]
    report: Mapping[str, Any]

    @property
    def edits(self) -> list[str]:
        """Paths of the edits, in the order of the prompts."""
        return [self.files[name] for name in EDITS if name in self.files]


def digest(project: Path) -> str:
    """Return the SHA-256 of a project.json, which differs between versions of a
    project."""
    return hashlib.sha256((project / FILE).read_bytes()).hexdigest()


def read_made(project: Path, media: Path) -> ShippedResult | None:
    """Read the result shipped in a project's folder, and copy its files to a folder
    that is served.

    Returns:
        The result; None where there is none, or one of another version of the project.
    """
    shipped = project / RESULT
    if not (shipped / REPORT).is_file():
        return None
    text = (shipped / REPORT).read_text(encoding="utf-8")
    report = json.loads(text)
    if report.get("project") != digest(project):
        log.warning(
            "the result of %s is of another version of it: make it again", project.name
        )
        return None
    served = media / RESULT
    shutil.copytree(shipped, served, dirs_exist_ok=True)
    names = [name for name in (*EDITS, REPORT) if (shipped / name).is_file()]
    files = {name: str(served / name) for name in names}
    return ShippedResult(files, report)
