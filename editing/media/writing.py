"""Write video files, encoded by PyAV."""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import Interpolation

from regrain.editing.boundary import AnyPath
from regrain.editing.media.clip import AudioSpan, Clip, ColorTags
from regrain.editing.media.lazy_frames import Rgb, Rgba, Size, frames_of
from regrain.editing.media.reading import EXACT
from regrain.editing.media.sound import open_sound
from regrain.editing.storage.texts import Json

AI_EDITED = "AI-edited video"
"""Comment of files that a model made or changed."""
CRF = 7  # hardly to be told from the frames
PLATE = 4_000_000  # pixels of a frame from which on few are held at a time
_SLOW = Fraction(1, 1000)  # frames per second
_MOST_UNITS = 1_000_000  # of a second, of which times are multiples
_HEAD = 4096  # bytes of an MP4 in which the headers of its first track are


def write_video(
    path: AnyPath,
    frames: Iterable[Rgb],
    fps: Fraction,
    *,
    times: Sequence[Fraction] | None = None,
    duration: Fraction | None = None,
    audio_from: AudioSpan | None = None,
    tags: ColorTags | None = None,
    comment: str = AI_EDITED,
    crf: int = CRF,
    preset: str = "medium",
) -> None:
    """Write an MP4: H.264 yuv420p, AAC, index first, the same bytes for the same input.

    A frame of odd size is encoded with its last row or column repeated, since yuv420p
    has only even sizes, and the container declares the true size, to which decoders
    crop.

    Args:
        path: File to write.
        frames: RGB frames of one size.
        fps: Frames per second.
        times: Seconds of each frame, in order, the first 0; None for a constant rate.
            Exact in the file if a unit of at least a microsecond allows; equal ones are
            set apart by one unit.
        duration: Seconds to the end of the last frame; None lets it last 1 / fps. Only
            with `times`.
        audio_from: Sound to copy, cut to its span.
        tags: Colour tags to write and to convert with; None is BT.709.
        comment: Comment of the file.
        crf: Constant rate factor, 0 to 51: the higher, the smaller the file and the
            worse the picture.
        preset: That of x264, from "ultrafast" to "placebo": how long it looks for what
            it may leave out.

    Raises:
        ValueError: There is no frame, or not one for each of the times.
    """
    (width, height), frames = _begun(frames)
    even_size = width + width % 2, height + height % 2
    tags = tags or ColorTags()
    clock = _Clock(fps, times, duration)
    # One thread, no macroblock tree: with either, x264 writes different bytes for the
    # same frames.
    how = {
        "crf": str(crf),
        "preset": preset,
        "threads": "1",
        "x264-params": "mbtree=0",
    }
    if width * height > PLATE:
        # x264 keeps four planes of every frame that it looks back or ahead at
        how |= {"bf": "0", "refs": "1"}
    _write(
        path,
        _MP4,
        even_size,
        how,
        frames,
        clock,
        comment,
        tags,
        audio_from,
    )
    if even_size != (width, height):
        _declare_size(Path(path), width, height)


def write_prores(path: Path, frames: Iterable[Rgba], clip: Clip) -> None:
    """Write a MOV of ProRes 4444 with an alpha channel, yuva444p10, and AAC.

    Args:
        path: The file.
        frames: As many as `clip` has, whose times, colours and sound they take. The file
            holds colours and alpha as they are given, so that alpha is straight where
            theirs is.
    """
    size, frames = _begun(frames)
    clock = _Clock(clip.fps, clip.times, clip.duration)
    how = {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}
    _write(
        path,
        _MOV,
        size,
        how,
        frames,
        clock,
        AI_EDITED,
        clip.tags,
        clip.audio,
    )


def _begun(frames: Iterable[np.ndarray]) -> tuple[Size, Iterator[np.ndarray]]:
    """Return (width, height) of some frames, and all of them."""
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    # an iterator keeps no list that it has read
    return (width, height), chain(iter([first]), frames)


def _write(
    path: AnyPath,
    form: _Form,
    size: Size,
    how: dict[str, str],
    frames: Iterable[np.ndarray],
    clock: _Clock,
    comment: str,
    tags: ColorTags | None = None,
    sound: AudioSpan | None = None,
) -> None:
    """Write frames of (width, height), with colour tags and sound; `how` are options of
    the codec. Without tags, colours are as they come."""

    def encoded(pixels: np.ndarray) -> av.VideoFrame:
        # here, so that no large array is kept while the next is made
        frame = form.frame_of(pixels)
        if not tags:
            return frame
        return frame.reformat(
            format=form.pixels,
            dst_colorspace=tags.matrix,
            dst_color_range=tags.range,
            interpolation=EXACT | Interpolation.FULL_CHR_H_INP,
            threads=1,
        )

    with av.open(
        str(path), "w", format=form.container, options=form.options
    ) as container:
        container.metadata["comment"] = comment
        video = clock.add_stream(container, form.codec, how)
        video.width, video.height = size
        video.pix_fmt = form.pixels
        if tags:
            video.color_range = tags.range
            video.colorspace = tags.matrix
            video.color_primaries = tags.primaries
            video.color_trc = tags.transfer
        with _add_sound(container, sound) as write_sound:
            for index, frame in clock.count(map(encoded, frames)):
                container.mux(clock.encode(video, frame, index))
                write_sound(clock.end(index))
            container.mux(clock.encode(video))


def _of_rgba(pixels: Rgba) -> av.VideoFrame:
    deep = np.ascontiguousarray(pixels.astype("<u2") * 257)  # 8 bits to 16
    return av.VideoFrame.from_ndarray(deep, format="rgba64le")


def _of_rgb(pixels: Rgb) -> av.VideoFrame:
    contiguous = np.ascontiguousarray(pixels)
    return av.VideoFrame.from_numpy_buffer(contiguous, format="rgb24")


def _of_even(pixels: Rgb) -> av.VideoFrame:
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        sides = ((0, height % 2), (0, width % 2), (0, 0))
        pixels = np.pad(pixels, sides, mode="edge")
    return _of_rgb(pixels)


class _Form(NamedTuple):
    """A form of files, as FFmpeg names its parts.

    Attributes:
        container, options: The container, and its options.
        codec, pixels: The codec, and the form of its pixels.
        frame_of: Makes a frame of an array.
    """

    container: str
    options: dict[str, str]
    codec: str
    pixels: str
    frame_of: Callable[[np.ndarray], av.VideoFrame]


_MP4 = _Form("mp4", {"movflags": "+faststart"}, "libx264", "yuv420p", _of_even)
_MOV = _Form(
    "mov", {"movflags": "+use_metadata_tags"}, "prores_ks", "yuva444p10le", _of_rgba
)
_MKV = _Form("matroska", {"fflags": "+bitexact"}, "ffv1", "bgr0", _of_rgb)


def timing_of(clip: Clip) -> Json:
    """Return when the frames of a clip are shown, as arguments of `write_video`."""
    return {"times": clip.times, "duration": clip.duration}


def write_lossless(path: Path, clip: Clip) -> None:
    """Write a clip as RGB FFV1 in Matroska: lossless, in about half the bytes.

    Times of a rate that varies are rounded to milliseconds, the unit of Matroska.
    """
    clock = _Clock(clip.fps, clip.times, clip.duration)
    # Its usual version cuts frames into slices, and finds none in a frame that is one
    # pixel wide.
    how = {"level": "1"} if clip.size[0] == 1 else {}
    _write(
        path,
        _MKV,
        clip.size,
        how,
        frames_of(clip),
        clock,
        clip.comment,
    )


class _Clock:
    """When each frame of a video is shown: at a constant rate, or at given times."""

    def __init__(
        self, fps: Fraction, times: Sequence[Fraction] | None, duration: Fraction | None
    ) -> None:
        self._fps = fps
        self._times = times
        if times is None:
            return
        end = times[-1] + 1 / fps if duration is None else duration
        limits = [*times, end]
        units = math.lcm(*(time.denominator for time in limits))
        self._unit = Fraction(1, min(units, _MOST_UNITS))
        # Of each frame, and of the end of the last one.
        self._stamps: list[int] = []
        earliest = 0
        for time in limits:
            stamp = max(earliest, round(time / self._unit))
            self._stamps.append(stamp)
            earliest = stamp + 1

    def add_stream(
        self,
        container: OutputContainer,
        codec: str,
        options: dict[str, str],
    ) -> av.VideoStream:
        """Add a stream that counts in the unit of the times."""
        if self._times is not None or self._fps < _SLOW:
            # An MP4 keeps the times at which frames are decoded. With B-frames at a
            # varying rate, these end long before the last frame is shown, and so does
            # the clip for players; at a slow one, they are farther from those at which
            # frames are shown than it has room for.
            options = {**options, "bf": "0"}
        added = container.add_stream(codec, rate=self._fps, options=options)
        stream = cast(av.VideoStream, added)  # which every codec here makes
        if self._times is not None:
            stream.time_base = stream.codec_context.time_base = self._unit
        return stream

    def count(
        self, frames: Iterable[av.VideoFrame]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Number frames, and raise ValueError unless there is one for each of the
        times."""
        if self._times is None:
            return enumerate(frames)
        return zip(range(len(self._times)), frames, strict=True)

    def encode(
        self, stream: av.VideoStream, frame: av.VideoFrame | None = None, index: int = 0
    ) -> list[av.Packet]:
        """Encode a frame at its time, or what is left for None; at a constant rate the
        encoder counts."""
        if self._times is None:
            return stream.encode(frame)
        if frame:
            frame.pts = self._stamps[index]
            frame.time_base = self._unit
        packets = stream.encode(frame)
        for packet in packets:
            place = bisect_left(self._stamps, packet.pts or 0)
            packet.duration = self._stamps[place + 1] - self._stamps[place]
        return packets

    def end(self, index: int) -> Fraction:
        """Return the seconds at which a frame ends."""
        if self._times is None:
            return (index + 1) / self._fps
        return self._stamps[index + 1] * self._unit


@contextmanager
def _add_sound(
    container: OutputContainer, span: AudioSpan | None
) -> Iterator[Callable[[Fraction], None]]:
    """Add a sound track, if there is sound; yield a function that writes it up to a
    time, in seconds."""
    if span is None:
        yield lambda _end: None
        return
    with open_sound(span) as sound:
        # FFmpeg would replace bands by noise, whose peaks reach 1.7 times the sound's
        # own after a click.
        options = {"aac_pns": "0"}
        stream = container.add_stream(
            "aac", rate=sound.rate, layout=sound.layout, options=options
        )
        stream.bit_rate = 96_000 * sound.channels
        at = 0

        def write(end: Fraction) -> None:
            nonlocal at
            last = round(end * sound.rate)
            # Second by second: a frame may last for hours.
            for stop in (*range(at + sound.rate, last, sound.rate), last):
                block = sound.read(stop)
                if block.shape[1]:
                    frame = av.AudioFrame.from_ndarray(
                        block, format="fltp", layout=sound.layout
                    )
                    frame.sample_rate = sound.rate
                    frame.pts = at
                    frame.time_base = Fraction(1, sound.rate)
                    container.mux(stream.encode(frame))
                at = stop

        yield write
        container.mux(stream.encode(None))


def _declare_size(path: Path, width: int, height: int) -> None:
    """Write the shown size into the first track of an MP4 that begins with its index
    (ISO/IEC 14496-12, 8.3.2 and 12.1.3): yuv420p has no odd one."""
    with path.open("r+b") as file:
        head = file.read(_HEAD)
        track = head.index(b"tkhd") - 4
        size = int.from_bytes(head[track : track + 4])
        file.seek(track + size - 8)
        file.write(struct.pack(">II", width << 16, height << 16))
        file.seek(head.index(b"avc1", head.index(b"stsd")) + 28)
        file.write(struct.pack(">HH", width, height))
