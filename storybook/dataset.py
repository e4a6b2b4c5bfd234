"""Render training pictures of the drawn world into shards: `python -m storybook.dataset --count 60000
--out DIR`.

A shard is `pictures_00000.npy` (uint8 [n, size, size, 3]). Existing shards are kept, so an interrupted run
resumes. Training scenes start at seed 1 000 000; smaller seeds are held out.
"""

from __future__ import annotations

import argparse
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from storybook.world import Scene, render_frames, sample_scene

log = logging.getLogger(__name__)
FIRST_TRAINING_SEED = 1_000_000
SHARD = 2_000


def training_scene(seed: int) -> Scene:
    """40 % one actor, 50 % two, 10 % three."""
    return sample_scene(seed, frames=8, actors=(1, 1, 1, 1, 2, 2, 2, 2, 2, 3)[seed % 10])


def render_shard(first: int, count: int, size: int) -> np.ndarray:
    """One random frame of each of `count` scenes: uint8 [count, size, size, 3]."""
    scenes = [training_scene(first + i) for i in range(count)]
    frames = [int(np.random.default_rng(scene.seed).integers(8)) for scene in scenes]
    return np.stack(
        [render_frames(s, size, (frame,))[0] for s, frame in zip(scenes, frames, strict=True)]
    )


def load(folder: Path) -> list[np.ndarray]:
    """Shards as memory maps, in order."""
    return [np.load(path, mmap_mode="r") for path in sorted(folder.glob("pictures_?????.npy"))]


def write_shard(shard: int, folder: Path, size: int) -> int:
    """Render a shard if it is missing."""
    target = folder / f"pictures_{shard:05d}.npy"
    if not target.exists():
        cv2.setNumThreads(1)
        unfinished = target.with_suffix(".partial.npy")
        np.save(unfinished, render_shard(FIRST_TRAINING_SEED + shard * SHARD, SHARD, size))
        os.replace(unfinished, target)
    return shard


def main() -> None:
    """Render what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="shards rendered in parallel"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    args.out.mkdir(parents=True, exist_ok=True)
    shards = range(args.count // SHARD)
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        for shard in pool.map(partial(write_shard, folder=args.out, size=args.size), shards):
            log.info("shard %d of %d", shard + 1, len(shards))


if __name__ == "__main__":
    main()
