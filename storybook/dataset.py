"""Render training pictures of the drawn world into shards: `python -m storybook.dataset --count 60000
--out DIR`.

A shard is `pictures_00000.npy` (uint8 [n, size, size, 3]) beside `captions_00000.json`. Existing shards are
kept, so an interrupted run resumes. Training scenes start at seed 1 000 000; smaller seeds are held out.
"""

from __future__ import annotations

import argparse
import json
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


def render_shard(first: int, count: int, size: int) -> tuple[np.ndarray, list[str]]:
    """One random frame of each of `count` scenes."""
    scenes = [training_scene(first + i) for i in range(count)]
    pictures = [render_frames(s, size, (int(np.random.default_rng(s.seed).integers(8)),))[0] for s in scenes]
    return np.stack(pictures), [s.caption for s in scenes]


def load(folder: Path, limit: int | None = None) -> tuple[list[np.ndarray], list[str]]:
    """Shards as memory maps, and all captions in order."""
    maps, captions = [], []
    for path in sorted(folder.glob("pictures_?????.npy")):
        if limit is not None and len(captions) >= limit:
            break
        maps.append(np.load(path, mmap_mode="r"))
        captions += json.loads(
            path.with_name(path.name.replace("pictures", "captions")).with_suffix(".json").read_text()
        )
    return maps, captions


def write_shard(shard: int, folder: Path, size: int) -> int:
    """Render a shard if it is missing."""
    target = folder / f"pictures_{shard:05d}.npy"
    if not target.exists():
        cv2.setNumThreads(1)
        pictures, captions = render_shard(FIRST_TRAINING_SEED + shard * SHARD, SHARD, size)
        target.with_name(f"captions_{shard:05d}.json").write_text(json.dumps(captions))
        unfinished = target.with_suffix(".partial.npy")
        np.save(unfinished, pictures)
        os.replace(unfinished, target)
    return shard


def main() -> None:
    """Render what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="shards rendered in parallel")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    args.out.mkdir(parents=True, exist_ok=True)
    shards = range(args.count // SHARD)
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        for shard in pool.map(partial(write_shard, folder=args.out, size=args.size), shards):
            log.info("shard %d of %d", shard + 1, len(shards))


if __name__ == "__main__":
    main()
