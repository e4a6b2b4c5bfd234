"""Who walks through the drawn world: kinds, colours, things to wear, and how they move."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

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
    blob,
    box,
    capsule,
    ellipse,
    path,
    shade,
    tube,
)

PAINTS: dict[str, Color] = {
    "red": (220, 42, 42),
    "blue": (46, 96, 222),
    "green": (46, 158, 66),
    "yellow": (250, 206, 40),
    "purple": (130, 62, 190),
    "white": (242, 242, 240),
    "black": (56, 56, 66),
    "pink": (250, 96, 178),
}
NATURAL: dict[str, Color] = {
    "cat": (140, 144, 160),
    "dog": (182, 122, 68),
    "fox": (240, 122, 34),
    "panda": (244, 244, 240),
    "rabbit": (222, 200, 170),
    "pig": (252, 178, 170),
    "robot": (150, 172, 190),
    "car": (48, 182, 178),
    "fairy": (252, 142, 92),
    "astronaut": (236, 240, 246),
}
SKIN, HAIR, LIPS = (252, 214, 178), (112, 66, 40), (196, 62, 74)
STEEL, GLOW = (92, 102, 118), (96, 236, 244)

Shapes = list[Primitive]


# --- building blocks ----------------------------------------------------------------------------------------


def _shape(points: np.ndarray, color: Color, part: int = HEAD, limb: str = "") -> Primitive:
    """An outlined shape; without a limb the head's hang on the head, all others on the trunk."""
    return Primitive(points, color, part, limb or ("head" if part == HEAD else "trunk"))


def _flat(points: np.ndarray, color: Color, part: int = HEAD, limb: str = "") -> Primitive:
    """The same without an outline."""
    return dataclasses.replace(_shape(points, color, part, limb), ink=False)


def _solid(points: np.ndarray, color: Color, part: int = HEAD, limb: str = "") -> Shapes:
    """A shape with an outline, darker along its underside, with a lighter patch towards the light."""
    middle, span = (points.min(0) + points.max(0)) / 2, np.ptp(points, axis=0)
    below = points[:, 1] > middle[1]
    start = int(np.argmax(below & ~np.roll(below, 1)))  # here the outline enters the lower half
    edge = np.roll(points, -start, axis=0)[: int(below.sum())]
    shadow = np.concatenate([edge, ((edge - middle) * (0.97, 0.52) + middle)[::-1]])
    lean = 0.07 * float(span[0])
    gleam = _flat(
        (points - middle) * (0.66, 0.5) + middle - (lean, 0.16 * span[1]),
        shade(color, 1.24),
        part,
        limb,
    )
    return [
        _shape(points, color, part, limb),
        _flat(shadow, shade(color, 0.83), part, limb),
        dataclasses.replace(gleam, lean=lean),
    ]


def _spots(
    x: float,
    apart: float,
    y: float,
    rx: float,
    ry: float,
    color: Color,
    turn: float = 0.0,
    n: int = 28,
) -> Shapes:
    """Two flat ellipses on the head, mirrored about `x`."""
    return [_flat(ellipse(x + s * apart, y, rx, ry, s * turn, n), color) for s in (-1, 1)]


def _ears(outline: np.ndarray, color: Color, *patches: tuple[np.ndarray, Color]) -> Shapes:
    """Two outlined ears with flat patches on them, given right of x = 0 and mirrored about the face."""
    return [
        dataclasses.replace(_shape(points * (s, 1) + (0.25, 0), tone), ink=points is outline)
        for s in (-1, 1)
        for points, tone in ((outline, color), *patches)
    ]


def _eyes(x: float, y: float, apart: float, r: float, iris: Color = WHITE) -> Shapes:
    return [*_eye(x - apart, y, r, iris), *_eye(x + apart, y, r, iris)]


def _eye(x: float, y: float, r: float, iris: Color = WHITE) -> Shapes:
    """White, pupil and highlight; an `iris` colour makes the pupil a slit."""
    pupil = ellipse(x + 0.012, y + 0.004, r * (0.66 if iris == WHITE else 0.42), r * 0.95, n=14)
    return [
        _shape(ellipse(x, y, r, r * 1.25, n=18), iris),
        _flat(pupil, INK),
        _flat(ellipse(x - 0.006, y - 0.024, r * 0.3, n=8), WHITE),
    ]


def _mouth(x: float, y: float, nose: Color, wide: float = 0.05) -> Shapes:
    """A nose at (x, y) and a smile below it."""
    smile = tube("0,0.055 0.025,0.078 0.05,0.055", 0.009) * (wide / 0.05, 1)
    return [
        *[_flat(smile * (s, 1) + (x, y), INK) for s in (-1, 1)],
        _flat(blob("-0.042,-0.02 0.042,-0.02 0.01,0.03 -0.01,0.03") + (x, y), nose),
    ]


def _leg(x: float, limb: str, color: Color, foot: Color, width: float) -> Shapes:
    return [
        _shape(capsule(x, -0.27, x, -0.06, width * 1.1, width * 0.9), color, LEGS, limb),
        _shape(ellipse(x + 0.02, -0.042, width * 1.15, 0.044, n=18), foot, LEGS, limb),
    ]


def _beast(
    color: Color,
    *,
    behind: Shapes,
    body: np.ndarray,
    coat: Shapes,
    head: np.ndarray,
    face: Shapes,
    legs: Color | None = None,
    foot: Color | None = None,
    width: float,
) -> Shapes:
    """A four-legged animal from the side: what is behind it, far legs, body, near legs, head."""
    legs = legs or color
    foot = foot or legs
    return [
        *behind,
        *_leg(-0.23, "leg0", shade(legs, 0.74), shade(foot, 0.74), width),
        *_leg(0.15, "leg1", shade(legs, 0.74), shade(foot, 0.74), width),
        *_solid(body, color, BODY),
        *coat,
        *_leg(-0.33, "leg2", legs, foot, width),
        *_leg(0.05, "leg3", legs, foot, width),
        *_solid(head, color),
        *face,
    ]


# --- kinds --------------------------------------------------------------------------------------------------


def _cat(main: Color) -> Shapes:
    dark, nose = shade(main, 0.6), (236, 110, 130)
    head = blob(
        "0.25,-0.86 0.43,-0.77 0.51,-0.59 0.38,-0.45 0.25,-0.425 0.12,-0.45 -0.01,-0.59 0.07,-0.77"
    )
    tail = "-0.4,-0.42 -0.55,-0.46 -0.61,-0.62 -0.53,-0.78 -0.6,-0.92"
    whiskers = [(s, y, d) for s in (-1, 1) for y, d in ((-0.555, -0.03), (-0.525, 0.02))]
    return _beast(
        main,
        behind=[
            _shape(tube(tail, 0.052, 0.05, 0.042), main, BODY, "tail"),
            _flat(tube("-0.53,-0.78 -0.6,-0.92", 0.045, 0.034), dark, BODY, "tail"),
            *_ears(
                path("0.05,-0.7 0.24,-1.0 0.27,-0.7"),
                main,
                (path("0.105,-0.74 0.222,-0.93 0.215,-0.74"), ROSE),
            ),
        ],
        body=blob(
            "-0.44,-0.4 -0.3,-0.53 -0.1,-0.53 0.16,-0.52 0.23,-0.36 0.1,-0.23 -0.2,-0.22 -0.4,-0.26"
        ),
        coat=[
            _flat(capsule(x, -0.525 - lift, x + 0.02, -0.41, 0.024, 0.008), dark, BODY)
            for x, lift in ((-0.32, 0), (-0.22, 0.012), (-0.12, 0.015))
        ],
        head=head,
        face=[
            *[_flat(capsule(x, -0.825, x, -0.76, 0.017, 0.006), dark) for x in (0.19, 0.25, 0.31)],
            *[
                _flat(capsule(0.25 + s * 0.13, y, 0.25 + s * 0.31, y + d, 0.008), shade(main, 0.45))
                for s, y, d in whiskers
            ],
            *_spots(0.25, 0.05, -0.53, 0.075, 0.058, shade(main, 1.65)),
            *_eyes(0.25, -0.655, 0.105, 0.06, (176, 226, 92)),
            *_mouth(0.25, -0.57, nose),
        ],
        foot=WHITE,
        width=0.054,
    )


def _dog(main: Color) -> Shapes:
    dark, pale = shade(main, 0.5), shade(main, 1.55)
    body = blob(
        "-0.47,-0.42 -0.36,-0.56 -0.1,-0.57 0.15,-0.6 0.26,-0.42 0.15,-0.22 -0.15,-0.21 -0.4,-0.23"
    )
    muzzle = blob("0.24,-0.66 0.42,-0.7 0.6,-0.67 0.645,-0.58 0.56,-0.49 0.38,-0.46 0.24,-0.5")
    ear = blob("0,-0.83 0.1,-0.8 0.1,-0.6 0.05,-0.4 -0.06,-0.36 -0.13,-0.46 -0.09,-0.68")
    return _beast(
        main,
        behind=[
            _shape(
                tube("-0.4,-0.46 -0.54,-0.56 -0.58,-0.74", 0.07, 0.055, 0.03), main, BODY, "tail"
            )
        ],
        body=body,
        coat=[
            _flat(
                blob("-0.38,-0.5 -0.26,-0.575 -0.1,-0.57 -0.08,-0.46 -0.22,-0.4 -0.36,-0.42"),
                dark,
                BODY,
            ),
            _flat(ellipse(0.12, -0.32, 0.1, 0.13), shade(main, 1.6), BODY),
        ],
        head=blob(
            "0.02,-0.82 0.16,-0.92 0.34,-0.9 0.46,-0.76 0.44,-0.55 0.25,-0.45 0.05,-0.5 -0.02,-0.66"
        ),
        face=[
            _shape(blob("0.43,-0.5 0.51,-0.5 0.52,-0.4 0.47,-0.36 0.42,-0.4"), (240, 92, 112)),
            *_solid(muzzle, pale),
            _flat(tube("0.4,-0.52 0.5,-0.52 0.6,-0.56", 0.01), INK),
            _flat(ellipse(0.6, -0.655, 0.062, 0.05), INK),
            _flat(ellipse(0.585, -0.672, 0.02, 0.012, n=8), WHITE),
            _flat(ellipse(0.36, -0.77, 0.082, 0.095), dark),
            *_eye(0.2, -0.76, 0.058),
            *_eye(0.36, -0.76, 0.052),
            *_solid(ear, dark),
        ],
        foot=pale,
        width=0.07,
    )


def _fox(main: Color) -> Shapes:
    tail = "-0.36,-0.36 -0.56,-0.38 -0.72,-0.54 -0.76,-0.76"
    cheek = blob("0.01,-0.6 0.12,-0.62 0.3,-0.6 0.14,-0.47 0.01,-0.42")
    return _beast(
        main,
        behind=[
            _shape(tube(tail, 0.05, 0.13, 0.145, 0.05), main, BODY, "tail"),
            _flat(
                tube("-0.73,-0.6 -0.755,-0.7 -0.76,-0.77", 0.115, 0.08, 0.03), WHITE, BODY, "tail"
            ),
            *_ears(
                blob("0.05,-0.68 0.13,-0.92 0.26,-1.1 0.27,-0.92 0.29,-0.68"),
                main,
                (path("0.12,-0.76 0.23,-0.98 0.225,-0.76"), CREAM),
                (path("0.203,-0.99 0.26,-1.1 0.287,-0.99"), SOOT),
            ),
        ],
        body=blob(
            "-0.44,-0.4 -0.3,-0.52 -0.05,-0.53 0.16,-0.54 0.22,-0.38 0.1,-0.22 -0.2,-0.23 -0.4,-0.27"
        ),
        coat=[_flat(blob("0.02,-0.46 0.19,-0.46 0.2,-0.32 0.1,-0.2 0.02,-0.3"), WHITE, BODY)],
        head=blob(
            "0.25,-0.86 0.42,-0.78 0.57,-0.6 0.4,-0.49 0.25,-0.4 0.1,-0.49 -0.07,-0.6 0.08,-0.78"
        ),
        face=[
            *[_flat(cheek * (s, 1) + (0.25, 0), WHITE) for s in (-1, 1)],
            *_eyes(0.25, -0.68, 0.1, 0.05),
            *_mouth(0.25, -0.54, INK, 0.045),
        ],
        legs=shade(main, 0.8),
        foot=SOOT,
        width=0.055,
    )


def _panda(main: Color) -> Shapes:
    return _beast(
        main,
        behind=[
            _shape(ellipse(-0.5, -0.36, 0.06), SOOT, BODY, "tail"),
            *[
                shape
                for s in (-1, 1)
                for shape in _solid(ellipse(0.24 + s * 0.21, -0.86, 0.105), SOOT)
            ],
        ],
        body=ellipse(-0.14, -0.385, 0.385, 0.235),
        coat=[
            _flat(
                blob("0,-0.59 0.15,-0.6 0.24,-0.4 0.16,-0.19 -0.02,-0.18 -0.07,-0.38"), SOOT, BODY
            )
        ],
        head=ellipse(0.24, -0.64, 0.3, 0.265),
        face=[
            *_spots(0.24, 0.12, -0.655, 0.088, 0.115, SOOT, 32),
            *_eyes(0.24, -0.665, 0.11, 0.046),
            *_mouth(0.24, -0.55, INK),
            *_spots(0.24, 0.2, -0.545, 0.05, 0.034, ROSE),
        ],
        legs=SOOT,
        width=0.085,
    )


def _rabbit(main: Color) -> Shapes:
    pale = shade(main, 1.6)
    behind = [_shape(ellipse(-0.49, -0.3, 0.1), WHITE, BODY, "tail")]
    for s in (-1, 1):
        behind += _solid(ellipse(0.25 + s * 0.115, -0.98, 0.078, 0.26, s * 10), main)
        behind.append(_flat(ellipse(0.25 + s * 0.115, -0.97, 0.04, 0.19, s * 10), ROSE))
    return _beast(
        main,
        behind=behind,
        body=blob(
            "-0.5,-0.3 -0.44,-0.48 -0.24,-0.58 0,-0.52 0.2,-0.44 0.22,-0.3 0.05,-0.19 -0.3,-0.17"
        ),
        coat=[
            *_solid(ellipse(-0.29, -0.27, 0.17, 0.165), main, LEGS),
            _flat(ellipse(0.12, -0.32, 0.09, 0.12), pale, BODY),
        ],
        head=ellipse(0.25, -0.63, 0.25, 0.225),
        face=[
            _shape(box(0.215, -0.52, 0.285, -0.44, 0.012), WHITE),
            *_spots(0.25, 0.052, -0.53, 0.07, 0.052, pale),
            *_spots(0.25, 0.18, -0.555, 0.05, 0.036, ROSE),
            *_eyes(0.25, -0.665, 0.105, 0.056),
            *_mouth(0.25, -0.57, (236, 110, 130)),
        ],
        foot=pale,
        width=0.056,
    )


def _pig(main: Color) -> Shapes:
    dark = shade(main, 0.76)
    curl = "-0.48,-0.4 -0.58,-0.4 -0.62,-0.5 -0.54,-0.54 -0.52,-0.46 -0.62,-0.42 -0.7,-0.48"
    return _beast(
        main,
        behind=[_shape(tube(curl, 0.024, 0.018), dark, BODY, "tail")],
        body=ellipse(-0.12, -0.375, 0.4, 0.225),
        coat=[],
        head=ellipse(0.25, -0.62, 0.275, 0.245),
        face=[
            *_spots(0.25, 0.2, -0.55, 0.055, 0.04, shade(main, 0.88)),
            *_eyes(0.26, -0.69, 0.115, 0.046),
            *_solid(ellipse(0.27, -0.555, 0.135, 0.095), shade(main, 0.9)),
            *_spots(0.27, 0.05, -0.555, 0.024, 0.04, shade(main, 0.4), n=14),
            *_ears(blob("0.09,-0.82 0.21,-0.93 0.33,-0.88 0.35,-0.7 0.23,-0.74"), dark),
        ],
        foot=shade(main, 0.5),
        width=0.066,
    )


_SIDES = ((-1, "leg1", "arm1"), (1, "leg2", "arm2"))  # of who walks upright


def _robot(main: Color) -> Shapes:
    steel = shade(main, 0.58)
    parts = []
    for s, leg, arm in _SIDES:
        x = s * 0.14
        parts += [
            _shape(box(x - 0.06, -0.28, x + 0.06, -0.06, 0.02), steel, LEGS, leg),
            _shape(box(x - 0.1, -0.1, x + 0.1, 0.0, 0.04), shade(steel, 0.75), LEGS, leg),
            _shape(capsule(s * 0.28, -0.5, s * 0.37, -0.32, 0.05), steel, BODY, arm),
            *_solid(ellipse(s * 0.38, -0.28, 0.075), main, BODY, arm),
        ]
    parts += [
        *_solid(box(-0.27, -0.58, 0.27, -0.19, 0.07), main, BODY),
        _shape(ellipse(0, -0.385, 0.11), INK, BODY),
        _flat(ellipse(0, -0.385, 0.08), GLOW, BODY),
        _flat(ellipse(-0.02, -0.41, 0.03), WHITE, BODY),
        _shape(capsule(0, -0.94, 0, -1.04, 0.018), steel),
        *_solid(ellipse(0, -1.06, 0.06), (240, 66, 60)),
        *[_shape(box(x - 0.04, -0.84, x + 0.04, -0.68, 0.02), steel) for x in (-0.31, 0.31)],
        *_solid(box(-0.3, -0.96, 0.3, -0.59, 0.09), main),
        _shape(box(-0.23, -0.89, 0.23, -0.71, 0.07), SOOT),
        _shape(box(-0.14, -0.685, 0.14, -0.625, 0.025), shade(steel, 0.7)),
    ]
    for x in (-0.11, 0.11):
        parts.append(_flat(ellipse(x, -0.8, 0.068), GLOW))
        parts.append(_flat(ellipse(x - 0.018, -0.82, 0.024, n=10), WHITE))
    return parts + [
        _flat(box(x, -0.675, x + 0.036, -0.637, 0.005), WHITE) for x in (-0.1, -0.018, 0.064)
    ]


def _car(main: Color) -> Shapes:
    glass, chrome, cabin = (190, 230, 248), (206, 212, 220), (HEAD, "trunk")
    roof = blob("-0.46,-0.4 -0.36,-0.62 -0.24,-0.74 0.1,-0.74 0.24,-0.62 0.38,-0.4 0,-0.38")
    hull = blob(
        "-0.62,-0.14 -0.66,-0.3 -0.58,-0.43 -0.3,-0.46 0.3,-0.46 0.58,-0.4 0.67,-0.26 0.62,-0.13 0,-0.12"
    )
    parts = [
        *_solid(roof, main, *cabin),
        _shape(blob("-0.35,-0.45 -0.28,-0.6 -0.2,-0.67 -0.07,-0.67 -0.06,-0.45"), glass, *cabin),
        _shape(blob("0,-0.45 0,-0.67 0.09,-0.67 0.17,-0.6 0.27,-0.45"), glass, *cabin),
        _flat(path("-0.24,-0.5 -0.17,-0.64 -0.12,-0.64 -0.19,-0.5"), WHITE, *cabin),
        _flat(path("0.05,-0.5 0.08,-0.62 0.11,-0.62 0.09,-0.5"), WHITE, *cabin),
        *_solid(hull, main, BODY),
        _shape(ellipse(0.59, -0.31, 0.06, 0.07), (255, 242, 160), BODY),
        _shape(box(-0.66, -0.37, -0.59, -0.27, 0.025), (252, 110, 60), BODY),
        _shape(capsule(0.6, -0.17, 0.68, -0.17, 0.035), chrome, BODY),
        _shape(capsule(-0.68, -0.17, -0.6, -0.17, 0.035), chrome, BODY),
        _flat(capsule(-0.14, -0.37, -0.06, -0.37, 0.017), INK, BODY),
        _flat(capsule(-0.03, -0.43, -0.03, -0.2, 0.008), shade(main, 0.5), BODY),
    ]
    for limb, x in (("wheel0", -0.38), ("wheel1", 0.38)):
        parts += [
            _shape(ellipse(x, -0.15, 0.155), (44, 44, 52), LEGS, limb),
            _flat(ellipse(x, -0.15, 0.088), (208, 212, 220), LEGS, limb),
            _flat(capsule(x - 0.075, -0.15, x + 0.075, -0.15, 0.014), (116, 120, 132), LEGS, limb),
            _flat(capsule(x, -0.225, x, -0.075, 0.014), (116, 120, 132), LEGS, limb),
        ]
    return parts


def _wings() -> Shapes:
    """Two lobes on each side, each with a lighter patch around its root."""
    low = blob("0.08,-0.42 0.34,-0.4 0.5,-0.26 0.42,-0.14 0.2,-0.22")
    top = blob("0.08,-0.46 0.26,-0.72 0.5,-0.86 0.62,-0.72 0.5,-0.48 0.24,-0.4")
    out = []
    for s in (-1, 1):
        root = np.array([s * 0.1, -0.44])
        for lobe in (low * (s, 1), top * (s, 1)):
            out.append(_shape(lobe, (206, 238, 255), BODY))
            out.append(_flat((lobe - root) * 0.62 + root + (s * 0.06, 0), WHITE, BODY))
    return out


def _fairy(main: Color) -> Shapes:
    """Dress, shoes and hair are painted; only the natural one has brown hair."""
    hair = HAIR if main == NATURAL["fairy"] else shade(main, 0.66)
    locks = blob("0,-1 0.22,-0.93 0.3,-0.74 0.25,-0.58 0,-0.54 -0.25,-0.58 -0.3,-0.74 -0.22,-0.93")
    parts = [*_wings(), *_solid(ellipse(0, -1.0, 0.1, 0.09), hair), *_solid(locks, hair)]
    shoe, sole = blob("-0.06,-0.1 0.05,-0.1 0.11,-0.03 0.08,0 -0.06,0"), shade(main, 0.6)
    for s, leg, arm in _SIDES:
        x = s * 0.105
        parts += [
            _shape(capsule(x, -0.27, x, -0.07, 0.05), SKIN, LEGS, leg),
            _shape(shoe + (x, 0), sole, LEGS, leg),
            _shape(capsule(s * 0.18, -0.5, s * 0.3, -0.35, 0.046), SKIN, BODY, arm),
            _shape(ellipse(s * 0.18, -0.505, 0.085, 0.07), shade(main, 1.6), BODY, arm),
        ]
    dress = blob(
        "-0.12,-0.57 0.12,-0.57 0.17,-0.42 0.27,-0.3 0.32,-0.22 0.16,-0.25 0,-0.2 "
        "-0.16,-0.25 -0.32,-0.22 -0.27,-0.3 -0.17,-0.42"
    )
    fringe = blob(
        "-0.27,-0.7 -0.25,-0.86 -0.12,-0.97 0.1,-0.975 0.25,-0.87 "
        "0.28,-0.7 0.2,-0.81 0.06,-0.86 -0.08,-0.83 -0.19,-0.8"
    )
    return [
        *parts,
        _shape(capsule(0.3, -0.36, 0.42, -0.52, 0.014), (150, 96, 50), BODY, "arm2"),
        _shape(_star(0.44, -0.56, 0.085), (255, 220, 60), BODY, "arm2"),
        *_solid(dress, main, BODY),
        _flat(blob("-0.16,-0.435 0,-0.42 0.16,-0.435 0.17,-0.39 0,-0.375 -0.17,-0.39"), sole, BODY),
        _shape(ellipse(0.01, -0.735, 0.228, 0.195), SKIN),
        *_solid(fringe, hair),
        *_spots(0.015, 0.145, -0.65, 0.046, 0.032, ROSE),
        *_eyes(0.015, -0.73, 0.092, 0.05),
        _flat(tube("-0.045,-0.633 0.015,-0.61 0.075,-0.633", 0.012), LIPS),
    ]


def _star(x: float, y: float, r: float) -> np.ndarray:
    turn = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, r, 0.45 * r)
    return np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], 1)


def _astronaut(main: Color) -> Shapes:
    seam, trim = shade(main, 0.58), (244, 124, 44)
    lamps: tuple[tuple[float, Color], ...] = (
        (-0.07, (240, 70, 70)),
        (0, (250, 214, 60)),
        (0.07, GLOW),
    )
    boot = blob("-0.1,-0.09 0.09,-0.09 0.125,-0.03 0.1,0 -0.1,0")
    suit = blob("-0.2,-0.57 0.2,-0.57 0.28,-0.4 0.24,-0.22 0,-0.18 -0.24,-0.22 -0.28,-0.4")
    hair = blob("-0.16,-0.76 -0.1,-0.87 0.02,-0.9 0.14,-0.87 0.2,-0.76 0.1,-0.81 -0.04,-0.82")
    parts = _solid(box(-0.3, -0.64, 0.3, -0.26, 0.06), STEEL, BODY)
    for s, leg, arm in _SIDES:
        x = s * 0.135
        parts += [
            *_solid(capsule(x, -0.27, x, -0.1, 0.1, 0.092), main, LEGS, leg),
            _flat(box(x - 0.094, -0.165, x + 0.094, -0.125, 0.01), trim, LEGS, leg),
            _shape(boot + (x, 0), seam, LEGS, leg),
            *_solid(capsule(s * 0.24, -0.5, s * 0.38, -0.35, 0.085, 0.075), main, BODY, arm),
            _shape(ellipse(s * 0.41, -0.315, 0.07), trim, BODY, arm),
        ]
    return [
        *parts,
        *_solid(suit, main, BODY),
        _shape(box(-0.13, -0.47, 0.13, -0.3, 0.03), seam, BODY),
        *[_flat(ellipse(x, -0.42, 0.03, n=12), lamp, BODY) for x, lamp in lamps],
        _flat(capsule(-0.07, -0.345, 0.07, -0.345, 0.018), WHITE, BODY),
        *_solid(ellipse(0, -0.76, 0.315, 0.275), main),
        *[_shape(box(x - 0.04, -0.82, x + 0.04, -0.69, 0.03), trim) for x in (-0.315, 0.315)],
        _shape(ellipse(0.02, -0.745, 0.245, 0.2), (58, 84, 128)),
        _flat(ellipse(0.02, -0.715, 0.18, 0.155), SKIN),
        _flat(hair, HAIR),
        *_eyes(0.02, -0.73, 0.078, 0.042),
        _flat(tube("-0.035,-0.638 0.02,-0.618 0.075,-0.638", 0.012), LIPS),
        _flat(tube("-0.17,-0.75 -0.13,-0.85 -0.05,-0.9", 0.016), WHITE),
    ]


_DRAWN = (_cat, _dog, _fox, _panda, _rabbit, _pig, _robot, _car, _fairy, _astronaut)
BUILDERS: dict[str, Callable[[Color], Shapes]] = dict(zip(NATURAL, _DRAWN, strict=True))


# --- things to wear -----------------------------------------------------------------------------------------


class _Fit(NamedTuple):
    """Where accessories go: middle of the eyes, top of the head, neck, back; half the head's width."""

    eyes: tuple[float, float]
    top: tuple[float, float]
    neck: tuple[float, float]
    back: tuple[float, float]
    half: float


_BEAST = _Fit((0.25, -0.66), (0.25, -0.86), (0.14, -0.42), (-0.17, -0.5), 0.27)
_FITS = {
    "dog": _Fit((0.29, -0.76), (0.22, -0.89), (0.17, -0.36), (-0.26, -0.54), 0.24),
    "panda": _BEAST._replace(eyes=(0.24, -0.66), top=(0.24, -0.9), half=0.28, back=(-0.19, -0.58)),
    "rabbit": _BEAST._replace(top=(0.25, -0.85), back=(-0.22, -0.54)),
    "pig": _BEAST._replace(eyes=(0.26, -0.69), top=(0.25, -0.87), back=(-0.19, -0.56)),
    "robot": _Fit((0.0, -0.8), (0.0, -0.975), (0.0, -0.55), (0.0, -0.42), 0.3),
    "fairy": _Fit((0.015, -0.73), (0.0, -0.95), (0.0, -0.52), (0.0, -0.42), 0.27),
    "astronaut": _Fit((0.02, -0.745), (0.0, -0.99), (0.0, -0.51), (0.0, -0.42), 0.29),
    "car": _Fit((0.1, -0.55), (-0.06, -0.72), (0.36, -0.36), (-0.3, -0.66), 0.27),
}
CLOTH, FLAP = (244, 156, 30), (206, 88, 24)
UPRIGHT = ("robot", "fairy", "astronaut")


def _hat(fit: _Fit, limb: str) -> tuple[Shapes, Shapes]:
    """The shapes behind the ears, and those in front of them."""
    x, y = fit.top
    felt, ribbon, w = (50, 56, 124), (255, 196, 44), fit.half
    crown = blob("-0.7,0 -0.74,-0.33 0,-0.35 0.74,-0.33 0.7,0 0,0.02") * (w, 1) + (x, y)
    band = _flat(box(x - w * 0.72, y - 0.13, x + w * 0.72, y - 0.02, 0.01), ribbon, ACCESSORY, limb)
    brim = _solid(
        capsule(x - w * 1.15, y + 0.015, x + w * 1.15, y + 0.015, 0.05), felt, ACCESSORY, limb
    )
    return [*_solid(crown, felt, ACCESSORY, limb), band], brim


def _sunglasses(fit: _Fit, limb: str) -> Shapes:
    x, y = fit.eyes
    w = fit.half
    shapes = [
        _shape(
            capsule(x - w * 1.05, y - 0.05, x + w * 1.05, y - 0.05, 0.026), WHITE, ACCESSORY, limb
        )
    ]
    for s in (-1, 1):
        at = x + s * w * 0.5
        shapes += [
            _shape(
                box(at - w * 0.47, y - 0.1, at + w * 0.47, y + 0.115, 0.07), WHITE, ACCESSORY, limb
            ),
            _flat(
                box(at - w * 0.36, y - 0.07, at + w * 0.36, y + 0.088, 0.05),
                (24, 24, 34),
                ACCESSORY,
                limb,
            ),
            _flat(
                capsule(at - 0.055, y + 0.02, at - 0.005, y - 0.035, 0.016),
                (150, 176, 214),
                ACCESSORY,
                limb,
            ),
        ]
    return shapes


def _scarf(fit: _Fit) -> Shapes:
    x, y = fit.neck
    wool = (16, 172, 164)
    tail = blob("0.02,0 0.16,-0.01 0.2,0.27 0.06,0.29") + fit.neck
    return [
        *_solid(tail, wool, ACCESSORY),
        _flat(path("0.047,0.15 0.178,0.13 0.187,0.19 0.054,0.21") + fit.neck, CREAM, ACCESSORY),
        *_solid(
            tube("-0.235,-0.05 -0.04,0.01 0.235,-0.03", 0.075, 0.09, 0.075) + fit.neck,
            wool,
            ACCESSORY,
        ),
        *[
            _flat(capsule(x + d, y - 0.07, x + d * 1.15, y + 0.06, 0.026), CREAM, ACCESSORY)
            for d in (-0.14, 0.02, 0.17)
        ],
    ]


def _backpack(fit: _Fit) -> Shapes:
    x, y = fit.back
    sack = blob("-0.2,0.04 -0.21,-0.22 -0.1,-0.33 0.1,-0.33 0.2,-0.22 0.19,0.04 0,0.07") + fit.back
    return [
        *_solid(sack, CLOTH, ACCESSORY),
        *_solid(
            blob("-0.205,-0.16 -0.12,-0.34 0.12,-0.34 0.205,-0.16 0,-0.1") + fit.back,
            FLAP,
            ACCESSORY,
        ),
        _shape(box(x - 0.12, y - 0.09, x + 0.12, y + 0.04, 0.03), CREAM, ACCESSORY),
        _shape(box(x - 0.035, y - 0.15, x + 0.035, y - 0.06, 0.01), CREAM, ACCESSORY),
    ]


def _carried() -> tuple[Shapes, Shapes]:
    """A backpack seen from the front: the sack behind the figure, the straps over its shoulders."""
    sack = blob("-0.4,-0.17 -0.46,-0.42 -0.4,-0.66 0,-0.7 0.4,-0.66 0.46,-0.42 0.4,-0.17 0,-0.14")
    straps = [tube("0.14,-0.58 0.18,-0.46 0.17,-0.28", 0.046) * (s, 1) for s in (-1, 1)]
    return _solid(sack, CLOTH, ACCESSORY), [_shape(strap, FLAP, ACCESSORY) for strap in straps]


def _wear(kind: str, body: Shapes, accessory: str) -> Shapes:
    """The body with the accessory inserted between its shapes, where it is worn."""
    fit, limb = _FITS.get(kind, _BEAST), "trunk" if kind == "car" else "head"
    head = next(i for i, p in enumerate(body) if p.part == HEAD)
    # Where the head of an animal begins that hides its neck; the ears are behind the body.
    face = len(body) if kind in UPRIGHT or kind == "car" else _face(body)
    if accessory == "hat":
        crown, brim = _hat(fit, limb)
        head = len(body) if kind in (*UPRIGHT, "car", "dog") else head
        return [*body[:head], *crown, *body[head:], *brim]
    if accessory == "sunglasses":
        return [*body, *_sunglasses(fit, limb)]
    if accessory == "scarf":
        return [*body[:face], *_scarf(fit), *body[face:]]
    if kind in UPRIGHT:
        sack, straps = _carried()
        trunk = max(i for i, p in enumerate(body) if p.part == BODY and p.limb == "trunk") + 1
        return [*sack, *body[:trunk], *straps, *body[trunk:]]
    pack = _backpack(fit)
    return [*pack, *body] if kind == "car" else [*body[:face], *pack, *body[face:]]


def _face(body: Shapes) -> int:
    """Number of the first shape of the head in front of the legs."""
    legs = max(i for i, p in enumerate(body) if p.part == LEGS)
    return next(i for i, p in enumerate(body) if p.part == HEAD and i > legs)


@lru_cache(maxsize=2048)
def character(
    kind: str, color: str | None, accessory: str | None, facing: int
) -> tuple[Primitive, ...]:
    """All primitives of an actor, back to front; the light stays on the left when the actor faces left."""
    if color and color.startswith("#"):
        body = BUILDERS[kind](tuple(bytes.fromhex(color[1:])))
    else:
        body = BUILDERS[kind](PAINTS[color] if color else NATURAL[kind])
    shapes = _wear(kind, body, accessory) if accessory else body
    if facing > 0:
        return tuple(shapes)
    return tuple(
        dataclasses.replace(p, points=p.points + (2 * p.lean, 0)) if p.lean else p for p in shapes
    )
