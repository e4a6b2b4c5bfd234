"""A program's own video or picture as a session: opened, clicked, with masks from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from regrain.editing.errors import ClipError, MaskError, RequestError, shorten
from regrain.editing.media.reading import VideoClip
from regrain.editing.request.fields import from_json
from regrain.editing.request.region import Region
from regrain.ui.api.program_schema import Click, ClickedRegion, OfVideo
from regrain.ui.handlers.mask_files import read_tracks
from regrain.ui.session.clip_files import check_upload, place_for
from regrain.ui.session.clips import open_picture, open_upload
from regrain.ui.session.layers import MaskLayer
from regrain.ui.session.mask_edits import Segment, add_point
from regrain.ui.session.mask_models import choose, click_models, trackers
from regrain.ui.session.session import Session
from regrain.ui.views.jobs import name_again

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
NOTHING = "Nothing was found there. Click nearer to the middle of the object."


def open_video(asked: OfVideo, folder: Path, fallback: str) -> tuple[Session, str]:
    """Open an uploaded video in a folder, as the page does; the upload stays.

    The session, and a sentence about what was left out, maybe empty; raises as `open_frame` does.
    """
    with _kept(asked.video, folder, "video") as kept:
        opened, note = open_upload(kept, folder, asked.start, asked.stride, asked.frames)
    session = Session(opened, fallback)
    if asked.tracker:
        session.tracker = choose("tracker", asked.tracker, trackers()).name
    return session, note


def open_frame(file: Path, frame: int, folder: Path, fallback: str) -> Session:
    """Open a picture, or one frame of a video; an EditingError if it cannot be opened or is too large."""
    with _kept(file, folder, "image") as kept:
        if kept.suffix.lower() in _PICTURES:
            return Session(open_picture(kept, folder), fallback)
        return Session(open_upload(kept, folder, frame, 1, 1)[0], fallback)


def file_size(session: Session) -> tuple[int, int]:
    """(width, height) of the file that a session shows, which may be larger than what it works on."""
    file = session.opened.file
    return VideoClip(file).size if file else session.state.size


def add_regions(
    session: Session,
    asked: Sequence[ClickedRegion],
    finder: str = "",
    masks: Path | None = None,
    folder: Path | None = None,
) -> list[int]:
    """Give a session its regions, the uppermost first; their labels.

    Regions without clicks have their masks in an uploaded file, which is unpacked in `folder`.

    Raises:
        EditingError: A region's values or the masks are not allowed, or there is no such finder.
    """
    if finder:
        choose("finder", finder, click_models(session.fallback))
    labels = [one.label or place for place, one in enumerate(asked, 1)]
    regions = [_region(one, label) for one, label in zip(asked, labels, strict=True)]
    tracks = _tracks(session, masks, folder, regions) if masks and folder else {}
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise RequestError("regions", f"Label {twice[0]} is used twice. Give each region its own.")
    layers = {}
    for one, label in zip(asked, labels, strict=True):
        track = tracks.get(label, {}) if not one.clicks else {}
        layers[label] = MaskLayer({}, track, dict.fromkeys(track, 1.0), by=finder)
    session.commit(
        replace(session.state, layers=layers, regions=dict(zip(labels, regions, strict=True)))
    )
    return labels


def click(
    session: Session, label: int, clicks: Sequence[Click], field: str, segment: Segment
) -> None:
    """Find a region's mask by clicks, in pixels of the file and on frame 0 unless they name one.

    Those on the object come first. An EditingError names `field`: one is outside the clip, or found nothing.
    """
    size, count = file_size(session), len(session.opened.frames)
    scale = [shown / whole for shown, whole in zip(session.state.size, size, strict=True)]
    frames = [getattr(one, "frame", 0) for one in clicks]
    for number, (one, frame) in enumerate(zip(clicks, frames, strict=True)):
        if frame >= count:
            message = f"{frame} is outside the clip. Choose from 0 to {count - 1}."
            raise RequestError(f"{field}.{number}.frame", message)
        if not (0 <= one.x < size[0] and 0 <= one.y < size[1]):
            message = (
                f"({one.x:g}, {one.y:g}) is outside the frame of {size[0]}x{size[1]}. Move it."
            )
            raise RequestError(f"{field}.{number}", message)
    for frame, one in sorted(zip(frames, clicks, strict=True), key=lambda pair: not pair[1].inside):
        add_point(session, label, frame, (one.x * scale[0], one.y * scale[1]), one.inside, segment)
    if missed := [frame for frame in frames if not session.masked(label, frame)]:
        raise MaskError(field, NOTHING if count == 1 else f"Frame {missed[0]}: {NOTHING}")


def _region(asked: ClickedRegion, label: int) -> Region:
    values = from_json(asked, Region)
    values["name"] = asked.name or f"Region {label}"
    values["label"] = label
    if "picture" in values:
        values["picture"] = str(values["picture"] or "")
    return Region(**values)


def _tracks(
    session: Session, masks: Path, folder: Path, regions: Sequence[Region]
) -> dict[int, dict[int, bytes]]:
    inner = folder / "masks"
    inner.mkdir()
    kept = name_again(masks, place_for(masks, inner))
    colors = {region.label: region.color for region in regions}
    opened, size = session.opened, session.state.size
    tracks, _ = read_tracks([kept], inner, opened.used, opened.total, size, colors)
    if unlisted := sorted(tracks.keys() - colors.keys()):
        message = (
            f"No region has label {unlisted[0]}, but the masks do. Add a region or erase the label."
        )
        raise MaskError("masks", message)
    return tracks


@contextmanager
def _kept(file: Path, folder: Path, field: str) -> Iterator[Path]:
    """An upload in a folder that stays as long as it is needed; errors about it name the argument."""
    try:
        if file.suffix.lower() == ".zip":  # to pages, a project
            raise ClipError(
                field, f"{shorten(file.name)} is not a video. Unpack it and send the video."
            )
        check_upload(file)
        yield name_again(file, place_for(file, folder))
    except ClipError as error:
        raise ClipError(field, error.message) from None
