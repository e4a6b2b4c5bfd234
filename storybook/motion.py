"""How the actors of the drawn world move: one affine map per limb and frame."""

from __future__ import annotations

import numpy as np

from storybook.characters import UPRIGHT
from storybook.draw import rotation

# Phase of a motion per frame, radians.
TEMPO = {"walk": 0.8, "run": 1.25, "jump": np.pi / 4, "stand": 0.4}
WHEEL = 0.155  # radius
# Where limbs hang, in actor space.
_HIPS = {
    "leg0": (-0.23, -0.28),
    "leg1": (0.15, -0.28),
    "leg2": (-0.33, -0.28),
    "leg3": (0.05, -0.28),
}
_UPRIGHT_JOINTS = {
    "leg1": (-0.13, -0.28),
    "leg2": (0.13, -0.28),
    "arm1": (-0.22, -0.5),
    "arm2": (0.22, -0.5),
}
Swing = dict[str, float]
"""How far each of four legs has swung forward, degrees."""


def _scaled(x: float, y: float) -> np.ndarray:
    """Squash and stretch about the ground."""
    return np.diag([x, y, 1.0])


def _moved(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


def limb_poses(
    kind: str, motion: str, phase: float, turns: float
) -> dict[str, np.ndarray]:
    """Return the 3x3 map of every limb.

    Args:
        kind: Decides how many legs there are, and whether they are wheels.
        motion: "walk", "run", "jump" or "stand".
        phase: Of the motion's cycle, radians.
        turns: How far a wheel has rolled, radians.
    """
    wave = float(np.sin(phase))
    upright = kind in UPRIGHT
    trunk, swing = _stride(motion, phase, wave, upright)
    if upright:
        poses = _upright_limbs(motion, swing)
        neck = (0.0, -0.55)
    elif kind == "car":
        trunk = _shaken(motion, wave, trunk)
        poses = _wheels(np.rad2deg(turns))
        neck = (0.0, 0.0)
    else:
        poses = {leg: rotation(*_HIPS[leg], angle) for leg, angle in swing.items()}
        neck = (0.1, -0.5)
    nod = _nod(motion, phase, wave)
    wag = _wag(motion, phase, wave)
    poses["trunk"] = np.eye(3)
    poses["head"] = rotation(*neck, nod)
    poses["tail"] = rotation(-0.44, -0.42, wag)
    return {name: trunk @ pose for name, pose in poses.items()}


def _wheels(roll: float) -> dict[str, np.ndarray]:
    """Return the maps of both wheels, turned by so many degrees."""
    return {
        "wheel0": rotation(-0.38, -0.15, roll),
        "wheel1": rotation(0.38, -0.15, roll),
    }


def _stride(
    motion: str, phase: float, wave: float, upright: bool
) -> tuple[np.ndarray, Swing]:
    """Return the map of the trunk, and how far the legs have swung."""
    if motion == "walk":
        return _walk(wave)
    if motion == "run":
        return _run(phase, wave, upright)
    if motion == "jump":
        return _leap(phase, upright)
    breathing = _scaled(1 - 0.006 * wave, 1 + 0.012 * wave)
    return breathing, dict.fromkeys(_HIPS, 0.0)


def _walk(wave: float) -> tuple[np.ndarray, Swing]:
    """Return the map of a walker's trunk and the swing of its legs."""
    trunk = _moved(0, -0.012 * abs(wave))
    forward = 24 * wave
    back = -24 * wave
    return trunk, {"leg0": forward, "leg3": forward, "leg1": back, "leg2": back}


def _run(phase: float, wave: float, upright: bool) -> tuple[np.ndarray, Swing]:
    """Return the map of a runner's trunk, which tilts, and the swing of its legs."""
    tilt = 9 if upright else 5 * wave
    trunk = _moved(0, -0.03 - 0.07 * abs(wave)) @ rotation(0, -0.3, tilt)
    early = 42 * wave
    late = 42 * float(np.sin(phase - 0.6))
    return trunk, {"leg0": early, "leg2": late, "leg1": -early, "leg3": -late}


def _nod(motion: str, phase: float, wave: float) -> float:
    """Return how far the head is turned, degrees."""
    if motion == "stand":
        return 2 * wave
    return 2.5 * np.sin(phase + 0.6)


def _wag(motion: str, phase: float, wave: float) -> float:
    """Return how far the tail is turned, degrees."""
    if motion == "stand":
        return 7 * wave
    wag = 9 * np.sin(phase + 1.2)
    return 2 * wag if motion == "run" else wag


def _upright_limbs(motion: str, swing: Swing) -> dict[str, np.ndarray]:
    """Legs and arms that swing against each other."""
    legs, arms = (0.5, 2.6) if motion == "jump" else (0.8, 0.7)
    leg_angle = legs * swing["leg0"]
    arm_angle = arms * swing["leg0"]
    turn = {
        "leg1": leg_angle,
        "leg2": -leg_angle,
        "arm1": arm_angle,
        "arm2": -arm_angle,
    }
    return {
        limb: rotation(*joint, turn[limb]) for limb, joint in _UPRIGHT_JOINTS.items()
    }


def _shaken(motion: str, wave: float, trunk: np.ndarray) -> np.ndarray:
    """Return the map of a car's body: it shakes when it is fast, rolls evenly when it
    is slow."""
    if motion not in ("walk", "run"):
        return trunk
    shake = wave if motion == "run" else 0.0
    return _moved(0, -0.012 * abs(shake)) @ rotation(0, -0.15, 1.2 * shake)


def _leap(phase: float, upright: bool) -> tuple[np.ndarray, Swing]:
    """A jump's arc: crouching for 0.2 of the cycle, then up and down again, legs
    stretched in the air."""
    at = phase / (2 * np.pi) % 1.0
    if at < 0.2:
        low = float(np.sin(np.pi * at / 0.2))
        crouching = _scaled(1 + 0.07 * low, 1 - 0.12 * low)
        return crouching, dict.fromkeys(_HIPS, 0.0)
    return _in_the_air((at - 0.2) / 0.8, upright)


def _in_the_air(air: float, upright: bool) -> tuple[np.ndarray, Swing]:
    """Return the map of the trunk and the swing of the legs; `air` is the share of the
    flight, 0 to 1."""
    high = float(np.sin(np.pi * air))
    stretched = _scaled(1 - 0.05 * high, 1 + 0.06 * high)
    trunk = _moved(0, -0.42 * high) @ stretched
    if not upright:
        tilt = -16 * float(np.cos(np.pi * air))
        trunk = trunk @ rotation(0, -0.35, tilt)
    reach = 46 * high
    less = 0.8 * reach
    swing = {"leg0": reach, "leg2": less, "leg1": -reach, "leg3": -less}
    return trunk, swing


def lift(motion: str, phase: float) -> float:
    """Return how high above the ground a motion has brought its actor, in heights."""
    if motion != "jump":
        return 0.0
    trunk, _ = _leap(phase, True)
    return -float(trunk[1, 2])
