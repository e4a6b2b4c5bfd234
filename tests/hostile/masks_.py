"""Hostile masks: pictures, JSON, videos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.hostile import base
from tests.hostile.cases import Case
from tests.hostile.clips import bomb
from tests.hostile.faults import CONTENT, NAMES, SPECIAL, VALUES, damage, put

_USES = {
    "in a project": ["editing", "check", "project"],
    "for a new one": ["editing", "new", "project/clip.mp4", "-o", "out", "--masks", "{}"],
    "to convert": ["masks", "convert", "{}", "-o", "out"],
}


def cases() -> Iterator[Case]:
    """All of them."""
    for use, command in _USES.items():
        yield from _pictures(use, [part.replace("{}", "project/masks") for part in command])
    yield from _json()
    yield from _folders()


_ODD: dict[str, Callable[[], Image.Image]] = {
    "RGB": lambda: Image.new("RGB", (64, 64)),
    "16 bits": lambda: Image.new("I;16", (64, 64)),
    "with alpha": lambda: Image.new("LA", (64, 64)),
    "another size": lambda: Image.new("P", (65, 64)),
    "label 200": lambda: Image.new("L", (64, 64), 200),
}


def _pictures(use: str, command: list[str]) -> Iterator[Case]:
    def one(name: str, change: Callable[[Path], object], soft: bool = False) -> Case:
        expected = "either" if soft else "refuse"
        write = base.with_project(lambda folder: change(folder / "project/masks"))
        return Case("masks", f"{use}, {name}", command, write, expected)

    for name in CONTENT:

        def change(masks: Path, name=name) -> None:
            file = masks / "00002.png"
            file.write_bytes(damage(file.read_bytes(), name))

        soft = any(word in name for word in ("flipped", "last", "twice", "near", "tail", "middle"))
        yield one(name, change, soft)
    for name in SPECIAL:
        soft = use == "to convert" and name in ("missing", "a folder")
        yield one(f"one is {name}", lambda masks, name=name: put(masks / "00001.png", name), soft)
    for name, make in _ODD.items():
        soft = name == "label 200" and use != "in a project"
        yield one(name, lambda masks, make=make: make().save(masks / "00001.png"), soft)
    yield one("a bomb", lambda masks: (masks / "00000.png").write_bytes(bomb(50_000)))
    for name, text in NAMES.items():

        def rename(masks: Path, text=text) -> None:
            (masks / "00001.png").rename(masks / f"{text}.png").write_bytes(b"no picture")

        yield one(f"broken, name with {name}", rename)


def _content() -> dict[str, Any]:
    from regrain.editing.media.coco import runs

    masks = base.labels()
    entries = [
        {"frame": f, "label": n, "size": [64, 64], "counts": runs(masks[f] == n)}
        for f in range(4)
        for n in (1, 2)
    ]
    return {"version": 1, "frames": 4, "size": [64, 64], "masks": entries}


_PLACES = ("version", "frames", "size", "size.0", "masks", "masks.0", "masks.0.frame", "masks.0.label")
_PLACES += ("masks.0.size", "masks.0.counts", "masks.0.counts.0")


def _json() -> Iterator[Case]:
    new = ["editing", "new", "project/clip.mp4", "-o", "out", "--masks", "masks.json"]
    for place in _PLACES:
        for name, value in VALUES.items():

            def change(folder: Path, place=place, value=value) -> None:
                content = base.changed(_content(), place, value)
                (folder / "masks.json").write_text(json.dumps(content))

            soft = place in ("masks", "masks.0.frame", "masks.0.size") and name in ("zero", "a list")
            expected = "either" if soft else "refuse"
            yield Case("masks", f"JSON, {place} is {name}", new, base.with_project(change), expected)
    convert = ["masks", "convert", "masks.json", "-o", "out"]
    for name in CONTENT:

        def change_bytes(folder: Path, name=name) -> None:
            (folder / "masks.json").write_bytes(damage(json.dumps(_content()).encode(), name))

        expected = "either" if "flipped" in name else "refuse"
        yield Case("masks", f"JSON, {name}", convert, base.with_project(change_bytes), expected)


def _folders() -> Iterator[Case]:
    new = ["editing", "new", "project/clip.mp4", "-o", "out", "--masks", "whole"]
    for names in (("1", "01"), ("1", "256"), ("0", "1"), ("a", "1"), ("-1", "1"), ("²", "1"), ("1", "1 ")):

        def change(folder: Path, names=names) -> None:
            for name in names:
                base.write_masks(folder / "whole" / name)

        yield Case("masks", f"folders {' and '.join(names)}", new, base.with_project(change))
    for suffix in (".mp4", ".mkv"):
        for name in CONTENT:

            def write(folder: Path, suffix=suffix, name=name) -> None:
                (folder / f"masks{suffix}").write_bytes(damage(base.video(suffix), name))

            command = ["masks", "convert", f"masks{suffix}", "-o", "out"]
            yield Case("masks", f"{suffix} video, {name}", command, write, "either")
