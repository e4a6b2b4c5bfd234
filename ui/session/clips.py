"""Clips that a page can open: a project folder, a user's own clip, a project saved as a
zip file."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from regrain.editing.boundary import boundary
from regrain.editing.errors import ClipError, EditingError, RequestError, shorten
from regrain.editing.media.clip import DRAWN, ArrayClip, Clip, resize
from regrain.editing.media.images import FRAME_SUFFIXES, IMAGE_SUFFIXES, ImageClip
from regrain.editing.media.lazy_frames import LazyFrames, Size, frames_of
from regrain.editing.media.reading import VideoClip
from regrain.editing.media.writing import timing_of, write_video
from regrain.editing.models.files.location import BUILT_IN_MODEL
from regrain.editing.pipeline.shipped_results import ShippedResult
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.project import (
    FILE,
    is_relative,
    load_project,
    overlapping_masks,
    uses,
)
from regrain.editing.request.usual import usual_way
from regrain.editing.storage.folders import visible

USUAL_FOCUS = "auto"  # of a new clip: where a box makes small things larger
MAX_FRAMES = 1200
# Pixels of what a page shows, masks and tracks on: of a larger clip it is a copy.
# Visitors' clips are scaled down to it.
MAX_SIDE = 1280
MAX_SOURCE_SIDE = 4096  # pixels of a visitor's file
LEAST_SIDE = 12  # pixels that optical flow needs
# Longer clips are thinned to this many frames and frames per second, unless another
# part is chosen.
USUAL_FRAMES, USUAL_FPS = 32, 8
MAX_STORED = 2_000_000_000  # bytes of a clip's frames on disk
_SHOWN = 960  # pixels, the longer side of the frames a page loads
_STRIP_PICTURES = 12
_STRIP_SIZE = (96, 72)
_MAX_FILES, _MAX_UNPACKED = 12_000, 400_000_000
_MAX_OWN = 100_000_000_000  # bytes unpacked on one's own machine
# Of clips in archives; uploads are known by their content
_CLIP_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".3gp", ".3g2", ".mj2", ".avif", ".webm", ".mkv"),
    *(".avi", ".gif", ".mpg", ".mpeg", ".vob", ".ts", ".mts", ".m2ts", ".wmv", ".asf"),
    *(".flv", ".f4v", ".ogv", ".ogg", ".dv", ".mxf"),
)
# Nothing a browser would run
_UNPACKED = (".json", ".safetensors", *FRAME_SUFFIXES, *_CLIP_SUFFIXES)


@dataclass(frozen=True, eq=False)
class OpenedClip:
    """A clip, ready to be shown and masked.

    What is shown is a copy, if the clip is larger than `MAX_SIDE`: all that a page has
    is in pixels of it, and `ui.values.plates` carries that up to the clip.
    """

    name: str  # of the example; empty for one's own clip
    title: str  # shown to people
    request: EditRequest  # the project's; without regions for a bare clip
    folder: Path  # holds the frames as pages load them, `00000.jpg` on
    frames: LazyFrames  # the frames of the copy, on disk until they are read
    # the frames as a video, H.264; may have to be written first, see `ensure_source`
    source: Path
    file_size: Size  # of the file, from which a visitor's clip may have been scaled
    file: Path | None = None  # one's own video, of which another part can be chosen
    # Folder of whole masks by label, where regions of the project overlap
    masks: Path | None = None
    # A result that was made earlier, with the project's own settings
    made: ShippedResult | None = None
    deinterlace: bool = False  # whether frames of that file were woven of two fields
    total: int = 0  # frames of that file
    start: int = 0  # the first one used
    stride: int = 1  # every stride-th is used
    strip: Path | None = None  # small pictures of the whole file, side by side in one
    attempt: str = ""  # tells what a run tried, see `ui.work.variants`; else empty
    tried: int | None = None  # the one frame that it tried, from 0

    @property
    def size(self) -> Size:
        """(width, height) of the frames that are shown."""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def own(self) -> bool:
        """True for the user's own clip, not an example."""
        return not self.name

    @property
    def used(self) -> range:
        """The frames of its file that it has."""
        return range(
            self.start, self.start + self.stride * len(self.frames), self.stride
        )

    @property
    def drawn(self) -> bool:
        """True if it is of the built-in model's world: an example, or a clip that says
        so."""
        return not self.own or self.request.clip.comment == DRAWN

    @property
    def clip(self) -> Clip:
        """The copy for a tracker, which reads its frames in no particular order."""
        return ArrayClip(self.frames, self.request.clip.fps)

    def ensure_source(self) -> None:
        """Write the source video if it is not there yet."""
        if self.source.is_file():
            return
        unfinished = self.source.with_suffix(".part")
        clip = self.request.clip
        write_video(
            unfinished,
            iter(self.frames),
            clip.fps,
            **timing_of(clip),
            tags=clip.tags,
            comment=clip.comment,
        )
        unfinished.replace(self.source)


def prepare(
    name: str,
    title: str,
    request: EditRequest,
    folder: Path,
    side: int | None = None,
) -> OpenedClip:
    """Write a clip's frames, scaled down to at most `side` pixels, by default
    `MAX_SIDE`, into a folder that is served, for pages and for random access.

    Raises:
        ClipError: Its frames are too small to follow motion in.
    """
    clip = request.clip
    if min(clip.size) < LEAST_SIDE:
        raise ClipError(
            "clip",
            f"Frames are {_by(clip.size)}, but need {LEAST_SIDE} per side. Scale it up.",
        )
    width, height = size = _shown_size(clip.size, side)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "frames.raw"
    with file.open("wb") as sink:
        for index, frame in enumerate(frames_of(clip)):
            (copy,) = resize(frame[None], size)
            pixels = np.ascontiguousarray(copy)
            sink.write(pixels.data)
            image = Image.fromarray(copy)  # a smaller one, for pages to load
            image.thumbnail((_SHOWN, _SHOWN), Image.Resampling.LANCZOS)
            image.save(folder / f"{index:05d}.jpg", quality=90)

    def read(start: int, stop: int) -> np.ndarray:
        # read, since mapped pages count as memory of this process
        frame_bytes = height * width * 3
        values = np.fromfile(
            file,
            np.uint8,
            (stop - start) * frame_bytes,
            offset=start * frame_bytes,
        )
        return values.reshape(-1, height, width, 3)

    return OpenedClip(
        name,
        title,
        request,
        folder,
        LazyFrames((len(clip), height, width, 3), np.uint8, read),
        folder / "source.mp4",
        clip.size,
    )


def open_upload(
    file: Path,
    folder: Path,
    start: int | None = None,
    stride: int | None = None,
    frames: int | None = None,
    *,
    any_size: bool = False,
) -> tuple[OpenedClip, str]:
    """Open an uploaded file.

    Args:
        file: A video, or a project in a zip file; stays where it is.
        folder: New folder for the files that are made of it.
        start: First frame used.
        stride: Use every stride-th frame.
        frames: Number of frames used, at most 1200; 32 if no part is chosen.
        any_size: Whether it keeps its size, as on one's own machine; a visitor's clip is
            scaled down.

    Returns:
        The clip, and sentences about what was left out, scaled or odd; maybe empty.

    Raises:
        EditingError: It cannot be read, or is too large.
    """
    if file.name == FILE:
        raise RequestError(
            "project",
            f"{FILE} names a clip and masks, but has none. Pack its whole folder as a "
            "zip file, and open that.",
        )
    if is_archive(file):
        return _open_zip(file, folder, any_size)
    whole = VideoClip(file)
    if max(whole.size) > MAX_SOURCE_SIDE and not any_size:
        raise ClipError(
            "clip",
            f"{_by(whole.size)} pixels are too many for a visitor of this server. Scale "
            f"it to at most {MAX_SOURCE_SIDE} per side, or run Regrain on your machine.",
        )
    notes = []
    if start is None and stride is None and frames is None:
        # a long clip is thinned, no further than to the usual frames per second
        by_rate = int(whole.fps // USUAL_FPS)
        step = max(1, min(by_rate, len(whole) // USUAL_FRAMES))
        used = range(0, len(whole), step)[:USUAL_FRAMES]
        if len(whole) > USUAL_FRAMES:
            notes.append(_thinned(used, len(whole)))
    else:
        wanted = range(start or 0, len(whole), stride or 1)[:frames]
        used = wanted[:MAX_FRAMES]
        if used != wanted:
            notes.append(
                f"The page takes at most {MAX_FRAMES} frames. It uses the first of these."
            )
    woven = whole.is_interlaced
    count = max(1, len(used))  # if there is none, the clip says so
    clip = VideoClip(file, used.start, used.step, count, deinterlace=woven)
    if woven:
        notes.append("The clip is interlaced; its fields were made whole frames.")
    shown = _shown_size(clip.size)
    _check_stored(count, shown)
    warnings = clip.warnings  # of the user's file: a scaled one has another name
    if shown != clip.size and any_size:
        notes.append(
            f"You see a copy of {_by(shown)}; edits and masks are saved in {_by(clip.size)}."
        )
    elif shown != clip.size:
        clip = _shrunk(clip, folder / "clip.mp4")
        notes.append(
            f"The clip was scaled to {_by(shown)}, as it is for visitors and programs; on "
            "the page of your own machine it keeps its size."
        )
    notes += [f"Note: {warning}" for warning in warnings]
    opened = replace(
        prepare("", file.name, _bare(clip), folder),
        file=file,
        file_size=whole.size,
        deinterlace=woven,
        total=len(whole),
        start=used.start,
        stride=used.step,
        strip=_write_strip(whole, folder / "strip.jpg") if len(whole) > 1 else None,
    )
    return opened, " ".join(notes)


def _bare(clip: Clip) -> EditRequest:
    """Return the request of a clip of which nothing is said."""
    way = usual_way(BUILT_IN_MODEL)
    return EditRequest(clip, None, (), focus=USUAL_FOCUS, **way._asdict())


def is_archive(file: Path) -> bool:
    """Tell whether a file is a zip file, by its content, or says so by its name."""
    with file.open("rb") as opened:
        return opened.read(2) == b"PK" or file.suffix.lower() == ".zip"


def open_picture(file: Path, folder: Path) -> OpenedClip:
    """Open a picture, the only one in its folder, as a clip of one frame that is kept
    in a new folder.

    Raises:
        ClipError: It cannot be read, or is too large.
    """
    return prepare("", file.name, _bare(ImageClip(file.parent)), folder)


def _write_strip(clip: VideoClip, path: Path) -> Path:
    """Write small pictures of a whole file, about evenly spread, side by side: of key
    frames where there are enough, since others are decoded after all from there on."""
    pictures = []
    size = _shown_size(clip.size)
    before = -1
    for number in range(_STRIP_PICTURES):
        at = number * len(clip) // _STRIP_PICTURES
        key = clip.key_before(at)
        shown = key if key > before else at
        before = at
        (frame,) = resize(clip.read(shown, shown + 1), size)
        image = Image.fromarray(frame)
        fitted = ImageOps.fit(image, _STRIP_SIZE, Image.Resampling.BILINEAR)
        pictures.append(np.asarray(fitted))
    Image.fromarray(np.hstack(pictures)).save(path, quality=72)
    return path


def _thinned(used: range, total: int) -> str:
    """Say which of `total` frames are used."""
    last = used[-1] + 1
    which = f"1–{last}" if used.step == 1 else f"1, {1 + used.step}, ... {last}"
    return f"Using frames {which} of {total}. Choose others in “…”, Frames."


def _shrunk(clip: VideoClip, path: Path) -> VideoClip:
    """Write a clip scaled down to what a page shows, and return that."""
    size = _shown_size(clip.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    small = (resize(frame[None], size)[0] for frame in frames_of(clip))
    write_video(
        path,
        small,
        clip.fps,
        **timing_of(clip),
        audio_from=clip.audio,
        tags=clip.tags,
        comment=clip.comment,
    )
    return VideoClip(path)


def _by(size: Size) -> str:
    return "{}x{}".format(*size)


def _shown_size(size: Size, side: int | None = None) -> Size:
    """Return (width, height) of a clip in the page: large ones are scaled down, to even
    sides."""
    scale = (side or MAX_SIDE) / max(size)
    if scale >= 1:
        return size
    width, height = (max(2, round(side * scale / 2) * 2) for side in size)
    return width, height


def _check_stored(frames: int, size: Size) -> None:
    """Refuse a clip whose frames, as they are shown, would take too much room on
    disk."""
    most = MAX_STORED // (3 * prod(size))
    if frames > most:
        raise ClipError(
            "clip.frames",
            f"{frames} frames of {_by(size)} are too many for the page. Choose at most {most}, "
            "or use the command line.",
        )


def _open_zip(file: Path, folder: Path, any_size: bool) -> tuple[OpenedClip, str]:
    damaged = (
        f"{shorten(file.name)} is damaged or not a zip file. Save the project again."
    )
    try:
        with boundary("project", damaged), zipfile.ZipFile(file) as archive:
            most = _MAX_OWN if any_size else _MAX_UNPACKED
            project = _unpack_project(archive, folder / "project", most)
        request = load_project(project, partial(_check_extent, any_size=any_size))
        masks = overlapping_masks(project)
    except EditingError as error:
        field = error.field if error.field == "project" else f"project: {error.field}"
        raise RequestError(field, error.message) from None
    return replace(prepare("", file.stem, request, folder), masks=masks), ""


def _unpack_project(archive: zipfile.ZipFile, target: Path, most: int) -> Path:
    """Unpack a project file and the files it names, of at most so many bytes; returns
    its folder, which may be an inner one."""

    unpack(
        archive, target, lambda path: path.name == FILE and target in path.parents[:2]
    )
    project = target
    inner = [entry for entry in visible(target) if entry.is_dir()]
    if not (target / FILE).is_file() and len(inner) == 1:
        project = inner[0]
    named = uses(project)
    unpack(archive, target, lambda path: any(map(path.is_relative_to, named)), most)
    for one in named:
        # there, but of a kind that is not taken out of archives
        for entry in () if one.exists() else archive.infolist():
            is_file = not entry.is_dir()
            if is_file and (target / entry.filename).is_relative_to(one):
                said = f"{shorten(entry.filename)} is of a kind that is not read from archives."
                hint = f"Use videos, JSON, or pictures: {', '.join(IMAGE_SUFFIXES)}."
                raise RequestError("project", f"{said} {hint}")
    return project


def _check_extent(clip: Clip, any_size: bool) -> None:
    """Refuse a clip that is too large, before masks are read: a small archive may hold
    large ones. With `any_size`, its frames may have theirs."""
    if len(clip) > MAX_FRAMES:
        raise ClipError(
            "clip.frames",
            f"{len(clip)} frames are too many for the page, which takes {MAX_FRAMES}. "
            "Shorten the clip or use the command line.",
        )
    _check_stored(len(clip), _shown_size(clip.size))
    if max(clip.size) > MAX_SIDE and not any_size:
        raise ClipError(
            "clip",
            f"{_by(clip.size)} pixels are too many for a visitor of this server, which takes "
            f"{MAX_SIDE} per side. Shrink the clip, or run Regrain on your machine.",
        )


def unpack(
    archive: zipfile.ZipFile,
    target: Path,
    wanted: Callable[[Path], bool] = lambda path: True,
    most: int = _MAX_UNPACKED,
) -> None:
    """Extract the wanted pictures, videos, JSON and weights, at most so many bytes, which
    are counted: archives may lie.

    Raises:
        RequestError: There are too many files or bytes, or a file that must not be
            there.
    """
    for entry in archive.infolist():  # as some programs on Windows pack
        entry.filename = entry.filename.replace("\\", "/")
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > _MAX_FILES:
        raise RequestError(
            "project",
            f"The archive has {len(entries)} files, but at most {_MAX_FILES} are allowed.",
        )
    left = most
    root = target.resolve()
    root.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        path = (root / entry.filename).resolve()
        _check_entry(entry, path, root)
        is_read = path.suffix.lower() in _UNPACKED
        if not is_read or not wanted(target / entry.filename):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, path.open("wb") as sink:
            while left >= 0 and (block := source.read(1 << 20)):
                left -= len(block)
                if left >= 0:
                    sink.write(block)
        if left < 0:
            shutil.rmtree(root, ignore_errors=True)
            raise RequestError(
                "project",
                f"It unpacks to more than {most // 10**6} MB. Shorten the clip.",
            )


def _check_entry(entry: zipfile.ZipInfo, path: Path, root: Path) -> None:
    """Refuse an entry that would be written outside the root, or is a link or a
    device."""
    if not path.is_relative_to(root) or not is_relative(entry.filename):
        raise RequestError(
            "project",
            f"{shorten(entry.filename)} points outside the archive. Remove it.",
        )
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):  # 0: made where files have no kind
        raise RequestError(
            "project",
            f"{shorten(entry.filename)} is not an ordinary file. Remove it.",
        )
