"""The world as the shipped model knows it: its drawings, words and scenes. This file goes when `world.WORLD`
becomes 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from storybook.draw import (
    ACCESSORY,
    BODY,
    CREAM,
    HEAD,
    INK,
    LEGS,
    ROSE,
    SOOT,
    WHITE,
    Color,
    Primitive,
    box,
    capsule,
    ellipse,
    paint,
    poly,
    rotation,
    shade,
)

PAINTS: dict[str, Color] = {
    "red": (214, 52, 48),
    "blue": (58, 104, 216),
    "green": (66, 158, 78),
    "yellow": (242, 200, 54),
    "purple": (140, 78, 190),
    "white": (240, 240, 236),
    "black": (58, 58, 66),
}
NATURAL: dict[str, Color] = {
    "cat": (142, 142, 150),
    "dog": (190, 136, 84),
    "fox": (236, 124, 40),
    "panda": (242, 242, 238),
    "rabbit": (214, 188, 158),
    "pig": (244, 160, 172),
    "robot": (136, 158, 178),
    "car": (206, 44, 52),
}


# --- characters ---------------------------------------------------------------------------------------------


def _soft(
    points: np.ndarray, color: Color, part: int, limb: str = "trunk", light: float = 1.22
) -> list[Primitive]:
    """A filled shape with a lighter patch towards the light (above, left)."""
    center = points.mean(0)
    span = np.ptp(points, axis=0)
    patch = (points - center) * (0.70, 0.60) + center + span * (-0.03, -0.13)
    return [
        Primitive(points, color, part, limb),
        Primitive(patch, shade(color, light), part, limb, ink=False),
    ]


def _eyes(y: float, dx: float = 0.095, r: float = 0.052, x: float = 0.25) -> list[Primitive]:
    eyes = []
    for side in (-1, 1):
        cx = x + side * dx
        eyes.append(Primitive(ellipse(cx, y, r, r * 1.2), WHITE, HEAD, "head"))
        eyes.append(
            Primitive(ellipse(cx + 0.012, y + 0.006, r * 0.62, r * 0.8), INK, HEAD, "head", ink=False)
        )
        eyes.append(Primitive(ellipse(cx - 0.004, y - 0.02, r * 0.26), WHITE, HEAD, "head", ink=False))
    return eyes


def _legs(color: Color, foot: Color, width: float = 0.062) -> tuple[list[Primitive], list[Primitive]]:
    """Far pair (drawn behind the body, darker) and near pair."""
    pairs = []
    for shift, tone, names in ((0.11, 0.8, ("leg0", "leg1")), (0.0, 1.0, ("leg2", "leg3"))):
        pair = []
        for x, name in zip((-0.33 + shift, 0.05 + shift), names, strict=True):
            pair.append(Primitive(capsule(x, -0.26, x, -0.055, width), shade(color, tone), LEGS, name))
            pair.append(
                Primitive(ellipse(x + 0.015, -0.04, width * 1.1, 0.042), shade(foot, tone), LEGS, name)
            )
        pairs.append(pair)
    return pairs[0], pairs[1]


def _beast(
    main: Color,
    *,
    legs: Color | None = None,
    foot: Color | None = None,
    tail: list[Primitive],
    ears: list[Primitive],
    face: list[Primitive],
    coat: list[Primitive] = [],  # noqa: B006 (never mutated)
    front_ears: list[Primitive] = [],  # noqa: B006
    eye_y: float = -0.66,
) -> list[Primitive]:
    """A four-legged animal seen from the side, its face turned to us."""
    leg = legs or main
    far, near = _legs(leg, foot or leg)
    body = _soft(ellipse(-0.12, -0.36, 0.35, 0.205), main, BODY)
    head = _soft(ellipse(0.25, -0.62, 0.265, 0.235), main, HEAD, "head")
    return [*tail, *far, *body, *coat, *near, *ears, *head, *face, *_eyes(eye_y), *front_ears]


def _muzzle(color: Color, nose: Color, ry: float = 0.085) -> list[Primitive]:
    return [
        Primitive(ellipse(0.26, -0.535, 0.135, ry), color, HEAD, "head", ink=False),
        Primitive(ellipse(0.265, -0.575, 0.042, 0.03), nose, HEAD, "head", ink=False),
        Primitive(capsule(0.265, -0.55, 0.265, -0.5, 0.009), INK, HEAD, "head", ink=False),
        Primitive(capsule(0.215, -0.515, 0.265, -0.495, 0.009), INK, HEAD, "head", ink=False),
        Primitive(capsule(0.265, -0.495, 0.315, -0.515, 0.009), INK, HEAD, "head", ink=False),
    ]


def _pointed_ears(color: Color, inner: Color, top: float, tip: Color | None = None) -> list[Primitive]:
    ears = []
    for side in (-1, 1):
        x = 0.25 + side * 0.155
        ears.append(
            Primitive(poly((x - 0.1, -0.74), (x + side * 0.06, top), (x + 0.1, -0.74)), color, HEAD, "head")
        )
        ears.append(
            Primitive(
                poly((x - 0.05, -0.77), (x + side * 0.045, top + 0.07), (x + 0.05, -0.77)),
                inner,
                HEAD,
                "head",
                False,
            )
        )
        if tip:
            q = 0.35
            ears.append(
                Primitive(
                    poly(
                        (x + side * 0.06 - 0.1 * q - side * 0.06 * q, top + (-0.74 - top) * q),
                        (x + side * 0.06, top),
                        (x + side * 0.06 + 0.1 * q - side * 0.06 * q, top + (-0.74 - top) * q),
                    ),
                    tip,
                    HEAD,
                    "head",
                    False,
                )
            )
    return ears


def _cat(main: Color) -> list[Primitive]:
    dark = shade(main, 0.68)
    tail = [
        Primitive(capsule(-0.42, -0.42, -0.56, -0.62, 0.045), main, BODY, "tail"),
        Primitive(capsule(-0.56, -0.62, -0.52, -0.82, 0.045, 0.04), main, BODY, "tail"),
        Primitive(capsule(-0.53, -0.78, -0.52, -0.82, 0.045, 0.04), dark, BODY, "tail", False),
    ]
    stripes = [
        Primitive(capsule(x, -0.54, x + 0.02, -0.44, 0.022, 0.008), dark, BODY, ink=False)
        for x in (-0.3, -0.2, -0.1)
    ]
    whiskers = [
        Primitive(
            capsule(0.26 + s * 0.12, y, 0.26 + s * 0.3, y + d, 0.007), shade(main, 0.5), HEAD, "head", False
        )
        for s in (-1, 1)
        for y, d in ((-0.55, -0.03), (-0.52, 0.02))
    ]
    brow = [
        Primitive(capsule(x, -0.83, x, -0.77, 0.014, 0.006), dark, HEAD, "head", False)
        for x in (0.2, 0.25, 0.3)
    ]
    return _beast(
        main,
        foot=WHITE,
        tail=tail,
        ears=_pointed_ears(main, ROSE, -1.0),
        coat=stripes,
        face=[*_muzzle(shade(main, 1.6), ROSE), *whiskers, *brow],
    )


def _dog(main: Color) -> list[Primitive]:
    dark = shade(main, 0.58)
    tail = [Primitive(capsule(-0.43, -0.44, -0.58, -0.62, 0.05, 0.03), main, BODY, "tail")]
    spot = [Primitive(ellipse(-0.2, -0.44, 0.13, 0.09, 10), dark, BODY, ink=False)]
    tongue = [Primitive(capsule(0.275, -0.485, 0.275, -0.44, 0.034), (236, 96, 110), HEAD, "head")]
    patch = [Primitive(ellipse(0.345, -0.67, 0.088, 0.1), dark, HEAD, "head", False)]
    ears = [
        Primitive(ellipse(0.25 + s * 0.26, -0.6, 0.085, 0.19, -s * 14), dark, HEAD, "head") for s in (-1, 1)
    ]
    face = [*patch, *tongue, *_muzzle(shade(main, 1.62), INK)]
    return _beast(main, foot=shade(main, 1.5), tail=tail, ears=[], face=face, coat=spot, front_ears=ears)


def _fox(main: Color) -> list[Primitive]:
    tail = [
        Primitive(ellipse(-0.6, -0.42, 0.23, 0.125, 24), main, BODY, "tail"),
        Primitive(ellipse(-0.74, -0.485, 0.105, 0.085, 24), WHITE, BODY, "tail", False),
    ]
    cheeks = [
        Primitive(ellipse(0.25 + s * 0.14, -0.53, 0.125, 0.085, s * -24), WHITE, HEAD, "head", False)
        for s in (-1, 1)
    ]
    chest = [Primitive(ellipse(0.1, -0.33, 0.1, 0.13, 18), WHITE, BODY, ink=False)]
    return _beast(
        main,
        legs=shade(main, 0.86),
        foot=SOOT,
        tail=tail,
        coat=chest,
        ears=_pointed_ears(main, CREAM, -1.08, tip=SOOT),
        face=[*cheeks, *_muzzle(WHITE, INK, 0.075)],
    )


def _panda(main: Color) -> list[Primitive]:
    tail = [Primitive(ellipse(-0.46, -0.38, 0.055), SOOT, BODY, "tail")]
    ears = [Primitive(ellipse(0.25 + s * 0.2, -0.81, 0.088), SOOT, HEAD, "head") for s in (-1, 1)]
    band = [Primitive(ellipse(0.08, -0.36, 0.115, 0.185), SOOT, BODY, ink=False)]
    patches = [
        Primitive(ellipse(0.25 + s * 0.105, -0.645, 0.08, 0.1, s * 28), SOOT, HEAD, "head", False)
        for s in (-1, 1)
    ]
    return _beast(
        main,
        legs=SOOT,
        foot=SOOT,
        tail=tail,
        ears=ears,
        coat=band,
        face=[*patches, *_muzzle(shade(main, 1.5), INK, 0.07)],
    )


def _rabbit(main: Color) -> list[Primitive]:
    tail = [Primitive(ellipse(-0.48, -0.4, 0.088), WHITE, BODY, "tail")]
    ears = []
    for s in (-1, 1):
        ears.append(Primitive(ellipse(0.25 + s * 0.105, -0.99, 0.066, 0.23, s * 9), main, HEAD, "head"))
        ears.append(
            Primitive(ellipse(0.25 + s * 0.105, -0.98, 0.034, 0.17, s * 9), ROSE, HEAD, "head", False)
        )
    teeth = [Primitive(box(0.235, -0.505, 0.295, -0.445, 0.012), WHITE, HEAD, "head")]
    belly = [Primitive(ellipse(-0.12, -0.27, 0.24, 0.1), shade(main, 1.5), BODY, ink=False)]
    return _beast(
        main,
        foot=shade(main, 1.5),
        tail=tail,
        ears=ears,
        coat=belly,
        face=[*teeth, *_muzzle(shade(main, 1.7), ROSE, 0.07)],
    )


def _pig(main: Color) -> list[Primitive]:
    dark = shade(main, 0.78)
    a = np.linspace(0, 2.4 * np.pi, 12)
    curl = np.stack([-0.5 - 0.012 * a, -0.44 + 0.05 * np.sin(a)], 1)
    tail = [Primitive(capsule(*curl[i], *curl[i + 1], 0.02), dark, BODY, "tail", False) for i in range(11)]
    ears = [
        Primitive(poly((x - s * 0.09, -0.8), (x + s * 0.1, -0.95), (x + s * 0.12, -0.72)), dark, HEAD, "head")
        for s, x in ((-1, 0.11), (1, 0.39))
    ]
    snout = [Primitive(ellipse(0.265, -0.545, 0.115, 0.08), shade(main, 0.88), HEAD, "head")]
    snout += [
        Primitive(ellipse(0.265 + s * 0.042, -0.545, 0.019, 0.031), shade(main, 0.45), HEAD, "head", False)
        for s in (-1, 1)
    ]
    cheeks = [
        Primitive(ellipse(0.25 + s * 0.185, -0.56, 0.045, 0.032), shade(main, 0.9), HEAD, "head", False)
        for s in (-1, 1)
    ]
    return _beast(
        main, foot=shade(main, 0.55), tail=tail, ears=[], face=[*cheeks, *snout], front_ears=ears, eye_y=-0.69
    )


def _robot(main: Color) -> list[Primitive]:
    steel, glow = shade(main, 0.6), (92, 232, 240)
    parts = []
    for name, x in (("leg1", -0.13), ("leg2", 0.13)):
        parts.append(Primitive(box(x - 0.055, -0.28, x + 0.055, -0.06, 0.02), steel, LEGS, name))
        parts.append(Primitive(box(x - 0.09, -0.09, x + 0.1, 0.0, 0.035), shade(steel, 0.8), LEGS, name))
    parts += [
        Primitive(capsule(-0.3, -0.5, -0.34, -0.3, 0.05), steel, BODY, "leg2"),
        Primitive(ellipse(-0.345, -0.27, 0.062), main, BODY, "leg2"),
    ]
    parts += [
        Primitive(capsule(0.3, -0.5, 0.34, -0.3, 0.05), steel, BODY, "leg1"),
        Primitive(ellipse(0.345, -0.27, 0.062), main, BODY, "leg1"),
    ]
    parts += _soft(box(-0.27, -0.58, 0.27, -0.2, 0.06), main, BODY)
    parts += [
        Primitive(ellipse(0, -0.39, 0.1), INK, BODY),
        Primitive(ellipse(0, -0.39, 0.072), glow, BODY, ink=False),
        Primitive(capsule(0, -0.94, 0, -1.03, 0.016), steel, HEAD, "head"),
        Primitive(ellipse(0, -1.05, 0.05), (236, 70, 64), HEAD, "head"),
    ]
    parts += [
        Primitive(box(s * 0.29 - 0.04, -0.82, s * 0.29 + 0.04, -0.68, 0.02), steel, HEAD, "head")
        for s in (-1, 1)
    ]
    parts += _soft(box(-0.28, -0.95, 0.28, -0.59, 0.07), main, HEAD, "head")
    parts += [Primitive(box(-0.22, -0.87, 0.22, -0.7, 0.05), SOOT, HEAD, "head")]
    for s in (-1, 1):
        parts.append(Primitive(ellipse(s * 0.105, -0.785, 0.062), glow, HEAD, "head", False))
        parts.append(Primitive(ellipse(s * 0.105 - 0.015, -0.8, 0.022), WHITE, HEAD, "head", False))
    parts += [Primitive(box(-0.13, -0.675, 0.13, -0.625, 0.02), shade(steel, 0.7), HEAD, "head", False)]
    parts += [
        Primitive(box(x, -0.67, x + 0.03, -0.63, 0.005), WHITE, HEAD, "head", False)
        for x in (-0.09, -0.015, 0.06)
    ]
    return parts


def _car(main: Color) -> list[Primitive]:
    glass = (186, 226, 244)
    cabin = poly((-0.4, -0.42), (-0.27, -0.72), (0.14, -0.72), (0.34, -0.42))
    parts = _soft(cabin, main, HEAD)
    parts += [
        Primitive(poly((-0.3, -0.44), (-0.22, -0.66), (-0.06, -0.66), (-0.06, -0.44)), glass, HEAD),
        Primitive(poly((0.0, -0.44), (0.0, -0.66), (0.11, -0.66), (0.25, -0.44)), glass, HEAD),
        Primitive(poly((-0.24, -0.5), (-0.19, -0.62), (-0.15, -0.62), (-0.2, -0.5)), WHITE, HEAD, ink=False),
    ]
    parts += _soft(box(-0.62, -0.45, 0.64, -0.13, 0.1), main, BODY)
    parts += [
        Primitive(box(-0.58, -0.2, 0.6, -0.14, 0.02), shade(main, 0.6), BODY, ink=False),
        Primitive(ellipse(0.57, -0.33, 0.055, 0.065), (255, 240, 150), BODY),
        Primitive(box(-0.62, -0.37, -0.56, -0.27, 0.02), (250, 120, 60), BODY),
        Primitive(capsule(-0.12, -0.37, -0.04, -0.37, 0.014), INK, BODY, ink=False),
        Primitive(capsule(-0.03, -0.42, -0.03, -0.2, 0.006), shade(main, 0.55), BODY, ink=False),
    ]
    for name, x in (("wheel0", -0.36), ("wheel1", 0.36)):
        parts.append(Primitive(ellipse(x, -0.135, 0.15), (42, 42, 50), LEGS, name))
        parts.append(Primitive(ellipse(x, -0.135, 0.082), (200, 204, 212), LEGS, name, False))
        parts += [
            Primitive(
                capsule(x - 0.07 * c, -0.135 - 0.07 * s, x + 0.07 * c, -0.135 + 0.07 * s, 0.012),
                (110, 114, 124),
                LEGS,
                name,
                False,
            )
            for c, s in ((1, 0), (0, 1))
        ]
    return parts


BUILDERS: dict[str, Callable[[Color], list[Primitive]]] = {
    "cat": _cat,
    "dog": _dog,
    "fox": _fox,
    "panda": _panda,
    "rabbit": _rabbit,
    "pig": _pig,
    "robot": _robot,
    "car": _car,
}

# Where an accessory sits: centre of the eyes, top of the head, neck, half width of the head.
_ANCHORS = {
    "robot": ((0.0, -0.785), (0.0, -0.95), (0.0, -0.58), 0.28),
    "car": ((0.1, -0.55), (-0.06, -0.72), (0.3, -0.4), 0.25),
}
_ANCHORS["pig"] = ((0.25, -0.69), (0.25, -0.84), (0.14, -0.42), 0.25)
_BEAST_ANCHOR = ((0.25, -0.66), (0.25, -0.83), (0.14, -0.42), 0.25)


def _accessory(kind: str, name: str) -> list[Primitive]:
    (ex, ey), (tx, ty), (nx, ny), half = _ANCHORS.get(kind, _BEAST_ANCHOR)
    limb = "trunk" if kind == "car" else "head"
    if name == "hat":
        wool, ribbon = (46, 48, 92), (232, 74, 82)
        shapes = [
            (box(tx - half * 0.62, ty - 0.3, tx + half * 0.62, ty + 0.03, 0.03), wool),
            (box(tx - half * 0.62, ty - 0.09, tx + half * 0.62, ty + 0.0, 0.0), ribbon),
            (box(tx - half * 1.06, ty - 0.03, tx + half * 1.06, ty + 0.05, 0.035), wool),
        ]
    elif name == "sunglasses":
        shapes = [(capsule(ex - half * 0.9, ey - 0.03, ex + half * 0.9, ey - 0.03, 0.022), INK)]
        for s in (-1, 1):
            shapes.append(
                (
                    box(
                        ex + s * half * 0.44 - 0.105,
                        ey - 0.06,
                        ex + s * half * 0.44 + 0.105,
                        ey + 0.085,
                        0.045,
                    ),
                    (30, 30, 40),
                )
            )
            shapes.append(
                (
                    capsule(
                        ex + s * half * 0.44 - 0.05, ey - 0.02, ex + s * half * 0.44 - 0.01, ey - 0.02, 0.014
                    ),
                    (150, 160, 190),
                )
            )
    else:
        scarf = (226, 58, 120)
        shapes = [
            (capsule(nx + 0.04, ny + 0.02, nx + 0.08, ny + 0.26, 0.06), shade(scarf, 0.85)),
            (capsule(nx - 0.13, ny - 0.01, nx + 0.21, ny + 0.02, 0.068), scarf),
            (capsule(nx + 0.0, ny - 0.05, nx + 0.0, ny + 0.05, 0.016), WHITE),
            (capsule(nx + 0.12, ny - 0.04, nx + 0.12, ny + 0.06, 0.016), WHITE),
        ]
    return [Primitive(p, c, ACCESSORY, limb, ink=c not in (WHITE, (150, 160, 190))) for p, c in shapes]


def character(kind: str, color: str | None, accessory: str | None) -> list[Primitive]:
    """All primitives of an actor, back to front."""
    parts = BUILDERS[kind](PAINTS[color] if color else NATURAL[kind])
    return parts + (_accessory(kind, accessory) if accessory else [])


# --- motion -------------------------------------------------------------------------------------------------


def limb_poses(kind: str, phase: float, turns: float) -> dict[str, np.ndarray]:
    """3x3 map of every limb at walking `phase`; `turns` is how far a wheel has rolled; both in radians."""
    swing = 24 * np.sin(phase)
    nod = rotation(0.1 if kind != "robot" else 0.0, -0.5, 2.5 * np.sin(phase + 0.6))
    hip = {"leg0": (-0.22, -0.28), "leg1": (0.16, -0.28), "leg2": (-0.33, -0.28), "leg3": (0.05, -0.28)}
    sign = {"leg0": 1, "leg1": -1, "leg2": -1, "leg3": 1}
    if kind == "robot":
        hip, sign, swing = (
            {"leg1": (-0.13, -0.28), "leg2": (0.13, -0.28)},
            {"leg1": -1, "leg2": 1},
            swing * 0.6,
        )
    poses = {"trunk": np.eye(3), "head": nod, "tail": rotation(-0.44, -0.42, 9 * np.sin(phase * 1.0 + 1.2))}
    poses |= {name: rotation(*hip[name], sign[name] * swing) for name in hip}
    poses |= {
        name: rotation(x, -0.135, np.rad2deg(turns)) for name, x in (("wheel0", -0.36), ("wheel1", 0.36))
    }
    return poses


# --- backgrounds --------------------------------------------------------------------------------------------


def _vertical(size: int, stops: list[tuple[float, Color]]) -> np.ndarray:
    y = np.linspace(0, 1, size)
    at = [s for s, _ in stops]
    column = np.stack([np.interp(y, at, [c[i] for _, c in stops]) for i in range(3)], 1)
    return np.repeat(column[:, None], size, 1).round().astype(np.uint8)


def _fir(img: np.ndarray, x: float, y: float, h: float, green: Color, snow: bool = False) -> None:
    n = img.shape[0]
    paint(
        img,
        np.array([(x - 0.018, y), (x + 0.018, y), (x + 0.018, y - 0.2 * h), (x - 0.018, y - 0.2 * h)]) * n,
        (112, 76, 48),
    )
    for i, (w, a, b) in enumerate(((0.32, 0.15, 0.55), (0.26, 0.4, 0.78), (0.19, 0.63, 1.0))):
        paint(
            img,
            np.array([(x - w * h, y - a * h), (x, y - b * h), (x + w * h, y - a * h)]) * n,
            shade(green, 1 + 0.08 * i),
        )
        if snow:
            paint(
                img,
                np.array(
                    [
                        (x - w * h * 0.4, y - (a + (b - a) * 0.6) * h),
                        (x, y - b * h),
                        (x + w * h * 0.4, y - (a + (b - a) * 0.6) * h),
                    ]
                )
                * n,
                WHITE,
            )


def _hills(img: np.ndarray, rng: np.random.Generator, y: float, bump: float, color: Color) -> None:
    n = img.shape[0]
    x = np.linspace(0, 1, 40)
    a, b = rng.uniform(0, 6, 2)
    line = y - bump * (0.5 + 0.5 * np.sin(5 * x + a) * np.cos(3 * x + b))
    paint(img, np.concatenate([np.stack([x, line], 1), [[1, 1], [0, 1]]]) * n, color)


def _dots(
    img: np.ndarray, rng: np.random.Generator, count: int, y0: float, y1: float, radius: float, color: Color
) -> None:
    n = img.shape[0]
    for x, y in zip(rng.uniform(0, 1, count), rng.uniform(y0, y1, count), strict=True):
        paint(img, ellipse(x, y, radius, n=10) * n, color)


def _tufts(img: np.ndarray, rng: np.random.Generator, y0: float, color: Color, count: int = 16) -> None:
    n = img.shape[0]
    for x, y in zip(rng.uniform(0, 1, count), rng.uniform(y0, 0.98, count), strict=True):
        h = 0.02 + 0.03 * (y - y0)
        paint(img, np.array([(x - 0.012, y), (x, y - h), (x + 0.012, y)]) * n, color)


def _sun(img: np.ndarray, x: float, y: float, r: float, color: Color) -> None:
    paint(
        img,
        ellipse(x, y, r * 1.25) * img.shape[0],
        tuple(int(v) for v in (0.5 * np.array(color) + 0.5 * img[int(y * img.shape[0]) - 1, 0])),
    )
    paint(img, ellipse(x, y, r) * img.shape[0], color)


def _cloud(img: np.ndarray, x: float, y: float, s: float, color: Color) -> None:
    n = img.shape[0]
    for dx, dy, r in (
        (-0.09, 0.01, 0.045),
        (0, -0.02, 0.065),
        (0.09, 0.01, 0.05),
        (0.03, 0.02, 0.05),
        (-0.04, 0.02, 0.045),
    ):
        paint(img, ellipse(x + dx * s, y + dy * s, r * s, r * s * 0.75) * n, color)


def _forest(n: int, rng: np.random.Generator) -> np.ndarray:
    img = _vertical(n, [(0, (142, 210, 226)), (0.5, (206, 238, 226)), (1, (206, 238, 226))])
    _hills(img, rng, 0.52, 0.06, (120, 186, 140))
    for x in np.arange(-0.05, 1.1, 0.16) + rng.uniform(-0.03, 0.03):
        _fir(img, x, 0.585, rng.uniform(0.38, 0.52), (44, 122, 74))
    img[int(0.57 * n) :] = _vertical(n, [(0, (104, 182, 84)), (0.57, (104, 182, 84)), (1, (56, 132, 62))])[
        int(0.57 * n) :
    ]
    _tufts(img, rng, 0.62, (136, 206, 96))
    return img


def _grass(n: int, rng: np.random.Generator) -> np.ndarray:
    img = _vertical(n, [(0, (110, 184, 244)), (0.5, (214, 240, 252)), (1, (214, 240, 252))])
    _cloud(img, rng.uniform(0.15, 0.4), rng.uniform(0.1, 0.2), 1.0, WHITE)
    _cloud(img, rng.uniform(0.6, 0.9), rng.uniform(0.12, 0.28), 0.8, WHITE)
    _hills(img, rng, 0.55, 0.1, (150, 210, 120))
    _hills(img, rng, 0.6, 0.04, (126, 196, 98))
    img[int(0.62 * n) :] = _vertical(n, [(0, (112, 190, 84)), (0.62, (112, 190, 84)), (1, (80, 160, 66))])[
        int(0.62 * n) :
    ]
    _tufts(img, rng, 0.66, (150, 218, 110))
    for color in ((250, 226, 90), (250, 250, 250), (244, 130, 160)):
        _dots(img, rng, 6, 0.66, 0.98, 0.011, color)
    return img


def _beach(n: int, rng: np.random.Generator) -> np.ndarray:
    img = _vertical(n, [(0, (92, 180, 242)), (0.45, (198, 232, 250)), (1, (198, 232, 250))])
    _sun(img, rng.uniform(0.1, 0.9), 0.14, 0.07, (255, 230, 120))
    sea = slice(int(0.44 * n), int(0.62 * n))
    img[sea] = _vertical(
        n, [(0, (32, 128, 198)), (0.44, (32, 128, 198)), (0.62, (86, 198, 220)), (1, (86, 198, 220))]
    )[sea]
    for x, y in zip(rng.uniform(0, 1, 7), rng.uniform(0.47, 0.58, 7), strict=True):
        paint(img, capsule(x, y, x + 0.09, y, 0.006) * n, (224, 244, 250))
    img[int(0.6 * n) :] = _vertical(n, [(0, (250, 230, 178)), (0.6, (250, 230, 178)), (1, (228, 192, 122))])[
        int(0.6 * n) :
    ]
    paint(img, capsule(-0.05, 0.605, 1.05, 0.605, 0.012) * n, WHITE)
    x = rng.choice([0.06, 0.94])
    for i in range(5):
        paint(
            img,
            capsule(x + 0.008 * i, 0.66 - 0.085 * i, x + 0.008 * (i + 1), 0.66 - 0.085 * (i + 1), 0.02) * n,
            (156, 108, 66),
        )
    for turn in (-160, -120, -60, -20, 25, 155):
        t = np.deg2rad(turn)
        paint(
            img,
            ellipse(x + 0.04 + 0.085 * np.cos(t), 0.235 + 0.06 * np.sin(t), 0.1, 0.028, turn) * n,
            (48, 148, 80),
        )
    _dots(img, rng, 10, 0.66, 0.98, 0.008, (206, 166, 100))
    return img


def _snow(n: int, rng: np.random.Generator) -> np.ndarray:
    img = _vertical(n, [(0, (150, 194, 236)), (0.55, (226, 238, 250)), (1, (226, 238, 250))])
    for x in (rng.uniform(0.05, 0.3), rng.uniform(0.45, 0.6), rng.uniform(0.75, 0.95)):
        h, w = rng.uniform(0.2, 0.32), rng.uniform(0.22, 0.3)
        paint(img, np.array([(x - w, 0.6), (x, 0.6 - h), (x + w, 0.6)]) * n, (142, 166, 204))
        paint(
            img,
            np.array(
                [
                    (x - w * 0.35, 0.6 - h * 0.65),
                    (x, 0.6 - h),
                    (x + w * 0.35, 0.6 - h * 0.65),
                    (x, 0.6 - h * 0.55),
                ]
            )
            * n,
            WHITE,
        )
    for x in (rng.uniform(0.02, 0.15), rng.uniform(0.85, 0.98), rng.uniform(0.45, 0.55)):
        _fir(img, x, 0.63, rng.uniform(0.2, 0.27), (62, 116, 112), snow=True)
    img[int(0.6 * n) :] = _vertical(n, [(0, (244, 249, 255)), (0.6, (244, 249, 255)), (1, (204, 220, 242))])[
        int(0.6 * n) :
    ]
    _dots(img, rng, 26, 0.0, 0.6, 0.009, WHITE)
    _dots(img, rng, 10, 0.66, 1.0, 0.012, (220, 232, 250))
    return img


def _city(n: int, rng: np.random.Generator) -> np.ndarray:
    img = _vertical(n, [(0, (168, 186, 226)), (0.6, (234, 214, 214)), (1, (234, 214, 214))])
    x = -0.04
    while x < 1.0:
        w, h = rng.uniform(0.13, 0.19), rng.uniform(0.26, 0.52)
        wall = [(122, 136, 176), (164, 130, 148), (108, 120, 154), (178, 150, 138)][rng.integers(4)]
        paint(img, box(x, 0.64 - h, x + w - 0.012, 0.66, 0.004) * n, wall)
        for wy in np.arange(0.64 - h + 0.035, 0.58, 0.07):
            for wx in np.arange(x + 0.022, x + w - 0.045, 0.048):
                paint(
                    img,
                    box(wx, wy, wx + 0.026, wy + 0.036, 0.002) * n,
                    (255, 226, 140) if rng.random() < 0.7 else shade(wall, 0.75),
                )
        x += w
    img[int(0.62 * n) :] = _vertical(
        n, [(0, (176, 176, 182)), (0.665, (176, 176, 182)), (0.67, (104, 106, 116)), (1, (72, 74, 84))]
    )[int(0.62 * n) :]
    offset = rng.uniform(0, 0.2)
    for x in np.arange(-0.2, 1.1, 0.24) + offset:
        paint(
            img, poly((x, 0.86), (x + 0.1, 0.86), (x + 0.095, 0.88), (x - 0.005, 0.88)) * n, (240, 232, 200)
        )
    return img


def _desert(n: int, rng: np.random.Generator) -> np.ndarray:
    img = _vertical(n, [(0, (250, 176, 104)), (0.55, (254, 226, 170)), (1, (254, 226, 170))])
    _sun(img, rng.uniform(0.2, 0.8), 0.2, 0.085, (255, 244, 190))
    _hills(img, rng, 0.6, 0.12, (226, 158, 92))
    _hills(img, rng, 0.64, 0.05, (214, 142, 76))
    for x in (rng.uniform(0.04, 0.2), rng.uniform(0.8, 0.96), rng.uniform(0.42, 0.58)):
        h = rng.uniform(0.16, 0.26)
        for seg in (
            capsule(x, 0.66, x, 0.66 - h, 0.027),
            capsule(x, 0.6, x + 0.06, 0.58, 0.017),
            capsule(x + 0.06, 0.58, x + 0.06, 0.52, 0.017),
            capsule(x, 0.57, x - 0.055, 0.55, 0.017),
            capsule(x - 0.055, 0.55, x - 0.055, 0.5, 0.017),
        ):
            paint(img, seg * n, (84, 152, 84))
    img[int(0.65 * n) :] = _vertical(n, [(0, (236, 174, 96)), (0.65, (236, 174, 96)), (1, (206, 132, 66))])[
        int(0.65 * n) :
    ]
    for x, y in zip(rng.uniform(0, 1, 9), rng.uniform(0.7, 0.98, 9), strict=True):
        paint(img, capsule(x, y, x + 0.1, y + 0.008, 0.005) * n, (220, 152, 80))
    return img


def _night(n: int, rng: np.random.Generator) -> np.ndarray:
    img = _vertical(n, [(0, (26, 24, 66)), (0.55, (74, 62, 128)), (1, (74, 62, 128))])
    _dots(img, rng, 30, 0.0, 0.5, 0.006, (250, 246, 214))
    x = rng.uniform(0.15, 0.85)
    paint(img, ellipse(x, 0.16, 0.075) * n, (252, 240, 190))
    paint(img, ellipse(x + 0.04, 0.145, 0.065) * n, tuple(int(v) for v in img[int(0.16 * n), 0]))
    _hills(img, rng, 0.6, 0.1, (48, 52, 100))
    img[int(0.62 * n) :] = _vertical(n, [(0, (52, 76, 96)), (0.62, (52, 76, 96)), (1, (30, 48, 70))])[
        int(0.62 * n) :
    ]
    _tufts(img, rng, 0.66, (72, 102, 118))
    return img


SCENERY: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "forest": _forest,
    "grass": _grass,
    "beach": _beach,
    "snow": _snow,
    "city": _city,
    "desert": _desert,
    "night": _night,
}


# --- styles -------------------------------------------------------------------------------------------------


def watercolor(img: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft washes on paper: edges bleed, colours lighten, pigment varies in patches."""
    n = img.shape[0]
    wash = cv2.GaussianBlur(img, (0, 0), n / 260)
    field = cv2.resize(
        rng.normal(size=(n // 16, n // 16)).astype(np.float32), (n, n), interpolation=cv2.INTER_CUBIC
    )
    paper = 0.74 * wash.astype(np.float32) + 0.26 * 250 + 9 * field[..., None]
    return paper.clip(0, 255).astype(np.uint8)


def pencil(img: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey drawing: light tone with darkened contours."""
    gray = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).astype(np.float32)
    soft = cv2.GaussianBlur(gray, (0, 0), img.shape[0] / 60)
    dodge = (gray / (soft + 1)).clip(0, 1.05)
    tone = (0.62 * 255 + 0.38 * gray) * dodge
    return np.repeat(tone.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


FINISHES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "watercolor": watercolor,
    "pencil": pencil,
}


# --- words and scenes ---------------------------------------------------------------------------------------

KINDS, COLORS, BACKGROUNDS, STYLES = (*BUILDERS,), (*PAINTS,), (*SCENERY,), ("storybook", *FINISHES)
ACCESSORIES = ("hat", "sunglasses", "scarf")
# {0} {1} {2} are the actors in order, {where} the background, {side0} {side1} "left" / "right".
TEMPLATES: dict[int, tuple[str, ...]] = {
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


def facts(seed: int, frames: int, actors: int, plain: bool) -> dict[str, Any]:
    """What `world.sample_scene` makes a scene of."""
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
            {
                "kind": str(kind),
                "color": color,
                "accessory": accessory,
                "article": "a",
                "x": float(x),
                "y": float(ground),
                "height": float(height),
                "facing": facing,
                "speed": float(speed),
                "phase": float(rng.uniform(0, 6.28)),
            }
        )
    style = "storybook" if plain or rng.random() < 0.85 else str(rng.choice(STYLES[1:]))
    template = 0 if plain else int(rng.integers(len(TEMPLATES[actors])))
    background = str(rng.choice(BACKGROUNDS))
    return {
        "seed": seed,
        "frames": frames,
        "actors": cast,
        "background": background,
        "style": style,
        "template": template,
        "world": 1,
    }
