"""Drawn edits whose true result is known, for the training of the fast edits.

The true edit of a drawn scene is drawn for free: the same motion with another look. An
edit is of one frame. It has pictures of source and truth, and what an edit gives the
network: edited cells, the codes of the tokens of every grid, and the words.
"""

from __future__ import annotations

import atexit
import dataclasses
from collections import deque
from collections.abc import Iterable
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
from regrain.editing.media.clip import resize
from regrain.editing.media.labels import grow_labels
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.unet.stable_diffusion import StableDiffusion
from regrain.editing.recipe.layout import lay_out
from regrain.editing.recipe.window import edited_cells
from storybook import dataset
from storybook.rendering import cast_of, owners, render_frames, surface_ids
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

WHOLE = 256  # pixels of a side at which a whole frame is edited
SHARD = 32  # edits that are drawn at a time
AHEAD = 2  # shards that every process has to draw
BEFORE = 12  # shards to begin with
EVERY = 10  # batches between new shards, where the processor that trains draws
PLAIN = 0.3  # share of scenes in natural colours and the usual style
RARE = ("pencil", "chalk", "watercolor", "pixel art", "pencil", "chalk")
RESTYLED = 0.12  # share of scenes in one of these, of which some are hard to learn
NEAR = (192, 256, 256, 256, 320, 384)  # sides of whole frames, of which a box is shown
COARSE = 0.4  # share of clips whose frames have half the pixels
UNTOLD = 0.3  # share of edits whose description is the words of the regions alone


@dataclass(frozen=True)
class Change:
    """A region of an edit: its mask, bool [side, side], and its words before and
    after."""

    mask: np.ndarray
    source: str
    prompt: str


@dataclass(frozen=True)
class View:
    """The part of a scene that is shown: a box of one frame.

    Attributes:
        size: Pixels of the whole frame's side.
        left, top: First pixel of the box.
        side: Pixels of its side.
        frame: Number of the frame.
    """

    size: int
    left: int
    top: int
    side: int
    frame: int

    def of(self, whole: np.ndarray) -> np.ndarray:
        """Return the box of a map of the whole frame, [height, width, ...]."""
        rows = slice(self.top, self.top + self.side)
        return whole[rows, self.left : self.left + self.side]

    def picture(self, scene: Scene) -> np.ndarray:
        """Draw a scene: uint8 [side, side, 3]."""
        return self.of(render_frames(scene, self.size, (self.frame,))[0])

    def labels(self, scene: Scene) -> np.ndarray:
        """Return the number of the actor that each pixel shows, 0 for none."""
        return self.of(_labels(scene, self.size, self.frame))


def _labels(scene: Scene, size: int, frame: int) -> np.ndarray:
    cast = cast_of(scene)
    actor_of, _ = owners(cast)
    return actor_of[surface_ids(scene, cast, size, frame)]


@dataclass(frozen=True)
class DrawnEdit:
    """An edit: the scene, the same with another look, what is shown, and the request
    for the one to become the other."""

    scene: Scene
    truth: Scene
    view: View
    request: EditRequest


def sample_edit(seed: int, side: int = WHOLE) -> DrawnEdit:
    """Draw an edit at random, of a box of `side` pixels or of a whole frame; the same
    seed gives the same."""
    rng = np.random.default_rng([seed, 18])
    scene = dataset.training_scene(seed)
    if rng.random() < PLAIN:
        scene = _plain(scene)
    if rng.random() < RESTYLED:
        scene = dataclasses.replace(scene, style=str(rng.choice(RARE)))
    view = _sample_view(scene, side, rng)
    truth, changes = _changed(scene, view.labels(scene), rng)
    return DrawnEdit(scene, truth, view, _request(scene, view, changes, rng))


def _plain(scene: Scene) -> Scene:
    """Return a scene with actors in their natural colours, in the usual style."""
    actors = tuple(
        dataclasses.replace(actor, color=None, accessory=None) for actor in scene.actors
    )
    return dataclasses.replace(scene, actors=actors, style=STYLES[0])


def _sample_view(scene: Scene, side: int, rng: np.random.Generator) -> View:
    """Draw what is shown: a whole frame, or a box around an actor."""
    frame = int(rng.integers(scene.frames))
    if side == WHOLE:
        return View(side, 0, 0, side, frame)
    size = int(rng.choice(NEAR))
    shown = _labels(scene, size, frame)
    y, x = np.nonzero(shown == rng.integers(1, len(scene.actors) + 1))
    left, top = (_edge(places, size, side, rng) for places in (x, y))
    return View(size, left, top, side, frame)


def _edge(places: np.ndarray, size: int, side: int, rng: np.random.Generator) -> int:
    """Draw where a box around these places begins, along one side of a frame."""
    middle = places.mean() if len(places) else size / 2
    first = middle - side / 2 + rng.uniform(-0.2, 0.2) * side
    return int(np.clip(first, 0, size - side))


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
    """Return the request of an edit, with masks that are exact, grown, or rough, and
    frames that are as fine as the edit or half as fine."""
    picture = view.picture(scene)[None]
    if rng.random() < COARSE:
        half = view.side // 2
        picture = resize(resize(picture, (half, half)), (view.side, view.side))
    labels = np.zeros(picture.shape[:3], np.uint8)
    grow = int(rng.integers(1, 1 + view.size // 16)) if rng.random() < 0.65 else 0
    rough = rng.random() < 0.15
    regions = []
    for number, change in enumerate(changes, 1):
        wide = _wider(change.mask, grow, rough)
        labels[0][wide & (labels[0] == 0)] = number
        if not (labels == number).any():
            continue  # the regions before it cover it
        region = Region(
            f"r{number}", number, prompt=change.prompt, source=change.source, margin=0
        )
        regions.append(region)
    caption = scene.caption
    if rng.random() < UNTOLD:
        caption = " and ".join(change.source for change in changes)
    clip = ArrayClip(picture, fps=Fraction(FPS))
    return EditRequest(clip, labels, tuple(regions), source_prompt=caption)


def _wider(mask: np.ndarray, grow: int, rough: bool) -> np.ndarray:
    """Return a mask grown by some pixels, or the box around it."""
    if rough and mask.any():
        y, x = np.nonzero(mask)
        box = np.zeros_like(mask)
        box[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
        mask = box
    return grow_labels(mask[None].astype(np.uint8), {1: grow})[0] > 0


def edit_tensors(seed: int, side: int = WHOLE) -> dict[str, Tensor] | None:
    """Return the tensors of one edit before anything is encoded; None if nothing of it
    shows."""
    edit = sample_edit(seed, side)
    request = edit.request
    if not request.regions:
        return None
    edited = request.edited_mask.read(0, 1)[0]
    if not edited.any():
        return None
    source = request.clip.read(0, 1)[0]
    drawn = edit.view.picture(edit.truth)
    backbone = _reader()
    grid = backbone.grid(1, side, side)
    layout, texts = lay_out(backbone, request, grid)
    tensors: dict[str, Tensor] = {
        "pictures": torch.from_numpy(source),
        "truth": torch.from_numpy(np.where(edited[..., None], drawn, source)),
        "inside": edited_cells(request, backbone.device)(grid.size)[0].to(torch.int8),
        "ground": _ground(edit, edited, grid.size),
        "words": layout.words.to(torch.int8),
        "text": texts["cond"].vectors[0].half(),
    }
    for site in backbone.sites:
        tokens = grid.at(site).tokens
        tensors[f"codes{tokens}"] = layout.codes(site)[0].to(torch.int8)
    return {name: value.detach() for name, value in tensors.items()}


def _ground(edit: DrawnEdit, edited: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return how much of each cell is edited and shows nobody in the truth, int8
    [1, height, width] of 0 to 100."""
    is_ground = edited & (edit.view.labels(edit.truth) == 0)
    share = cv2.resize(
        is_ground.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA
    )
    return torch.from_numpy(np.round(share * 100).astype(np.int8))[None]


@cache
def _reader() -> StableDiffusion:
    """Return the model that reads words here; a process draws without the device."""
    backbone = load_backbone("storybook", device="cpu", dtype=torch.float32)
    assert isinstance(backbone, StableDiffusion)
    return backbone


def draw_shard(number: int, side: int) -> dict[str, Tensor]:
    """Draw the edits of a shard."""
    first = dataset.FIRST_TRAINING_SEED + 50_000_000 + number * SHARD
    return stacked(edit_tensors(seed, side) for seed in range(first, first + SHARD))


def stacked(rows: Iterable[dict[str, Tensor] | None]) -> dict[str, Tensor]:
    """Stack the tensors of edits; those of which nothing shows are left out."""
    found = [row for row in rows if row is not None]
    return {key: torch.stack([row[key] for row in found]) for key in found[0]}


@torch.no_grad()
def encoded(edits: dict[str, Tensor], backbone: StableDiffusion) -> dict[str, Tensor]:
    """Return what is trained on, on the model's device: the latents of source and
    truth, true pictures, and the rest as it is."""
    there = {key: value.to(backbone.device) for key, value in edits.items()}
    there["source"] = _latents(there.pop("pictures"), backbone)
    there["wanted"] = _latents(there["truth"], backbone)
    return there


def _latents(pictures: Tensor, backbone: StableDiffusion) -> Tensor:
    """Encode pictures, [edits, h, w, 3] of 0 to 255."""
    pixels = pictures.movedim(-1, 1).contiguous().float() / 127.5 - 1
    with mixed(pictures.device):
        latents = backbone.vae.encode(pixels).latent
    return (latents.float() * backbone.vae.config.scaling_factor).half()


def decoded(latents: Tensor, backbone: StableDiffusion) -> Tensor:
    """Decode latents, [edits, c, h, w], to pixels of -1 to 1."""
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
        side: int,
        most: int,
        first: int = 0,
        jobs: int = 1,
    ) -> None:
        """Hold `most` edits of `side` pixels, of the shards from `first` on, drawn by so
        many processes, or by this one where there is one."""
        self._backbone = backbone
        self._side = side
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
        self._batches = 0

    def _take(self) -> None:
        """Take in the next shard: as soon as it is drawn, if there are edits to go on
        with."""
        if self._pool is None:
            self._keep(draw_shard(self._shard, self._side))
            self._shard += 1
            return
        while len(self._drawing) < self._ahead:
            self._drawing.append(self._pool.submit(draw_shard, self._shard, self._side))
            self._shard += 1
        if not self.rows or self._drawing[0].done():
            self._keep(self._drawing.popleft().result())

    def _keep(self, edits: dict[str, Tensor]) -> None:
        new = encoded(edits, self._backbone)
        del new["truth"]
        count = len(new["words"])
        if not self.rows:
            for key, value in new.items():
                self.rows[key] = value.new_zeros(self._most, *value.shape[1:])
        places = (self.count + torch.arange(count)) % self._most
        for key, value in new.items():
            self.rows[key][places.to(value.device)] = value
        self.count += count

    def choose(self, count: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Choose some of the edits at random; takes in new ones in between."""
        due = BEFORE if not self.rows else int(self._batches % EVERY == 0)
        for _ in range(due if self._pool is None else 1):
            self._take()
        self._batches += 1
        held = min(self.count, self._most)
        chosen = torch.randint(held, (count,), generator=rng)
        chosen = chosen.to(self._backbone.device)
        return {key: value[chosen] for key, value in self.rows.items()}


def in_one_thread() -> None:
    """Keep a process that draws to one core."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
