"""Video files as clips. Decoding is PyAV's."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import cast

import av
import av.filter
import numpy as np
from av.video.reformatter import Interpolation

from regrain.editing.boundary import AnyPath, boundary, given_path
from regrain.editing.errors import ClipError, shorten
from regrain.editing.media.clip import (
    AudioSpan,
    Clip,
    ColorTags,
    check_size,
    stack,
    used_frames,
)
from regrain.editing.media.images import TRANSPARENT, ImageClip
from regrain.editing.media.index import (
    Decoded,
    Facts,
    Index,
    decode,
    first_frame,
    read_index,
)
from regrain.editing.media.lazy_frames import Rgb, RgbFrames, Size, check_window

# Matrices that FFmpeg converts (not YCgCo, constant luminance, ICtCp ...), as numbered
# by ISO/IEC 23091-2.
_SUPPORTED = (0, 1, 2, 4, 5, 6, 7, 9)
_UNSPECIFIED = 2
_HDR = (16, 18)  # transfers PQ and HLG, numbered there, too
# Without these a round trip through RGB darkens every pixel by one level.
EXACT = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
)
_AGAIN = "Download or export it again."


_Turn = Callable[[np.ndarray], np.ndarray]


class VideoClip(Clip):
    """A video file; see `open_clip`. Frames are read in stored order, whatever their
    times.

    Attributes:
        is_interlaced: Whether the file says that its frames are woven of two fields.
        deinterlace: Whether they are shown as whole frames.
        has_alpha: Whether it has an alpha channel; `read` leaves it out.
    """

    def __init__(
        self,
        path: Path,
        start: int = 0,
        stride: int = 1,
        frames: int | None = None,
        *,
        deinterlace: bool = False,
    ) -> None:
        self.path = path
        self.deinterlace = deinterlace
        self.start = start
        self.stride = stride
        self.name = path.name
        index, facts = read_index(path)
        self._used = used_frames(index.count, start, stride, frames)
        name = shorten(path.name)
        first = first_frame(path)
        self._pixel = facts.pixel
        # By the rotation that frames say, which is known without their side data.
        self._turns: dict[int, _Turn] = {}
        # before it is made
        check_size(_square(first.width, first.height, facts.pixel))
        # Before it is converted, which settles its rare colours.
        self.warnings = _warnings(name, first, index, facts)
        height, width = self._upright(first).shape[:2]
        self.size = width, height
        self.fps = index.fps / stride
        begin = index.at(start)
        end = index.at(start + stride * len(self._used))
        if index.times:
            self.times = tuple(index.at(frame) - begin for frame in self._used)
        self.duration = end - begin
        self.tags = _tags_of(first)
        if facts.has_audio:
            self.audio = AudioSpan(path, begin, end)
        self.has_alpha = any(part.is_alpha for part in first.format.components)
        self.is_interlaced = first.interlaced_frame
        if self.is_interlaced and not deinterlace:
            self.warnings.append(
                f"{name} is interlaced: what moves has combs. Use --deinterlace, "
                "or clip.deinterlace in a project."
            )
        if deinterlace and not self.is_interlaced:
            self.warnings.append(
                f"{name} does not say that it is interlaced; all its frames are "
                "deinterlaced."
            )
        if self.has_alpha and first.to_ndarray(format="rgba")[..., 3].min() < 255:
            self.warnings.append(f"{name} {TRANSPARENT}")
        self._damaged = (
            f"{name} is damaged: some of its frames are pieced together from others. "
            f"{_AGAIN}"
        )
        self.comment = facts.comment
        make_whole = None
        if deinterlace:
            make_whole = partial(_deinterlaced, marked=self.is_interlaced)
        self._decoder = _Decoder(path, index, make_whole)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._used)

    def read(self, start: int, stop: int) -> RgbFrames:
        """See `Clip.read`.

        A call that continues where the last one ended decodes nothing twice. Any other
        starts at the key frame before, or at the first frame of files that cannot be
        entered elsewhere.
        """
        check_window(start, stop, len(self))
        frames = []
        with self._lock:
            for number in self._used[start:stop]:
                frame = self._decoder.read(number)
                if frame.is_corrupt and self._damaged not in self.warnings:
                    self.warnings.append(self._damaged)
                frames.append(self._upright(frame))
        return stack(frames, self.size)

    def key_before(self, number: int) -> int:
        """Return the last frame of the file, up to one of the clip, at which decoding
        may begin."""
        return self._decoder.index.key_before(self._used[number])[1]

    def _upright(self, frame: av.VideoFrame) -> Rgb:
        """Convert a frame to RGB as it is shown: turned, with square pixels."""
        if frame.rotation not in self._turns:
            self._turns[frame.rotation] = _turn_of(frame)
        return self._turns[frame.rotation](_square_rgb(frame, self._pixel))


def _warnings(name: str, first: av.VideoFrame, index: Index, facts: Facts) -> list[str]:
    warnings = [f"{name} {note}" for note in facts.notes]
    if int(first.colorspace) not in _SUPPORTED:
        warnings.append(f"{name} has colours in a rare form; they may be a little off.")
    if int(first.color_trc) in _HDR:
        warnings.append(
            f"{name} is HDR: it is edited in 8 bits, and looks paler to models. "
            "Convert it to SDR (Rec. 709) first."
        )
    if facts.is_short:
        warnings.append(
            f"{name} ends early or is damaged: {index.count} frames were read. {_AGAIN}"
        )
    return warnings


class _Decoder:
    """Decodes frames of a file by number, in any order, as if all were decoded one
    after the other.

    Frames decoded from a key frame on must have the time stamps of the index. Where
    they do not, frames are counted from the first one, which is exact in every
    container.

    Attributes:
        index: Of the file, as far as it is trusted.
    """

    def __init__(
        self, path: Path, index: Index, make_whole: Callable[[Decoded], Decoded] | None
    ) -> None:
        self._path = path
        self._make_whole = make_whole  # deinterlaces
        self.index = index
        self._frames: Decoded = iter(())
        # number of the frame that comes next; -1 if decoding has to begin
        self._next = -1
        self._last: av.VideoFrame | None = None  # the one before it
        # whether decoding began at a key frame, not at the first frame
        self._entered = False

    def read(self, number: int) -> av.VideoFrame:
        """Decode a frame, counted from 0; ClipError if it cannot be."""
        if self._last and number == self._next - 1:
            return self._last
        # deinterlacing looks at the frame before
        needed = max(0, number - 1) if self._make_whole else number
        key, first = self.index.key_before(needed)
        # a frame at or after the key frame may come next
        if not first <= self._next <= number:
            self._enter(key, first)
        try:
            return self._advance(number)
        except (LookupError, ClipError):
            if not self._entered:
                raise
        self._distrust()
        self._enter(None, 0)
        return self._advance(number)

    def _enter(self, key: int | None, frame: int) -> None:
        """Decode from a key frame's time on, or from the beginning; `frame` is the
        number of what comes."""
        self._frames = decode(self._path, key)
        if self._make_whole:
            self._frames = self._make_whole(self._frames)
        self._next = frame
        self._last = None
        self._entered = key is not None

    def _distrust(self) -> None:
        """Count frames from now on: the time stamps of the index do not identify
        them."""
        self.index = replace(self.index, pts=())

    def _advance(self, number: int) -> av.VideoFrame:
        """Decode up to a frame; LookupError if a time stamp shows that decoding began
        elsewhere."""
        while self._next <= number:
            frame = next(self._frames, None)
            if frame is None:
                self._next = -1
                raise ClipError(
                    "clip.path",
                    f"{shorten(self._path.name)} ends before frame {number}. Trim "
                    "or re-encode it.",
                )
            if self.index.pts and frame.pts != self.index.pts[self._next]:
                if self._entered:
                    raise LookupError("a frame has another time stamp than its packet")
                self._distrust()
            self._next += 1
            self._last = frame
        assert self._last is not None
        return self._last


def _deinterlaced(frames: Decoded, *, marked: bool) -> Decoded:
    """Make whole frames of those that are woven of two fields, by FFmpeg's filter
    bwdif.

    It looks at the frames before and after each. With `marked`, those that do not say
    that they are woven stay as they are.
    """
    first = next(frames, None)
    if first is None:
        return
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width,
        height=first.height,
        format=first.format,
        time_base=first.time_base,
    )
    which = "interlaced" if marked else "all"
    weaving = graph.add("bwdif", f"mode=send_frame:deint={which}")
    sink = graph.add("buffersink")
    graph.link_nodes(source, weaving, sink).configure()
    with boundary(
        "clip.deinterlace",
        "The clip cannot be deinterlaced. Re-encode it, or leave this out.",
        ClipError,
    ):
        for frame in chain([first], frames, [None]):
            source.push(frame)
            with suppress(av.BlockingIOError, av.EOFError):
                while True:
                    made = cast(av.VideoFrame, sink.pull())
                    if made.pts is not None:
                        made.pts //= 2  # it counts in halves of the units
                    yield made


def _square(width: int, height: int, pixel: Fraction) -> Size:
    """Return the size of a frame of square pixels, which were `pixel` times as wide as
    high; none shrinks."""
    if pixel > 1:
        return round(width * pixel), height
    return width, round(height / pixel)


def _square_rgb(frame: av.VideoFrame, pixel: Fraction) -> Rgb:
    width, height = _square(frame.width, frame.height, pixel)
    if int(frame.colorspace) not in _SUPPORTED:
        frame.colorspace = _UNSPECIFIED  # as players do
    rgb = frame.reformat(width, height, "rgb24", interpolation=EXACT, threads=1)
    return rgb.to_ndarray()


def _turn_of(frame: av.VideoFrame) -> _Turn:
    """Return how a file says that a picture is turned and mirrored; angles other than
    right ones are passed over.

    A frame and its side data hold each other: one that was asked for it stays in memory
    until Python looks for such rings.

    Source: ISO/IEC 14496-12, 8.3.2: a point (x, y) is shown at (a x + c y, b x + d y).
    """
    try:
        said = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # What PyAV does not know is beside it, such as EXIF in pictures of cameras.
        return partial(np.rot90, k=round(frame.rotation / 90))
    if said is None:
        return lambda picture: picture
    a, b, _, c, d, *_ = np.frombuffer(bytes(said), np.int32).tolist()
    is_across = abs(a) + abs(d) < abs(b) + abs(c)
    right, down = (c, b) if is_across else (a, d)

    def turned(picture: np.ndarray) -> np.ndarray:
        if is_across:
            picture = picture.transpose(1, 0, 2)
        if right < 0:
            picture = picture[:, ::-1]
        return picture[::-1] if down < 0 else picture

    return turned


def _tags_of(frame: av.VideoFrame) -> ColorTags:
    if frame.format.is_rgb:
        return ColorTags()
    return ColorTags(
        int(frame.colorspace),
        int(frame.color_range),
        int(frame.color_primaries),
        int(frame.color_trc),
    )


def open_clip(
    path: AnyPath,
    start: int = 0,
    stride: int = 1,
    frames: int | None = None,
    *,
    deinterlace: bool = False,
) -> VideoClip | ImageClip:
    """Open a video file or a folder of images.

    Args:
        path: Local path; URLs are refused.
        start: First frame used.
        stride: Use every stride-th frame; fps is divided by it.
        frames: Number of frames used; None uses all.
        deinterlace: Make whole frames of those that are woven of two fields; their
            number and times stay.

    Raises:
        ClipError: The file is missing or not a readable video, or a number is out of
            range of its frames.
    """
    if "://" in str(path):
        raise ClipError(
            "clip.path",
            f"{shorten(str(path))} is a URL. Download it first and use the local file.",
        )
    path = given_path(path, "clip.path", ClipError)
    # unlike Path.is_dir, does not raise for a name that is too long
    if os.path.isdir(path):
        if deinterlace:
            raise ClipError(
                "clip.deinterlace",
                "Images are not deinterlaced. Use a video file, or leave it out.",
            )
        return ImageClip(path, start, stride, frames)
    if not os.path.isfile(path):
        raise ClipError(
            "clip.path",
            f"{shorten(str(path))} does not exist. Use a video file or a folder "
            "of images.",
        )
    return VideoClip(path, start, stride, frames, deinterlace=deinterlace)
