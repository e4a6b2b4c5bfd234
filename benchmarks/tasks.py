"""Edits of drawn scenes whose true result is known: the same motion rendered with
another look."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

import numpy as np

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.masks import propagate, segment
from regrain.masks.draw import deepest
from storybook import (
    ACCESSORIES,
    BACKGROUNDS,
    COLORS,
    KINDS,
    STYLES,
    Scene,
    render,
    replace,
    sample_scene,
)
from storybook.__main__ import grown
from storybook.draw import PARTS
from storybook.world import FPS, WHERE

FRAMES = 8
VEHICLES = ("robot", "car")
# Between seeds that are tried in turn; the model's training scenes are below that.
_APART = 100_000_000


@dataclass(frozen=True)
class Target:
    """The requested look of a region, and the looks that it might get instead.

    Attributes:
        place: bool [frames, size, size], where to look for the answer.
        asked: The requested word.
        candidates: The true scene with each word in place of the requested one.
        elsewhere: Words requested of other regions; finding one here is leakage.
        actor: Number of the actor; None if the target is a place.
    """

    place: np.ndarray
    asked: str
    candidates: dict[str, Scene]
    elsewhere: tuple[str, ...] = ()
    actor: int | None = None


@dataclass(frozen=True)
class Task:
    """One edit: the request, its true result, and how to judge it."""

    source: Scene
    truth: Scene
    request: EditRequest
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Wish:
    """A region: its true mask (None: everything not in another), what it is and what it
    should become."""

    name: str
    mask: np.ndarray | None
    source: str
    prompt: str


def instance(seed: int, size: int, masks: MaskMaker, frames: int = FRAMES) -> Task:
    """Two actors each become another kind; a third of the tasks exchange the two."""
    return _both_anew(sample_scene(seed, frames, 2, plain=True), seed, size, masks)


def hard(wanted: Callable[[Scene], bool]) -> Callable[..., Task]:
    """`instance` on the first scene that is wanted, plain or not; its actors get their
    natural colours."""

    def make(seed: int, size: int, masks: MaskMaker, frames: int = FRAMES) -> Task:
        scenes = (sample_scene(seed + _APART * i, frames, 2) for i in count())
        scene = next(filter(wanted, scenes))
        actors = tuple(
            dataclasses.replace(a, color=None, accessory=None) for a in scene.actors
        )
        natural = dataclasses.replace(scene, actors=actors)
        return _both_anew(natural, seed, size, masks)

    return make


def _crossing(scene: Scene) -> bool:
    """Return whether the actors change places from the first frame to the last."""
    a, b = scene.actors
    last = scene.frames - 1
    a_end = a.x + last * a.facing * a.speed
    b_end = b.x + last * b.facing * b.speed
    return (a.x - b.x) * (a_end - b_end) < 0


def _both_anew(scene: Scene, seed: int, size: int, masks: MaskMaker) -> Task:
    """Turn both actors into other kinds; a third of the tasks exchange the two."""
    rng = np.random.default_rng([seed, 5])
    kinds = [actor.kind for actor in scene.actors]
    others = rng.permutation(_other_kinds(scene))[:2].tolist()
    asked = kinds[::-1] if rng.random() < 1 / 3 else others
    truth = _with_kinds(scene, asked[0], asked[1])
    wishes = []
    targets = []
    for i, actor in enumerate(truth.actors):
        change = wish(scene, size, i, actor.phrase)
        target = Target(
            change.mask,
            asked[i],
            _by_kind(truth, i),
            elsewhere=(asked[1 - i],),
            actor=i,
        )
        wishes.append(change)
        targets.append(target)
    return task(scene, truth, size, wishes, targets, masks)


def _other_kinds(scene: Scene) -> list[str]:
    """Return the kinds that no actor of a scene is of."""
    kinds = [actor.kind for actor in scene.actors]
    return [kind for kind in KINDS if kind not in kinds]


def _with_kinds(scene: Scene, first: str, second: str) -> Scene:
    """Return a scene with these kinds in place of its two actors."""
    one_changed = replace(scene, actor=0, kind=first)
    return replace(one_changed, actor=1, kind=second)


def _by_kind(scene: Scene, actor: int) -> dict[str, Scene]:
    """Return the scene with each kind in place of an actor."""
    return {kind: replace(scene, actor=actor, kind=kind) for kind in KINDS}


def class_level(seed: int, size: int, masks: MaskMaker, frames: int = FRAMES) -> Task:
    """Both actors form one region and become the same kind."""
    scene, rng = _plain(seed, frames, 6)
    asked = str(rng.choice(_other_kinds(scene)))
    truth = _with_kinds(scene, asked, asked)
    labels = render(scene, size).labels
    both = Wish("both", labels > 0, _phrases(scene), _phrases(truth))
    targets = []
    for i in (0, 1):
        candidates = _by_kind(truth, i)
        targets.append(Target(labels == i + 1, asked, candidates, actor=i))
    return task(scene, truth, size, [both], targets, masks)


def _phrases(scene: Scene) -> str:
    """Name all actors of a scene."""
    return " and ".join(actor.phrase for actor in scene.actors)


def _plain(seed: int, frames: int, salt: int) -> tuple[Scene, np.random.Generator]:
    """Return a scene of two actors, and the random numbers of a kind of task."""
    return sample_scene(seed, frames, 2, plain=True), np.random.default_rng(
        [seed, salt]
    )


def part(seed: int, size: int, masks: MaskMaker, frames: int = FRAMES) -> Task:
    """One actor gets something to wear on its head; the rest of it and the other actor
    stay.

    The true mask covers the head and the accessory; a click gives the whole actor.
    """
    scene, rng = _plain(seed, frames, 7)
    who = int(rng.integers(2))
    asked = str(rng.choice(("hat", "sunglasses")))
    candidates = {
        str(a): replace(scene, actor=who, accessory=a) for a in (*ACCESSORIES, None)
    }
    truth = candidates[asked]
    mask = _part_of(scene, size, who, "head") | _part_of(truth, size, who, "accessory")
    change = Wish("head", mask, scene.actors[who].phrase, truth.actors[who].phrase)
    target = Target(mask, asked, candidates, actor=who)
    return task(scene, truth, size, [change], [target], masks)


def _part_of(scene: Scene, size: int, actor: int, part: str) -> np.ndarray:
    """Return where a part of an actor shows: bool [frames, size, size]."""
    drawn = render(scene, size)
    return (drawn.labels == actor + 1) & (drawn.parts == PARTS.index(part))


def color(seed: int, size: int, masks: MaskMaker, frames: int = FRAMES) -> Task:
    """One actor changes colour; its kind and the other actor stay."""
    scene, rng = _plain(seed, frames, 8)
    who = int(rng.integers(2))
    asked = str(rng.choice(COLORS))
    candidates = {str(c): replace(scene, actor=who, color=c) for c in (*COLORS, None)}
    return _one_actor(scene, size, who, asked, candidates, masks)


def shape(seed: int, size: int, masks: MaskMaker, frames: int = FRAMES) -> Task:
    """One actor changes its shape a lot: an animal becomes a vehicle or robot, or the
    reverse."""
    scene, rng = _plain(seed, frames, 11)
    who = int(rng.integers(2))
    is_vehicle = scene.actors[who].kind in VEHICLES
    kinds = [kind for kind in KINDS if (kind in VEHICLES) != is_vehicle]
    other = scene.actors[1 - who].kind
    if other in kinds:
        kinds.remove(other)
    asked = str(rng.choice(kinds))
    return _one_actor(scene, size, who, asked, _by_kind(scene, who), masks)


def _one_actor(
    scene: Scene,
    size: int,
    who: int,
    asked: str,
    candidates: dict[str, Scene],
    masks: MaskMaker,
) -> Task:
    """One actor as a whole becomes one of the candidates."""
    change = wish(scene, size, who, candidates[asked].actors[who].phrase)
    target = Target(change.mask, asked, candidates, actor=who)
    return task(scene, candidates[asked], size, [change], [target], masks)


def background(seed: int, size: int, masks: MaskMaker, frames: int = FRAMES) -> Task:
    """The background becomes another place; the actors stay."""
    scene, rng = _plain(seed, frames, 9)
    asked = str(rng.choice([b for b in BACKGROUNDS if b != scene.background]))
    candidates = {b: replace(scene, background=b) for b in BACKGROUNDS}
    wishes = [wish(scene, size, i, "") for i in (0, 1)]
    wishes.append(Wish("background", None, WHERE[scene.background], WHERE[asked]))
    target = Target(render(scene, size).labels == 0, asked, candidates)
    return task(scene, candidates[asked], size, wishes, [target], masks)


def style(seed: int, size: int, masks: MaskMaker, frames: int = FRAMES) -> Task:
    """The whole picture in another style."""
    scene, rng = _plain(seed, frames, 10)
    asked = str(rng.choice(STYLES[1:]))
    candidates = {s: replace(scene, style=s) for s in STYLES}
    wishes = [Wish("picture", None, scene.caption, candidates[asked].caption)]
    target = Target(np.ones((frames, size, size), bool), asked, candidates)
    return task(scene, candidates[asked], size, wishes, [target], masks)


TASKS: dict[str, Callable[..., Task]] = {
    "instance": instance,
    "dark": hard(
        lambda scene: (
            scene.style == "storybook" and scene.background in ("night", "moon")
        )
    ),
    "sketch": hard(lambda scene: scene.style in ("pencil", "chalk")),
    "jumping": hard(
        lambda scene: scene.style == "storybook" and scene.actors[0].motion == "jump"
    ),
    "crossing": hard(lambda scene: scene.style == "storybook" and _crossing(scene)),
    "class": class_level,
    "part": part,
    "color": color,
    "background": background,
    "style": style,
    "shape": shape,
}


def wish(scene: Scene, size: int, actor: int, prompt: str) -> Wish:
    """Return the region of one actor."""
    who = scene.actors[actor]
    return Wish(who.kind, render(scene, size).labels == actor + 1, who.phrase, prompt)


# Makes labels from frames, true masks, and whether to grow them.
MaskMaker = Callable[[np.ndarray, Sequence[np.ndarray], bool], np.ndarray]


def true_masks(grow: int) -> MaskMaker:
    """True masks grown by `grow` pixels, like hand-painted ones."""

    def make(
        frames: np.ndarray, masks: Sequence[np.ndarray], wider: bool
    ) -> np.ndarray:
        labels = np.zeros(frames.shape[:3], np.uint8)
        for number, mask in enumerate(masks, 1):
            labels[mask] = number
        return grown(labels, grow) if grow and wider else labels

    return make


def clicked_masks(grow: int) -> MaskMaker:
    """Masks from one click on each object in the first frame, tracked through the clip,
    then grown."""

    def make(
        frames: np.ndarray, masks: Sequence[np.ndarray], wider: bool
    ) -> np.ndarray:
        labels = np.zeros(frames.shape[:3], np.uint8)
        if not masks:
            return labels
        keys = _clicked(frames[0], [mask[0] for mask in masks])
        clip = ArrayClip(frames, fps=Fraction(FPS))
        for t, followed, _ in propagate(clip, {0: keys}):
            labels[t] = followed
        return grown(labels, grow) if grow and wider else labels

    return make


def _clicked(frame: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the labels of what one click on each object of a frame finds; the first
    has the pixels that several find."""
    labels = np.zeros(frame.shape[:2], np.uint8)
    for number, mask in enumerate(masks, 1):
        got = segment(frame, [deepest(mask)], [1])
        labels[got & (labels == 0)] = number
    return labels


def task(
    scene: Scene,
    truth: Scene,
    size: int,
    wishes: list[Wish],
    targets: list[Target],
    masks: MaskMaker,
) -> Task:
    """Build a task: regions in order, and each answer judged where its target was or
    is."""
    frames = render(scene, size).frames
    # Where the last region is the rest, actors stay, and a grown mask would leave a
    # halo around them.
    rest = wishes[-1].mask is None
    own = [wished.mask for wished in wishes if wished.mask is not None]
    labels = masks(frames, own, not rest)
    labels = np.where((labels == 0) & rest, len(wishes), labels).astype(np.uint8)
    request = EditRequest(
        ArrayClip(frames, fps=Fraction(FPS)),
        labels,
        _regions(wishes),
        source_prompt=scene.caption,
    )
    return Task(scene, truth, request, _placed(targets, request))


def _regions(wishes: list[Wish]) -> tuple[Region, ...]:
    """Return the regions of wishes, in order, each exactly as large as its mask."""
    regions = []
    for number, wished in enumerate(wishes, 1):
        region = Region(
            wished.name,
            number,
            prompt=wished.prompt,
            source=wished.source,
            margin=0,
        )
        regions.append(region)
    return tuple(regions)


def with_margin(task: Task, margin: int | None) -> Task:
    """Return the task with regions that may reach `margin` pixels beyond their masks;
    None: the default."""
    regions = tuple(
        dataclasses.replace(region, margin=margin) for region in task.request.regions
    )
    request = dataclasses.replace(task.request, regions=regions)
    return dataclasses.replace(
        task, request=request, targets=_placed(task.targets, request)
    )


def _placed(targets: Sequence[Target], request: EditRequest) -> tuple[Target, ...]:
    """Let targets be judged wherever the request allows changes: what must stay tells
    no candidates apart.

    Edited pixels belong to the target whose place is nearest.
    """
    edited = request.edited_mask
    if len(targets) < 2:
        return tuple(
            dataclasses.replace(one, place=one.place | edited) for one in targets
        )
    labels = np.zeros(edited.shape, np.uint8)
    for number, target in enumerate(targets, 1):
        labels[target.place] = number
    nearest = grown(labels, max(edited.shape))
    placed = []
    for number, target in enumerate(targets, 1):
        own = edited & (nearest == number)
        placed.append(dataclasses.replace(target, place=target.place | own))
    return tuple(placed)
