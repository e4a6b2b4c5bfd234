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

FRAMES, WIDTH, HEIGHT = 4, 64, 64


def pixels(frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
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
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    rate: Fraction | int = 8,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video file; `sound` is codec, layout and rate, `tags` matrix, range, primaries, transfer."""
    frames = pixels() if frames is None else frames
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate, options=options or {})
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], pix_fmt
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if tags:
            video.colorspace, video.color_range, video.color_primaries, video.color_trc = tags
        audio = container.add_stream(sound[0], rate=sound[2], layout=sound[1]) if sound else None
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(video.encode(picture.reformat(format=pix_fmt)))
        container.mux(video.encode(None))
        if audio and sound:
            _write_sound(container, audio, sound[1], sound[2], len(frames) / Fraction(rate))
    return path


def _write_sound(container: Any, stream: Any, layout: str, rate: int, seconds: Fraction) -> None:
    channels = av.AudioLayout(layout).nb_channels
    t = np.arange(int(seconds * rate)) / rate
    wave = np.stack([np.sin(2 * np.pi * (200 + 50 * c) * t) for c in range(channels)]).astype(np.float32)
    # Packed: PyAV miscounts the planes of eight channels and more.
    frame = av.AudioFrame.from_ndarray(0.1 * wave.T.reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    resampler = av.AudioResampler(stream.format, layout, rate, stream.frame_size or None)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))


@cache
def store() -> Path:
    """Where sound inputs are kept while the process lives; children of it use what is there."""
    folder = Path(mkdtemp(prefix="hostile-base-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def video(suffix: str = ".mp4", codec: str = "libx264", pix_fmt: str = "yuv420p") -> bytes:
    """A sound video file."""
    file = store() / f"{codec}-{pix_fmt}{suffix}"
    if not file.exists():
        made = write_video(file.with_stem(f"{os.getpid()}-{file.stem}"), codec=codec, pix_fmt=pix_fmt)
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
    return {
        "version": 1,
        "clip": {"path": "clip.mp4", "start": 0, "stride": 1, "frames": FRAMES, "size": 64},
        "source_prompt": "a cat and a dog walk on the grass",
        "prompt": "",
        "negative_prompt": "",
        "regions": [
            {"name": "left", "label": 1, "source": "a cat", "prompt": "a pig", "color": "#ffe11a"},
            {"name": "right", "label": 2, "source": "a dog", "prompt": "a fox", "strength": 0.9, "margin": 4},
        ],
        "masks": "masks",
        "method": "videograin",
        "params": {"steps": 2},
        "model": "storybook",
        "seed": 3,
    }


def changed(content: Any, place: str, value: Any) -> Any:
    """The content with another value at a place, as "regions.0.name"."""
    content = copy.deepcopy(content)
    at, (*parents, last) = content, place.split(".")
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[int(last) if last.isdigit() else last] = copy.deepcopy(value)
    return content


def write_project(folder: Path, changed: Any = None) -> Path:
    """A sound project folder, or one with another project.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clip.mp4").write_bytes(video())
    write_masks(folder / "masks")
    value = content() if changed is None else changed
    (folder / "project.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def with_project(change: Callable[[Path], object] = lambda folder: None) -> Callable[[Path], None]:
    """Writes a sound project into `project` of a folder, then makes a change in that folder."""

    def write(folder: Path) -> None:
        write_project(folder / "project")
        change(folder)

    return write


def linked_model(folder: Path, source: Path) -> Path:
    """A copy of the built-in model whose files are links, so that a case may replace one."""
    shutil.copytree(source, folder, copy_function=os.symlink)
    return folder


def replace_file(path: Path, data: bytes) -> None:
    """Write a file anew, not through a link, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
