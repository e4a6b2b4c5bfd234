"""Meaning of a picture of a mask: the region of each of its pixels.

One rule for files, folders, archives and videos, which docs/projects.md has as a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.lazy_frames import Grey
from regrain.editing.removed import instead

_MOST_LABELS = 255
_MATTE = 1  # the label of a picture that shows one mask
_WHITE = 255
_MIDDLE = 128  # grey levels from which a pixel of an edge is inside
_NOISE = 47  # grey levels by which a codec changes black and white
_TINGE = 24  # levels between the channels of a grey pixel that a codec has changed
_EDGE = 7  # pixels across an edge
_EVEN = 16  # grey levels by which neighbours differ where there is no edge
_MOST_BETWEEN = 0.25  # of the pixels that are neither black nor white
_GREYS = 8  # indexed greys that are labels; more are a soft mask
_PACKED = np.array([1 << 16, 1 << 8, 1])  # a colour as one number

FORMS = instead("masks of another form")
"""The forms of masks that are read, as the end of an error."""

Colors = Mapping[int, str]
"""Colours, "#rrggbb", by label."""


# Light and dark in turn, each at least 3:1 against mid-grey (WCAG contrast).
PALETTE = (
    "#ffe11a",
    "#0b2a8c",
    "#6ff7ff",
    "#6b0f1a",
    "#b6ff6b",
    "#4a1470",
    "#ffd6ee",
    "#0d3b22",
)
"""Default colours of labels 1 to 8, repeated from 9 on."""


class Picture(NamedTuple):
    """A picture of a mask as it is stored.

    Attributes:
        pixels: [height, width, 3] colours; or [height, width] labels.
        name: Its name in errors.
        is_lossy: Whether a codec changed the colours.
    """

    pixels: UInt8[np.ndarray, "height width ..."]
    name: str
    is_lossy: bool = False


def default_color(label: int) -> str:
    """Return the default colour of a label, "#rrggbb"."""
    return PALETTE[(label - 1) % len(PALETTE)]


def label_in(name: str) -> int | None:
    """Return the label, 1 to 255, that a name is in digits; None if it is none."""
    label = int(name) if re.fullmatch(r"[0-9]{1,5}", name) else 0
    return label if 1 <= label <= _MOST_LABELS else None


def palette(colors: Colors) -> UInt8[np.ndarray, "256 3"]:
    """Return the RGB of every label from its "#rrggbb"; black for labels without a
    colour."""
    table = np.zeros((256, 3), np.uint8)
    for label, color in colors.items():
        table[label] = list(bytes.fromhex(color[1:]))
    return table


def picture_of(image: Image.Image, file: Path) -> Picture:
    """Return the picture in an open file, upright.

    Raises:
        MaskError: It has more than 8 bits, or is transparent somewhere.
    """
    name = file.name
    is_index = image.format == "PNG" and image.mode == "P" and _says_by_index(image)
    is_lossy = (
        image.format in ("JPEG", "MPO") or image.info.get("compression") == "jpeg"
    )
    if image.format == "WEBP":
        with file.open("rb") as opened:
            is_lossy = b"VP8L" not in opened.read(128)
    image = ImageOps.exif_transpose(image)
    if is_index:
        return Picture(np.asarray(image), name)
    if image.mode[0] in "FI":
        raise MaskError("masks", f"{shorten(name)} has more than 8 bits. {FORMS}")
    pixels = np.asarray(image.convert("RGBA"))
    if pixels[..., 3].min() < _WHITE:
        raise MaskError("masks", f"{shorten(name)} is partly transparent. {FORMS}")
    return Picture(pixels[..., :3], name, is_lossy)


def _says_by_index(image: Image.Image) -> bool:
    """Tell whether the index of a picture is its label, and not just a way to store its
    colours: black stands first, and the colours are not the greys of a soft mask."""
    used = np.flatnonzero(np.bincount(np.asarray(image).ravel(), minlength=256))
    table = np.zeros((256, 3), np.uint8)
    given = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    table[: len(given)] = given[:256]
    colors = table[used]
    if table[0].any() or "transparency" in image.info:
        return False
    is_grey = (colors == colors[:, :1]).all()
    is_ramp = is_grey and (colors[:, 0] == used).all()
    distinct = len(np.unique(colors, axis=0))
    return not is_ramp and not (is_grey and distinct > _GREYS)


def _read(
    picture: Picture, labels_of: Mapping[int, int], matte: int
) -> tuple[str, Grey]:
    """Return the form of a picture, and the label of each pixel; 0 is the background.

    The form is "numbers", "white" or "colours"; "dark" where a codec may have made
    what is there, and "" where there is nothing.

    Args:
        labels_of: Label by colour, as one number.
        matte: Label of what is white on black.

    Raises:
        MaskError: It has another form.
    """
    pixels = picture.pixels
    if pixels.ndim == 2:
        return "numbers" if pixels.any() else "", pixels
    if _is_white(picture):
        inside = pixels[..., 1] >= _MIDDLE
        form = "white" if inside.any() else "dark"
        labels = inside * np.uint8(matte)
        return form if pixels.any() else "", labels
    packed = pixels @ _PACKED
    labels = np.zeros(packed.shape, np.uint8)
    for color, label in labels_of.items():
        labels[packed == color] = label
    strange = packed[(labels == 0) & (packed > 0)]
    if strange.size:
        seen, counts = np.unique(strange, return_counts=True)
        said = f"has #{seen[counts.argmax()]:06x}, which no region has."
        if _is_grey(picture):
            said = "has greys or soft edges: make them black or white."
        raise MaskError("masks", f"{shorten(picture.name)} {said} {FORMS}")
    return "colours", labels


def _is_grey(picture: Picture) -> bool:
    """Tell whether a picture has no colours, but for those of a codec."""
    spread = np.ptp(picture.pixels, axis=-1)
    return bool(spread.max() <= (_TINGE if picture.is_lossy else 0))


def _is_white(picture: Picture) -> bool:
    """Tell whether a picture is black and white, but for edges between them."""
    import cv2  # slow to import, and seldom needed

    if not _is_grey(picture):
        return False
    grey = np.ascontiguousarray(picture.pixels[..., 1])
    noise = _NOISE if picture.is_lossy else 0
    is_black, is_white = grey <= noise, grey >= _WHITE - noise
    is_between = ~(is_black | is_white)
    across = np.ones((_EDGE, _EDGE), np.uint8)
    near_both = [
        cv2.dilate(one.astype(np.uint8), across) > 0 for one in (is_black, is_white)
    ]
    around = np.ones((3, 3), np.uint8)
    is_even = cv2.dilate(grey, around) - cv2.erode(grey, around) < _EVEN
    is_area = is_between & is_even & ~np.all(near_both, axis=0)
    return is_between.mean() <= _MOST_BETWEEN and not is_area.any()


def understand(
    pictures: Iterable[Picture], known: Colors, labels: Collection[int]
) -> Callable[[Picture], tuple[str, Grey]]:
    """Decide what the pictures of a mask mean: returns what reads the form of one, and
    its labels; see `_read`.

    Args:
        pictures: As many as are looked at.
        known: "#rrggbb" of labels; others are as in `PALETTE`.
        labels: Labels of regions; those of `known` if there are none. White is region
            1, unless it is the known colour of another; or the only region.

    Raises:
        MaskError: They are no masks, or of two forms.
    """
    colors = {label: color.lower() for label, color in known.items()}
    white = [label for label, color in colors.items() if color == "#ffffff"]
    wanted = white or sorted(set(labels or known))
    for label, color in enumerate(PALETTE, 1):
        if label not in known and color not in colors.values():
            colors[label] = color
    listed = list(colors.values())
    labels_of = {
        int(color[1:], 16): label
        for label, color in colors.items()
        # those of two regions are of neither, and black is the background
        if listed.count(color) == 1 and color != "#000000"
    }
    matte = wanted[0] if len(wanted) == 1 else _MATTE
    meaning = partial(_read, labels_of=labels_of, matte=matte)
    found: dict[str, str] = {}  # the first picture of each form
    for picture in pictures:
        form, _ = meaning(picture)
        if white and form == "white":
            form = "colours"
        if form:
            found.setdefault(form, picture.name)
    if found.keys() == {"dark"}:
        raise MaskError("masks", f"{shorten(found['dark'])} has no white. {FORMS}")
    found.pop("dark", None)
    if len(found) > 1:
        first, second, *_ = found.values()
        raise MaskError(
            "masks",
            f"{shorten(first)} and {shorten(second)} are of two forms. Use one for all.",
        )
    return meaning
