"""Train a picture adapter of the built-in model: `python -m storybook.training.pictures
--run RUN`.

Actors are painted in colours that no word names, captions name none, and a picture
shows each actor in another pose and scene; so what it looks like can only be seen
there. UNet and text encoder do not change. What is trained is a reader of small
pictures, and keys and values for each cross-attention layer, which begin as the text's
(`models.pictures`; IP-Adapter, Ye et al. 2023, arXiv:2308.06721). The run folder keeps
weights, averages and optimiser as safetensors and resumes from them; `--ship` writes
the averages in half precision.
"""

from __future__ import annotations

import colorsys
import dataclasses
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
from regrain.editing.models.pictures.encoder import drawn, resampled
from regrain.editing.models.pictures.picture_file import DRAWN
from storybook import dataset
from storybook.rendering import cast_of, owners, render_frames, surface_ids
from storybook.training.autoencoder import SIZE
from storybook.training.muon import Muon
from storybook.training.runs import (
    Each,
    Run,
    batch_rng,
    begin,
    device_of,
    in_jobs,
    mixed,
    options,
    worker,
    workers,
)
from storybook.training.ship import ASSETS, frozen_text_encoder, frozen_vae, halves
from storybook.training.unet import (
    PROBES,
    SCHEDULE,
    Captions,
    embed,
    encode,
    noised,
    x0_error,
)
from storybook.world import Actor, Scene, sample_scene

log = logging.getLogger(__name__)
TARGET = ASSETS / "pictures.safetensors"
# chosen on scenes 50000 to 50007: 1 errs by 13.5 of colour, 1.3 by 11.9, 1.5 by 11.5
SCALE = "1.4"
WIDTH = 128  # of the resampler
HEADS = 4
DEPTH = 2  # layers of the resampler
TOKENS = 8  # of a picture
CROSS = 128  # width of the tokens, as of the text's
PATCHES = (DRAWN // 8) ** 2
ENDS = ("reader", "latents", "places", "proj_out")  # that AdamW updates
SHARD = 500  # drawings
SHARDS = 12
USES = 8  # of a drawing before it gives way
_PAINTED = 0.7  # share of actors in a colour that no word names
_PLAIN = 0.5  # share of pictures on plain grey
_GROWN = 0.5  # share of masks that are grown by a cell
_INSIDE = 2.3  # weight of errors inside masks
_HELD_OUT = 10**6  # number of a shard that is never trained on
# Channels before and after each convolution of the reader.
_STEPS = ((3, 32), (32, 64), (64, WIDTH))


class PictureNet(nn.Module):
    """The weights of an adapter, by their names in its file."""

    def __init__(self, unet: nn.Module, layers: list[str]) -> None:
        super().__init__()
        values = {f"image_proj.{name}": value for name, value in _resampler().items()}
        self._numbers = {name: 2 * number + 1 for number, name in enumerate(layers)}
        for layer, number in self._numbers.items():
            keys = unet.get_parameter(f"{layer}.to_k.weight").detach()
            own_values = unet.get_parameter(f"{layer}.to_v.weight").detach()
            values[f"ip_adapter.{number}.to_k_ip.weight"] = keys.clone()
            values[f"ip_adapter.{number}.to_v_ip.weight"] = own_values.clone() * 0.1
        # A name in a `ParameterDict` cannot have dots.
        self._own = nn.ParameterDict(
            {name.replace(".", "/"): value for name, value in values.items()}
        )

    def named(self) -> dict[str, Tensor]:
        """Return the weights by their names."""
        return {name.replace("/", "."): value for name, value in self._own.items()}

    def tokens(self, pictures: Tensor) -> Tensor:
        """Return tokens [n, 8, 128] of pictures [n, 3, 64, 64], -1 to 1; zeros are the
        empty picture."""
        own = {
            name.removeprefix("image_proj."): value
            for name, value in self.named().items()
        }
        return resampled(drawn(pictures, own), own)

    def term(self, q: Tensor, site: AttentionLayer, tokens: Tensor) -> Tensor:
        """Return the attention of a layer's queries to tokens, one row each."""
        k, v = (self._heads(part, q.shape[1], site, tokens) for part in "kv")
        return attention(q, k, v)

    def _heads(
        self, part: str, heads: int, site: AttentionLayer, tokens: Tensor
    ) -> Tensor:
        """Return keys ("k") or values ("v") of tokens by head."""
        weight = self.named()[
            f"ip_adapter.{self._numbers[site.name]}.to_{part}_ip.weight"
        ]
        return F.linear(tokens, weight).unflatten(-1, (heads, -1)).transpose(1, 2)


def _resampler() -> dict[str, Tensor]:
    """Return new weights of the reader and the resampler, by their names in the
    file."""
    values = {}
    for name, shape in _random_shapes().items():
        inputs = np.prod(shape[1:])
        values[name] = torch.randn(shape) / np.sqrt(inputs)
    norms = {"norm_out": CROSS}
    for layer in range(DEPTH):
        for part in ("0.norm1", "0.norm2", "1.0"):
            norms[f"layers.{layer}.{part}"] = WIDTH
    for name, width in norms.items():
        values[f"{name}.weight"] = torch.ones(width)
        values[f"{name}.bias"] = torch.zeros(width)
    return values


_INNER = 64 * HEADS
# Shapes of the weights of a layer of the resampler.
_LAYER = {
    "0.to_q.weight": (_INNER, WIDTH),
    "0.to_kv.weight": (2 * _INNER, WIDTH),
    "0.to_out.weight": (WIDTH, _INNER),
    "1.1.weight": (4 * WIDTH, WIDTH),
    "1.3.weight": (WIDTH, 4 * WIDTH),
}


def _random_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights that start at random, in the order in which they
    are drawn."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (before, after) in enumerate(_STEPS):
        shapes[f"reader.{i}.weight"] = (after, before, 3, 3)
    for i, (_, after) in enumerate(_STEPS):
        shapes[f"reader.{i}.bias"] = (after,)
    shapes["places"] = (1, PATCHES, WIDTH)
    shapes["latents"] = (1, TOKENS, WIDTH)
    shapes["proj_in.weight"] = (WIDTH, WIDTH)
    shapes["proj_out.weight"] = (CROSS, WIDTH)
    for layer in range(DEPTH):
        for name, shape in _LAYER.items():
            shapes[f"layers.{layer}.{name}"] = shape
    return shapes


def paint(rng: np.random.Generator) -> str:
    """Draw a colour that no word names: "#rrggbb"."""
    hue = rng.uniform()
    saturation = rng.uniform(0.15, 1)
    value = rng.uniform(0.25, 1)
    shares = colorsys.hsv_to_rgb(hue, saturation, value)
    return "#" + bytes(round(255 * share) for share in shares).hex()


def draw_sample(seed: int) -> dict[str, np.ndarray | str]:
    """Draw a scene with two actors, a picture of each, and its mask; the caption names
    no colour."""
    rng = np.random.default_rng([seed, 21])
    scene = sample_scene(seed, actors=2)
    cast = []
    for actor in scene.actors:
        if rng.random() < _PAINTED:
            actor = dataclasses.replace(actor, color=paint(rng))
        cast.append(actor)
    scene = dataclasses.replace(scene, actors=tuple(cast))
    unpainted = tuple(dataclasses.replace(actor, color=None) for actor in cast)
    colorless = dataclasses.replace(scene, actors=unpainted)
    frame = int(rng.integers(scene.frames))
    return {
        "picture": render_frames(scene, SIZE, (frame,))[0],
        "shown": np.stack([portrait(actor, rng) for actor in cast]),
        "masks": _masks(scene, frame),
        "caption": colorless.caption,
    }


def _masks(scene: Scene, frame: int) -> np.ndarray:
    """Return how much of each cell of the latents each of two actors covers: float32
    [2, 16, 16]."""
    figures = cast_of(scene)
    actor_of, _ = owners(figures)
    label = actor_of[surface_ids(scene, figures, SIZE, frame)]
    masks = []
    for number in (1, 2):
        mask = (label == number).astype(np.float32)
        masks.append(cv2.resize(mask, (16, 16), interpolation=cv2.INTER_AREA))
    return np.stack(masks)


def portrait(
    actor: Actor, rng: np.random.Generator, side: int = DRAWN, cut: bool = False
) -> np.ndarray:
    """Draw an actor in another pose, place and scene, half of the time on plain grey:
    `side` pixels.

    If it is `cut` out, there is a fourth channel, in which all else is transparent.
    """
    scene = _posed(actor, rng)
    frame = int(rng.integers(scene.frames))
    picture = render_frames(scene, SIZE, (frame,))[0]
    ids = surface_ids(scene, cast_of(scene), SIZE, frame)
    inside = (ids > 0)[..., None]
    plain = rng.random() < _PLAIN
    if cut:
        opacity = 255 * inside.astype(np.uint8)
        picture = np.dstack([picture, opacity])
    elif plain:
        picture = np.where(inside, picture, np.uint8(GREY))
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def _posed(actor: Actor, rng: np.random.Generator) -> Scene:
    """Draw a scene with an actor of the same look alone, in storybook style."""
    seed = int(rng.integers(10**8))
    scene = sample_scene(seed, actors=1)
    look = {"kind": actor.kind, "color": actor.color, "accessory": actor.accessory}
    posed = dataclasses.replace(scene.actors[0], **look)
    return dataclasses.replace(scene, actors=(posed,), style="storybook")


class Drawings:
    """The newest shards of drawings, kept in a folder; workers have shards of their
    own."""

    def __init__(
        self, folder: Path, vae: AutoencoderDC, captions: Captions, each: Each = map
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._each = each
        self._folder = folder
        self._vae = vae
        self._captions = captions
        self._held: dict[int, dict[str, Tensor]] = {}
        self._rows: dict[str, Tensor] = {}

    def at(self, done: int) -> dict[str, Tensor]:
        """Return all drawings after `done` samples; one shard changes at a time."""
        first = done // (USES * SHARD * workers())
        wanted = [
            worker() + workers() * number for number in range(first, first + SHARDS)
        ]
        if wanted != [*self._held]:
            self._held = {
                number: self._held.get(number) or self.shard(number)
                for number in wanted
            }
            shards = [*self._held.values()]
            self._rows = {
                key: torch.cat([shard[key] for shard in shards]) for key in shards[0]
            }
        return self._rows

    def shard(self, number: int) -> dict[str, Tensor]:
        """Read a shard, after drawing it if it is not there."""
        path = self._folder / f"shard_{number:07d}.safetensors"
        if not path.exists():
            partial = path.with_suffix(".partial")
            save_file(self._drawn(number), partial)
            partial.replace(path)
            log.info("drew shard %d", number)
        return load_file(path)

    def _drawn(self, number: int) -> dict[str, Tensor]:
        first = dataset.FIRST_TRAINING_SEED + number * SHARD
        samples = [*self._each(draw_sample, range(first, first + SHARD))]
        pictures = np.stack([sample["picture"] for sample in samples])
        return {
            "shown": torch.from_numpy(
                np.stack([sample["shown"] for sample in samples])
            ),
            "masks": torch.from_numpy(
                np.stack([sample["masks"] for sample in samples])
            ),
            "z": encode(self._vae, pictures),
            "ids": self._captions.ids([sample["caption"] for sample in samples]),
        }


def predict(
    net: PictureNet,
    unet: UNet2DConditionModel,
    x: Tensor,
    t: Tensor,
    text: Tensor,
    shown: Tensor,
    masks: Tensor,
) -> Tensor:
    """Return predicted v; `shown` are pictures [n, 2, 3, 64, 64], `masks` [n, 2, 16,
    16] their weights."""
    with mixed(x.device):
        tokens = net.tokens(shown.flatten(0, 1)).unflatten(0, (-1, 2))

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            out = attention(q, k, v)
            if site.kind != "cross":
                return out
            stride = site.stride[1]
            size = tuple(side // stride for side in masks.shape[2:])
            shares = F.adaptive_avg_pool2d(masks, size).flatten(2)
            for i in range(2):
                share = shares[:, i, None, :, None].to(out)
                out = out + share * net.term(q, site, tokens[:, i])
            return out

        predicted = unet(x, t, text, cross_attention_kwargs={"attend": attend})
        return predicted.sample.float()


def _ready(
    rows: dict[str, Tensor], chosen: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return pictures, -1 to 1, and masks of some drawings, on a device."""
    shown = rows["shown"][chosen].to(device).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    return shown, rows["masks"][chosen].to(device)


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=90_000, rate=2e-3, ema=0.999)
    parser.add_argument(
        "--batch", type=int, default=16, help="samples per batch of each worker"
    )
    parser.add_argument(
        "--report", type=int, default=200, help="steps between points of the curve"
    )
    parser.add_argument(
        "--ship",
        action="store_true",
        help=f"write the run's weights to {TARGET} and stop",
    )
    args = parser.parse_args()
    begin(args)
    unet = UNet2DConditionModel.from_pretrained(
        ASSETS / "unet", torch_dtype=torch.float32
    ).requires_grad_(False)
    layers = cross_layers(unet)
    install(unet)
    net = PictureNet(unet, layers).to(args.device)
    unet.to(args.device)
    run = Run(args.run, net, Muon(net, args.rate, ends=ENDS), ema=args.ema)
    if args.ship:
        with run.averaged():
            save_file(halves(net.named()), TARGET, {"scale": SCALE})
        return
    vae = frozen_vae().to(args.device, memory_format=torch.channels_last)
    scale = vae.config.scaling_factor
    captions = Captions(args.run / "tokenizer")
    text = frozen_text_encoder().to(args.device)
    drawings = Drawings(args.run / "pool", vae, captions, in_jobs(args))
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod.to(args.device)
    held = {}
    if not worker():
        held = {key: rows[:200] for key, rows in drawings.shard(_HELD_OUT).items()}

    while run.done < args.samples:
        rows = drawings.at(run.done)
        rng = batch_rng(args.seed, run.done, args.batch)
        run.pace(args.rate, args.samples, warm=2000)
        chosen = torch.randint(len(rows["z"]), (args.batch,), generator=rng)
        loss = _loss(net, unet, text, captions, rows, chosen, scale, abar, rng)
        run.step(loss, args.batch)
        if run.steps % args.report == 0 and not worker():
            with run.averaged(), torch.no_grad():
                run.report(_probe(net, unet, text, held, scale, abar))
            run.save()
    if not worker():
        run.save()


def cross_layers(unet: UNet2DConditionModel) -> list[str]:
    """Return the names of the cross-attention layers; the middle's is the last."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    return [name for name in names if unet.get_submodule(name).is_cross_attention]


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
    """Return the loss of one batch; each picture is dropped in 25 %, the text alone in
    5 %, both in 5 %."""
    count = len(chosen)
    device = device_of(net)
    latents = rows["z"][chosen].to(device)
    z = latents.float() * scale
    x, t, v = noised(z, abar, rng)
    shown, masks = _ready(rows, chosen, device)
    inside = masks.sum(1, keepdim=True).clamp(max=1)

    # below 0.05: neither text nor pictures; up to 0.1: no text
    luck = torch.rand(count, 1, generator=rng)
    growth = torch.rand(count, 1, 1, 1, generator=rng)
    grows = (growth < _GROWN).to(device)
    grown = F.max_pool2d(masks, 3, 1, 1)
    masks = torch.where(grows, grown, masks)

    alone_dropped = torch.rand(shown.shape[:2], generator=rng) < 0.25
    dropped = alone_dropped | (luck < 0.05)
    shown = shown * ~dropped[:, :, None, None, None].to(device)
    ids = torch.where(luck < 0.1, captions.empty, rows["ids"][chosen])
    words = embed(text, ids)

    predicted = predict(net, unet, x, t, words, shown, masks)
    error = (predicted - v).square()
    weights = 1 + (_INSIDE - 1) * inside
    return (error * weights).mean()


def _probe(
    net: PictureNet,
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    held: dict[str, Tensor],
    scale: float,
    abar: Tensor,
) -> dict[str, float]:
    """Return mean squared x0 errors of held-out drawings over the latents' variance.

    They are measured with pictures ("seen300" and so on) and with empty ones
    ("empty300").
    """
    device = device_of(net)
    shown, masks = _ready(held, torch.arange(len(held["z"])), device)
    words = embed(text, held["ids"])
    z = held["z"].to(device).float() * scale
    errors = {}
    for name, pictures in (("seen", shown), ("empty", torch.zeros_like(shown))):
        predict_v = partial(predict, net, unet, text=words, shown=pictures, masks=masks)
        for t in PROBES[1:]:
            errors[f"{name}{t}"] = x0_error(predict_v, z, t, abar)
    return errors


if __name__ == "__main__":
    main()
