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
from regrain.ui.session.mask_edits import Segment
from regrain.ui.session.session import Session

_FIELD = "picture"
_LARGEST = 1024  # pixels a side that are kept; encoders see 224
_SHOWN = 224
_ROOM = 1.1  # of the square around a thing that is cut out
NOTHING = "Nothing found there. Click nearer the middle of the thing."


def take(session: Session, label: int, file: Path, folder: Path) -> str:
    """Give a region the picture in a file; kept in a folder. A note of what was left out, maybe empty.

    Raises:
        RequestError: It cannot be read, or there is no such region.
    """
    notes: list[str] = []
    image = Image.fromarray(read_picture(file, _FIELD, notes.append))
    image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    _keep(session, label, np.asarray(image), folder)
    return " ".join(notes)


def cut_out(
    session: Session, label: int, at: tuple[float, float], folder: Path, segment: Segment
) -> bool:
    """Cut the thing at a place of a region's picture out of it; whether one was found.

    `at` is x and y in the square that is shown, 0..1.
    """
    path = session.state.regions[label].picture
    if not path:
        raise RequestError(_FIELD, "The region has no picture. Choose one first.")
    pixels = read_picture(Path(path), _FIELD)
    height, width = pixels.shape[:2]
    side = max(height, width)
    x, y = (
        one * side - (side - length) / 2 for one, length in zip(at, (width, height), strict=True)
    )
    if not (0 <= x < width and 0 <= y < height):
        return False
    image = np.ascontiguousarray(pixels[..., :3])
    mask = np.asarray(
        segment(image, np.array([[x, y]], np.float32), np.array([1]), method=session.finder), bool
    )
    mask &= pixels[..., 3] > 0
    if not mask.any():
        return False
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    middle = [(line[0] + line[-1] + 1) / 2 for line in (columns, rows)]
    half = _ROOM * max(np.ptp(rows) + 1, np.ptp(columns) + 1) / 2
    box = [round(middle[i % 2] + (half if i > 1 else -half)) for i in range(4)]
    thing = Image.fromarray(np.dstack([image, np.where(mask, pixels[..., 3], 0)]).astype(np.uint8))
    _keep(session, label, np.asarray(thing.crop((box[0], box[1], box[2], box[3]))), folder)
    return True


def share(session: Session, label: int, other: int) -> None:
    """Give a region the picture of another; raises as `State.layer` does."""
    session.state.layer(other)
    session.commit(session.state.change_region(label, picture=session.state.regions[other].picture))


def remove(session: Session, label: int) -> None:
    """Take a region's picture away."""
    session.commit(session.state.change_region(label, picture=""))


def as_seen(path: str) -> str:
    """A picture as a model sees it, as a data URL; empty without one, or if it is not there any more."""
    try:
        return _as_seen(path, Path(path).stat().st_mtime_ns) if path else ""
    except (OSError, RequestError):
        return ""


@lru_cache(64)
def _as_seen(path: str, _: int) -> str:
    return data_url(shown(Path(path), _SHOWN, _FIELD), _SHOWN)


def _keep(session: Session, label: int, pixels: UInt8[np.ndarray, "h w 4"], folder: Path) -> None:
    """Write a picture under its fingerprint, and give it to a region."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path = folder / f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:16]}.png"
    path.write_bytes(buffer.getvalue())
    session.commit(session.state.change_region(label, picture=str(path)))
