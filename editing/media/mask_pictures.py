"""Meaning of a picture of a mask: the region of each of its pixels.

One rule for files, folders, archives and videos, which docs/projects.md has as a table.
What is decided holds for all pictures of a mask, since one of them may be empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num, UInt8
from PIL import Image, ImageOps

from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.images import count_pictures
from regrain.editing.media.lazy_frames import Grey, Rgb

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
_FORMER = (
    "#3b82f6",
    "#f97316",
    "#22c55e",
    "#ec4899",
    "#eab308",
    "#8b5cf6",
    "#14b8a6",
    "#ef4444",
)
"""Those of mask files that earlier versions wrote."""
_WHITE = "#ffffff"
_MATTE = 1  # the label of a picture that shows one mask
_INSIDE = 128  # grey levels from which a pixel of a soft mask is inside
_GREYS = 8  # labels of a grey picture, which has no colours to tell more of them apart
_FULL = 65535  # white, with 16 bits
_DEPTH = 257  # levels of 16 bits in one of 8
_LOW, _HIGH = 16, 239  # grey levels that are more than noise about black and white
_GENTLE = 8  # grey levels by which neighbours in a ramp differ at most
_DARK = 64  # grey levels below which a pixel of colours is background
_ALIKE = 48  # grey levels within which two colours are the same
_EVEN = 24  # grey levels by which the pixels of a mask differ from its colour
_SHARE = 0.01  # of the pixels of all masks that a colour has at least
_KNOWN = 0.9  # of the pixels of masks that the colours must account for
_LEVEL = 32  # grey levels by which a pixel within a mask differs from those next to it
_TINGE = 24  # levels between the channels of a grey pixel, where a codec has mixed them
_TINGED = 0.05  # of its bright pixels that are more so at most, in a grey picture
_STEPS = 32  # bins of a channel
_TRIED = 64  # most frequent bins that are looked at
_LOOKED_AT = 1024  # pixels of a side in which colours are sought
_PEAK = 4  # grey levels about that of an even area
_PEAKS = 4  # even areas of grey that a video may have
_PACKED = np.array([1 << 16, 1 << 8, 1])  # a colour as one number


Colors = Mapping[int, str]
"""Colours, "#rrggbb", by label."""


class Picture(NamedTuple):
    """A picture of a mask as it is stored.

    Attributes:
        pixels: [height, width] numbers, an index or a grey level of any depth; or
            [height, width, 3] colours, not all of them grey.
        name: Its name in errors.
        alpha: 0..255, where it has one.
        is_indexed: Whether the numbers are an index into colours.
        is_colored: Whether it is stored as colours, even if all are grey.
        is_lossy: Whether a codec changed the colours.
    """

    pixels: Num[np.ndarray, "height width ..."]
    name: str
    alpha: Grey | None = None
    is_indexed: bool = False
    is_colored: bool = False
    is_lossy: bool = False


def default_color(label: int) -> str:
    """Return the default colour of a label, "#rrggbb"."""
    return PALETTE[(label - 1) % len(PALETTE)]


def palette(colors: Colors) -> UInt8[np.ndarray, "256 3"]:
    """Return the RGB of every label from its "#rrggbb"; black for labels without a
    colour."""
    table = np.zeros((256, 3), np.uint8)
    for label, color in colors.items():
        table[label] = _rgb(color)
    return table


def picture_of(image: Image.Image, file: Path) -> Picture:
    """Return the picture in an open file, upright.

    Raises:
        MaskError: It has several pictures, or numbers that are no labels.
    """
    name = file.name
    pictures = count_pictures(image)
    if pictures > 1:
        raise MaskError(
            "masks", f"{shorten(name)} holds {pictures} pictures. Use a file for each."
        )
    is_lossy = image.format in ("JPEG", "MPO")  # keeps its colours only about
    if image.format == "WEBP":
        with file.open("rb") as opened:
            is_lossy = b"VP8L" not in opened.read(64)
    image = ImageOps.exif_transpose(image)
    if image.mode == "P" and _says_by_index(image):
        return Picture(np.asarray(image), name, is_indexed=True)
    if image.mode == "F":
        return Picture(_whole_numbers(np.asarray(image), name), name)
    if image.mode.startswith("I"):
        return Picture(np.asarray(image).astype(np.int64), name)
    if "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if image.mode == "LA":
        grey, alpha = np.moveaxis(np.asarray(image), -1, 0)
        return Picture(grey, name, alpha)
    if image.mode in ("1", "L"):
        grey = np.asarray(image).astype(np.uint8)
        return Picture(grey, name, is_lossy=is_lossy)
    has_alpha = image.mode in ("RGBA", "RGBa", "PA", "La")
    values = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    alpha = values[..., 3] if has_alpha else None
    return _of_colors(values[..., :3], name, alpha, is_lossy)


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

    It is, unless black stands elsewhere than first, or the colours are all the greys of
    a soft mask, or all the same with another alpha.
    """
    used = np.flatnonzero(np.bincount(np.asarray(image).ravel(), minlength=256))
    table = np.zeros((256, 3), np.uint8)
    given = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    table[: len(given)] = given[:256]
    colors = table[used]
    distinct = len(np.unique(colors, axis=0))
    if len(used) > distinct:  # labels without a colour of their own
        return distinct > 1 or "transparency" not in image.info
    is_black = ~colors.any(-1)
    if table[0].any():
        return not is_black.any()
    is_grey = (colors == colors[:, :1]).all()
    is_ramp = (colors[:, 0] == used).all()
    return not (is_grey and (is_ramp or len(used) > _GREYS))


def _whole_numbers(
    values: Float[np.ndarray, "height width"], name: str
) -> Int[np.ndarray, "height width"]:
    """Return the numbers of a picture of real ones: shares of white, or labels."""
    if not np.isfinite(values).all():
        raise MaskError("masks", f"{shorten(name)} has values that are no numbers.")
    if values.min() >= 0 and values.max() <= 1:
        return np.rint(255 * values).astype(np.int64)
    whole = np.rint(values).astype(np.int64)
    if (whole != values).any():
        raise MaskError(
            "masks",
            f"{shorten(name)} has numbers from {values.min():g} to "
            f"{values.max():g}. Use 0 to 1, or labels.",
        )
    return whole


def _of_colors(
    colors: Rgb,
    name: str,
    alpha: Grey | None,
    is_lossy: bool,
) -> Picture:
    """Return a picture of colours; if all are grey, of their levels."""
    spread = colors.max(-1) - colors.min(-1)
    tinged = spread > (_TINGE if is_lossy else 0)
    bright = np.count_nonzero(colors.max(-1) > _DARK)
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
        is_deep: Whether grey levels have 16 bits.
    """

    form: str
    colors: Colors = field(default_factory=dict)
    matte: int = _MATTE
    opaque: int = 0
    is_deep: bool = False

    def labels(self, picture: Picture) -> Grey:
        """Return the label of each pixel; 0 is the background.

        Raises:
            MaskError: The picture has another form than those that were looked at, or a
                number that is no label.
        """
        if self.form == "colors":
            return nearest_labels(shown(picture, self.opaque), self.colors)
        if self.form == "alpha":
            if picture.alpha is None:
                raise MaskError(
                    "masks",
                    f"{shorten(picture.name)} has no alpha channel, but others "
                    "have. Use one form for all.",
                )
            inside = picture.alpha >= self.opaque
        else:
            grey = self._grey(picture)
            if self.form == "labels" or picture.is_indexed:
                return grey.astype(np.uint8)
            inside = grey >= _INSIDE
        return np.where(inside, np.uint8(self.matte), np.uint8(0))

    def _grey(self, picture: Picture) -> Num[np.ndarray, "height width"]:
        if picture.pixels.ndim > 2:
            raise MaskError(
                "masks",
                f"{shorten(picture.name)} has colours, but others have numbers. "
                "Use one form for all.",
            )
        is_stored_deep = self.is_deep and picture.pixels.dtype != np.uint8
        grey = _in_8_bits(picture.pixels, picture.name, is_stored_deep)
        if picture.alpha is not None:
            grey = np.where(picture.alpha >= self.opaque, grey, 0)
        return grey


def _in_8_bits(
    numbers: Num[np.ndarray, "height width"], name: str, is_deep: bool
) -> Num[np.ndarray, "height width"]:
    """Return numbers as labels or grey levels, 0 to 255, after checking that they are
    such."""
    if numbers.dtype == np.uint8:
        return numbers
    if numbers.min() < 0 or numbers.max() > _FULL:
        raise MaskError(
            "masks",
            f"{shorten(name)} has numbers from {numbers.min()} to "
            f"{numbers.max()}. Use labels from 0 to 255.",
        )
    if is_deep:
        return np.rint(numbers / _DEPTH).astype(np.uint8)
    return numbers.astype(np.uint8)


def _is_deep(picture: Picture) -> bool:
    """Tell whether the numbers of a picture are grey levels of 16 bits; MaskError if
    they are labels beyond 255."""
    numbers = picture.pixels
    if numbers.dtype == np.uint8 or numbers.ndim > 2 or numbers.max() <= 255:
        return False
    _in_8_bits(numbers, picture.name, is_deep=True)
    is_exact = not (numbers % _DEPTH).any()
    if is_exact or numbers.max() == _FULL or len(np.unique(numbers)) > _GREYS + 1:
        return True
    raise MaskError(
        "masks",
        f"{shorten(picture.name)} has label {numbers.max()}. Use labels from 1 to 255.",
    )


def understand(
    pictures: Iterable[Picture], known: Colors, labels: Collection[int] = ()
) -> Meaning:
    """Decide what the pictures of a mask mean.

    Args:
        pictures: As many as are looked at.
        known: "#rrggbb" of labels that colours may be; others are as in `PALETTE`, or
            get the next free ones.
        labels: Labels of regions. A single mask is region 1, unless white is the known
            colour of another; or region 255, which older projects have, where there is
            no region 1.

    Raises:
        MaskError: It cannot be told, or they are no masks.
    """
    matte = 255 if 255 in labels and _MATTE not in labels else _MATTE
    for label, color in known.items():
        if color.lower() == _WHITE:
            matte = label
            break
    survey = _Survey(known)
    for picture in pictures:
        survey.add(picture)
    return survey.meaning(matte)


class _Survey:
    """What has been seen in the pictures of a mask; `known` is that of `understand`."""

    def __init__(self, known: Colors) -> None:
        self._known = known
        # those of which every colour may be: all pixels have one, or are black
        self._exact = [_filled(known, PALETTE), _filled(known, _FORMER)]
        self._dark = [
            color
            for color in map(_rgb, self._exact[0].values())
            if 0 < color.max() <= _DARK
        ]
        self._counts = np.zeros(_STEPS**3, np.int64)
        self._sums = np.zeros((_STEPS**3, 3))
        self._seen: dict[str, str] = {}  # what greys may be: the first such picture
        self._colored = ""  # the first picture with colours
        self._numbered = ""  # the first one with labels
        self._is_deep = False
        self._is_lit = False  # whether a picture stored as colours shows any
        self._opacities: set[int] = set()
        self._under: set[int] = set()  # colours of opaque pixels, a few of them

    def add(self, picture: Picture) -> None:
        """Look at a picture."""
        opaque = self._add_alpha(picture)
        if picture.pixels.ndim > 2:
            self._colored = self._colored or picture.name
        elif not picture.is_lossy:
            self._add_numbers(picture, opaque)
            if not picture.is_colored:
                return
        else:
            self._seen.setdefault(_soft_or_even(picture.pixels), picture.name)
        self._add_colors(shown(picture, opaque))

    def _add_alpha(self, picture: Picture) -> int:
        """Look at the alpha of a picture; return that from which its pixels count."""
        if picture.alpha is None:
            return 0
        alpha = picture.alpha
        self._opacities |= {int(alpha.min()), int(alpha.max())}
        opaque = (int(alpha.max()) + 1) // 2
        if len(self._under) <= _GREYS:
            pixels = picture.pixels[alpha >= opaque]
            if picture.is_lossy:
                pixels = pixels // _LEVEL  # noise is no colours
            if pixels.ndim > 1:
                pixels = pixels @ _PACKED
            self._under |= set(np.unique(pixels)[: _GREYS + 1].tolist())
        return opaque

    def _add_numbers(self, picture: Picture, opaque: int) -> None:
        is_deep = _is_deep(picture)
        self._is_deep |= is_deep
        grey = _in_8_bits(picture.pixels, picture.name, is_deep)
        if picture.alpha is not None:
            grey = np.where(picture.alpha >= opaque, grey, 0)
        seen = _labels_or_soft(grey.astype(np.uint8), picture.is_indexed)
        self._seen.setdefault(seen, picture.name)
        if not picture.is_colored and seen != "nothing":
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
        is_bright = seen.max(-1) > _DARK
        for color in self._dark:
            is_bright |= 2 * (seen @ color) > color @ color
        within = is_bright & (_contrast(seen) < _LEVEL)
        chosen = within if within.any() else is_bright
        bright = seen[chosen].astype(np.int64)
        red, green, blue = bright.T // (256 // _STEPS)
        bins = (red * _STEPS + green) * _STEPS + blue
        self._counts += np.bincount(bins, minlength=len(self._counts))
        for channel in range(3):
            values = np.bincount(bins, bright[:, channel], len(self._counts))
            self._sums[:, channel] += values

    def meaning(self, matte: int) -> Meaning:
        """Return what all the pictures mean, one mask being of the label `matte`; see
        `understand`."""
        highest = max(self._opacities, default=0)
        opaque = (highest + 1) // 2
        has_alpha = min(self._opacities, default=0) < highest
        by_alpha = Meaning("alpha", matte=matte, opaque=opaque)
        says_by_color = self._colored or 1 < len(self._under) <= _GREYS
        if has_alpha and not says_by_color:
            return by_alpha
        colors = self._exact[0] if self._exact and self._is_lit else None
        if colors or self._colored or "even greys" in self._seen:
            colors = colors or self._find_colors()
            if colors is None and has_alpha:
                return by_alpha
            self._check_colors(colors)
            return Meaning("colors", colors=colors or {}, opaque=opaque)
        is_white = "white" in self._seen and "labels" not in self._seen
        is_many = "many" in self._seen
        is_soft = "soft" in self._seen or (is_white and not is_many)
        if is_many and not is_soft:
            raise MaskError(
                "masks",
                f"{shorten(self._seen['many'])} has more than {_GREYS} greys, "
                "which may be labels or one soft mask. Save labels as indexed "
                "PNG, or a soft mask with white inside.",
            )
        form = "soft" if is_soft else "labels"
        return Meaning(form, matte=matte, opaque=opaque, is_deep=self._is_deep)

    def _check_colors(self, colors: Colors | None) -> None:
        """Refuse colours beside numbers, and those that are not of masks."""
        name = shorten(self._colored)
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

    def _find_colors(self) -> dict[int, str] | None:
        """Return "#rrggbb" by label of the colours that were seen; None if they are not
        those of masks."""
        # the means of frequent bins, each unlike those before it
        least = _SHARE * self._counts.sum()
        colors: list[np.ndarray] = []
        for place in np.argsort(-self._counts)[:_TRIED]:
            if self._counts[place] <= least:
                break
            color = self._sums[place] / self._counts[place]
            if not any(_alike(color, other) for other in colors):
                colors.append(color)
        used = self._counts > 0
        means = self._sums[used] / self._counts[used][:, None]
        near = np.zeros(len(means), bool)
        for color in colors:
            near |= np.square(means - color).sum(-1) < _EVEN**2
        if self._counts[used][near].sum() < _KNOWN * self._counts.sum():
            return None
        labelled = _labelled(colors, self._known)
        return {label: hex_of(color) for label, color in sorted(labelled.items())}


def _filled(known: Colors, usual: Sequence[str]) -> dict[int, str]:
    """Return known colours by label, and usual ones of the labels that have none."""
    taken = {color.lower() for color in known.values()}
    colors = {
        label: color
        for label, color in enumerate(usual, 1)
        if label not in known and color not in taken
    }
    return {**known, **colors}


def strange_color(picture: Rgb, known: Iterable[str]) -> str | None:
    """Return "#rrggbb" of a colour in a picture that is neither black nor known; None
    if there is none."""
    packed = picture @ _PACKED
    expected = [0, *(int(color[1:], 16) for color in known)]
    strange = packed[~np.isin(packed, expected, kind="table")]
    return f"#{strange.min():06x}" if len(strange) else None


def shown(picture: Picture, opaque: int = 0) -> Rgb:
    """Return a picture in colours, black where it is transparent."""
    colors = picture.pixels
    if colors.ndim == 2:
        colors = np.repeat(colors[..., None].astype(np.uint8), 3, axis=-1)
    if picture.alpha is not None:
        colors = np.where((picture.alpha >= opaque)[..., None], colors, np.uint8(0))
    return colors


def _labels_or_soft(grey: Grey, is_indexed: bool) -> str:
    """Say what the numbers of a picture may be: "nothing", "labels", "white" alone,
    "soft", or "many" of which nobody knows."""
    counts = np.bincount(grey.ravel(), minlength=256)
    values = np.flatnonzero(counts[1:]) + 1
    if len(values) == 0:
        return "nothing"
    if is_indexed:
        return "labels"
    if len(values) == 1:
        return "white" if values[0] == 255 else "labels"
    if len(values) <= _GREYS:
        is_edge = counts[255] and values[0] >= _LOW and _has_thin_edges(grey, counts)
        return "soft" if is_edge else "labels"
    is_bright = values[-1] >= _INSIDE
    if is_bright and (_has_thin_edges(grey, counts) or _is_gentle(grey)):
        return "soft"
    return "many"


def _has_thin_edges(grey: Grey, counts: Int[np.ndarray, "256"]) -> bool:
    """Tell whether a picture is black and white, with other greys only between them."""
    ends = counts[:_LOW].sum() + counts[_HIGH + 1 :].sum()
    if 2 * ends <= counts.sum() or not counts[_HIGH + 1 :].any():
        return False
    between = (grey >= _LOW) & (grey <= _HIGH)
    even = between & (_contrast(grey) == 0)
    return bool(2 * even.sum() <= between.sum())


def _is_gentle(grey: Grey) -> bool:
    """Tell whether neighbours that differ do so by little, as in a ramp."""
    values = grey.astype(np.int16)
    steps = [np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)]
    differences = np.concatenate(steps)
    differences = differences[differences > 0]
    return len(differences) > 0 and float(np.median(differences)) <= _GENTLE


def _soft_or_even(grey: Grey) -> str:
    """Say what greys that a codec changed may be: "nothing", "soft", "even greys", of
    which each is a mask, or "many"."""
    if grey.max() < _DARK:
        return "nothing"
    between = (grey >= _DARK // 2) & (grey <= 255 - _DARK // 2)
    within = between & (_contrast(grey) < _LEVEL)
    if 2 * within.sum() > between.sum() and _has_peaks(grey[within], grey.size):
        return "even greys"
    return "soft" if (grey >= _INSIDE).any() else "many"


def _has_peaks(levels: UInt8[np.ndarray, " pixels"], pixels: int) -> bool:
    """Tell whether nearly all greys are about a few levels, each of a share of the
    picture."""
    counts = np.bincount(levels, minlength=256)
    total = counts.sum()
    left = counts.copy()
    for _ in range(_PEAKS):
        middle = int(np.argmax(left))
        around = slice(max(0, middle - _PEAK), middle + _PEAK + 1)
        if left[around].sum() < _SHARE / 10 * pixels:
            break
        left[around] = 0
    return bool(total > 0 and left.sum() <= (1 - _KNOWN) * 2 * total)


def _contrast(picture: Grey | Rgb) -> Grey:
    """Return the most by which a channel differs among each pixel and those around
    it."""
    import cv2  # slow to import, and seldom needed

    around = np.ones((3, 3), np.uint8)
    picture = np.ascontiguousarray(picture)
    spread = cv2.dilate(picture, around) - cv2.erode(picture, around)
    return spread.max(-1) if spread.ndim > 2 else spread


def _labelled(colors: Iterable[np.ndarray], known: Colors) -> dict[int, np.ndarray]:
    """Give each colour the first label whose known colour it is like, or else the one
    that usually has it, or else the next free one."""
    usual = [*_filled(known, PALETTE).items(), *_filled(known, _FORMER).items()]
    labelled: dict[int, np.ndarray] = {}
    unknown = []
    for color in colors:
        for label, like in usual:
            if label not in labelled and _alike(color, _rgb(like)):
                labelled[label] = color
                break
        else:
            unknown.append(color)
    for color in unknown:
        taken = labelled.keys() | known.keys()
        free = next(label for label in range(1, 256) if label not in taken)
        labelled[free] = color
    return labelled


def _rgb(color: str) -> Int[np.ndarray, "3"]:
    """Return red, green and blue of a colour "#rrggbb", 0 to 255."""
    return np.array(list(bytes.fromhex(color[1:])))


def hex_of(color: Num[np.ndarray, "3"]) -> str:
    """Write red, green and blue, 0 to 255, as "#rrggbb"."""
    return "#" + bytes(np.rint(color).astype(np.uint8)).hex()


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.square(one - other).sum()) < _ALIKE**2


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
        off = np.square(values - _rgb(color)).sum(-1)
        nearest[off < least] = label
        least = np.minimum(off, least)
    labels[is_lit] = nearest
    return labels
