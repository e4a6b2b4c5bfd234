"""Masks come in from files and go out as files: for the clip that is open, in any form
of `masks.io`."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import gradio as gr

from regrain.editing.boundary import boundary
from regrain.editing.errors import EditingError, MaskError, RequestError, shorten
from regrain.editing.media.images import IMAGE_SUFFIXES, pictures_in
from regrain.editing.media.labels import extent_of, names_of, open_regions
from regrain.editing.request.project import FILE
from regrain.editing.request.region import Region
from regrain.editing.storage.folders import visible
from regrain.masks.draw import pack
from regrain.masks.io.files import (
    PAIR_MASK,
    VIDEOS,
    Masks,
    colors_of,
    write_masks,
    write_pair,
)
from regrain.ui.handlers.base import Data, Handlers, event_data, page_of, told_if_full
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server.runs import Changes
from regrain.ui.session.build_request import masks_of
from regrain.ui.session.clip_files import packed
from regrain.ui.session.clips import unpack
from regrain.ui.session.layers import Key
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.state import MAX_REGIONS
from regrain.ui.views import session_views
from regrain.ui.work.wording import sentence

ACCEPTED = [".zip", ".json", *IMAGE_SUFFIXES, *VIDEOS, ".mov", ".webm", ".gif"]
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

    @outputs("canvas", "cards", "prompt")
    def load(self, request: gr.Request, files: list[str] | None) -> Changes:
        """Import masks that were uploaded: one file, or a picture per frame."""
        folder = self.media.new_clip(page_of(request))
        try:
            with told_if_full():
                session, note = self._load(self.session(request), files or [], folder)
        except EditingError as error:
            return self._refused(request, error)
        finally:
            self.media.drop(folder)
        with session.lock:
            return {"canvas": session_views.canvas(session, -1, note)} | self.cards(
                session
            )

    @outputs("download", "canvas")
    def save(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Export masks as a file; `form` is one of `FORMS`."""
        try:
            with told_if_full():
                path = self._save(page_of(request), event_data(event))
        except EditingError as error:
            return self._refused(request, error)
        return self.download(path, path.name)

    def _load(
        self, session: Session, files: Sequence[str], folder: Path
    ) -> tuple[Session, str]:
        with session.lock:
            identity = session.id
            opened = session.opened
            state = session.state
        colors = {label: region.color for label, region in state.regions.items()}
        # one mask for a clip of many frames is of the one in view
        of_one = len(opened.frames) > 1 and _is_one_mask(files)
        tracks, called = read_tracks(
            files,
            folder,
            range(1) if of_one else opened.used,
            1 if of_one else opened.total,
            state.size,
            colors,
            opened.file_size,
        )
        with session.lock:
            if session.id != identity:
                raise StaleEvent
            if of_one:
                return session, _take_one(session, tracks)
            return session, _take(session, tracks, called)

    def _save(self, page: str, data: Data) -> Path:
        with self.visits.held(page, data) as session:
            masks = masks_of(session)
            regions = session.state.regions
            opened = session.opened
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
        if session.exported:
            self.media.drop(session.exported)
        session.exported = folder
        return out

    def _refused(self, request: gr.Request, error: EditingError) -> Changes:
        if isinstance(error, StaleEvent):
            return {}
        try:
            session = self.session(request)
        except EditingError as missing:
            return {"canvas": session_views.lost(missing.message)}
        with session.lock:
            shown = session_views.canvas(
                session, session.rev, sentence(error), True, session.shown
            )
        return {"canvas": shown}


def read_tracks(
    files: Sequence[str | Path],
    folder: Path,
    used: range,
    total: int,
    size: tuple[int, int],
    colors: Mapping[int, str],
    original: tuple[int, int] | None = None,
) -> tuple[dict[int, dict[int, bytes]], Mapping[int, str]]:
    """Read uploaded masks: one file, or a picture per frame.

    Args:
        files: Move into the folder.
        folder: Where they are unpacked.
        used: Frames of the file that the clip has.
        total: Frames of the file; of a picture for each of these, those of the frames
            in use are taken.
        size: Its (width, height).
        colors: "#rrggbb" of labels that masks in colours may show.
        original: (width, height) of its file, if it was scaled on opening.

    Returns:
        By label, packed masks by frame; and names by label, if the file has any.

    Raises:
        EditingError: They cannot be read, or are not masks of this clip.
    """
    path = _put(files, folder)
    if path.is_dir():
        folders = [entry for entry in visible(path) if entry.is_dir()]
        for inner in [path, *folders]:
            _remove_unused(inner, used, total)
    tracks = {}
    for label, masks in _read(path, len(used), size, colors, original).items():
        track = {frame: pack(mask) for frame, mask in enumerate(masks) if mask.any()}
        if track:
            tracks[label] = track
    return tracks, names_of(path)


def _remove_unused(folder: Path, used: range, total: int) -> None:
    """Remove pictures of frames that the clip does not use, if there is one for each
    frame of its file."""
    pictures = pictures_in(folder)
    if len(pictures) != total:
        return
    for index, picture in enumerate(pictures):
        if index not in used:
            picture.unlink()


def write_tracks(
    masks: Masks, regions: Mapping[int, Region], fps: Fraction, out: Path
) -> None:
    """Write masks as a zip file of indexed PNG files, or in the form of another ending;
    see `write_masks`."""
    colors = {label: regions[label].color.lower() for label in masks}
    if len(set(colors.values())) < len(colors):
        colors = colors_of(masks)
    called = {label: regions[label].name for label in masks}
    if out.suffix == ".zip":
        packed(out, lambda inner: write_masks(masks, inner, colors, fps, called))
    else:
        write_masks(masks, out, colors, fps, called)


def _take(
    session: Session,
    tracks: Mapping[int, Mapping[int, bytes]],
    called: Mapping[int, str],
) -> str:
    """Make regions of masks that were read; returns a note. A MaskError if there are
    none, or too many."""
    if not tracks:
        raise MaskError(
            "masks",
            "They are empty in every frame. Choose masks with at least one object.",
        )
    free = MAX_REGIONS - len(session.state.regions)
    if len(tracks) > free:
        message = (
            f"The file has {len(tracks)}, but only {free} more regions are allowed."
        )
        raise MaskError("masks", f"{message} Delete some or use fewer.")
    labels = sorted(tracks)  # the lower covers the higher
    wished = []
    for label in labels:
        name = called.get(label, "")
        wished.append("" if name.isdigit() else name)
    sources = [""] * len(labels)
    made = session.add_masks(wished, [tracks[label] for label in labels], sources, 1.0)
    return f"Imported masks of {', '.join(made)}. Say what each should become."


def _is_one_mask(files: Sequence[str]) -> bool:
    """Tell whether files are one that shows masks of one frame."""
    if len(files) != 1 or Path(files[0]).suffix.lower() == ".zip":
        return False
    count, _ = extent_of(Path(files[0]))
    return count == 1


def _take_one(session: Session, tracks: Mapping[int, Mapping[int, bytes]]) -> str:
    """Make regions of the masks of one frame, which are drawn on the one in view and
    can be followed from there; returns a note. Raises as `_take` does."""
    before = session.state.regions.keys()
    masks = {label: {session.shown: track[0]} for label, track in tracks.items()}
    _take(session, masks, {})
    state = session.state
    names = []
    for label in state.regions.keys() - before:
        layer = state.layers[label]
        found = layer.track[session.shown]
        key = Key(found=found)
        layer = replace(
            layer,
            keys={session.shown: key},
            track={},
            score={},
            corrected=frozenset({session.shown}),
        )
        state = state.with_layer(label, layer)
        names.append(state.regions[label].name)
    session.state = state
    return (
        f"Imported masks of {', '.join(sorted(names))} on frame {session.shown + 1}. "
        "Track follows them through the clip."
    )


def _put(files: Sequence[str | Path], folder: Path) -> Path:
    """Move uploads into a folder; returns the file or the folder that holds the
    masks."""
    target = folder / "masks"
    paths = [Path(file) for file in files]
    if len(paths) == 1 and paths[0].suffix.lower() == ".zip":
        return _unzipped(paths[0], target)
    pictures = bool(paths) and all(
        path.suffix.lower() in IMAGE_SUFFIXES for path in paths
    )
    if len(paths) != 1 and not pictures:
        raise MaskError("masks", "Choose one file, or a picture for each frame.")
    target.mkdir()
    for path in paths:
        shutil.move(path, target / path.name)
    return target if pictures else target / paths[0].name


def _unzipped(file: Path, target: Path) -> Path:
    damaged = f"{shorten(file.name)} is damaged or not a zip file. Pack it again."
    try:
        with boundary("masks", damaged, MaskError), zipfile.ZipFile(file) as archive:
            unpack(archive, target)
    except RequestError as error:
        raise MaskError("masks", error.message) from None
    return _inner(target)


def _inner(folder: Path) -> Path:
    """Return the file or folder of masks in a folder, however deep
    (`Annotations/480p/car/`)."""
    entries = visible(folder)
    only = entries[0] if len(entries) == 1 else None
    if only and only.is_dir() and not only.name.isdigit():
        return _inner(only)
    if (folder / FILE).is_file():  # a project
        folder = folder / "masks"
    if (folder / PAIR_MASK).is_file():
        return folder / PAIR_MASK
    return only if only and only.is_file() else folder


def _read(
    path: Path,
    frames: int,
    size: tuple[int, int],
    colors: Mapping[int, str],
    original: tuple[int, int] | None,
) -> Masks:
    masks = open_regions(path, frames, size, colors=colors, original=original)
    if len(masks) > MAX_REGIONS:
        message = f"{path.name!r} has {len(masks)} labels, but at most {MAX_REGIONS} are allowed. Use fewer."
        raise MaskError("masks", message)
    return masks
