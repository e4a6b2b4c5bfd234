"""The example projects, as the page shows them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from editing.clip import write_video
from editing.errors import EditingError
from editing.project import load_project
from editing.request import EditRequest
from ui.pictures import data_url, tint

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Example:
    """A project folder, ready to be shown.

    Attributes:
        name: Of the folder; the order of the page.
        title: Shown to people.
        request: What the project asks for.
        source: The used frames, H.264.
        tinted: The same with the regions in their colours; None without masks.
        thumbnail: Data URL of the middle frame, tinted.
    """

    name: str
    title: str
    request: EditRequest
    source: Path
    tinted: Path | None
    thumbnail: str


def load_examples(folder: Path, media: Path) -> dict[str, Example]:
    """Read every project in a folder, by name; one that cannot be read is logged and left out.

    Args:
        folder: Holds project folders.
        media: Where the videos to show are written.
    """
    found: dict[str, Example] = {}
    for project in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (project / "project.json").is_file():
            try:
                found[project.name] = _prepare(project, media / project.name)
            except EditingError as error:
                log.warning("example %s left out: %s", project.name, error)
    return found


def _prepare(project: Path, media: Path) -> Example:
    request = load_project(project)
    frames = request.clip.read(0, len(request.clip))
    media.mkdir(parents=True, exist_ok=True)
    source, tinted, middle = media / "source.mp4", None, frames[len(frames) // 2]
    write_video(source, frames, request.clip.fps, tags=request.clip.tags)
    if request.labels is not None:
        colors = {region.label: region.color for region in request.regions}
        washed = np.stack([tint(f, mask, colors) for f, mask in zip(frames, request.labels, strict=True)])
        tinted, middle = media / "regions.mp4", washed[len(washed) // 2]
        write_video(tinted, washed, request.clip.fps, tags=request.clip.tags)
    return Example(project.name, _title(project.name), request, source, tinted, data_url(middle, 360, 86))


def _title(name: str) -> str:
    """`01_two_animals` is shown as `Two animals`."""
    return name.lstrip("0123456789").strip("_- ").replace("_", " ").capitalize() or name
