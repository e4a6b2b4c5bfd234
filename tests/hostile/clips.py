"""Hostile videos, sounds and folders of pictures."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
from PIL import Image

from tests.hostile import base
from tests.hostile.cases import Case, Expected
from tests.hostile.faults import CONTENT, NAMES, SPECIAL, damage, put

_EDIT = ["editing", "run", ".", "-o", "out", "--method", "sdedit", "--set", "steps=1", "--set", "strength=1"]
_EDIT += ["--prompt", "a pig on the grass"]
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


def _edited(
    kind: str, name: str, write: Callable[[Path], object], expected: Expected, clip: str = "clip.mp4"
) -> Case:
    """A clip that is written, made a project and edited with the built-in model."""

    def prepare(folder: Path) -> None:
        write(folder / clip)
        value = base.content() | {"clip": {"path": clip, "size": 64}, "regions": []}
        del value["masks"]
        (folder / "project.json").write_text(json.dumps(value))

    return Case(kind, name, _EDIT, prepare, expected, slow=True)


def _checked(
    name: str, write: Callable[[Path], object], expected: Expected = "refuse", clip: str = "clip.mp4"
) -> Case:
    """A clip that is written and opened as a new project, which reads all of it."""
    return Case("clip", name, ["new_and_check", clip], lambda folder: write(folder / clip), expected)


def cases() -> Iterator[Case]:
    """All of them."""
    for title, of in _CODECS.items():
        for name in CONTENT:

            def write(path: Path, of: tuple[str, str, str] = of, name=name, title=title) -> None:
                path.write_bytes(damage(base.video(*of), name, f"{title} {name}"))

            yield _checked(f"{title}, {name}", write, "either", f"clip{of[0]}")
    for name in SPECIAL:
        yield _checked(f"is {name}", partial(put, kind=name))
    for name, text in NAMES.items():
        clip = f"./{text}.mp4"
        yield _checked(f"name with {name}", lambda path: path.write_bytes(base.video()), "either", clip)
        yield _checked(f"missing, name with {name}", lambda path: None, clip=clip)
    yield from _tags()
    yield from _shapes()
    yield from _sounds()
    yield from _folders()


def _overwrite(path: Path, boxes: tuple[bytes, ...], offset: int, data: bytes) -> None:
    """Write over what an MP4 file says, which no encoder need allow; boxes lie one in another."""
    content, at = bytearray(path.read_bytes()), 0
    for box in boxes:
        at = content.find(box, at)
        if at < 0:
            raise RuntimeError(f"no box {box}")
    content[at + offset : at + offset + len(data)] = data
    path.write_bytes(content)


def _tags() -> Iterator[Case]:
    # Primaries, transfer, matrix: two bytes each; the range is the top bit that follows.
    offsets = {"matrix": 12, "range": 14, "primaries": 8, "transfer": 10}
    for part, offset in offsets.items():
        for value in (*range(0, 19), 22, 200) if part != "range" else range(4):
            data = bytes([0x80 * (value > 1)]) if part == "range" else struct.pack(">H", value)

            def write(path: Path, offset=offset, data=data) -> None:
                base.write_video(path, tags=(1, 1, 1, 1))
                _overwrite(path, (b"colrnclx",), offset, data)

            yield _edited("clip", f"colour {part} {value}", write, "accept")


def _shapes() -> Iterator[Case]:
    for size in ((1, 1), (2, 1), (1, 64), (3, 3), (5, 200), (63, 65), (16, 1024), (2000, 2), (4096, 16)):
        # FFV1 finds no way of its own to cut a frame that is one pixel wide.
        options = {"slices": "1"} if size[0] == 1 else {}

        def write(path: Path, size=size, options=options) -> None:
            base.write_video(path, base.pixels(2, *size), "ffv1", "bgr0", options=options)

        yield _edited("clip", "{}x{}".format(*size), write, "either", "clip.mkv")
    for aspect in ("65535:1", "1:65535", "2147483647:1", "4096:1", "1:300", "16:11", "0:1", "3:2"):

        def write_aspect(path: Path, aspect=aspect) -> None:
            base.write_video(path, aspect=Fraction(2, 1))
            _overwrite(path, (b"pasp",), 4, struct.pack(">II", *map(int, aspect.split(":"))))

        yield _edited("clip", f"pixels of {aspect}", write_aspect, "either")
    for rate in (Fraction(1, 1000), Fraction(1000), Fraction(24000, 1001), Fraction(1, 7), Fraction(120)):
        yield _edited("clip", f"{rate} frames a second", partial(base.write_video, rate=rate), "either")
    for field, offset in (("width", 28), ("height", 30)):
        for value in (0, 1, 30_000, 65_535):

            def write_declared(path: Path, offset=offset, value=value) -> None:
                base.write_video(path)
                _overwrite(path, (b"stsd", b"avc1"), offset, struct.pack(">H", value))

            yield _checked(f"declared {field} {value}", write_declared, "either")


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

            def write(path: Path, sound=(codec, layout, rate)) -> None:
                try:
                    base.write_video(path, sound=sound)
                except (ValueError, OSError, av.FFmpegError):  # the encoder does not know this layout
                    base.write_video(path, sound=("pcm_s16le", sound[1], 48000))

            yield _edited("sound", f"{title}, {layout}", write, "accept", "clip.mkv")
    for name in ("16 bytes flipped", "500 bytes flipped", "middle zeroed", "cut at half", "tail of ones"):
        for title in _SOUNDS:

            def write_broken(path: Path, name=name, title=title) -> None:
                codec, rate = _SOUNDS[title]
                data = base.write_video(path, sound=(codec, "stereo", rate)).read_bytes()
                half = len(data) // 2
                path.write_bytes(data[:half] + damage(data[half:], name, name + title))

            yield _edited("sound", f"{title}, {name}", write_broken, "either", "clip.mkv")


def _pictures(
    name: str,
    change: Callable[[Path], object],
    expected: Expected = "refuse",
    suffix: str = ".png",
    **options: int,
) -> Case:
    """A folder of pictures in which something changes."""

    def write(folder: Path) -> None:
        (folder / "clip").mkdir()
        for index, frame in enumerate(base.pixels()):
            Image.fromarray(frame).save(folder / "clip" / f"{index:05d}{suffix}", **options)
        change(folder / "clip")

    return Case("pictures", name, ["new_and_check", "clip"], write, expected)


def _folders() -> Iterator[Case]:
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tif"):
        for name in CONTENT:

            def change(clip: Path, name=name, suffix=suffix) -> None:
                file = clip / f"00002{suffix}"
                file.write_bytes(damage(file.read_bytes(), name, name + suffix))

            soft = any(word in name for word in ("flip", "last", "near", "middle", "tail", "twice"))
            options = {"quality": 90} if suffix == ".jpg" else {}
            yield _pictures(f"{suffix}, {name}", change, "either" if soft else "refuse", suffix, **options)
    for name in SPECIAL:
        if name != "missing":
            soft = "either" if "folder" in name else "refuse"
            yield _pictures(f"one is {name}", lambda clip, name=name: put(clip / "00004.png", name), soft)
    for name, text in NAMES.items():

        def rename(clip: Path, text=text) -> None:
            (clip / "00002.png").rename(clip / f"{text}.png").write_bytes(b"no picture")

        yield _pictures(f"broken, name with {name}", rename)
    for mode in ("1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV"):
        yield _pictures(f"mode {mode}", partial(_save_odd, mode=mode), "either", ".tif")
    for size in ((1, 1), (65, 64), (64, 1), (8192, 8192)):
        name = "one of {}x{}".format(*size)
        yield _pictures(name, lambda clip, size=size: Image.new("RGB", size).save(clip / "00003.png"))
    command = ["new_and_check", "clip"]
    for side in (20_000, 60_000, 2**31 - 1):

        def write(folder: Path, side=side) -> None:
            base.replace_file(folder / "clip" / "00000.png", bomb(side))

        yield Case("pictures", f"a bomb of {side} pixels a side", command, write)
    yield Case("pictures", "an empty folder", command, lambda folder: (folder / "clip").mkdir())


def _save_odd(clip: Path, mode: str) -> None:
    image = Image.fromarray(base.pixels()[0])
    if mode == "I;16":
        image = image.convert("I")
    (image if mode == "HSV" else image.convert(mode)).save(clip / "00001.tif")


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
