"""Training pictures for clicks: scenes of the drawn world, and textured shapes on
textured backgrounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from storybook import draw, rendering, world
from storybook.dataset import FIRST_TRAINING_SEED


class Picture(NamedTuple):
    """A picture and the object each pixel belongs to.

    Attributes:
        image: uint8 [size, size, 3], black beyond the frame.
        levels: uint8 [3, size, size]: number of the whole object, its part, and the
            part of that part; 0 is background. Numbers are unique within a level.
        frame: (width, height) of what is not padding.
    """

    image: np.ndarray
    levels: np.ndarray
    frame: tuple[int, int]


def training_picture(seed: int, index: int, size: int) -> Picture:
    """Draw the picture of a sample: 0.8 drawn world, 0.2 shapes; half of them mirrored,
    half altered."""
    rng = np.random.default_rng([seed, index])
    image, levels = drawn(rng, size) if rng.random() < 0.8 else shapes(rng, size)
    if rng.random() < 0.5:
        image = image[:, ::-1]
        levels = levels[:, :, ::-1]
    levels = np.ascontiguousarray(levels)
    if rng.random() < 0.5:
        return Picture(np.ascontiguousarray(image), levels, (size, size))
    return _framed(_relit(image, rng), levels, rng)


def drawn(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene as sampled, or with its actors moved, scaled and placed on a
    texture."""
    scene = _training_scene(rng)
    frame = int(rng.integers(scene.frames))
    moved = rng.random() < 0.35
    if moved:
        cast = tuple(_moved(rng, actor) for actor in scene.actors)
        scene = dataclasses.replace(scene, actors=cast)
    image = rendering.render_frames(scene, size, (frame,))[0]
    levels = scene_levels(scene, size, frame)
    if moved and rng.random() < 0.5:
        ground = texture(rng, size)
        on_actor = levels[0] > 0
        image = np.where(on_actor[..., None], image, ground)
    return image, levels


def _training_scene(rng: np.random.Generator) -> world.Scene:
    """Draw a scene that is not held out; one actor is rarer than two or three."""
    actors = int(rng.choice([1, 2, 2, 3, 3]))
    seed = FIRST_TRAINING_SEED + int(rng.integers(2**31))
    return world.sample_scene(seed, 8, actors)


def _moved(rng: np.random.Generator, actor: world.Actor) -> world.Actor:
    """Draw another place and size for an actor."""
    return dataclasses.replace(
        actor,
        x=float(rng.uniform(0.1, 0.9)),
        y=float(rng.uniform(0.5, 1.02)),
        height=float(np.exp(rng.uniform(np.log(0.2), np.log(0.85)))),
        speed=0.0,
    )


def scene_levels(scene: world.Scene, size: int, frame: int) -> np.ndarray:
    """Return actor, part and outlined shape of each pixel; see `Picture.levels`."""
    cast = rendering.cast_of(scene)
    ids = rendering.surface_ids(scene, cast, size, frame)
    levels = _level_numbers(cast)[ids]
    return np.ascontiguousarray(levels.transpose(2, 0, 1))


def _level_numbers(cast: list[Sequence[draw.Primitive]]) -> np.ndarray:
    """Return actor, part and outlined shape by surface id: uint8 [primitives + 1, 3]."""
    by_id = [(0, 0, 0)]
    shape = 0
    for actor, primitives in enumerate(cast, 1):
        for primitive in primitives:
            part = len(draw.PARTS) * actor + primitive.part
            *below, _ = by_id[-1]
            # A shape without an outline belongs to the one below it, within its part.
            if primitive.ink or below != [actor, part]:
                shape += 1
            by_id.append((actor, part, shape))
    return np.array(by_id, np.uint8)


def shapes(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one to four things, each of one to four blobs in related colours, some with
    a patch on them."""
    image = texture(rng, size)
    levels = np.zeros((3, size, size), np.uint8)
    things = int(rng.integers(1, 5))
    part = 0
    shape = 0
    for thing in range(1, things + 1):
        part, shape = _draw_thing(rng, image, levels, (thing, part, shape))
    return image, levels


def _draw_thing(
    rng: np.random.Generator,
    image: np.ndarray,
    levels: np.ndarray,
    ids: tuple[int, int, int],
) -> tuple[int, int]:
    """Draw one to four blobs in related colours.

    `ids` are the number of the thing and the last ones of parts and shapes so far;
    returns the latter two.
    """
    thing, part, shape = ids
    size = len(image)
    base = rng.uniform(20, 235, 3)
    center = rng.uniform(0.1, 0.9, 2)
    radius = np.exp(rng.uniform(np.log(0.06), np.log(0.28)))
    blobs = int(rng.integers(1, 5))
    for blob in range(blobs):
        part += 1
        shape += 1
        offset = rng.uniform(-0.9, 0.9, 2) * radius
        middle = center + offset * (blob > 0)
        own_radius = radius * rng.uniform(0.5, 1)
        outline = _blob(rng, middle, own_radius)
        paint = _texture_near(rng, size, base, 30)
        _fill(image, levels, outline * size, paint, (thing, part, shape))
        if rng.random() < 0.4:
            shape += 1
            share = rng.uniform(0.25, 0.5)
            patch = (outline - middle) * share + middle
            paint = _texture_near(rng, size, base, 60)
            _fill(image, levels, patch * size, paint, (thing, part, shape))
    return part, shape


def _texture_near(
    rng: np.random.Generator, size: int, color: np.ndarray, spread: float
) -> np.ndarray:
    """Draw a texture whose colour deviates from `color` by about `spread`."""
    near = np.clip(color + rng.normal(0, spread, 3), 0, 255)
    return texture(rng, size, near)


def texture(
    rng: np.random.Generator, size: int, color: np.ndarray | None = None
) -> np.ndarray:
    """Draw noise, stripes or a slope between two colours; around `color` if given."""
    if color is None:
        start, end = rng.uniform(0, 255, (2, 3))
    else:
        start, end = color + rng.normal(0, 25, (2, 3))
    field = _field(rng, size)
    deviation = rng.uniform(0, 8)
    noise = rng.normal(0, deviation, (size, size, 1))
    image = start + field[..., None] * (end - start) + noise
    return image.clip(0, 255).astype(np.uint8)


def _field(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw noise, stripes or a slope, float32 [size, size], 0 to 1."""
    kind = rng.random()
    if kind < 0.55:
        field = _octaves(rng, size)
    else:
        field = _slope(rng, size)
        if kind < 0.75:
            field = np.sin(field * rng.uniform(20, 120))
    reach = max(float(np.ptp(field)), 1e-6)
    return (field - field.min()) / reach


def _octaves(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw noise over six octaves, float32 [size, size]."""
    fall = rng.uniform(0.4, 1.0)
    field = np.zeros((size, size), np.float32)
    for octave in range(6):
        cells = 2 ** (octave + 1)
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        field += fall**octave * cv2.resize(coarse, (size, size))
    return field


def _slope(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a field that rises evenly in a random direction, float32 [size, size]."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    turn = rng.uniform(0, 2 * np.pi)
    return np.cos(turn) * x + np.sin(turn) * y


def _blob(rng: np.random.Generator, center: np.ndarray, radius: float) -> np.ndarray:
    """Draw the outline of an ellipse or of a wavy shape around `center`."""
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    reach = radius * np.exp(_waves(rng, turn))
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    points = circle * reach[:, None]
    flat = rng.uniform(0.4, 1)
    angle = rng.uniform(0, np.pi)
    c = np.cos(angle)
    s = np.sin(angle)
    turned = np.array([[c, s], [-s, c]])
    return points * (1, flat) @ turned + center


def _waves(rng: np.random.Generator, turn: np.ndarray) -> np.ndarray:
    """Draw how far a wavy outline deviates at each angle; half of the time not at
    all."""
    waves = np.zeros(len(turn))
    for k in range(1, 6):
        size = rng.normal(0, 0.25 / k)
        phase = rng.uniform(0, 6.3)
        waves += size * np.cos(k * turn + phase)
    waves *= rng.integers(0, 2)
    return waves


def _fill(
    image: np.ndarray,
    levels: np.ndarray,
    outline: np.ndarray,
    paint: np.ndarray,
    ids: tuple,
) -> None:
    """Paint a shape, and write its numbers into the three levels."""
    covered = np.zeros(image.shape[:2], np.uint8)
    draw.paint(covered, outline, (255, 255, 255))  # antialiased
    inside = covered > 127
    image[:] = np.where(inside[..., None], paint, image)
    for level, number in zip(levels, ids, strict=True):
        level[inside] = number


def _relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give a picture another exposure and white balance, and sometimes blur and
    noise."""
    balance = rng.normal(1, 0.1, 3)
    exposure = rng.uniform(0.75, 1.25)
    values = image.astype(np.float32) * balance * exposure + rng.normal(0, 10)
    if rng.random() < 0.3:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < 0.4:
        values += rng.normal(0, rng.uniform(1, 10), values.shape)
    return values.clip(0, 255).astype(np.uint8)


def _framed(image: np.ndarray, levels: np.ndarray, rng: np.random.Generator) -> Picture:
    """Cut a third of the pictures to another aspect; the rest of the square is
    padding."""
    size = len(image)
    width, height = _frame_size(size, rng)
    top = size - height
    left = size - width
    framed = np.zeros_like(image)
    framed[:height, :width] = image[top:, left:]
    numbers = np.zeros_like(levels)
    numbers[:, :height, :width] = levels[:, top:, left:]
    return Picture(framed, numbers, (width, height))


def _frame_size(size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the width and height of a frame; most are square."""
    if rng.random() >= 0.35:
        return size, size
    short = int(size * rng.uniform(0.5, 0.95))
    is_wide = rng.random() < 0.7
    return (size, short) if is_wide else (short, size)
