"""Masks come in from files and go out as files: for the clip that is open, in any form of `masks.io`."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import gradio as gr

from regrain.editing.boundary import boundary
from regrain.editing.errors import EditingError, MaskError, RequestError, shorten
from regrain.editing.media.coco import check_extent, is_data_set, load_json, names
from regrain.editing.media.images import natural
from regrain.editing.media.labels import open_regions, split
from regrain.editing.media.reading import open_clip
from regrain.editing.request.project import FILE
from regrain.editing.request.region import Region
from regrain.masks.draw import pack
from regrain.masks.io.files import PAIR_MASK, VIDEOS, Masks, colors_of, write_masks, write_pair
from regrain.masks.io.video import find_colors, read_mask_video
from regrain.ui.handlers.base import Handlers, event_data, page_of
from regrain.ui.session.build_request import masks_of
from regrain.ui.session.clip_files import packed
from regrain.ui.session.clips import unpack
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.state import MAX_REGIONS
from regrain.ui.views import views

_MOVIES = (*VIDEOS, ".mov", ".webm")
ACCEPTED = [".zip", ".png", ".json", *_MOVIES]
FORMS = {
    "png": "masks.zip",
    "coco": "masks.json",
    "mkv": "masks.mkv",
    "mp4": "masks.mp4",
    "pair": "pair.zip",
}


@dataclass(frozen=True)
class MaskFileHandlers(Handlers):
    """Imports and exports the masks of a page."""

    def load(self, request: gr.Request, files: list[str] | None) -> dict[Any, Any]:
        """Masks were uploaded: one file, or a PNG file per frame."""
        folder = self.media.new_clip(page_of(request))
        try:
            session, note = self._load(self.session(request), files or [], folder)
        except EditingError as error:
            return {self.parts.canvas: self._refused(request, error)}
        finally:
            self.media.drop(folder)
        with session.lock:
            return {self.parts.canvas: views.canvas(session, -1, note)} | self.cards(session)

    def save(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """They are wanted as a file; `form` is one of `FORMS`."""
        try:
            path = self._save(page_of(request), event_data(event))
        except EditingError as error:
            return {self.parts.canvas: self._refused(request, error)}
        return self.download(path, path.name)

    def _load(self, session: Session, files: Sequence[str], folder: Path) -> tuple[Session, str]:
        with session.lock:
            identity, state = session.id, session.state
        colors = {label: region.color for label, region in state.regions.items()}
        opened = session.opened
        tracks, called = read_tracks(files, folder, opened.used, opened.total, state.size, colors)
        with session.lock:
            if session.id != identity:
                raise StaleEvent
            return session, _take(session, tracks, called)

    def _save(self, page: str, data: Mapping[str, Any]) -> Path:
        with self.visits.held(page, data) as session:
            masks, regions, opened = masks_of(session), session.state.regions, session.opened
        form = str(data.get("form"))
        if form not in FORMS:
            raise RequestError(
                "form", f"{form[:20]!r} is not offered. Choose {' or '.join(FORMS)}."
            )
        if not masks:
            raise MaskError(
                "masks", "No region has a mask yet. Click an object in the frame first."
            )
        folder = self.media.new_clip(page)
        out = folder / FORMS[form]
        if form == "pair":
            edited = {n: mask for n, mask in masks.items() if regions[n].prompt.strip()}
            packed(out, lambda inner: write_pair(opened.clip, edited or masks, inner))
        else:
            write_tracks(masks, regions, opened.clip.fps, out)
        old, session.exported = session.exported, folder
        if old:
            self.media.drop(old)
        return out

    def _refused(self, request: gr.Request, error: EditingError) -> Any:
        if isinstance(error, StaleEvent):
            return gr.skip()
        try:
            session = self.session(request)
        except EditingError as missing:
            return views.lost(missing.message)
        with session.lock:
            return views.canvas(session, session.rev, views.sentence(error), True, session.shown)


def read_tracks(
    files: Sequence[str | Path],
    folder: Path,
    used: range,
    total: int,
    size: tuple[int, int],
    colors: Mapping[int, str],
) -> tuple[dict[int, dict[int, bytes]], Mapping[int, str]]:
    """Read uploaded masks: one file, or a PNG file per frame.

    Args:
        files: Move into the folder.
        folder: Where they are unpacked.
        used: Frames of the file that the clip has.
        total: How many the file has; of a picture for each of these, those of the frames in use are taken.
        size: Its (width, height).
        colors: "#rrggbb" of labels that a video may show.

    Returns:
        By label, packed masks by frame; and what labels are called, if the file says so.

    Raises:
        EditingError: They cannot be read, or are not masks of this clip.
    """
    path = _put(files, folder)
    for inner in [path, *path.glob("*/")] if path.is_dir() else ():
        pictures = sorted(inner.glob("*.png"), key=lambda file: natural(file.name))
        if len(pictures) == total:
            for index in {*range(total)} - {*used}:
                pictures[index].unlink()
    masks = _read(path, len(used), size, colors)
    called = (
        names(facts) if path.suffix == ".json" and is_data_set(facts := load_json(path)) else {}
    )
    tracks = {n: {f: pack(m) for f, m in enumerate(mask) if m.any()} for n, mask in masks.items()}
    return {label: track for label, track in tracks.items() if track}, called


def write_tracks(masks: Masks, regions: Mapping[int, Region], fps: Fraction, out: Path) -> None:
    """Write masks as a zip file of indexed PNG files, or in the form of another ending; see `write_masks`."""
    colors = {n: regions[n].color.lower() for n in masks}
    colors = colors if len({*colors.values()}) == len(colors) else colors_of(masks)
    called = {n: regions[n].name for n in masks}
    if out.suffix == ".zip":
        packed(out, lambda inner: write_masks(masks, inner, colors, fps, called))
    else:
        write_masks(masks, out, colors, fps, called)


def _take(
    session: Session, tracks: Mapping[int, Mapping[int, bytes]], called: Mapping[int, str]
) -> str:
    if not tracks:
        raise MaskError(
            "masks", "They are empty in every frame. Choose masks with at least one object."
        )
    free = MAX_REGIONS - len(session.state.regions)
    if len(tracks) > free:
        message = f"The file has {len(tracks)}, but only {free} more regions are allowed."
        raise MaskError("masks", f"{message} Delete some or use fewer.")
    labels = sorted(tracks)  # the lower covers the higher
    named = [called.get(label, "") for label in labels]
    wished = [name if not name.isdigit() else "" for name in named]
    made = session.add_masks(wished, [tracks[n] for n in labels], [""] * len(labels), 1.0)
    return f"Imported masks of {', '.join(made)}. Say what each should become."


def _put(files: Sequence[str | Path], folder: Path) -> Path:
    """Move uploads into a folder; the file or the folder that holds the masks."""
    paths = [Path(file) for file in files]
    if len(paths) == 1 and paths[0].suffix.lower() == ".zip":
        return _unzipped(paths[0], folder / "masks")
    pictures = bool(paths) and all(path.suffix.lower() == ".png" for path in paths)
    if len(paths) != 1 and not pictures:
        raise MaskError("masks", "Choose one file, or a PNG file for each frame.")
    (folder / "masks").mkdir()
    for path in paths:
        shutil.move(path, folder / "masks" / path.name)
    return folder / "masks" if pictures else folder / "masks" / paths[0].name


def _unzipped(file: Path, target: Path) -> Path:
    damaged = f"{shorten(file.name)} is damaged or not a zip file. Pack it again."
    try:
        with boundary("masks", damaged, MaskError), zipfile.ZipFile(file) as archive:
            unpack(archive, target)
    except RequestError as error:
        raise MaskError("masks", error.message) from None
    return _inner(target)


def _inner(folder: Path) -> Path:
    """The file or folder of masks in a folder, however deep (`Annotations/480p/car/`)."""
    entries = [
        entry for entry in folder.iterdir() if entry.name != "__MACOSX" and entry.name[0] != "."
    ]
    if len(entries) == 1 and entries[0].is_dir() and not entries[0].name.isdigit():
        return _inner(entries[0])
    if (folder / FILE).is_file():  # a project
        folder = folder / "masks"
    if (folder / PAIR_MASK).is_file():
        return folder / PAIR_MASK
    return entries[0] if len(entries) == 1 and entries[0].is_file() else folder


def _read(path: Path, frames: int, size: tuple[int, int], colors: Mapping[int, str]) -> Masks:
    if path.suffix.lower() not in _MOVIES:
        masks = open_regions(path, frames, size)
    else:
        video = open_clip(path)
        check_extent(path.name, (len(video), video.size), (frames, size))
        known = dict(
            enumerate(dict.fromkeys([*colors.values(), *colors_of(range(1, 9)).values()]), 1)
        )
        shown = find_colors(video, known)
        if not shown:
            message = f"{path.name!r} shows no mask. Use white, or a colour per object, on black."
            raise MaskError("masks", message)
        masks = split(read_mask_video(path, frames, size, shown))
    if len(masks) > MAX_REGIONS:
        message = f"{path.name!r} has {len(masks)} labels, but at most {MAX_REGIONS} are allowed. Use fewer."
        raise MaskError("masks", message)
    return masks
