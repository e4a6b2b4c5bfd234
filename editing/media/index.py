"""What the packets of a video file tell without decoding: number, times and key frames."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ClipError, shorten
from regrain.editing.media.clip import DEFAULT_FPS

# Containers only: playlists and image scripts would open further files.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,gif,asf,dv,mxf"
# Of these, what a key frame's decoder shows from there on does not depend on the frames before it.
_RESTARTS = {
    *("h264", "hevc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4"),
    *(
        "mjpeg",
        "ffv1",
        "prores",
        "dnxhd",
        "dvvideo",
        "rawvideo",
        "png",
        "huffyuv",
        "ffvhuff",
        "utvideo",
    ),
}
# A frame that lasts this many times longer than the others makes a rate vary.
_LONG = Fraction(3, 2)
_SLOWEST = 100_000  # seconds of a frame; MP4 has no room for many more


@dataclass(frozen=True)
class Index:
    """The frames of a video file in the order in which they are shown.

    Attributes:
        count: Number of frames.
        fps: Frames per second, on average if the rate varies.
        start: Seconds of the first frame on the file's clock.
        tick: Seconds of one unit of `pts`.
        pts: Time stamp of each frame, all different; empty where they do not identify frames.
        times: Time stamp of each frame, in order, if the rate varies; else empty.
        last: Seconds for which the last frame is shown.
        keys: Time stamps of the frames at which decoding can start, in order.
    """

    count: int
    fps: Fraction
    start: Fraction
    tick: Fraction = Fraction(1)
    pts: Sequence[int] = ()
    times: Sequence[int] = ()
    last: Fraction = Fraction(0)
    keys: Sequence[int] = ()

    def at(self, frame: int) -> Fraction:
        """Seconds on the file's clock at which a frame is first shown; for `count`, when the last one ends.

        Beyond, a constant rate goes on, a varying one stays at its end.
        """
        if not self.times:
            return self.start + frame / self.fps
        if frame >= self.count:
            return self.times[-1] * self.tick + self.last
        return self.times[frame] * self.tick

    def key_before(self, frame: int) -> tuple[int, int] | None:
        """The last key frame at or before a frame: its time stamp, and the first frame shown from there on.

        None if frames have to be counted from the first one.
        """
        place = bisect_right(self.keys, self.pts[frame]) if self.pts else 0
        if not place:
            return None
        return self.keys[place - 1], bisect_left(self.pts, self.keys[place - 1])


@dataclass(frozen=True)
class Facts:
    """What the headers of a video file say beside its frames, before rotation.

    `pixel` is the width of a pixel over its height; `lacking` are frames that are not in the file, whose end
    was cut off.
    """

    has_audio: bool
    comment: str
    pixel: Fraction
    lacking: int


def open_video(path: Path) -> av.container.InputContainer:
    """Open a file that has a readable video stream.

    Raises:
        ClipError: It is not a video file, or none that can be decoded.
    """
    check_regular(path, "clip.path", ClipError)
    said = f"{shorten(path.name)} is not a readable video. Convert it to MP4."
    with boundary("clip.path", said, ClipError):
        # By its whole path: FFmpeg takes a name like "file:a" or "a%03d" for something else.
        container = av.open(str(path.resolve()), container_options={"format_whitelist": CONTAINERS})
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        said = f"{shorten(path.name)} has no readable video stream. Convert it to MP4."
        raise ClipError("clip.path", said)
    return container


def decode(path: Path, key: int | None = None) -> Iterator[av.VideoFrame]:
    """Decode the frames of a file in the order in which they are shown, or those from a key frame's time on.

    Raises:
        ClipError: A frame cannot be decoded, or the file cannot be entered at that key frame.
    """
    with open_video(path) as container:
        stream = container.streams.video[0]
        # No decoder threads: one that reports an error waits for Python while Python, closing a half-read
        # file, waits for it, once anything (torchvision does) has turned PyAV's logging on.
        stream.codec_context.thread_count = 1
        with boundary(
            "clip.path", f"{shorten(path.name)} cannot be decoded. Re-encode it.", ClipError
        ):
            yield from (
                container.decode(stream) if key is None else _decode_from(container, stream, key)
            )


def _decode_from(
    container: av.container.InputContainer, stream: av.VideoStream, key: int
) -> Iterator[av.VideoFrame]:
    container.seek(key, stream=stream)
    for number, packet in enumerate(container.demux(stream)):
        # Some containers find an earlier key frame, which is as good, and some find none.
        if number == 0 and not (
            packet.is_keyframe and packet.pts is not None and packet.pts <= key
        ):
            raise ClipError("clip.path", f"Time {key} has no key frame. Re-encode it.")
        yield from (frame for frame in packet.decode() if frame.pts is None or frame.pts >= key)


class _Packet(NamedTuple):
    """What a packet says: time stamps, duration, whether it is a key frame, and whether it is shown."""

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_shown: bool


def read_index(path: Path) -> tuple[Index, Facts]:
    """Read all packets of a file, a readable video or ClipError; decode only where packets are not frames."""
    with open_video(path) as container:
        stream = container.streams.video[0]
        codec, tick = stream.codec_context.name, Fraction(stream.time_base or 1)
        said = f"{shorten(path.name)} cannot be read to its end. Re-encode it."
        with boundary("clip.path", said, ClipError):
            packets = [
                _describe(packet, codec) for packet in container.demux(stream) if packet.size
            ]
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_FPS
        # AVI has no times; those that FFmpeg makes up for these codecs are not in the order of the frames.
        restarts = codec in _RESTARTS and not (
            container.format.name == "avi" and codec in ("h264", "hevc")
        )
        facts = Facts(
            has_audio=any(stream.codec_context for stream in container.streams.audio),
            comment={key.lower(): value for key, value in container.metadata.items()}.get(
                "comment", ""
            ),
            pixel=stream.sample_aspect_ratio or Fraction(1),  # 0 where it is unknown
            lacking=max(0, stream.frames - len(packets)),
        )
    shown = [packet for packet in packets if packet.is_shown]
    if not shown:
        raise ClipError("clip.path", f"{shorten(path.name)} has no readable frames. Re-encode it.")
    stamps = [packet.pts for packet in shown]
    packs_frames = codec == "mpeg4" and None in stamps
    if packs_frames or (packets and not packets[0].is_key):
        # One packet may hold several frames (DivX in AVI), or the first ones need frames that were cut off.
        decoded = [frame.pts for frame in decode(path)]
        index = _arrange(stamps if packs_frames else decoded, tick, rate, shown[-1:])
        return replace(index, count=len(decoded)), facts
    index = _arrange(stamps, tick, rate, shown)
    return (_with_keys(index, shown, packets) if restarts else index), facts


def _describe(packet: av.Packet, codec: str) -> _Packet:
    # A frame of VP8 may serve only as a reference for others (RFC 6386, 9.1).
    is_shown = not packet.is_discard and (codec != "vp8" or bool(memoryview(packet)[0] >> 4 & 1))
    return _Packet(packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, is_shown)


def _arrange(
    stamps: Sequence[int | None], tick: Fraction, rate: Fraction, packets: Sequence[_Packet]
) -> Index:
    """The index of frames by their time stamps, without key frames."""
    known = sorted(stamp for stamp in stamps if stamp is not None)
    gaps = np.diff(known)
    steady = len(gaps) == 0 or bool(gaps.max() - gaps.min() <= max(2, 0.05 * gaps.mean()))
    if not steady:
        rate = len(gaps) / ((known[-1] - known[0]) * tick)
    fps = max(Fraction(rate).limit_denominator(_SLOWEST), Fraction(1, _SLOWEST))
    index = Index(len(stamps), fps, known[0] * tick if known else Fraction(0), tick)
    decoding = [packet.dts for packet in packets if packet.dts is not None]
    # Times that start over (two recordings in one file) or skip days do not say when frames are shown.
    skips = bool(len(gaps)) and int(gaps.max()) * tick > _SLOWEST
    if (
        skips
        or len(known) < len(stamps)
        or any(later < earlier for earlier, later in pairwise(decoding))
    ):
        return index
    # Elsewhere a duration may be the time until the next frame is decoded.
    last = packets[-1].duration * tick if packets[-1].pts == known[-1] else Fraction(0)
    last = min(last or 1 / fps, Fraction(_SLOWEST))
    if last <= _LONG / fps and _is_even(known, 1 / (fps * tick)):
        return index
    return replace(index, times=tuple(known), last=last)


def _is_even(stamps: Sequence[int], step: Fraction) -> bool:
    """Whether time stamps follow each other by `step`, to within one unit."""
    whole, parts = step.as_integer_ratio()
    return all(
        abs((stamp - stamps[0]) * parts - number * whole) <= parts
        for number, stamp in enumerate(stamps)
    )


def _with_keys(index: Index, shown: Sequence[_Packet], packets: Sequence[_Packet]) -> Index:
    stamps = {packet.pts for packet in shown}
    if None in stamps or len(stamps) < len(shown):
        return index
    keys = sorted(packet.pts for packet in packets if packet.is_key and packet.pts is not None)
    return replace(index, pts=tuple(sorted(stamps)), keys=tuple(keys))
