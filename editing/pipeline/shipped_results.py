"""Results made earlier and shipped with a project, to be seen before anything has run."""

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
    """What an earlier run of a project made.

    Attributes:
        files: Paths by name: the edits, one per prompt, and the report.
        report: What is told of the run: its prompt, parameters, seconds and metrics.
    """

    files: Mapping[str, str]
    report: Mapping[str, Any]

    @property
    def edits(self) -> list[str]:
        """Paths of the edits, in the order of the prompts."""
        return [self.files[name] for name in EDITS if name in self.files]


def digest(project: Path) -> str:
    """What tells a project from another version of it: SHA-256 of its project.json."""
    return hashlib.sha256((project / FILE).read_bytes()).hexdigest()


def read_made(project: Path, media: Path) -> ShippedResult | None:
    """The result shipped in a project's folder, copied to where it can be served.

    Returns:
        None where there is none, or one of another version of the project.
    """
    folder = project / RESULT
    if not (folder / REPORT).is_file():
        return None
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    if report.get("project") != digest(project):
        log.warning("the result of %s is of another version of it: make it again", project.name)
        return None
    shutil.copytree(folder, media / RESULT, dirs_exist_ok=True)
    files = {
        name: str(media / RESULT / name) for name in (*EDITS, REPORT) if (folder / name).is_file()
    }
    return ShippedResult(files, report)
