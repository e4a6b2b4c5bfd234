"""How good is the built-in model alone? `python -m benchmarks.model_quality --scenes 200`.

Measures, on held-out scenes of the drawn world: the autoencoder's round trip; DDIM inversion and sampling
back with the same words, against that round trip; and whether pictures made from words alone show what the
words say. A classifier trained here, on drawings and their round trips, judges the pictures; its accuracy on
true drawings it never saw is printed beside. `--learn 0` skips pictures from words and the classifier.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
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
from storybook.world import render_frames

FIRST_SEED, FIRST_SHOWN = (
    40_000,
    2_000_000,
)  # of held-out scenes, and of those that train the classifier
FRAME, SIDE, BATCH = 3, 64, 20
WORDS: dict[str, tuple[str | None, ...]] = {
    "kind": KINDS,
    "color": (None, *COLORS),
    "accessory": (None, *ACCESSORIES),
    "background": BACKGROUNDS,
}


def facts(scene: Scene) -> dict[str, str | None]:
    """What a scene of one actor shows, by the keys of `WORDS`."""
    who = scene.actors[0]
    look = {"kind": who.kind, "color": who.color, "accessory": who.accessory}
    return look | {"background": scene.background}


def scenes_from(first: int, count: int) -> list[Scene]:
    """Scenes of one actor in the storybook style."""
    scenes = (sample_scene(seed, 8, 1) for seed in itertools.count(first))
    return list(itertools.islice((scene for scene in scenes if scene.style == "storybook"), count))


def drawn(scenes: Sequence[Scene], size: int) -> np.ndarray:
    """One frame of each: uint8 [n, size, size, 3]."""
    return np.stack([render_frames(scene, size, (FRAME,))[0] for scene in scenes])


def round_trip(backbone: Backbone, frames: np.ndarray) -> np.ndarray:
    """Frames, encoded and decoded again."""
    parts = [frames[i : i + BATCH] for i in range(0, len(frames), BATCH)]
    return np.concatenate([backbone.decode(backbone.encode(part)) for part in parts])


class Classifier(nn.Module):
    """Kind, colour, accessory and background of a picture of one actor."""

    def __init__(self) -> None:
        super().__init__()
        widths, layers = (3, 32, 64, 128, 128), []
        for a, b in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
            layers += [nn.Conv2d(b, b, 3, 1, 1), nn.BatchNorm2d(b), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3))
        self.heads = nn.ModuleDict(
            {key: nn.Linear(128 * 16, len(names)) for key, names in WORDS.items()}
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits by key, of pictures as `as_input` makes them."""
        features = self.trunk(x)
        return {key: head(features) for key, head in self.heads.items()}


def as_input(frames: np.ndarray) -> Tensor:
    """Small pictures, -1..1, [n, 3, SIDE, SIDE]."""
    small = np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames])
    return torch.from_numpy(small).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(backbone: Backbone, size: int, count: int, epochs: int = 6) -> Classifier:
    """Train on `count` drawings and the round trips of an eighth of them."""
    torch.manual_seed(0)
    scenes = scenes_from(FIRST_SHOWN, count)
    pictures = drawn(scenes, size)
    again = round_trip(backbone, pictures[: count // 8])
    x = torch.cat([as_input(pictures), as_input(again)])
    truths = [facts(scene) for scene in [*scenes, *scenes[: count // 8]]]
    y = {key: torch.tensor([names.index(f[key]) for f in truths]) for key, names in WORDS.items()}
    model = Classifier()
    total = epochs * (len(x) // 64)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=total)
    for _ in range(epochs):
        for rows in torch.randperm(len(x))[: len(x) // 64 * 64].split(64):
            batch = x[rows]
            mirrored = torch.rand(len(rows), 1, 1, 1) < 0.5
            batch = torch.where(mirrored, batch.flip(-1), batch) + 0.1 * torch.randn_like(batch)
            answers = model(batch)
            loss = sum(F.cross_entropy(answers[key], y[key][rows]) for key in WORDS)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            pace.step()
    return model.eval()


@torch.no_grad()
def shown_right(
    model: Classifier, frames: np.ndarray, scenes: Sequence[Scene]
) -> dict[str, list[bool]]:
    """Per key and picture, whether it shows what its scene says; colour and accessory only if named."""
    answers = {key: logits.argmax(1).tolist() for key, logits in model(as_input(frames)).items()}
    out: dict[str, list[bool]] = {key: [] for key in WORDS}
    for i, scene in enumerate(scenes):
        for key, value in facts(scene).items():
            if value is not None:
                out[key].append(WORDS[key][answers[key][i]] == value)
    return out


@torch.no_grad()
def from_words(
    backbone: Backbone, captions: Sequence[str], steps: int, guidance: float
) -> np.ndarray:
    """Pictures made from noise and words alone."""
    out = []
    for start in range(0, len(captions), BATCH):
        some = list(captions[start : start + BATCH])
        text = backbone.embed([""] * len(some) + some)
        like = backbone.encode(np.zeros((1, backbone.size, backbone.size, 3), np.uint8))
        x = torch.randn(
            (len(some), *like.shape[1:]), generator=torch.Generator().manual_seed(start)
        )
        for step in backbone.schedule.sampling(steps):
            x0, eps = backbone.predict(torch.cat([x, x]), step, text)
            x = advance(*(guide(*both.chunk(2), guidance) for both in (x0, eps)), step)
        out.append(backbone.decode(x))
    return np.concatenate(out)


@torch.no_grad()
def inverted_and_back(
    backbone: Backbone, frames: np.ndarray, captions: Sequence[str], steps: int
) -> np.ndarray:
    """Pictures inverted to noise and sampled back with the same words, without guidance."""
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
    """Mean over pictures, dB."""
    everywhere = np.ones(a.shape[1:3], bool)[None]
    return float(np.mean([psnr(x[None], y[None], everywhere) for x, y in zip(a, b, strict=True)]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument(
        "--learn", type=int, default=16_000, help="drawings that train the classifier; 0: none"
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
        for name, pictures in (
            ("true drawings", frames),
            ("their round trip", once),
            ("from words", made),
        ):
            shares = {
                key: interval(hits) for key, hits in shown_right(model, pictures, scenes).items()
            }
            table[name] = shares
            cells = "  ".join(f"{key} {p:.3f} +- {half:.3f}" for key, (p, half) in shares.items())
            print(f"{name:18s} {cells}", flush=True)
        rows = [
            np.concatenate(list(made[i : i + 10]), 1) for i in range(0, len(made) // 10 * 10, 10)
        ]
        Image.fromarray(np.concatenate(rows)).save(args.out / "from_words.png")
    (args.out / "model_quality.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
