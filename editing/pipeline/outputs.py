"""Write results, for command line, app and API."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from itertools import chain, repeat
from math import prod
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from regrain.editing.boundary import AnyPath, looking_on
from regrain.editing.errors import RequestError, shorten, suggest
from regrain.editing.media.clip import Clip, resize, resize_labels, within
from regrain.editing.media.images import ImageClip
from regrain.editing.media.lazy_frames import Frames, LazyFrames, Rgb, Size, frames_of
from regrain.editing.media.reading import VideoClip, open_clip
from regrain.editing.media.writing import (
    AI_EDITED,
    PLATE,
    timing_of,
    write_prores,
    write_video,
)
from regrain.editing.pipeline.layers import (
    Layers,
    layers_of,
    write_pictures,
)
from regrain.editing.pipeline.pictures import heat, tint, washed
from regrain.editing.recipe.events import EditResult
from regrain.editing.removed import instead
from regrain.editing.request.edit import MAX_PROMPTS
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.folders import (
    check_replaced,
    replacing,
    staged,
    visible,
)
from regrain.editing.storage.texts import Content, Values
from regrain.editing.storage.threads import each

# The edits of a run, a video per prompt.
EDITS = ("edited.mp4", *(f"edited_{n}.mp4" for n in range(2, MAX_PROMPTS + 1)))
WHOLE = "whole.mp4"  # the file of a clip, with the edit of a stretch of it in its place
_MAX_STEM = 60  # characters of a file's name that are a region's
# Of the videos that explain, not of the edit: their longest side, and x264's preset,
# with which they are written twice as fast, up to a tenth larger or smaller.
_SIDE = 640
_PRESET = "veryfast"
_WORD_COLOR = "#ffe11a"  # of heat maps that belong to no region


_Video = tuple[str, Iterable[np.ndarray]]  # its name and its frames
_Videos = Iterator[_Video]


class Format(NamedTuple):
    """A format in which an edit may be written beside its MP4.

    Attributes:
        ending: What the name of the edit's file or folder ends with, `edited` being its
            beginning.
        write: Writes the layers of an edit to a path.
    """

    ending: str
    write: Callable[[Layers, Path], None]

    @property
    def is_folder(self) -> bool:
        """True if it is a folder of pictures, not one file."""
        return not self.ending.startswith(".")

    def file_of(self, edit: str) -> str:
        """Return the name of the file or folder, by that of the edit's MP4."""
        return edit.removesuffix(".mp4") + self.ending


def shrunk(frames: Iterable[Rgb], side: int) -> Iterator[Rgb]:
    """Scale frames down so that no side has more than `side` pixels."""
    for frame in frames:
        yield resize(frame[None], within(frame.shape[1::-1], side))[0]


FORMATS: Mapping[str, Format] = {
    "png": Format(
        "_png",
        lambda layers, path: write_pictures(layers.frames, path),
    ),
    # 10 bits, with the matte as straight alpha
    "prores": Format(
        ".mov",
        lambda layers, path: write_prores(path, layers.rgba(), layers.clip),
    ),
    # alone, as grey files: 255 is the edit
    "matte": Format(
        "_matte",
        lambda layers, path: write_pictures(layers.matte, path),
    ),
}
"""The formats besides MP4, by name."""
_FORMAT_NAMES = tuple(one.file_of(edit) for one in FORMATS.values() for edit in EDITS)
# Names that a run may write; only these are replaced in a folder that exists.
NAMES = (
    *EDITS,
    *_FORMAT_NAMES,
    WHOLE,
    "comparison.mp4",
    "masks.mp4",
    "attention",
    "reconstruction.mp4",
    "control.mp4",
    "report.json",
)


def check_out(out: Path) -> None:
    """Refuse, before any work, an output that is a file, has more than results in it or
    cannot be written."""
    check_replaced(out, _is_result, "result")


def _is_result(entry: Path) -> bool:
    """Tell whether an entry of a folder may be replaced: a run writes it, and nothing
    else is in it."""
    if entry.name not in NAMES:
        return False
    if entry.name != "attention" and Path(entry.name).suffix:
        return entry.is_file()
    if not entry.is_dir():
        return False
    kind = ".mp4" if entry.name == "attention" else ".png"
    return all(file.suffix == kind and file.is_file() for file in visible(entry))


def check_whole(clip: Clip) -> None:
    """Refuse, before any work, a clip that skips frames, or is neither of a video file
    nor of a folder.

    An edit of it could not be put back. The field of the RequestError is `--whole`.
    """
    if not isinstance(clip, VideoClip | ImageClip):
        raise RequestError(
            "--whole",
            f"{shorten(clip.name)} is not a file. Use a video file or a folder of images.",
        )
    if clip.stride != 1:
        raise RequestError(
            "--whole",
            f"With a stride of {clip.stride}, the clip skips frames of its file. "
            "Set clip.stride to 1.",
        )


def write_whole(
    path: Path, clip: Clip, edited: Iterable[Rgb], size: Size | None = None
) -> Content:
    """Write all frames of the file that a clip is a stretch of, with the edit in its
    place.

    The other frames are those of the file, at its times, with its sound over the whole
    length.

    Args:
        path: The MP4 to write.
        clip: A clip of a video file or a folder of images, of stride 1.
        edited: Its frames, edited.
        size: Their (width, height) where they were scaled, as all others are then; None
            is the file's.

    Returns:
        file (name), start and stop (of the edit, as frames of the file; the frame at
        stop is not edited), frames (number of them in the file), and size if they were
        scaled.

    Raises:
        RequestError: See `check_whole`.
        ClipError: The file cannot be read again.
    """
    check_whole(clip)
    stretch = cast(VideoClip | ImageClip, clip)
    deinterlace = isinstance(stretch, VideoClip) and stretch.deinterlace
    whole = open_clip(stretch.path, deinterlace=deinterlace)
    start = stretch.start
    stop = start + len(stretch)
    told: Content = {
        "file": path.name,
        "start": start,
        "stop": stop,
        "frames": len(whole),
    }
    others = frames_of(whole)
    before = (others[number] for number in range(start))
    after = (others[number] for number in range(stop, len(whole)))
    frames = chain(before, edited, after)
    if size and size != whole.size:
        frames = (resize(frame[None], size)[0] for frame in frames)
        told["size"] = list(size)
    timing = timing_of(whole)
    write_video(
        path, frames, whole.fps, **timing, audio_from=whole.audio, tags=whole.tags
    )
    return told


def write_outputs(
    result: EditResult,
    request: EditRequest,
    report: Values,
    out: AnyPath,
    formats: Collection[str] = (),
    whole: bool | Clip = False,
) -> Values:
    """Write videos and report into a folder, everything or nothing; returns the report
    as it was written.

    Args:
        result: What the run made.
        request: What it was asked for.
        report: Written as report.json.
        out: Folder; made if missing, earlier results in it are replaced.
        formats: Names of `FORMATS` in which every edit is also written.
        whole: Also write whole.mp4, the file of the clip with the (first) edit in its
            place; the report then says where that is, see `write_whole`. A clip is the
            stretch in place of the request's, which was scaled.

    Raises:
        RequestError: See `check_out` and `check_whole`.
        ResourceError: The disk is full or cannot be written.
    """
    check_formats(formats)
    check_out(Path(out))
    clip = request.clip
    timing = timing_of(clip)
    written = dict(report)
    with staged(Path(out), replaces=NAMES) as folder:
        every = layers_of(result, clip)
        for name, layers in zip(EDITS, every, strict=False):
            write_video(
                folder / name,
                layers.frames,
                clip.fps,
                **timing,
                audio_from=clip.audio,
                tags=clip.tags,
            )
            for one in formats:
                form = FORMATS[one]
                form.write(layers, folder / form.file_of(name))
        if whole:
            stretch = clip if whole is True else whole
            written["whole"] = write_whole(
                folder / WHOLE, stretch, result.frames, clip.size
            )
        explain = partial(_explain, folder, clip)
        videos = _explaining(result, request)
        in_turn = prod(clip.size) > PLATE
        unseen = map(explain, videos) if in_turn else each(explain, videos)
        warnings = cast(list[str], written.get("warnings", []))
        written["warnings"] = [*warnings, *chain.from_iterable(unseen)]
        # JSON has no NaN; fractions become text, NumPy scalars numbers.
        text = json.dumps(written, default=_plain)
        plain = json.loads(text, parse_constant=lambda _: None)
        text = json.dumps(plain, indent=2, ensure_ascii=False)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    return written


def file_in(format: str) -> str:
    """Return the name of the one file that holds an edit in a format: a folder is
    packed."""
    name = FORMATS[format].file_of(EDITS[0])
    return f"{name}.zip" if FORMATS[format].is_folder else name


def check_formats(formats: Collection[str]) -> None:
    """Refuse formats that are unknown, by a RequestError of the field `formats`."""
    for name in formats:
        if name not in FORMATS:
            raise RequestError(
                "formats",
                f"{shorten(name)} was not found. "
                f"{instead(name) or suggest(name, FORMATS)}",
            )


def write_format(name: str, layers: Layers, path: Path) -> None:
    """Write an edit in one of `FORMATS`, all or nothing; a folder is packed into a zip
    file.

    Raises:
        RequestError: See `check_formats`.
    """
    check_formats([name])
    form = FORMATS[name]
    with replacing(path) as part:
        if not form.is_folder:
            form.write(layers, part)
            return
        folder = part.with_suffix("")
        form.write(layers, folder)
        # PNG files hold no more room for packing
        with zipfile.ZipFile(part, "w") as target:
            for file in sorted(folder.iterdir()):
                target.write(file, f"{path.stem}/{file.name}")
            target.comment = AI_EDITED.encode()


def write_clusters(
    pca: Frames,
    request: EditRequest,
    out: AnyPath,
) -> None:
    """Write clusters.mp4 (the clip with its regions painted) and pca.mp4 (components as
    RGB) to a project."""
    clip = request.clip
    timing = timing_of(clip)
    painted = _painted(shrunk(frames_of(clip), _SIDE), request)
    with staged(Path(out)) as folder:
        write_video(folder / "clusters.mp4", painted, clip.fps, **timing)
        write_video(folder / "pca.mp4", shrunk(pca, _SIDE), clip.fps, **timing)


def file_names(names: Values | list[str]) -> dict[str, str]:
    """Make a file name stem for each region name: letters, digits, - and _ only, all
    different."""
    stems: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w-]+", "_", name.casefold()).strip("_")
        first = plain[:_MAX_STEM] or "region"
        used = set(stems.values())
        stem = first
        number = 2
        while stem in used:
            stem = f"{first}_{number}"
            number += 1
        stems[name] = stem
    return stems


def _explaining(result: EditResult, request: EditRequest) -> _Videos:
    """Yield name and frames of each video besides the edit; frames are made while they
    are written."""
    edits = [shrunk(edit.frames, _SIDE) for edit in (result, *result.others)]
    beside = zip(shrunk(result.source, _SIDE), *edits, strict=True)
    yield "comparison.mp4", (np.concatenate(frames, axis=1) for frames in beside)
    if request.labels is not None:
        shown = shrunk(result.source, _SIDE)
        yield "masks.mp4", _painted(shown, request, result.edited_mask)
    yield from _attention(result, request)
    if result.reconstruction is not None:
        yield "reconstruction.mp4", result.reconstruction
    if result.control is not None:
        yield "control.mp4", result.control
    if result.step_areas:
        yield "attention/areas_by_step.mp4", _areas_by_step(result)


def _explain(folder: Path, clip: Clip, video: _Video) -> list[str]:
    """Write a video that explains the edit of a clip; say if there is none."""
    name, frames = video
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    times = {} if "by_step" in name else timing_of(clip)
    unseen: list[str] = []
    with looking_on(name, unseen), replacing(path) as part:
        write_video(part, frames, clip.fps, **times, preset=_PRESET)
    return unseen


def _attention(result: EditResult, request: EditRequest) -> _Videos:
    """Yield name and frames of two videos for each attention map: before and after the
    edit."""
    stems = file_names(result.attention)
    colors = {region.name: region.color for region in request.regions}
    for name, maps in result.attention.items():
        color = colors.get(name, _WORD_COLOR)
        # the value that is drawn as the hottest
        brightest = max(float(maps.before.max()), float(maps.after.max()), 1e-12)
        for when, levels in (("before", maps.before), ("after", maps.after)):
            heated = map(
                heat, shrunk(result.source, _SIDE), levels / brightest, repeat(color)
            )
            yield f"attention/{stems[name]}_{when}.mp4", heated


def _areas_by_step(result: EditResult) -> Iterator[Rgb]:
    """Draw a picture per step: the edited area in a few frames of the clip, side by
    side."""
    last = len(result.source) - 1
    numbers = [place * last // 3 for place in range(4)]
    shown = {
        number: next(shrunk(result.source[number : number + 1], _SIDE))
        for number in numbers
    }
    for _, area in sorted(result.step_areas.items()):
        pictures = [
            washed(shown[number], area[number], _WORD_COLOR) for number in numbers
        ]
        yield np.concatenate(pictures, axis=1)


def _painted(
    frames: Iterable[Rgb],
    request: EditRequest,
    edited_mask: np.ndarray | LazyFrames | None = None,
) -> Iterator[Rgb]:
    """Paint regions in their colours over frames, as far as their edits reach.

    `edited_mask` is that of a result, whose margins may be smaller: those of boxes.
    """
    colors = {region.label: region.color for region in request.regions}
    edited = [region.label for region in request.edited]
    for index, frame in enumerate(frames):
        areas = request.areas[index]
        if edited_mask is not None and edited:
            areas = np.where(np.isin(areas, edited) & ~edited_mask[index], 0, areas)
        height, width = frame.shape[:2]
        labels = resize_labels(areas, (width, height))
        yield tint(frame, labels, colors)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Fraction | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a report")
