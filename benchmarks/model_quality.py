"""How good is the built-in model alone? `python -m benchmarks.model_quality --scenes
200`.

Measures, on held-out scenes of the drawn world: the autoencoder's round trip; DDIM
inversion and sampling back with the same words, against that round trip; and whether
pictures made from words alone show what the words say. A classifier trained here, on
drawings and their round trips, judges the pictures; its accuracy on true drawings it
never saw is printed beside. `--learn 0` skips pictures from words and the classifier.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.judge import interval
from regrain.editing import load_backbone
from regrain.editing.diffusion.schedule import advance, guide
from regrain.editing.models.backbone import Backbone
from regrain.editing.pipeline.metrics import psnr
from regrain.editing.recipe.inversion import ddim_walk
from storybook import ACCESSORIES, BACKGROUNDS, COLORS, KINDS, Scene, sample_scene
from storybook.rendering import render_frames

FIRST_SEED = 40_000  # of held-out scenes
FIRST_SHOWN = 2_000_000  # of scenes that train the classifier
FRAME = 3  # of a scene
SIDE = 64  # pixels of the classifier's pictures
BATCH = 20
WORDS: dict[str, tuple[str | None, ...]] = {
    "kind": KINDS,
    "color": (None, *COLORS),
    "accessory": (None, *ACCESSORIES),
    "background": BACKGROUNDS,
}


def facts(scene: Scene) -> dict[str, str | None]:
    """Return the words that a scene of one actor shows, by the keys of `WORDS`."""
    who = scene.actors[0]
    return {
        "kind": who.kind,
        "color": who.color,
        "accessory": who.accessory,
        "background": scene.background,
    }


def scenes_from(first: int, count: int) -> list[Scene]:
    """Return the first `count` scenes of one actor in the storybook style."""
    scenes = []
    for seed in itertools.count(first):
        if len(scenes) == count:
            break
        scene = sample_scene(seed, 8, 1)
        if scene.style == "storybook":
            scenes.append(scene)
    return scenes


def drawn(scenes: Sequence[Scene], size: int) -> np.ndarray:
    """Draw one frame of each: uint8 [n, size, size, 3]."""
    return np.stack([render_frames(scene, size, (FRAME,))[0] for scene in scenes])


def round_trip(backbone: Backbone, frames: np.ndarray) -> np.ndarray:
    """Return frames, encoded and decoded again."""
    parts = [frames[i : i + BATCH] for i in range(0, len(frames), BATCH)]
    return np.concatenate([backbone.decode(backbone.encode(part)) for part in parts])


class Classifier(nn.Module):
    """Kind, colour, accessory and background of a picture of one actor."""

    def __init__(self) -> None:
        super().__init__()
        layers = []
        for before, after in itertools.pairwise((3, 32, 64, 128, 128)):
            layers += [
                nn.Conv2d(before, after, 3, 2, 1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
            layers += [
                nn.Conv2d(after, after, 3, 1, 1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3))
        heads = {key: nn.Linear(128 * 16, len(names)) for key, names in WORDS.items()}
        self.heads = nn.ModuleDict(heads)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return logits by key, of pictures as `as_input` makes them."""
        features = self.trunk(x)
        return {key: head(features) for key, head in self.heads.items()}


def as_input(frames: np.ndarray) -> Tensor:
    """Return small pictures, -1..1, [n, 3, SIDE, SIDE]."""
    small = np.stack(
        [cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames]
    )
    return torch.from_numpy(small).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(backbone: Backbone, size: int, count: int, epochs: int = 6) -> Classifier:
    """Train on `count` drawings and the round trips of an eighth of them."""
    torch.manual_seed(0)
    x, y = shown_pictures(backbone, size, count)
    model = Classifier()
    steps = len(x) // 64  # of an epoch
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    pace = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2e-3, total_steps=epochs * steps
    )
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for rows in order[: steps * 64].split(64):
            answers = model(_altered(x[rows]))
            losses = [F.cross_entropy(answers[key], y[key][rows]) for key in WORDS]
            loss = sum(losses)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            pace.step()
    return model.eval()


def shown_pictures(
    backbone: Backbone, size: int, count: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return `count` drawings and the round trips of an eighth of them, and the numbers
    of their words."""
    scenes = scenes_from(FIRST_SHOWN, count)
    pictures = drawn(scenes, size)
    again = round_trip(backbone, pictures[: count // 8])
    x = torch.cat([as_input(pictures), as_input(again)])
    truths = [facts(scene) for scene in (*scenes, *scenes[: count // 8])]
    y = {}
    for key, names in WORDS.items():
        y[key] = torch.tensor([names.index(truth[key]) for truth in truths])
    return x, y


def _altered(batch: Tensor) -> Tensor:
    """Mirror half of the pictures, and add noise."""
    mirrored = torch.rand(len(batch), 1, 1, 1) < 0.5
    return torch.where(mirrored, batch.flip(-1), batch) + 0.1 * torch.randn_like(batch)


@torch.no_grad()
def shown_right(
    model: Classifier, frames: np.ndarray, scenes: Sequence[Scene]
) -> dict[str, list[bool]]:
    """Return per key whether pictures show what their scenes say; colour and accessory
    only if named."""
    logits = model(as_input(frames))
    answers = {key: values.argmax(1).tolist() for key, values in logits.items()}
    right: dict[str, list[bool]] = {key: [] for key in WORDS}
    for i, scene in enumerate(scenes):
        for key, asked in facts(scene).items():
            if asked is not None:
                answer = WORDS[key][answers[key][i]]
                right[key].append(answer == asked)
    return right


@torch.no_grad()
def from_words(
    backbone: Backbone, captions: Sequence[str], steps: int, guidance: float
) -> np.ndarray:
    """Make pictures from noise and words alone."""
    blank = np.zeros((1, backbone.size, backbone.size, 3), np.uint8)
    shape = backbone.encode(blank).shape[1:]
    pictures = []
    for start in range(0, len(captions), BATCH):
        some = list(captions[start : start + BATCH])
        text = backbone.embed([""] * len(some) + some)
        rng = torch.Generator().manual_seed(start)
        noise = torch.randn((len(some), *shape), generator=rng)
        x = _sampled(backbone, noise, text, steps, guidance)
        pictures.append(backbone.decode(x))
    return np.concatenate(pictures)


def _sampled(
    backbone: Backbone, x: Tensor, text: Tensor, steps: int, guidance: float
) -> Tensor:
    """Return latents sampled from noise; `text` are empty words, then those of each."""
    for step in backbone.schedule.sampling(steps):
        x0, eps = backbone.predict(torch.cat([x, x]), step, text)
        x0 = guide(*x0.chunk(2), guidance)
        eps = guide(*eps.chunk(2), guidance)
        x = advance(x0, eps, step)
    return x


@torch.no_grad()
def inverted_and_back(
    backbone: Backbone, frames: np.ndarray, captions: Sequence[str], steps: int
) -> np.ndarray:
    """Return pictures inverted to noise and sampled back with the same words, without
    guidance."""
    out = []
    for start in range(0, len(frames), BATCH):
        text = backbone.embed(list(captions[start : start + BATCH]))
        x = backbone.encode(frames[start : start + BATCH])
        predict = partial(backbone.predict, text=text)
        *_, (_, x) = ddim_walk(x, predict, backbone.schedule.inversion(steps))
        for step in backbone.schedule.sampling(steps):
            x = advance(*backbone.predict(x, step, text), step)
        out.append(backbone.decode(x))
    return np.concatenate(out)


def mean_psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean PSNR over pictures, dB."""
    everywhere = np.ones((1, *a.shape[1:3]), bool)
    pairs = zip(a, b, strict=True)
    return float(np.mean([psnr(x[None], y[None], everywhere) for x, y in pairs]))


def _print_shares(name: str, shares: Mapping[str, tuple[float, float]]) -> None:
    cells = []
    for key, (share, half) in shares.items():
        cells.append(f"{key} {share:.3f} +- {half:.3f}")
    print(f"{name:18s} {'  '.join(cells)}", flush=True)


def _sheet(pictures: np.ndarray) -> np.ndarray:
    """Return pictures in rows of ten; those of the last row are left out unless it is
    full."""
    rows = []
    for start in range(0, len(pictures) // 10 * 10, 10):
        ten = list(pictures[start : start + 10])
        rows.append(np.concatenate(ten, 1))
    return np.concatenate(rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument(
        "--learn",
        type=int,
        default=16_000,
        help="drawings that train the classifier; 0: none",
    )
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--model", default="storybook")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/model_quality"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    backbone = load_backbone(args.model)
    scenes = scenes_from(FIRST_SEED, args.scenes)
    captions = [scene.caption for scene in scenes]
    frames = drawn(scenes, backbone.size)
    once = round_trip(backbone, frames)
    back = inverted_and_back(backbone, frames, captions, args.steps)
    table: dict[str, object] = {
        "scenes": args.scenes,
        "autoencoder_psnr": mean_psnr(frames, once),
        "inverted_and_back_psnr": mean_psnr(frames, back),
        "inverted_and_back_psnr_to_round_trip": mean_psnr(once, back),
    }
    for name, value in table.items():
        print(f"{name:40s} {value:8.2f}", flush=True)
    if args.learn:
        model = train(backbone, backbone.size, args.learn)
        made = from_words(backbone, captions, args.steps, args.guidance)
        judged = {
            "true drawings": frames,
            "their round trip": once,
            "from words": made,
        }
        for name, pictures in judged.items():
            right = shown_right(model, pictures, scenes)
            shares = {key: interval(hits) for key, hits in right.items()}
            table[name] = shares
            _print_shares(name, shares)
        Image.fromarray(_sheet(made)).save(args.out / "from_words.png")
    (args.out / "model_quality.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
