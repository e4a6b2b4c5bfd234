"""H.264 whose pictures are single fields (PAFF), as cameras write it and no encoder at
hand does: macroblocks of plain samples (I_PCM), so that nothing is lost."""

from __future__ import annotations

import io
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

_MB = 16


class _Bits(list):
    """Bits of a NAL unit (ISO/IEC 14496-10, 7.3 and 9.1)."""

    def u(self, bits: int, value: int) -> _Bits:
        self.extend(value >> place & 1 for place in reversed(range(bits)))
        return self

    def ue(self, *values: int) -> _Bits:
        for value in values:
            length = (value + 1).bit_length()
            self.u(2 * length - 1, value + 1)
        return self

    def data(self) -> bytes:
        """The bits so far, a whole number of bytes with zeros at the end."""
        self.extend([0] * (-len(self) % 8))
        return np.packbits(np.array(self, np.uint8)).tobytes()


def _nal(header: int, payload: bytes) -> bytes:
    out = bytearray()
    zeros = 0
    for byte in payload:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + bytes([header]) + bytes(out)


def _closed(bits: _Bits) -> bytes:
    return bits.u(1, 1).data()


def _parameters(width: int, height: int, level: int) -> bytes:
    sps = _Bits().u(8, 100).u(8, 0).u(8, level)
    sps.ue(0, 1, 0, 0).u(2, 0)  # 4:2:0, 8 bits, no scaling lists
    sps.ue(0, 2, 1).u(1, 0)  # frame_num of 4 bits, order as decoded, one reference
    sps.ue(width // _MB - 1, height // (2 * _MB) - 1)
    sps.u(1, 0).u(1, 0).u(1, 1).u(1, 0).u(1, 0)  # frame_mbs_only_flag 0
    pps = _Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).ue(0, 0, 0).u(3, 0b100)
    return _nal(0x67, _closed(sps)) + _nal(0x68, _closed(pps))


def _picture(
    planes: list[np.ndarray], number: int, is_key: bool, parity: int | None
) -> bytes:
    """One access unit: a field, or a frame where `parity` is None."""
    head = _Bits().ue(0, 7, 0).u(4, number % 16)
    head.u(1, 0) if parity is None else head.u(1, 1).u(1, parity)
    if is_key:
        head.ue(number % 2).u(2, 0)
    else:
        head.u(1, 0)
    head.ue(0, 1)  # no change of quality, no deblocking
    body = bytearray()
    luma, *chroma = planes
    bits = head
    for y in range(0, luma.shape[0], _MB):
        for x in range(0, luma.shape[1], _MB):
            body += bits.ue(25).data()
            bits = _Bits()
            body += luma[y : y + _MB, x : x + _MB].tobytes()
            for plane in chroma:
                body += plane[y // 2 : y // 2 + 8, x // 2 : x // 2 + 8].tobytes()
    unit = _nal(0x65 if is_key else 0x61, bytes(body) + b"\x80")
    return _nal(0x09, b"\xf0") + unit


def write_fields(
    path: Path,
    frames: np.ndarray,
    *,
    fps: Fraction | int = 25,
    as_frames: Collection[int] = (),
    bottom_first: bool = False,
    every: int = 4,
    stamp_seconds: bool = True,
    tone: np.ndarray | None = None,
) -> Path:
    """Write frames, each as two fields but those of `as_frames`; every so many can be
    entered.

    With `stamp_seconds`, second fields have times of their own. `tone` is sound.
    """
    _, height, width, _ = frames.shape
    stream = bytearray(_parameters(width, height, 30))
    counts = []
    since = 0
    for index, frame in enumerate(frames):
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        yuv = image.reformat(format="yuv420p").to_ndarray()
        luma = yuv[:height]
        chroma = yuv[height:].reshape(2, height // 2, width // 2)
        is_key = index % every == 0
        since = 0 if is_key else since + 1
        planes = [luma, *chroma]
        if index in as_frames:
            # A frame of an interlaced sequence, in macroblocks of frames.
            stream += _picture(planes, since, is_key, None)
            counts.append(1)
            continue
        order = (1, 0) if bottom_first else (0, 1)
        for place, parity in enumerate(order):
            field = [np.ascontiguousarray(plane[parity::2]) for plane in planes]
            stream += _picture(field, since, is_key and place == 0, parity)
        counts.append(2)
    _remux(bytes(stream), path, counts, Fraction(fps), stamp_seconds, tone)
    return path


def _remux(
    stream: bytes,
    path: Path,
    counts: list[int],
    fps: Fraction,
    stamp_seconds: bool,
    tone: np.ndarray | None,
) -> None:
    unit = Fraction(1, 90_000)
    places = [
        (frame, place) for frame, count in enumerate(counts) for place in range(count)
    ]
    with (
        av.open(io.BytesIO(stream), format="h264") as raw,
        av.open(str(path), "w") as out,
    ):
        video = out.add_stream_from_template(raw.streams.video[0])
        video.time_base = unit
        sound = (
            out.add_stream("aac", rate=48_000, layout="mono")
            if tone is not None
            else None
        )
        packets = [packet for packet in raw.demux() if packet.size]
        assert len(packets) == len(places)
        for packet, (frame, place) in zip(packets, places, strict=True):
            begin = (frame + Fraction(place, 2)) / fps
            packet.stream = video
            packet.time_base = unit
            packet.dts = round(begin / unit)
            packet.pts = packet.dts
            if place and not stamp_seconds:
                packet.pts = None
            packet.duration = round(1 / fps / counts[frame] / unit)
            out.mux(packet)
        if sound is not None:
            block = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            block.sample_rate = 48_000
            block.pts = 0
            out.mux([*sound.encode(block), *sound.encode(None)])
