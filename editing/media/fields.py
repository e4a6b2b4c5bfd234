"""Fields of interlaced video: which packets of H.264 hold the second field of a frame,
and frames that are woven of two fields, made whole by FFmpeg's filter bwdif.

An interlaced frame may be coded as two pictures, one per field (PAFF), as cameras do;
decoders return one frame for both. Source: ISO/IEC 14496-10, 7.3 and 7.4.1.2.4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple, cast

import av
import av.filter

from regrain.editing.boundary import boundary
from regrain.editing.errors import ClipError

_SLICES = (1, 5)  # types of NAL units
_SEQUENCE, _PICTURE = 7, 8
# Profiles whose parameters say more of chroma, depth and scaling.
_HIGH = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
_START = b"\0\0\1"
_HEADER = 64  # bytes of a slice in which its header's beginning is
_BEFORE_LISTS = 8  # lists of scaling factors; four more without subsampling


class _Sequence(NamedTuple):
    """What a set of sequence parameters says of the headers of slices."""

    has_planes: bool  # whether colour planes are coded apart
    number_bits: int  # of frame_num
    has_fields: bool  # whether pictures may be fields


class _Field(NamedTuple):
    number: int  # frame_num
    is_bottom: bool


class Fields:
    """Pairs the fields of a stream, packet by packet in the order of decoding.

    Args:
        extradata: Parameters from the container's header, or None.
    """

    def __init__(self, extradata: bytes | None) -> None:
        self._length = 0  # bytes of the length before a unit; 0 where codes start them
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, int] = {}  # sequence by picture parameters
        self._first: _Field | None = None  # a field whose second one may come
        if extradata and extradata[0] == 1:
            self._length = (extradata[4] & 3) + 1
            for unit in _in_header(extradata):
                self._read_parameters(unit)
        elif extradata:
            for unit in _units(extradata, 0):
                self._read_parameters(unit)

    def is_second(self, packet: bytes) -> bool:
        """Tell whether a packet holds only the second field of the frame before it."""
        fields: set[_Field] = set()
        has_frame = False
        for unit in _units(packet, self._length):
            self._read_parameters(unit)
            if unit[0] & 31 not in _SLICES:
                continue
            field = self._field(unit)
            if field is None:
                has_frame = True
            else:
                fields.add(field)
        if not fields and not has_frame:
            return False
        first = self._first
        self._first = None
        if has_frame or len(fields) != 1:
            return False
        (field,) = fields
        if first is not None and first == field._replace(is_bottom=not field.is_bottom):
            return True
        self._first = field
        return False

    def _read_parameters(self, unit: bytes) -> None:
        kind = unit[0] & 31
        if kind == _SEQUENCE:
            number, sequence = _read_sequence(unit)
            self._sequences[number] = sequence
        elif kind == _PICTURE:
            bits = _Bits(unit[1:_HEADER])
            number = bits.ue()
            self._pictures[number] = bits.ue()

    def _field(self, unit: bytes) -> _Field | None:
        """Return the field that a slice is of; None if it is of a frame."""
        bits = _Bits(unit[1:_HEADER])
        bits.ue()  # first macroblock
        bits.ue()  # type
        sequence = self._sequences.get(self._pictures.get(bits.ue(), -1))
        if sequence is None or not sequence.has_fields:
            return None
        if sequence.has_planes:
            bits.u(2)
        number = bits.u(sequence.number_bits)
        return _Field(number, bool(bits.u(1))) if bits.u(1) else None


class _Bits:
    """Bits of a unit, read in order; zeros beyond its end."""

    def __init__(self, data: bytes) -> None:
        # A 3 keeps zeros from looking like a start code.
        plain = data.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(plain)
        self._left = 8 * len(plain)

    def u(self, count: int) -> int:
        """Read an unsigned number of so many bits."""
        self._left -= count
        if self._left < 0:
            return 0
        return self._value >> self._left & ((1 << count) - 1)

    def ue(self) -> int:
        """Read an unsigned Exp-Golomb code."""
        zeros = 0
        while self._left > 0 and not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """Read a signed Exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _units(data: bytes, length: int) -> Iterator[bytes]:
    """Yield the NAL units of a packet, none empty."""
    if not length:
        yield from filter(None, (unit.rstrip(b"\0") for unit in data.split(_START)))
        return
    at = 0
    while at + length < len(data):
        size = int.from_bytes(data[at : at + length])
        at += length
        if size and at < len(data):
            yield data[at : at + size]
        at += size


def _in_header(extradata: bytes) -> Iterator[bytes]:
    """Yield the parameters in the header of an MP4 or Matroska file (ISO/IEC 14496-15,
    5.3.3.1)."""
    at = 5
    for mask in (31, 255):  # sets of sequence parameters, and of picture parameters
        count = int.from_bytes(extradata[at : at + 1]) & mask
        at += 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2])
            if size:
                yield extradata[at + 2 : at + 2 + size]
            at += 2 + size


def _read_sequence(unit: bytes) -> tuple[int, _Sequence]:
    """Read a set of sequence parameters; returns its number, too."""
    bits = _Bits(unit[1:])
    profile = bits.u(8)
    bits.u(16)  # constraints and level
    number = bits.ue()
    has_planes = profile in _HIGH and _read_high(bits)
    number_bits = bits.ue() + 4
    order = bits.ue()  # how the order of pictures is told
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 255)):
            bits.se()
    bits.ue()  # references
    bits.u(1)  # gaps
    bits.ue()  # width
    bits.ue()  # height
    has_fields = not bits.u(1)
    return number, _Sequence(has_planes, number_bits, has_fields)


def _read_high(bits: _Bits) -> bool:
    """Read what high profiles have more; returns whether colour planes are apart."""
    chroma = bits.ue()
    has_planes = chroma == 3 and bool(bits.u(1))
    bits.ue()  # depth of luma
    bits.ue()  # depth of chroma
    bits.u(1)
    if bits.u(1):
        for index in range(_BEFORE_LISTS + 4 * (chroma == 3)):
            if bits.u(1):
                _skip_list(bits, 16 if index < 6 else 64)
    return has_planes


def _skip_list(bits: _Bits, size: int) -> None:
    """Skip a list of scaling factors."""
    last = 8
    following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def deinterlace(
    frames: Iterator[av.VideoFrame], *, marked: bool
) -> Iterator[av.VideoFrame]:
    """Make whole frames of those that are woven of two fields, one for each, at their
    times.

    Args:
        frames: Decoded one after the other; each is made by those before and after it,
            too.
        marked: Leave those as they are that do not say that they are woven.
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
    sink = graph.add("buffersink")
    graph.link_nodes(
        source,
        graph.add(
            "bwdif", f"mode=send_frame:deint={'interlaced' if marked else 'all'}"
        ),
        sink,
    ).configure()
    waiting: deque[av.VideoFrame] = deque()
    with boundary(
        "clip.deinterlace",
        "The clip cannot be deinterlaced. Re-encode it, or leave this out.",
        ClipError,
    ):
        for frame in chain([first], frames, [None]):
            if frame is not None:
                waiting.append(frame)
            source.push(frame)
            while waiting:
                try:
                    made = cast(av.VideoFrame, sink.pull())
                except (av.BlockingIOError, av.EOFError):
                    break  # it looks at the frames after, too
                given = waiting.popleft()
                made.pts = given.pts
                made.time_base = given.time_base
                yield made
