"""Hostile videos, sounds and folders of pictures."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import av
from PIL import Image

from regrain.editing.media.clip import ColorTags
from tests.hostile import base
from tests.hostile.cases import Case, Expected
from tests.hostile.faults import (
    CONTENT,
    NAMES,
    SPECIAL,
    damage,
    damage_file,
    put,
    replace_file,
)

_EDIT = [
    "editing",
    "run",
    ".",
    "-o",
    "out",
    "--method",
    "sdedit",
    "--set",
    "steps=1",
    "--set",
    "strength=1",
    "--prompt",
    "a pig on the grass",
]
# Suffix, encoder, pixel format.
_CODECS = {
    "H.264 in MP4": (".mp4", "libx264", "yuv420p"),
    "H.265 in MOV": (".mov", "libx265", "yuv420p"),
    "VP9 in WebM": (".webm", "libvpx-vp9", "yuv420p"),
    "VP8 in WebM": (".webm", "libvpx", "yuv420p"),
    "AV1 in Matroska": (".mkv", "libsvtav1", "yuv420p"),
    "GIF": (".gif", "gif", "rgb8"),
    "MPEG-4 in AVI": (".avi", "mpeg4", "yuv420p"),
    "MJPEG in AVI": (".avi", "mjpeg", "yuvj420p"),
    "FFV1 in Matroska": (".mkv", "ffv1", "yuv444p"),
    "raw in AVI": (".avi", "rawvideo", "bgr24"),
    "Y4M": (".y4m", "wrapped_avframe", "yuv420p"),
    "animated PNG": (".apng", "apng", "rgb24"),
    "VP9 in IVF": (".ivf", "libvpx-vp9", "yuv420p"),
    "H.264 in NUT": (".nut", "libx264", "yuv420p"),
    "VP9 with alpha": (".webm", "libvpx-vp9", "yuva420p"),
    "MPEG-2 in TS": (".ts", "mpeg2video", "yuv420p"),
    "ProRes in MOV": (".mov", "prores_ks", "yuv422p10le"),
    "AV1 in AVIF": (".avif", "libsvtav1", "yuv420p"),
    "WMV": (".wmv", "wmv2", "yuv420p"),
}


def _edited(
    kind: str, name: str, write: base.Change, expected: Expected, clip: str = "clip.mp4"
) -> Case:
    """A clip that is written, made a project and edited with the built-in model."""

    def prepare(folder: Path) -> None:
        write(folder / clip)
        value = base.content() | {"clip": {"path": clip, "size": 64}, "regions": []}
        del value["masks"]
        (folder / "project.json").write_text(json.dumps(value))

    return Case(kind, name, _EDIT, prepare, expected, slow=True)


def _checked(
    name: str, write: base.Change, expected: Expected = "refuse", clip: str = "clip.mp4"
) -> Case:
    """A clip that is written and opened as a new project, which reads all of it."""
    return Case(
        "clip",
        name,
        ["new_and_check", clip],
        lambda folder: write(folder / clip),
        expected,
    )


def _damaged(fault: str, key: str, of: tuple[str, str, str], path: Path) -> None:
    path.write_bytes(damage(base.video(*of), fault, key))


def cases() -> Iterator[Case]:
    """All of them."""
    for title, of in _CODECS.items():
        for name in CONTENT:
            write = partial(_damaged, name, f"{title} {name}", of)
            yield _checked(f"{title}, {name}", write, "either", f"clip{of[0]}")
    for name in SPECIAL:
        yield _checked(f"is {name}", partial(put, kind=name))
    for name, text in NAMES.items():
        clip = f"./{text}.mp4"
        yield _checked(
            f"name with {name}",
            lambda path: path.write_bytes(base.video()),
            "either",
            clip,
        )
        yield _checked(f"missing, name with {name}", lambda path: None, clip=clip)
    yield from chain(_tags(), _shapes(), _sounds(), _folders())


def _overwritten(
    boxes: tuple[bytes, ...], offset: int, data: bytes, path: Path, **options: Any
) -> None:
    """Write a video, then over what the file says, which no encoder need allow; boxes
    lie one in another."""
    content = bytearray(base.write_video(path, **options).read_bytes())
    at = 0
    for box in boxes:
        at = content.find(box, at)
        if at < 0:
            raise RuntimeError(f"no box {box}")
    content[at + offset : at + offset + len(data)] = data
    path.write_bytes(content)


def _tags() -> Iterator[Case]:
    # Primaries, transfer, matrix: two bytes each; the range is the top bit that
    # follows.
    offsets = {"matrix": 12, "range": 14, "primaries": 8, "transfer": 10}
    for part, offset in offsets.items():
        for value in (*range(0, 19), 22, 200) if part != "range" else range(4):
            data = (
                bytes([0x80 * (value > 1)])
                if part == "range"
                else struct.pack(">H", value)
            )
            # H.264 has its own tags.
            write = partial(
                _overwritten,
                (b"colrnclx",),
                offset,
                data,
                tags=ColorTags(),
                codec="mpeg4",
            )
            yield _edited("clip", f"colour {part} {value}", write, "accept")


def _shapes() -> Iterator[Case]:
    narrow = ((1, 64), (5, 200), (16, 1024), (2000, 2), (4000, 16), (8192, 16))
    for size in ((1, 1), (2, 1), (3, 3), (63, 65), (16, 512), *narrow):
        # FFV1 finds no way of its own to cut a frame that is one pixel wide.
        options = {"slices": "1"} if size[0] == 1 else {}
        frames = base.pixels(2, *size)
        write = partial(
            base.write_video, frames=frames, codec="ffv1", pix_fmt="bgr0", **options
        )
        expected = "refuse" if size in narrow else "accept"
        yield _edited("clip", "{}x{}".format(*size), write, expected, "clip.mkv")
    for aspect in (
        "65535:1",
        "1:65535",
        "2147483647:1",
        "4096:1",
        "1:300",
        "16:11",
        "0:1",
        "3:2",
    ):
        data = struct.pack(">II", *map(int, aspect.split(":")))
        write = partial(_overwritten, (b"pasp",), 4, data, aspect=Fraction(2, 1))
        yield _edited("clip", f"pixels of {aspect}", write, "either")
    for rate in (
        Fraction(1, 1000),
        Fraction(1000),
        Fraction(24000, 1001),
        Fraction(1, 7),
        Fraction(120),
    ):
        yield _edited(
            "clip",
            f"{rate} frames a second",
            partial(base.write_video, rate=rate),
            "either",
        )
    write = partial(
        base.write_video, frames=base.pixels(3), stamps=(0, 40, 864_000_000)
    )
    yield _edited("clip", "a gap of ten days", write, "accept", "clip.mkv")
    slow = partial(
        _overwritten, (b"strh",), 28, struct.pack("<II", 2**32 - 1, 1), codec="mpeg4"
    )
    yield _checked("a frame in 136 years", slow, "accept", "clip.avi")
    for field, offset in (("width", 28), ("height", 30)):
        for value in (0, 1, 30_000, 65_535):
            write = partial(
                _overwritten, (b"stsd", b"avc1"), offset, struct.pack(">H", value)
            )
            yield _checked(f"declared {field} {value}", write, "either")


_LAYOUTS = (
    "mono",
    "stereo",
    "2.1",
    "3.0",
    "quad",
    "5.1",
    "6.1",
    "7.1",
    "octagonal",
    "hexadecagonal",
    "22.2",
)
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
    stamps = [86_400_000 * frame for frame in range(base.FRAMES)]
    write = partial(base.write_video, stamps=stamps, sound=("aac", "stereo", 48000))
    yield _edited("sound", "a frame a day", write, "accept", "clip.mkv")
    for title, (codec, rate) in _SOUNDS.items():
        for layout in _LAYOUTS:
            write = partial(_sounding, (codec, layout, rate))
            yield _edited("sound", f"{title}, {layout}", write, "accept", "clip.mkv")
    for name in (
        "16 bytes flipped",
        "500 bytes flipped",
        "middle zeroed",
        "cut at half",
        "tail of ones",
    ):
        for title, (codec, rate) in _SOUNDS.items():
            write = partial(_broken, (codec, "stereo", rate), name, name + title)
            yield _edited("sound", f"{title}, {name}", write, "either", "clip.mkv")


def _sounding(sound: tuple[str, str, int], path: Path) -> None:
    try:
        base.write_video(path, sound=sound)
    except (ValueError, OSError, av.FFmpegError):
        # the encoder does not know this layout
        base.write_video(path, sound=("pcm_s16le", sound[1], 48000))


def _broken(sound: tuple[str, str, int], fault: str, key: str, path: Path) -> None:
    data = base.write_video(path, sound=sound).read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + damage(data[half:], fault, key))


def _pictures(
    name: str,
    file: str,
    change: base.Change,
    *given,
    expected: Expected = "refuse",
    **options: int,
) -> Case:
    """A folder of pictures in which one file changes."""

    def write(folder: Path) -> None:
        (folder / "clip").mkdir()
        for index, frame in enumerate(base.pixels()):
            picture = folder / "clip" / f"{index:05d}{Path(file).suffix}"
            Image.fromarray(frame).save(picture, **options)
        change(folder / "clip" / file, *given)

    return Case("pictures", name, ["new_and_check", "clip"], write, expected)


def _folders() -> Iterator[Case]:
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tif"):
        for name in CONTENT:
            soft = any(
                word in name
                for word in ("flip", "last", "near", "middle", "tail", "twice")
            )
            more: dict[str, Any] = {"quality": 90} if suffix == ".jpg" else {}
            more["expected"] = "either" if soft else "refuse"
            yield _pictures(
                f"{suffix}, {name}",
                f"00002{suffix}",
                damage_file,
                name,
                name + suffix,
                **more,
            )
    for name in SPECIAL:
        if name != "missing":
            soft = "either" if "folder" in name else "refuse"
            yield _pictures(f"one is {name}", "00004.png", put, name, expected=soft)
    for name, text in NAMES.items():
        yield _pictures(f"broken, name with {name}", "00002.png", rename_broken, text)
    for name in ("²1", "①1", "0" * 200 + "1"):
        rename = lambda file, name=name: file.rename(file.with_name(f"{name}.png"))  # noqa: E731
        yield _pictures(f"called {name[:9]}", "00002.png", rename, expected="accept")
    for mode in ("1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV"):
        yield _pictures(f"mode {mode}", "00001.tif", _save_odd, mode, expected="either")
    for size in ((1, 1), (65, 64), (64, 1), (8192, 8192)):
        save = Image.new("RGB", size).save
        yield _pictures("one of {}x{}".format(*size), "00003.png", save)
    command = ["new_and_check", "clip"]
    for side in (20_000, 60_000, 2**31 - 1):
        write = lambda folder, side=side: replace_file(  # noqa: E731
            folder / "clip" / "00000.png", bomb(side)
        )
        yield Case("pictures", f"a bomb of {side} pixels a side", command, write)
    yield Case(
        "pictures", "an empty folder", command, lambda folder: (folder / "clip").mkdir()
    )


def rename_broken(file: Path, name: str) -> None:
    """Give a picture another name, and content that is none."""
    file.rename(file.with_name(f"{name}.png")).write_bytes(b"no picture")


def _save_odd(file: Path, mode: str) -> None:
    image = Image.fromarray(base.pixels()[0])
    if mode == "I;16":
        image = image.convert("I")
    (image if mode == "HSV" else image.convert(mode)).save(file)


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pieces = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*piece) for piece in pieces)
