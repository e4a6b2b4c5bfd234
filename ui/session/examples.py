"""The example projects, as the page shows them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os.path import commonprefix
from pathlib import Path
from typing import cast

from regrain.editing.errors import EditingError
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import Rgb
from regrain.editing.media.reading import VideoClip
from regrain.editing.pipeline.pictures import tint
from regrain.editing.pipeline.shipped_results import read_made
from regrain.editing.removed import instead
from regrain.editing.request.project import load_project, overlapping_masks
from regrain.editing.storage.folders import readable, visible
from regrain.ui.server.media import shrunk
from regrain.ui.session.clips import OpenedClip, prepare

log = logging.getLogger(__name__)
_SIDE = 200  # pixels of a picture's longer side
_CREDIT = "credit.json"  # of an example, formerly shown


@dataclass(frozen=True, eq=False)
class Example:
    """A project folder, ready to be shown."""

    opened: OpenedClip  # its frames and what it asks for
    # File of the middle frame, with its regions in their colours where no result is
    # shipped
    thumbnail: str
    after: str = ""  # file of the same frame of the shipped result; else empty

    @property
    def change(self) -> str:
        """A summary of the edit in few words: `cat → fox, rabbit → panda`, or `in
        pencil`."""
        request = self.opened.request
        changes = []
        for region in request.regions:
            if region.prompt:
                now = region.source or region.name
                before, after = _apart(now, region.prompt)
                changes.append(f"{before or _bare(now)} → {after}")
        if changes:
            return ", ".join(changes)
        apart = [_apart(request.source_prompt, target) for target in request.targets]
        before = apart[0][0]
        after = " / ".join(after for _, after in apart)
        return f"{before} → {after}" if before else after


Examples = Mapping[str, Example]
"""By name, in the order in which they are shown."""


def load_examples(folder: Path, media: Path) -> Examples:
    """Read every project in a folder, by name; one that cannot be read is logged and
    left out.

    The files to show are written into `media`.
    """
    found: dict[str, Example] = {}
    for project in readable(visible(folder)) if folder.is_dir() else ():
        if (project / "project.json").is_file():
            try:
                found[project.name] = _prepare(project, media / project.name)
                if (project / _CREDIT).exists():
                    log.warning(
                        "example %s: %s: %s", project.name, _CREDIT, instead(_CREDIT)
                    )
            except EditingError as error:
                log.warning("example %s left out: %s", project.name, error)
    return found


def _prepare(project: Path, media: Path) -> Example:
    request = load_project(project)
    # `01_two_animals` is shown as `Two animals`
    bare = project.name.lstrip("0123456789").strip("_- ").replace("_", " ")
    title = bare.capitalize() or project.name
    opened = prepare(project.name, title, request, media)
    made = read_made(project, media)
    opened = replace(opened, masks=overlapping_masks(project), made=made)
    opened.ensure_source()
    middle = len(opened.frames) // 2
    (frame,) = request.clip.read(middle, middle + 1)
    after = ""
    if made:
        video = VideoClip(Path(made.edits[0]))
        (edited,) = video.read(middle, middle + 1)
        after = _picture(edited, media / "after.webp")
    elif request.labels is not None:
        colors = {region.label: region.color for region in request.regions}
        labels = cast(Labels, request.labels)
        frame = tint(frame, labels[middle], colors)
    return Example(opened, _picture(frame, media / "before.webp"), after)


def _picture(frame: Rgb, path: Path) -> str:
    """Write a small picture of a frame, and return its path."""
    shrunk(frame, _SIDE).save(path, quality=75)
    return str(path)


def _apart(now: str, then: str) -> tuple[str, str]:
    """Return what differs between two texts: their words but for equal ones at both
    ends."""
    one = now.split()
    other = then.split()
    start = len(commonprefix([one, other]))
    one = one[start:]
    other = other[start:]
    end = len(commonprefix([one[::-1], other[::-1]]))
    return _bare(" ".join(one[: len(one) - end])), _bare(
        " ".join(other[: len(other) - end])
    )


def _bare(text: str) -> str:
    """Return a text without an article in front."""
    return re.sub(r"^(an?|the)( |$)", "", text)
