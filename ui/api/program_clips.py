"""Sessions on a program's own video or picture: opened, clicked, with masks from
files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from regrain.editing.errors import ClipError, MaskError, RequestError, shorten
from regrain.editing.media.images import FRAME_SUFFIXES
from regrain.editing.request.fields import from_json
from regrain.editing.request.region import Region
from regrain.ui.api.program_schema import Click, ClickedRegion, FrameClick, OfVideo
from regrain.ui.server.media import link_or_copy
from regrain.ui.session.clip_files import check_upload, place_for
from regrain.ui.session.clips import is_archive, open_picture, open_upload
from regrain.ui.session.mask_edits import Segment, add_point
from regrain.ui.session.mask_files import Tracks, read_tracks
from regrain.ui.session.session import Session
from regrain.ui.values.layers import MaskLayer
from regrain.ui.values.mask_models import choose, click_models, trackers

# A GIF or an AVIF may be a video; it is opened as one, of one frame or more.
_PICTURES = frozenset(FRAME_SUFFIXES) - {".gif", ".avif"}
NOTHING = "Nothing was found there. Click nearer to the middle of the object."


def open_video(asked: OfVideo, folder: Path, fallback: str) -> tuple[Session, str]:
    """Open an uploaded video in a folder, as the page does; the upload stays.

    Returns the session, and a sentence about what was left out, maybe empty; raises as
    `open_frame` does.
    """
    with _kept(asked.video, folder, "video") as kept:
        opened, note = open_upload(
            kept, folder, asked.start, asked.stride, asked.frames
        )
    session = Session(opened, fallback)
    if asked.tracker:
        session.tracker = choose("tracker", asked.tracker, trackers()).name
    return session, note


def open_frame(file: Path, frame: int, folder: Path, fallback: str) -> Session:
    """Open a picture, or one frame of a video; an EditingError if it cannot be opened
    or is too large."""
    with _kept(file, folder, "image") as kept:
        if kept.suffix.lower() in _PICTURES:
            return Session(open_picture(kept, folder), fallback)
        return Session(open_upload(kept, folder, frame, 1, 1)[0], fallback)


def add_regions(
    session: Session,
    asked: Sequence[ClickedRegion],
    finder: str = "",
    masks: Path | None = None,
    folder: Path | None = None,
) -> list[int]:
    """Give a session its regions, the uppermost first, and return their labels.

    Regions without clicks have their masks in an uploaded file, which is unpacked in
    `folder`.

    Raises:
        EditingError: A region's values or the masks are not allowed, or there is no
            such finder.
    """
    if finder:
        choose("finder", finder, click_models(session.fallback))
    regions = _regions(asked)
    tracks: Tracks = {}
    if masks and folder:
        tracks = _tracks(session, masks, folder, regions)
    layers = {}
    for label, one in zip(regions, asked, strict=True):
        track = {} if one.clicks else tracks.get(label, {})
        layers[label] = MaskLayer(
            {},
            track,
            dict.fromkeys(track, 1.0),
            by=finder,
        )
    session.commit(replace(session.state, layers=layers, regions=regions))
    return list(regions)


def _regions(asked: Sequence[ClickedRegion]) -> dict[int, Region]:
    """Return regions by label; one that names none has its place as its label."""
    regions: dict[int, Region] = {}
    for place, one in enumerate(asked, 1):
        label = one.label or place
        if label in regions:
            raise RequestError(
                "regions",
                f"Label {label} is used twice. Give each region its own.",
            )
        values = from_json(one, Region)
        values["name"] = one.name or f"Region {label}"
        values["label"] = label
        if "picture" in values:
            values["picture"] = str(values["picture"] or "")
        regions[label] = Region(**values)
    return regions


def click(
    session: Session, label: int, clicks: Sequence[Click], field: str, segment: Segment
) -> None:
    """Find a region's mask by clicks, in pixels of the file and on frame 0 unless they
    name one.

    Those on the object come first. An EditingError names `field`: one is outside the
    clip, or found nothing.
    """
    count = len(session.opened.frames)
    width, height = session.opened.file_size
    for number, one in enumerate(clicks):
        frame = _frame(one)
        if frame >= count:
            raise RequestError(
                f"{field}.{number}.frame",
                f"{frame} is outside the clip. Choose from 0 to {count - 1}.",
            )
        if not (0 <= one.x < width and 0 <= one.y < height):
            place = f"({one.x:g}, {one.y:g})"
            raise RequestError(
                f"{field}.{number}",
                f"{place} is outside the frame of {width}x{height}. Move it.",
            )
    across = session.state.size[0] / width
    down = session.state.size[1] / height
    for one in sorted(clicks, key=lambda one: not one.inside):
        at = (one.x * across, one.y * down)
        add_point(session, label, _frame(one), at, one.inside, segment)
    for one in clicks:
        frame = _frame(one)
        if not session.masked(label, frame):
            where = "" if count == 1 else f"Frame {frame}: "
            raise MaskError(field, where + NOTHING)


def _frame(click: Click) -> int:
    return click.frame if isinstance(click, FrameClick) else 0


def _tracks(
    session: Session, masks: Path, folder: Path, regions: Mapping[int, Region]
) -> Tracks:
    """Read masks by label and frame from an uploaded file."""
    inner = folder / "masks"
    inner.mkdir()
    kept = link_or_copy(masks, place_for(masks, inner))
    colors = {label: region.color for label, region in regions.items()}
    opened = session.opened
    size = session.state.size
    try:
        tracks, _ = read_tracks(
            [kept], inner, opened.used, opened.total, size, colors, opened.file_size
        )
    except ClipError as error:  # a mask video that cannot be read
        raise MaskError("masks", error.message) from None
    unlisted = sorted(tracks.keys() - regions.keys())
    if unlisted:
        raise MaskError(
            "masks",
            f"No region has label {unlisted[0]}, but the masks do. "
            "Add a region or erase the label.",
        )
    return tracks


@contextmanager
def _kept(file: Path, folder: Path, field: str) -> Iterator[Path]:
    """Keep an upload in a folder; errors about it name the argument."""
    try:
        if is_archive(file):  # to pages, a project
            raise ClipError(
                field,
                f"{shorten(file.name)} is not a video. Unpack it and send the video.",
            )
        check_upload(file)
        yield link_or_copy(file, place_for(file, folder))
    except ClipError as error:
        raise ClipError(field, error.message) from None
