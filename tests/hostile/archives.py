"""Hostile archives and uploads, opened as the page opens them."""

from __future__ import annotations

import io
import json
import os
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.hostile import base
from tests.hostile.cases import Case, Expected
from tests.hostile.clips import bomb
from tests.hostile.faults import CONTENT, NAMES, TEXT, damage

Change = Callable[[zipfile.ZipFile], object]


def _packed(
    change: Change = lambda archive: None, prefix: str = "", files: str = "*"
) -> bytes:
    """A sound project as an archive, or those of its files that match, and what a
    change adds to it."""
    folder = base.store() / "packed"
    if not folder.exists():
        base.write_project(base.store() / str(os.getpid())).rename(folder)
    sink = io.BytesIO()
    with (
        warnings.catch_warnings(),
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        warnings.simplefilter("ignore")  # of names that are there twice
        for file in sorted(path for path in folder.rglob(files) if path.is_file()):
            archive.write(file, prefix + str(file.relative_to(folder)))
        change(archive)
    return sink.getvalue()


def _entry(name: str, data: bytes = b"x", mode: int = 0o100644) -> Change:
    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("x")
        info.filename = name
        info.external_attr = mode << 16
        archive.writestr(info, data)

    return add


_ADDED: dict[str, Change] = {
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
    "a file where a folder is": _entry("masks/00000.png/x.png"),
    "a folder where a file is": _entry("clip.mp4/x.png"),
    "20,000 files": lambda archive: [
        archive.writestr(f"extra/{i}", b"") for i in range(20_000)
    ],
    "a bomb": _entry("masks/zeros.png", bytes(450_000_000)),
    "a prompt with a lone surrogate": _entry(
        "project.json",
        json.dumps(base.changed(base.content(), "prompt", "a\ud800b")).encode(),
    ),
    "a bomb of pixels": _entry("masks/00000.png", bomb(60_000)),
    **{
        f"a name with {name}": _entry(text)
        for name, text in NAMES.items()
        if "UTF" not in name
    },
    **{
        f"a name that is {n}": _entry(text[:60_000])
        for n, text in TEXT.items()
        if "surrogate" not in n
    },
}


def _archive(
    name: str, make: Callable[[], bytes], expected: Expected = "refuse"
) -> Case:
    return _opened("archive", name, "project.zip", make, expected)


def _opened(
    kind: str, name: str, file: str, make: Callable[[], bytes], expected: Expected
) -> Case:
    def write(folder: Path) -> None:
        (folder / file).write_bytes(make())

    return Case(kind, name, ["open_upload", file], write, expected)


def cases() -> Iterator[Case]:
    """All of them."""
    for name in CONTENT:
        yield _archive(name, lambda name=name: damage(_packed(), name), "either")
    for name, change in _ADDED.items():
        soft = any(word in name for word in ("name", "dot", "deep"))
        yield _archive(name, partial(_packed, change), "either" if soft else "refuse")
    for entry, offset, value in (
        ("compress_type", 10, 99),
        ("flag_bits", 8, 1),
        ("compress_type", 10, 12),
    ):
        yield _archive(
            f"{entry} {value}", partial(_overwritten, offset, bytes([value]))
        )
    for name, size in (("smaller", 1), ("larger", 2**31), ("endless", 2**32 - 1)):
        lie = partial(_overwritten, 24, size.to_bytes(4, "little"), 1)
        yield _archive(f"says it is {name}", lie, "either")
    yield _archive(
        "a project three folders down", partial(_packed, prefix="a/b/c/"), "either"
    )
    yield _archive(
        "no project", partial(_packed, _entry("readme.txt", b"hello"), files="no file")
    )
    for prefix in ("", "inner/"):  # `open_upload` looks for what is called stray
        stray = partial(_packed, partial(_add_strays, prefix), prefix)
        yield _archive(f"further files in {prefix or 'the archive'}", stray, "accept")
    for suffix in (".mp4", ".mov", ".webm", ".avi", ".gif", ".mkv"):
        codec = {".webm": "libvpx", ".avi": "mpeg4", ".gif": "gif"}.get(
            suffix, "libx264"
        )
        of = suffix, codec, "rgb8" if suffix == ".gif" else "yuv420p"
        for name in CONTENT:
            make = lambda of=of, name=name: damage(base.video(*of), name, name + of[0])  # noqa: E731
            yield _opened(
                "upload", f"{suffix}, {name}", f"clip{suffix}", make, "either"
            )


def _add_strays(prefix: str, archive: zipfile.ZipFile) -> None:
    for number in range(1999):
        archive.writestr(f"{prefix}stray/{number}.png", b"x")
    for name in (
        "stray.html",
        "stray.svg",
        "stray.mp4",
        "masks/stray.html",
        "masks/stray.svg",
    ):
        archive.writestr(prefix + name, b"<script>alert(1)</script>")


def _overwritten(offset: int, data: bytes, most: int | None = None) -> bytes:
    """A sound archive with other bytes in the entries of its directory; in so many of
    them, or in all."""
    head, *entries = _packed().split(b"PK\x01\x02")
    for number in range(len(entries))[:most]:
        start = offset - 4
        entry = entries[number]
        entries[number] = entry[:start] + data + entry[start + len(data) :]
    return b"PK\x01\x02".join([head, *entries])
