"""Masks as CVAT exports them: a folder laid out as Pascal VOC's, in which a text says
what their colours are called."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.mask_pictures import (
    Meaning,
    Picture,
    hex_of,
    shown,
    strange_color,
)

FILE = "labelmap.txt"
_FOLDER = "SegmentationClass"
_MOST_LABELS = 255
_BLACK = "#000000"
# A name, its colour, its parts and its actions, which are not masks.
_LINE = re.compile(r"(.*):(\d{1,3}),(\d{1,3}),(\d{1,3}):[^:]*:[^:]*")


class Called(NamedTuple):
    """What an export calls the masks of one colour, "#rrggbb"."""

    name: str
    color: str


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


def meaning_of(pictures: Iterable[Picture], called: Mapping[int, Called]) -> Meaning:
    """Return what pictures mean whose colours have names.

    Raises:
        MaskError: One has a colour without a name.
    """
    colors = {label: one.color for label, one in called.items()}
    for picture in pictures:
        strange = strange_color(shown(picture), colors.values())
        if strange:
            raise MaskError(
                "masks",
                f"{shorten(picture.name)} has the colour {strange}, which {FILE} "
                "does not name. Export them again, as PNG.",
            )
    return Meaning("colors", colors=colors)
