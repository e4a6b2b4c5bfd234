"""Meaning of a picture of a mask: the region of each of its pixels.

One rule for files, folders, archives and videos, which docs/projects.md has as a table.
What is decided holds for all pictures of a mask, since one of them may be empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image, ImageOps

from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.label_map import (
    DARK,
    EVEN,
    FILE,
    PALETTE,
    Called,
    Colors,
    are_near,
    filled,
    hex_of,
    labelled_by,
    matched,
    nearest_labels,
    published,
    rgb_of,
    strange_color,
)
from regrain.editing.media.lazy_frames import Grey, Rgb

_CLASSES = 20  # labels of PASCAL VOC, the colours of which a codec may have changed
_WHITE = "#ffffff"
_MATTE = 1  # the label of a picture that shows one mask
_INSIDE = 128  # grey levels from which a pixel of a ramp is inside
_GREYS = 8  # labels of a grey picture, which has no colours to tell more of them apart
_FULL = 65535  # white, with 16 bits
_DEPTH = 257  # levels of 16 bits in one of 8
_GENTLE = 16  # grey levels by which a pixel in a ramp differs from those next to it
_SHARE = 0.01  # of the pixels of all masks that a colour has at least
_KNOWN = 0.9  # of the pixels of masks that the colours must account for
_LEVEL = 32  # grey levels by which a pixel within a mask differs from those next to it
_TINGE = 24  # levels between the channels of a grey pixel, where a codec has mixed them
_TINGED = 0.05  # of its bright pixels that are more so at most, in a grey picture
_MOST = 0.6  # of the border that a ground has at least
_STEPS = 32  # bins of a channel
_TRIED = 64  # most frequent bins that are looked at
_LOOKED_AT = 1024  # pixels of a side in which colours are sought
_LOW, _HIGH = 85, 170  # levels of a channel that is empty, and of one that is full
_EXACT = 8  # levels by which a colour that no codec changed is off where it is even
_CLEAR = 6  # grey levels between two that no codec makes up


class Picture(NamedTuple):
    """A picture of a mask as it is stored.

    Attributes:
        pixels: [height, width] numbers, an index or a grey level; or [height, width, 3]
            colours, not all of them grey.
        name: Its name in errors.
        alpha: 0..255, where it has one.
        is_indexed: Whether the numbers are an index into colours.
        is_colored: Whether it is stored as colours, even if all are grey.
        is_lossy: Whether a codec changed the colours.
        is_deep: Whether its greys had 16 bits.
    """

    pixels: UInt8[np.ndarray, "height width ..."]
    name: str
    alpha: Grey | None = None
    is_indexed: bool = False
    is_colored: bool = False
    is_lossy: bool = False
    is_deep: bool = False


def default_color(label: int) -> str:
    """Return the default colour of a label, "#rrggbb"."""
    return PALETTE[(label - 1) % len(PALETTE)]


def palette(colors: Colors) -> UInt8[np.ndarray, "256 3"]:
    """Return the RGB of every label from its "#rrggbb"; black for labels without a
    colour."""
    table = np.zeros((256, 3), np.uint8)
    for label, color in colors.items():
        table[label] = rgb_of(color)
    return table


def picture_of(image: Image.Image, file: Path) -> Picture:
    """Return the picture in an open file, upright.

    Raises:
        MaskError: It has numbers that are no labels.
    """
    name = file.name
    # those that keep their colours only about
    is_lossy = image.format in ("JPEG", "MPO")
    if image.format == "WEBP":
        with file.open("rb") as opened:
            is_lossy = b"VP8L" not in opened.read(128)
    image = ImageOps.exif_transpose(image)
    if image.mode == "P" and _says_by_index(image):
        return Picture(np.asarray(image), name, is_indexed=True)
    if image.mode[0] in "FI":
        grey, is_deep = _in_8_bits(np.asarray(image), name)
        return Picture(grey, name, is_deep=is_deep)
    alphas = ("LA", "RGBA", "RGBa", "PA")
    has_alpha = "transparency" in image.info or image.mode in alphas
    values = np.asarray(image.convert("RGBA"))
    alpha = values[..., 3] if has_alpha else None
    picture = _of_colors(values[..., :3], name, alpha, is_lossy)
    return picture._replace(is_colored=image.mode not in ("1", "L", "LA"))


def picture_in_video(
    frame: Rgb,
    name: str,
    alpha: Grey | None = None,
) -> Picture:
    """Return the picture in a frame of a video, whose alpha a codec may have
    changed."""
    if alpha is not None:
        alpha = np.where(alpha >= _INSIDE, np.uint8(255), np.uint8(0))
    return _of_colors(frame, name, alpha, is_lossy=True)


def _says_by_index(image: Image.Image) -> bool:
    """Tell whether the index of a picture is its label, and not just a way to store its
    colours.

    It is if black stands first, unless the colours are all the greys of a soft mask, or
    all the same with another alpha.
    """
    used = np.flatnonzero(np.bincount(np.asarray(image).ravel(), minlength=256))
    table = np.zeros((256, 3), np.uint8)
    given = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    table[: len(given)] = given[:256]
    colors = table[used]
    distinct = len(np.unique(colors, axis=0))
    if len(used) > distinct:  # labels without a colour of their own
        return distinct > 1 or "transparency" not in image.info
    if table[0].any():
        return False
    is_grey = (colors == colors[:, :1]).all()
    is_ramp = (colors[:, 0] == used).all()
    return not (is_grey and (is_ramp or len(used) > _GREYS))


def _of_colors(
    colors: Rgb,
    name: str,
    alpha: Grey | None,
    is_lossy: bool,
) -> Picture:
    """Return a picture of colours; if all are grey, of their levels."""
    spread = colors.max(-1) - colors.min(-1)
    tinged = spread > (_TINGE if is_lossy else 0)
    bright = np.count_nonzero(colors.max(-1) > DARK)
    is_grey = np.count_nonzero(tinged) <= (_TINGED * bright if is_lossy else 0)
    pixels = colors[..., 1] if is_grey else colors
    return Picture(pixels, name, alpha, is_colored=True, is_lossy=is_lossy)


@dataclass(frozen=True)
class Meaning:
    """Meaning of the pictures of a mask.

    Attributes:
        form: "labels", "soft" (one mask in grey), "alpha" (one in the alpha channel) or
            "colors".
        colors: "#rrggbb" by label, of that form.
        matte: Label of one mask.
        opaque: Opacity from which a pixel counts.
        above: Grey level, or opacity, from which a pixel is in one mask.
    """

    form: str
    colors: Colors = field(default_factory=dict)
    matte: int = _MATTE
    opaque: int = 0
    above: int = _INSIDE

    def labels(self, picture: Picture) -> Grey:
        """Return the label of each pixel; 0 is the background.

        Raises:
            MaskError: The picture has another form than those that were looked at, or a
                number that is no label.
        """
        shown = covered(picture, self.opaque)
        if self.form == "colors":
            return nearest_labels(in_colors(shown), self.colors)
        grey = shown.pixels if self.form != "alpha" else picture.alpha
        if grey is None:
            raise MaskError(
                "masks",
                f"{shorten(picture.name)} has no alpha channel, but others "
                "have. Use one form for all.",
            )
        if grey.ndim > 2:
            raise MaskError(
                "masks",
                f"{shorten(picture.name)} has colours, but others have numbers. "
                "Use one form for all.",
            )
        if self.form == "labels" or picture.is_indexed:
            return grey
        return np.where(grey >= self.above, np.uint8(self.matte), np.uint8(0))


def _in_8_bits(
    numbers: Num[np.ndarray, "height width"], name: str
) -> tuple[Grey, bool]:
    """Return numbers as labels or grey levels, 0 to 255, and whether they are levels of
    16 bits; MaskError if they are neither, nor shares of white."""
    levels = np.unique(numbers)
    lowest, highest = levels[0], levels[-1]
    if numbers.dtype.kind == "f" and 0 <= lowest <= highest <= 1:
        return np.rint(255 * numbers).astype(np.uint8), False
    if not 0 <= lowest <= highest <= _FULL or (levels % 1).any():
        raise MaskError(
            "masks",
            f"{shorten(name)} has numbers from {lowest:g} to {highest:g}. Use 0 to 1, "
            "or labels from 0 to 255.",
        )
    if highest <= 255:
        return numbers.astype(np.uint8), False
    is_exact = highest == _FULL or not (levels % _DEPTH).any()
    if not is_exact and 2 < len(levels) <= _GREYS + 1:
        raise MaskError(
            "masks",
            f"{shorten(name)} has label {highest:g}. Use labels from 1 to 255.",
        )
    return np.rint(numbers / _DEPTH).astype(np.uint8), True


def understand(
    pictures: Iterable[Picture], known: Colors, labels: Collection[int] = ()
) -> Meaning:
    """Decide what the pictures of a mask mean.

    Args:
        pictures: As many as are looked at.
        known: "#rrggbb" of labels that colours may be; others are as in `PALETTE`, as
            published, or get the labels of other regions or the next free ones.
        labels: Labels of regions; those of `known` if there are none. One mask is
            region 1, unless white is the known colour of another; or the only region.

    Raises:
        MaskError: It cannot be told, or they are no masks.
    """
    wanted = set(labels or known)
    white = {label for label, color in known.items() if color.lower() == _WHITE}
    usual = white or wanted
    is_other = len(usual) == 1 and (white or _MATTE not in wanted)
    matte = min(usual) if is_other else _MATTE
    survey = _Survey(known, wanted)
    for picture in pictures:
        survey.add(picture)
    return survey.meaning(matte)


def meaning_of(pictures: Iterable[Picture], called: Mapping[int, Called]) -> Meaning:
    """Return what pictures mean whose colours have names.

    Raises:
        MaskError: One has a colour without a name.
    """
    colors = {label: one.color for label, one in called.items()}
    for picture in pictures:
        strange = strange_color(in_colors(picture), colors.values())
        if strange:
            raise MaskError(
                "masks",
                f"{shorten(picture.name)} has the colour {strange}, which {FILE} "
                "does not name. Export them again, as PNG.",
            )
    return Meaning("colors", colors=colors)


class _Greys:
    """Grey levels that have been seen in the pictures of a mask."""

    def __init__(self) -> None:
        self._all = np.zeros(256, np.int64)
        self._even = np.zeros(256, np.int64)  # of pixels like those around them
        self._is_gentle = False
        self._is_lossy = False
        self.is_deep = False
        self.name = ""  # the first picture, or the first with many greys
        self.many = False  # whether one has more greys than labels

    def add(self, picture: Picture) -> None:
        """Look at the greys of a picture."""
        grey = picture.pixels
        spread = int(grey.max()) - int(grey.min())
        contrast = _contrast(grey)
        is_even = contrast <= spread // (8 if picture.is_lossy else 32)
        levels = np.bincount(grey.ravel(), minlength=256)
        self._all += levels
        self._even += np.bincount(grey[is_even], minlength=256)
        self._is_lossy |= picture.is_lossy
        self.is_deep |= picture.is_deep
        is_many = picture.is_lossy or np.count_nonzero(levels[1:]) > _GREYS
        if not self.name or is_many > self.many:
            self.name = picture.name
        self.many |= is_many
        if is_many and contrast.any():
            steps = contrast[contrast > 0]
            self._is_gentle |= bool(np.median(steps) <= _GENTLE)

    @property
    def levels(self) -> list[int]:
        """Levels that occur."""
        return np.flatnonzero(self._all).tolist()

    def between(self) -> int | None:
        """Return the level in the middle of the only two, other than at edges; None if
        there are more."""
        levels = np.arange(256)
        first = int(np.argmax(self._all))
        far = (levels - first) ** 2
        second = int(np.argmax(self._all * far))
        low, high = sorted((first, second))
        off = np.abs(levels[:, None] - [low, high])
        near = off <= (high - low) // 8
        is_odd = ~near.any(-1) if self.many else off.all(-1)
        odd = self._all[is_odd].sum()
        even = self._even[is_odd].sum()
        is_edge = 2 * even <= odd < self._all.sum() / 2
        middle = _middle((low, high))
        parts = [part.sum() for part in np.split(self._all, [middle])]
        is_even = 4 * (self._even @ near) > parts
        is_usual = low < DARK and high >= 256 - DARK
        is_area = is_even.any() if is_usual else is_even.all()
        is_noise = self.many and high - low < _CLEAR
        if is_noise or (odd and not (is_edge and is_area)):
            return None
        # half of white, as programs count
        return _INSIDE if is_usual else middle

    def has_peaks(self) -> bool:
        """Tell whether most greys that a codec changed are about a few levels."""
        total = self._all.sum()
        frequent = self._all[self._all > _SHARE * total].sum()
        is_lit = self._is_lossy and self._all[DARK:].any()
        return bool(is_lit and 3 * frequent > 2 * total)

    def is_ramp(self) -> bool:
        """Tell whether more greys than labels are those of one mask: bright, and alike
        where they are neighbours; or of none."""
        is_bright = self._all[_INSIDE:].any()
        return not self._all[1:].any() or bool(self._is_gentle and is_bright)


class _Survey:
    """What has been seen in the pictures of a mask, whose regions may be those `wanted`;
    `known` is that of `understand`."""

    def __init__(self, known: Colors, wanted: set[int]) -> None:
        self._known = known
        self._wanted = wanted
        self._ours = filled(known, PALETTE)
        # those of which every colour may be: all pixels have one, or are black
        self._exact = [self._ours, published()]
        self._dark = [
            color
            for color in map(rgb_of, self._ours.values())
            if 0 < color.max() <= DARK
        ]
        self._counts = np.zeros(_STEPS**3, np.int64)
        self._sums = np.zeros((_STEPS**3, 3))
        self._greys = _Greys()
        self._colored = ""  # the first picture with colours
        self._numbered = ""  # the first one with labels
        self._is_lit = False  # whether a picture stored as colours shows any
        self._opacities: set[int] = set()
        self._grounds: list[np.ndarray] = []  # of each picture, see `_ground`
        self._is_lossy = False
        self._overlaps = ""  # the first picture in which channels do, see `_overlap`

    def add(self, picture: Picture) -> None:
        """Look at a picture."""
        if picture.alpha is not None:
            ends = {int(picture.alpha.min()), int(picture.alpha.max())}
            self._opacities |= ends
            picture = covered(picture, _middle(ends))
        if picture.is_indexed:
            if picture.pixels.any():
                self._numbered = self._numbered or picture.name
            return
        self._is_lossy |= picture.is_lossy
        if picture.pixels.ndim > 2:
            self._colored = self._colored or picture.name
            if not self._overlaps and _overlap(picture.pixels):
                self._overlaps = picture.name
        else:
            self._greys.add(picture)
        colors = in_colors(picture)
        self._grounds.append(_ground(colors))
        if picture.is_colored or picture.is_lossy:
            self._add_colors(colors)
        elif picture.pixels.any():
            self._numbered = self._numbered or picture.name

    def _add_colors(self, picture: Rgb) -> None:
        """Count bright pixels within masks by bins of colour, and add them up."""
        self._exact = [
            colors
            for colors in self._exact
            if strange_color(picture, colors.values()) is None
        ]
        self._is_lit = self._is_lit or bool(picture.any())
        # bright pixels, or more like a dark colour than like black, away from edges
        step = max(1, max(picture.shape) // _LOOKED_AT)
        seen = picture[::step, ::step]
        is_bright = seen.max(-1) > DARK
        for color in self._dark:
            is_bright |= 2 * (seen @ color) > color @ color
        within = is_bright & (_contrast(seen) < _LEVEL)
        chosen = within if within.any() else is_bright
        bright = seen[chosen].astype(np.int64)
        bins = bright // (256 // _STEPS) @ [_STEPS**2, _STEPS, 1]
        self._counts += np.bincount(bins, minlength=len(self._counts))
        np.add.at(self._sums, bins, bright)

    def meaning(self, matte: int) -> Meaning:
        """Return what all the pictures mean, one mask being of the label `matte`; see
        `understand`."""
        opaque = _middle(self._opacities)
        has_alpha = len(self._opacities) > 1
        by_alpha = Meaning("alpha", matte=matte, above=opaque)
        is_grey = self._greys.many or len({*self._greys.levels} - {0}) < 2
        if has_alpha and not self._colored and is_grey:
            return by_alpha
        # The colours to which all pictures keep. Published ones have a grey, which in
        # grey pictures is just one; and the only region may have any colour.
        is_open = self._colored and len(self._wanted) != 1
        exact = [one for one in self._exact if is_open or one == self._ours]
        colors = exact[0] if exact and self._is_lit else None
        above = None
        if colors is None and not self._colored:
            above = self._above()
        is_even = above is None and self._greys.has_peaks()
        if colors is not None or self._colored or is_even:
            colors = colors or self._find_colors()
            if colors is None and has_alpha:
                return by_alpha
            name = shorten(self._colored or self._greys.name)
            if self._numbered:
                raise MaskError(
                    "masks",
                    f"{name} has colours, but {shorten(self._numbered)} has numbers. "
                    "Use one form for all.",
                )
            if colors is None:
                raise MaskError(
                    "masks",
                    f"{name} has too many colours for masks. Use a colour for each "
                    "object, on black.",
                )
            return Meaning("colors", colors=colors or {}, opaque=opaque)
        form = "labels" if above is None else "soft"
        return Meaning(form, {}, matte, opaque, above or 0)

    def _above(self) -> int | None:
        """Return the grey level from which a pixel is in the one mask; None if each
        level is a region of its own. MaskError if it cannot be told."""
        greys = self._greys
        numbers = {*greys.levels} - {0}
        is_small = len(numbers) == 1 and max(numbers) <= _GREYS and not greys.is_deep
        is_label = is_small or numbers <= self._wanted - {255}
        if is_label and not greys.many:
            return None
        middle = greys.between()
        if middle is not None:
            if middle != _INSIDE:
                self._check_ground(middle)
            return middle
        if greys.has_peaks() or (not greys.many and 0 in greys.levels):
            return None
        if greys.is_ramp():
            self._check_ground()
            return _INSIDE
        raise MaskError(
            "masks",
            f"{shorten(greys.name)} has more than {_GREYS} greys, no black, or greys "
            "that a codec changed: labels, or one soft mask. Save labels as indexed "
            "PNG, or a soft mask with white inside.",
        )

    def _check_ground(self, level: int = _LEVEL) -> None:
        """Refuse a ground brighter than this that all pictures have, by MaskError,
        unless alpha tells."""
        grounds = np.array(self._grounds)
        is_one = are_near(grounds, grounds[0]).all()
        if len(self._opacities) < 2 and is_one and grounds[0].max() > level:
            raise MaskError(
                "masks",
                f"{shorten(self._colored or self._greys.name)} has "
                f"{hex_of(grounds[0])} along its border: the ground of things cut out, "
                "or a region. Save masks in white on black, or give a region this "
                "colour.",
            )

    def _check_overlaps(self) -> None:
        """Refuse channels that overlap by MaskError."""
        if self._overlaps:
            raise MaskError(
                "masks",
                f"{shorten(self._overlaps)} has areas of two pure channels that meet at "
                "one of both: masks packed in red, green and blue that overlap, or "
                "regions. Save a folder for each mask, or give regions these colours.",
            )

    def _find_colors(self) -> dict[int, str] | None:
        """Return "#rrggbb" by label of the colours that were seen; None if they are not
        those of masks."""
        used = self._counts > 0
        counts = self._counts[used]
        means = self._sums[used] / counts[:, None]
        # the means of frequent bins, each unlike those before it
        colors: list[np.ndarray] = []
        for place in np.argsort(-counts)[:_TRIED]:
            is_seen = counts[place] > _SHARE * counts.sum()
            if is_seen and not any(are_near(means[place], one) for one in colors):
                colors.append(means[place])
        near = np.any([are_near(means, color, EVEN) for color in colors], axis=0)
        is_known = counts[near].sum() >= _KNOWN * counts.sum()
        labelled = matched(colors, self._ours) or None if is_known else None
        if labelled is None:
            self._check_ground()
            if not is_known:
                return None
            self._check_overlaps()
            if self._is_lossy:
                labelled = matched(colors, published(_CLASSES))
            else:
                labelled = matched(colors, published(), _EXACT)
            if len(colors) == len(self._wanted) == 1:
                labelled = None
        labelled = labelled or labelled_by(colors, self._known, self._wanted)
        return {label: hex_of(color) for label, color in sorted(labelled.items())}


def covered(picture: Picture, opaque: int) -> Picture:
    """Return a picture that is black where it is less than opaque."""
    if picture.alpha is None:
        return picture
    inside = picture.alpha >= opaque
    if picture.pixels.ndim > 2:
        inside = inside[..., None]
    return picture._replace(pixels=np.where(inside, picture.pixels, np.uint8(0)))


def in_colors(picture: Picture) -> Rgb:
    """Return a picture in colours."""
    pixels = picture.pixels
    return pixels if pixels.ndim > 2 else np.repeat(pixels[..., None], 3, axis=-1)


def _contrast(picture: Grey | Rgb) -> Grey:
    """Return the most by which a channel differs among each pixel and those around
    it."""
    import cv2  # slow to import, and seldom needed

    around = np.ones((3, 3), np.uint8)
    picture = np.ascontiguousarray(picture)
    spread = cv2.dilate(picture, around) - cv2.erode(picture, around)
    return spread.max(-1) if spread.ndim > 2 else spread


def _overlap(picture: Rgb) -> bool:
    """Tell whether two channels meet at an area of both, as masks packed in channels do
    where they overlap."""
    import cv2  # slow to import, and seldom needed

    around = np.ones((7, 7), np.uint8)
    is_pure = ((picture < _LOW) | (picture >= _HIGH)).all(-1)
    channels = np.where(is_pure, (picture >= _HIGH) @ [1, 2, 4], 0)
    for one, other in ((1, 2), (1, 4), (2, 4)):
        both = (channels == one + other).astype(np.uint8)
        beside = channels[cv2.dilate(both, around) > 0]
        if np.isin([one, other], beside).all():
            return True
    return False


def _ground(picture: Rgb) -> np.ndarray:
    """Return the colour of most of the border; black if there is none."""
    edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
    border = np.concatenate(edges)
    color = np.median(border, axis=0)
    return color * (are_near(border, color).mean() > _MOST)


def _middle(levels: Collection[int]) -> int:
    """Return the level in the middle between the lowest and the highest, rounded up."""
    return (min(levels, default=0) + max(levels, default=0) + 1) // 2
