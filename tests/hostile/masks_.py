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
    yield from _other_json()
    yield from _other_pictures()
    yield from _other_files()
    yield from _folders()
    yield from _exports()


# Mode, size, colour.
_ODD = {
    "RGB": ("RGB", (64, 64), (200, 30, 30)),
    "16 bits": ("I;16", (64, 64), 0),
    "with alpha": ("LA", (64, 64), 0),
    "another size": ("P", (65, 64), 0),
    "label 200": ("L", (64, 64), 200),
    "real numbers": ("F", (64, 64), 0.5),
    "32 bits": ("I", (64, 64), 70_000),
}
# Which are read, as pictures of other programs are; those without labels of a project.
_READ = ("with alpha", "16 bits", "RGB", "label 200", "real numbers", "32 bits")


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
        soft = name in _READ
        kind = "TIFF" if given[0] == "F" else "PNG"
        yield one(
            name,
            soft,
            lambda file, given=given, kind=kind: Image.new(*given).save(file, kind),
        )
    yield one("a bomb", False, lambda file: file.write_bytes(bomb(50_000)))
    for name, text in NAMES.items():
        yield one(f"broken, name with {name}", False, rename_broken, text)


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
_ANY = ("images.0.file_name", "annotations.0.track_id", "categories.0.name")


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


def _video_set() -> dict[str, Any]:
    """Masks as YouTube-VIS has them."""
    shown = [one["segmentation"] for one in _content()["annotations"]]
    half = len(shown) // 2
    video = {"id": 1, "width": base.WIDTH, "height": base.HEIGHT, "length": base.FRAMES}
    objects = [
        {"id": n, "video_id": 1, "category_id": 1, "segmentations": masks}
        for n, masks in enumerate((shown[:half], shown[half:]), 1)
    ]
    return {
        "videos": [video],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": objects,
    }


def _label_me() -> dict[str, Any]:
    """A frame as LabelMe has it."""
    shapes = [
        {"label": "cat", "points": [[8, 16], [32, 16], [32, 32]], "group_id": 1},
        {"label": "dog", "points": [[8, 8], [32, 32]], "shape_type": "rectangle"},
    ]
    return {"imageWidth": base.WIDTH, "imageHeight": base.HEIGHT, "shapes": shapes}


_OTHER = {
    "YouTube-VIS": (
        _video_set,
        "videos",
        "videos.0",
        "videos.0.id",
        "videos.0.width",
        "videos.0.length",
        "categories",
        "categories.0",
        "categories.0.name",
        "annotations",
        "annotations.0",
        "annotations.0.id",
        "annotations.0.video_id",
        "annotations.0.category_id",
        "annotations.0.segmentations",
        "annotations.0.segmentations.0",
        "annotations.0.segmentations.0.counts",
        "annotations.0.segmentations.0.size",
    ),
    "LabelMe": (
        _label_me,
        "imageWidth",
        "shapes",
        "shapes.0",
        "shapes.0.label",
        "shapes.0.points",
        "shapes.0.points.0",
        "shapes.0.points.0.0",
        "shapes.0.group_id",
        "shapes.1.shape_type",
    ),
}


def _other_json() -> Iterator[Case]:
    convert = ["masks", "convert", "masks.json", "-o", "out"]
    for form, (make, *places) in _OTHER.items():
        for place in places:
            for name, value in VALUES.items():

                def change(file: Path, make=make, place=place, value=value) -> None:
                    file.write_text(json.dumps(base.changed(make(), place, value)))

                write = base.with_project(change, at="masks.json")
                called = f"{form}, {place} is {name}"
                yield Case("masks", called, convert, write, "either")
        for name in CONTENT:
            write = base.with_project(
                lambda file, make=make, name=name: file.write_bytes(
                    damage(json.dumps(make()).encode(), name)
                ),
                at="masks.json",
            )
            yield Case("masks", f"{form}, {name}", convert, write, "either")


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
    """Files that hold no masks, and polygons that hold too many corners."""
    for name, (file, data) in _FILES.items():
        write = base.with_project(replace_file, data, at=file)
        command = ["masks", "pair", "project/clip.mp4", file, "-o", "out"]
        for at in ([], ["--at", "1"], ["--at", "99"]):
            said = " ".join(at)
            yield Case("masks", f"{name} {said}", [*command, *at], write)

    def write_star(file: Path) -> None:
        corners = [[n % 64, 64 * (n % 2)] for n in range(20_000)]
        shape = {"label": "cat", "points": corners}
        file.write_text(json.dumps(_label_me() | {"shapes": [shape]}))

    command = ["masks", "convert", "star.json", "-o", "out"]
    prepare = base.with_project(write_star, at="star.json")
    yield Case("masks", "a polygon of 20,000 corners", command, prepare, "either")


_MAPS = {
    "no colour": "cat",
    "a colour beyond 255": "cat:999,0,0::",
    "a colour twice": "cat:1,2,3::\ndog:1,2,3::",
    "other colours": "cat:1,2,3::",
    "300 labels": "\n".join(f"cat {n}:{n % 256},{n // 256},9::" for n in range(300)),
    "a long name": f"{'9' * 5000}:255,0,0::\ncat:0,255,0::",
    "invisible letters": "a\u202ecat:1,2,3",
}


def _exports() -> Iterator[Case]:
    """What CVAT exports, with another text."""
    command = ["masks", "convert", "cvat", "-o", "out"]
    for name, text in _MAPS.items():

        def write(folder: Path, text=text) -> None:
            base.write_masks(folder / "cvat" / "SegmentationClass")
            (folder / "cvat" / "labelmap.txt").write_text(text, encoding="utf-8")

        expected = "either" if name == "a long name" else "refuse"
        yield Case("masks", f"a label map with {name}", command, write, expected)
    for name in (*CONTENT, *SPECIAL):

        def spoil(folder: Path, name=name) -> None:
            base.write_masks(folder / "cvat" / "SegmentationClass")
            file = folder / "cvat" / "labelmap.txt"
            file.write_text("cat:255,0,0::\ndog:0,255,0::")
            (damage_file if name in CONTENT else put)(file, name)

        yield Case("masks", f"a label map, {name}", command, spoil, "either")


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
