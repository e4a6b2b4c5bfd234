"""Hostile videos, sounds and folders of pictures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.hostile import base
from tests.hostile.cases import Case, Expected
from tests.hostile.faults import CONTENT, NAMES, SPECIAL

_RUN = ["--method", "sdedit", "--set", "steps=1", "--set", "strength=1", "--prompt", "a pig on the grass"]
_CODECS = {  # suffix, encoder, pixel format
    "H.264 in MP4": (".mp4", "libx264", "yuv420p"),
    "H.265 in MOV": (".mov", "libx265", "yuv420p"),
    "VP9 in WebM": (".webm", "libvpx-vp9", "yuv420p"),
    "VP8 in WebM": (".webm", "libvpx", "yuv420p"),
    "AV1 in Matroska": (".mkv", "libsvtav1", "yuv420p"),
    "MPEG-4 in AVI": (".avi", "mpeg4", "yuv420p"),
    "MJPEG in AVI": (".avi", "mjpeg", "yuvj420p"),
    "FFV1 in Matroska": (".mkv", "ffv1", "yuv444p"),
    "GIF": (".gif", "gif", "rgb8"),
    "MPEG-2 in TS": (".ts", "mpeg2video", "yuv420p"),
    "ProRes in MOV": (".mov", "prores_ks", "yuv422p10le"),
    "raw in AVI": (".avi", "rawvideo", "bgr24"),
}


_ONE_PIECE = {"slices": "1"}  # FFV1 finds no way of its own to cut a frame that is one pixel wide


def edit(folder: Path, clip: str = "clip.mp4") -> list[str]:
    """Make a project of a clip and edit it with the built-in model."""
    value = base.content() | {"clip": {"path": clip, "size": 64}, "regions": []}
    del value["masks"]
    import json

    (folder / "project.json").write_text(json.dumps(value))
    return ["editing", "run", ".", "-o", "out", *_RUN]


def check(clip: str) -> list[str]:
    """Open a clip as a new project, reading all of it."""
    return ["new_and_check", clip]


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _contents()
    yield from _special()
    yield from _tags()
    yield from _shapes()
    yield from _sounds()
    yield from _folders()


def _contents() -> Iterator[Case]:
    for title, (suffix, codec, pix_fmt) in _CODECS.items():
        for name, fault in CONTENT.items():

            def prepare(
                folder: Path, fault=fault, of=(suffix, codec, pix_fmt), key=f"{title} {name}"
            ) -> list[str]:
                rng = np.random.default_rng(zlib.crc32(key.encode()))
                (folder / f"clip{of[0]}").write_bytes(fault(base.video(*of), rng))
                return check(f"clip{of[0]}")

            yield Case("clip", f"{title}, {name}", prepare, "either")


def _special() -> Iterator[Case]:
    for name, make in SPECIAL.items():

        def prepare(folder: Path, make=make) -> list[str]:
            make(folder / "clip.mp4")
            return check("clip.mp4")

        yield Case("clip", f"is {name}", prepare)
    for name, text in NAMES.items():

        def prepare_name(folder: Path, text=text) -> list[str]:
            (folder / f"{text}.mp4").write_bytes(base.video())
            return check(f"./{text}.mp4")

        yield Case("clip", f"name with {name}", prepare_name, "either")
        yield Case("clip", f"missing, name with {name}", lambda folder, text=text: check(f"./{text}.mp4"))


def _tags() -> Iterator[Case]:
    for place, part in enumerate(("matrix", "range", "primaries", "transfer")):
        for value in (*range(0, 19), 22, 200):

            def prepare(folder: Path, place=place, value=value) -> list[str]:
                _retag(folder / "clip.mp4", place, value)
                return edit(folder)

            if part != "range" or value < 4:
                yield Case("clip", f"colour {part} {value}", prepare, "accept", slow=True)


def _retag(path: Path, place: int, value: int) -> None:
    """Write a colour tag into the MP4 box that says them, which no encoder need allow."""
    tags = [1, 1, 1, 1]
    base.write_video(path, tags=tuple(tags))
    data = bytearray(path.read_bytes())
    at = data.find(b"colrnclx")
    if at < 0:
        raise RuntimeError("no colour box")
    # primaries, transfer, matrix: two bytes each; the range is the top bit that follows.
    offset = {"primaries": 8, "transfer": 10, "matrix": 12}
    if place == 1:
        data[at + 14] = 0x80 if value > 1 else 0
    else:
        start = at + offset[("matrix", "", "primaries", "transfer")[place]]
        data[start : start + 2] = struct.pack(">H", value)
    path.write_bytes(data)


def _shapes() -> Iterator[Case]:
    sizes = [(1, 1), (2, 1), (1, 64), (3, 3), (5, 200), (63, 65), (16, 1024), (2000, 2), (4096, 16)]
    for width, height in sizes:

        def prepare(folder: Path, size=(width, height)) -> list[str]:
            base.write_video(
                folder / "clip.mkv",
                base.pixels(2, *size),
                "ffv1",
                "bgr0",
                options=_ONE_PIECE if size[0] == 1 else {},
            )
            return edit(folder, "clip.mkv")

        yield Case("clip", f"{width}x{height}", prepare, "either", slow=True)
    for aspect in ("65535:1", "1:65535", "2147483647:1", "4096:1", "1:300", "16:11", "0:1", "3:2"):

        def prepare_aspect(folder: Path, aspect=aspect) -> list[str]:
            across, down = map(int, aspect.split(":"))
            _reshape(folder / "clip.mp4", across, down)
            return edit(folder)

        yield Case("clip", f"pixels of {aspect}", prepare_aspect, "either", slow=True)
    for rate in (Fraction(1, 1000), Fraction(1000), Fraction(24000, 1001), Fraction(1, 7), Fraction(120)):

        def prepare_rate(folder: Path, rate=rate) -> list[str]:
            base.write_video(folder / "clip.mp4", rate=rate)
            return edit(folder)

        yield Case("clip", f"{rate} frames a second", prepare_rate, "either", slow=True)
    for field, place in (("width", 0), ("height", 1)):
        for value in (0, 1, 30_000, 65_535):

            def prepare_declared(folder: Path, place=place, value=value) -> list[str]:
                _declare(folder / "clip.mp4", place, value)
                return check("clip.mp4")

            yield Case("clip", f"declared {field} {value}", prepare_declared, "either")


def _reshape(path: Path, across: int, down: int) -> None:
    """Give pixels a shape through the MP4 box `pasp`."""
    base.write_video(path, aspect=Fraction(2, 1))
    data = bytearray(path.read_bytes())
    at = data.find(b"pasp")
    if at < 0:
        raise RuntimeError("no box of the pixels' shape")
    data[at + 4 : at + 12] = struct.pack(">II", across, down)
    path.write_bytes(data)


def _declare(path: Path, place: int, value: int) -> None:
    base.write_video(path)
    data = bytearray(path.read_bytes())
    at = data.find(b"avc1", data.find(b"stsd"))
    start = at + 28 + 2 * place
    data[start : start + 2] = struct.pack(">H", value)
    path.write_bytes(data)


_LAYOUTS = ("mono", "stereo", "2.1", "3.0", "quad", "5.1", "6.1", "7.1", "octagonal", "hexadecagonal", "22.2")
_SOUNDS = {
    "AAC": ("aac", 48000),
    "FLAC": ("flac", 44100),
    "Opus": ("libopus", 48000),
    "PCM": ("pcm_s16le", 8000),
    "float PCM": ("pcm_f64le", 96000),
    "MP3": ("libmp3lame", 22050),
    "AC-3": ("ac3", 48000),
}


def _sounds() -> Iterator[Case]:
    for title, (codec, rate) in _SOUNDS.items():
        for layout in _LAYOUTS:

            def prepare(folder: Path, sound=(codec, layout, rate)) -> list[str]:
                try:
                    base.write_video(folder / "clip.mkv", sound=sound)
                except (ValueError, OSError, av.FFmpegError):  # the encoder does not know this layout
                    base.write_video(folder / "clip.mkv", sound=("pcm_s16le", sound[1], 48000))
                return edit(folder, "clip.mkv")

            yield Case("sound", f"{title}, {layout}", prepare, "accept", slow=True)
    for name in ("16 bytes flipped", "500 bytes flipped", "middle zeroed", "cut at half", "tail of ones"):
        for title, (codec, rate) in _SOUNDS.items():

            def prepare_broken(
                folder: Path, fault=CONTENT[name], sound=(codec, "stereo", rate), key=name + title
            ) -> list[str]:
                base.write_video(folder / "sound.mkv", sound=sound)
                data = (folder / "sound.mkv").read_bytes()
                (folder / "sound.mkv").unlink()
                half = len(data) // 2
                rng = np.random.default_rng(zlib.crc32(key.encode()))
                (folder / "clip.mkv").write_bytes(data[:half] + fault(data[half:], rng))
                return edit(folder, "clip.mkv")

            yield Case("sound", f"{title}, {name}", prepare_broken, "either", slow=True)


def _folders() -> Iterator[Case]:
    for suffix, options in (
        (".png", {}),
        (".jpg", {"quality": 90}),
        (".webp", {}),
        (".bmp", {}),
        (".tif", {}),
    ):
        for name, fault in CONTENT.items():

            def prepare(
                folder: Path, fault=fault, suffix=suffix, options=options, key=name + suffix
            ) -> list[str]:
                _pictures(folder / "clip", suffix, options)
                file = folder / "clip" / f"00002{suffix}"
                file.write_bytes(fault(file.read_bytes(), np.random.default_rng(zlib.crc32(key.encode()))))
                return check("clip")

            expected: Expected = (
                "either"
                if any(word in name for word in ("flip", "last", "near", "middle", "tail", "twice"))
                else "refuse"
            )
            yield Case("pictures", f"{suffix}, {name}", prepare, expected)
    for name, make in SPECIAL.items():
        if name == "missing":
            continue

        def prepare_special(folder: Path, make=make) -> list[str]:
            import os

            _pictures(folder / "clip", ".png", {})
            os.chdir(folder / "clip")
            make(folder / "clip" / "00004.png")
            os.chdir(folder)
            return check("clip")

        yield Case("pictures", f"one is {name}", prepare_special, "either" if "folder" in name else "refuse")
    for name, text in NAMES.items():

        def prepare_name(folder: Path, text=text) -> list[str]:
            _pictures(folder / "clip", ".png", {})
            (folder / "clip" / "00002.png").rename(folder / "clip" / f"{text}.png")
            (folder / "clip" / f"{text}.png").write_bytes(b"no picture")
            return check("clip")

        yield Case("pictures", f"broken, name with {name}", prepare_name)
    yield from _odd_pictures()


def _pictures(folder: Path, suffix: str, options: dict[str, int]) -> None:
    folder.mkdir()
    for index, frame in enumerate(base.pixels()):
        Image.fromarray(frame).save(folder / f"{index:05d}{suffix}", **options)


def _odd_pictures() -> Iterator[Case]:
    for mode in ("1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV"):

        def prepare(folder: Path, mode=mode) -> list[str]:
            _pictures(folder / "clip", ".tif", {})
            image = Image.fromarray(base.pixels()[0])
            odd = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
            odd.save(folder / "clip" / "00001.tif") if mode not in ("HSV",) else image.save(
                folder / "clip" / "00001.tif"
            )
            return check("clip")

        yield Case("pictures", f"mode {mode}", prepare, "either")
    for size in ((1, 1), (65, 64), (64, 1), (8192, 8192)):

        def prepare_size(folder: Path, size=size) -> list[str]:
            _pictures(folder / "clip", ".png", {})
            Image.new("RGB", size).save(folder / "clip" / "00003.png")
            return check("clip")

        yield Case("pictures", f"one of {size[0]}x{size[1]}", prepare_size)
    for side in (20_000, 60_000, 2**31 - 1):

        def prepare_bomb(folder: Path, side=side) -> list[str]:
            (folder / "clip").mkdir()
            (folder / "clip" / "00000.png").write_bytes(bomb(side))
            return check("clip")

        yield Case("pictures", f"a bomb of {side} pixels a side", prepare_bomb)
    yield Case("pictures", "an empty folder", lambda folder: ((folder / "clip").mkdir(), check("clip"))[1])


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )
