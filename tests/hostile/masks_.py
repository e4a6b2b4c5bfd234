"""Hostile masks: pictures, JSON, videos."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile import base
from tests.hostile.cases import Case
from tests.hostile.clips import bomb
from tests.hostile.faults import CONTENT, NAMES, SPECIAL, VALUES

_USES = {
    "in a project": ["editing", "check", "project"],
    "for a new one": ["editing", "new", "project/clip.mp4", "-o", "out", "--masks", "{}"],
    "to convert": ["masks", "convert", "{}", "-o", "out"],
}


def cases() -> Iterator[Case]:
    """All of them."""
    for use, command in _USES.items():
        yield from _pictures(use, command)
    yield from _json()
    yield from _folders()


def _command(command: list[str], path: str) -> list[str]:
    return [part.replace("{}", path) for part in command]


def _pictures(use: str, command: list[str]) -> Iterator[Case]:
    for name, fault in CONTENT.items():

        def prepare(folder: Path, fault=fault, name=name) -> list[str]:
            base.write_project(folder / "project")
            file = folder / "project/masks/00002.png"
            file.write_bytes(fault(file.read_bytes(), np.random.default_rng(zlib.crc32(name.encode()))))
            return _command(command, "project/masks")

        soft = any(word in name for word in ("flipped", "last", "twice", "near", "tail", "middle"))
        yield Case("masks", f"{use}, {name}", prepare, "either" if soft else "refuse")
    for name, make in SPECIAL.items():

        def prepare_special(folder: Path, make=make) -> list[str]:
            import os

            base.write_project(folder / "project")
            (folder / "project/masks/00001.png").unlink()
            os.chdir(folder / "project/masks")
            make(folder / "project/masks/00001.png")
            os.chdir(folder)
            return _command(command, "project/masks")

        expected = "either" if use == "to convert" and name in ("missing", "a folder") else "refuse"
        yield Case("masks", f"{use}, one is {name}", prepare_special, expected)
    odd = {
        "RGB": lambda: Image.new("RGB", (64, 64)),
        "16 bits": lambda: Image.new("I;16", (64, 64)),
        "with alpha": lambda: Image.new("LA", (64, 64)),
        "another size": lambda: Image.new("P", (65, 64)),
        "label 200": lambda: Image.new("L", (64, 64), 200),
    }
    for name, picture in odd.items():

        def prepare_odd(folder: Path, picture=picture) -> list[str]:
            base.write_project(folder / "project")
            picture().save(folder / "project/masks/00001.png")
            return _command(command, "project/masks")

        expected = "either" if name == "label 200" and use != "in a project" else "refuse"
        yield Case("masks", f"{use}, {name}", prepare_odd, expected)

    def prepare_bomb(folder: Path) -> list[str]:
        base.write_project(folder / "project")
        (folder / "project/masks/00000.png").write_bytes(bomb(50_000))
        return _command(command, "project/masks")

    yield Case("masks", f"{use}, a bomb", prepare_bomb)
    for name, text in NAMES.items():

        def prepare_name(folder: Path, text=text) -> list[str]:
            base.write_project(folder / "project")
            (folder / "project/masks/00001.png").unlink()
            (folder / f"project/masks/{text}.png").write_bytes(b"no picture")
            return _command(command, "project/masks")

        yield Case("masks", f"{use}, broken, name with {name}", prepare_name)


def _content() -> dict[str, Any]:
    from regrain.editing.media.coco import runs

    masks = base.labels()
    entries = [
        {"frame": f, "label": n, "size": [64, 64], "counts": runs(masks[f] == n)}
        for f in range(4)
        for n in (1, 2)
    ]
    return {"version": 1, "frames": 4, "size": [64, 64], "masks": entries}


_PLACES = (
    "version",
    "frames",
    "size",
    "size.0",
    "masks",
    "masks.0",
    "masks.0.frame",
    "masks.0.label",
    "masks.0.size",
    "masks.0.counts",
    "masks.0.counts.0",
)


def _json() -> Iterator[Case]:
    for place in _PLACES:
        for name, value in VALUES.items():

            def prepare(folder: Path, place=place, value=value) -> list[str]:
                base.write_project(folder / "project")
                content = at = _content()
                *parents, last = place.split(".")
                for key in parents:
                    at = at[int(key) if key.isdigit() else key]  # type: ignore[index]
                at[int(last) if last.isdigit() else last] = value  # type: ignore[index]
                (folder / "masks.json").write_text(json.dumps(content))
                return ["editing", "new", "project/clip.mp4", "-o", "out", "--masks", "masks.json"]

            soft = place in ("masks", "masks.0.frame", "masks.0.size") and name in ("zero", "a list")
            yield Case("masks", f"JSON, {place} is {name}", prepare, "either" if soft else "refuse")
    for name, fault in CONTENT.items():

        def prepare_bytes(folder: Path, fault=fault, name=name) -> list[str]:
            base.write_project(folder / "project")
            data = json.dumps(_content()).encode()
            (folder / "masks.json").write_bytes(fault(data, np.random.default_rng(zlib.crc32(name.encode()))))
            return ["masks", "convert", "masks.json", "-o", "out"]

        yield Case("masks", f"JSON, {name}", prepare_bytes, "either" if "flipped" in name else "refuse")


def _folders() -> Iterator[Case]:
    for names in (("1", "01"), ("1", "256"), ("0", "1"), ("a", "1"), ("-1", "1"), ("²", "1"), ("1", "1 ")):

        def prepare(folder: Path, names=names) -> list[str]:
            base.write_project(folder / "project")
            for name in names:
                base.write_masks(folder / "whole" / name)
            return ["editing", "new", "project/clip.mp4", "-o", "out", "--masks", "whole"]

        yield Case("masks", f"folders {' and '.join(names)}", prepare)
    for suffix in (".mp4", ".mkv"):
        for name, fault in CONTENT.items():

            def prepare_video(folder: Path, fault=fault, suffix=suffix, name=name) -> list[str]:
                rng = np.random.default_rng(zlib.crc32(name.encode()))
                (folder / f"masks{suffix}").write_bytes(fault(base.video(suffix), rng))
                return ["masks", "convert", f"masks{suffix}", "-o", "out"]

            yield Case("masks", f"{suffix} video, {name}", prepare_video, "either")
