"""Pictures of the drawn world, and the ground truth of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from storybook import draw, dressing, motion, scenery
from storybook.world import Actor, Scene

_STRIP = 0.3  # how far the camera can move, in frame widths


class Rendered(NamedTuple):
    """Frames and truth of a scene; shapes and ranges in `render`."""

    frames: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    flow: np.ndarray
    depth: np.ndarray


def cast_of(scene: Scene) -> list[Sequence[draw.Primitive]]:
    """Return the primitives of every actor, back to front."""
    return [
        dressing.character(a.kind, a.color, a.accessory, a.facing) for a in scene.actors
    ]


def _camera(scene: Scene, size: int, frame: int) -> float:
    """Return how far the camera has moved to the right, in pixels, a multiple of
    0.5."""
    reach = round(2 * size * _STRIP)
    return float(np.clip(round(2 * size * scene.pan * frame), -reach, reach)) / 2


def center(scene: Scene, actor: Actor, size: int, frame: int) -> float:
    """Return where the actor's feet are, in pixels from the left."""
    return (actor.x + actor.facing * actor.speed * frame) * size - _camera(
        scene, size, frame
    )


def _placements(
    scene: Scene,
    actor: Actor,
    primitives: Sequence[draw.Primitive],
    size: int,
    frame: int,
) -> list[np.ndarray]:
    """Return for each primitive the 3x3 map from actor space to pixels of `frame`."""
    scale = actor.height * size
    x = center(scene, actor, size, frame)
    place = np.array(
        [[actor.facing * scale, 0, x], [0, scale, actor.y * size], [0, 0, 1]]
    )
    poses = motion.limb_poses(actor.kind, actor.motion, *_cycle(actor, frame))
    maps = {limb: place @ pose for limb, pose in poses.items()}
    return [maps[p.limb] for p in primitives]


def _cycle(actor: Actor, frame: int) -> tuple[float, float]:
    """Return the phase of an actor's motion, and how far a wheel has rolled;
    radians."""
    phase = actor.phase + frame * motion.TEMPO[actor.motion]
    rolled = actor.speed * frame / (actor.height * motion.WHEEL)
    return phase, rolled


def _back_to_front(scene: Scene) -> list[int]:
    """Return the numbers of the actors; those lower in the picture are nearer, so they
    come last."""
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
    """Draw the picture at twice the size, so that half pixels of camera motion become
    whole ones."""
    n = backdrop.shape[0]
    start = round(2 * _camera(scene, n // 2, frame))
    if scene.pan < 0:
        start += backdrop.shape[1] - n
    canvas = backdrop[:, start : start + n].copy()
    for i in _back_to_front(scene):
        actor = scene.actors[i]
        _shadow(canvas, _shadow_of(scene, actor, n, frame) * n)
        maps = _placements(scene, actor, cast[i], n // 2, frame)
        _draw_actor(canvas, actor, cast[i], maps)
    return canvas


def _draw_actor(
    canvas: np.ndarray,
    actor: Actor,
    primitives: Sequence[draw.Primitive],
    maps: Sequence[np.ndarray],
) -> None:
    width = _ink_width(actor, canvas.shape[0])
    for part, matrix in zip(primitives, maps, strict=True):
        outline = draw.shade(part.color, 0.42) if part.ink else None
        points = 2 * draw.transformed(part.points, matrix)
        draw.paint(canvas, points, part.color, outline, width)


def _shadow_of(scene: Scene, actor: Actor, n: int, frame: int) -> np.ndarray:
    """Return the outline of an actor's shadow, in frame widths.

    It is the same for every kind, so that exchanging an actor does not change the
    ground beside it.
    """
    x = 2 * center(scene, actor, n // 2, frame) / n
    phase, _ = _cycle(actor, frame)
    wide = actor.height * (1 - 0.8 * motion.lift(actor.motion, phase))
    return draw.ellipse(x, actor.y, 0.46 * wide, 0.05 * wide)


def _backdrop(scene: Scene, size: int) -> np.ndarray:
    """uint8 [size, size or wider, 3]: everything the camera can see."""
    rng = np.random.default_rng([scene.seed, 77])
    return scenery.backdrop(scene.background, size, rng, 1 + _STRIP if scene.pan else 1)


def render_frames(
    scene: Scene, size: int, frames: tuple[int, ...] | None = None
) -> np.ndarray:
    """Draw frames alone: uint8 [frames, size, size, 3], at twice the size and averaged.

    Args:
        scene: The scene to draw.
        size: Side of the frames in pixels.
        frames: Numbers of the frames; None for all.
    """
    if frames is None:
        frames = tuple(range(scene.frames))
    cast = cast_of(scene)
    backdrop = _backdrop(scene, 2 * size)
    pictures = []
    for frame in frames:
        large = _draw_frame(scene, cast, backdrop, frame)
        picture = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)
        pictures.append(_finished(scene, picture))
    return np.stack(pictures)


def _finished(scene: Scene, picture: np.ndarray) -> np.ndarray:
    """Return a frame in the scene's style; its random numbers are the same for every
    frame."""
    if scene.style == "storybook":
        return picture
    rng = np.random.default_rng([scene.seed, 99])
    finish_seed = int(rng.integers(2**31))
    finish = scenery.FINISHES[scene.style]
    return finish(picture, np.random.default_rng(finish_seed))


def surface_ids(
    scene: Scene, cast: list[Sequence[draw.Primitive]], size: int, frame: int
) -> np.ndarray:
    """int32 [size, size]: 0 background, else 1 + running number of the frontmost
    primitive."""
    ids = np.zeros((size, size), np.int32)
    # primitives of the actors before each
    before = np.cumsum([0, *map(len, cast)]).tolist()
    for i in _back_to_front(scene):
        actor = scene.actors[i]
        width = _ink_width(actor, size)
        maps = _placements(scene, actor, cast[i], size, frame)
        parts = zip(cast[i], maps, strict=True)
        for number, (part, matrix) in enumerate(parts, before[i] + 1):
            points = draw.transformed(part.points, matrix)
            draw.paint_id(ids, points, number, part.ink, width)
    return ids


def owners(cast: list[Sequence[draw.Primitive]]) -> tuple[np.ndarray, np.ndarray]:
    """By surface id: 1 + number of the actor, and part; uint8 [primitives + 1] each, 0
    background."""
    pairs = [(0, 0)]
    for number, primitives in enumerate(cast, 1):
        pairs += [(number, primitive.part) for primitive in primitives]
    actor_of, part_of = np.array(pairs, np.uint8).T
    return actor_of, part_of


def _forward_flow(
    ids: np.ndarray, now: list[np.ndarray], then: list[np.ndarray]
) -> np.ndarray:
    """Return how far each visible surface point goes, float32 [2, h, w], (dx, dy).

    It goes by its primitive's next map after the inverse of the present one.
    """
    changes = [
        after @ np.linalg.inv(before) for before, after in zip(now, then, strict=True)
    ]
    maps = np.stack(changes)[ids]
    y, x = np.mgrid[: ids.shape[0], : ids.shape[1]].astype(np.float64)
    points = np.stack([x, y, np.ones_like(x)])
    moved = np.einsum("hwij,jhw->ihw", maps[..., :2, :], points)
    return (moved - np.stack([x, y])).astype(np.float32)


def _maps(
    scene: Scene, cast: list[Sequence[draw.Primitive]], size: int, frame: int
) -> list[np.ndarray]:
    """Return the map of the ground, then of every primitive."""
    ground = np.eye(3)
    ground[0, 2] = -_camera(scene, size, frame)
    maps = [ground]
    for actor, primitives in zip(scene.actors, cast, strict=True):
        maps += _placements(scene, actor, primitives, size, frame)
    return maps


def render(scene: Scene, size: int = 256) -> Rendered:
    """Draw a scene with its ground truth.

    Returns:
        frames: uint8 [frames, size, size, 3], RGB.
        labels: uint8 [frames, size, size], 0 background, i + 1 = actor i, the one in
            front wins.
        parts: uint8 [frames, size, size], index into `draw.PARTS` (0 background, head,
            body, legs, accessory).
        flow: float32 [frames - 1, 2, size, size], forward, pixels, (dx, dy): where the
            surface seen at a pixel of frame t is in t + 1.
        depth: float32 [frames, size, size], 0 near .. 1 far.
    """
    cast = cast_of(scene)
    numbers = range(scene.frames)
    ids = np.stack([surface_ids(scene, cast, size, frame) for frame in numbers])
    actor_of, part_of = owners(cast)
    labels = actor_of[ids]
    return Rendered(
        frames=render_frames(scene, size),
        labels=labels,
        parts=part_of[ids],
        flow=_flow(scene, cast, ids),
        depth=_depth(scene, labels),
    )


def _flow(
    scene: Scene, cast: list[Sequence[draw.Primitive]], ids: np.ndarray
) -> np.ndarray:
    """Return how far visible surface points go from each frame to the next; see
    `render`."""
    size = ids.shape[1]
    maps = [_maps(scene, cast, size, frame) for frame in range(scene.frames)]
    flow = np.zeros((scene.frames - 1, 2, size, size), np.float32)
    for frame in range(scene.frames - 1):
        flow[frame] = _forward_flow(ids[frame], maps[frame], maps[frame + 1])
    return flow


def _depth(scene: Scene, labels: np.ndarray) -> np.ndarray:
    """Depth of the ground, 1 above the horizon, and of each actor that of the ground it
    stands on."""
    size = labels.shape[1]
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    ground = np.where(y < 0.62, 1.0, 1.0 - (y - 0.62) / 0.38).repeat(size, 1)
    actors = [1.0 - (actor.y - 0.62) / 0.38 for actor in scene.actors]
    by_label = np.array([0.0, *actors], np.float32)
    return np.where(labels > 0, by_label[labels], ground).astype(np.float32)
