"""Masks of a session's clip from files, and into files, in any form of `masks.io`."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from regrain.editing.boundary import boundary
from regrain.editing.errors import MaskError, RequestError, shorten
from regrain.editing.media.images import IMAGE_SUFFIXES, pictures_in
from regrain.editing.media.labels import understood
from regrain.editing.media.lazy_frames import Size
from regrain.editing.media.mask_files import (
    check_names,
    extent_of,
    names_of,
    open_regions,
)
from regrain.editing.request.project import FILE
from regrain.editing.request.region import Region
from regrain.editing.storage.folders import visible
from regrain.masks import draw
from regrain.masks.io.files import Masks, colors_of, write_masks
from regrain.ui.session.clip_files import packed
from regrain.ui.session.clips import unpack
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.values.layers import Key
from regrain.ui.values.state import MAX_REGIONS

ByLabel = Mapping[int, str]
"""Names or colours of labels."""
Tracks = Mapping[int, Mapping[int, bytes]]
"""Packed masks by label and frame."""


def import_masks(session: Session, files: Sequence[str], folder: Path) -> str:
    """Make regions of masks that were uploaded, see `read_tracks`; returns a note.

    Raises:
        EditingError: They cannot be read, there are none, or too many; the clip has
            changed meanwhile.
    """
    with session.lock:
        identity = session.id
        opened = session.opened
        state = session.state
    colors = {label: region.color for label, region in state.regions.items()}
    # One mask for a clip of many frames is of the one in view.
    is_single = len(files) == 1 and Path(files[0]).suffix.lower() != ".zip"
    of_one = is_single and len(opened.frames) > 1 and extent_of(Path(files[0]))[0] == 1
    used, total = (range(1), 1) if of_one else (opened.used, opened.total)
    tracks, names = read_tracks(
        files, folder, used, total, state.size, colors, opened.file_size
    )
    with session.lock:
        if session.id != identity:
            raise StaleEvent
        if of_one:
            note = _take_one(session, tracks)
        else:
            made = ", ".join(_take(session, tracks, names))
            note = f"Imported masks of {made}. Say what each should become."
    masks = {
        label: (draw.unpack(track.get(at), state.size) for at in range(len(used)))
        for label, track in tracks.items()
    }
    return f"{note} Read: {understood(masks)}."


def read_tracks(
    files: Sequence[str | Path],
    folder: Path,
    used: range,
    total: int,
    size: Size,
    colors: ByLabel,
    original: Size | None = None,
) -> tuple[Tracks, ByLabel]:
    """Read uploaded masks: one file, or a picture per frame.

    Args:
        files: Move into the folder.
        folder: Where they are unpacked.
        used: Frames of the file that the clip has.
        total: Frames of the file; of a picture for each of these, those of the frames
            in use are taken.
        size: (width, height) of its frames as they are shown.
        colors: "#rrggbb" of labels that masks in colours may show.
        original: (width, height) of its file, where that differs; masks of that size
            are kept whole beside those that are shown.

    Returns:
        By label, packed masks by frame, see `pack_copy`; and names by label, if the file
        has any.

    Raises:
        EditingError: They cannot be read, or are not masks of this clip.
    """
    path = _put(files, folder)
    if path.is_dir():
        folders = [entry for entry in visible(path) if entry.is_dir()]
        for inner in [path, *folders]:
            pictures = pictures_in(inner)
            if len(pictures) != total:
                continue
            check_names([picture.name for picture in pictures])
            for index, picture in enumerate(pictures):
                if index not in used:
                    picture.unlink()
    read_in = original or size
    if read_in != size and extent_of(path)[1] == size:
        read_in = size
    masks = open_regions(path, len(used), read_in, colors=colors)
    if len(masks) > MAX_REGIONS:
        raise MaskError(
            "masks",
            f"{path.name!r} has {len(masks)} labels, but at most {MAX_REGIONS} are allowed. Use fewer.",
        )
    tracks = {}
    for label, of_label in masks.items():
        track = {
            at: draw.pack_copy(mask, size)
            for at, mask in enumerate(of_label)
            if mask.any()
        }
        if track:
            tracks[label] = track
    return tracks, names_of(path)


def write_tracks(
    masks: Masks, regions: Mapping[int, Region], fps: Fraction, out: Path
) -> None:
    """Write masks as a zip file of indexed PNG files, or in the form of another ending;
    see `write_masks`."""
    colors = {label: regions[label].color.lower() for label in masks}
    if len(set(colors.values())) < len(colors):
        colors = colors_of(masks)
    names = {label: regions[label].name for label in masks}
    if out.suffix == ".zip":
        packed(out, lambda inner: write_masks(masks, inner, colors, fps, names))
    else:
        write_masks(masks, out, colors, fps, names)


def _take(session: Session, tracks: Tracks, names: ByLabel) -> list[str]:
    """Make regions of masks that were read; returns their names. A MaskError if there
    are none, or too many."""
    if not tracks:
        raise MaskError(
            "masks",
            "They are empty in every frame. Choose masks with at least one object.",
        )
    free = MAX_REGIONS - len(session.state.regions)
    if len(tracks) > free:
        raise MaskError(
            "masks",
            f"The file has {len(tracks)}, but only {free} more regions are allowed."
            " Delete some or use fewer.",
        )
    labels = sorted(tracks)  # the lower covers the higher
    wished = []
    for label in labels:
        name = names.get(label, "")
        wished.append("" if name.isdigit() else name)
    return session.add_masks(wished, [tracks[label] for label in labels])


def _take_one(session: Session, tracks: Tracks) -> str:
    """Make regions of the masks of one frame, which are drawn on the one in view and
    can be followed from there; returns a note. Raises as `_take` does."""
    shown = session.shown
    before = session.state.regions.keys()
    made = _take(
        session, {label: {shown: track[0]} for label, track in tracks.items()}, {}
    )
    state = session.state
    for label in state.regions.keys() - before:
        layer = state.layers[label]
        layer = replace(
            layer,
            keys={shown: Key(found=layer.track[shown])},
            track={},
            score={},
            corrected=frozenset({shown}),
        )
        state = state.with_layer(label, layer)
    session.state = state
    return (
        f"Imported masks of {', '.join(sorted(made))} on frame {shown + 1}. "
        "Track follows them through the clip."
    )


def _put(files: Sequence[str | Path], folder: Path) -> Path:
    """Move uploads into a folder; returns the file or the folder that holds the
    masks."""
    target = folder / "masks"
    paths = [Path(file) for file in files]
    if len(paths) == 1 and paths[0].suffix.lower() == ".zip":
        name = shorten(paths[0].name)
        damaged = f"{name} is damaged or not a zip file. Pack it again."
        try:
            with (
                boundary("masks", damaged, MaskError),
                zipfile.ZipFile(paths[0]) as archive,
            ):
                unpack(archive, target)
        except RequestError as error:
            raise MaskError("masks", error.message) from None
        return _inner(target)
    pictures = bool(paths) and all(
        path.suffix.lower() in IMAGE_SUFFIXES for path in paths
    )
    if len(paths) != 1 and not pictures:
        raise MaskError("masks", "Choose one file, or a picture for each frame.")
    target.mkdir()
    for path in paths:
        shutil.move(path, target / path.name)
    return target if pictures else target / paths[0].name


def _inner(folder: Path) -> Path:
    """Return the file or folder of masks in a folder, however deep
    (`Annotations/480p/car/`)."""
    entries = visible(folder)
    only = entries[0] if len(entries) == 1 else None
    if only and only.is_dir() and not only.name.isdigit():
        return _inner(only)
    if (folder / FILE).is_file():  # a project
        folder = folder / "masks"
    return only if only and only.is_file() else folder
