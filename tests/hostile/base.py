"""Sound inputs, from which hostile ones are made; each is written once per process."""

from __future__ import annotations

import atexit
import copy
import json
import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import av
import numpy as np
from PIL import Image

from tests.made_clips import samples, write_clip

Change = Callable[..., object]  # of a path
FRAMES = 4
WIDTH = 64
HEIGHT = 64


def pixels(
    frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT
) -> np.ndarray:
    """RGB frames in which blocks move."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(30, 220, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    large = blocks.repeat(8, 0).repeat(8, 1)[:height, :width]
    return np.stack([np.roll(large, 2 * i, 1) for i in range(frames)])


def labels(frames: int = FRAMES) -> np.ndarray:
    """Two squares, labelled 1 and 2."""
    out = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    out[:, 16:32, 8:32], out[:, 32:56, 32:56] = 1, 2
    return out


def write_video(
    path: Path,
    frames: np.ndarray | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    *,
    sound: tuple[str, str, int] | None = None,
    rate: Fraction | int = 8,
    **more,
) -> Path:
    """Write a video file; `sound` is codec, layout and rate, the rest as for
    `write_clip`."""
    frames = pixels() if frames is None else frames
    if sound:
        more["sound"] = (
            sound[0],
            _wave(sound[1], sound[2], len(frames) / Fraction(rate)),
        )
    return write_clip(path, frames, codec=codec, pixels=pix_fmt, fps=rate, **more)


def _wave(layout: str, rate: int, seconds: Fraction) -> av.AudioFrame:
    channels = av.AudioLayout(layout).nb_channels
    t = np.arange(int(seconds * rate)) / rate
    wave = np.stack(
        [np.sin(2 * np.pi * (200 + 50 * c) * t) for c in range(channels)]
    ).astype(np.float32)
    # Packed: PyAV miscounts the planes of eight channels and more.
    return samples(0.1 * wave.T.reshape(1, -1), "flt", layout, rate)


@cache
def store() -> Path:
    """Where sound inputs are kept while the process lives; children of it use what is
    there."""
    folder = Path(mkdtemp(prefix="hostile-base-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def video(
    suffix: str = ".mp4", codec: str = "libx264", pix_fmt: str = "yuv420p"
) -> bytes:
    """A sound video file."""
    file = store() / f"{codec}-{pix_fmt}{suffix}"
    if not file.exists():
        made = write_video(
            file.with_stem(f"{os.getpid()}-{file.stem}"), codec=codec, pix_fmt=pix_fmt
        )
        made.rename(file)
    return file.read_bytes()


def write_masks(folder: Path, masks: np.ndarray | None = None) -> Path:
    """Indexed PNGs."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(labels() if masks is None else masks):
        image = Image.fromarray(frame)
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        image.save(folder / f"{index:05d}.png")
    return folder


def content() -> dict[str, Any]:
    """A sound project.json."""
    left = {
        "name": "left",
        "label": 1,
        "source": "a cat",
        "prompt": "a pig",
        "color": "#ffe11a",
    }
    right = {
        "name": "right",
        "label": 2,
        "source": "a dog",
        "prompt": "a fox",
        "strength": 0.9,
        "margin": 4,
    }
    clip = {"path": "clip.mp4", "start": 0, "stride": 1, "frames": FRAMES, "size": 64}
    words = {
        "source_prompt": "a cat and a dog walk on the grass",
        "prompt": "",
        "negative_prompt": "",
    }
    how = {
        "method": "videograin",
        "params": {"steps": 2},
        "model": "storybook",
        "seed": 3,
    }
    return {
        "version": 1,
        "clip": clip,
        **words,
        "regions": [left, right],
        "masks": "masks",
        **how,
    }


def changed(content, place: str, value) -> Any:
    """The content with another value at a place, as "regions.0.name"."""
    content = copy.deepcopy(content)
    at, (*parents, last) = content, place.split(".")
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[int(last) if last.isdigit() else last] = copy.deepcopy(value)
    return content


def write_project(folder: Path, changed=None) -> Path:
    """A sound project folder, or one with another project.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clip.mp4").write_bytes(video())
    write_masks(folder / "masks")
    value = content() if changed is None else changed
    (folder / "project.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def with_project(
    change: Change = lambda path: None, *given, at: str = ""
) -> Callable[[Path], None]:
    """Writes a sound project into `project` of a folder, then changes something at a
    path in that folder."""

    def write(folder: Path) -> None:
        write_project(folder / "project")
        change(folder / at, *given)

    return write
