"""Pictures of regions: taken in, cut out by one click, shown as a model sees them."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from regrain.editing.errors import RequestError
from regrain.editing.media.images import read_picture, shown
from regrain.ui.server.media import data_url
from regrain.ui.session.layers import Mask
from regrain.ui.session.mask_edits import Segment
from regrain.ui.session.session import Session

_FIELD = "picture"
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
    image = Image.fromarray(read_picture(file, _FIELD, notes.append))
    image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    _keep(session, label, np.asarray(image), folder)
    return " ".join(notes)


def cut_out(
    session: Session,
    label: int,
    at: tuple[float, float],
    folder: Path,
    segment: Segment,
) -> bool:
    """Cut the thing at a place of a region's picture out of it.

    Args:
        session: The page's work.
        label: The region.
        at: x and y in the square that is shown, 0..1.
        folder: Where the new picture is kept.
        segment: Turns a point into a mask.

    Returns:
        Whether a thing was found.
    """
    path = session.state.regions[label].picture
    if not path:
        raise RequestError(_FIELD, "The region has no picture. Choose one first.")
    pixels = read_picture(Path(path), _FIELD)
    point = _in_picture(at, pixels)
    if point is None:
        return False
    image = np.ascontiguousarray(pixels[..., :3])
    alpha = pixels[..., 3]
    points = np.array([point], np.float32)
    inside = np.array([1])
    mask = np.asarray(segment(image, points, inside, method=session.finder), bool)
    mask &= alpha > 0
    if not mask.any():
        return False
    remaining = np.where(mask, alpha, 0)
    cut = np.dstack([image, remaining]).astype(np.uint8)
    thing = Image.fromarray(cut).crop(_square_around(mask))
    _keep(session, label, np.asarray(thing), folder)
    return True


def _in_picture(
    at: tuple[float, float], pixels: np.ndarray
) -> tuple[float, float] | None:
    """Return x and y in pixels of a place in the square around a picture; None beside
    the picture."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    x = at[0] * side - (side - width) / 2
    y = at[1] * side - (side - height) / 2
    return (x, y) if 0 <= x < width and 0 <= y < height else None


def _square_around(mask: Mask) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a square around a mask, with some room; may
    reach outside."""
    rows = np.flatnonzero(mask.any(1))
    columns = np.flatnonzero(mask.any(0))
    x = (columns[0] + columns[-1] + 1) / 2
    y = (rows[0] + rows[-1] + 1) / 2
    half = _ROOM * max(np.ptp(rows) + 1, np.ptp(columns) + 1) / 2
    return round(x - half), round(y - half), round(x + half), round(y + half)


def share(session: Session, label: int, other: int) -> None:
    """Give a region the picture of another; raises as `State.layer` does."""
    session.state.layer(other)
    picture = session.state.regions[other].picture
    session.commit(session.state.change_region(label, picture=picture))


def remove(session: Session, label: int) -> None:
    """Take a region's picture away."""
    session.commit(session.state.change_region(label, picture=""))


def as_seen(path: str) -> str:
    """Return a picture as a model sees it, as a data URL; empty without one, or if it
    is gone."""
    if not path:
        return ""
    try:
        return _as_seen(path, Path(path).stat().st_mtime_ns)
    except (OSError, RequestError):
        return ""


@lru_cache(64)
def _as_seen(path: str, changed: int) -> str:
    return data_url(shown(Path(path), _SHOWN, _FIELD), _SHOWN)


def _keep(
    session: Session, label: int, pixels: UInt8[np.ndarray, "h w 4"], folder: Path
) -> None:
    """Write a picture under its fingerprint, and give it to a region."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    content = buffer.getvalue()
    fingerprint = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"{fingerprint}.png"
    path.write_bytes(content)
    session.commit(session.state.change_region(label, picture=str(path)))
