"""What the actors of the drawn world wear, and how they look with it."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import NamedTuple

from storybook.characters import (
    BUILDERS,
    NATURAL,
    PAINTS,
    UPRIGHT,
    Shapes,
    flat,
    shape_of,
    solid,
)
from storybook.draw import (
    ACCESSORY,
    BODY,
    CREAM,
    HEAD,
    LEGS,
    WHITE,
    Color,
    Primitive,
    blob,
    box,
    capsule,
    path,
    tube,
)


class _Fit(NamedTuple):
    """Where accessories go: middle of the eyes, top of the head, neck, back; half the
    head's width."""

    eyes: tuple[float, float]
    top: tuple[float, float]
    neck: tuple[float, float]
    back: tuple[float, float]
    half: float


_BEAST = _Fit((0.25, -0.66), (0.25, -0.86), (0.14, -0.42), (-0.17, -0.5), 0.27)
_FITS = {
    "dog": _Fit((0.29, -0.76), (0.22, -0.89), (0.17, -0.36), (-0.26, -0.54), 0.24),
    "panda": _BEAST._replace(
        eyes=(0.24, -0.66), top=(0.24, -0.9), half=0.28, back=(-0.19, -0.58)
    ),
    "rabbit": _BEAST._replace(top=(0.25, -0.85), back=(-0.22, -0.54)),
    "pig": _BEAST._replace(eyes=(0.26, -0.69), top=(0.25, -0.87), back=(-0.19, -0.56)),
    "robot": _Fit((0.0, -0.8), (0.0, -0.975), (0.0, -0.55), (0.0, -0.42), 0.3),
    "fairy": _Fit((0.015, -0.73), (0.0, -0.95), (0.0, -0.52), (0.0, -0.42), 0.27),
    "astronaut": _Fit((0.02, -0.745), (0.0, -0.99), (0.0, -0.51), (0.0, -0.42), 0.29),
    "car": _Fit((0.1, -0.55), (-0.06, -0.72), (0.36, -0.36), (-0.3, -0.66), 0.27),
}
CLOTH = (244, 156, 30)
FLAP = (206, 88, 24)


def _hat(fit: _Fit, limb: str) -> tuple[Shapes, Shapes]:
    """Return the shapes behind the ears, and those in front of them."""
    x, y = fit.top
    w = fit.half
    felt: Color = (50, 56, 124)
    ribbon: Color = (255, 196, 44)
    upright = blob("-0.7,0 -0.74,-0.33 0,-0.35 0.74,-0.33 0.7,0 0,0.02")
    crown = upright * (w, 1) + fit.top
    half_band = w * 0.72
    band = box(x - half_band, y - 0.13, x + half_band, y - 0.02, 0.01)
    half_brim = w * 1.15
    brim_y = y + 0.015
    brim = capsule(x - half_brim, brim_y, x + half_brim, brim_y, 0.05)
    behind = [
        *solid(crown, felt, ACCESSORY, limb),
        flat(band, ribbon, ACCESSORY, limb),
    ]
    in_front = solid(brim, felt, ACCESSORY, limb)
    return behind, in_front


def _sunglasses(fit: _Fit, limb: str) -> Shapes:
    x, y = fit.eyes
    w = fit.half
    bridge_y = y - 0.05
    bridge = capsule(x - w * 1.05, bridge_y, x + w * 1.05, bridge_y, 0.026)
    return [
        shape_of(bridge, WHITE, ACCESSORY, limb),
        *_dark_lens(x - w * 0.5, y, w, limb),
        *_dark_lens(x + w * 0.5, y, w, limb),
    ]


def _dark_lens(x: float, y: float, w: float, limb: str) -> Shapes:
    """A lens of sunglasses around (x, y) in its frame; `w` is half the head's width."""
    frame = box(x - w * 0.47, y - 0.1, x + w * 0.47, y + 0.115, 0.07)
    lens = box(x - w * 0.36, y - 0.07, x + w * 0.36, y + 0.088, 0.05)
    gleam = capsule(x - 0.055, y + 0.02, x - 0.005, y - 0.035, 0.016)
    return [
        shape_of(frame, WHITE, ACCESSORY, limb),
        flat(lens, (24, 24, 34), ACCESSORY, limb),
        flat(gleam, (150, 176, 214), ACCESSORY, limb),
    ]


def _scarf(fit: _Fit) -> Shapes:
    x, y = fit.neck
    wool: Color = (16, 172, 164)
    tail = blob("0.02,0 0.16,-0.01 0.2,0.27 0.06,0.29") + fit.neck
    tail_stripe = path("0.047,0.15 0.178,0.13 0.187,0.19 0.054,0.21") + fit.neck
    collar = tube("-0.235,-0.05 -0.04,0.01 0.235,-0.03", 0.075, 0.09, 0.075) + fit.neck
    shapes = [
        *solid(tail, wool, ACCESSORY),
        flat(tail_stripe, CREAM, ACCESSORY),
        *solid(collar, wool, ACCESSORY),
    ]
    for across in (-0.14, 0.02, 0.17):
        upper = (x + across, y - 0.07)
        lower = (x + across * 1.15, y + 0.06)
        stripe = capsule(*upper, *lower, 0.026)
        shapes.append(flat(stripe, CREAM, ACCESSORY))
    return shapes


def _backpack(fit: _Fit) -> Shapes:
    """A backpack seen from the side."""
    x, y = fit.back
    sack = (
        blob("-0.2,0.04 -0.21,-0.22 -0.1,-0.33 0.1,-0.33 0.2,-0.22 0.19,0.04 0,0.07")
        + fit.back
    )
    flap = blob("-0.205,-0.16 -0.12,-0.34 0.12,-0.34 0.205,-0.16 0,-0.1") + fit.back
    pocket = box(x - 0.12, y - 0.09, x + 0.12, y + 0.04, 0.03)
    buckle = box(x - 0.035, y - 0.15, x + 0.035, y - 0.06, 0.01)
    return [
        *solid(sack, CLOTH, ACCESSORY),
        *solid(flap, FLAP, ACCESSORY),
        shape_of(pocket, CREAM, ACCESSORY),
        shape_of(buckle, CREAM, ACCESSORY),
    ]


def _carried() -> tuple[Shapes, Shapes]:
    """A backpack seen from the front: the sack behind the figure, the straps over its
    shoulders."""
    sack = blob(
        "-0.4,-0.17 -0.46,-0.42 -0.4,-0.66 0,-0.7 0.4,-0.66 0.46,-0.42 0.4,-0.17 0,-0.14"
    )
    strap = tube("0.14,-0.58 0.18,-0.46 0.17,-0.28", 0.046)
    left = strap * (-1, 1)
    right = strap * (1, 1)
    straps = [shape_of(left, FLAP, ACCESSORY), shape_of(right, FLAP, ACCESSORY)]
    return solid(sack, CLOTH, ACCESSORY), straps


def _wear(kind: str, body: Shapes, accessory: str) -> Shapes:
    """Insert an accessory between the shapes of a body, where it is worn."""
    fit = _FITS.get(kind, _BEAST)
    limb = "trunk" if kind == "car" else "head"
    is_beast = kind != "car" and kind not in UPRIGHT
    if accessory == "sunglasses":
        return [*body, *_sunglasses(fit, limb)]
    if accessory == "hat":
        crown, brim = _hat(fit, limb)
        # A dog's ears hang in front of its head, so its hat covers all of them.
        ears = len(body)
        if is_beast and kind != "dog":
            ears = _first_of_head(body)
        return [*_inserted(body, ears, crown), *brim]
    # The head of a beast hides its neck.
    face = _face(body) if is_beast else len(body)
    if accessory == "scarf":
        scarf = _scarf(fit)
        return _inserted(body, face, scarf)
    if kind in UPRIGHT:
        sack, straps = _carried()
        shoulders = _end_of_trunk(body)
        return [*sack, *_inserted(body, shoulders, straps)]
    pack = _backpack(fit)
    if kind == "car":
        return [*pack, *body]
    return _inserted(body, face, pack)


def _inserted(body: Shapes, index: int, shapes: Shapes) -> Shapes:
    return [*body[:index], *shapes, *body[index:]]


def _first_of_head(body: Shapes, start: int = 0) -> int:
    """Return the index of the first shape of the head from `start` on; at first, these
    are the ears."""
    return next(i for i in range(start, len(body)) if body[i].part == HEAD)


def _face(body: Shapes) -> int:
    """Return the index of the first shape of the head in front of the legs."""
    legs = max(i for i, shape in enumerate(body) if shape.part == LEGS)
    return _first_of_head(body, legs + 1)


def _end_of_trunk(body: Shapes) -> int:
    """Return the index after the last shape of the trunk."""
    trunk = [
        i for i, shape in enumerate(body) if (shape.part, shape.limb) == (BODY, "trunk")
    ]
    return trunk[-1] + 1


@lru_cache(maxsize=2048)
def character(
    kind: str, color: str | None, accessory: str | None, facing: int
) -> tuple[Primitive, ...]:
    """All primitives of an actor, back to front; the light stays on the left when the
    actor faces left."""
    shapes = BUILDERS[kind](_paint_of(kind, color))
    if accessory:
        shapes = _wear(kind, shapes, accessory)
    if facing < 0:
        shapes = [_lit_from_behind(shape) if shape.lean else shape for shape in shapes]
    return tuple(shapes)


def _paint_of(kind: str, color: str | None) -> Color:
    if not color:
        return NATURAL[kind]
    if color.startswith("#"):
        red, green, blue = bytes.fromhex(color[1:])
        return (red, green, blue)
    return PAINTS[color]


def _lit_from_behind(patch: Primitive) -> Primitive:
    """Move a lighter patch to the other side of its shape, for an actor that is
    mirrored."""
    return dataclasses.replace(patch, points=patch.points + (2 * patch.lean, 0))
