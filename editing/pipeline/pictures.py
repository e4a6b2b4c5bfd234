"""Frames with regions and attention painted over them, and GIFs; NumPy and Pillow only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import GifImagePlugin, Image, ImageChops

Frame = UInt8[np.ndarray, "height width 3"]
_SHORTEST = 2  # hundredths of a second that a frame of a GIF stays: players take less for ten
_LONGEST = 655_350  # milliseconds that a frame of a GIF can stay


def tint(frame: Frame, labels: UInt8[np.ndarray, "height width"], colors: dict[int, str]) -> Frame:
    """Tint each region of a frame with its colour, "#rrggbb" by label, and draw its rim; 0 is background."""
    wash = np.zeros((256, 1), np.float32)
    table = np.zeros((256, 3), np.float32)
    for label, color in colors.items():
        table[label], wash[label] = rgb(color), 0.42
    alpha = wash[labels]
    alpha[_rim(labels) & (alpha[..., 0] > 0)] = 0.95
    return (frame * (1 - alpha) + table[labels] * alpha).astype(np.uint8)


def washed(frame: Frame, area: Bool[np.ndarray, "gh gw"], color: str) -> Frame:
    """Tint an area of a frame, given on any grid, with one colour, "#rrggbb"."""
    sides = zip(frame.shape[:2], area.shape, strict=True)
    cells = (np.arange(side) * count // side for side, count in sides)
    return tint(frame, area[np.ix_(*cells)].astype(np.uint8), {1: color})


def heat(frame: Frame, values: Float[np.ndarray, "gh gw"], color: str) -> Frame:
    """Draw a map, 0..1 on any grid, over the darkened grey frame: from dark through "#rrggbb" to white."""
    height, width = frame.shape[:2]
    small = Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))
    level = (
        np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32)[..., None]
        / 255
    )
    base = np.asarray(rgb(color), np.float32)
    # A dark colour on a dark frame would not be seen: lift it, then let the hottest places go white.
    base = base + (255 - base) * max(0.0, 0.45 - float(base.mean()) / 255)
    hot = base + (255 - base) * np.clip((level - 0.6) / 0.4, 0, 1) * 0.7
    grey = frame.mean(-1, keepdims=True) * 0.4
    alpha = level**0.7
    return (grey * (1 - alpha) + hot * alpha).astype(np.uint8)


def rgb(color: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb", 0..255."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def write_gif(
    path: Path,
    frames: Iterable[Frame],
    fps: Fraction,
    *,
    times: Sequence[Fraction] | None = None,
    duration: Fraction | None = None,
    comment: str = "",
) -> None:
    """Write an endless GIF, a frame at a time; Pillow's own writer keeps all of them.

    Args:
        path: File to write.
        frames: RGB, of one size.
        fps: Frames per second; a GIF counts hundredths of a second.
        times: Seconds of each frame from the first, if the rate varies.
        duration: Seconds to the end of the last frame; None lets it last 1 / fps. Only with `times`.
        comment: Comment of the file.
    """
    with path.open("wb") as file:
        for index, (image, corner, lasts) in enumerate(
            _changes(frames, _lasting(fps, times, duration))
        ):
            if index == 0:
                facts = {"loop": 0, "duration": lasts, "comment": comment.encode()}
                file.writelines(GifImagePlugin.getheader(image, info=facts)[0])
            # Every frame has its own colours; those of the first are in the header.
            more = {"include_color_table": index > 0, "duration": min(lasts, _LONGEST)}
            file.writelines(GifImagePlugin.getdata(image, corner, **more))
        file.write(b";")


def _lasting(
    fps: Fraction, times: Sequence[Fraction] | None, duration: Fraction | None
) -> Iterator[int]:
    """For how many milliseconds each frame of a GIF stays: they add up to its time.

    0 for a frame that would pass sooner than players allow; the next one takes its time.
    """
    ends = (number / fps for number in count(1))
    if times is not None:
        ends = iter([*times[1:], times[-1] + 1 / fps if duration is None else duration])
    start = 0
    for end in (round(100 * time) for time in ends):
        lasts = end - start if end - start >= _SHORTEST else 0 if start else _SHORTEST
        start += lasts
        yield 10 * lasts


class _Change(NamedTuple):
    """What one frame of a GIF changes, its top left corner (x, y), and how many milliseconds it stays."""

    image: Image.Image
    corner: tuple[int, int]
    lasts: int


def _changes(frames: Iterable[Frame], lasting: Iterator[int]) -> Iterator[_Change]:
    """The changes from frame to frame, in up to 256 colours; an unchanged frame extends the last one."""
    last: _Change | None = None
    shown = Image.new("RGB", (0, 0))
    for frame, lasts in zip(frames, lasting, strict=False):
        if not lasts:
            continue
        image = Image.fromarray(frame).convert("P", palette=Image.Palette.ADAPTIVE)
        colors = image.convert("RGB")
        box = ImageChops.difference(shown, colors).getbbox() if last else (0, 0, *image.size)
        shown = colors
        if last and box is None:
            last = last._replace(lasts=last.lasts + lasts)
        elif box:
            if last:
                yield last
            last = _Change(image.crop(box), box[:2], lasts)
    if last:
        yield last


def _rim(labels: UInt8[np.ndarray, "height width"]) -> np.ndarray:
    """True within two pixels of another label."""
    rim = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            rim |= np.roll(labels, shift, axis) != labels
    return rim
