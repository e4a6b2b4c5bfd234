"""Write results, for command line, app and API."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from regrain.editing.errors import RequestError, shorten
from regrain.editing.media.clip import Clip, resize
from regrain.editing.media.images import ImageClip
from regrain.editing.media.lazy_frames import frames_of
from regrain.editing.media.reading import VideoClip, open_clip
from regrain.editing.media.writing import AI_EDITED, timing_of, write_video
from regrain.editing.pipeline.pictures import Frame, heat, tint, washed, write_gif
from regrain.editing.recipe.events import EditResult
from regrain.editing.request.edit import MAX_PROMPTS
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.folders import check_writable, remove_stale, staged

# The edits of a run, a video per prompt.
EDITS = ("edited.mp4", *(f"edited_{n}.mp4" for n in range(2, MAX_PROMPTS + 1)))
WHOLE = "whole.mp4"  # the file of a clip, with the edit of a stretch of it in its place
# What a run may write; only these are replaced in a folder that exists.
NAMES = (
    *EDITS,
    "edited.gif",
    WHOLE,
    "comparison.mp4",
    "masks.mp4",
    "attention",
    "reconstruction.mp4",
    "control.mp4",
    "report.json",
)
_MAX_STEM = 60  # characters of a file's name that are a region's
_SIDE = 640  # longest side of the videos that explain, not of the edit
_GIF_SIDE = 480
_WORD_COLOR = "#ffe11a"  # of heat maps that belong to no region


def check_out(out: Path) -> None:
    """Refuse, before any work, an output that is a file, has more than results in it or cannot be written."""
    if os.path.isfile(out):  # unlike Path.is_file, does not raise for a name that is too long
        raise RequestError("--out", f"{shorten(out.name)} is a file. Choose a folder.")
    check_writable(out)
    remove_stale(out)
    foreign = (
        sorted(entry.name for entry in out.iterdir() if not _is_result(entry))
        if out.is_dir()
        else []
    )
    if foreign:
        reason = f"{shorten(out.name)} contains {shorten(foreign[0])}, which is not a result."
        raise RequestError("--out", f"{reason} Choose a new or empty folder.")
    check_writable(out.absolute().parent)  # results are put together beside it


def _is_result(entry: Path) -> bool:
    """Whether an entry of a folder may be replaced: it is what a run writes, and nothing else is in it."""
    if entry.name == "attention":
        return entry.is_dir() and all(
            file.suffix == ".mp4" and file.is_file() for file in entry.iterdir()
        )
    return entry.name in NAMES and entry.is_file()


def check_whole(clip: Clip) -> None:
    """Refuse, before any work, a clip that skips frames, or is neither of a video file nor of a folder.

    An edit of it could not be put back; the field of the RequestError is `--whole`.
    """
    if not isinstance(clip, VideoClip | ImageClip):
        reason = f"{shorten(clip.name)} is not a file. Use a video file or a folder of images."
        raise RequestError("--whole", reason)
    if clip.stride != 1:
        reason = f"With a stride of {clip.stride}, the clip skips frames of its file."
        raise RequestError("--whole", f"{reason} Set clip.stride to 1.")


def write_whole(
    path: Path, clip: Clip, edited: Iterable[Frame], size: tuple[int, int] | None = None
) -> dict[str, object]:
    """Write all frames of the file that a clip is a stretch of, with the edit in its place.

    The other frames are those of the file, at its times, with its sound over the whole length.

    Args:
        path: The MP4 to write.
        clip: A clip of a video file or a folder of images, of stride 1.
        edited: Its frames, edited.
        size: Their (width, height) where they were scaled, as all others are then; None is the file's.

    Returns:
        file (name), start and stop (of the edit, as frames of the file; the frame at stop is not edited),
        frames (number of them in the file), and size if they were scaled.

    Raises:
        RequestError: See `check_whole`.
        ClipError: The file cannot be read again.
    """
    check_whole(clip)
    stretch = cast(VideoClip | ImageClip, clip)
    whole = open_clip(stretch.path)
    start, stop = stretch.start, stretch.start + len(stretch)
    around = frames_of(whole)
    scaled: dict[str, object] = {"size": list(size)} if size and size != whole.size else {}
    before, after = (
        map(around.__getitem__, span) for span in (range(start), range(stop, len(whole)))
    )
    frames = chain(before, edited, after)
    if size and scaled:
        frames = (resize(frame[None], size)[0] for frame in frames)
    write_video(
        path, frames, whole.fps, **timing_of(whole), audio_from=whole.audio, tags=whole.tags
    )
    return {"file": path.name, "start": start, "stop": stop, "frames": len(whole)} | scaled


def write_outputs(
    result: EditResult,
    request: EditRequest,
    report: Mapping[str, object],
    out: str | Path,
    gif: bool = False,
    whole: bool | Clip = False,
) -> Mapping[str, object]:
    """Write videos and report into a folder, everything or nothing; returns the report as it was written.

    Args:
        result: What the run made.
        request: What it was asked for.
        report: Written as report.json.
        out: Folder; made if missing, earlier results in it are replaced.
        gif: Also write edited.gif.
        whole: Also write whole.mp4, the file of the clip with the (first) edit in its place; the report
            then says where that is, see `write_whole`. A clip is the stretch in place of the request's,
            which was scaled.

    Raises:
        RequestError: See `check_out` and `check_whole`.
        ResourceError: The disk is full or cannot be written.
    """
    check_out(Path(out))
    with staged(Path(out), replaces=NAMES) as folder:
        fps, clip, timing = request.clip.fps, request.clip, timing_of(request.clip)
        edits = (result.frames, *(other.frames for other in result.others))
        for name, frames in zip(EDITS, edits, strict=False):
            write_video(folder / name, frames, fps, **timing, audio_from=clip.audio, tags=clip.tags)
        if whole:
            stretch = clip if whole is True else whole
            report = {
                **report,
                "whole": write_whole(folder / WHOLE, stretch, result.frames, clip.size),
            }
        for name, frames in _explaining(result, request):
            (folder / name).parent.mkdir(exist_ok=True)
            write_video(folder / name, frames, fps, **timing)
        if result.step_areas:
            (folder / "attention").mkdir(exist_ok=True)
            write_video(folder / "attention" / "areas_by_step.mp4", _areas_by_step(result), fps)
        if gif:
            write_edited_gif(folder / "edited.gif", result.frames, fps, **timing)
        # A NaN in it is a bug; fractions become text, NumPy scalars numbers.
        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    return report


def write_edited_gif(path: Path, frames: Iterable[Frame], fps: Fraction, **timing: Any) -> None:
    """Write an edit as a GIF of at most 480 pixels a side, which says that it was edited; see `write_gif`."""
    write_gif(path, shrunk(frames, _GIF_SIDE), fps, comment=AI_EDITED, **timing)


def write_clusters(
    pca: UInt8[np.ndarray, "frames height width 3"], request: EditRequest, out: str | Path
) -> None:
    """Write clusters.mp4 (the clip with its regions painted) and pca.mp4 (components as RGB) to a project."""
    clip, frames = request.clip, shrunk(frames_of(request.clip), _SIDE)
    with staged(Path(out)) as folder:
        write_video(folder / "clusters.mp4", _painted(frames, request), clip.fps, **timing_of(clip))
        write_video(folder / "pca.mp4", shrunk(pca, _SIDE), clip.fps, **timing_of(clip))


def file_names(names: Mapping[str, object] | list[str]) -> dict[str, str]:
    """Make a file name stem for each region name: letters, digits, - and _ only, all different."""
    stems: dict[str, str] = {}
    for name in names:
        stem = re.sub(r"[^\w-]+", "_", name.casefold()).strip("_")[:_MAX_STEM] or "region"
        used = set(stems.values())
        stems[name] = next(
            s for s in (stem, *(f"{stem}_{n}" for n in range(2, len(used) + 3))) if s not in used
        )
    return stems


def _explaining(
    result: EditResult, request: EditRequest
) -> Iterator[tuple[str, Iterable[np.ndarray]]]:
    """Name and frames of each video besides the edit; frames are made while they are written."""
    edits = (result.frames, *(other.frames for other in result.others))
    beside = zip(*(shrunk(frames, _SIDE) for frames in (result.source, *edits)), strict=True)
    yield "comparison.mp4", (np.concatenate(frames, axis=1) for frames in beside)
    if request.labels is not None:
        yield "masks.mp4", _painted(shrunk(result.source, _SIDE), request)
    stems = file_names(result.attention)
    colors = {region.name: region.color for region in request.regions}
    for name, maps in result.attention.items():
        color = colors.get(name, _WORD_COLOR)
        brightest = max(float(maps.before.max()), float(maps.after.max()), 1e-12)
        for when in ("before", "after"):
            pairs = zip(shrunk(result.source, _SIDE), getattr(maps, when), strict=True)
            frames = (heat(frame, level / brightest, color) for frame, level in pairs)
            yield f"attention/{stems[name]}_{when}.mp4", frames
    for name in ("reconstruction", "control"):
        if (frames := getattr(result, name)) is not None:
            yield f"{name}.mp4", frames


def _areas_by_step(result: EditResult) -> Iterator[Frame]:
    """A picture per step, of a few whole frames side by side."""
    numbers = [i * (len(result.source) - 1) // 3 for i in range(4)]
    shown = {number: next(shrunk(result.source[number : number + 1], _SIDE)) for number in numbers}
    for _, area in sorted(result.step_areas.items()):
        yield np.concatenate([washed(shown[i], area[i], _WORD_COLOR) for i in numbers], axis=1)


def shrunk(frames: Iterable[Frame], side: int) -> Iterator[Frame]:
    """Frames whose longest side is at most `side` pixels."""
    for frame in frames:
        height, width = frame.shape[:2]
        scale = min(1.0, side / max(height, width))
        yield resize(frame[None], (max(1, round(width * scale)), max(1, round(height * scale))))[0]


def _painted(frames: Iterable[Frame], request: EditRequest) -> Iterator[Frame]:
    """Regions in their colours, as far as their edits reach."""
    import cv2  # see editing.media.clip.resize

    colors = {region.label: region.color for region in request.regions}
    for index, frame in enumerate(frames):
        (areas,) = request.areas.read(index, index + 1)
        labels = cv2.resize(areas, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        yield tint(frame, labels, colors)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Fraction | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a report")
