"""Training pictures for clicks: scenes of the drawn world, and textured shapes on textured backgrounds."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np

from storybook import draw, world
from storybook.dataset import FIRST_TRAINING_SEED


class Picture(NamedTuple):
    """A picture and the object each pixel belongs to.

    Attributes:
        image: uint8 [size, size, 3], black beyond the frame.
        levels: uint8 [3, size, size]: number of the whole object, its part, and the part of that part; 0 is
            background. Numbers are unique within a level.
        frame: (width, height) of what is not padding.
    """

    image: np.ndarray
    levels: np.ndarray
    frame: tuple[int, int]


def training_picture(seed: int, index: int, size: int) -> Picture:
    """The picture of one training sample: 0.8 drawn world (half of it unchanged), 0.2 shapes."""
    rng = np.random.default_rng([seed, index])
    image, levels = drawn(rng, size) if rng.random() < 0.8 else shapes(rng, size)
    if rng.random() < 0.5:
        image, levels = image[:, ::-1], levels[:, :, ::-1]
    if rng.random() < 0.5:
        return Picture(np.ascontiguousarray(image), np.ascontiguousarray(levels), (size, size))
    return _framed(_relit(image, rng), np.ascontiguousarray(levels), rng)


def drawn(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene as sampled, or with its actors moved, scaled and placed on a texture."""
    actors = int(rng.choice([1, 2, 2, 3, 3]))
    scene = world.sample_scene(FIRST_TRAINING_SEED + int(rng.integers(2**31)), 8, actors)
    frame = int(rng.integers(scene.frames))
    if moved := rng.random() < 0.35:
        cast = [
            dataclasses.replace(
                actor,
                x=float(rng.uniform(0.1, 0.9)),
                y=float(rng.uniform(0.5, 1.02)),
                height=float(np.exp(rng.uniform(np.log(0.2), np.log(0.85)))),
                speed=0.0,
            )
            for actor in scene.actors
        ]
        scene = dataclasses.replace(scene, actors=tuple(cast))
    image, levels = world.render_frames(scene, size, (frame,))[0], scene_levels(scene, size, frame)
    if moved and rng.random() < 0.5:
        image = np.where(levels[0][..., None] > 0, image, texture(rng, size))
    return image, levels


def scene_levels(scene: world.Scene, size: int, frame: int) -> np.ndarray:
    """Actor, part and outlined shape of each pixel; see `Picture.levels`."""
    cast = world.cast_of(scene)
    ids = world.surface_ids(scene, cast, size, frame)
    table, shape = [(0, 0, 0)], 0
    for number, primitives in enumerate(cast, 1):
        for primitive in primitives:
            # A shape without an outline belongs to the one below it, within its part.
            shape += primitive.ink or table[-1][:2] != (
                number,
                len(draw.PARTS) * number + primitive.part,
            )
            table.append((number, len(draw.PARTS) * number + primitive.part, shape))
    return np.ascontiguousarray(np.array(table, np.uint8)[ids].transpose(2, 0, 1))


def shapes(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One to four things, each of one to four blobs in related colours, some blobs with a patch on them."""
    image, levels = texture(rng, size), np.zeros((3, size, size), np.uint8)
    part = shape = 0
    for thing in range(1, int(rng.integers(2, 6))):
        base, center = rng.uniform(20, 235, 3), rng.uniform(0.1, 0.9, 2)
        radius = np.exp(rng.uniform(np.log(0.06), np.log(0.28)))
        for blob in range(int(rng.integers(1, 5))):
            at = center + rng.uniform(-0.9, 0.9, 2) * radius * (blob > 0)
            outline = _blob(rng, at, radius * rng.uniform(0.5, 1))
            part, shape = part + 1, shape + 1
            color = np.clip(base + rng.normal(0, 30, 3), 0, 255)
            _fill(image, levels, outline * size, texture(rng, size, color), (thing, part, shape))
            if rng.random() < 0.4:
                shape += 1
                small = (outline - at) * rng.uniform(0.25, 0.5) + at
                color = np.clip(base + rng.normal(0, 60, 3), 0, 255)
                _fill(image, levels, small * size, texture(rng, size, color), (thing, part, shape))
    return image, levels


def texture(rng: np.random.Generator, size: int, color: np.ndarray | None = None) -> np.ndarray:
    """Noise over several octaves, stripes or a slope between two colours; around `color` if given."""
    two = rng.uniform(0, 255, (2, 3)) if color is None else color + rng.normal(0, 25, (2, 3))
    kind = rng.random()
    if kind < 0.55:
        cells = [int(n) for n in 2 ** np.arange(1, 7)]
        fall = rng.uniform(0.4, 1.0)
        field = np.zeros((size, size), np.float32)
        for i, n in enumerate(cells):
            field += fall**i * cv2.resize(
                rng.standard_normal((n, n)).astype(np.float32), (size, size)
            )
    else:
        y, x = np.mgrid[:size, :size].astype(np.float32) / size
        turn = rng.uniform(0, 2 * np.pi)
        field = np.cos(turn) * x + np.sin(turn) * y
        if kind < 0.75:
            field = np.sin(field * rng.uniform(20, 120))
    field = (field - field.min()) / max(float(np.ptp(field)), 1e-6)
    image = (
        two[0]
        + field[..., None] * (two[1] - two[0])
        + rng.normal(0, rng.uniform(0, 8), (size, size, 1))
    )
    return image.clip(0, 255).astype(np.uint8)


def _blob(rng: np.random.Generator, center: np.ndarray, radius: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    waves = sum(
        rng.normal(0, 0.25 / k) * np.cos(k * turn + rng.uniform(0, 6.3)) for k in range(1, 6)
    ) * rng.integers(0, 2)
    points = np.stack([np.cos(turn), np.sin(turn)], 1) * (radius * np.exp(waves))[:, None]
    spread, angle = rng.uniform(0.4, 1), rng.uniform(0, np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return points * (1, spread) @ np.array([[c, s], [-s, c]]) + center


def _fill(
    image: np.ndarray, levels: np.ndarray, outline: np.ndarray, paint: np.ndarray, ids: tuple
) -> None:
    inside = np.zeros(image.shape[:2], np.uint8)
    draw.paint(inside, outline, (255, 255, 255))  # antialiased
    image[:] = np.where(inside[..., None] > 127, paint, image)
    for level, number in zip(levels, ids, strict=True):
        level[inside > 127] = number


def _relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure and white balance, sometimes blur and noise."""
    values = image.astype(np.float32) * rng.normal(1, 0.1, 3) * rng.uniform(
        0.75, 1.25
    ) + rng.normal(0, 10)
    if rng.random() < 0.3:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < 0.4:
        values += rng.normal(0, rng.uniform(1, 10), values.shape)
    return values.clip(0, 255).astype(np.uint8)


def _framed(image: np.ndarray, levels: np.ndarray, rng: np.random.Generator) -> Picture:
    """Cut a third of the pictures to another aspect; the rest of the square is padding."""
    size = len(image)
    width, height = size, size
    if rng.random() < 0.35:
        short = int(size * rng.uniform(0.5, 0.95))
        width, height = (size, short) if rng.random() < 0.7 else (short, size)
    start = (size - height, size - width)
    cut = (slice(start[0], None), slice(start[1], None))
    framed, numbers = np.zeros_like(image), np.zeros_like(levels)
    framed[:height, :width], numbers[:, :height, :width] = image[cut], levels[(slice(None), *cut)]
    return Picture(framed, numbers, (width, height))
