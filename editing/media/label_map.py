"""Colours of labels; and masks as CVAT exports them: a folder laid out as Pascal VOC's,
in which a text says what their colours are called."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Num

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.lazy_frames import Grey, Rgb

FILE = "labelmap.txt"
_FOLDER = "SegmentationClass"
_MOST_LABELS = 255
_BLACK = "#000000"
# A name, its colour, its parts and its actions, which are not masks.
_LINE = re.compile(r"(.*):(\d{1,3}),(\d{1,3}),(\d{1,3}):[^:]*:[^:]*")
DARK = 64  # grey levels below which a pixel of colours is background
EVEN = 24  # grey levels by which the pixels of a mask differ from its colour
ALIKE = 48  # grey levels within which two colours are the same
PACKED = np.array([1 << 16, 1 << 8, 1])  # a colour as one number

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


def published(count: int = 255) -> dict[int, str]:
    """Compute the colours of labels from 1 on as PASCAL VOC, DAVIS and many tools have
    them: the lowest bits of a label are the highest of red, green and blue, in turn."""
    labels = np.arange(1, count + 1)[:, None]
    levels = np.zeros((count, 3), int)
    for bit in range(3):
        levels |= (labels >> np.arange(3 * bit, 3 * bit + 3) & 1) << (7 - bit)
    return {label: hex_of(color) for label, color in enumerate(levels, 1)}


class Called(NamedTuple):
    """The name in an export of the masks of one colour, "#rrggbb"."""

    name: str
    color: str


def label_in(name: str) -> int | None:
    """Return the label, 1 to 255, that a name is in digits; None if it is none."""
    label = int(name) if re.fullmatch(r"[0-9]{1,5}", name) else 0
    return label if 1 <= label <= _MOST_LABELS else None


def folder_of_masks(path: Path) -> Path:
    """Return the folder of masks in an export; any other path as it is."""
    inner = path / _FOLDER
    return inner if os.path.isdir(inner) else path


def read_label_map(path: Path) -> dict[int, Called]:
    """Read what an export calls its masks, by label, in the order of its lines; nothing
    of another folder.

    Raises:
        MaskError: It cannot be read, or says nothing that is a name and a colour.
    """
    file = path / FILE
    if not os.path.isdir(path / _FOLDER) or not os.path.lexists(file):
        return {}
    check_regular(file, "masks", MaskError)
    with boundary("masks", f"{FILE} cannot be read. Export it again.", MaskError):
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    called = [_called(number, line) for number, line in enumerate(lines, 1)]
    masks = [one for one in called if one and one.color != _BLACK]
    if len({one.color for one in masks}) < len(masks):
        raise MaskError(
            "masks",
            f"{FILE} gives one colour to two labels. Export with a colour for each.",
        )
    if len(masks) > _MOST_LABELS:
        raise MaskError(
            "masks",
            f"{FILE} has {len(masks)} labels, but at most {_MOST_LABELS} are "
            "read. Export fewer.",
        )
    return dict(enumerate(masks, 1))


def _called(number: int, line: str) -> Called | None:
    """Read a line of a label map; None if it says nothing."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    found = _LINE.fullmatch(line)
    channels = [int(channel) for channel in found.groups()[1:]] if found else []
    if not found or max(channels) > 255:
        raise MaskError(
            "masks",
            f"{FILE}, line {number}, is {shorten(line)}. Write cat:250,50,83:: or "
            "the like.",
        )
    return Called(found[1].strip(), hex_of(np.array(channels)))


def strange_color(picture: Rgb, known: Iterable[str]) -> str | None:
    """Return "#rrggbb" of a colour in a picture that is neither black nor known; None
    if there is none."""
    packed = picture @ PACKED
    expected = [0, *(int(color[1:], 16) for color in known)]
    strange = packed[~np.isin(packed, expected, kind="table")]
    return f"#{strange.min():06x}" if len(strange) else None


def rgb_of(color: str) -> Int[np.ndarray, "3"]:
    """Return red, green and blue of a colour "#rrggbb", 0 to 255."""
    return np.array(list(bytes.fromhex(color[1:])))


def hex_of(color: Num[np.ndarray, "3"]) -> str:
    """Write red, green and blue, 0 to 255, as "#rrggbb"."""
    return "#" + bytes(np.rint(color).astype(np.uint8)).hex()


def are_near(
    colors: Num[np.ndarray, "... 3"],
    color: Num[np.ndarray, "3"],
    within: int = ALIKE,
) -> Bool[np.ndarray | np.bool_, "..."]:
    """Tell which colours are within so many grey levels of one."""
    return np.square(colors - color.astype(float)).sum(-1) < within**2


def nearest_labels(picture: Rgb, colors: Colors) -> Grey:
    """Return the label of the colour, "#rrggbb", nearest to each pixel; 0 where black
    is nearer."""
    labels = np.zeros(picture.shape[:2], np.uint8)
    is_lit = picture.any(-1)
    values = picture[is_lit].astype(np.int32)
    nearest = np.zeros(len(values), np.uint8)
    least = np.square(values).sum(-1)
    for label, color in colors.items():
        # one at a time: all at once would be as many pictures
        off = np.square(values - rgb_of(color)).sum(-1)
        nearest[off < least] = label
        least = np.minimum(off, least)
    labels[is_lit] = nearest
    return labels


def filled(known: Colors, usual: Sequence[str]) -> dict[int, str]:
    """Return known colours by label, and usual ones of the labels that have none."""
    taken = {color.lower() for color in known.values()}
    colors = {
        label: color
        for label, color in enumerate(usual, 1)
        if label not in known and color not in taken
    }
    return {**known, **colors}


def matched(
    colors: Iterable[np.ndarray], usual: Colors, within: int = EVEN
) -> dict[int, np.ndarray] | None:
    """Return colours by label if each is a usual one, as far as a codec keeps it; None
    if they are not."""
    found = {}
    for color in colors:
        near = (n for n, one in usual.items() if are_near(color, rgb_of(one), within))
        found[next(near, 0)] = color
    return None if 0 in found else found


def labelled_by(
    colors: Iterable[np.ndarray], known: Colors, wanted: set[int]
) -> dict[int, np.ndarray]:
    """Give each colour the label whose known colour it is like; and the others, red
    before green before blue, the wanted labels that are left if they are as many, else
    the next free ones."""
    labelled: dict[int, np.ndarray] = {}
    others = []
    # by levels that a codec hardly changes
    for color in sorted(colors, key=lambda one: np.rint(one[::-1] / DARK).tolist()):
        like = matched([color], known, ALIKE)
        if like and not like.keys() & labelled:
            labelled |= like
        else:
            others.append(color)
    free = sorted(wanted - labelled.keys())
    if len(free) != len(others):
        free = sorted({*range(1, 256)} - labelled.keys() - wanted)
    return labelled | dict(zip(free, others, strict=False))
