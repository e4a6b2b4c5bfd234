"""Render training pictures of the drawn world into shards: `python -m storybook.dataset
--count 60000 --out DIR`.

A shard is `pictures_00000.npy` (uint8 [n, size, size, 3]). Existing shards are kept, so
an interrupted run resumes. Training scenes start at seed 1 000 000; smaller seeds are
held out.
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

from storybook.rendering import render_frames
from storybook.world import Scene, sample_scene

log = logging.getLogger(__name__)
FIRST_TRAINING_SEED = 1_000_000
SHARD = 2_000


def training_scene(seed: int) -> Scene:
    """Return the scene of a seed: 40 % have one actor, 50 % two, 10 % three."""
    return sample_scene(seed, frames=8, actors=actors_of(seed))


def actors_of(seed: int) -> int:
    """Return the number of actors in the training scene of a seed."""
    return (1, 1, 1, 1, 2, 2, 2, 2, 2, 3)[seed % 10]


def render_shard(first: int, count: int, size: int) -> np.ndarray:
    """Draw one random frame of each of `count` scenes: uint8 [count, size, size, 3]."""
    pictures = []
    for seed in range(first, first + count):
        frame = int(np.random.default_rng(seed).integers(8))
        pictures.append(render_frames(training_scene(seed), size, (frame,))[0])
    return np.stack(pictures)


def load(folder: Path) -> list[np.ndarray]:
    """Return the shards as memory maps, in order."""
    return [
        np.load(path, mmap_mode="r")
        for path in sorted(folder.glob("pictures_?????.npy"))
    ]


def write_shard(shard: int, folder: Path, size: int) -> int:
    """Render a shard if it is missing."""
    target = folder / f"pictures_{shard:05d}.npy"
    if not target.exists():
        cv2.setNumThreads(1)
        unfinished = target.with_suffix(".partial.npy")
        first = FIRST_TRAINING_SEED + shard * SHARD
        np.save(unfinished, render_shard(first, SHARD, size))
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
    write = partial(write_shard, folder=args.out, size=args.size)
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        for shard in pool.map(write, shards):
            log.info("shard %d of %d", shard + 1, len(shards))


if __name__ == "__main__":
    main()
