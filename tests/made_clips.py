"""Video files that tests make, packet by packet: times, containers and codecs of
choice."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from regrain.editing.media.clip import ArrayClip, ColorTags

RATE = 48_000


def moving(frames: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Blocks that move to and fro: every frame differs from every other."""
    rng = np.random.default_rng(0)
    blocks = (
        rng.integers(30, 220, (9, 12, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    )
    return np.stack(
        [
            np.roll(blocks, (3 * i, 5 * i), (0, 1))[:height, :width]
            for i in range(frames)
        ]
    )


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Bytes at random, the same for a seed."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def off(found: np.ndarray, expected: np.ndarray | int) -> np.ndarray:
    """How far bytes are from others."""
    return np.abs(found.astype(int) - expected)


def black(frames: int, height: int, width: int) -> ArrayClip:
    """A clip of black frames, 8 a second."""
    return ArrayClip(np.zeros((frames, height, width, 3), np.uint8), Fraction(8))


def drifting(
    frames: int, height: int, width: int, start: int, blocks: int
) -> ArrayClip:
    """Blobs that drift to the right, two pixels a frame, from beyond the left edge,
    where there are so many more blocks."""
    cells = noise(height // 4, width // 4 + blocks, 3)
    wide = np.repeat(np.repeat(cells, 4, 0), 4, 1)
    starts = [start - 2 * t for t in range(frames)]
    moved = [wide[:, first : first + width] for first in starts]
    return ArrayClip(np.stack(moved), fps=Fraction(8))


def flat(levels: Sequence[int], width: int = 32, height: int = 16) -> np.ndarray:
    """One frame per level, each of one grey."""
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def levels_of(frames: np.ndarray) -> list[int]:
    """What frames show that are grey at levels of 20 i: i, nearly."""
    return [round(value / 20) for value in frames.mean((1, 2, 3)).tolist()]


@contextmanager
def as_scheduled() -> Iterator[None]:
    """Leave the thread scheduled as it is: for root, SVT-AV1 makes it, and with it each
    process that it starts, more urgent than the rest of the machine."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, param)


@as_scheduled()
def write_clip(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    fps: Fraction | int = 25,
    stamps: Sequence[int] | None = None,
    unit: Fraction = Fraction(1, 1000),
    last: int = 0,
    tone_at: float | None = None,
    sound: tuple[str, av.AudioFrame] | None = None,
    tags: ColorTags | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    container_options: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Write a video file, in the container that the suffix of `path` names.

    Frames come at `fps` or in `unit` seconds at `stamps`, the last for `last`; sound is
    silence and a tone of 1 kHz from `tone_at` seconds on, or an encoder and samples;
    `aspect` is a pixel's width over its height.
    """
    with av.open(str(path), "w", options=container_options or {}) as container:
        named = {key.replace("_", "-"): value for key, value in options.items()}
        video = container.add_stream(codec, rate=fps, options=named)
        video.width = frames.shape[2]
        video.height = frames.shape[1]
        video.pix_fmt = pixels
        if tags:
            (
                video.colorspace,
                video.color_range,
                video.color_primaries,
                video.color_trc,
            ) = tags
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        colors = (
            {"dst_colorspace": tags.matrix, "dst_color_range": tags.range}
            if tags
            else {}
        )
        if stamps is not None:
            video.time_base = video.codec_context.time_base = unit
        if tone_at is not None:
            seconds = float(
                (stamps[-1] + last - stamps[0]) * unit if stamps else len(frames) / fps
            )
            sound = "aac", _tone(tone_at, seconds)
        if sound:
            audio = container.add_stream(
                sound[0], rate=sound[1].sample_rate, layout=sound[1].layout.name
            )
        for index, frame in enumerate(frames):
            form = "rgb24" if frame.shape[-1] == 3 else "rgba"
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame), format=form
            )
            picture = picture.reformat(format=pixels, **colors)
            if stamps is not None:
                picture.pts = stamps[index]
                picture.time_base = unit
            container.mux(_lasting(video.encode(picture), stamps, last))
        container.mux(_lasting(video.encode(None), stamps, last))
        if sound:
            container.mux([*audio.encode(sound[1]), *audio.encode(None)])
    return path


_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")


def add_box(path: Path, entry: bytes, kind: bytes, content: bytes) -> None:
    """Put a box at the end of the only sample entry of an MP4."""
    data = bytearray(path.read_bytes())
    box = struct.pack(">I4s", 8 + len(content), kind) + content
    at = end = 0
    for name in (*_BOXES, entry):
        at = data.index(name, at) - 4
        (size,) = struct.unpack_from(">I", data, at)
        struct.pack_into(">I", data, at, size + len(box))
        end = at + size
    data[end:end] = box
    path.write_bytes(data)


def _lasting(
    packets: list[av.Packet], stamps: Sequence[int] | None, last: int
) -> list[av.Packet]:
    for packet in packets:
        if stamps and packet.pts == stamps[-1]:
            packet.duration = last
    return packets


def _tone(begin: float, seconds: float) -> av.AudioFrame:
    time = np.arange(round(seconds * RATE)) / RATE
    tone = np.where(time >= begin, 0.5 * np.sin(2 * np.pi * 1000 * time), 0).astype(
        np.float32
    )
    return samples(np.stack([tone, tone]), "fltp", "stereo")


def samples(
    values: np.ndarray, format: str, layout: str, rate: int = RATE
) -> av.AudioFrame:
    """Sound for `write_clip`: its values as FFmpeg's format lays them out."""
    frame = av.AudioFrame.from_ndarray(values, format=format, layout=layout)
    # FLAC makes nonsense of sound without a time
    frame.sample_rate = rate
    frame.pts = 0
    return frame


def seen(path: Path) -> tuple[list[Fraction], Fraction]:
    """What another program sees: seconds of each frame, and the end of the last."""
    with av.open(str(path)) as container:
        frames = [
            (f.pts * f.time_base, f.duration * f.time_base)
            for f in container.decode(video=0)
        ]
    return [time for time, _ in frames], sum(frames[-1])


def heard(path: Path) -> tuple[int, np.ndarray]:
    """Samples per second, and samples by channel."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        blocks = [frame.to_ndarray() for frame in container.decode(stream)]
        return stream.codec_context.sample_rate, np.concatenate(blocks, 1)
