"""Number, times and key frames of the frames of a video file, read from its packets
without decoding."""

from __future__ import annotations

import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, pairwise
from math import inf
from pathlib import Path
from threading import Lock
from typing import NamedTuple, cast

import av
import av.logging
import numpy as np
from av.container import InputContainer
from av.stream import Disposition

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ClipError, shorten
from regrain.editing.media.clip import DEFAULT_FPS
from regrain.editing.removed import instead

# Containers only: playlists and image scripts would open further files.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,gif,asf,dv,mxf,"
    "apng,ivf,nut,yuv4mpegpipe"
)
# How files of such begin that other programs cannot convert either if FFmpeg cannot open
# them; pictures in MP4 (AVIF, HEIC) are none.
_STARTS = re.compile(
    rb"....(ftyp(?!avi|hei|mif)|moov|mdat|wide|free)|\x1aE\xdf\xa3|RIFF....AVI |FLV",
    re.DOTALL,
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
# What FFmpeg says of a stream, and what that means here.
_NOTES = {
    r"DOVI .*profile: (\d+),.*compatibility id: 0": "is Dolby Vision {}, whose colours "
    "are no YCbCr and come out wrong. Convert it to SDR (Rec. 709) first.",
    r"Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)": "hides its edges in players (left {}, "
    "right {}, top {}, bottom {} pixels); they are shown here. Cut them off first.",
}
_UNHEARD = "has sound that cannot be read; the edit has none. Convert it to AAC."
_DESCRIBING = Lock()
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_ROUNDED = 0.02  # by which the rate of a file's times may differ from the stated one
# A frame that lasts this many times longer than the others makes a rate vary.
_LONG = Fraction(3, 2)
_SLOWEST = 100_000  # seconds of a frame; MP4 has no room for many more
# How a file tells where it ends: what begins the segment of Matroska and the properties
# of an ASF file, the last bytes of others, and the sizes of a packet of TS.
_SEGMENT = b"\x18\x53\x80\x67"
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_LAST = {"gif": b";", "apng": b"IEND\xaeB`\x82"}
_TS_PACKETS = (188, 192, 204)
_HEAD = 4096  # bytes in which it is said
_TAIL = 64
_STANDS = 0.2  # seconds that codecs of sound may be ahead or behind
# The share of a file that must be unread, of the share of time that is missing.
_HOLDS = 0.1
_REORDERED = 1  # second; a clock that goes back farther starts over
# Forms whose clock has 33 bits (ISO/IEC 13818-1, 2.4.3.7): where it goes back, FFmpeg
# adds a turn.
_TURNING = ("mpegts", "mpeg")
_HALF_TURN = 2**32 // 90_000  # seconds


Decoded = Iterator[av.VideoFrame]
"""Frames of a video, as they are decoded."""


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
    tick: Fraction
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

    def key_before(self, frame: int) -> tuple[int | None, int]:
        """Find the last key frame at or before a frame: its time stamp, None if frames
        have to be counted from the first one; and the first frame shown from it on.
        """
        place = bisect_right(self.keys, self.pts[frame]) if self.pts else 0
        if place == 0:
            return None, 0
        key = self.keys[place - 1]
        return key, bisect_left(self.pts, key)


@dataclass(frozen=True)
class Facts:
    """Facts about a video file from its headers.

    Attributes:
        has_audio: Whether it has a readable audio stream.
        comment: Its comment, or "".
        pixel: Width of a pixel over its height, before rotation.
        is_short: Whether it ends early or is damaged, as far as the file shows.
        notes: What it says of picture and sound that is not done.
    """

    has_audio: bool
    comment: str
    pixel: Fraction
    is_short: bool
    notes: list[str]


def open_video(path: Path) -> tuple[InputContainer, av.VideoStream]:
    """Open a file; returns it and its video: what FFmpeg thinks best, or the largest, of
    those that can be decoded. Cover pictures are none.

    Raises:
        ClipError: It is not a video file, or none that can be decoded.
    """
    check_regular(path, "clip.path", ClipError)
    start = b""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(12)
    said = "is not a readable video. Convert it to MP4."
    if _STARTS.match(start):
        said = "is broken off or damaged. Download it again."
    with boundary("clip.path", f"{shorten(path.name)} {said}", ClipError):
        # By its whole path: FFmpeg takes a name like "file:a" or "a%03d" for something
        # else.
        container = av.open(
            str(path.resolve()), container_options={"format_whitelist": CONTAINERS}
        )
    every = container.streams
    able = [
        stream
        for stream in every.video
        if stream.codec_context is not None and not stream.disposition & _PICTURES
    ]
    best = every.best("video")
    if best in able:
        return container, cast(av.VideoStream, best)
    if able:
        return container, max(able, key=lambda stream: stream.width * stream.height)
    said = f"{shorten(path.name)} has no readable video stream. Convert it to MP4."
    if every.audio and not every.video:
        said = f"{shorten(path.name)} holds sound only. Open a file with a picture."
    container.close()
    raise ClipError("clip.path", said)


def is_video(path: Path) -> bool:
    """Tell whether a file has a readable video stream."""
    try:
        container, _ = open_video(path)
    except ClipError:
        return False
    container.close()
    return True


def decode(path: Path, key: int | None = None) -> Decoded:
    """Decode the frames of a file in the order in which they are shown, all or from a
    key frame's time on.

    Raises:
        ClipError: A frame cannot be decoded, or the file cannot be entered at that key
            frame.
    """
    container, stream = open_video(path)
    with container:
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
                if not first.is_keyframe:
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
    """A packet: its time stamps, its duration, whether it is a key frame, and whether
    it is shown."""

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_shown: bool


def read_index(path: Path) -> tuple[Index, Facts]:
    """Read all packets of a file, a readable video or ClipError; decode only where
    packets are not frames."""
    packets, tick, rate, codec, restarts, facts = _read_packets(path)
    shown = [packet for packet in packets if packet.is_shown]
    if not shown:
        raise _no_frames(path)
    stamps = [packet.pts for packet in shown]
    packs_frames = codec == "mpeg4" and None in stamps
    lacks_first = not packets[0].is_key
    # fields may be coded apart
    may_have_fields = codec == "h264" and first_frame(path).interlaced_frame
    if packs_frames or lacks_first or may_have_fields:
        # One packet may hold several frames (DivX in AVI) or a field of one, or the
        # first ones need frames that were cut off.
        decoded = [frame.pts for frame in decode(path)]
        if not decoded:
            raise _no_frames(path)
        if not packs_frames:
            stamps = decoded
        if may_have_fields and len(decoded) < len(shown):
            rate /= 2  # of fields
        index = _arrange(stamps, tick, rate, shown[-1:])
        index = replace(index, count=len(decoded))
    else:
        index = _arrange(stamps, tick, rate, shown)
    different = {stamp for stamp in stamps if stamp is not None}
    if restarts and len(different) == len(stamps):  # they identify the frames
        keys = different.intersection(packet.pts for packet in packets if packet.is_key)
        index = replace(index, pts=sorted(different), keys=sorted(keys))
    return index, facts


def first_frame(path: Path) -> av.VideoFrame:
    """Decode the first frame of a file; ClipError if it has none."""
    first = next(decode(path), None)
    if first is None:
        raise _no_frames(path)
    return first


def _no_frames(path: Path) -> ClipError:
    said = f"{shorten(path.name)} has no readable frames. Download it again."
    return ClipError("clip.path", said)


def _read_packets(
    path: Path,
) -> tuple[list[_Packet], Fraction, Fraction, str, bool, Facts]:
    """Read the packets of a file, the seconds of one unit of their times, its frames per
    second, its codec, whether it can be decoded from a key frame on, and facts."""
    container, stream = open_video(path)
    with container:
        codec = stream.codec_context.name
        with boundary(
            "clip.path",
            f"{shorten(path.name)} cannot be read to its end. Re-encode it.",
            ClipError,
        ):
            packets = []
            reached = _Reached()
            for packet in container.demux():
                if packet.size:
                    reached.add(packet)
                    if packet.stream_index == stream.index:
                        packets.append(_describe(packet, codec))
        # AVI has no times; those that FFmpeg makes up for these codecs are not in the
        # order of the frames.
        made_up = container.format.name == "avi" and codec in ("h264", "hevc")
        tick = Fraction(stream.time_base or 1)
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_FPS
        farthest = _HALF_TURN if container.format.name in _TURNING else inf
        _check_clock(path, packets, tick, farthest)
        # keys may have capitals
        said = {key.lower(): text for key, text in container.metadata.items()}
        facts = Facts(
            has_audio=any(audio.codec_context for audio in container.streams.audio),
            comment=said.get("comment", ""),
            pixel=Fraction(stream.sample_aspect_ratio or 1),  # 0 where it is unknown
            is_short=_is_short(container, stream, path, len(packets), reached),
            notes=[*_notes(container)],
        )
    restarts = codec in _RESTARTS and not made_up
    # PyAV 19 has fractions of its own
    return packets, tick, Fraction(rate), codec, restarts, facts


@dataclass
class _Reached:
    """How far the packets of all streams of a file reach.

    Attributes:
        seconds: Where the last one ends on the file's clock.
        place: Where the last one ends in the file, in bytes.
        is_broken: Whether one of them is not whole.
    """

    seconds: float = 0
    place: int = 0
    is_broken: bool = False

    def add(self, packet: av.Packet) -> None:
        """Take note of a packet."""
        end = (packet.pts or 0) + (packet.duration or 0)
        seconds = float(end * (packet.time_base or 0))
        self.seconds = max(self.seconds, seconds)
        self.place = max(self.place, (packet.pos or 0) + packet.size)
        self.is_broken |= packet.is_corrupt


def _is_short(
    container: InputContainer,
    stream: av.VideoStream,
    path: Path,
    frames: int,
    reached: _Reached,
) -> bool:
    """Tell whether a file ends early or is damaged, by what its form says of its whole.

    Cut between two packets, some forms (MPEG program streams, FLV, MP4 in fragments)
    show nothing of it.
    """
    size = container.size
    form = container.format.name
    # an edit list may leave out some of those that are stored
    promised = stream.frames
    rate = stream.average_rate
    if stream.duration and stream.time_base and rate:
        seconds = stream.duration * stream.time_base
        shown = round(seconds * rate)
        promised = shown if form == "mxf" else min(promised, shown)
    if form == "mpegts":  # where recordings were joined, packets are not whole either
        return all(size % packet for packet in _TS_PACKETS)
    # AVI counts frames that repeat the one before, which are no packets
    if reached.is_broken or (promised - frames > 1 and form != "avi"):
        return True
    if form == "yuv4mpegpipe":
        return reached.place < size

    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(-min(size, _TAIL), os.SEEK_END)
        tail = file.read().rstrip(b"\0")
    last = _LAST.get(form, b"")
    if not tail.endswith(last):
        return True
    if _stated_size(head) > size:
        return True
    return _skips(container, reached)


def _stated_size(head: bytes) -> int:
    """Return the size of a file by its first bytes; 0 where they do not say it.

    Source: RIFF of AVI; RFC 8794 (Matroska), 4 and 6.2; ASF Specification 1.20, 3.2.
    """
    if head.startswith(b"RIFF"):
        return (int.from_bytes(head[4:8], "little") + 8) % 2**32  # -1: not known
    before, segment, after = head.partition(_SEGMENT)
    if after:
        leading = after[0].bit_length()
        length = 9 - leading
        bits = 7 * length
        unknown = (1 << bits) - 1
        marked = int.from_bytes(after[:length])
        content = marked & unknown
        begin = len(before) + len(segment) + length
        if content < unknown:
            return begin + content
    _, _, properties = head.partition(_ASF_PROPERTIES)
    return int.from_bytes(properties[24:32], "little")


def _skips(container: InputContainer, reached: _Reached) -> bool:
    """Tell whether reading stopped amid a Matroska file: seconds are missing that it
    states, and bytes follow that may hold them.

    What follows in a whole file is an index. Seconds without bytes are a last picture
    that stands longer.
    """
    if container.format.name != "matroska,webm":
        return False
    microseconds = container.duration or 0
    stated = microseconds / av.time_base
    missing = stated - reached.seconds
    read = reached.place / container.size
    left = 1 - read
    return missing > _STANDS and left > _HOLDS * missing / stated


def _notes(container: InputContainer) -> Iterator[str]:
    """Say what a file says of its picture that no decoder does, that its sound is none
    that can be decoded, and what of its tracks an edit has not."""
    with _DESCRIBING:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)  # without which nothing is described
        described = container.dumps_format()  # pyright: ignore[reportAttributeAccessIssue]
        av.logging.set_level(level)
    for pattern, note in _NOTES.items():
        for found in re.finditer(pattern, described):
            yield note.format(*found.groups())
    sounds = container.streams.audio
    if {sound.codec_context for sound in sounds} == {None}:
        yield _UNHEARD
    elif len(sounds) > 1:
        yield f"has {len(sounds)} sound tracks; the edit has the first that can be read."
    if container.streams.subtitles:
        yield "has subtitles; the edit has none."


def _check_clock(
    path: Path, packets: Sequence[_Packet], tick: Fraction, farthest: float
) -> None:
    """Refuse recordings that were joined, each with a clock of its own."""
    stamps = [packet.dts for packet in packets if packet.dts is not None]
    for earlier, later in pairwise(stamps):
        if not -_REORDERED <= (later - earlier) * tick <= farthest:
            name = shorten(path.name)
            raise ClipError(
                "clip.path",
                f"The clock of {name} goes back. {instead('joined recordings')}",
            )


def _describe(packet: av.Packet, codec: str) -> _Packet:
    is_shown = not packet.is_discard
    # a frame of VP8 may serve only as a reference for others (RFC 6386, 9.1)
    if codec == "vp8":
        shows = memoryview(packet)[0] >> 4 & 1
        is_shown = is_shown and bool(shows)
    return _Packet(
        packet.pts,
        packet.dts,
        packet.duration or 0,
        packet.is_keyframe,
        is_shown,
    )


def _arrange(
    stamps: Sequence[int | None],
    tick: Fraction,
    rate: Fraction,
    packets: Sequence[_Packet],
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
    is_odd = stands or longest * tick > _SLOWEST or goes_back
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
    # whether they follow each other evenly, to within one unit
    whole, parts = (usual / tick).as_integer_ratio()
    is_even = all(
        abs((stamp - known[0]) * parts - number * whole) <= parts
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
