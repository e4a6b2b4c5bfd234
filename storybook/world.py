"""Scenes of the drawn world: what happens, its caption, its pictures, and the ground truth of every pixel."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from storybook import characters, draw, motion, scenery

FPS = 8
KINDS = tuple(characters.BUILDERS)
COLORS = tuple(characters.PAINTS)
ACCESSORIES = ("hat", "sunglasses", "scarf", "backpack")
BACKGROUNDS = tuple(scenery.SCENERY)
STYLES = ("storybook", *scenery.FINISHES)

_WEARING = {a: "wearing " + ("" if a == "sunglasses" else "a ") + a for a in ACCESSORIES}
WHERE = {
    "forest": "in the forest",
    "grass": "on the grass",
    "beach": "on the beach",
    "snow": "in the snow",
    "city": "in the city",
    "desert": "in the desert",
    "night": "at night",
    "moon": "on the moon",
}
_VERBS = {"walk": "walks", "run": "runs", "jump": "jumps", "stand": "stands"}
# Frame widths in 8 frames.
_TRAVEL = {"walk": (0.04, 0.11), "run": (0.13, 0.2), "jump": (0.02, 0.08), "stand": (0.0, 0.0)}
_ARTICLES = ("a", "another", "a third")
# {0} {1} {2} are the actors in order, {v0} .. what they do, {all} what all do, {at0} .. "on the left",
# {where} the background, {depth} "in front of" or "behind". Places come before the noun: a causal text
# encoder sees no later word.
_TEMPLATES: dict[int, tuple[str, ...]] = {
    1: (
        "{0} {v0} {where}",
        "{where} {0} {v0}",
        "{where} {v0} {0}",
        "{0} {where}",
        "there is {0} {where}",
        "{where} there is {0}",
        "a picture of {0} {where}",
        "a picture of {0} that {v0} {where}",
    ),
    2: (
        "{0} {v0} and {1} {v1} {where}",
        "{where} {0} {v0} and {1} {v1}",
        "{0} {v0} past {1} {where}",
        "{where} {v0} {0} and {v1} {1}",
        "there is {0} and {1} {where}",
        "a picture of {0} and {1} {where}",
        "{0} {v0} {depth} {1} {where}",
        "{where} {0} {v0} {depth} {1}",
        "{at0} {0} {v0} and {at1} {1} {v1} {where}",
        "{where} {at0} {0} {v0} and {at1} {1} {v1}",
        "{at0} {v0} {0} and {at1} {v1} {1} {where}",
        "{where} {at0} {0} and {at1} {1}",
        "{at0} there is {0} and {at1} there is {1} {where}",
        "{0} and {1} {all} {where}",
        "{where} {0} and {1} {all}",
    ),
    3: (
        "{0} {v0} and {1} {v1} and {2} {v2} {where}",
        "{where} {0} {v0} and {1} {v1} and {2} {v2}",
        "there is {0} and {1} and {2} {where}",
        "{at0} {0} and {at1} {1} and {at2} {2} {where}",
        "{where} {at0} {0} and {at1} {1} and {at2} {2}",
        "{0} and {1} and {2} {all} {where}",
    ),
}
_PLACES = {
    1: ("in the middle",),
    2: ("on the left", "on the right"),
    3: ("on the left", "in the middle", "on the right"),
}
_STRIP = 0.3  # how far the camera can move, in frame widths
_KEEP: Any = object()


@dataclass(frozen=True)
class Actor:
    """Who moves where: a look (kind, color, accessory) and a motion that does not depend on it.

    Attributes:
        kind: One of `KINDS`.
        color: One of `COLORS`, None for the kind's natural colour, or one that no word names, #rrggbb.
        accessory: One of `ACCESSORIES`, or None.
        article: "a", or "another" / "a third" if an earlier actor is of the same kind.
        x: Start of the feet, fraction of the width. y: Ground line, fraction of the height.
        height: Of the actor, fraction of the frame. facing: 1 right, -1 left.
        speed: Widths per frame along `facing`, over the ground. phase: Of the step cycle at frame 0, radians.
        motion: "walk", "run", "jump" or "stand".
    """

    kind: str
    color: str | None
    accessory: str | None
    article: str
    x: float
    y: float
    height: float
    facing: int
    speed: float
    phase: float
    motion: str = "walk"

    @property
    def phrase(self) -> str:
        """The actor's own words, as they appear in the caption."""
        named = None if self.color and self.color.startswith("#") else self.color
        words = [named, self.kind, _WEARING[self.accessory] if self.accessory else None]
        rest = " ".join(w for w in words if w)
        return (
            f"an {rest}" if self.article == "a" and rest[0] in "aeiou" else f"{self.article} {rest}"
        )


@dataclass(frozen=True)
class Scene:
    """A short clip before it is drawn. Frozen and JSON-able (`dataclasses.asdict`).

    Attributes:
        pan: Frame widths per frame by which the camera moves to the right.
    """

    seed: int
    frames: int
    actors: tuple[Actor, ...]
    background: str
    style: str
    template: int
    pan: float = 0.0

    @property
    def caption(self) -> str:
        """English in the closed vocabulary; contains every actor's phrase once, in actor order."""
        cast, where = self.actors, WHERE[self.background]
        phrases, order = (
            [a.phrase for a in cast],
            np.argsort(np.argsort([a.x for a in cast], kind="stable")),
        )
        words = {"where": where}
        for i, (actor, rank) in enumerate(zip(cast, order, strict=True)):
            place = _PLACES[len(cast)][rank]
            words |= {f"v{i}": _VERBS[actor.motion], f"at{i}": place}
        words["all"] = cast[0].motion
        if len(cast) == 2:
            words["depth"] = "in front of" if cast[0].y > cast[1].y else "behind"
        text = _TEMPLATES[len(cast)][self.template].format(*phrases, **words)
        return text if self.style == "storybook" else f"{text} in {self.style}"


def from_dict(facts: dict[str, Any]) -> Scene:
    """The scene that `dataclasses.asdict` turned into `facts`."""
    return Scene(**{**facts, "actors": tuple(Actor(**actor) for actor in facts["actors"])})


class Rendered(NamedTuple):
    """Frames and truth of a scene; shapes and ranges in `render`."""

    frames: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    flow: np.ndarray
    depth: np.ndarray


def _named(actors: Sequence[Actor]) -> tuple[Actor, ...]:
    """Give every actor the article that keeps its phrase unique."""
    seen: dict[str, int] = {}
    out = []
    for actor in actors:
        out.append(dataclasses.replace(actor, article=_ARTICLES[seen.get(actor.kind, 0)]))
        seen[actor.kind] = seen.get(actor.kind, 0) + 1
    return tuple(out)


def sample_scene(seed: int, frames: int = 8, actors: int = 2, *, plain: bool = False) -> Scene:
    """A random scene; the same arguments always give the same scene.

    Args:
        seed: Any non-negative integer.
        frames: Length in frames, at 8 frames per second.
        actors: 1 to 3, of different kinds; each covers at least 2 % of every frame.
        plain: Natural colours, no accessories, storybook style, everyone walks (for examples and tests).
    Raises:
        ValueError: `actors` or `frames` out of range.
    """
    if not 1 <= actors <= 3 or frames < 1:
        raise ValueError(f"actors must be 1 to 3 and frames at least 1, got {actors} and {frames}")
    rng = np.random.default_rng([seed, actors, 2])  # the second world; the first was smaller
    pan = crossing = 0.0
    if not plain:
        pan = (
            rng.uniform(0.06, 0.2 if actors < 3 else 0.1)
            * rng.choice([-1, 1])
            * (rng.random() < 0.2)
        )
        crossing = actors == 2 and not pan and rng.random() < 0.15
    span, last = max(frames - 1, 7), frames - 1
    looks = [_sample_look(rng, kind, plain) for kind in rng.permutation(KINDS)[:actors]]
    slots = rng.permutation({1: [0.5], 2: [0.27, 0.73], 3: [0.18, 0.5, 0.82]}[actors])
    cast = []
    for i, (look, slot) in enumerate(zip(looks, slots, strict=True)):
        does = "walk" if plain else str(rng.choice([*_VERBS], p=(0.42, 0.22, 0.18, 0.18)))
        height, ground = _sample_stand(rng, actors, does)
        facing, travel = (
            int(rng.choice([-1, 1])),
            rng.uniform(*_TRAVEL[does]) * (1 if actors < 3 else 0.7),
        )
        if pan:
            facing = 1 if pan > 0 else -1
        if crossing:
            # The one behind is taller and higher up, so that the one in front never hides it.
            does, travel = does if does in ("walk", "run") else "walk", rng.uniform(0.4, 0.55)
            facing = 1 if slot < 0.5 else -1
            height, ground = ((0.46, 0.75), (0.36, 0.94))[i ^ (seed & 1)]
            height, ground = height + rng.uniform(0, 0.04), ground + rng.uniform(-0.02, 0.02)
        drift, middle = (facing * travel - pan) * last / span, 0.5 if crossing else slot
        x = middle + rng.uniform(-0.04, 0.04) - drift / 2
        place = (float(x), float(ground), float(height), facing, float(travel / span))
        cast.append(Actor(*look, "a", *place, float(rng.uniform(0, 2 * np.pi)), does))
    style = "storybook" if plain or rng.random() < 0.78 else str(rng.choice(STYLES[1:]))
    background = str(rng.choice(BACKGROUNDS))
    template = next((i for i, t in enumerate(_TEMPLATES[actors]) if "{all}" in t), 0)
    if not plain:
        template = _sample_template(rng, cast, bool(crossing))
    return Scene(seed, frames, _named(cast), background, style, template, float(pan / span))


def _sample_look(
    rng: np.random.Generator, kind: str, plain: bool
) -> tuple[str, str | None, str | None]:
    color = str(rng.choice(COLORS)) if rng.random() < 0.45 and not plain else None
    accessory = str(rng.choice(ACCESSORIES)) if rng.random() < 0.33 and not plain else None
    return str(kind), color, accessory


def _sample_stand(rng: np.random.Generator, actors: int, does: str) -> tuple[float, float]:
    """Height and ground line; actors that jump are smaller and nearer, to stay in the picture."""
    low, high = {1: (0.46, 0.66), 2: (0.38, 0.50), 3: (0.29, 0.35)}[actors]
    if does == "jump":
        return rng.uniform(low, 0.6 * low + 0.4 * high), rng.uniform(0.88, 0.95)
    return rng.uniform(low, high), rng.uniform(0.80, 0.95)


def _sample_template(rng: np.random.Generator, cast: list[Actor], crossing: bool) -> int:
    """A caption that is true in every frame; most captions say left and right if that is true."""
    templates = _TEMPLATES[len(cast)]
    placed = [i for i, t in enumerate(templates) if "{at" in t]
    untrue = ["{at"]
    if abs(cast[0].y - cast[-1].y) < 0.05:
        untrue.append("{depth}")
    if cast[0].motion == "stand":
        untrue.append("past")
    if len({actor.motion for actor in cast}) > 1 or len(cast) == 1:
        untrue.append("{all}")
    other = [i for i, t in enumerate(templates) if not any(word in t for word in untrue)]
    return int(rng.choice(placed if placed and not crossing and rng.random() < 0.65 else other))


def replace(
    scene: Scene,
    actor: int | None = None,
    *,
    kind: str = _KEEP,
    color: str | None = _KEEP,
    accessory: str | None = _KEEP,
    background: str = _KEEP,
    style: str = _KEEP,
) -> Scene:
    """The same motion with another look: the true result of an edit.

    Arguments left out do not change; `color=None` means the kind's natural colour, `accessory=None` none.

    Raises:
        ValueError: A word the world does not know, or a look given without `actor`.
    """
    look = {
        k: v
        for k, v in (("kind", kind), ("color", color), ("accessory", accessory))
        if v is not _KEEP
    }
    place = {k: v for k, v in (("background", background), ("style", style)) if v is not _KEEP}
    known: dict[str, tuple[str | None, ...]] = {
        "kind": KINDS,
        "color": (*COLORS, None),
        "accessory": (*ACCESSORIES, None),
        "background": BACKGROUNDS,
        "style": STYLES,
    }
    for name, value in (look | place).items():
        if value not in known[name]:
            raise ValueError(f"{name}: {value!r} is not one of {', '.join(map(str, known[name]))}")
    cast = list(scene.actors)
    if look:
        if actor is None or not 0 <= actor < len(cast):
            raise ValueError(f"actor: {actor} is not one of 0 to {len(cast) - 1}")
        cast[actor] = dataclasses.replace(cast[actor], **look)
    return dataclasses.replace(scene, actors=_named(cast), **place)


def cast_of(scene: Scene) -> list[Sequence[draw.Primitive]]:
    """The primitives of every actor, back to front."""
    return [characters.character(a.kind, a.color, a.accessory, a.facing) for a in scene.actors]


def _camera(scene: Scene, size: int, frame: int) -> float:
    """How far the camera has moved to the right, in pixels, a multiple of 0.5."""
    reach = round(2 * size * _STRIP)
    return float(np.clip(round(2 * size * scene.pan * frame), -reach, reach)) / 2


def center(scene: Scene, actor: Actor, size: int, frame: int) -> float:
    """Where the actor's feet are, in pixels from the left."""
    return (actor.x + actor.facing * actor.speed * frame) * size - _camera(scene, size, frame)


def _placements(
    scene: Scene, actor: Actor, primitives: Sequence[draw.Primitive], size: int, frame: int
) -> list[np.ndarray]:
    """For each primitive the 3x3 map from actor space to pixels of `frame`."""
    scale, x = actor.height * size, center(scene, actor, size, frame)
    place = np.array([[actor.facing * scale, 0, x], [0, scale, actor.y * size], [0, 0, 1]])
    poses = motion.limb_poses(actor.kind, actor.motion, *_cycle(actor, frame))
    maps = {limb: place @ pose for limb, pose in poses.items()}
    return [maps[p.limb] for p in primitives]


def _cycle(actor: Actor, frame: int) -> tuple[float, float]:
    """Phase of an actor's motion, and how far a wheel has rolled; radians."""
    phase = actor.phase + frame * motion.TEMPO[actor.motion]
    return phase, actor.speed * frame / (actor.height * motion.WHEEL)


def _back_to_front(scene: Scene) -> list[int]:
    """Numbers of the actors; those lower in the picture are nearer, so they come last."""
    return sorted(range(len(scene.actors)), key=lambda i: scene.actors[i].y)


def _ink_width(actor: Actor, size: int) -> int:
    return max(1, round(actor.height * size * 0.017))


def _shadow(canvas: np.ndarray, spot: np.ndarray) -> None:
    """Darken the ground under an actor; `spot` in pixels."""
    x0, y0 = np.maximum(np.floor(spot.min(0)).astype(int) - 1, 0)
    x1, y1 = np.ceil(spot.max(0)).astype(int) + 2
    ground = canvas[y0:y1, x0:x1]
    if ground.size:
        dark = ground.copy()
        draw.paint(dark, spot - (x0, y0), (30, 40, 50))
        ground[:] = cv2.addWeighted(dark, 0.28, ground, 0.72, 0)


def _draw_frame(
    scene: Scene, cast: list[Sequence[draw.Primitive]], backdrop: np.ndarray, frame: int
) -> np.ndarray:
    """The picture at twice the size, so that half pixels of camera motion become whole ones."""
    n = backdrop.shape[0]
    start = round(2 * _camera(scene, n // 2, frame)) + (backdrop.shape[1] - n) * (scene.pan < 0)
    canvas = backdrop[:, start : start + n].copy()
    for i in _back_to_front(scene):
        actor = scene.actors[i]
        x = 2 * center(scene, actor, n // 2, frame) / n
        # The same for every kind, so that exchanging an actor does not change the ground beside it.
        wide = actor.height * (1 - 0.8 * motion.lift(actor.motion, _cycle(actor, frame)[0]))
        spot = draw.ellipse(x, actor.y, 0.46 * wide, 0.05 * wide)
        _shadow(canvas, spot * n)
        for part, matrix in zip(
            cast[i], _placements(scene, actor, cast[i], n // 2, frame), strict=True
        ):
            outline = draw.shade(part.color, 0.42) if part.ink else None
            points = 2 * draw.transformed(part.points, matrix)
            draw.paint(canvas, points, part.color, outline, _ink_width(actor, n))
    return canvas


def _backdrop(scene: Scene, size: int) -> np.ndarray:
    """uint8 [size, size or wider, 3]: everything the camera can see."""
    rng = np.random.default_rng([scene.seed, 77])
    return scenery.backdrop(scene.background, size, rng, 1 + _STRIP if scene.pan else 1)


def render_frames(scene: Scene, size: int, frames: tuple[int, ...] | None = None) -> np.ndarray:
    """Only the frames: uint8 [frames, size, size, 3], drawn at twice the size and averaged."""
    cast, backdrop = cast_of(scene), _backdrop(scene, 2 * size)
    finish_seed = int(np.random.default_rng([scene.seed, 99]).integers(2**31))
    out = []
    for frame in frames if frames is not None else range(scene.frames):
        picture = cv2.resize(
            _draw_frame(scene, cast, backdrop, frame), (size, size), interpolation=cv2.INTER_AREA
        )
        if scene.style != "storybook":
            picture = scenery.FINISHES[scene.style](picture, np.random.default_rng(finish_seed))
        out.append(picture)
    return np.stack(out)


def surface_ids(
    scene: Scene, cast: list[Sequence[draw.Primitive]], size: int, frame: int
) -> np.ndarray:
    """int32 [size, size]: 0 background, else 1 + running number of the frontmost primitive."""
    ids = np.zeros((size, size), np.int32)
    first = np.cumsum([0, *map(len, cast)])
    for i in _back_to_front(scene):
        actor = scene.actors[i]
        maps = _placements(scene, actor, cast[i], size, frame)
        for j, (part, matrix) in enumerate(zip(cast[i], maps, strict=True)):
            points = draw.transformed(part.points, matrix)
            draw.paint_id(ids, points, int(first[i]) + j + 1, part.ink, _ink_width(actor, size))
    return ids


def owners(cast: list[Sequence[draw.Primitive]]) -> tuple[np.ndarray, np.ndarray]:
    """By surface id: 1 + number of the actor, and part; uint8 [primitives + 1] each, 0 background."""
    pairs = [(0, 0), *[(i, p.part) for i, primitives in enumerate(cast, 1) for p in primitives]]
    actor_of, part_of = np.array(pairs, np.uint8).T
    return actor_of, part_of


def _forward_flow(ids: np.ndarray, now: list[np.ndarray], then: list[np.ndarray]) -> np.ndarray:
    """Where each visible surface point goes: its primitive's next map after the inverse of this one."""
    maps = np.stack([b @ np.linalg.inv(a) for a, b in zip(now, then, strict=True)])[ids]
    y, x = np.mgrid[: ids.shape[0], : ids.shape[1]].astype(np.float64)
    moved = np.einsum("hwij,jhw->ihw", maps[..., :2, :], np.stack([x, y, np.ones_like(x)]))
    return (moved - np.stack([x, y])).astype(np.float32)


def _maps(
    scene: Scene, cast: list[Sequence[draw.Primitive]], size: int, frame: int
) -> list[np.ndarray]:
    """The map of the ground, then of every primitive."""
    ground = np.eye(3)
    ground[0, 2] = -_camera(scene, size, frame)
    things = (
        _placements(scene, a, c, size, frame) for a, c in zip(scene.actors, cast, strict=True)
    )
    return [ground, *(matrix for maps in things for matrix in maps)]


def render(scene: Scene, size: int = 256) -> Rendered:
    """Draw a scene with its ground truth.

    Returns:
        frames: uint8 [frames, size, size, 3], RGB.
        labels: uint8 [frames, size, size], 0 background, i + 1 = actor i, the one in front wins.
        parts: uint8 [frames, size, size], index into `draw.PARTS` (0 background, head, body, legs,
            accessory).
        flow: float32 [frames - 1, 2, size, size], forward, pixels, (dx, dy): where the surface seen at a
            pixel of frame t is in t + 1.
        depth: float32 [frames, size, size], 0 near .. 1 far.
    """
    cast = cast_of(scene)
    actor_of, part_of = owners(cast)
    ground = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    far = np.where(ground < 0.62, 1.0, 1.0 - (ground - 0.62) / 0.38).repeat(size, 1)
    stand = np.array([0.0, *[1.0 - (a.y - 0.62) / 0.38 for a in scene.actors]], np.float32)
    labels, parts, flow, depth = [], [], [], []
    for t in range(scene.frames):
        ids = surface_ids(scene, cast, size, t)
        label = actor_of[ids]
        labels.append(label)
        parts.append(part_of[ids])
        depth.append(np.where(label > 0, stand[label], far).astype(np.float32))
        if t + 1 < scene.frames:
            flow.append(_forward_flow(ids, *(_maps(scene, cast, size, u) for u in (t, t + 1))))
    moved = np.stack(flow) if flow else np.zeros((0, 2, size, size), np.float32)
    return Rendered(
        render_frames(scene, size), np.stack(labels), np.stack(parts), moved, np.stack(depth)
    )


def vocabulary() -> tuple[str, ...]:
    """Every word a caption can hold, sorted."""
    phrases = [
        *_ARTICLES,
        *COLORS,
        *KINDS,
        *(_WEARING[a] for a in ACCESSORIES),
        *(WHERE[b] for b in BACKGROUNDS),
        *STYLES[1:],
        *("in", "an", "in front of", "behind"),
        *_VERBS,
        *_VERBS.values(),
        *(place for places in _PLACES.values() for place in places),
    ]
    phrases += [re.sub(r"{\w+}", " ", t) for group in _TEMPLATES.values() for t in group]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


def vocabulary_groups() -> dict[str, tuple[str, ...]]:
    """The vocabulary by what it is for: words and phrases as captions use them, each word at least once."""
    groups = {
        "Kinds": KINDS,
        "Colours": COLORS,
        "Wearing": tuple(_WEARING[accessory] for accessory in ACCESSORIES),
        "Motions": tuple(form for verb in _VERBS.items() for form in verb),
        "Places": tuple(WHERE[background] for background in BACKGROUNDS),
        "Styles": STYLES[1:],
    }
    named = {word for phrases in groups.values() for phrase in phrases for word in phrase.split()}
    return groups | {"Other words": tuple(word for word in vocabulary() if word not in named)}
