"""How well the built-in reader tells what is there: `python -m benchmarks.reader`.

Drawings are read with their true words, edits by several methods, right and failed
ones, with what `benchmarks.judge` finds in each region. Edits are kept in a folder,
from which `storybook.training.reader` can learn; those of scenes that are measured must
not be among them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel, CLIPProcessor

from benchmarks import judge
from benchmarks.edit_quality import run
from benchmarks.tasks import FRAMES, TASKS, Target, Task, true_masks, with_margin
from regrain.editing import load_backbone
from storybook import render, sample_scene
from storybook.training.reader import TARGET, box_of, cut
from storybook.world import KINDS, WHERE

# Many edits of the last three fail.
WAYS: dict[str, dict[str, Any]] = {
    "fast": {
        "method": "infedit",
        "steady": 4,
        "redraw": 0.3,
        "loras": ["storybook/fast"],
    },
    "two fast steps": {
        "method": "infedit",
        "steps": 2,
        "loras": ["storybook/fast"],
    },
    "two steps": {"method": "infedit", "steps": 2},
    "videograin, nothing said": {"steps": 8},
}
_TASKS = ("instance", "instance", "instance", "jumping", "sketch", "dark")
_GROWN = (0, 2, 6, 4)


def make(
    seed: int, way: str, loras: list[str], folder: Path, frames: int = FRAMES
) -> Path:
    """Edit a scene in a way, judge it, and keep it; what is kept is not made again."""
    path = folder / f"{seed}_{way.replace(' ', '_').replace(',', '')}.npz"
    if path.exists():
        return path
    masks = true_masks(_GROWN[seed % len(_GROWN)])
    task = TASKS[_TASKS[seed % len(_TASKS)]](seed, 128, masks, frames)
    # Others reach beyond their masks, as on the page.
    task = with_margin(task, None if seed % 5 < 2 else 0)
    if way == "videograin, nothing said":
        request = dataclasses.replace(task.request, source_prompt="")
        task = dataclasses.replace(task, request=request)
    row = dict(WAYS[way])
    if "loras" in row:
        row["loras"] = loras or row["loras"]
    asked = row.get("loras", [])
    backbone = load_backbone("storybook", asked, dtype=torch.float32)
    edit, _ = run(task, backbone, row)
    np.savez_compressed(path, frames=edit, **_facts(task, edit))
    return path


def _facts(task: Task, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is kept of an edit beside its frames."""
    regions = task.request.regions
    far = [_distances(frames, target) for target in task.targets]
    return {
        "labels": np.asarray(task.request.labels).astype(np.uint8),
        "source": task.request.clip.read(0, len(frames)),
        "old": np.array([region.source for region in regions]),
        "asked": np.array([region.prompt for region in regions]),
        "kinds": np.array([target.asked for target in task.targets]),
        "found": np.array([min(one, key=one.__getitem__) for one in far]),
        "far": np.array([[one[kind] for kind in KINDS] for one in far]),
        "nothing": np.array([_nothing(frames, task, i) for i in range(len(far))]),
        "where": np.array(task.source.background),
        "style": np.array(task.source.style),
    }


def _distances(frames: np.ndarray, target: Target) -> dict[str, float]:
    """Return how far a region is from each kind, drawn in its place; as
    `judge.nearest`."""
    return {
        kind: judge.distance(frames, scene, target.place, target.actor, _judged(frames))
        for kind, scene in target.candidates.items()
    }


def _judged(frames: np.ndarray) -> tuple[int, ...]:
    """Return the frames that count."""
    return judge.JUDGED if len(frames) == FRAMES else tuple(range(len(frames)))


def _nothing(frames: np.ndarray, task: Task, number: int) -> float:
    """Return how far a region is from its scene without what it should show."""
    others = tuple(a for i, a in enumerate(task.truth.actors) if i != number)
    scene = dataclasses.replace(task.truth, actors=others)
    place = task.targets[number].place
    return judge.distance(frames, scene, place, None, _judged(frames))


class Reader:
    """A CLIP, and what prepares pictures and words for it."""

    def __init__(self, folder: Path) -> None:
        self._clip = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self._processor = CLIPProcessor.from_pretrained(folder)

    @torch.no_grad()
    def cosines(self, crops: list[np.ndarray], texts: list[str]) -> np.ndarray:
        """Return the cosine of each crop with each text."""
        pictures = self._processor(images=crops, return_tensors="pt")
        words = self._processor(text=texts, padding=True, return_tensors="pt")
        x = self._clip.get_image_features(**pictures).pooler_output
        y = self._clip.get_text_features(**words).pooler_output
        return (F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).T).numpy()

    def margins(
        self, frames: np.ndarray, masks: np.ndarray, own: str, told: list[str]
    ) -> np.ndarray:
        """Return for each frame in which a region shows how much nearer it is to its
        own words than to any others: those of `told`, kinds and places."""
        crops = []
        for frame, mask in zip(frames, masks, strict=True):
            if mask.any():
                crops.append(cut(frame, box_of(mask), 64))
        mine = {*own.split()}
        others = [text for text in told if text != own]
        others += [f"{_a(kind)} {kind}" for kind in KINDS if kind not in mine]
        others += [*WHERE.values()]
        cosines = self.cosines(crops, [own, *others])
        return cosines[:, 0] - cosines[:, 1:].max(1)


def _a(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def drawings(reader: Reader, seeds: range) -> list[np.ndarray]:
    """Return the margins of all actors of drawn scenes."""
    found = []
    for seed in seeds:
        scene = sample_scene(seed, 8, 2 + seed % 2)
        drawn = render(scene, 128)
        phrases = [actor.phrase for actor in scene.actors]
        for i, own in enumerate(phrases):
            masks = drawn.labels == i + 1
            if masks.sum((1, 2)).min() > 60:
                found.append(reader.margins(drawn.frames, masks, own, phrases))
    return found


class Verdict(NamedTuple):
    """What judge and reader say of a region: whether the judge finds what was asked
    for, whether it is `_sure`, and the margins of all frames."""

    way: str
    right: bool
    sure: bool
    margins: np.ndarray


def edited(reader: Reader, folder: Path, first: int, scenes: int) -> list[Verdict]:
    """Return what is said of the regions of kept edits."""
    verdicts = []
    for path in sorted(folder.glob("*.npz")):
        seed, _, way = path.stem.partition("_")
        if not first <= int(seed) < first + scenes:
            continue
        edit = np.load(path)
        told = [*edit["asked"], *edit["old"]]
        for i, own in enumerate(edit["asked"]):
            masks = edit["labels"] == i + 1
            right = edit["found"][i] == edit["kinds"][i]
            sure = _sure(edit["far"][i], KINDS.index(edit["kinds"][i]))
            margins = reader.margins(edit["frames"], masks, own, told)
            verdicts.append(Verdict(way, bool(right), sure, margins))
    return verdicts


def _sure(far: np.ndarray, asked: int) -> bool:
    """Return whether what was asked for is nearer, or farther, than the best other kind
    by a tenth."""
    other = np.delete(far, asked).min()
    return max(far[asked], other) > 1.1 * min(far[asked], other)


def believed(margins: np.ndarray, least: float, frames: float) -> bool:
    """Return whether a region is said to show its words: they win on a share of frames,
    by a mean margin."""
    wins = float((margins > 0).mean())
    return wins >= frames and float(margins.mean()) >= least


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reader", type=Path, default=TARGET, help="a CLIP's folder")
    parser.add_argument("--first", type=int, default=500_000, help="first scene")
    parser.add_argument("--scenes", type=int, default=26, help="scenes to edit")
    parser.add_argument("--drawn", type=int, default=100, help="scenes only drawn")
    parser.add_argument(
        "--frames", type=int, default=FRAMES, help="of an edit; 1 to learn from"
    )
    parser.add_argument(
        "--lora", action="append", default=[], help="in place of storybook/fast"
    )
    parser.add_argument("--way", action="append", choices=WAYS, help="default: all")
    parser.add_argument("--only-make", action="store_true", help="read nothing")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/reader"))
    return parser.parse_args()


def main() -> None:
    """Command line."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in range(args.first, args.first + args.scenes):
        with (
            TemporaryDirectory() as cache,
            patch.dict(os.environ, {"REGRAIN_CACHE": cache}),
        ):
            for way in args.way or WAYS:
                make(seed, way, args.lora, args.out, args.frames)
    if args.only_make:
        return
    reader = Reader(args.reader)
    rule = json.loads((args.reader / "rule.json").read_text())
    judged = partial(believed, least=rule["margin"], frames=rule["frames"])
    drawn = drawings(reader, range(args.first, args.first + args.drawn))
    crops = np.concatenate(drawn)
    print(f"drawn: {(crops > 0).mean():.3f} of {len(crops)} crops are nearest to their")
    print(f"words, {np.mean([judged(one) for one in drawn]):.3f} of regions believed")
    verdicts = edited(reader, args.out, args.first, args.scenes)
    for way in sorted({verdict.way for verdict in verdicts}):
        own = [verdict for verdict in verdicts if verdict.way == way]
        print(line(way, own, judged))
    print(line("all", verdicts, judged))
    sure = [verdict for verdict in verdicts if verdict.sure]
    print(line("all of which judge is sure", sure, judged))


def line(
    name: str, verdicts: list[Verdict], judged: Callable[[np.ndarray], bool]
) -> str:
    """Return how often reader and judge agree, and how they do not."""
    green = [judged(verdict.margins) for verdict in verdicts]
    right = [verdict.right for verdict in verdicts]
    both = list(zip(green, right, strict=True))
    agree = np.mean([one == other for one, other in both])
    return (
        f"{name:28s}{len(both):5d} regions, {sum(right)} right; agree {agree:.3f}, "
        f"green but wrong {both.count((True, False))}, "
        f"red but right {both.count((False, True))}"
    )


if __name__ == "__main__":
    main()
