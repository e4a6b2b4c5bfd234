"""Scenes of the drawn world: what happens, what it is called, how it looks, and the truth of every pixel."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from storybook import draw

KINDS = tuple(draw.BUILDERS)
COLORS = tuple(draw.PAINTS)
ACCESSORIES = ("hat", "sunglasses", "scarf")
BACKGROUNDS = tuple(draw.SCENERY)
STYLES = ("storybook", *draw.FINISHES)
FPS = 8

_WEARING = {"hat": "wearing a hat", "sunglasses": "wearing sunglasses", "scarf": "wearing a scarf"}
WHERE = {
    "forest": "in the forest",
    "grass": "on the grass",
    "beach": "on the beach",
    "snow": "in the snow",
    "city": "in the city",
    "desert": "in the desert",
    "night": "at night",
}
_ARTICLES = ("a", "another", "a third")
# {0} {1} {2} are the actors in order, {where} the background, {side0} {side1} "left" / "right".
_TEMPLATES: dict[int, tuple[str, ...]] = {
    1: ("{0} walks {where}", "{0} {where}", "{where} {0} walks", "a picture of {0} {where}"),
    2: (
        "{0} and {1} walk {where}",
        "{0} walks past {1} {where}",
        "{where} {0} walks with {1}",
        "on the {side0} {0} and on the {side1} {1} walk {where}",
        "{where} on the {side0} {0} and on the {side1} {1}",
    ),
    3: ("{0} and {1} and {2} walk {where}", "{where} {0} walks with {1} and {2}"),
}
_KEEP: Any = object()


@dataclass(frozen=True)
class Actor:
    """Who walks where: a look (kind, color, accessory) and a motion that does not depend on it.

    Attributes:
        kind: One of `KINDS`.
        color: One of `COLORS`, or None for the kind's natural colour.
        accessory: One of `ACCESSORIES`, or None.
        article: "a", or "another" / "a third" where an earlier actor is of the same kind.
        x: Start of the feet, fraction of the width. y: Ground line, fraction of the height.
        height: Of the actor, fraction of the frame. facing: 1 right, -1 left.
        speed: Widths per frame along `facing`. phase: Of the step cycle at frame 0, radians.
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

    @property
    def phrase(self) -> str:
        """The actor's own words, as they stand in the caption."""
        words = [self.article, self.color, self.kind, _WEARING[self.accessory] if self.accessory else None]
        return " ".join(w for w in words if w)


@dataclass(frozen=True)
class Scene:
    """A short clip before it is drawn. Frozen and JSON-able (`dataclasses.asdict`)."""

    seed: int
    frames: int
    actors: tuple[Actor, ...]
    background: str
    style: str
    template: int

    @property
    def caption(self) -> str:
        """English over the closed vocabulary; every actor's phrase stands in it once, in actor order."""
        left_first = len(self.actors) < 2 or self.actors[0].x <= self.actors[1].x
        sides = {"side0": "left" if left_first else "right", "side1": "right" if left_first else "left"}
        phrases = [a.phrase for a in self.actors]
        text = _TEMPLATES[len(phrases)][self.template].format(*phrases, where=WHERE[self.background], **sides)
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


def _named(actors: list[Actor]) -> tuple[Actor, ...]:
    """Give every actor the article that keeps its phrase unique."""
    seen: dict[str, int] = {}
    out = []
    for actor in actors:
        out.append(dataclasses.replace(actor, article=_ARTICLES[seen.get(actor.kind, 0)]))
        seen[actor.kind] = seen.get(actor.kind, 0) + 1
    return tuple(out)


def sample_scene(seed: int, frames: int = 8, actors: int = 2, *, plain: bool = False) -> Scene:
    """A scene drawn at random; the same arguments always give the same scene.

    Args:
        seed: Any non-negative integer.
        frames: Length in frames, at 8 frames per second.
        actors: 1 to 3, of different kinds; each covers at least 2 % of every frame.
        plain: Natural colours, no accessories, storybook style (for examples and tests).
    Raises:
        ValueError: `actors` or `frames` out of range.
    """
    if not 1 <= actors <= 3 or frames < 1:
        raise ValueError(f"actors must be 1 to 3 and frames at least 1, got {actors} and {frames}")
    rng = np.random.default_rng([seed, actors])
    kinds = rng.permutation(KINDS)[:actors]
    slots = {1: [0.5], 2: [0.27, 0.73], 3: [0.18, 0.5, 0.82]}[actors]
    low, high = {1: (0.46, 0.66), 2: (0.38, 0.50), 3: (0.29, 0.35)}[actors]
    cast = []
    for kind, slot in zip(kinds, rng.permutation(slots), strict=True):
        color = str(rng.choice(COLORS)) if rng.random() < 0.35 and not plain else None
        accessory = str(rng.choice(ACCESSORIES)) if rng.random() < 0.2 and not plain else None
        facing, travel = int(rng.choice([-1, 1])), rng.uniform(0.04, 0.11)
        speed = travel / max(frames - 1, 7)
        x = slot + rng.uniform(-0.04, 0.04) - facing * speed * (frames - 1) / 2
        height, ground = rng.uniform(low, high), rng.uniform(0.80, 0.93)
        cast.append(
            Actor(
                str(kind),
                color,
                accessory,
                "a",
                float(x),
                float(ground),
                float(height),
                facing,
                float(speed),
                float(rng.uniform(0, 6.28)),
            )
        )
    style = "storybook" if plain or rng.random() < 0.85 else str(rng.choice(STYLES[1:]))
    template = 0 if plain else int(rng.integers(len(_TEMPLATES[actors])))
    return Scene(seed, frames, _named(cast), str(rng.choice(BACKGROUNDS)), style, template)


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

    An argument left out keeps what the scene has; `color=None` is the kind's natural colour, `accessory=None`
    none.

    Raises:
        ValueError: A word the world does not know, or a look given without `actor`.
    """
    look = {k: v for k, v in (("kind", kind), ("color", color), ("accessory", accessory)) if v is not _KEEP}
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


def _cast(scene: Scene) -> list[list[draw.Primitive]]:
    return [draw.character(a.kind, a.color, a.accessory) for a in scene.actors]


def _center(actor: Actor, frame: int) -> float:
    return actor.x + actor.facing * actor.speed * frame


def _placements(actor: Actor, primitives: list[draw.Primitive], size: int, frame: int) -> list[np.ndarray]:
    """For each primitive the 3x3 map from actor space to pixels of `frame`."""
    phase = actor.phase + frame * 0.8
    bob = -0.012 * abs(np.sin(phase)) * (actor.kind != "car")
    scale = actor.height * size
    place = np.array(
        [
            [actor.facing * scale, 0, _center(actor, frame) * size],
            [0, scale, (actor.y + bob * actor.height) * size],
            [0, 0, 1],
        ]
    )
    poses = draw.limb_poses(actor.kind, phase, actor.speed * frame / (actor.height * 0.15))
    return [place @ poses[p.limb] for p in primitives]


def _back_to_front(scene: Scene) -> list[int]:
    """Who stands lower in the picture is nearer."""
    return sorted(range(len(scene.actors)), key=lambda i: scene.actors[i].y)


def _ink_width(actor: Actor, size: int) -> int:
    return max(1, round(actor.height * size * 0.017))


def _draw_frame(
    scene: Scene, cast: list[list[draw.Primitive]], backdrop: np.ndarray, frame: int
) -> np.ndarray:
    canvas = backdrop.copy()
    n = canvas.shape[0]
    for i in _back_to_front(scene):
        actor = scene.actors[i]
        shadow = canvas.copy()
        spot = draw.ellipse(_center(actor, frame), actor.y, 0.46 * actor.height, 0.05 * actor.height)
        draw.paint(shadow, spot * n, (30, 40, 50))
        canvas = cv2.addWeighted(shadow, 0.28, canvas, 0.72, 0)
        for part, matrix in zip(cast[i], _placements(actor, cast[i], n, frame), strict=True):
            outline = draw.shade(part.color, 0.42) if part.ink else None
            draw.paint(
                canvas, draw.transformed(part.points, matrix), part.color, outline, _ink_width(actor, n)
            )
    return canvas


def render_frames(scene: Scene, size: int, frames: tuple[int, ...] | None = None) -> np.ndarray:
    """Only the pictures: uint8 [frames, size, size, 3]. Drawn at twice the size and averaged."""
    cast, rng = _cast(scene), np.random.default_rng([scene.seed, 99])
    backdrop = draw.SCENERY[scene.background](2 * size, np.random.default_rng([scene.seed, 77]))
    finish_seed = int(rng.integers(2**31))
    out = []
    for frame in frames if frames is not None else range(scene.frames):
        picture = cv2.resize(
            _draw_frame(scene, cast, backdrop, frame), (size, size), interpolation=cv2.INTER_AREA
        )
        if scene.style != "storybook":
            picture = draw.FINISHES[scene.style](picture, np.random.default_rng(finish_seed))
        out.append(picture)
    return np.stack(out)


def _surface_ids(scene: Scene, cast: list[list[draw.Primitive]], size: int, frame: int) -> np.ndarray:
    """int32 [size, size]: 0 background, else 1 + running number of the frontmost primitive."""
    ids = np.zeros((size, size), np.int32)
    first = np.cumsum([0, *map(len, cast)])
    for i in _back_to_front(scene):
        for j, (part, matrix) in enumerate(
            zip(cast[i], _placements(scene.actors[i], cast[i], size, frame), strict=True)
        ):
            points = draw.transformed(part.points, matrix)
            draw.paint_id(ids, points, int(first[i]) + j + 1, part.ink, _ink_width(scene.actors[i], size))
    return ids


def _forward_flow(ids: np.ndarray, now: list[np.ndarray], then: list[np.ndarray]) -> np.ndarray:
    """Where every visible surface point goes: its primitive's next map after the inverse of this one."""
    maps = np.stack([np.eye(3), *[b @ np.linalg.inv(a) for a, b in zip(now, then, strict=True)]])[ids]
    y, x = np.mgrid[: ids.shape[0], : ids.shape[1]].astype(np.float64)
    moved = np.einsum("hwij,jhw->ihw", maps[..., :2, :], np.stack([x, y, np.ones_like(x)]))
    return (moved - np.stack([x, y])).astype(np.float32)


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
    cast = _cast(scene)
    actor_of = np.array([0, *[i + 1 for i, c in enumerate(cast) for _ in c]], np.uint8)
    part_of = np.array([0, *[p.part for c in cast for p in c]], np.uint8)
    ground = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    far = np.where(ground < 0.62, 1.0, 1.0 - (ground - 0.62) / 0.38).repeat(size, 1)
    stand = np.array([0.0, *[1.0 - (a.y - 0.62) / 0.38 for a in scene.actors]], np.float32)
    labels, parts, flow, depth = [], [], [], []
    for t in range(scene.frames):
        ids = _surface_ids(scene, cast, size, t)
        label = actor_of[ids]
        labels.append(label)
        parts.append(part_of[ids])
        depth.append(np.where(label > 0, stand[label], far).astype(np.float32))
        if t + 1 < scene.frames:
            now, then = (
                [m for a, c in zip(scene.actors, cast, strict=True) for m in _placements(a, c, size, u)]
                for u in (t, t + 1)
            )
            flow.append(_forward_flow(ids, now, then))
    motion = np.stack(flow) if flow else np.zeros((0, 2, size, size), np.float32)
    return Rendered(render_frames(scene, size), np.stack(labels), np.stack(parts), motion, np.stack(depth))


def vocabulary() -> tuple[str, ...]:
    """Every word a caption can hold, sorted."""
    phrases = [
        *_ARTICLES,
        *COLORS,
        *KINDS,
        *_WEARING.values(),
        *WHERE.values(),
        *STYLES[1:],
        "in",
        "left",
        "right",
    ]
    phrases += [t.replace("{", " ").replace("}", " ") for group in _TEMPLATES.values() for t in group]
    words = {w for p in phrases for w in p.split() if w.isalpha()} - {"where", "side"}
    return tuple(sorted(w for w in words if not w.startswith("side")))
