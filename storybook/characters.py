"""The kinds of actors of the drawn world, and their bodies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from storybook.draw import (
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
SKIN: Color = (252, 214, 178)
HAIR: Color = (112, 66, 40)
LIPS: Color = (196, 62, 74)
STEEL: Color = (92, 102, 118)
GLOW: Color = (96, 236, 244)

Shapes = list[Primitive]


# --- building blocks ----------------------------------------------------------------------------------------


def shape_of(
    points: np.ndarray, color: Color, part: int = HEAD, limb: str = ""
) -> Primitive:
    """Return an outlined shape; by default parts of the head hang on the head, others
    on the trunk."""
    if not limb:
        limb = "head" if part == HEAD else "trunk"
    return Primitive(points, color, part, limb)


def flat(
    points: np.ndarray, color: Color, part: int = HEAD, limb: str = ""
) -> Primitive:
    """Return a shape without an outline; arguments as for `shape_of`."""
    return dataclasses.replace(shape_of(points, color, part, limb), ink=False)


def solid(points: np.ndarray, color: Color, part: int = HEAD, limb: str = "") -> Shapes:
    """Return an outlined shape, its darker underside, and a lighter patch towards the
    light."""
    middle = (points.min(0) + points.max(0)) / 2
    shadow = _underside(points, middle)
    gleam, lean = _gleam(points, middle)
    patch = flat(gleam, shade(color, 1.24), part, limb)
    return [
        shape_of(points, color, part, limb),
        flat(shadow, shade(color, 0.83), part, limb),
        dataclasses.replace(patch, lean=lean),
    ]


def _gleam(points: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a smaller outline, moved towards the light, and how far to the left."""
    width, height = np.ptp(points, axis=0)
    lean = 0.07 * float(width)
    towards_light = (lean, 0.16 * height)
    gleam = (points - middle) * (0.66, 0.5) + middle - towards_light
    return gleam, lean


def _underside(points: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return a crescent along the lower half of an outline: [n, 2]."""
    below = points[:, 1] > middle[1]
    enters = below & ~np.roll(below, 1)  # where the outline enters the lower half
    start = int(np.argmax(enters))
    count = int(below.sum())
    edge = np.roll(points, -start, axis=0)[:count]
    inner_edge = (edge - middle) * (0.97, 0.52) + middle
    return np.concatenate([edge, inner_edge[::-1]])


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
    left = ellipse(x - apart, y, rx, ry, -turn, n)
    right = ellipse(x + apart, y, rx, ry, turn, n)
    return [flat(left, color), flat(right, color)]


def _ears(
    outline: np.ndarray, color: Color, *patches: tuple[np.ndarray, Color]
) -> Shapes:
    """Return two outlined ears with flat patches, given right of x = 0 and mirrored
    about the face."""
    shapes = []
    for side in (-1, 1):
        shapes.append(shape_of(_on_face(outline, side), color))
        shapes += [flat(_on_face(points, side), tone) for points, tone in patches]
    return shapes


def _on_face(points: np.ndarray, side: int) -> np.ndarray:
    """Move a shape given right of x = 0 to the middle of a beast's face, mirrored if
    `side` is -1."""
    return points * (side, 1) + (0.25, 0)


def _eyes(x: float, y: float, apart: float, r: float, iris: Color = WHITE) -> Shapes:
    return [*_eye(x - apart, y, r, iris), *_eye(x + apart, y, r, iris)]


def _eye(x: float, y: float, r: float, iris: Color = WHITE) -> Shapes:
    """White, pupil and highlight; an `iris` colour makes the pupil a slit."""
    wide = 0.66 if iris == WHITE else 0.42
    eyeball = ellipse(x, y, r, r * 1.25, n=18)
    pupil = ellipse(x + 0.012, y + 0.004, r * wide, r * 0.95, n=14)
    highlight = ellipse(x - 0.006, y - 0.024, r * 0.3, n=8)
    return [shape_of(eyeball, iris), flat(pupil, INK), flat(highlight, WHITE)]


def _mouth(x: float, y: float, nose: Color, wide: float = 0.05) -> Shapes:
    """A nose at (x, y) and a smile below it."""
    half = tube("0,0.055 0.025,0.078 0.05,0.055", 0.009) * (wide / 0.05, 1)
    tip = blob("-0.042,-0.02 0.042,-0.02 0.01,0.03 -0.01,0.03")
    return [
        flat(half * (-1, 1) + (x, y), INK),
        flat(half * (1, 1) + (x, y), INK),
        flat(tip + (x, y), nose),
    ]


def _leg(x: float, limb: str, color: Color, foot: Color, width: float) -> Shapes:
    thigh = capsule(x, -0.27, x, -0.06, width * 1.1, width * 0.9)
    paw = ellipse(x + 0.02, -0.042, width * 1.15, 0.044, n=18)
    return [shape_of(thigh, color, LEGS, limb), shape_of(paw, foot, LEGS, limb)]


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
    """A four-legged animal from the side: what is behind it, far legs, body, near legs,
    head."""
    legs = legs or color
    foot = foot or legs
    far_legs = shade(legs, 0.74)
    far_foot = shade(foot, 0.74)
    return [
        *behind,
        *_leg(-0.23, "leg0", far_legs, far_foot, width),
        *_leg(0.15, "leg1", far_legs, far_foot, width),
        *solid(body, color, BODY),
        *coat,
        *_leg(-0.33, "leg2", legs, foot, width),
        *_leg(0.05, "leg3", legs, foot, width),
        *solid(head, color),
        *face,
    ]


# --- kinds --------------------------------------------------------------------------------------------------


def _cat(main: Color) -> Shapes:
    dark = shade(main, 0.6)
    nose = (236, 110, 130)
    head = blob(
        "0.25,-0.86 0.43,-0.77 0.51,-0.59 0.38,-0.45 0.25,-0.425 0.12,-0.45 -0.01,-0.59 0.07,-0.77"
    )
    tail = "-0.4,-0.42 -0.55,-0.46 -0.61,-0.62 -0.53,-0.78 -0.6,-0.92"
    ear = path("0.05,-0.7 0.24,-1.0 0.27,-0.7")
    inner_ear = path("0.105,-0.74 0.222,-0.93 0.215,-0.74")
    stripes = [(-0.32, 0), (-0.22, 0.012), (-0.12, 0.015)]
    whiskers = [
        (side, y, d) for side in (-1, 1) for y, d in ((-0.555, -0.03), (-0.525, 0.02))
    ]
    return _beast(
        main,
        behind=[
            shape_of(tube(tail, 0.052, 0.05, 0.042), main, BODY, "tail"),
            flat(tube("-0.53,-0.78 -0.6,-0.92", 0.045, 0.034), dark, BODY, "tail"),
            *_ears(ear, main, (inner_ear, ROSE)),
        ],
        body=blob(
            "-0.44,-0.4 -0.3,-0.53 -0.1,-0.53 0.16,-0.52 0.23,-0.36 0.1,-0.23 -0.2,-0.22 -0.4,-0.26"
        ),
        coat=[
            flat(capsule(x, -0.525 - lift, x + 0.02, -0.41, 0.024, 0.008), dark, BODY)
            for x, lift in stripes
        ],
        head=head,
        face=[
            *[
                flat(capsule(x, -0.825, x, -0.76, 0.017, 0.006), dark)
                for x in (0.19, 0.25, 0.31)
            ],
            *[
                flat(
                    capsule(0.25 + side * 0.13, y, 0.25 + side * 0.31, y + d, 0.008),
                    shade(main, 0.45),
                )
                for side, y, d in whiskers
            ],
            *_spots(0.25, 0.05, -0.53, 0.075, 0.058, shade(main, 1.65)),
            *_eyes(0.25, -0.655, 0.105, 0.06, (176, 226, 92)),
            *_mouth(0.25, -0.57, nose),
        ],
        foot=WHITE,
        width=0.054,
    )


def _dog(main: Color) -> Shapes:
    dark = shade(main, 0.5)
    pale = shade(main, 1.55)
    body = blob(
        "-0.47,-0.42 -0.36,-0.56 -0.1,-0.57 0.15,-0.6 0.26,-0.42 0.15,-0.22 -0.15,-0.21 -0.4,-0.23"
    )
    muzzle = blob(
        "0.24,-0.66 0.42,-0.7 0.6,-0.67 0.645,-0.58 0.56,-0.49 0.38,-0.46 0.24,-0.5"
    )
    ear = blob(
        "0,-0.83 0.1,-0.8 0.1,-0.6 0.05,-0.4 -0.06,-0.36 -0.13,-0.46 -0.09,-0.68"
    )
    tongue = blob("0.43,-0.5 0.51,-0.5 0.52,-0.4 0.47,-0.36 0.42,-0.4")
    saddle = blob(
        "-0.38,-0.5 -0.26,-0.575 -0.1,-0.57 -0.08,-0.46 -0.22,-0.4 -0.36,-0.42"
    )
    tail = tube("-0.4,-0.46 -0.54,-0.56 -0.58,-0.74", 0.07, 0.055, 0.03)
    return _beast(
        main,
        behind=[shape_of(tail, main, BODY, "tail")],
        body=body,
        coat=[
            flat(saddle, dark, BODY),
            flat(ellipse(0.12, -0.32, 0.1, 0.13), shade(main, 1.6), BODY),
        ],
        head=blob(
            "0.02,-0.82 0.16,-0.92 0.34,-0.9 0.46,-0.76 0.44,-0.55 0.25,-0.45 0.05,-0.5 -0.02,-0.66"
        ),
        face=[
            shape_of(tongue, (240, 92, 112)),
            *solid(muzzle, pale),
            flat(tube("0.4,-0.52 0.5,-0.52 0.6,-0.56", 0.01), INK),
            flat(ellipse(0.6, -0.655, 0.062, 0.05), INK),
            flat(ellipse(0.585, -0.672, 0.02, 0.012, n=8), WHITE),
            flat(ellipse(0.36, -0.77, 0.082, 0.095), dark),
            *_eye(0.2, -0.76, 0.058),
            *_eye(0.36, -0.76, 0.052),
            *solid(ear, dark),
        ],
        foot=pale,
        width=0.07,
    )


def _fox(main: Color) -> Shapes:
    tail = tube(
        "-0.36,-0.36 -0.56,-0.38 -0.72,-0.54 -0.76,-0.76", 0.05, 0.13, 0.145, 0.05
    )
    tip = tube("-0.73,-0.6 -0.755,-0.7 -0.76,-0.77", 0.115, 0.08, 0.03)
    ear = blob("0.05,-0.68 0.13,-0.92 0.26,-1.1 0.27,-0.92 0.29,-0.68")
    inner_ear = path("0.12,-0.76 0.23,-0.98 0.225,-0.76")
    ear_tip = path("0.203,-0.99 0.26,-1.1 0.287,-0.99")
    chest = blob("0.02,-0.46 0.19,-0.46 0.2,-0.32 0.1,-0.2 0.02,-0.3")
    cheek = blob("0.01,-0.6 0.12,-0.62 0.3,-0.6 0.14,-0.47 0.01,-0.42")
    return _beast(
        main,
        behind=[
            shape_of(tail, main, BODY, "tail"),
            flat(tip, WHITE, BODY, "tail"),
            *_ears(ear, main, (inner_ear, CREAM), (ear_tip, SOOT)),
        ],
        body=blob(
            "-0.44,-0.4 -0.3,-0.52 -0.05,-0.53 0.16,-0.54 0.22,-0.38 0.1,-0.22 -0.2,-0.23 -0.4,-0.27"
        ),
        coat=[flat(chest, WHITE, BODY)],
        head=blob(
            "0.25,-0.86 0.42,-0.78 0.57,-0.6 0.4,-0.49 0.25,-0.4 0.1,-0.49 -0.07,-0.6 0.08,-0.78"
        ),
        face=[
            flat(_on_face(cheek, -1), WHITE),
            flat(_on_face(cheek, 1), WHITE),
            *_eyes(0.25, -0.68, 0.1, 0.05),
            *_mouth(0.25, -0.54, INK, 0.045),
        ],
        legs=shade(main, 0.8),
        foot=SOOT,
        width=0.055,
    )


def _panda(main: Color) -> Shapes:
    shoulders = blob("0,-0.59 0.15,-0.6 0.24,-0.4 0.16,-0.19 -0.02,-0.18 -0.07,-0.38")
    return _beast(
        main,
        behind=[
            shape_of(ellipse(-0.5, -0.36, 0.06), SOOT, BODY, "tail"),
            *solid(ellipse(0.24 - 0.21, -0.86, 0.105), SOOT),
            *solid(ellipse(0.24 + 0.21, -0.86, 0.105), SOOT),
        ],
        body=ellipse(-0.14, -0.385, 0.385, 0.235),
        coat=[flat(shoulders, SOOT, BODY)],
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
    behind = [shape_of(ellipse(-0.49, -0.3, 0.1), WHITE, BODY, "tail")]
    for side in (-1, 1):
        x = 0.25 + side * 0.115
        ear = ellipse(x, -0.98, 0.078, 0.26, side * 10)
        inner_ear = ellipse(x, -0.97, 0.04, 0.19, side * 10)
        behind += [*solid(ear, main), flat(inner_ear, ROSE)]
    return _beast(
        main,
        behind=behind,
        body=blob(
            "-0.5,-0.3 -0.44,-0.48 -0.24,-0.58 0,-0.52 0.2,-0.44 0.22,-0.3 0.05,-0.19 -0.3,-0.17"
        ),
        coat=[
            *solid(ellipse(-0.29, -0.27, 0.17, 0.165), main, LEGS),
            flat(ellipse(0.12, -0.32, 0.09, 0.12), pale, BODY),
        ],
        head=ellipse(0.25, -0.63, 0.25, 0.225),
        face=[
            shape_of(box(0.215, -0.52, 0.285, -0.44, 0.012), WHITE),
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
        behind=[shape_of(tube(curl, 0.024, 0.018), dark, BODY, "tail")],
        body=ellipse(-0.12, -0.375, 0.4, 0.225),
        coat=[],
        head=ellipse(0.25, -0.62, 0.275, 0.245),
        face=[
            *_spots(0.25, 0.2, -0.55, 0.055, 0.04, shade(main, 0.88)),
            *_eyes(0.26, -0.69, 0.115, 0.046),
            *solid(ellipse(0.27, -0.555, 0.135, 0.095), shade(main, 0.9)),
            *_spots(0.27, 0.05, -0.555, 0.024, 0.04, shade(main, 0.4), n=14),
            *_ears(blob("0.09,-0.82 0.21,-0.93 0.33,-0.88 0.35,-0.7 0.23,-0.74"), dark),
        ],
        foot=shade(main, 0.5),
        width=0.066,
    )


UPRIGHT = ("robot", "fairy", "astronaut")
_SIDES = ((-1, "leg1", "arm1"), (1, "leg2", "arm2"))  # of actors that walk upright


def _robot(main: Color) -> Shapes:
    steel = shade(main, 0.58)
    shapes = []
    for side, leg, arm in _SIDES:
        shapes += _robot_limbs(main, steel, side, leg, arm)
    shapes += _robot_trunk(main)
    shapes += _robot_head(main, steel)
    return shapes


def _robot_limbs(main: Color, steel: Color, side: int, leg: str, arm: str) -> Shapes:
    """The leg and the arm of a robot on one side, -1 or 1."""
    x = side * 0.14
    shin = box(x - 0.06, -0.28, x + 0.06, -0.06, 0.02)
    foot = box(x - 0.1, -0.1, x + 0.1, 0.0, 0.04)
    forearm = capsule(side * 0.28, -0.5, side * 0.37, -0.32, 0.05)
    hand = ellipse(side * 0.38, -0.28, 0.075)
    return [
        shape_of(shin, steel, LEGS, leg),
        shape_of(foot, shade(steel, 0.75), LEGS, leg),
        shape_of(forearm, steel, BODY, arm),
        *solid(hand, main, BODY, arm),
    ]


def _robot_trunk(main: Color) -> Shapes:
    trunk = box(-0.27, -0.58, 0.27, -0.19, 0.07)
    socket = ellipse(0, -0.385, 0.11)
    lamp = ellipse(0, -0.385, 0.08)
    gleam = ellipse(-0.02, -0.41, 0.03)
    return [
        *solid(trunk, main, BODY),
        shape_of(socket, INK, BODY),
        flat(lamp, GLOW, BODY),
        flat(gleam, WHITE, BODY),
    ]


def _robot_head(main: Color, steel: Color) -> Shapes:
    antenna = capsule(0, -0.94, 0, -1.04, 0.018)
    bulb = ellipse(0, -1.06, 0.06)
    left_ear = box(-0.31 - 0.04, -0.84, -0.31 + 0.04, -0.68, 0.02)
    right_ear = box(0.31 - 0.04, -0.84, 0.31 + 0.04, -0.68, 0.02)
    return [
        shape_of(antenna, steel),
        *solid(bulb, (240, 66, 60)),
        shape_of(left_ear, steel),
        shape_of(right_ear, steel),
        *_robot_face(main, steel),
    ]


def _robot_face(main: Color, steel: Color) -> Shapes:
    """The head itself, with eyes behind a visor, and teeth."""
    head = box(-0.3, -0.96, 0.3, -0.59, 0.09)
    visor = box(-0.23, -0.89, 0.23, -0.71, 0.07)
    mouth = box(-0.14, -0.685, 0.14, -0.625, 0.025)
    shapes = [
        *solid(head, main),
        shape_of(visor, SOOT),
        shape_of(mouth, shade(steel, 0.7)),
    ]
    for x in (-0.11, 0.11):
        eye = ellipse(x, -0.8, 0.068)
        highlight = ellipse(x - 0.018, -0.82, 0.024, n=10)
        shapes += [flat(eye, GLOW), flat(highlight, WHITE)]
    for x in (-0.1, -0.018, 0.064):
        tooth = box(x, -0.675, x + 0.036, -0.637, 0.005)
        shapes.append(flat(tooth, WHITE))
    return shapes


def _car(main: Color) -> Shapes:
    wheels = [*_wheel("wheel0", -0.38), *_wheel("wheel1", 0.38)]
    return [*_cabin(main), *_hull(main), *wheels]


def _cabin(main: Color) -> Shapes:
    """The roof and its windows, which count as the car's head."""
    glass: Color = (190, 230, 248)
    roof = blob(
        "-0.46,-0.4 -0.36,-0.62 -0.24,-0.74 0.1,-0.74 0.24,-0.62 0.38,-0.4 0,-0.38"
    )
    rear_window = blob("-0.35,-0.45 -0.28,-0.6 -0.2,-0.67 -0.07,-0.67 -0.06,-0.45")
    front_window = blob("0,-0.45 0,-0.67 0.09,-0.67 0.17,-0.6 0.27,-0.45")
    rear_gleam = path("-0.24,-0.5 -0.17,-0.64 -0.12,-0.64 -0.19,-0.5")
    front_gleam = path("0.05,-0.5 0.08,-0.62 0.11,-0.62 0.09,-0.5")
    return [
        *solid(roof, main, HEAD, "trunk"),
        shape_of(rear_window, glass, HEAD, "trunk"),
        shape_of(front_window, glass, HEAD, "trunk"),
        flat(rear_gleam, WHITE, HEAD, "trunk"),
        flat(front_gleam, WHITE, HEAD, "trunk"),
    ]


def _hull(main: Color) -> Shapes:
    chrome: Color = (206, 212, 220)
    hull = blob(
        "-0.62,-0.14 -0.66,-0.3 -0.58,-0.43 -0.3,-0.46 0.3,-0.46 0.58,-0.4 0.67,-0.26 0.62,-0.13 0,-0.12"
    )
    headlight = ellipse(0.59, -0.31, 0.06, 0.07)
    tail_light = box(-0.66, -0.37, -0.59, -0.27, 0.025)
    front_bumper = capsule(0.6, -0.17, 0.68, -0.17, 0.035)
    rear_bumper = capsule(-0.68, -0.17, -0.6, -0.17, 0.035)
    handle = capsule(-0.14, -0.37, -0.06, -0.37, 0.017)
    seam = capsule(-0.03, -0.43, -0.03, -0.2, 0.008)
    return [
        *solid(hull, main, BODY),
        shape_of(headlight, (255, 242, 160), BODY),
        shape_of(tail_light, (252, 110, 60), BODY),
        shape_of(front_bumper, chrome, BODY),
        shape_of(rear_bumper, chrome, BODY),
        flat(handle, INK, BODY),
        flat(seam, shade(main, 0.5), BODY),
    ]


def _wheel(limb: str, x: float) -> Shapes:
    tyre = ellipse(x, -0.15, 0.155)
    rim = ellipse(x, -0.15, 0.088)
    level_spoke = capsule(x - 0.075, -0.15, x + 0.075, -0.15, 0.014)
    upright_spoke = capsule(x, -0.225, x, -0.075, 0.014)
    spokes: Color = (116, 120, 132)
    return [
        shape_of(tyre, (44, 44, 52), LEGS, limb),
        flat(rim, (208, 212, 220), LEGS, limb),
        flat(level_spoke, spokes, LEGS, limb),
        flat(upright_spoke, spokes, LEGS, limb),
    ]


def _wings() -> Shapes:
    """Two lobes on each side, each with a lighter patch around its root."""
    low = blob("0.08,-0.42 0.34,-0.4 0.5,-0.26 0.42,-0.14 0.2,-0.22")
    top = blob("0.08,-0.46 0.26,-0.72 0.5,-0.86 0.62,-0.72 0.5,-0.48 0.24,-0.4")
    shapes = []
    for side in (-1, 1):
        root = np.array([side * 0.1, -0.44])
        for lobe in (low * (side, 1), top * (side, 1)):
            patch = (lobe - root) * 0.62 + root + (side * 0.06, 0)
            shapes += [shape_of(lobe, (206, 238, 255), BODY), flat(patch, WHITE, BODY)]
    return shapes


def _fairy(main: Color) -> Shapes:
    """Dress, shoes and hair are painted; only the natural one has brown hair."""
    hair = HAIR if main == NATURAL["fairy"] else shade(main, 0.66)
    trim = shade(main, 0.6)
    bun = ellipse(0, -1.0, 0.1, 0.09)
    locks = blob(
        "0,-1 0.22,-0.93 0.3,-0.74 0.25,-0.58 0,-0.54 -0.25,-0.58 -0.3,-0.74 -0.22,-0.93"
    )
    shapes = [*_wings(), *solid(bun, hair), *solid(locks, hair)]

    shoe = blob("-0.06,-0.1 0.05,-0.1 0.11,-0.03 0.08,0 -0.06,0")
    for side, leg, arm in _SIDES:
        x = side * 0.105
        shin = capsule(x, -0.27, x, -0.07, 0.05)
        forearm = capsule(side * 0.18, -0.5, side * 0.3, -0.35, 0.046)
        sleeve = ellipse(side * 0.18, -0.505, 0.085, 0.07)
        shapes += [
            shape_of(shin, SKIN, LEGS, leg),
            shape_of(shoe + (x, 0), trim, LEGS, leg),
            shape_of(forearm, SKIN, BODY, arm),
            shape_of(sleeve, shade(main, 1.6), BODY, arm),
        ]

    wand = capsule(0.3, -0.36, 0.42, -0.52, 0.014)
    dress = blob(
        "-0.12,-0.57 0.12,-0.57 0.17,-0.42 0.27,-0.3 0.32,-0.22 0.16,-0.25 0,-0.2 "
        "-0.16,-0.25 -0.32,-0.22 -0.27,-0.3 -0.17,-0.42"
    )
    belt = blob("-0.16,-0.435 0,-0.42 0.16,-0.435 0.17,-0.39 0,-0.375 -0.17,-0.39")
    face = ellipse(0.01, -0.735, 0.228, 0.195)
    fringe = blob(
        "-0.27,-0.7 -0.25,-0.86 -0.12,-0.97 0.1,-0.975 0.25,-0.87 "
        "0.28,-0.7 0.2,-0.81 0.06,-0.86 -0.08,-0.83 -0.19,-0.8"
    )
    mouth = tube("-0.045,-0.633 0.015,-0.61 0.075,-0.633", 0.012)
    return [
        *shapes,
        shape_of(wand, (150, 96, 50), BODY, "arm2"),
        shape_of(_star(0.44, -0.56, 0.085), (255, 220, 60), BODY, "arm2"),
        *solid(dress, main, BODY),
        flat(belt, trim, BODY),
        shape_of(face, SKIN),
        *solid(fringe, hair),
        *_spots(0.015, 0.145, -0.65, 0.046, 0.032, ROSE),
        *_eyes(0.015, -0.73, 0.092, 0.05),
        flat(mouth, LIPS),
    ]


def _star(x: float, y: float, r: float) -> np.ndarray:
    turn = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, r, 0.45 * r)
    return np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], 1)


def _astronaut(main: Color) -> Shapes:
    seam = shade(main, 0.58)
    trim: Color = (244, 124, 44)
    oxygen = box(-0.3, -0.64, 0.3, -0.26, 0.06)
    shapes = solid(oxygen, STEEL, BODY)

    boot = blob("-0.1,-0.09 0.09,-0.09 0.125,-0.03 0.1,0 -0.1,0")
    for side, leg, arm in _SIDES:
        x = side * 0.135
        shapes += _astronaut_leg(main, trim, x, leg)
        shapes.append(shape_of(boot + (x, 0), seam, LEGS, leg))
        shapes += _astronaut_arm(main, trim, side, arm)
    suit = blob(
        "-0.2,-0.57 0.2,-0.57 0.28,-0.4 0.24,-0.22 0,-0.18 -0.24,-0.22 -0.28,-0.4"
    )
    panel = box(-0.13, -0.47, 0.13, -0.3, 0.03)
    slot = capsule(-0.07, -0.345, 0.07, -0.345, 0.018)
    left_lamp = ellipse(-0.07, -0.42, 0.03, n=12)
    middle_lamp = ellipse(0, -0.42, 0.03, n=12)
    right_lamp = ellipse(0.07, -0.42, 0.03, n=12)
    return [
        *shapes,
        *solid(suit, main, BODY),
        shape_of(panel, seam, BODY),
        flat(left_lamp, (240, 70, 70), BODY),
        flat(middle_lamp, (250, 214, 60), BODY),
        flat(right_lamp, GLOW, BODY),
        flat(slot, WHITE, BODY),
        *_helmet(main, trim),
    ]


def _astronaut_leg(main: Color, trim: Color, x: float, leg: str) -> Shapes:
    trousers = capsule(x, -0.27, x, -0.1, 0.1, 0.092)
    stripe = box(x - 0.094, -0.165, x + 0.094, -0.125, 0.01)
    return [*solid(trousers, main, LEGS, leg), flat(stripe, trim, LEGS, leg)]


def _astronaut_arm(main: Color, trim: Color, side: int, arm: str) -> Shapes:
    sleeve = capsule(side * 0.24, -0.5, side * 0.38, -0.35, 0.085, 0.075)
    glove = ellipse(side * 0.41, -0.315, 0.07)
    return [*solid(sleeve, main, BODY, arm), shape_of(glove, trim, BODY, arm)]


def _helmet(main: Color, trim: Color) -> Shapes:
    """The helmet with the astronaut's face behind its visor."""
    helmet = ellipse(0, -0.76, 0.315, 0.275)
    left_phone = box(-0.315 - 0.04, -0.82, -0.315 + 0.04, -0.69, 0.03)
    right_phone = box(0.315 - 0.04, -0.82, 0.315 + 0.04, -0.69, 0.03)
    visor = ellipse(0.02, -0.745, 0.245, 0.2)
    face = ellipse(0.02, -0.715, 0.18, 0.155)
    hair = blob(
        "-0.16,-0.76 -0.1,-0.87 0.02,-0.9 0.14,-0.87 0.2,-0.76 0.1,-0.81 -0.04,-0.82"
    )
    mouth = tube("-0.035,-0.638 0.02,-0.618 0.075,-0.638", 0.012)
    gleam = tube("-0.17,-0.75 -0.13,-0.85 -0.05,-0.9", 0.016)
    return [
        *solid(helmet, main),
        shape_of(left_phone, trim),
        shape_of(right_phone, trim),
        shape_of(visor, (58, 84, 128)),
        flat(face, SKIN),
        flat(hair, HAIR),
        *_eyes(0.02, -0.73, 0.078, 0.042),
        flat(mouth, LIPS),
        flat(gleam, WHITE),
    ]


_DRAWN = (_cat, _dog, _fox, _panda, _rabbit, _pig, _robot, _car, _fairy, _astronaut)
BUILDERS: dict[str, Callable[[Color], Shapes]] = dict(zip(NATURAL, _DRAWN, strict=True))
