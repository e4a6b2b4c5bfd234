"""How good are the frames between key frames? `python -m benchmarks.between`.

Key frames of drawn scenes are replaced by the true edit, as it is or as the built-in autoencoder returns it;
the frames between them are filled and compared with the true edit. A third of the scenes have someone who
jumps, a third have actors who cross, and every scene is edited three times: another colour, other kinds,
another style. Rows leave out one part of the method each. dB count in the edited regions, and sharpness is
the mean gradient there over the true edit's. With `--clips`, videos are edited by a change of colour that is
known, and filled in the same way. Seconds are processor time of one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch

from regrain.editing import load_backbone
from regrain.editing.media.clip import resize
from regrain.editing.media.reading import open_clip
from regrain.editing.motion import interpolation as method
from storybook import COLORS, KINDS, STYLES, Scene, render, replace, sample_scene
from storybook.__main__ import grown
from storybook.world import render_frames

FRAMES = 9
MARGIN = 6  # pixels by which masks are grown where the shape changes


@dataclass(frozen=True, eq=False)
class Case:
    """One edit: its task, source, true edit and its regions, and the true edit from the autoencoder."""

    task: str
    source: np.ndarray
    true: np.ndarray
    labels: np.ndarray
    decoded: np.ndarray

    def keys(self, spacing: int) -> list[int]:
        """Key frames, the last frame among them."""
        return sorted({*range(0, len(self.source), spacing), len(self.source) - 1})


def pick_scenes(count: int, seed: int = 5000) -> list[Scene]:
    """Scenes from a seed on in which someone jumps, in which actors cross, and others: a third each."""
    found: dict[str, list[Scene]] = {"jump": [], "cross": [], "other": []}
    while min(map(len, found.values())) < count // 3:
        scene = sample_scene(seed, FRAMES)
        jumps = any(actor.motion == "jump" for actor in scene.actors)
        crosses = any(actor.speed * (FRAMES - 1) > 0.35 for actor in scene.actors)
        some = found["jump" if jumps else "cross" if crosses else "other"]
        some += [scene] * (len(some) < count // 3)
        seed += 1
    return [scene for some in found.values() for scene in some]


def edits_of(scene: Scene, size: int) -> Iterator[tuple[str, Scene, np.ndarray]]:
    """Name, true result and labels of three edits of a scene."""
    rng, labels = np.random.default_rng(scene.seed), render(scene, size).labels
    who = int(rng.integers(2))
    color = str(rng.choice([c for c in COLORS if c != scene.actors[who].color]))
    yield "color", replace(scene, who, color=color), grown((labels == who + 1).astype(np.uint8), 1)
    kinds = [k for k in KINDS if k not in [a.kind for a in scene.actors]]
    first, second = rng.permutation(kinds)[:2].tolist()
    yield "kind", replace(replace(scene, 0, kind=first), 1, kind=second), grown(labels, MARGIN)
    style = str(rng.choice([s for s in STYLES if s != scene.style]))
    yield "style", replace(scene, style=style), np.ones_like(labels)


def drawn_cases(count: int, size: int, seed: int) -> Iterator[Case]:
    """Every edit of every scene."""
    backbone = load_backbone("storybook")
    for scene in pick_scenes(count, seed):
        source = render_frames(scene, size)
        for task, truth, labels in edits_of(scene, size):
            true = render_frames(truth, size)
            yield Case(task, source, true, labels, backbone.decode(backbone.encode(true)))


def filmed_case(path: Path, size: int, frames: int = 17) -> Case:
    """A video whose channels change places, and whose contrast is lower."""
    clip = open_clip(path)
    width, height = clip.size
    scale = size / min(width, height)
    source = resize(clip.read(0, frames), (round(width * scale), round(height * scale)))
    true = (source[..., ::-1] * np.float32(0.8) + 20).round().astype(np.uint8)
    return Case(path.stem, source, true, np.ones(source.shape[:3], np.uint8), true)


# What each row changes of `editing.motion.interpolation`.
ROWS: dict[str, dict[str, Any]] = {
    "copies of the nearest key frame": {},
    "all parts": {},
    "without labels": {"_OTHER_REGION": 0.0},
    "motion at the frames' own size": {"_LEAST_SIDE": 0},
    "without neighbours' motion": {"_LEAPS": ()},
    "without calming motion": {"_CALM": -np.inf},
    "without steadying new shapes": {"_RESHAPED": -1.0},
    "without the source's detail": {"_FLAT": 1e12},
    "all of the source's difference": {"_kept_detail": lambda edit, _: np.ones(edit.shape, np.float32)},
    "the better key frame alone": {"_HALVED": 0.25},
}


def fill(row: str, case: Case, edited: np.ndarray, keys: Sequence[int]) -> np.ndarray:
    """All frames."""
    if row.startswith("copies"):
        return edited[[int(np.argmin([abs(key - i) for key in keys])) for i in range(len(case.source))]]
    with contextlib.ExitStack() as changed:
        for name, value in ROWS[row].items():
            changed.enter_context(patch.object(method, name, value))
        frames = method.fill_between(
            edited,
            keys,
            lambda start, stop: case.source[start:stop],
            "dis",
            labels=lambda start, stop: case.labels[start:stop],
        )
        return np.stack([*frames])


def decibels(error: np.ndarray) -> float:
    """Of squared errors of 0..255."""
    return float(10 * np.log10(255**2 / max(float(error.mean()), 1e-3)))


def sharpness(frames: np.ndarray, inside: np.ndarray) -> float:
    """Mean magnitude of the gradient of the grey values."""
    return float(np.hypot(*np.gradient(frames.mean(-1), axis=(1, 2)))[inside].mean())


def measure(row: str, case: Case, edited: np.ndarray, spacing: int) -> dict[str, float]:
    """Figures of one edit; `edited` are the edited frames of which the key frames are used."""
    keys = case.keys(spacing)
    some = [frame for frame in range(len(case.source)) if frame not in keys]
    began = time.process_time()
    out = fill(row, case, edited[keys], keys)
    took = (time.process_time() - began) / len(some)
    off, inside = np.square(out.astype(float) - case.true), case.labels > 0
    return {
        "inside": decibels(off[some][inside[some]]),
        "overall": decibels(off[some]),
        "keys": decibels(off[keys][inside[keys]]),
        "sharpness": sharpness(out[some], inside[some]) / sharpness(case.true[some], inside[some]),
        "ms": 1000 * took,
    }


def mean_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of every figure over the rows that have it."""
    names = {name: None for row in rows for name in row}
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def tell(title: str, found: dict[str, float], tasks: str = "") -> None:
    """Print a row."""
    sys.stdout.write(
        f"{title:58s} {found['inside']:5.1f} dB inside{tasks}, {found['overall']:5.1f} overall, key frames "
        f"{found['keys']:5.1f}; sharpness {found['sharpness']:.2f}; {found['ms']:3.0f} ms a frame\n"
    )
    sys.stdout.flush()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--spacing", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--row", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="videos to fill as well")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/between"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    report: dict[str, dict[str, float]] = {}
    cases = list(drawn_cases(args.scenes, args.size, args.first_seed))
    for spacing in args.spacing:
        for kind, row in ((kind, row) for kind in ("true", "decoded") for row in args.row):
            each = [(case.task, measure(row, case, getattr(case, kind), spacing)) for case in cases]
            tasks = {task: mean_of([found for name, found in each if name == task]) for task, _ in each}
            title = f"{spacing} apart, {kind} key frames, {row}"
            report[title] = mean_of([found for _, found in each])
            report |= {f"{title}, {task}": found for task, found in tasks.items()}
            parts = ", ".join(f"{task} {found['inside']:.1f}" for task, found in tasks.items())
            tell(title, report[title], f" ({parts})")
    for path, row in ((path, row) for path in args.clips for row in args.row):
        case, title = filmed_case(path, args.size), f"{path.stem}, 8 apart, {row}"
        report[title] = measure(row, case, case.true, 8)
        tell(title, report[title])
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "between.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
