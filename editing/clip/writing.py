"""Write video files, encoded by PyAV."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import Interpolation
from jaxtyping import Float32, UInt8

from editing.clip.index import CONTAINERS
from editing.clip.reading import EXACT
from editing.clip.values import AudioSpan, Clip, ColorTags

log = logging.getLogger(__name__)
_AUDIO_RATE = 48_000  # of sound at a rate that AAC does not have


def write_video(
    path: str | Path,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: Fraction,
    *,
    audio_from: AudioSpan | None = None,
    tags: ColorTags | None = None,
    comment: str = "AI-edited video",
) -> None:
    """Write an MP4: H.264 yuv420p at CRF 7, AAC, index first, the same bytes for the same input.

    yuv420p has only even sizes. A frame of odd size is encoded with its last row or column repeated, and the
    container declares the true size, to which decoders crop.

    Args:
        path: File to write.
        frames: RGB frames of one size.
        fps: Frames per second.
        audio_from: Sound to copy, cut to its span.
        tags: Colour tags to write and to convert with; None is BT.709.
        comment: Comment written into the file.

    Raises:
        ValueError: There is no frame.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    height, width = first.shape[:2]
    tags = tags or ColorTags()
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = comment
        video = _add_video(container, (width + width % 2, height + height % 2), fps, tags)
        write_sound = _add_audio(container, audio_from, fps) if audio_from else None
        for index, frame in enumerate(chain([first], iterator)):
            container.mux(video.encode(_to_yuv(frame, tags)))
            if write_sound:
                write_sound(index)
        container.mux(video.encode(None))
        if write_sound:
            write_sound(None)
    if width % 2 or height % 2:
        _declare_size(Path(path), width, height)


def write_lossless(path: Path, clip: Clip) -> None:
    """Write a clip as RGB FFV1 in Matroska: lossless, in about half the bytes."""
    with av.open(str(path), "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = clip.comment
        stream = container.add_stream("ffv1", rate=clip.fps)
        (stream.width, stream.height), stream.pix_fmt = clip.size, "bgr0"
        for index in range(len(clip)):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(clip.read(index, index + 1)[0]), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _add_video(
    container: av.container.OutputContainer, size: tuple[int, int], fps: Fraction, tags: ColorTags
) -> av.VideoStream:
    # One thread, no macroblock tree: with either, x264 writes different bytes for the same frames.
    options = {"crf": "7", "preset": "medium", "threads": "1", "x264-params": "mbtree=0"}
    stream = container.add_stream("libx264", rate=fps, options=options)
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    stream.color_range, stream.colorspace = tags.range, tags.matrix
    stream.color_primaries, stream.color_trc = tags.primaries, tags.transfer
    return stream


def _to_yuv(frame: UInt8[np.ndarray, "height width 3"], tags: ColorTags) -> av.VideoFrame:
    height, width = frame.shape[:2]
    even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    return rgb.reformat(
        format="yuv420p",
        dst_colorspace=tags.matrix,
        dst_color_range=tags.range,
        interpolation=EXACT | Interpolation.FULL_CHR_H_INP,
        threads=1,
    )


def _read_sound(span: AudioSpan) -> tuple[Float32[np.ndarray, "channels samples"], int, str]:
    """Samples of the span, silence where the source has none; their rate; the channel layout."""
    with av.open(str(span.path.resolve()), container_options={"format_whitelist": CONTAINERS}) as container:
        stream = next(stream for stream in container.streams.audio if stream.codec_context)
        rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
        if rate not in (av.Codec("aac", "w").audio_rates or [rate]):
            rate = _AUDIO_RATE
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        samples = np.zeros((layout.nb_channels, round((span.stop - span.start) * rate)), np.float32)
        frames = chain.from_iterable(resampler.resample(frame) for frame in container.decode(stream))
        try:
            _fill(samples, frames, span.start, rate)
        except av.FFmpegError as error:  # no reason to lose the pictures
            log.warning("the sound of a clip is damaged (%s); the rest of it is silence", error)
    return samples, rate, layout.name


def _fill(
    samples: Float32[np.ndarray, "channels samples"],
    frames: Iterable[av.AudioFrame],
    start: Fraction,
    rate: int,
) -> None:
    """Place sound by its times; sample 0 is at `start` seconds. Sound outside the span is left out."""
    for frame in frames:
        offset = round((frame.pts * frame.time_base - start) * rate)
        if offset >= samples.shape[1]:
            return
        block = frame.to_ndarray()[:, max(0, -offset) :]
        place = samples[:, max(0, offset) :][:, : block.shape[1]]
        place[:] = block[:, : place.shape[1]]


def _add_audio(
    container: av.container.OutputContainer, span: AudioSpan, fps: Fraction
) -> Callable[[int | None], None]:
    """Add a sound track; the returned function writes the sound of one frame, or the end for None."""
    samples, rate, layout = _read_sound(span)
    stream = container.add_stream("aac", rate=rate, layout=layout)
    stream.bit_rate = 96_000 * len(samples)

    def write(index: int | None) -> None:
        if index is None:
            container.mux(stream.encode(None))
            return
        start, stop = (round(frame * rate / fps) for frame in (index, index + 1))
        block = np.ascontiguousarray(samples[:, start:stop])
        if block.shape[1]:
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))

    return write


def _declare_size(path: Path, width: int, height: int) -> None:
    """Write the shown size into the video track of an MP4 (ISO/IEC 14496-12, 8.3.2 and 12.1.3)."""
    with path.open("r+b") as file:
        for kind, start, stop in _boxes(file, 0, path.stat().st_size):
            file.seek(start)
            data = bytearray(file.read(stop - start)) if kind in (b"tkhd", b"stsd") else b""
            if kind == b"tkhd" and any(data[-8:]):  # a sound track's is 0 x 0
                data[-8:] = struct.pack(">II", width << 16, height << 16)
            elif kind == b"stsd" and data[12:16] == b"avc1":
                data[40:44] = struct.pack(">HH", width, height)
            file.seek(start)
            file.write(data)


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Walk the boxes of an MP4 down to the sample tables: kind, start and stop of the content."""
    while start < stop:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size < 8:  # 0 and 1: media data over 4 GB; the index stands before it
            return
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            yield from _boxes(file, start + 8, start + size)
        yield kind, start + 8, start + size
        start += size
