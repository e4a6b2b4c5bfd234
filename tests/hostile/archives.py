"""Hostile archives and uploads, opened as the page opens them."""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from tests.hostile import base
from tests.hostile.cases import Case
from tests.hostile.clips import bomb
from tests.hostile.faults import CONTENT, NAMES, TEXT

_OPEN = ["open_upload", "project.zip"]


def _packed(change: Callable[[zipfile.ZipFile], object] = lambda archive: None, prefix: str = "") -> bytes:
    """A sound project as an archive, and what a change adds to it."""
    folder = base.store() / "packed"
    if not folder.exists():
        base.write_project(base.store() / str(os.getpid())).rename(folder)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, prefix + str(file.relative_to(folder)))
        change(archive)
    return sink.getvalue()


def _entry(name: str, data: bytes = b"x", mode: int = 0o100644) -> Callable[[zipfile.ZipFile], object]:
    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("x")
        info.filename, info.external_attr = name, mode << 16
        archive.writestr(info, data)

    return add


def _many(count: int) -> Callable[[zipfile.ZipFile], object]:
    def add(archive: zipfile.ZipFile) -> None:
        for index in range(count):
            archive.writestr(f"extra/{index}", b"")

    return add


_ADDED: Mapping[str, Callable[[zipfile.ZipFile], object]] = {
    "a path upwards": _entry("../../evil"),
    "an absolute path": _entry("/tmp/evil"),
    "a Windows path": _entry("C:\\evil"),
    "back slashes": _entry("..\\..\\evil"),
    "a symbolic link": _entry("link", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "a pipe": _entry("pipe", b"", stat.S_IFIFO | 0o644),
    "a device": _entry("device", b"", stat.S_IFCHR | 0o644),
    "an empty name": _entry(""),
    "a dot": _entry("."),
    "a long name": _entry("n" * 5000),
    "a deep path": _entry("a/" * 3000 + "b"),
    "60,000 spaces in a name": _entry(" " * 60_000 + "x"),
    "a name with a null": _entry("a\0b"),
    "an entry twice": _entry("project.json", b"{}"),
    "a file where a folder is": _entry("masks/00000.png/x"),
    "a folder where a file is": _entry("masks"),
    "20,000 files": _many(20_000),
    "a bomb": _entry("zeros", bytes(450_000_000)),
    "a bomb of pixels": _entry("masks/00000.png", bomb(60_000)),
    **{f"a name with {name}": _entry(text) for name, text in NAMES.items() if "UTF" not in name},
    **{
        f"a name that is {name}": _entry(text[:60_000])
        for name, text in TEXT.items()
        if "surrogate" not in name
    },
}


def cases() -> Iterator[Case]:
    """All of them."""
    for name, fault in CONTENT.items():

        def prepare(folder: Path, fault=fault, name=name) -> list[str]:
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            (folder / "project.zip").write_bytes(fault(_packed(), rng))
            return _OPEN

        yield Case("archive", name, prepare, "either")
    for name, change in _ADDED.items():

        def prepare_added(folder: Path, change=change) -> list[str]:
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                (folder / "project.zip").write_bytes(_packed(change))
            return _OPEN

        yield Case("archive", name, prepare_added, "either" if "name" in name or "dot" in name else "refuse")
    for place, value in (("compress_type", 99), ("flag_bits", 1), ("compress_type", 12)):

        def prepare_head(folder: Path, place=place, value=value) -> list[str]:
            data = bytearray(_packed())
            at = data.find(b"PK\x01\x02")
            while at >= 0:
                data[at + (10 if place == "compress_type" else 8)] = value
                at = data.find(b"PK\x01\x02", at + 4)
            (folder / "project.zip").write_bytes(data)
            return _OPEN

        yield Case("archive", f"{place} {value}", prepare_head)
    yield from _lies()
    yield from _uploads()


def _lies() -> Iterator[Case]:
    for name, size in (("smaller", 1), ("larger", 2**31), ("endless", 2**32 - 1)):

        def prepare(folder: Path, size=size) -> list[str]:
            data = bytearray(_packed())
            at = data.find(b"PK\x01\x02")
            data[at + 24 : at + 28] = size.to_bytes(4, "little")
            (folder / "project.zip").write_bytes(data)
            return _OPEN

        yield Case("archive", f"says it is {name}", prepare, "either")

    def nested(folder: Path) -> list[str]:
        (folder / "project.zip").write_bytes(_packed(prefix="a/b/c/"))
        return _OPEN

    yield Case("archive", "a project three folders down", nested, "either")

    def none(folder: Path) -> list[str]:
        with zipfile.ZipFile(folder / "project.zip", "w") as archive:
            archive.writestr("readme.txt", "hello")
        return _OPEN

    yield Case("archive", "no project", none)


def _uploads() -> Iterator[Case]:
    for suffix in (".mp4", ".mov", ".webm", ".avi", ".gif", ".mkv"):
        for name, fault in CONTENT.items():

            def prepare(folder: Path, fault=fault, suffix=suffix, name=name) -> list[str]:
                codec = {".webm": "libvpx", ".avi": "mpeg4", ".gif": "gif"}.get(suffix, "libx264")
                data = base.video(suffix, codec, "rgb8" if suffix == ".gif" else "yuv420p")
                rng = np.random.default_rng(zlib.crc32((name + suffix).encode()))
                (folder / f"clip{suffix}").write_bytes(fault(data, rng))
                return ["open_upload", f"clip{suffix}"]

            yield Case("upload", f"{suffix}, {name}", prepare, "either")
