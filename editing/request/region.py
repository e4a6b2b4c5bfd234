"""One region of a request, and the checks of values that a person typed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

from regrain.editing.errors import RequestError, shorten
from regrain.editing.media.lazy_frames import Numbers, Size
from regrain.editing.media.mask_pictures import default_color
from regrain.editing.request.fields import check_declared, declare, declared

MAX_REACH = 2048  # pixels of a margin or a feather: what a page offers, in 8192
AUTO_MARGIN = 1 / 16
"""Default margin of a region, in shares of the clip's shorter side: it covers the
softened edge of what is there, and leaves room for ears that are not there yet."""
MAX_REGION_NAME = 120  # characters
MAX_NOTE = 1000  # characters
MAX_PROMPT = 2000  # characters; models read 77 tokens
MAX_FRAME = 10**7
MAX_SCALE = 1.5  # of a picture
TEXTS = ("source", "prompt", "negative")
"""Prompts of a region; their length is checked by the request, since a page holds what
is being typed."""


declare_scale = partial(
    declare,
    None,
    "How much the picture counts; by default what suits the adapter.",
    (0, MAX_SCALE),
    expected=f"a number from 0 to {MAX_SCALE}, or null",
)


@dataclass(frozen=True)
class Region:
    """One object in the clip and what it should become.

    Raises:
        RequestError: A value is not allowed; the field is `regions.NAME.KEY`.
    """

    name: str = declare(
        ...,
        "Unique; names its files and its row in the report.",
        kind="text",
        expected="a name",
        min_length=1,
        max_length=MAX_REGION_NAME,
    )
    label: int = declare(..., "Its value in the masks; unique.", (1, 255))
    # Beside a picture or in its place.
    prompt: str = declare(
        "",
        "What it should become; empty keeps the source.",
        kind="text",
        title="Make it",
    )
    source: str = declare(
        "",
        "What it is now, in words of the source prompt.",
        kind="text",
        title="This is",
    )
    color: str = declare(
        "", "#rrggbb; from a palette by default.", pattern=r"^(#[0-9a-fA-F]{6})?$"
    )
    strength: float = declare(1.0, "How strongly its attention is modulated.", (0, 1))
    # VideoGrain and FRESCO read it inside the region alone, the other methods
    # everywhere.
    negative: str = declare(
        "", "What it should not become.", kind="text", title="Never show"
    )
    # In pixels of the clip, and never into another region. Without a prompt there is no
    # edit and no margin.
    margin: int | None = declare(
        None,
        "Pixels its edit may reach beyond its mask; 1/16 of the shorter side by default.",
        (0, MAX_REACH),
        expected=f"a whole number of pixels from 0 to {MAX_REACH}, or null",
    )
    # In pixels of the clip. The fade outside, a parameter of the run, comes on top.
    feather: int = declare(
        0,
        "Pixels over which its edit fades out inside its edge.",
        (0, MAX_REACH),
        expected=f"a whole number of pixels from 0 to {MAX_REACH}",
    )
    # Numbers from 0 of used frames, kept for the page; a run ignores them.
    drawn: Numbers = declare(
        (),
        "Used frames with a mask drawn by hand.",
        expected="frame numbers from 0 on",
        programs=False,
    )
    clicked: Numbers = declare(
        (),
        "Used frames with a mask found from clicks; the other masks were tracked.",
        expected="frame numbers from 0 on",
        programs=False,
    )
    # The path of a file.
    picture: str = declare(
        "",
        "A picture of what it should become, inside the project folder.",
        kind="file",
        expected="the path of a picture",
        title="Picture",
        programs="A picture of what it should become.",
    )
    picture_scale: float | None = declare_scale()
    note: str = declare(
        "",
        "A note for people; no model reads it.",
        kind="text",
        omit_empty=True,
        max_length=MAX_NOTE,
    )

    def __post_init__(self) -> None:
        prefix = f"regions.{str(self.name).strip() or self.label}."
        for key, text in cleaned(self, Region, prefix).items():
            object.__setattr__(self, key, text)
        require(f"{prefix}name", self.name, self.name.strip() != "", "a name")
        check_declared(self, Region, prefix)
        for key in ("drawn", "clicked"):
            frames = getattr(self, key)
            are_frames = all(0 <= frame < MAX_FRAME for frame in frames)
            require(prefix + key, frames, are_frames, "frame numbers from 0 on")
        if not self.color:
            object.__setattr__(self, "color", default_color(self.label))

    def effective_margin(self, size: Size) -> int:
        """Return the margin, in pixels, that it has in a clip of a size (width,
        height)."""
        return round(AUTO_MARGIN * min(size)) if self.margin is None else self.margin


def called(regions: Sequence[Region]) -> dict[str, str]:
    """Return what to call each region, by its name: its words, as its card on the page
    does, unless somebody has named it or another has the same."""
    words = [one.source.strip() or one.prompt.strip() for one in regions]
    said = {}
    for region, text in zip(regions, words, strict=True):
        unnamed = re.fullmatch(r"Region \d+", region.name)
        is_told = unnamed and text and words.count(text) == 1
        said[region.name] = text if is_told else region.name
    return said


def cleaned(value: Any, owner: type, prefix: str = "") -> dict[str, str]:
    """Return the texts that a person typed, of a value with the fields declared by
    `owner`, cleaned."""
    texts = {}
    for name, one in declared(owner).items():
        if one.kind == "text":
            most = one.limits.get("max_length")
            texts[name] = clean(prefix + name, getattr(value, name), most)
    return texts


def require(field: str, value: object, holds: bool, expected: str) -> None:
    """Refuse the value of a field by a RequestError unless a condition holds."""
    if not holds:
        raise RequestError(field, f"Expected {expected}, got {shorten(value)}.")


def is_int(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number of 64 bits, as readers of JSON take them;
    True is none."""
    return (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
    )


def clean(field: str, text: object, limit: int | None = MAX_PROMPT) -> str:
    """Return a text that a person typed without control, zero-width and other invisible
    characters.

    Letters come back in Unicode's composed form (NFC).

    Raises:
        RequestError: It is no text, or has more characters than `limit`, if that is
            given.
    """
    if not isinstance(text, str):
        raise RequestError(field, f"Expected text, got {shorten(text)}.")
    if limit is not None and len(text) > limit:
        raise RequestError(
            field, f"{len(text)} characters are too many. Shorten it to {limit}."
        )
    return "".join(_seen(c) for c in unicodedata.normalize("NFC", text))


def _seen(character: str) -> str:
    """Return the character, a space for a tab or the like, or nothing if it is
    invisible."""
    if character.isspace():
        return character if character == "\n" else " "
    is_invisible = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")
    return "" if is_invisible else character
