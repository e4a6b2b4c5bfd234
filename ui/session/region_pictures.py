"""Pictures of regions: taken in, cut out by clicks, shown as a model sees them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from regrain.editing.errors import RequestError
from regrain.editing.media.images import GREY, read_picture, shown
from regrain.editing.media.labels import edges_of
from regrain.editing.media.lazy_frames import Rgba
from regrain.ui.server.media import data_url
from regrain.ui.session.mask_edits import Segment
from regrain.ui.session.session import Session
from regrain.ui.values.cutout import Cutout, Point, veil_over
from regrain.ui.values.layers import Mask

FIELD = "picture"
_LARGEST = 1024  # pixels a side that are kept; encoders see 224
_SHOWN = 224
_ROOM = 1.1  # side of the square that is cut out, in longer sides of the thing
NOTHING = "Nothing found there. Click nearer the middle of the thing."


def take(session: Session, label: int, file: Path, folder: Path) -> str:
    """Give a region the picture in a file, which is kept in a folder.

    Returns:
        A note of what was left out, maybe empty.

    Raises:
        RequestError: It cannot be read, or there is no such region.
    """
    notes: list[str] = []
    image = Image.fromarray(read_picture(file, FIELD, notes.append))
    image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    _keep(session, label, np.asarray(image), folder)
    return " ".join(notes)


def cut_out(
    session: Session,
    label: int,
    points: Sequence[Point],
    folder: Path,
    segment: Segment,
) -> bool:
    """Cut a thing out of a region's picture, or out of what that was cut from.

    Parts of the mask that no click is in are left out.

    Args:
        session: The page's work.
        label: The region.
        points: Clicks on the thing and beside it, as `Cutout` has them; without any,
            the picture is whole again.
        folder: Where the new picture is kept.
        segment: Turns points into a mask.

    Returns:
        Whether a thing was found.
    """
    path = picture_of(session, label)
    before = session.cutouts.get(path)
    whole = before.whole if before else path
    if not points:
        session.commit(session.state.change_region(label, picture=whole))
        return True
    clicks = np.array(points, float)
    inside = clicks[:, 2].astype(int)
    if not inside.any():
        raise RequestError(FIELD, "Click the thing first, then what is not of it.")
    pixels = read_picture(Path(whole), FIELD)
    height, width = pixels.shape[:2]
    image = np.ascontiguousarray(pixels[..., :3])
    alpha = pixels[..., 3]
    places = (clicks[:, :2] * (width, height)).astype(np.float32)
    found = segment(image, places, inside, method=session.finder)
    mask = np.asarray(found, bool) & (alpha > 0)
    if not mask.any():
        return False
    cut = np.dstack([image, np.where(mask, alpha, 0)]).astype(np.uint8)
    thing = Image.fromarray(cut).crop(_square_around(mask))
    new = _keep(session, label, np.asarray(thing), folder)
    session.cutouts[new] = Cutout(whole, tuple(points), veil_over(mask))
    return True


def picture_of(session: Session, label: int) -> str:
    """Return where a region's picture is; a RequestError if it has none."""
    path = session.state.regions[label].picture
    if not path:
        raise RequestError(FIELD, "The region has no picture. Choose one first.")
    return path


def _square_around(mask: Mask) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a square around a mask, with some room; may
    reach outside."""
    left, top, right, bottom = edges_of(mask)
    x = (left + right) / 2
    y = (top + bottom) / 2
    half = _ROOM * max(right - left, bottom - top) / 2
    return round(x - half), round(y - half), round(x + half), round(y + half)


def as_seen(path: str, ground: int = GREY) -> str:
    """Return a picture as a model sees it, on grey or white, as a data URL; empty
    without one, or if it is gone."""
    if not path:
        return ""
    try:
        return _as_seen(path, ground, Path(path).stat().st_mtime_ns)
    except (OSError, RequestError):
        return ""


@lru_cache(64)
def _as_seen(path: str, ground: int, changed: int) -> str:
    return data_url(shown(Path(path), _SHOWN, FIELD, ground=ground), _SHOWN)


def _keep(session: Session, label: int, pixels: Rgba, folder: Path) -> str:
    """Write a picture under its fingerprint, give it to a region, and return where it
    is."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    content = buffer.getvalue()
    fingerprint = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"{fingerprint}.png"
    path.write_bytes(content)
    session.commit(session.state.change_region(label, picture=str(path)))
    return str(path)
