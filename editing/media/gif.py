"""Write GIFs, encoded by PyAV."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, cast

import av
import av.filter
import numpy as np

from regrain.editing.media.lazy_frames import Rgb

_UNIT = Fraction(1, 100)  # seconds; a GIF counts in these
_SHORTEST = 2  # units that a frame stays: players take less for ten
_LONGEST = 65_535  # units that a frame can stay


def write_gif(
    path: Path,
    frames: Iterable[Rgb],
    ends: Sequence[Fraction],
    comment: str = "",
) -> None:
    """Write an endless GIF, a frame at a time, each in 256 colours of its own.

    Frames that would pass sooner than players allow are left out; the next one takes
    their time.

    Args:
        path: File to write.
        frames: RGB, of one size.
        ends: Seconds from the first frame to the end of each frame, rounded to
            hundredths.
        comment: Comment of the file.

    Raises:
        ValueError: There is not one frame for each of `ends`.
    """
    stays: list[int] = []  # hundredths for which each frame stays; 0 for one left out
    start = 0
    for end in ends:
        stay = round(end / _UNIT) - start
        if stay < _SHORTEST:
            stay = 0 if stays else _SHORTEST  # the first frame is always shown
        stays.append(min(stay, _LONGEST))
        start += stay
    with tempfile.TemporaryFile() as encoded:  # FFmpeg writes no comments into a GIF
        _encode(encoded, frames, stays)
        encoded.seek(0)
        with path.open("wb") as file:
            # The header with its colour table, after which blocks follow (GIF89a, 17
            # to 19), and first that of the comment (24).
            head = encoded.read(13)
            flags = head[10]
            colors = 2 << (flags & 7) if flags & 0x80 else 0
            file.write(head + encoded.read(3 * colors))
            text = comment.encode()[:255]
            if text:
                file.write(b"\x21\xfe" + bytes([len(text)]) + text + b"\x00")
            shutil.copyfileobj(encoded, file)


def _encode(
    file: BinaryIO,
    frames: Iterable[Rgb],
    stays: Sequence[int],
) -> None:
    last = [stay for stay in stays if stay][-1]
    options = {"loop": "0", "final_delay": str(last)}
    with av.open(file, "w", format="gif", options=options) as container:
        stream = container.add_stream("gif", rate=round(1 / _UNIT))
        palette = None
        at = 0
        for frame, stay in zip(frames, stays, strict=True):
            if not stay:
                continue
            if palette is None:
                height, width = frame.shape[:2]
                stream.width = width
                stream.height = height
                stream.pix_fmt = "pal8"
                palette = _palette_graph(width, height)
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame), format="rgb24"
            )
            picture.pts = at
            picture.time_base = _UNIT
            palette.push(picture)
            container.mux(stream.encode(cast(av.VideoFrame, palette.pull())))
            at += stay
        container.mux(stream.encode(None))


def _palette_graph(width: int, height: int) -> av.filter.Graph:
    """Make a graph of filters that reduces each frame to its own 256 colours, without
    dithering.

    Dithered, frames of real clips are a tenth to a half larger and farther from the
    source.
    """
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("rgb24"), time_base=_UNIT
    )
    split = graph.add("split")
    find = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=none")
    source.link_to(split)
    split.link_to(find, 0, 0)
    split.link_to(use, 1, 0)
    find.link_to(use, 0, 1)
    use.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
