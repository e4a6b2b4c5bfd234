"""A visit of the command lines, from a clip to results: what each command says and
writes is as `command_lines.json` says.

`REGRAIN_WRITE=1 pytest tests/test_command_lines.py` writes that file anew; look at what
has changed there before it is committed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import records
from commands import change
from records import recorded
from safetensors import safe_open

from regrain.editing.__main__ import main as editing
from regrain.editing.storage.local_models import ASSETS
from regrain.masks.__main__ import main as masks

EXPECTED = Path(__file__).with_name("command_lines.json")
# What differs between versions of libraries, too; by OpenCV's a pixel of a track.
_UNEQUAL = {"date", "seconds", "peak_memory", "versions", "encoder", "counts"}
_LONG = 400  # characters of a text that is kept as a sum
_VOLATILE = re.compile(r"/[^\s\"']*/|\d[\d.]* (s|MB)\b|[0-9a-f]{16,}|- Regrain .*")
MANY = {
    "steps": 2,
    "strength": 0.8,
    "source_guidance": 1.5,
    "self_strength": 0.5,
    "size_term": False,
    "cuts": "2",
    "redraw": 0.2,
    "feather": 3,
    "hold": 0.5,
    "picture_colors": 0.5,
}
"""Parameters of a method, most of which no other command gives."""


def commands(root: Path) -> Iterator[tuple[str, ...]]:
    """Give the command lines; files are written below `root`, the folder in use."""
    clip = str(ASSETS / "examples" / "01_two_animals" / "clip.mp4")
    stretch = ("--start", "1", "--frames", "3")
    cat = ("--click", "1:0,87,88", "--click", "1:0,2,2,0")
    rabbit = ("--click", "2:1,40,88")
    yield ("masks", "track", clip, "-o", "tracked", *stretch, *cat, *rabbit)
    corrected = ("--click", "2:2,42,88", "--key", "0", "--tracker", "cuts")
    before = ("--masks", "tracked", "--finder", "cuts")
    yield ("masks", "track", clip, "-o", "better", *stretch, *before, *corrected)
    one = ("--masks", "tracked/00001.png", "--at", "1", "--tracker", "cuts")
    yield ("masks", "track", clip, "-o", "one", *stretch, *one)
    yield ("masks", "convert", "tracked", "-o", "masks.json")
    blue = ("--color", "1=#204060")
    yield ("masks", "convert", "masks.json", "-o", "masks.mkv", "--fps", "5", *blue)
    yield ("masks", "convert", "masks.mkv", "-o", "again", *blue)

    words = ("--source-prompt", "a cat and a rabbit walk on the grass", "--size", "64")
    cat = ("--region", "1:left one=a fox", "--region-source", "1=a cat")
    rabbit = ("--region", "2=a panda", "--region-source", "2=a rabbit")
    given = (*stretch, "--masks", "masks.json", *words, *cat, *rabbit)
    yield ("editing", "new", clip, "-o", "project", *given)
    yield ("editing", "new", clip, "-o", "project")
    skipping = ("--stride", "2", "--frames", "3")
    yield ("editing", "new", clip, "-o", "whole", *skipping, *words)
    fox = ("--masks", "tracked/00001.png", "--at", "1", "--region", "1=a fox")
    yield ("editing", "new", clip, "-o", "alone", *stretch, *fox)
    yield ("editing", "check", "alone")
    yield ("editing", "check", "project", "--set", "feather=0")

    run = ("editing", "run", "project", "--set", "steps=2", "-o")
    fast = ("--method", "instruct_pix2pix", "--lora")
    yield (*run, "light", *fast, "storybook/fast@0.9")
    every = ("--format", "png", "--format", "prores", "--format", "matte", "--whole")
    yield (*run, "fast", *fast, "storybook/fast", *every)
    moving = ("--motion", "storybook/motion@0.5", "--focus", "on", "--seed", "3")
    other = ("--set", "steady=4", "--set", "variation=0.2", "--set", "blend=false")
    yield (*run, "bound", *moving, *other)
    edges = ("--set", "control=canny=storybook/canny@0.5", "--set", "keyframes=0, 2")
    drawn = ("--method", "fresco", "--set", "optimise_rounds=1")
    yield (*run, "drawn", *drawn, *edges)
    red = np.full((64, 64, 3), (40, 40, 200), np.uint8)
    cv2.imwrite(str(root / "red.png"), red)
    seen = ("--method", "sdedit", "--picture", "left one=red.png@0.8")
    yield (*run, "blind", *seen)
    looking = ("--picture-adapter", "storybook/pictures", "--focus", "each")
    yield (*run, "seen", *seen, *looking)
    yield (*run, "refused", "--method", "sdedit", "--set", "steady=0")

    style = ("--prompt", "a cat walks on the beach in watercolor")
    few = ("--set", "steps=2", "--method", "fatezero")
    yield ("editing", "run", "whole", "-o", "style", *few, *style)
    moon = ("--prompt", "a cat walks on the moon", "--set", "inner_steps=1")
    yield (*run, "several", "--method", "vid2vid_zero", *style, *moon)
    few = ("--set", "tune_steps=2", "--set", "learning_rate=0.002")
    named = ("--name", "my cat", "--set", "tune_preview_every=1")
    yield ("editing", "tune", "project", "-o", "cat.safetensors", *named, *few)
    yield (*run, "tuned", "--method", "tune_a_video", "--adapter", "cat.safetensors")
    count = ("--count", "2", "--steps", "2", "--seed", "1")
    yield ("editing", "clusters", "project", "-o", "clustered", *count)

    shutil.copytree(root / "project", root / "short")
    change(root / "short", method="infedit", params=MANY, negative_prompt="a dog")
    yield ("editing", "batch", "short", "clustered", "-o", "all")
    yield ("editing", "batch", "short", "-o", "all")
    yield ("editing", "cache")
    yield ("editing", "cache", "--clear", "inversion")
    yield ("editing", "schema")


def levels(frames: list[np.ndarray]) -> list[float]:
    """Tell what is seen in a few frames: mean colours of their quarters."""
    shown = {0, len(frames) // 2, len(frames) - 1}
    small = [cv2.resize(frames[n], (2, 2), interpolation=cv2.INTER_AREA) for n in shown]
    return np.asarray(small, float).ravel().round().tolist()


def video(path: Path) -> dict[str, object]:
    """Tell what a video holds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        told = {
            "codec": stream.codec_context.name,
            "pixels": stream.pix_fmt,
            "rate": str(Fraction(stream.average_rate)),
            "sound": len(container.streams.audio),
            "tags": settled(dict(container.metadata), path),
        }
        decoded = [*container.decode(video=0)]
    frames = [frame.to_ndarray(format="rgb24") for frame in decoded]
    return told | {
        "times": [frame.time for frame in decoded],
        "shape": frames[0].shape,
        "levels": levels(frames),
    }


def told(path: Path, root: Path) -> object:
    """Tell what a file holds."""
    match path.suffix:
        case ".json":
            return settled(json.loads(path.read_text()), root)
        case ".mp4" | ".mov" | ".mkv":
            return video(path)
        case ".png":
            picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            return {"shape": picture.shape, "levels": levels([picture])}
        case ".safetensors":
            with safe_open(path, "np") as weights:
                header = {k: lines(text) for k, text in weights.metadata().items()}
                return {
                    "header": settled(header, root),
                    "keys": len([*weights.keys()]),
                }
    return path.stat().st_size


def lines(text: str) -> object:
    """Return the lines of what was said, or what it is as JSON."""
    return json.loads(text) if text.startswith("{") else text.splitlines()


def plain(text: str) -> list[str]:
    """Return the lines of what was said on stderr; of bars of progress what they
    count."""
    bar, time, left = (
        r" +[\u2501\u2578\u257a]+ +",
        r" +[-\d]+:[-\d:]+",
        r" +\d+ s left| +$",
    )
    counted = re.sub(f"{bar}|{time}|{left}", " ", text, flags=re.MULTILINE)
    return [line.strip() for line in counted.splitlines()]


def settled(value: Any, root: Path) -> Any:
    """Return what is told without what differs from run to run."""
    return records.settled(value, root, _UNEQUAL, _VOLATILE, _LONG)


def record(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """Return what each command says and writes."""
    visited: dict[str, object] = {}
    before: dict[Path, int] = {}
    for number, (program, *arguments) in enumerate(commands(root), 1):
        capsys.readouterr()
        ended = {"editing": editing, "masks": masks}[program](arguments)
        said = capsys.readouterr()
        now = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
        changed = sorted(path for path, at in now.items() if at != before.get(path))
        line = settled(" ".join([program, *arguments]), root)
        visited[f"{number}: {line}"] = {
            "ended": ended,
            "said": settled(lines(said.out), root),
            "warned": settled(plain(said.err), root),
            "wrote": {
                str(path.relative_to(root)): told(path, root) for path in changed
            },
        }
        before = now
    return visited


def compare(found: Any, expected: Any, where: str) -> None:
    """Compare what was told; numbers as far as processors agree."""
    if isinstance(expected, dict):
        assert [*found] == [*expected], where
        for key, value in expected.items():
            compare(found[key], value, f"{where}, {key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            compare(one, other, where)
    elif isinstance(expected, float) or where.endswith(("area", "bbox")):
        margin = 3 if where.endswith("levels") else 0.02
        assert found == pytest.approx(expected, rel=0.05, abs=margin), where
    else:
        assert found == expected, where


def test_each_command_says_and_writes_what_it_did(tmp_path, monkeypatch, capsys):
    root = tmp_path / "visit"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path / "cache"))
    compare(*recorded(record(root, capsys), EXPECTED), "command_lines.json")
