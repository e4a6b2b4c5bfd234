"""Places and styles of the drawn world.

A background is painted `wide` frame widths wide, so that a camera can move along it;
what identifies it (sun, palm, moon) is placed where every frame shows it.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from storybook.draw import WHITE, Color, box, capsule, ellipse, paint, path, poly, shade

HORIZON = 0.62
Stops = list[tuple[float, Color]]


# --- building blocks ----------------------------------------------------------------------------------------


def _fill(img: np.ndarray, top: float, stops: Stops) -> None:
    """Blend colours from the height `top` down; heights are fractions of the frame."""
    n = img.shape[0]
    first = int(top * n)
    y = np.arange(first, n) / n
    heights = [height for height, _ in stops]
    channels = zip(*(color for _, color in stops), strict=True)
    column = np.stack([np.interp(y, heights, values) for values in channels], 1)
    img[first:] = column.round().astype(np.uint8)[:, None]


def _width(img: np.ndarray) -> float:
    return img.shape[1] / img.shape[0]


def _seen(img: np.ndarray, rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a place between `low` and `high` of the frame when the camera is in the
    middle."""
    return float((_width(img) - 1) / 2 + rng.uniform(low, high))


def _along(
    img: np.ndarray, rng: np.random.Generator, gap: float, jitter: float = 0.3
) -> np.ndarray:
    """Draw places about `gap` apart, along the whole width."""
    x = np.arange(-gap * rng.random(), _width(img) + gap, gap)
    return x + rng.uniform(-jitter, jitter, len(x)) * gap


def _scattered(
    img: np.ndarray, rng: np.random.Generator, count: int, top: float, bottom: float
) -> np.ndarray:
    """Draw about `count` places per frame width: [n, 2], (x, y)."""
    count = round(count * _width(img))
    x = rng.uniform(0, _width(img), count)
    y = rng.uniform(top, bottom, count)
    return np.stack([x, y], 1)


def _shape(img: np.ndarray, points: np.ndarray, color: Color) -> None:
    paint(img, points * img.shape[0], color)


def _hills(
    img: np.ndarray,
    rng: np.random.Generator,
    y: float,
    bump: float,
    color: Color,
    rough: float = 1.0,
) -> None:
    wide = _width(img)
    x = np.linspace(0, wide, 40)
    a, b = rng.uniform(0, 6, 2)
    line = y - bump * (
        0.5 + 0.5 * np.sin(5 * rough * x + a) * np.cos(3 * rough * x + b)
    )
    ridge = np.stack([x, line], 1)
    bottom = [[wide, 1], [0, 1]]
    _shape(img, np.concatenate([ridge, bottom]), color)


def _dots(img: np.ndarray, at: np.ndarray, radius: float, color: Color) -> None:
    for x, y in at:
        _shape(img, ellipse(x, y, radius, n=8), color)


def _tufts(
    img: np.ndarray, rng: np.random.Generator, color: Color, count: int = 14
) -> None:
    for x, y in _scattered(img, rng, count, HORIZON + 0.04, 0.98):
        h = 0.02 + 0.05 * (y - HORIZON)
        blades = poly(
            (x - 0.014, y),
            (x - 0.008, y - h),
            (x, y - 0.4 * h),
            (x + 0.006, y - h),
            (x + 0.014, y),
        )
        _shape(img, blades, color)


def _sun(img: np.ndarray, x: float, y: float, r: float, color: Color) -> None:
    sky = img[int(y * img.shape[0]), 0].astype(float)
    for grow, opacity in ((1.5, 0.3), (1.22, 0.55), (1.0, 1.0)):
        mixed = opacity * np.array(color) + (1 - opacity) * sky
        red, green, blue = mixed.round().astype(int).tolist()
        _shape(img, ellipse(x, y, r * grow), (red, green, blue))


def _cloud(img: np.ndarray, x: float, y: float, s: float, color: Color = WHITE) -> None:
    puffs = path(
        "-0.09,0.01,0.045 0,-0.02,0.065 0.09,0.01,0.05 0.03,0.02,0.05 -0.04,0.02,0.045"
    )
    for shift, tone in ((0.012, shade(color, 0.9)), (0.0, color)):
        for dx, dy, r in puffs:
            puff = ellipse(x + dx * s, y + (dy + shift) * s, r * s, r * s * 0.75, n=16)
            _shape(img, puff, tone)


# A fir's tiers, lowest first: half the width, foot and tip in heights of the tree; how
# light they are.
_Tier = tuple[float, float, float, float]
_TIERS: tuple[_Tier, ...] = (
    (0.32, 0.15, 0.55, 1.0),
    (0.26, 0.4, 0.78, 1.08),
    (0.19, 0.63, 1.0, 1.16),
)


def _fir(
    img: np.ndarray, x: float, y: float, h: float, green: Color, snow: bool = False
) -> None:
    """Draw a fir whose foot is at (x, y), `h` high."""
    left = x - 0.02
    right = x + 0.02
    top = y - 0.2 * h
    trunk = poly((left, y), (right, y), (right, top), (left, top))
    _shape(img, trunk, (112, 76, 48))
    for tier in _TIERS:
        _fir_tier(img, x, y, h, tier, green)
        if snow:
            _snowy_tier(img, x, y, h, tier)


def _fir_tier(
    img: np.ndarray, x: float, y: float, h: float, tier: _Tier, green: Color
) -> None:
    """Draw a tier of a fir, its right side in shadow."""
    half, low, high, light = tier
    foot = y - low * h
    tip = (x, y - high * h)
    left_corner = (x - half * h, foot)
    right_corner = (x + half * h, foot)
    needles = poly(left_corner, tip, right_corner)
    shadow = poly((x + 0.05 * h, foot), tip, right_corner)
    _shape(img, needles, shade(green, light))
    _shape(img, shadow, shade(green, 0.84))


def _snowy_tier(img: np.ndarray, x: float, y: float, h: float, tier: _Tier) -> None:
    """Draw snow on the upper half of a fir's tier."""
    half, low, high, _ = tier
    tip = (x, y - high * h)
    middle = low + (high - low) * 0.5
    edge = y - middle * h
    cap = _snow_cap(tip, edge, half * h * 0.5, 0.06 * h)
    _shape(img, cap, WHITE)


def _snow_cap(
    tip: tuple[float, float], edge: float, reach: float, notch: float
) -> np.ndarray:
    """Polygon of the snow below a tip, down to the height `edge`; its lower edge has a
    notch."""
    x, _ = tip
    left = (x - reach, edge)
    right = (x + reach, edge)
    return poly(left, tip, right, (x, edge - notch))


# --- backgrounds --------------------------------------------------------------------------------------------


def _forest(img: np.ndarray, rng: np.random.Generator, wide: float) -> None:
    _hills(img, rng, 0.5, 0.08, (128, 192, 146))
    for x in _along(img, rng, 0.15):
        _fir(img, x, 0.56, rng.uniform(0.28, 0.36), (76, 150, 104))
    for x in _along(img, rng, 0.2):
        _fir(img, x, 0.61, rng.uniform(0.42, 0.54), (36, 112, 66))
    _fill(img, 0.59, [(0.59, (106, 184, 84)), (1, (50, 124, 58))])
    _tufts(img, rng, (140, 210, 98))


_PETALS: tuple[Color, ...] = ((252, 226, 84), (252, 252, 252), (246, 130, 166))


def _grass(img: np.ndarray, rng: np.random.Generator, wide: float) -> None:
    for x in _along(img, rng, 0.45):
        _cloud(img, x, rng.uniform(0.1, 0.28), rng.uniform(0.8, 1.2))
    _hills(img, rng, 0.55, 0.12, (160, 216, 124))
    _hills(img, rng, 0.6, 0.05, (130, 200, 98), 1.4)
    _fill(img, HORIZON, [(HORIZON, (118, 196, 84)), (1, (74, 156, 62))])
    _tufts(img, rng, (158, 224, 112), 10)
    for x, y in _scattered(img, rng, 7, 0.67, 0.98):
        color = _PETALS[int(rng.integers(3))]
        petals = poly((x - 0.012, y), (x + 0.012, y), (x, y - 0.012), (x, y + 0.012))
        _dots(img, petals, 0.009, color)
        _dots(img, poly((x, y)), 0.007, (250, 170, 40))


def _beach(img: np.ndarray, rng: np.random.Generator, wide: float) -> None:
    on_the_left = rng.random() < 0.5
    palm = _seen(img, rng, 0.12, 0.3) if on_the_left else _seen(img, rng, 0.7, 0.88)
    _sun(img, _seen(img, rng, 0.4, 0.6), 0.14, 0.07, (255, 232, 120))
    _fill(img, 0.44, [(0.44, (24, 116, 196)), (0.62, (92, 206, 222))])
    for x, y in _scattered(img, rng, 7, 0.47, 0.57):
        _shape(img, capsule(x, y, x + 0.09, y, 0.006), (226, 246, 252))
    _fill(img, 0.6, [(0.6, (252, 232, 180)), (1, (228, 190, 120))])
    _shape(img, capsule(-0.05, 0.605, wide + 0.05, 0.605, 0.013), WHITE)
    _palm(img, palm, 0.05 if palm < wide / 2 else -0.05)
    _dots(img, _scattered(img, rng, 10, 0.66, 0.98), 0.009, (206, 164, 98))


def _palm(img: np.ndarray, x: float, lean: float) -> None:
    """Draw a palm at x whose trunk bends so that its top is `lean` farther to the
    right."""
    for i in range(6):
        low = i / 6
        lower = _on_trunk(x, lean, low)
        upper = _on_trunk(x, lean, (i + 1) / 6)
        piece = capsule(*lower, *upper, 0.024 - 0.006 * low)
        _shape(img, piece, (164, 114, 68))
    for turn in (-165, -125, -55, -15, 30, 150):
        _palm_leaf(img, x + lean, turn)


def _on_trunk(x: float, lean: float, up: float) -> tuple[float, float]:
    """Return a place on a palm's trunk: `up` is 0 at its foot and 1 at its top."""
    return x + lean * up * up, 0.68 - 0.42 * up


def _palm_leaf(img: np.ndarray, top: float, turn: float) -> None:
    """Draw a leaf of a palm whose top is at x `top`; turned by so many degrees."""
    t = np.deg2rad(turn)
    x = top + 0.1 * np.cos(t)
    y = 0.25 + 0.07 * np.sin(t)
    color = (46, 156, 82) if turn < -50 else (34, 128, 66)
    leaf = ellipse(x, y, 0.115, 0.032, turn)
    _shape(img, leaf, color)


def _snow(img: np.ndarray, rng: np.random.Generator, wide: float) -> None:
    _hills(img, rng, 0.58, 0.16, (206, 222, 244))
    for x in _along(img, rng, 0.34):
        _fir(img, x, 0.62, rng.uniform(0.26, 0.36), (58, 112, 112), snow=True)
    _fill(img, 0.6, [(0.6, (246, 250, 255)), (1, (202, 218, 242))])
    for x, y in _scattered(img, rng, 4, 0.7, 0.98):
        _shape(img, ellipse(x, y, 0.1, 0.018), (222, 232, 248))
    _dots(img, _scattered(img, rng, 30, 0.0, 0.62), 0.01, WHITE)


def _city(img: np.ndarray, rng: np.random.Generator, wide: float) -> None:
    x = -0.1 * rng.random()
    while x < wide:
        w = rng.uniform(0.15, 0.21)
        _house(img, rng, x, w)
        x += w
    pavement: Stops = [(HORIZON, (184, 184, 190)), (0.67, (176, 176, 184))]
    street: Stops = [(0.671, (108, 110, 122)), (1, (72, 74, 86))]
    _fill(img, HORIZON, pavement + street)
    for x in np.arange(-0.2 * rng.random(), wide, 0.24):
        _street_stripe(img, x)


def _street_stripe(img: np.ndarray, x: float) -> None:
    stripe = poly((x, 0.86), (x + 0.11, 0.86), (x + 0.105, 0.882), (x - 0.005, 0.882))
    _shape(img, stripe, (244, 236, 204))


_WALLS: tuple[Color, ...] = (
    (110, 128, 178),
    (172, 130, 146),
    (98, 112, 152),
    (190, 156, 136),
)


def _house(img: np.ndarray, rng: np.random.Generator, x: float, w: float) -> None:
    """Draw a house, `w` wide, whose left side is at x, with two thirds of its windows
    lit."""
    top = 0.64 - rng.uniform(0.28, 0.54)
    wall = _WALLS[int(rng.integers(4))]
    right = x + w - 0.012
    front = box(x, top, right, 0.66, 0.004)
    shadow = box(x + 0.8 * w, top, right, 0.66, 0.004)
    _shape(img, front, wall)
    _shape(img, shadow, shade(wall, 0.8))
    lit = rng.random((8, 3)) < 0.65
    for row, y in enumerate(np.arange(top + 0.035, 0.58, 0.08)):
        _storey(img, x, y, w, lit[row % 8], shade(wall, 0.72))


def _storey(
    img: np.ndarray, x: float, y: float, w: float, lit: np.ndarray, dark: Color
) -> None:
    """Draw the windows of a storey at the height y of a house, some of them `lit`."""
    for column in range(3):
        left = x + 0.02 + column * 0.24 * w
        color = (255, 230, 144) if lit[column] else dark
        _window(img, left, y, color)


def _window(img: np.ndarray, left: float, top: float, color: Color) -> None:
    right = left + 0.028
    bottom = top + 0.042
    pane = poly((left, top), (right, top), (right, bottom), (left, bottom))
    _shape(img, pane, color)


def _desert(img: np.ndarray, rng: np.random.Generator, wide: float) -> None:
    _sun(img, _seen(img, rng, 0.35, 0.65), 0.2, 0.085, (255, 246, 196))
    _hills(img, rng, 0.6, 0.14, (230, 160, 96))
    _hills(img, rng, 0.65, 0.06, (216, 142, 78))
    for x in _along(img, rng, 0.42):
        h = rng.uniform(0.2, 0.3)
        _cactus(img, x, h, 0.008, (62, 130, 72))
        _cactus(img, x, h, 0.0, (88, 160, 88))
    _fill(img, 0.65, [(0.65, (240, 180, 102)), (1, (208, 132, 66))])
    for x, y in _scattered(img, rng, 8, 0.7, 0.98):
        _shape(img, capsule(x, y, x + 0.12, y + 0.008, 0.006), (222, 152, 80))


def _cactus(img: np.ndarray, x: float, h: float, shift: float, color: Color) -> None:
    """Draw a trunk, `h` high, with an arm on each side, all of it `shift` to the right
    of x."""
    middle = x + shift
    left = x - 0.062 + shift
    right = x + 0.068 + shift
    _shape(img, capsule(middle, 0.66, middle, 0.66 - h, 0.03), color)
    _shape(img, capsule(middle, 0.6, right, 0.58, 0.019), color)
    _shape(img, capsule(right, 0.58, right, 0.5, 0.019), color)
    _shape(img, capsule(middle, 0.56, left, 0.54, 0.019), color)
    _shape(img, capsule(left, 0.54, left, 0.47, 0.019), color)


def _night(img: np.ndarray, rng: np.random.Generator, wide: float) -> None:
    _dots(img, _scattered(img, rng, 26, 0.0, 0.5), 0.007, (252, 248, 216))
    x = _seen(img, rng, 0.25, 0.75)
    _shape(img, ellipse(x, 0.16, 0.085), (254, 242, 190))
    red, green, blue = img[int(0.14 * len(img)), 0].tolist()
    _shape(img, ellipse(x + 0.045, 0.14, 0.072), (red, green, blue))
    _hills(img, rng, 0.6, 0.14, (54, 56, 112))
    for x in _along(img, rng, 0.3):
        _fir(img, x, 0.63, rng.uniform(0.16, 0.24), (34, 44, 88))
    _fill(img, HORIZON, [(HORIZON, (50, 76, 104)), (1, (28, 46, 74))])
    _tufts(img, rng, (76, 108, 128))


def _moon(img: np.ndarray, rng: np.random.Generator, wide: float) -> None:
    _dots(img, _scattered(img, rng, 34, 0.0, 0.55), 0.006, (255, 255, 250))
    x = _seen(img, rng, 0.25, 0.75)
    _earth(img, x)
    _hills(img, rng, 0.62, 0.08, (128, 128, 138), 1.8)
    _fill(img, HORIZON, [(HORIZON, (190, 190, 198)), (1, (134, 134, 146))])
    for x, y in _scattered(img, rng, 7, 0.66, 0.97):
        r = rng.uniform(0.5, 1.0) * (0.03 + 0.14 * (y - HORIZON))
        rim = ellipse(x, y, r * 1.6, r * 0.6)
        hole = ellipse(x + 0.1 * r, y + 0.1 * r, r * 1.4, r * 0.45)
        _shape(img, rim, (216, 216, 222))
        _shape(img, hole, (112, 112, 124))


def _earth(img: np.ndarray, x: float) -> None:
    _shape(img, ellipse(x, 0.2, 0.115), (60, 132, 226))
    continents = path(
        "-0.05,-0.04,0.045,0.034 -0.03,0.03,0.03,0.045 0.05,0.01,0.036,0.05"
    )
    for dx, dy, rx, ry in continents:
        continent = ellipse(x + dx, 0.2 + dy, rx, ry, 20)
        _shape(img, continent, (84, 186, 104))
    upper_cloud = capsule(x - 0.04, 0.12, x + 0.03, 0.125, 0.012)
    lower_cloud = capsule(x - 0.01, 0.275, x + 0.04, 0.27, 0.012)
    _shape(img, upper_cloud, WHITE)
    _shape(img, lower_cloud, WHITE)


Painter = Callable[[np.ndarray, np.random.Generator, float], None]
# The colours of each sky, and the function that paints what stands before it.
SCENERY: dict[str, tuple[Stops, Painter]] = {
    "forest": ([(0, (138, 208, 226)), (0.5, (212, 242, 228))], _forest),
    "grass": ([(0, (100, 178, 246)), (0.5, (216, 242, 254))], _grass),
    "beach": ([(0, (84, 176, 244)), (0.45, (204, 236, 252))], _beach),
    "snow": ([(0, (158, 198, 236)), (0.55, (232, 242, 252))], _snow),
    "city": ([(0, (160, 184, 232)), (0.6, (242, 218, 210))], _city),
    "desert": ([(0, (250, 168, 96)), (0.55, (255, 230, 172))], _desert),
    "night": ([(0, (24, 22, 70)), (0.55, (86, 66, 140))], _night),
    "moon": ([(0, (8, 8, 18)), (0.6, (26, 26, 44))], _moon),
}


def backdrop(name: str, n: int, rng: np.random.Generator, wide: float) -> np.ndarray:
    """uint8 [n, n * wide, 3]: one of `SCENERY`."""
    sky, paint_rest = SCENERY[name]
    img = np.empty((n, round(n * wide), 3), np.uint8)
    _fill(img, 0, sky)
    paint_rest(img, rng, wide)
    return img


# --- styles -------------------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator, n: int, cell: int) -> np.ndarray:
    """Return a smooth field of deviation 1, float32 [n, n]."""
    m = max(n // cell, 2)
    coarse = rng.normal(size=(m, m)).astype(np.float32)
    return cv2.resize(coarse, (n, n), interpolation=cv2.INTER_CUBIC)


def _contours(gray: np.ndarray, width: float) -> np.ndarray:
    """Return how dark each pixel is relative to its surroundings, 0 to 1: drawn
    lines."""
    soft = cv2.GaussianBlur(gray, (0, 0), width)
    return ((soft - gray) / 48).clip(0, 1)


def watercolor(img: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft washes on paper: edges bleed, colours lighten, pigment varies in patches and
    gathers at edges."""
    n = img.shape[0]
    wash = cv2.GaussianBlur(img, (0, 0), n / 200).astype(np.float32)
    edge = np.abs(cv2.GaussianBlur(wash, (0, 0), n / 60) - wash).max(2)
    paper = 0.72 * wash + 0.28 * 254 + (11 * _noise(rng, n, 16) - 0.5 * edge)[..., None]
    return paper.clip(0, 255).astype(np.uint8)


def pencil(img: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey drawing: light tone with darkened contours and slanting strokes where it is
    dark."""
    n = img.shape[0]
    gray = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).astype(np.float32)
    y, x = np.mgrid[:n, :n].astype(np.float32) * (128 / n)
    strokes = (0.5 + 0.5 * np.sin(1.25 * (x + y) + 0.6 * _noise(rng, n, 12))) * (
        1 - gray / 255
    )
    tone = 252 - 0.34 * (255 - gray) - 46 * strokes - 150 * _contours(gray, n / 90)
    return np.repeat(tone.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def pixel_art(img: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Big square pixels in few colours."""
    n = img.shape[0]
    m = 42
    small = cv2.resize(img, (m, m), interpolation=cv2.INTER_AREA).astype(np.float32)
    lively = small + 0.25 * (small - small.mean(2, keepdims=True))
    few = ((lively / 36).round() * 36).clip(0, 255).astype(np.uint8)
    return cv2.resize(few, (n, n), interpolation=cv2.INTER_NEAREST)


def chalk(img: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light coloured lines and smudged colour on a dark board."""
    n = img.shape[0]
    values = img.astype(np.float32)
    gray = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).astype(np.float32)
    board = np.array((34, 52, 50), np.float32)
    grain = 0.95 + 0.13 * _noise(rng, n, 3) + 0.08 * _noise(rng, n, 12)
    grain = grain.clip(0.4, 1.4)[..., None]
    vivid = values + 0.5 * (values - values.mean(2, keepdims=True))
    smudged = 0.66 * (vivid - 66).clip(0) * grain
    line = 200 * _contours(gray, n / 64)[..., None] * grain
    drawing = board + smudged + line
    return drawing.clip(0, 255).astype(np.uint8)


FINISHES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "watercolor": watercolor,
    "pencil": pencil,
    "pixel art": pixel_art,
    "chalk": chalk,
}
