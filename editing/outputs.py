"""The one writer of results, for command line, app and API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from editing.clip import resize
from editing.clip.writing import write_video
from editing.errors import RequestError
from editing.events import EditResult
from editing.folders import check_writable, staged
from editing.pictures import heat, tint, washed
from editing.request import MAX_PROMPTS, EditRequest

# The edits of a run, a video per prompt.
EDITS = ("edited.mp4", *(f"edited_{n}.mp4" for n in range(2, MAX_PROMPTS + 1)))
# What a run may write; only these are replaced in a folder that exists.
NAMES = (
    *EDITS,
    "edited.gif",
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
_WORD_COLOR = "#ffe11a"  # of a heat map that is no region's


def check_out(out: Path) -> None:
    """Refuse, before any work, a folder whose content a run would endanger or could not write.

    Raises:
        RequestError: `out` is a file, holds anything but earlier results, or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise RequestError("--out", f"{out.name!r} is a file; choose a folder")
    foreign = sorted({entry.name for entry in out.iterdir()} - set(NAMES)) if out.is_dir() else []
    if foreign:
        raise RequestError(
            "--out", f"{out.name!r} holds {foreign[0]!r}, which is no result; choose a new or empty folder"
        )
    check_writable(out)
    check_writable(out.absolute().parent)  # results are put together beside it


def write_outputs(
    result: EditResult, request: EditRequest, report: Mapping[str, object], out: str | Path, gif: bool = False
) -> None:
    """Write videos and report into a folder; everything or nothing.

    Args:
        result: What the run made.
        request: What was asked for.
        report: Written as report.json.
        out: Folder; made if missing, earlier results in it are replaced.
        gif: Also write edited.gif.

    Raises:
        RequestError: See `check_out`.
        ResourceError: The disk is full or cannot be written.
    """
    check_out(Path(out))
    with staged(Path(out), replaces=NAMES) as folder:
        fps, clip = request.clip.fps, request.clip
        edits = (result.frames, *(other.frames for other in result.others))
        for name, frames in zip(EDITS, edits, strict=False):
            write_video(folder / name, frames, fps, audio_from=clip.audio, tags=clip.tags)
        for name, frames in _explaining(result, request):
            (folder / name).parent.mkdir(exist_ok=True)
            write_video(folder / name, frames, fps)
        if gif:
            _write_gif(folder / "edited.gif", _shrink(result.frames, _GIF_SIDE), fps)
        (folder / "report.json").write_text(to_json(report), encoding="utf-8")


def write_clusters(
    pca: UInt8[np.ndarray, "frames height width 3"], request: EditRequest, out: str | Path
) -> None:
    """Write clusters.mp4 (the clip with its regions painted) and pca.mp4 into a project folder.

    Args:
        pca: Principal components as RGB.
        request: The clip, and the clusters as its regions.
        out: The folder.

    Raises:
        ResourceError: The disk is full or cannot be written.
    """
    frames = _shrink(request.clip.read(0, len(request.clip)), _SIDE)
    with staged(Path(out)) as folder:
        write_video(folder / "clusters.mp4", _painted(frames, request), request.clip.fps)
        write_video(folder / "pca.mp4", _shrink(pca, _SIDE), request.clip.fps)


def to_json(report: Mapping[str, object]) -> str:
    """Report as JSON text; fractions become text, NumPy scalars numbers; NaN is a bug: ValueError."""
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def file_names(names: Mapping[str, object] | list[str]) -> dict[str, str]:
    """A file name stem for each region name: letters, digits, - and _ only, all different."""
    stems: dict[str, str] = {}
    for name in names:
        stem = re.sub(r"[^\w-]+", "_", name.casefold()).strip("_")[:_MAX_STEM] or "region"
        used = set(stems.values())
        stems[name] = next(
            s for s in (stem, *(f"{stem}_{n}" for n in range(2, len(used) + 3))) if s not in used
        )
    return stems


def _explaining(result: EditResult, request: EditRequest) -> Iterator[tuple[str, np.ndarray]]:
    """Name and frames of each video beside the edit, made one at a time."""
    source = _shrink(result.source, _SIDE)
    edits = (result.frames, *(other.frames for other in result.others))
    yield "comparison.mp4", np.concatenate([source, *(_shrink(edit, _SIDE) for edit in edits)], axis=2)
    if request.labels is not None:
        yield "masks.mp4", _painted(source, request)
    stems = file_names(result.attention)
    colors = {region.name: region.color for region in request.regions}
    for name, maps in result.attention.items():
        brightest = max(float(maps.before.max()), float(maps.after.max()), 1e-12)
        for when in ("before", "after"):
            frames = _heated(source, getattr(maps, when) / brightest, colors.get(name, _WORD_COLOR))
            yield f"attention/{stems[name]}_{when}.mp4", frames
    if result.areas:
        # Whole frames side by side; a picture per step in place of one per frame.
        shown = [i * (len(source) - 1) // 3 for i in range(4)]
        steps = [
            np.concatenate([washed(source[i], area[i], _WORD_COLOR) for i in shown], axis=1)
            for _, area in sorted(result.areas.items())
        ]
        yield "attention/areas_by_step.mp4", np.stack(steps)
    for name in ("reconstruction", "control"):
        if (frames := getattr(result, name)) is not None:
            yield f"{name}.mp4", frames


def _shrink(
    frames: UInt8[np.ndarray, "frames height width 3"], side: int
) -> UInt8[np.ndarray, "frames h w 3"]:
    height, width = frames.shape[1:3]
    scale = min(1.0, side / max(height, width))
    return resize(frames, (max(1, round(width * scale)), max(1, round(height * scale))))


def _painted(
    frames: UInt8[np.ndarray, "frames h w 3"], request: EditRequest
) -> UInt8[np.ndarray, "frames h w 3"]:
    """Regions in their colours, as far as their edits reach."""
    import cv2  # see editing.clip.resize

    size = frames.shape[2], frames.shape[1]
    colors = {region.label: region.color for region in request.regions}
    areas = np.zeros((len(frames), 1, 1), np.uint8) if request.areas is None else request.areas
    labels = [cv2.resize(label, size, interpolation=cv2.INTER_NEAREST) for label in areas]
    return np.stack([tint(frame, label, colors) for frame, label in zip(frames, labels, strict=True)])


def _heated(
    frames: UInt8[np.ndarray, "frames h w 3"], maps: Float32[np.ndarray, "frames gh gw"], color: str
) -> UInt8[np.ndarray, "frames h w 3"]:
    """Maps, 0..1, over dark frames in a region's colour."""
    return np.stack([heat(frame, level, color) for frame, level in zip(frames, maps, strict=True)])


def _write_gif(path: Path, frames: UInt8[np.ndarray, "frames h w 3"], fps: Fraction) -> None:
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Fraction | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a report")
