"""Hostile masks: pictures, JSON, videos."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.hostile import base
from tests.hostile.cases import Case
from tests.hostile.clips import bomb, rename_broken
from tests.hostile.faults import (
    CONTENT,
    NAMES,
    SPECIAL,
    VALUES,
    damage,
    damage_file,
    put,
    replace_file,
)

_USES = {
    "in a project": ["editing", "check", "project"],
    "for a new one": [
        "editing",
        "new",
        "project/clip.mp4",
        "-o",
        "out",
        "--masks",
        "{}",
    ],
    "to convert": ["masks", "convert", "{}", "-o", "out"],
}


def cases() -> Iterator[Case]:
    """All of them."""
    for use, command in _USES.items():
        yield from _pictures(
            use, [part.replace("{}", "project/masks") for part in command]
        )
    yield from _json()
    yield from _other_pictures()
    yield from _other_files()
    yield from _folders()


# Mode, size, colour.
_ODD = {
    "RGB": ("RGB", (64, 64), (200, 30, 30)),
    "16 bits": ("I;16", (64, 64), 0),
    "transparent": ("LA", (64, 64), 0),
    "another size": ("P", (65, 64), 0),
    "label 200": ("L", (64, 64), 200),
    "real numbers": ("F", (64, 64), 0.5),
    "32 bits": ("I", (64, 64), 70_000),
}


def _pictures(use: str, command: list[str]) -> Iterator[Case]:
    def one(name: str, soft: bool, change: base.Change, *given) -> Case:
        write = base.with_project(change, *given, at="project/masks/00001.png")
        return Case(
            "masks", f"{use}, {name}", command, write, "either" if soft else "refuse"
        )

    for name in CONTENT:
        soft = any(
            word in name
            for word in ("flipped", "last", "twice", "near", "tail", "middle")
        )
        yield one(name, soft, damage_file, name)
    for name in SPECIAL:
        soft = use == "to convert" and name in ("missing", "a folder")
        yield one(f"one is {name}", soft, put, name)
    for name, given in _ODD.items():
        kind = "TIFF" if given[0] == "F" else "PNG"
        yield one(
            name,
            False,
            lambda file, given=given, kind=kind: Image.new(*given).save(file, kind),
        )
    yield one("a bomb", False, lambda file: file.write_bytes(bomb(50_000)))
    for name, text in NAMES.items():
        yield one(f"broken, name with {name}", False, rename_broken, text)
    for called in ("00009", "2", "cover", "old_1"):
        yield one(f"one is called {called}", False, _rename, called)


def _rename(file: Path, name: str) -> None:
    file.rename(file.with_stem(name))


def _content() -> dict[str, Any]:
    from regrain.editing.media.coco import write_rle

    file = base.store() / f"{os.getpid()}.json"
    write_rle({label: base.labels() == label for label in (1, 2)}, file)
    return json.loads(file.read_text())


_PLACES = (
    "images",
    "images.0",
    "images.0.id",
    "images.0.file_name",
    "images.0.width",
    "annotations",
    "annotations.0",
    "annotations.0.image_id",
    "annotations.0.category_id",
    "annotations.0.track_id",
    "annotations.0.segmentation",
    "annotations.0.segmentation.counts",
    "categories",
    "categories.0",
    "annotations.0.segmentation.counts.0",
    "categories.0.id",
    "categories.0.name",
)
_EMPTY = ("zero", "a list", "an object", "text: empty")
# what may be anything
_ANY = ("images.0.file_name", "categories.0.name")


def _json() -> Iterator[Case]:
    new = ["editing", "new", "project/clip.mp4", "-o", "out", "--masks", "masks.json"]
    for place in _PLACES:
        for name, value in VALUES.items():

            def change(file: Path, place=place, value=value) -> None:
                file.write_text(json.dumps(base.changed(_content(), place, value)))

            soft = place in _ANY or place.endswith("id") or name in _EMPTY
            write = base.with_project(change, at="masks.json")
            yield Case(
                "masks",
                f"JSON, {place} is {name}",
                new,
                write,
                "either" if soft else "refuse",
            )
    convert = ["masks", "convert", "masks.json", "-o", "out"]
    for name in CONTENT:
        data = damage(json.dumps(_content()).encode(), name)
        write = base.with_project(replace_file, data, at="masks.json")
        yield Case(
            "masks",
            f"JSON, {name}",
            convert,
            write,
            "either" if "flipped" in name else "refuse",
        )


def _other_pictures() -> Iterator[Case]:
    """One mask at a frame, in each form of picture."""
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tif", ".gif"):
        command = [
            "editing",
            "new",
            "project/clip.mp4",
            "-o",
            "out",
            "--masks",
            f"one{suffix}",
            "--at",
            "1",
        ]
        for name in CONTENT:

            def write(file: Path, suffix=suffix, name=name) -> None:
                picture = Image.fromarray(255 * (base.labels()[0] == 1).astype("u1"))
                picture.save(file)
                file.write_bytes(damage(file.read_bytes(), name))

            prepare = base.with_project(write, at=f"one{suffix}")
            yield Case("masks", f"one {suffix}, {name}", command, prepare, "either")


_FILES = {
    "numbers of NumPy": ("m.npy", b"\x93NUMPY"),
    "XML": ("m.xml", b"<annotations/>"),
    "a list of masks": ("m.json", b'[{"segmentation": {"size": [1, 1]}}]'),
    "a byte order mark alone": ("m.json", b"\xef\xbb\xbf"),
    "UTF-16 that is cut off": ("m.json", "{}".encode("utf-16")[:3]),
    "a project of a painting program": ("m.psd", b"8BPS"),
}


def _other_files() -> Iterator[Case]:
    """Files that hold no masks."""
    for name, (file, data) in _FILES.items():
        write = base.with_project(replace_file, data, at=file)
        new = ["editing", "new", "project/clip.mp4", "-o", "out", "--masks", file]
        for at in ([], ["--at", "1"], ["--at", "99"]):
            said = " ".join(at)
            yield Case("masks", f"{name} {said}", [*new, *at], write)


def _folders() -> Iterator[Case]:
    new = ["editing", "new", "project/clip.mp4", "-o", "out", "--masks", "whole"]
    for names in (
        ("1", "01"),
        ("1", "256"),
        ("0", "1"),
        ("a", "1"),
        ("-1", "1"),
        ("²", "1"),
        ("1", "1 "),
    ):

        def change(folder: Path, names=names) -> None:
            for name in names:
                base.write_masks(folder / "whole" / name)

        yield Case(
            "masks", f"folders {' and '.join(names)}", new, base.with_project(change)
        )
    for suffix, *how in (
        (".mp4",),
        (".mkv",),
        (".mov", "prores_ks", "yuva444p10le"),
        (".webm", "libvpx-vp9", "yuva420p"),
    ):
        for name in CONTENT:

            def write(folder: Path, suffix=suffix, how=how, name=name) -> None:
                (folder / f"masks{suffix}").write_bytes(
                    damage(base.video(suffix, *how), name)
                )

            command = ["masks", "convert", f"masks{suffix}", "-o", "out"]
            yield Case("masks", f"{suffix} video, {name}", command, write, "either")
