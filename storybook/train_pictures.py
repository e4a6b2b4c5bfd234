"""Train a picture adapter of the built-in model: `python -m storybook.train_pictures --run RUN`.

Actors are painted in colours that no word names, captions name none, and a picture shows each actor in
another pose and scene; so what it looks like can only be seen there. UNet and text encoder do not change.
What is trained is a reader of small pictures, and keys and values for each cross-attention layer, which begin
as the text's (`models.pictures`; IP-Adapter, Ye et al. 2023, arXiv:2308.06721). The run folder keeps weights,
averages and optimiser as safetensors and resumes from them; `--ship` writes the averages in half precision.
"""

from __future__ import annotations

import colorsys
import dataclasses
import json
import logging
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel

from regrain.editing.attention.backends import attention
from regrain.editing.attention.layers import AttentionLayer, install
from regrain.editing.media.images import GREY
from regrain.editing.models.pictures.encoder import DRAWN, drawn, resampled
from storybook import dataset
from storybook.muon import Muon
from storybook.ship import ASSETS
from storybook.train_autoencoder import SIZE
from storybook.train_unet import PROBES, SCHEDULE, Captions, embed, encode, noised, x0_error
from storybook.training import Run, begin, mixed, options, worker, workers
from storybook.world import Actor, Scene, cast_of, owners, render_frames, sample_scene, surface_ids

log = logging.getLogger(__name__)
TARGET = ASSETS / "pictures.safetensors"
SCALE = "1.4"  # chosen on scenes 50000 to 50007: 1 errs by 13.5 of colour, 1.3 by 11.9, 1.5 by 11.5
WIDTH, HEADS, DEPTH, TOKENS, CROSS, PATCHES = 128, 4, 2, 8, 128, (DRAWN // 8) ** 2
ENDS = ("reader", "latents", "places", "proj_out")  # that AdamW updates
SHARD, SHARDS, USES = (
    500,
    12,
    8,
)  # drawings in a shard, shards, uses of a drawing before it gives way
_PAINTED, _PLAIN, _GROWN, _INSIDE = 0.7, 0.5, 0.5, 2.3
_HELD_OUT = 10**6  # number of a shard that is never trained on


class PictureNet(nn.Module):
    """The weights of an adapter, by their names in its file."""

    def __init__(self, unet: nn.Module, layers: list[str]) -> None:
        super().__init__()
        shapes = {
            f"reader.{i}.weight": (wide, before, 3, 3) for i, (before, wide) in enumerate(_STEPS)
        }
        shapes |= {f"reader.{i}.bias": (wide,) for i, (_, wide) in enumerate(_STEPS)}
        shapes |= {"places": (1, PATCHES, WIDTH), "latents": (1, TOKENS, WIDTH)}
        shapes |= {"proj_in.weight": (WIDTH, WIDTH), "proj_out.weight": (CROSS, WIDTH)}
        norms = [
            "norm_out",
            *(f"layers.{i}.{part}" for i in range(DEPTH) for part in ("0.norm1", "0.norm2", "1.0")),
        ]
        for layer in range(DEPTH):
            own, inner = f"layers.{layer}", 64 * HEADS
            shapes |= {
                f"{own}.0.to_q.weight": (inner, WIDTH),
                f"{own}.0.to_kv.weight": (2 * inner, WIDTH),
            }
            shapes |= {f"{own}.0.to_out.weight": (WIDTH, inner)}
            shapes |= {
                f"{own}.1.1.weight": (4 * WIDTH, WIDTH),
                f"{own}.1.3.weight": (WIDTH, 4 * WIDTH),
            }
        values = {
            f"image_proj.{n}": torch.randn(s) / np.sqrt(np.prod(s[1:])) for n, s in shapes.items()
        }
        for name in norms:
            wide = CROSS if name == "norm_out" else WIDTH
            values |= {
                f"image_proj.{name}.weight": torch.ones(wide),
                f"image_proj.{name}.bias": torch.zeros(wide),
            }
        for number, name in enumerate(layers):
            for part in "kv":
                text = unet.get_parameter(f"{name}.to_{part}.weight").detach()
                values[f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight"] = text.clone() * (
                    0.1 if part == "v" else 1
                )
        self._numbers = {name: 2 * number + 1 for number, name in enumerate(layers)}
        self._own = nn.ParameterDict(
            {name.replace(".", "/"): value for name, value in values.items()}
        )

    def named(self) -> dict[str, Tensor]:
        """The weights by their names."""
        return {name.replace("/", "."): value for name, value in self._own.items()}

    def tokens(self, pictures: Tensor) -> Tensor:
        """Tokens [n, 8, 128] of pictures [n, 3, 64, 64], -1 to 1; zeros are the empty picture."""
        own = {n.removeprefix("image_proj."): w for n, w in self.named().items()}
        return resampled(drawn(pictures, own), own)

    def term(self, q: Tensor, site: AttentionLayer, tokens: Tensor) -> Tensor:
        """What a layer's queries find in tokens, one row each."""
        named, number = self.named(), self._numbers[site.name]
        k, v = (
            F.linear(tokens, named[f"ip_adapter.{number}.to_{part}_ip.weight"])
            .unflatten(-1, (q.shape[1], -1))
            .transpose(1, 2)
            for part in "kv"
        )
        return attention(q, k, v)


_STEPS = (
    (3, 32),
    (32, 64),
    (64, WIDTH),
)  # channels before and after each convolution of the reader


def paint(rng: np.random.Generator) -> str:
    """A colour that no word names."""
    hue, saturation, value = rng.uniform(), rng.uniform(0.15, 1), rng.uniform(0.25, 1)
    return "#" + bytes(round(255 * c) for c in colorsys.hsv_to_rgb(hue, saturation, value)).hex()


def draw_sample(seed: int) -> dict[str, np.ndarray | str]:
    """A scene with two actors, a picture of each, and what each covers; its caption names no colour."""
    rng = np.random.default_rng([seed, 21])
    scene = sample_scene(seed, actors=2)
    cast = [
        dataclasses.replace(a, color=paint(rng)) if rng.random() < _PAINTED else a
        for a in scene.actors
    ]
    scene = dataclasses.replace(scene, actors=tuple(cast))
    frame = int(rng.integers(scene.frames))
    figures = cast_of(scene)
    label = owners(figures)[0][surface_ids(scene, figures, SIZE, frame)]
    masks = [
        cv2.resize((label == i).astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA)
        for i in (1, 2)
    ]
    words = dataclasses.replace(
        scene, actors=tuple(dataclasses.replace(a, color=None) for a in cast)
    )
    return {
        "picture": render_frames(scene, SIZE, (frame,))[0],
        "shown": np.stack([portrait(actor, rng) for actor in cast]),
        "masks": np.stack(masks),
        "caption": words.caption,
    }


def portrait(
    actor: Actor, rng: np.random.Generator, side: int = DRAWN, cut: bool = False
) -> np.ndarray:
    """The same actor in another pose, place and scene, half of the time on plain grey: `side` pixels.

    If it is `cut` out, there is a fourth channel, in which all else is transparent.
    """
    other: Scene = sample_scene(int(rng.integers(10**8)), actors=1)
    stand = dataclasses.replace(
        other.actors[0], kind=actor.kind, color=actor.color, accessory=actor.accessory
    )
    other = dataclasses.replace(other, actors=(stand,), style="storybook")
    frame, figures = int(rng.integers(other.frames)), cast_of(other)
    picture = render_frames(other, SIZE, (frame,))[0]
    drawn = (surface_ids(other, figures, SIZE, frame) > 0)[..., None]
    plain = rng.random() < _PLAIN
    if cut:
        picture = np.dstack([picture, 255 * drawn.astype(np.uint8)])
    elif plain:
        picture = np.where(drawn, picture, np.uint8(GREY))
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


class Drawings:
    """The newest shards of drawings, kept in a folder; workers have shards of their own."""

    def __init__(self, folder: Path, vae: AutoencoderDC, captions: Captions) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._vae, self._captions = folder, vae, captions
        self._held: dict[int, dict[str, Tensor]] = {}
        self._rows: dict[str, Tensor] = {}

    def at(self, done: int) -> dict[str, Tensor]:
        """All drawings after `done` samples; one shard changes at a time."""
        first = done // (USES * SHARD * workers())
        wanted = [worker() + workers() * number for number in range(first, first + SHARDS)]
        if wanted != [*self._held]:
            self._held = {number: self._held.get(number) or self.shard(number) for number in wanted}
            held = [*self._held.values()]
            self._rows = {key: torch.cat([shard[key] for shard in held]) for key in held[0]}
        return self._rows

    def shard(self, number: int) -> dict[str, Tensor]:
        """One shard; drawn if it is not there."""
        path = self._folder / f"shard_{number:07d}.safetensors"
        if not path.exists():
            first = dataset.FIRST_TRAINING_SEED + number * SHARD
            samples = [draw_sample(seed) for seed in range(first, first + SHARD)]
            stacked = {
                key: torch.from_numpy(np.stack([s[key] for s in samples]))
                for key in ("shown", "masks")
            }
            z = encode(self._vae, np.stack([sample["picture"] for sample in samples]))
            partial = path.with_suffix(".partial")
            save_file(
                stacked | {"z": z, "ids": self._captions.ids([s["caption"] for s in samples])},
                partial,
            )
            partial.replace(path)
            log.info("drew shard %d", number)
        return load_file(path)


def predict(
    net: PictureNet,
    unet: UNet2DConditionModel,
    x: Tensor,
    t: Tensor,
    text: Tensor,
    shown: Tensor,
    masks: Tensor,
) -> Tensor:
    """Predicted v; `shown` are pictures [n, 2, 3, 64, 64], `masks` [n, 2, 16, 16] how they count where."""
    with mixed():
        tokens = net.tokens(shown.flatten(0, 1)).unflatten(0, (-1, 2))

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            out = attention(q, k, v)
            if site.kind == "cross":
                size = tuple(side // site.stride[1] for side in masks.shape[2:])
                shares = F.adaptive_avg_pool2d(masks, size).flatten(2)[:, :, None, :, None]
                for i in range(2):
                    out = out + shares[:, i].to(out) * net.term(q, site, tokens[:, i])
            return out

        return unet(x, t, text, cross_attention_kwargs={"attend": attend}).sample.float()


def _ready(rows: dict[str, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures, -1 to 1, and masks of some drawings."""
    return rows["shown"][chosen].permute(0, 1, 4, 2, 3).float() / 127.5 - 1, rows["masks"][chosen]


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=90_000, rate=2e-3, ema=0.999)
    parser.add_argument("--batch", type=int, default=16, help="samples per batch of each worker")
    parser.add_argument("--report", type=int, default=200, help="steps between points of the curve")
    parser.add_argument(
        "--ship", action="store_true", help=f"write the run's weights to {TARGET} and stop"
    )
    args = parser.parse_args()
    begin(args)
    unet = UNet2DConditionModel.from_pretrained(
        ASSETS / "unet", torch_dtype=torch.float32
    ).requires_grad_(False)
    names = [
        name.removesuffix(".processor") for name in unet.attn_processors
    ]  # the middle is the last
    install(unet)
    net = PictureNet(unet, [name for name in names if unet.get_submodule(name).is_cross_attention])
    run = Run(args.run, net, Muon(net, args.rate, ends=ENDS), ema=args.ema)
    if args.ship:
        with run.averaged():
            halves = {
                name: value.detach().half().contiguous() for name, value in net.named().items()
            }
            save_file(halves, TARGET, {"scale": SCALE})
        return
    vae = AutoencoderDC.from_pretrained(ASSETS / "vae", torch_dtype=torch.float32).eval()
    vae = vae.to(memory_format=torch.channels_last)
    scale = json.loads((ASSETS / "vae" / "config.json").read_text())["scaling_factor"]
    captions = Captions(args.run / "tokenizer")
    text = CLIPTextModel.from_pretrained(
        ASSETS / "text_encoder", dtype=torch.float32
    ).requires_grad_(False)
    drawings, abar = (
        Drawings(args.run / "pool", vae, captions),
        DDIMScheduler(**SCHEDULE).alphas_cumprod,
    )
    held = (
        {key: rows[:200] for key, rows in drawings.shard(_HELD_OUT).items()} if not worker() else {}
    )

    while run.done < args.samples:
        rows = drawings.at(run.done)
        rng = torch.Generator().manual_seed(
            args.seed * 1_000_003 + run.done + worker() * args.batch
        )
        run.pace(args.rate, args.samples, warm=2000)
        chosen = torch.randint(len(rows["z"]), (args.batch,), generator=rng)
        run.step(_loss(net, unet, text, captions, rows, chosen, scale, abar, rng), args.batch)
        if run.steps % args.report == 0 and not worker():
            with run.averaged(), torch.no_grad():
                run.report(_probe(net, unet, text, held, scale, abar))
            run.save()
    if not worker():
        run.save()


def _loss(
    net: PictureNet,
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    captions: Captions,
    rows: dict[str, Tensor],
    chosen: Tensor,
    scale: float,
    abar: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """Of one batch: each picture is dropped in 25 %, the text alone in 5 %, both in 5 %."""
    x, t, v = noised(rows["z"][chosen].float() * scale, abar, rng)
    shown, masks = _ready(rows, chosen)
    inside = masks.sum(1, keepdim=True).clamp(max=1)
    u = torch.rand(len(chosen), 1, generator=rng)
    grown = F.max_pool2d(masks, 3, 1, 1)
    masks = torch.where(torch.rand(len(chosen), 1, 1, 1, generator=rng) < _GROWN, grown, masks)
    dropped = (torch.rand(shown.shape[:2], generator=rng) < 0.25) | (u < 0.05)
    shown = shown * ~dropped[:, :, None, None, None]
    words = embed(text, torch.where(u < 0.1, captions.empty, rows["ids"][chosen]))
    error = (predict(net, unet, x, t, words, shown, masks) - v).square()
    return (error * (1 + (_INSIDE - 1) * inside)).mean()


def _probe(
    net: PictureNet,
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    held: dict[str, Tensor],
    scale: float,
    abar: Tensor,
) -> dict[str, float]:
    """Mean squared x0 error of held-out drawings over the latents' variance, with pictures and without."""
    shown, masks = _ready(held, torch.arange(len(held["z"])))
    words, z = embed(text, held["ids"]), held["z"].float() * scale
    how = {"seen": (shown, masks), "empty": (torch.zeros_like(shown), masks)}
    return {
        f"{name}{t}": x0_error(
            partial(predict, net, unet, text=words, shown=s, masks=m), z, t, abar
        )
        for name, (s, m) in how.items()
        for t in PROBES[1:]
    }


if __name__ == "__main__":
    main()
