"""Number, times and key frames of the frames of a video file, read from its packets
without decoding."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, pairwise
from math import inf
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ClipError, shorten
from regrain.editing.media.clip import DEFAULT_FPS, Piece
from regrain.editing.media.fields import Fields

# Containers only: playlists and image scripts would open further files.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,gif,asf,dv,mxf,"
    "apng,ivf,nut,yuv4mpegpipe"
)
# Codecs whose frames from a key frame on do not depend on the frames before it.
_RESTARTS = {
    "av1",
    "dnxhd",
    "dvvideo",
    "ffv1",
    "ffvhuff",
    "h264",
    "hevc",
    "huffyuv",
    "mjpeg",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "png",
    "prores",
    "rawvideo",
    "utvideo",
    "vp8",
    "vp9",
}
# Streams of pictures that belong to a file, such as its cover.
_PICTURES = (
    Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
)
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_ROUNDED = 0.02  # by which the rate of a file's times may differ from the stated one
# A frame that lasts this many times longer than the others makes a rate vary.
_LONG = Fraction(3, 2)
_SLOWEST = 100_000  # seconds of a frame; MP4 has no room for many more
# Forms in which a frame comes every 0.7 s (ISO/IEC 13818-1, 2.7.5), and the seconds
# after which another recording begins, as in FFmpeg; slide shows are slower.
_STREAMED = ("mpegts", "mpeg")
_SILENT = 10
_START = 16  # bytes by which files of one form begin
_TAIL = 16_000_000  # bytes that are looked at after the last frame
_SLOWER = 10  # times the usual gap
_REORDERED = 1  # second; a clock that goes back farther starts over


@dataclass(frozen=True)
class Index:
    """The frames of a video file in the order in which they are shown.

    Attributes:
        count: Number of frames.
        fps: Frames per second, on average if the rate varies.
        start: Seconds of the first frame on the file's clock.
        tick: Seconds of one unit of `pts`.
        pts: Time stamp of each frame, all different; empty where they do not identify
            frames.
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
        """Return the seconds on the file's clock at which a frame begins, or for
        `count` the last one ends.

        Beyond `count`, a constant rate goes on, and a varying one stays at its end.
        """
        if not self.times:
            return self.start + frame / self.fps
        if frame >= self.count:
            return self.times[-1] * self.tick + self.last
        return self.times[frame] * self.tick

    def key_before(self, frame: int) -> tuple[int, int] | None:
        """Find the last key frame at or before a frame: its time stamp, and the first
        frame shown from it on.

        None if frames have to be counted from the first one.
        """
        if not self.pts:
            return None
        place = bisect_right(self.keys, self.pts[frame])
        if place == 0:
            return None
        key = self.keys[place - 1]
        return key, bisect_left(self.pts, key)


@dataclass(frozen=True)
class Facts:
    """Facts about a video file from its headers.

    Attributes:
        has_audio: Whether it has a readable audio stream.
        comment: Its comment, or "".
        pixel: Width of a pixel over its height, before rotation.
        lacking: Number of frames that the header counts but the file, whose end was cut
            off, does not have.
        has_fields: Whether some frames are coded as two fields.
        pieces: The recordings that were joined in it, if there are several.
        goes_on: Whether another file was put after what is read.
    """

    has_audio: bool
    comment: str
    pixel: Fraction
    lacking: int
    has_fields: bool
    pieces: tuple[Piece, ...]
    goes_on: bool


def open_video(path: Path) -> InputContainer:
    """Open a file that has a readable video stream.

    Raises:
        ClipError: It is not a video file, or none that can be decoded.
    """
    check_regular(path, "clip.path", ClipError)
    with boundary(
        "clip.path",
        f"{shorten(path.name)} is not a readable video. Convert it to MP4.",
        ClipError,
    ):
        # By its whole path: FFmpeg takes a name like "file:a" or "a%03d" for something
        # else.
        container = av.open(
            str(path.resolve()), container_options={"format_whitelist": CONTAINERS}
        )
    if _find_stream(container) is None:
        streams = container.streams
        sound = bool(streams.audio) and not streams.video
        container.close()
        said = f"{shorten(path.name)} has no readable video stream. Convert it to MP4."
        if sound:
            said = f"{shorten(path.name)} holds sound only. Open a file with a picture."
        raise ClipError("clip.path", said)
    return container


def is_video(path: Path) -> bool:
    """Tell whether a file has a readable video stream."""
    try:
        open_video(path).close()
    except ClipError:
        return False
    return True


def video_stream(container: InputContainer) -> av.VideoStream:
    """Return the stream of an open file that is its video, not a cover picture."""
    stream = _find_stream(container)
    assert stream is not None  # which `open_video` has checked
    return stream


def _find_stream(container: InputContainer) -> av.VideoStream | None:
    """Find the video that FFmpeg thinks best, or the largest, among those that can be
    decoded; cover pictures are none."""
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & _PICTURES
    ]
    best = container.streams.best("video")
    if best in streams:
        return cast(av.VideoStream, best)
    return max(streams, key=lambda stream: stream.width * stream.height, default=None)


def decode(path: Path, key: int | None = None) -> Iterator[av.VideoFrame]:
    """Decode the frames of a file in the order in which they are shown, all or from a
    key frame's time on.

    Raises:
        ClipError: A frame cannot be decoded, or the file cannot be entered at that key
            frame.
    """
    with open_video(path) as container:
        stream = video_stream(container)
        # No decoder threads: one that reports an error waits for Python while Python,
        # closing a half-read file, waits for it, once anything (torchvision does) has
        # turned PyAV's logging on.
        stream.codec_context.thread_count = 1
        with boundary(
            "clip.path",
            f"{shorten(path.name)} cannot be decoded. Re-encode it.",
            ClipError,
        ):
            decoder = _decoder_with_alpha(stream) or stream.codec_context
            if key is None:
                for packet in container.demux(stream):
                    yield from decoder.decode(packet)
            else:
                container.seek(key, stream=stream)
                packets = container.demux(stream)
                first = next(packets)
                # Some containers find an earlier key frame, which is as good, and some
                # find none.
                is_found = first.pts is not None and first.pts <= key
                if not (first.is_keyframe and is_found):
                    raise ClipError(
                        "clip.path", f"Time {key} has no key frame. Re-encode it."
                    )
                for packet in chain([first], packets):
                    for frame in decoder.decode(packet):
                        if frame.pts is None or frame.pts >= key:
                            yield frame


def _decoder_with_alpha(stream: av.VideoStream) -> av.VideoCodecContext | None:
    """Return a decoder for a stream whose alpha channel FFmpeg's own would leave out;
    None for the usual one."""
    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    has_alpha = stream.metadata.get("alpha_mode") == "1"
    if not has_alpha or name not in av.codecs_available:
        return None
    decoder = cast(av.VideoCodecContext, av.CodecContext.create(name, "r"))
    decoder.extradata = stream.codec_context.extradata
    decoder.thread_count = 1
    return decoder


class _Packet(NamedTuple):
    """A packet: its time stamps, its duration, whether it is a key frame, whether a
    frame of its own is shown, and whether it is only the second field of one."""

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_shown: bool
    is_second: bool


def read_index(path: Path) -> tuple[Index, Facts]:
    """Read all packets of a file, a readable video or ClipError; decode only where
    packets are not frames."""
    packets, tick, rate, codec, restarts, facts = _read_packets(path)
    shown = [packet for packet in packets if packet.is_shown]
    no_frames = f"{shorten(path.name)} has no readable frames. Re-encode it."
    if not shown:
        raise ClipError("clip.path", no_frames)
    stamps = [packet.pts for packet in shown]
    packs_frames = codec == "mpeg4" and None in stamps
    joints = len(facts.pieces)
    begins = [packets[0], *facts.pieces]
    lacks_first = not all(begin.is_key for begin in begins)
    if packs_frames or lacks_first:
        # One packet may hold several frames (DivX in AVI), or the first ones need
        # frames that were cut off.
        decoded = [frame.pts for frame in decode(path)]
        if not decoded:
            raise ClipError("clip.path", no_frames)
        if not packs_frames:
            # of joined recordings, frames that lack others come in any order
            stamps = [decoded[0], None] if joints else decoded
        index = _arrange(stamps, tick, rate, shown[-1:], joints)
        index = replace(index, count=len(decoded))
    else:
        index = _arrange(stamps, tick, rate, shown, joints)
        different = {packet.pts for packet in shown if packet.pts is not None}
        # only where they identify the frames
        if restarts and not joints and len(different) == len(shown):
            keys = sorted(
                packet.pts
                for packet in packets
                if packet.is_key and packet.pts is not None
            )
            index = replace(index, pts=tuple(sorted(different)), keys=tuple(keys))
    return index, facts


def _read_packets(
    path: Path,
) -> tuple[list[_Packet], Fraction, Fraction, str, bool, Facts]:
    """Read the packets of a file, on one clock, the seconds of one unit of their times,
    its frames per second, its codec, whether it can be decoded from a key frame on,
    and facts."""
    with open_video(path) as container:
        stream = video_stream(container)
        codec = stream.codec_context.name
        fields = Fields(stream.codec_context.extradata) if codec == "h264" else None
        with boundary(
            "clip.path",
            f"{shorten(path.name)} cannot be read to its end. Re-encode it.",
            ClipError,
        ):
            packets = []
            end = 0
            for packet in container.demux(stream):
                if packet.size:
                    packets.append(_describe(packet, codec, fields))
                    end = packet.size + (packet.pos or 0)
        # AVI has no times; those that FFmpeg makes up for these codecs are not in the
        # order of the frames.
        made_up = container.format.name == "avi" and codec in ("h264", "hevc")
        tick = Fraction(stream.time_base or 1)
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_FPS
        silent = _SILENT if container.format.name in _STREAMED else _SLOWEST
        packets, pieces = _follow(packets, tick, rate, silent)
        has_fields = any(packet.is_second for packet in packets)
        if has_fields:
            rate = _rate_of_pairs(packets, tick, rate)
        # keys may have capitals
        comments = [
            text for key, text in container.metadata.items() if key.lower() == "comment"
        ]
        # an edit list may leave out some of those that are stored
        promised = stream.frames
        if stream.duration and stream.time_base and stream.average_rate:
            shown = round(stream.duration * stream.time_base * stream.average_rate)
            promised = min(promised, shown)
        facts = Facts(
            has_audio=any(audio.codec_context for audio in container.streams.audio),
            comment=comments[-1] if comments else "",
            pixel=stream.sample_aspect_ratio or Fraction(1),  # 0 where it is unknown
            lacking=max(0, promised - len(packets)),
            has_fields=has_fields,
            pieces=pieces,
            goes_on=container.format.name not in _STREAMED and _begins_again(path, end),
        )
    restarts = codec in _RESTARTS and not made_up
    return packets, tick, rate, codec, restarts, facts


def _begins_again(path: Path, end: int) -> bool:
    """Tell whether a file begins like another one after a place."""
    with path.open("rb") as file:
        start = file.read(_START)
        file.seek(end)
        return start in file.read(_TAIL)


def _rate_of_pairs(
    packets: Sequence[_Packet], tick: Fraction, stated: Fraction
) -> Fraction:
    """Return the frames per second of a stream whose stated rate may count fields."""
    stamps = [packet.pts for packet in packets if packet.is_shown]
    known = sorted(stamp for stamp in stamps if stamp is not None)
    if len(known) < 2 or known[0] == known[-1]:
        return stated / 2
    mean = (len(known) - 1) / ((known[-1] - known[0]) * tick)
    near = min(stated, stated / 2, key=lambda rate: abs(rate - mean))
    return near if abs(near - mean) < _ROUNDED * mean else mean


class OneClock:
    """The clock of the first of joined recordings, by which times of all are told, in
    the order of the file."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._left = list(pieces)
        self._last: Fraction | float = -inf

    def tell(self, seconds: Fraction) -> Fraction | None:
        """Tell a time of what stands in the file after all that were told; None if it
        is after the pictures of its recording."""
        if not self._left:
            return seconds
        here, *later = self._left
        if later:
            end = here.own + later[0].begin - here.begin
            # sound may begin a little before the pictures
            early = here.own - seconds - _REORDERED
            away = max(early, self._last - seconds, seconds - end)
            near = min(later, key=lambda piece: abs(seconds - piece.own))
            if abs(seconds - near.own) < away:
                self._left = here, *later = later[later.index(near) :]
        self._last = seconds
        told = here.begin + seconds - here.own
        return None if later and told >= later[0].begin else told


def _follow(
    packets: list[_Packet], tick: Fraction, rate: Fraction, silent: int
) -> tuple[list[_Packet], tuple[Piece, ...]]:
    """Return packets with times on the clock of the first of joined recordings, and
    these; none if there is one."""
    shown = [one for one in packets if one.is_shown]
    gaps = np.diff([one.dts for one in shown if one.dts is not None])
    usual = round(np.median([float(1 / (rate * tick)), *np.abs(gaps)]))
    farthest = max(silent / tick, _SLOWER * usual)
    groups: list[list[_Packet]] = [[]]
    latest = None
    for before, packet in pairwise([*packets[:1], *packets]):
        pts = packet.pts if packet.is_shown else None
        if pts is not None and latest is not None:
            ahead = pts - latest
            # No frame that is stored before a key frame is shown after it. That all
            # are shown at one time is another matter.
            overlaps = ahead < 0 or (ahead == 0 and not before.is_key)
            is_new = ahead > farthest or (packet.is_key and overlaps)
            if packet.dts is not None and before.dts is not None:
                is_new |= (before.dts - packet.dts) * tick > _REORDERED
            if is_new:
                groups.append([])
                latest = pts
            pts = max(pts, latest)
        groups[-1].append(packet)
        latest = latest if pts is None else pts
    if len(groups) == 1:
        return packets, ()
    moved = []
    pieces = []
    begin = None
    for group in groups:
        own = [one.pts for one in group if one.is_shown and one.pts is not None]
        begin = min(own) if begin is None else begin
        shift = begin - min(own)
        pieces.append(Piece(min(own) * tick, begin * tick, group[0].is_key))
        moved += [
            one if one.pts is None else one._replace(pts=one.pts + shift)
            for one in group
        ]
        gaps = np.diff(sorted(own))
        last = round(np.median(gaps[gaps > 0])) if gaps.any() else usual
        begin = max(own) + shift + last
    return moved, tuple(pieces)


def _describe(packet: av.Packet, codec: str, fields: Fields | None) -> _Packet:
    is_shown = not packet.is_discard
    is_second = fields is not None and fields.is_second(bytes(packet))
    # a frame of VP8 may serve only as a reference for others (RFC 6386, 9.1)
    if codec == "vp8":
        shows = memoryview(packet)[0] >> 4 & 1
        is_shown = is_shown and bool(shows)
    return _Packet(
        packet.pts,
        packet.dts,
        packet.duration or 0,
        packet.is_keyframe and not is_second,
        is_shown and not is_second,
        is_second,
    )


def _arrange(
    stamps: Sequence[int | None],
    tick: Fraction,
    rate: Fraction,
    packets: Sequence[_Packet],
    joints: int,
) -> Index:
    """Return the index of frames by their time stamps, without key frames.

    Time stamps that skip days cannot be trusted, nor those that go back.
    """
    known = sorted(stamp for stamp in stamps if stamp is not None)
    stands = len(known) > 1 and known[0] == known[-1]
    if stands and packets[-1].duration:
        rate = 1 / (packets[-1].duration * tick)
    elif stands and rate * tick == 1:  # FFmpeg says so where nothing is stated
        rate = DEFAULT_FPS
    index = Index(
        count=len(stamps),
        fps=_rate_of(known, tick, rate),
        start=known[0] * tick if known else Fraction(0),
        tick=tick,
    )
    longest = max((later - earlier for earlier, later in pairwise(known)), default=0)
    decoding = [packet.dts for packet in packets if packet.dts is not None]
    goes_back = any(earlier > later for earlier, later in pairwise(decoding))
    is_odd = stands or longest * tick > _SLOWEST or (goes_back and not joints)
    if len(known) < len(stamps) or is_odd:
        return index
    usual = 1 / index.fps
    last = usual
    final = packets[-1]
    if final.pts == known[-1] and final.duration:
        # The duration of another packet may be the time until the next frame is
        # decoded.
        last = final.duration * tick
    last = min(last, Fraction(_SLOWEST))
    # whether they follow each other evenly, to within one unit, and one for each joint
    whole, parts = (usual / tick).as_integer_ratio()
    is_even = all(
        abs((stamp - known[0]) * parts - number * whole) <= parts * (1 + joints)
        for number, stamp in enumerate(known)
    )
    if last <= _LONG * usual and is_even:
        return index
    return replace(index, times=tuple(known), last=last)


def _rate_of(known: Sequence[int], tick: Fraction, stated: Fraction) -> Fraction:
    """Return the frames per second: as stated if gaps differ from that by rounding
    alone, else on average."""
    rate = stated
    gaps = np.diff(known)
    if len(gaps) > 0 and known[-1] > known[0]:
        usual = 1 / (stated * tick)  # from frame to frame, in ticks
        off = abs(gaps.mean() - float(usual))
        varies = gaps.max() - gaps.min() > max(2, 0.05 * gaps.mean())
        if varies or off > max(1, _ROUNDED * gaps.mean()):
            seconds = (known[-1] - known[0]) * tick
            rate = len(gaps) / seconds
    slowest = Fraction(1, _SLOWEST)
    return max(Fraction(rate).limit_denominator(_SLOWEST), slowest)
