"""Drawn edits whose true result is known, for the training of the fast edits.

The true edit of a drawn scene is drawn for free: the same motion with another look. An
edit has pictures of source and truth, the edited area, and what an edit gives the
network: edited cells, the codes of the tokens of every grid, and the words.
"""

from __future__ import annotations

import atexit
import dataclasses
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from multiprocessing import get_context

import cv2
import numpy as np
import torch
from torch import Tensor

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.media.labels import grow_labels
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.unet.stable_diffusion import StableDiffusion
from regrain.editing.recipe.inpainting import GREY
from regrain.editing.recipe.layout import lay_out
from regrain.editing.recipe.window import edited_cells
from storybook import dataset
from storybook.rendering import cast_of, owners, render_frames, surface_ids
from storybook.training.autoencoder import SIZE
from storybook.training.runs import mixed
from storybook.world import (
    ACCESSORIES,
    BACKGROUNDS,
    COLORS,
    FPS,
    KINDS,
    STYLES,
    WHERE,
    Scene,
    replace,
)

FRAMES = 8  # of a clip
SHARD = 32  # clips that are drawn at a time
AHEAD = 2  # shards that every process has to draw
PLAIN = 0.3  # share of scenes in natural colours and the usual style
RARE = ("pencil", "chalk", "watercolor", "pixel art", "pencil", "chalk")
RESTYLED = 0.12  # share of scenes in one of these, of which some are hard to learn
CLOSE = 0.25  # share of scenes that are seen from near, as in a focus box
CLOSER = (160, 192, 224)  # pixels of the whole frame, of which a box is shown
UNTOLD = 0.3  # share of edits whose description is the words of the regions alone


@dataclass(frozen=True)
class Change:
    """A region of an edit: its mask, bool [frames, size, size], and its words before
    and after."""

    mask: np.ndarray
    source: str
    prompt: str


@dataclass(frozen=True)
class View:
    """The part of a scene that is shown: some frames of a box of `SIZE` pixels.

    Attributes:
        size: Pixels of the whole frame's side.
        left, top: First pixel of the box.
        frames: Numbers of the frames.
    """

    size: int
    left: int
    top: int
    frames: tuple[int, ...]

    def of(self, maps: np.ndarray) -> np.ndarray:
        """Return the box of maps of whole frames, [frames, height, width, ...]."""
        rows = slice(self.top, self.top + SIZE)
        return maps[:, rows, self.left : self.left + SIZE]

    def pictures(self, scene: Scene) -> np.ndarray:
        """Draw a scene: uint8 [frames, SIZE, SIZE, 3]."""
        return self.of(render_frames(scene, self.size, self.frames))

    def labels(self, scene: Scene) -> np.ndarray:
        """Return the number of the actor that each pixel shows, 0 for none."""
        return self.of(_labels(scene, self.size, self.frames))


def _labels(scene: Scene, size: int, frames: tuple[int, ...]) -> np.ndarray:
    cast = cast_of(scene)
    actor_of, _ = owners(cast)
    return np.stack([actor_of[surface_ids(scene, cast, size, n)] for n in frames])


@dataclass(frozen=True)
class DrawnEdit:
    """An edit: the scene, the same with another look, what is shown, and the request
    for the one to become the other."""

    scene: Scene
    truth: Scene
    view: View
    request: EditRequest


def sample_edit(seed: int) -> DrawnEdit:
    """Draw an edit at random; the same seed gives the same."""
    rng = np.random.default_rng([seed, 18])
    scene = dataset.training_scene(seed)
    if rng.random() < PLAIN:
        scene = _plain(scene)
    if rng.random() < RESTYLED:
        scene = dataclasses.replace(scene, style=str(rng.choice(RARE)))
    view = _sample_view(scene, rng)
    truth, changes = _changed(scene, view.labels(scene), rng)
    return DrawnEdit(scene, truth, view, _request(scene, view, changes, rng))


def _plain(scene: Scene) -> Scene:
    """Return a scene with actors in their natural colours, in the usual style."""
    actors = tuple(
        dataclasses.replace(actor, color=None, accessory=None) for actor in scene.actors
    )
    return dataclasses.replace(scene, actors=actors, style=STYLES[0])


def _sample_view(scene: Scene, rng: np.random.Generator) -> View:
    """Draw what is shown: the whole frame, or a box around an actor."""
    frames = tuple(range(scene.frames))
    if rng.random() >= CLOSE:
        return View(SIZE, 0, 0, frames)
    size = int(rng.choice(CLOSER))
    shown = _labels(scene, size, (frames[len(frames) // 2],))[0]
    y, x = np.nonzero(shown == rng.integers(1, len(scene.actors) + 1))
    return View(size, _edge(x, size, rng), _edge(y, size, rng), frames)


def _edge(places: np.ndarray, size: int, rng: np.random.Generator) -> int:
    """Draw where a box around these places begins, along one side of a frame."""
    middle = places.mean() if len(places) else size / 2
    first = middle - SIZE / 2 + rng.uniform(-0.1, 0.1) * SIZE
    return int(np.clip(first, 0, size - SIZE))


def _changed(
    scene: Scene, labels: np.ndarray, rng: np.random.Generator
) -> tuple[Scene, list[Change]]:
    """Draw what changes."""
    kind = rng.choice(
        ["actors", "look", "background", "style"], p=[0.7, 0.18, 0.08, 0.04]
    )
    if kind == "style":
        style = str(rng.choice([s for s in STYLES if s != scene.style]))
        truth = dataclasses.replace(scene, style=style)
        return truth, [Change(labels >= 0, scene.caption, truth.caption)]
    if kind == "background":
        other = [name for name in BACKGROUNDS if name != scene.background]
        truth = replace(scene, background=str(rng.choice(other)))
        where = WHERE[scene.background], WHERE[truth.background]
        return truth, [Change(labels == 0, *where)]
    truth = scene
    count = int(rng.integers(1, len(scene.actors) + 1))
    chosen = sorted(rng.permutation(len(scene.actors))[:count].tolist())
    for i in chosen:
        truth = _new_look(truth, i, rng, other_kind=kind == "actors")
    changes = []
    for i in chosen:
        mask = labels == i + 1
        if mask.any():
            phrases = scene.actors[i].phrase, truth.actors[i].phrase
            changes.append(Change(mask, *phrases))
    return truth, changes


def _new_look(
    scene: Scene, actor: int, rng: np.random.Generator, other_kind: bool
) -> Scene:
    """Return the scene with one actor of another kind, or in other colours and
    clothes."""
    who = scene.actors[actor]
    look: dict[str, str | None] = {}
    if other_kind:
        look["kind"] = str(rng.choice([kind for kind in KINDS if kind != who.kind]))
        if rng.random() < 0.6:
            look |= {"color": None, "accessory": None}
    if "color" not in look and rng.random() < 0.6:
        look["color"] = str(rng.choice(COLORS))
    if "accessory" not in look and rng.random() < 0.5:
        look["accessory"] = str(rng.choice(ACCESSORIES))
    return replace(scene, actor=actor, **look)


def _request(
    scene: Scene, view: View, changes: list[Change], rng: np.random.Generator
) -> EditRequest:
    """Return the request of an edit, with masks that are exact, grown, or rough."""
    pictures = view.pictures(scene)
    labels = np.zeros(pictures.shape[:3], np.uint8)
    grow = int(rng.integers(1, 9)) if rng.random() < 0.65 else 0
    rough = rng.random() < 0.15
    regions = []
    for number, change in enumerate(changes, 1):
        for frame, mask in enumerate(change.mask):
            wide = _wider(mask, grow, rough)
            labels[frame][wide & (labels[frame] == 0)] = number
        if not (labels == number).any():
            continue  # the regions before it cover it
        region = Region(
            f"r{number}", number, prompt=change.prompt, source=change.source, margin=0
        )
        regions.append(region)
    caption = scene.caption
    if rng.random() < UNTOLD:
        caption = " and ".join(change.source for change in changes)
    clip = ArrayClip(pictures, fps=Fraction(FPS))
    return EditRequest(clip, labels, tuple(regions), source_prompt=caption)


def _wider(mask: np.ndarray, grow: int, rough: bool) -> np.ndarray:
    """Return a mask grown by some pixels, or the box around it."""
    if rough and mask.any():
        y, x = np.nonzero(mask)
        box = np.zeros_like(mask)
        box[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
        mask = box
    return grow_labels(mask[None].astype(np.uint8), {1: grow})[0] > 0


def edit_tensors(seed: int) -> dict[str, Tensor] | None:
    """Return the tensors of one edit before anything is encoded; None if nothing of it
    shows."""
    edit = sample_edit(seed)
    request = edit.request
    if not request.regions:
        return None
    edited = request.edited_mask.read(0, FRAMES)
    if not edited.any():
        return None
    source = request.clip.read(0, FRAMES)
    drawn = edit.view.pictures(edit.truth)
    backbone = _reader()
    grid = backbone.grid(FRAMES, SIZE, SIZE)
    layout, texts = lay_out(backbone, request, grid)
    tensors: dict[str, Tensor] = {
        "pictures": torch.from_numpy(source),
        "truth": torch.from_numpy(np.where(edited[..., None], drawn, source)),
        "edited": torch.from_numpy(edited),
        "inside": edited_cells(request, backbone.device)(grid.size).to(torch.int8),
        "words": layout.words.to(torch.int8),
        "text": texts["cond"].vectors[0].half(),
    }
    for site in backbone.sites:
        tokens = grid.at(site).tokens
        tensors[f"codes{tokens}"] = layout.codes(site).to(torch.int8)
    return {name: value.detach() for name, value in tensors.items()}


@cache
def _reader() -> StableDiffusion:
    """Return the model that reads words here; a process draws without the device."""
    backbone = load_backbone("storybook", device="cpu", dtype=torch.float32)
    assert isinstance(backbone, StableDiffusion)
    return backbone


def draw_shard(number: int) -> dict[str, Tensor]:
    """Draw the edits of a shard."""
    first = dataset.FIRST_TRAINING_SEED + 50_000_000 + number * SHARD
    return stacked(edit_tensors(seed) for seed in range(first, first + SHARD))


def stacked(rows: Iterator[dict[str, Tensor] | None]) -> dict[str, Tensor]:
    """Stack the tensors of edits; those of which nothing shows are left out."""
    found = [row for row in rows if row is not None]
    return {key: torch.stack([row[key] for row in found]) for key in found[0]}


@torch.no_grad()
def encoded(edits: dict[str, Tensor], backbone: StableDiffusion) -> dict[str, Tensor]:
    """Return what is trained on, on the model's device: the latents of source, truth
    and what is given of the source, true pictures, and the rest as it is."""
    there = {key: value.to(backbone.device) for key, value in edits.items()}
    pictures = there.pop("pictures")
    edited = there.pop("edited")
    # of a whole frame, nothing would be left to see
    hides = ~edited.flatten(1).all(1)[:, None, None, None]
    hidden = (edited & hides)[..., None]
    there["source"] = _latents(pictures, backbone)
    there["given"] = _latents(torch.where(hidden, GREY, pictures.float()), backbone)
    there["wanted"] = _latents(there["truth"], backbone)
    return there


def _latents(pictures: Tensor, backbone: StableDiffusion) -> Tensor:
    """Encode pictures, [clips, frames, h, w, 3] of 0 to 255."""
    parts = []
    for part in pictures.flatten(0, 1).split(256):
        pixels = part.movedim(-1, 1).contiguous().float() / 127.5 - 1
        parts.append(backbone.vae.encode(pixels).latent)
    scaled = torch.cat(parts) * backbone.vae.config.scaling_factor
    return scaled.unflatten(0, pictures.shape[:2]).half()


def decoded(latents: Tensor, backbone: StableDiffusion) -> Tensor:
    """Decode latents, [frames, c, h, w], to pixels of -1 to 1, with gradients."""
    with mixed(latents.device):
        scaled = latents / backbone.vae.config.scaling_factor
        return backbone.vae.decode(scaled).sample.float()


class Edits:
    """The newest drawn edits, on the device that trains, in place of the oldest.

    Attributes:
        rows: Tensors of all edits, by name.
        count: Edits that were taken in.
    """

    def __init__(
        self,
        backbone: StableDiffusion,
        most: int,
        first: int = 0,
        jobs: int = 1,
    ) -> None:
        """Hold `most` edits of the shards from `first` on, drawn by so many processes,
        or by this one where there is one."""
        self._backbone = backbone
        self._most = most
        self._shard = first
        self._pool: ProcessPoolExecutor | None = None
        if jobs > 1:
            self._pool = ProcessPoolExecutor(jobs, get_context("spawn"), in_one_thread)
            atexit.register(self._pool.shutdown, wait=False, cancel_futures=True)
        self._ahead = AHEAD * jobs
        self._drawing: deque[Future[dict[str, Tensor]]] = deque()
        self.rows: dict[str, Tensor] = {}
        self.count = 0

    @property
    def draws_beside(self) -> bool:
        """True if other processes draw, while this one trains."""
        return self._pool is not None

    def take(self) -> None:
        """Take in the next shard: as soon as it is drawn, if there are edits to go on
        with."""
        if self._pool is None:
            self._keep(draw_shard(self._shard))
            self._shard += 1
            return
        while len(self._drawing) < self._ahead:
            self._drawing.append(self._pool.submit(draw_shard, self._shard))
            self._shard += 1
        if not self.rows or self._drawing[0].done():
            self._keep(self._drawing.popleft().result())

    def _keep(self, edits: dict[str, Tensor]) -> None:
        new = encoded(edits, self._backbone)
        count = len(new["words"])
        if not self.rows:
            for key, value in new.items():
                self.rows[key] = value.new_zeros(self._most, *value.shape[1:])
        places = (self.count + torch.arange(count)) % self._most
        for key, value in new.items():
            self.rows[key][places.to(value.device)] = value
        self.count += count

    def choose(self, count: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Choose some of the edits at random."""
        held = min(self.count, self._most)
        chosen = torch.randint(held, (count,), generator=rng)
        chosen = chosen.to(self._backbone.device)
        return {key: value[chosen] for key, value in self.rows.items()}


def in_one_thread() -> None:
    """Keep a process that draws to one core."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
