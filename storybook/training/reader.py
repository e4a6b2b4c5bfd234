"""Train what reads regions of the drawn world: `python -m storybook.training.reader --run
RUN`.

A tiny CLIP (Radford et al. 2021, arXiv:2103.00020) learns which words fit a crop: of
drawn actors in every look and style, of bare ground, and of broken drawings, which fit
no words more than others. Some crops went through the autoencoder, as all edits do.
`--edits` adds real edits with what a judge found in them (`read_edits`). The run
folder keeps weights, averages and optimiser as safetensors and resumes from them;
`--ship` writes the averages in half precision.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from argparse import Namespace
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.npyio import NpzFile
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from regrain.editing.media.labels import grow_labels
from storybook import dataset
from storybook.rendering import cast_of, owners, render_frames, surface_ids
from storybook.training.muon import Muon
from storybook.training.runs import (
    Each,
    Run,
    batch_rng,
    begin,
    device_of,
    in_jobs,
    options,
    worker,
    workers,
)
from storybook.training.ship import ASSETS, frozen_vae
from storybook.world import (
    ACCESSORIES,
    BACKGROUNDS,
    COLORS,
    KINDS,
    STYLES,
    WHERE,
    Actor,
    Scene,
)

log = logging.getLogger(__name__)
TARGET = ASSETS / "reader"
SIDE = 48  # pixels of a crop
WIDER = 60  # pixels of a crop with what is around it, from which others are cut
BEYOND = 0.1  # share of a region's box that is shown on each of its sides
SHARD = 100  # scenes
SHARDS = 16
USES = 6  # of a drawing before it gives way
ENDS = ("embedding", "projection", "logit_scale")  # that AdamW updates
_HELD_OUT = 10**6  # number of a shard that is never trained on
_FRAMES = 4  # of a scene
_SIZES = (64, 80, 96, 128, 128, 128, 160)  # pixels of a frame
_NEVER = -1  # a crop without words of its own
# Shares of a batch.
_BARE = 0.12
_BROKEN = 0.12
_EDITED = 0.25
_UNSURE = 0.06  # share by which another kind must be farther to a judge
_TEXT = 48  # width of the text's side
_VISION = 96  # and of the pictures'


def new_reader() -> CLIPModel:
    """Return a CLIP of about 0.4 million weights at random."""
    own = CLIPTokenizer.from_pretrained(ASSETS / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(own),
        hidden_size=_TEXT,
        intermediate_size=2 * _TEXT,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=own.model_max_length,
        projection_dim=64,
        bos_token_id=own.bos_token_id,
        eos_token_id=own.eos_token_id,
        pad_token_id=own.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=_VISION,
        intermediate_size=2 * _VISION,
        hidden_act="gelu",
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=8,
        projection_dim=64,
    )
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=64
    )
    return CLIPModel(config)


class Look(NamedTuple):
    """What a crop shows, by numbers: kind, colour and thing to wear (the last is none),
    place."""

    kind: int
    color: int
    accessory: int
    place: int


def box_of(mask: np.ndarray, beyond: float = BEYOND) -> tuple[int, int, int]:
    """Return left, top and side of the square around a mask, in pixels; it may reach
    beyond the frame."""
    y, x = np.nonzero(mask)
    ends = np.array([[x.min(), y.min()], [x.max() + 1, y.max() + 1]])
    side = round(float((ends[1] - ends[0]).max()) * (1 + 2 * beyond))
    left, top = np.round(ends.mean(0) - side / 2).astype(int).tolist()
    return left, top, max(side, 2)


def cut(picture: np.ndarray, box: tuple[int, int, int], side: int) -> np.ndarray:
    """Cut a square; where it reaches beyond the picture, the edge is repeated."""
    left, top, size = box
    rows = np.clip(np.arange(top, top + size), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(left, left + size), 0, picture.shape[1] - 1)
    way = cv2.INTER_AREA if size > side else cv2.INTER_CUBIC
    return cv2.resize(picture[rows][:, columns], (side, side), interpolation=way)


def wider(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cut a region with what is around it, as crops are kept: `WIDER` pixels, of which
    the middle `SIDE` are the crop."""
    share = (1 + 2 * BEYOND) * WIDER / SIDE
    return cut(picture, box_of(mask, (share - 1) / 2), WIDER)


def draw_sample(seed: int) -> list[tuple[np.ndarray, Look]]:
    """Draw crops of all actors in some frames of a scene, and one of bare ground
    each."""
    rng = np.random.default_rng([seed, 31])
    scene = dataset.training_scene(seed)
    if rng.random() < 0.3:
        style = str(rng.choice(STYLES))
        scene = dataclasses.replace(scene, style=style)
    size = int(rng.choice(_SIZES))
    found = []
    numbers = tuple(rng.permutation(scene.frames)[:_FRAMES].tolist())
    pictures = render_frames(scene, size, numbers)
    for frame, picture in zip(numbers, pictures, strict=True):
        label = _labels(scene, size, frame)
        if rng.random() < 0.2 and size == 128:
            picture = _coded(picture, float(rng.choice((0.0, 0.0, 0.15, 0.3))), rng)
        for number, actor in enumerate(scene.actors):
            alone = dataclasses.replace(scene, actors=(actor,))
            whole = (_labels(alone, size, frame) > 0).sum()
            mask = label == number + 1
            if mask.sum() < max(0.4 * whole, 30):
                continue
            found.append((_crop(picture, mask, rng), _look(scene, actor)))
        bare = _bare(picture, label, rng)
        if bare is not None:
            found.append((bare, _look(scene, None)))
    return found


def _labels(scene: Scene, size: int, frame: int) -> np.ndarray:
    cast = cast_of(scene)
    actor_of, _ = owners(cast)
    return actor_of[surface_ids(scene, cast, size, frame)]


def _look(scene: Scene, actor: Actor | None) -> Look:
    place = BACKGROUNDS.index(scene.background)
    if actor is None:
        return Look(_NEVER, len(COLORS), len(ACCESSORIES), place)
    return Look(
        KINDS.index(actor.kind),
        (*COLORS, None).index(actor.color),
        (*ACCESSORIES, None).index(actor.accessory),
        place,
    )


@torch.no_grad()
def _coded(picture: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return a picture after the round trip of the autoencoder, with some noise on its
    latents."""
    vae = _vae()
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    z = vae.encode(x).latent
    z = z + noise * z.std() * torch.from_numpy(rng.normal(size=z.shape)).float()
    y = vae.decode(z).sample[0].permute(1, 2, 0)
    return ((y + 1) * 127.5).clamp(0, 255).round().byte().numpy()


_vae = cache(frozen_vae)


def _crop(
    picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Cut an actor; its mask is grown a little, and some frames end within it."""
    grow = int(rng.integers(0, 9)) if rng.random() < 0.6 else 0
    if rng.random() < 0.15:
        picture, mask = _ended(picture, mask, rng)
    grown = grow_labels(mask[None].astype(np.uint8), {1: grow})[0] > 0
    return wider(picture, grown)


def _ended(
    picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Let the frame end within an actor, at its left or right side."""
    x = np.nonzero(mask.any(0))[0]
    at = int(x.min() + rng.uniform(0.1, 0.4) * (x.max() - x.min()))
    if rng.random() < 0.5:
        return picture[:, at:], mask[:, at:]
    at = int(x.max() - (at - x.min()))
    return picture[:, : at + 1], mask[:, : at + 1]


def _bare(
    picture: np.ndarray, label: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Cut a piece of ground or sky that shows no actor to speak of; None if none was
    found."""
    size = len(label)
    for _ in range(8):
        side = int(size * rng.uniform(0.2, 0.6))
        left, top = rng.integers(-side // 8, size - side + side // 8, 2).tolist()
        inside = label[max(top, 0) : top + side, max(left, 0) : left + side]
        if (inside > 0).mean() < 0.04:
            grow = round(side * (WIDER / SIDE - 1) / 2)
            box = (left - grow, top - grow, side + 2 * grow)
            return cut(picture, box, WIDER)
    return None


class Drawings:
    """The newest shards of crops, kept in a folder; workers have shards of their
    own."""

    def __init__(self, folder: Path, each: Each = map) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._each = each
        self._folder = folder
        self._held: dict[int, dict[str, Tensor]] = {}
        self._rows: dict[str, Tensor] = {}

    def at(self, done: int) -> dict[str, Tensor]:
        """Return all crops after `done` samples; one shard changes at a time."""
        # about ten crops of a scene
        first = done // (10 * USES * SHARD * workers())
        wanted = [worker() + workers() * n for n in range(first, first + SHARDS)]
        if wanted != [*self._held]:
            self._held = {n: self._held.get(n) or self.shard(n) for n in wanted}
            shards = [*self._held.values()]
            self._rows = {
                key: torch.cat([shard[key] for shard in shards]) for key in shards[0]
            }
        return self._rows

    def shard(self, number: int) -> dict[str, Tensor]:
        """Read a shard, after drawing it if it is not there."""
        path = self._folder / f"shard_{number:07d}.safetensors"
        if not path.exists():
            unfinished = path.with_suffix(".partial")
            save_file(self._drawn(number), unfinished)
            unfinished.replace(path)
            log.info("drew shard %d", number)
        return load_file(path)

    def _drawn(self, number: int) -> dict[str, Tensor]:
        first = dataset.FIRST_TRAINING_SEED + number * SHARD
        scenes = self._each(draw_sample, range(first, first + SHARD))
        found = [crop for scene in scenes for crop in scene]
        crops, looks = zip(*found, strict=True)
        return {
            "crops": torch.from_numpy(np.stack(crops)),
            "looks": torch.tensor(looks),
        }


def read_edits(folder: Path | None) -> dict[str, Tensor]:
    """Return crops of real edits, with the share of each of the plain words, kinds and
    places, that fits.

    An edit is a file `.npz` of its frames, labels and, for each region, the kind that was
    asked for and how far it is from each kind and from bare ground.
    """
    crops = []
    shares = []
    for path in sorted(folder.glob("*.npz")) if folder else ():
        edit = np.load(path)
        for number in range(len(edit["kinds"])):
            wanted = _shares(edit, number)
            masks = edit["labels"] == number + 1
            for frame, mask in zip(edit["frames"], masks, strict=True):
                if mask.sum() > 20:
                    crops.append(wider(frame, mask))
                    shares.append(wanted)
    if not crops:
        return {}
    return {"crops": torch.from_numpy(np.stack(crops)), "shares": torch.stack(shares)}


def _shares(edit: NpzFile, number: int) -> Tensor:
    """Return how well each of the plain words should fit a region of an edit.

    The judge is unsure where two kinds are about as far.
    """
    far = torch.from_numpy(edit["far"][number]).float()
    nearest = far.min()
    kinds = F.softmax((1 - far / nearest) / _UNSURE, 0)
    shares = torch.full((len(KINDS) + len(BACKGROUNDS),), 0.0)
    # What is hardly nearer to a kind than to bare ground shows nothing well.
    bare = float(edit["nothing"][number])
    doubt = 0.1 + min(max(float(nearest) / bare - 0.3, 0.0), 0.5)
    shares[: len(KINDS)] = (1 - doubt) * kinds + doubt / len(KINDS)
    if bare < nearest:
        shares *= 0.4
        shares[len(KINDS) + BACKGROUNDS.index(str(edit["where"]))] = 0.6
    return shares


class Words:
    """Words for looks, in one of many forms, as numbers of tokens."""

    def __init__(self) -> None:
        self._tokens = CLIPTokenizer.from_pretrained(ASSETS / "tokenizer")

    def ids(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return what the text's side reads."""
        return dict(self._tokens([*texts], padding=True, return_tensors="pt"))

    def fixed(self, rng: np.random.Generator) -> list[str]:
        """Return a text for every kind, then for every place."""
        plain = len(COLORS), len(ACCESSORIES)
        kinds = [self.of(Look(k, *plain, 0), rng) for k in range(len(KINDS))]
        never = [Look(_NEVER, *plain, place) for place in range(len(BACKGROUNDS))]
        return kinds + [self.of(look, rng) for look in never]

    def of(self, look: Look, rng: np.random.Generator) -> str:
        """Return words that fit a look."""
        if look.kind == _NEVER:
            where = WHERE[BACKGROUNDS[look.place]]
            noun = where.split()[-1]
            return str(rng.choice([where, where, f"the {noun}", noun, f"a {noun}"]))
        words = [KINDS[look.kind]]
        if look.color < len(COLORS):
            words.insert(0, COLORS[look.color])
        if look.accessory < len(ACCESSORIES):
            worn = ACCESSORIES[look.accessory]
            article = () if worn == "sunglasses" else ("a",)
            words += [str(rng.choice(("wearing", "with"))), *article, worn]
        first = "an" if words[0][0] in "aeiou" else "a"
        forms = (first, first, first, "the", "another", "", f"a picture of {first}")
        return f"{rng.choice(forms)} {' '.join(words)}".strip()


def shown(crops: Tensor, rng: torch.Generator, broken: Tensor) -> Tensor:
    """Return crops as an eye would see them, moved, scaled, mirrored and blurred a
    little: -1 to 1, [n, 3, SIDE, SIDE].

    Args:
        crops: uint8 [n, WIDER, WIDER, 3].
        rng: Source of chance.
        broken: bool [n], those that are melted or mixed until they show nothing.
    """
    n = len(crops)
    x = crops.permute(0, 3, 1, 2).float() / 127.5 - 1
    draw = partial(torch.rand, generator=rng)
    zoom = 0.87 + 0.33 * draw(n, 1)
    stretch = 0.93 + 0.14 * draw(n, 2)
    scale = SIDE / WIDER * zoom * stretch
    mirrored = draw(n) < 0.5
    scale[:, 0] *= mirrored * 2 - 1
    shift = 0.16 * draw(n, 2) - 0.08
    stretches = torch.diag_embed(scale)
    maps = torch.cat([stretches, shift[:, :, None]], 2)
    grid = F.affine_grid(maps, [n, 3, SIDE, SIDE], align_corners=False)
    waves = torch.randn(n, 2, 5, 5, generator=rng)
    bend = F.interpolate(waves, SIDE, mode="bicubic").movedim(1, -1)
    fate = draw(n)
    melted = broken & (fate < 0.6)
    much = 0.015 + melted * (0.12 + 0.2 * draw(n))
    grid = grid + bend * much[:, None, None, None]
    out = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    mixed = broken & (fate > 0.4)
    out = _mixed_up(out, rng, mixed)
    framed = F.pad(out, (1, 1, 1, 1), mode="replicate")
    soft = F.avg_pool2d(framed, 3, 1)
    above = draw(n, 1, 1, 1) - 0.4
    soft_share = above.clamp(min=0) / 0.6
    out = torch.lerp(out, soft, soft_share)
    light = 0.9 + 0.2 * draw(n, 1, 1, 1)
    tint = 0.12 * draw(n, 3, 1, 1) - 0.06
    noise = 0.03 * torch.randn(out.shape, generator=rng)
    return (out * light + tint + noise).clamp(-1, 1)


def _mixed_up(x: Tensor, rng: torch.Generator, chosen: Tensor) -> Tensor:
    """Let those that are chosen show a part of another crop, or shine through it."""
    n = len(x)
    draw = partial(torch.rand, generator=rng)
    angle = 6.3 * draw(n, 1, 1)
    line = torch.linspace(-1, 1, SIDE)
    side = line * angle.cos() + line[:, None] * angle.sin()
    half = (side > 0.3 * draw(n, 1, 1) - 0.15).float()
    thin = (0.45 + 0.1 * draw(n, 1, 1)).expand_as(half)
    share = torch.where(draw(n, 1, 1) < 0.5, half, thin)
    share = share * chosen[:, None, None]
    return torch.lerp(x, x.roll(1, 0), share[:, None])


def seen(reader: CLIPModel, pictures: Tensor) -> Tensor:
    """Return directions of pictures, [n, 64] of length 1."""
    return _directions(reader.get_image_features(pictures).pooler_output)


def read(reader: CLIPModel, ids: dict[str, Tensor]) -> Tensor:
    """Return directions of texts, [n, 64] of length 1."""
    there = {key: value.to(device_of(reader)) for key, value in ids.items()}
    return _directions(reader.get_text_features(**there).pooler_output)


def _directions(features: Tensor | None) -> Tensor:
    assert features is not None
    return F.normalize(features.float(), dim=-1)


def _soft_loss(cosines: Tensor, shares: Tensor, scale: Tensor) -> Tensor:
    """Return the cross entropy of rows of shares that are not all 0."""
    given = shares.sum(1) > 0
    chances = F.log_softmax(scale * cosines[given], 1)
    wanted = shares[given] / shares[given].sum(1, keepdim=True)
    return -(wanted * chances).sum(1).mean()


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=420_000, rate=2e-3, ema=0.998)
    parser.add_argument("--batch", type=int, default=128, help="samples of a worker")
    parser.add_argument("--edits", type=Path, help="folder of judged edits")
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
    reader = new_reader().to(args.device)
    run = Run(args.run, reader, Muon(reader, args.rate, ends=ENDS), ema=args.ema)
    if args.ship:
        with run.averaged():
            ship(reader)
        return
    drawings = Drawings(args.run / "pool", in_jobs(args))
    words = Words()
    edits = read_edits(args.edits)
    held = {} if worker() else drawings.shard(_HELD_OUT)

    while run.done < args.samples:
        rng = batch_rng(args.seed, run.done, args.batch)
        run.pace(args.rate, args.samples, warm=10_000)
        run.step(
            _loss(reader, words, drawings.at(run.done), edits, args, rng), args.batch
        )
        if run.steps % args.report == 0 and not worker():
            with run.averaged(), torch.no_grad():
                run.report(_probe(reader, words, held))
            run.save()
    if not worker():
        run.save()


def _loss(
    reader: CLIPModel,
    words: Words,
    rows: dict[str, Tensor],
    edits: dict[str, Tensor],
    args: Namespace,
    rng: torch.Generator,
) -> Tensor:
    """Return the loss of one batch: of all words among those of the batch, and of kinds
    and places in plain words."""
    count = round(_EDITED * args.batch) if edits else 0
    looks, crops = _chosen(rows, args.batch - count, rng)
    drawn = len(looks)
    broken = torch.rand(args.batch, generator=rng) < _BROKEN
    broken[drawn:] = False
    shares = _wanted(looks)
    if count:
        more = torch.randint(len(edits["crops"]), (count,), generator=rng)
        added = edits["crops"][more]
        crops = torch.cat([crops, added])
        added_shares = edits["shares"][more]
        shares = torch.cat([shares, added_shares])
    shares[broken] = 1 / len(KINDS)
    seed = torch.randint(2**31, (), generator=rng)
    chance = np.random.default_rng(int(seed))
    alike, texts = _phrases(looks, words, chance)
    own = torch.zeros(len(crops), len(texts))
    own[torch.arange(drawn), alike] = 1.0
    own[broken] = 0
    fixed = words.fixed(chance)

    device = device_of(reader)
    pictures = shown(crops, rng, broken).to(device)
    # In bfloat16 so small a network is slower.
    cosines = seen(reader, pictures) @ read(reader, words.ids([*fixed, *texts])).T
    scale = reader.logit_scale.exp().clamp(max=100)
    plain = _soft_loss(cosines[:, : len(fixed)], shares.to(device), scale)
    return plain + 0.5 * _soft_loss(cosines[:, len(fixed) :], own.to(device), scale)


def _chosen(
    rows: dict[str, Tensor], count: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw looks and crops of drawings, of which some are bare."""
    is_bare = rows["looks"][:, 0] == _NEVER
    parts = []
    bare = round(_BARE * count)
    for wanted, number in ((False, count - bare), (True, bare)):
        places = torch.nonzero(is_bare == wanted)[:, 0]
        parts.append(places[torch.randint(len(places), (number,), generator=rng)])
    chosen = torch.cat(parts)
    # so that what is mixed up is mixed with anything
    chosen = chosen[torch.randperm(count, generator=rng)]
    return rows["looks"][chosen], rows["crops"][chosen]


def _wanted(looks: Tensor) -> Tensor:
    """Return 1 for the kind of each look, or for its place if it has none."""
    never = looks[:, 0] == _NEVER
    right = torch.where(never, len(KINDS) + looks[:, 3], looks[:, 0])
    return F.one_hot(right, len(KINDS) + len(BACKGROUNDS)).float()


def _phrases(
    looks: Tensor, words: Words, rng: np.random.Generator
) -> tuple[Tensor, list[str]]:
    """Return the number of each look's words, and words for all that differ."""
    told = looks.clone()
    told[told[:, 0] != _NEVER, 3] = 0
    different, alike = told.unique(dim=0, return_inverse=True)
    return alike, [words.of(Look(*look), rng) for look in different.tolist()]


def _probe(
    reader: CLIPModel, words: Words, held: dict[str, Tensor]
) -> dict[str, float]:
    """Return the shares of held-out crops nearest to their own kind or place, and of
    those nearest to all of their own words among every kind and colour."""
    rng = np.random.default_rng(0)
    edge = (WIDER - SIDE) // 2
    middle = held["crops"][:, edge : edge + SIDE, edge : edge + SIDE]
    pictures = middle.permute(0, 3, 1, 2).float() / 127.5 - 1
    parts = pictures.to(device_of(reader)).split(256)
    x = torch.cat([seen(reader, part) for part in parts])
    ids = words.ids(words.fixed(rng))
    y = read(reader, ids)
    nearest = (x @ y.T).argmax(1).cpu()
    wanted = _wanted(held["looks"]).argmax(1)
    bare = held["looks"][:, 0] == _NEVER
    hit = (nearest == wanted).float()
    place = nearest >= len(KINDS)
    figures = {
        "kinds": hit[~bare],
        "places": hit[bare],
        "nothing": place[bare].float(),
        "something": (~place)[~bare].float(),
    }
    return {name: round(float(found.mean()), 4) for name, found in figures.items()}


def ship(reader: CLIPModel, target: Path = TARGET) -> None:
    """Write a model in half precision, with what reads words and pictures for it."""
    target.mkdir(parents=True, exist_ok=True)
    half = new_reader()
    half.load_state_dict(reader.state_dict())
    half.half().save_pretrained(target)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(ASSETS / "tokenizer" / name, target / name)
    square = {"height": SIDE, "width": SIDE}
    CLIPImageProcessor(
        size=square, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(target)


if __name__ == "__main__":
    main()
