"""What is made of a run only when somebody wants it: an animated picture, its masks."""

from __future__ import annotations

import zipfile
from pathlib import Path

from regrain.editing.media.reading import VideoClip
from regrain.editing.media.writing import timing_of
from regrain.editing.pipeline.outputs import write_edited_gif
from regrain.ui.results.result_views import download_name
from regrain.ui.session.clip_files import MADE_WITH
from regrain.ui.session.history import PastRun, gone


def make_gif(run: PastRun) -> Path:
    """An animated picture of a run's first edit, made once.

    Raises:
        RequestError: Its files are gone.
    """
    path, video = run.folder / download_name(run.stem, "edited.gif"), run.folder / "out" / "edited.mp4"
    if not path.is_file():
        if not video.is_file():
            raise gone()
        clip, part = VideoClip(video), path.with_suffix(".part")
        frames = (clip.read(index, index + 1)[0] for index in range(len(clip)))
        write_edited_gif(part, frames, clip.fps, **timing_of(clip))
        part.replace(path)
    return path


def pack_masks(run: PastRun) -> Path:
    """The masks of a run as indexed PNGs in a zip file, as its project has them.

    Raises:
        RequestError: Its files are gone, or it had no masks.
    """
    path, project = run.folder / download_name(run.stem, "masks.zip"), run.folder / "project.zip"
    if not path.is_file():
        if not project.is_file():
            raise gone()
        with zipfile.ZipFile(project) as source, zipfile.ZipFile(path, "w") as target:
            names = sorted(n for n in source.namelist() if n.startswith("masks/") and n.endswith(".png"))
            for name in names:
                target.writestr(name, source.read(name))
            target.comment = MADE_WITH
    return path


MADE = {"edited.gif": make_gif, "masks.zip": pack_masks}
"""By their usual name."""
