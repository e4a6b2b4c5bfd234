"""One run for a page: a request in, events and files out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from shutil import disk_usage
from typing import cast

from regrain.editing.media.lazy_frames import LazyFrames, frames_of
from regrain.editing.media.reading import VideoClip
from regrain.editing.media.writing import timing_of, write_video
from regrain.editing.models.adapters import Adapter
from regrain.editing.pipeline.layers import keep_layers, layers_of
from regrain.editing.pipeline.outputs import (
    EDITS,
    WHOLE,
    file_in,
    shrunk,
    write_format,
    write_outputs,
)
from regrain.editing.recipe.events import Event, Finished, Ready, Stage, Tuned
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.runnable import check_runnable
from regrain.masks.io.files import Masks
from regrain.ui.server.media import Media, link_or_copy
from regrain.ui.session.clip_files import pack_project
from regrain.ui.session.clips import OpenedClip
from regrain.ui.work.catalogue import Catalogue

RunEdit = Callable[[EditRequest], Iterator[Event]]
# Of what a run writes.
_SHOWN = (*EDITS, WHOLE, "report.json", "reconstruction.mp4")
# frames of a clip that an edit is put back into; a minute or so of writing
MAX_WHOLE = 3000
LAYERS = "layers"  # the folder with the layers of a run's first edit
# Bytes of a clip's frames up to which its layers are kept, in files of about as many;
# and the share of the room on the disk that they may take beyond.
_MOST_LAYERS, _SHARE = 2_000_000_000, 4
# by which the first frames must grow to be written anew: in all, each is written about
# twice
_GROWTH = 1.5
_NO_LAYERS = (
    "There is no room on the disk for the layers of this edit, of which other formats are "
    "made. Free some and run it again, or use --format at the command line."
)
_BEGUN_SIDE = 640  # longest side of their video


@dataclass(frozen=True)
class Saved:
    """The last item of a run."""

    finished: Finished  # the result and its report
    files: Mapping[str, str]  # what was written, by its usual name
    folder: Path  # where it is
    # The source video, which stays when the page opens another clip; None if none was
    # opened
    source: Path | None = None
    # Of edits that are larger than what a page shows: copies, which it plays
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """A video of the first frames of an edit that goes on, and how many they are."""

    path: str
    frames: int


@dataclass(frozen=True)
class RunJob:
    """One run: a request, checked when the job is run, and what becomes of its results.

    Attributes:
        page: The page whose folder its files go to.
        opened: The clip the page shows, whose source video is written first; None for
            programs.
        whole: Whole masks by label where they overlap, for the project; see
            `whole_masks`.
        keep: Called with every version of a tuning.
        kept: Folders of earlier runs of the page that stay.
        number: Which variant it is, from 1, of those that one press of Run makes.
        total: How many they are.
        format: Of `editing.pipeline.outputs.FORMATS`, in which the first edit is also
            written; empty for none.
    """

    request: EditRequest
    page: str
    opened: OpenedClip | None = None
    whole: Masks | None = None
    keep: Callable[[Adapter], object] = lambda adapter: None
    kept: Collection[Path] = ()
    number: int = 1
    total: int = 1
    format: str = ""


@dataclass(frozen=True)
class Jobs:
    """Runs jobs and keeps what they made."""

    edit: RunEdit  # runs a request
    catalogue: Catalogue  # what may be chosen
    media: Media  # where files go

    def run(self, job: RunJob) -> Iterator[Event | Begun | Saved]:
        """Edit, then write the files of a result.

        Of a long clip, the frames that are finished first are written while the others
        are edited. An EditingError says that the request asks for what is not offered,
        or that the edit failed.
        """
        check_runnable(job.request)
        self.catalogue.check(job.request)
        folder = self.media.new_run(job.page, job.kept)
        if job.opened:
            job.opened.ensure_source()
        finished = yield from self._edit(job, folder)
        yield Stage("saving")
        yield _save(job, finished, folder)

    def _edit(
        self, job: RunJob, folder: Path
    ) -> Generator[Event | Begun, None, Finished]:
        finished = None
        begun = _FirstFrames(folder, job.request)
        with closing(self.edit(job.request)) as events:  # type: ignore[type-var]
            for event in events:
                finished = event if isinstance(event, Finished) else None
                if isinstance(event, Tuned):
                    job.keep(event.adapter)
                if isinstance(event, Ready):
                    shown = begun.write(event.frames)
                    if shown:
                        yield shown
                else:
                    yield event
        if finished is None:
            raise RuntimeError("the run ended without a result")
        return finished


def _save(job: RunJob, finished: Finished, folder: Path) -> Saved:
    """Write the files of a result into a folder."""
    request = job.request
    opened = job.opened
    out = folder / "out"
    whole = stretch_of(opened) if opened else None
    report = dict(
        write_outputs(
            finished.result, request, finished.report, out, whole=whole or False
        )
    )
    (layers, *_) = layers_of(finished.result, request.clip)
    archive = pack_project(request, job.whole, folder)
    files = {name: str(out / name) for name in _SHOWN if (out / name).is_file()}
    files[archive.name] = str(archive)
    if job.format:
        name = file_in(job.format)
        write_format(job.format, layers, folder / name)
        files[name] = str(folder / name)
    source = None
    copies = {}
    if opened:
        room = max(_MOST_LAYERS, disk_usage(folder).free // _SHARE)
        if 3 * prod(layers.matte.shape) <= room:
            keep_layers(layers, folder / LAYERS)
        else:
            warnings = cast(list[str], report["warnings"])
            report["warnings"] = [*warnings, _NO_LAYERS]
        source = link_or_copy(opened.source, folder / "source.mp4")
        if opened.size != request.clip.size:
            for name in EDITS[: len(request.targets)]:
                copies[name] = _copied(out / name, folder / f"shown_{name}", opened)
    finished = replace(finished, report=report)
    return Saved(finished, files, folder, source, copies)


def _copied(edit: Path, path: Path, opened: OpenedClip) -> str:
    """Write a copy of a video as large as its clip is shown; returns its path."""
    clip = VideoClip(edit)
    frames = shrunk(frames_of(clip), max(opened.size))
    write_video(path, frames, clip.fps, **timing_of(clip), audio_from=clip.audio)
    return str(path)


def stretch_of(opened: OpenedClip) -> VideoClip | None:
    """Return the stretch of one's own file that is edited, if the edit can be put back
    into the file."""
    used = len(opened.request.clip)
    if (
        opened.file is None
        or opened.stride != 1
        or not used < opened.total <= MAX_WHOLE
    ):
        return None
    return VideoClip(opened.file, opened.start, 1, used, deinterlace=opened.deinterlace)


class _FirstFrames:
    """Writes the finished frames of a run to be looked at, anew when they have grown
    enough."""

    def __init__(self, folder: Path, request: EditRequest) -> None:
        self._folder = folder
        self._request = request
        self._written = 0
        self._paths: list[Path] = []

    def write(self, frames: LazyFrames) -> Begun | None:
        """Write a video of these frames; None if they have hardly grown."""
        count = len(frames)
        if count < self._written * _GROWTH:
            return None
        path = self._folder / f"begun_{count}.mp4"
        clip = self._request.clip
        timing = {}
        if clip.times:
            timing = {"times": clip.times[:count], "duration": clip.times[count]}
        write_video(path, shrunk(frames, _BEGUN_SIDE), clip.fps, **timing)
        for old in self._paths[:-1]:  # the last one may still be playing
            old.unlink(missing_ok=True)
        self._written = count
        self._paths = [*self._paths[-1:], path]
        return Begun(str(path), count)
