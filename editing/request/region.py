"""One region of a request, and the checks of values that a person typed."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TypeGuard

from regrain.editing.errors import RequestError, shorten

# Light and dark in turn, each at least 3:1 against mid-grey (WCAG contrast).
PALETTE = ("#ffe11a", "#0b2a8c", "#6ff7ff", "#6b0f1a", "#b6ff6b", "#4a1470", "#ffd6ee", "#0d3b22")
MAX_MARGIN = 1024
AUTO_MARGIN = 1 / 16
"""Margin of a region that says nothing, in shares of the clip's shorter side: it covers the softened edge of
what is there, and leaves room for ears that are not there yet."""
MAX_NAME = 120  # characters
MAX_TEXT = 2000  # characters of a prompt; models read 77 tokens
MAX_FRAME = 10**7
MAX_SCALE = 1.5  # of a picture
TEXTS = ("source", "prompt", "negative")  # of a region


def default_color(label: int) -> str:
    """The default colour of a label, "#rrggbb"."""
    return PALETTE[(label - 1) % len(PALETTE)]


@dataclass(frozen=True)
class Region:
    """One object in the clip and what it should become.

    Attributes:
        name: Unique in the request; names its files and its row in the report.
        label: Its value in label arrays, 1..255.
        prompt: What it should become; empty keeps the source, unless there is a picture.
        source: What it is now, in words of the source prompt.
        color: "#rrggbb"; empty takes one from the palette.
        strength: How strongly its attention is modulated, 0..1.
        picture: A picture of what it should become, the path of a file; beside the prompt or in its place.
        picture_scale: How much the picture counts, 0..1.5; None is what suits the picture adapter.
        negative: What it should not become; in VideoGrain and FRESCO read inside the region alone, else
            everywhere.
        margin: How far its edit may reach beyond its mask, in pixels of the clip, 0..1024; never into
            another region. None is `AUTO_MARGIN` of the clip's shorter side. Without a prompt there is no
            edit and no margin.
        feather: Over how many pixels of the clip its edit fades out inside the edge of its area, 0..1024; the
            fade outside, a parameter of the run, comes on top.
        drawn: Used frames, from 0, with a mask drawn by hand; kept for the page, a run ignores it.
        clicked: Used frames, from 0, with a mask found from clicks; kept likewise. Other masks were tracked.

    Raises:
        RequestError: A value is not allowed; the field is `regions.NAME.KEY`.
    """

    name: str
    label: int
    prompt: str = ""
    source: str = ""
    color: str = ""
    strength: float = 1.0
    negative: str = ""
    margin: int | None = None
    feather: int = 0
    drawn: tuple[int, ...] = ()
    clicked: tuple[int, ...] = ()
    picture: str = ""
    picture_scale: float | None = None

    def __post_init__(self) -> None:
        for key, limit in (("name", MAX_NAME), *((text, None) for text in TEXTS)):
            object.__setattr__(
                self, key, clean(f"regions.{self.name}.{key}", getattr(self, key), limit)
            )
        pixels = f"a whole number of pixels from 0 to {MAX_MARGIN}"
        in_range = self.margin is None or is_whole(self.margin, 0, MAX_MARGIN)
        self._require("name", self.name.strip() != "", "a name")
        self._require("label", is_whole(self.label, 1, 255), "a whole number from 1 to 255")
        is_fraction = _is_number(self.strength) and 0 <= self.strength <= 1
        self._require("strength", is_fraction, "a number from 0 to 1")
        self._require("margin", in_range, f"{pixels}, or null")
        check_picture(f"regions.{self.name}.", self.picture, self.picture_scale)
        self._require("feather", is_whole(self.feather, 0, MAX_MARGIN), pixels)
        for key in ("drawn", "clicked"):
            are_frames = all(is_whole(frame, 0, MAX_FRAME - 1) for frame in getattr(self, key))
            self._require(key, are_frames, "frame numbers from 0 on")
        if not self.color:
            object.__setattr__(self, "color", default_color(self.label))
        is_color = re.fullmatch(r"#[0-9a-fA-F]{6}", self.color) is not None
        self._require("color", is_color, "a colour as #rrggbb")

    def effective_margin(self, size: tuple[int, int]) -> int:
        """The margin, in pixels, that it has in a clip of a size (width, height)."""
        return round(AUTO_MARGIN * min(size)) if self.margin is None else self.margin

    def _require(self, key: str, holds: bool, expected: str) -> None:
        require(f"regions.{self.name}.{key}", getattr(self, key), holds, expected)


def check_picture(prefix: str, picture: object, scale: object) -> None:
    """Refuse a picture that is no path, or a scale out of range; the fields begin with `prefix`."""
    holds = scale is None or (_is_number(scale) and 0 <= scale <= MAX_SCALE)
    require(f"{prefix}picture", picture, isinstance(picture, str), "the path of a picture")
    require(f"{prefix}picture_scale", scale, holds, f"a number from 0 to {MAX_SCALE}, or null")


def require(field: str, value: object, holds: bool, expected: str) -> None:
    """Refuse the value of a field by a RequestError unless a condition holds."""
    if not holds:
        raise RequestError(field, f"Expected {expected}, got {shorten(value)}.")


def is_whole(value: object, least: int, most: int) -> bool:
    """Whether a value is a whole number in a range, which True is not."""
    return is_int(value) and least <= value <= most


def is_int(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, which True is not; of 64 bits, as most readers of JSON take them."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def clean(field: str, text: object, limit: int | None = MAX_TEXT) -> str:
    """A text that a person typed, without what cannot be seen, such as control and zero-width characters.

    Letters come back in Unicode's composed form (NFC). What is no text, or has more characters than `limit`
    unless that is None, is a RequestError.
    """
    if not isinstance(text, str):
        raise RequestError(field, f"Expected text, got {shorten(text)}.")
    if limit is not None and len(text) > limit:
        raise RequestError(field, f"{len(text)} characters are too many. Shorten it to {limit}.")
    if text.isascii() and text.isprintable():
        return text
    return "".join(_seen(c) for c in unicodedata.normalize("NFC", text))


def _seen(character: str) -> str:
    """The character; a space for a tab or the like; nothing for what cannot be seen."""
    if character.isspace():
        return character if character == "\n" else " "
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") else character
