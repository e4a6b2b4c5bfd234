"""How the actors of the drawn world move: one affine map per limb and frame."""

from __future__ import annotations

import numpy as np

from storybook.characters import UPRIGHT
from storybook.draw import rotation

# Phase of a motion per frame, radians.
TEMPO = {"walk": 0.8, "run": 1.25, "jump": np.pi / 4, "stand": 0.4}
WHEEL = 0.155  # radius
_HIPS = {
    "leg0": (-0.23, -0.28),
    "leg1": (0.15, -0.28),
    "leg2": (-0.33, -0.28),
    "leg3": (0.05, -0.28),
}


def _scaled(x: float, y: float) -> np.ndarray:
    """Squash and stretch about the ground."""
    return np.diag([x, y, 1.0])


def _moved(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


def limb_poses(kind: str, motion: str, phase: float, turns: float) -> dict[str, np.ndarray]:
    """3x3 map of every limb.

    Args:
        kind: Decides how many legs there are, and whether they are wheels.
        motion: "walk", "run", "jump" or "stand".
        phase: Of the motion's cycle, radians.
        turns: How far a wheel has rolled, radians.
    """
    wave, upright = float(np.sin(phase)), kind in UPRIGHT
    trunk, nod, wag = np.eye(3), 2.5 * np.sin(phase + 0.6), 9 * np.sin(phase + 1.2)
    if motion == "walk":
        trunk = _moved(0, -0.012 * abs(wave))
        swing = dict.fromkeys(("leg0", "leg3"), 24 * wave) | dict.fromkeys(
            ("leg1", "leg2"), -24 * wave
        )
    elif motion == "run":
        trunk = _moved(0, -0.03 - 0.07 * abs(wave)) @ rotation(0, -0.3, 9 if upright else 5 * wave)
        late = float(np.sin(phase - 0.6))
        swing = {"leg0": 42 * wave, "leg2": 42 * late, "leg1": -42 * wave, "leg3": -42 * late}
        wag *= 2
    elif motion == "jump":
        trunk, swing = _leap(phase, upright)
    else:
        trunk, swing = _scaled(1 - 0.006 * wave, 1 + 0.012 * wave), dict.fromkeys(_HIPS, 0.0)
        nod, wag = 2 * wave, 7 * wave
    if upright:
        legs, arms = 0.8 * swing["leg0"], 0.7 * swing["leg0"]
        if motion == "jump":
            legs, arms = 0.5 * swing["leg0"], 2.6 * swing["leg0"]
        hips = {
            "leg1": (-0.13, -0.28),
            "leg2": (0.13, -0.28),
            "arm1": (-0.22, -0.5),
            "arm2": (0.22, -0.5),
        }
        turn = {"leg1": legs, "leg2": -legs, "arm1": arms, "arm2": -arms}
        poses, pivot = {limb: rotation(*hips[limb], turn[limb]) for limb in hips}, (0.0, -0.55)
    elif kind == "car":
        if motion in ("walk", "run"):
            shake = wave if motion == "run" else 0.0
            trunk = _moved(0, -0.012 * abs(shake)) @ rotation(0, -0.15, 1.2 * shake)
        roll = np.rad2deg(turns)
        poses = {"wheel0": rotation(-0.38, -0.15, roll), "wheel1": rotation(0.38, -0.15, roll)}
        pivot = (0.0, 0.0)
    else:
        poses, pivot = {n: rotation(*_HIPS[n], a) for n, a in swing.items()}, (0.1, -0.5)
    poses |= {
        "trunk": np.eye(3),
        "head": rotation(*pivot, nod),
        "tail": rotation(-0.44, -0.42, wag),
    }
    return {name: trunk @ pose for name, pose in poses.items()}


def _leap(phase: float, upright: bool) -> tuple[np.ndarray, dict[str, float]]:
    """A jump's arc: crouching for 0.2 of the cycle, then up and down again, legs stretched in the air."""
    at = phase / (2 * np.pi) % 1.0
    if at < 0.2:
        low = float(np.sin(np.pi * at / 0.2))
        return _scaled(1 + 0.07 * low, 1 - 0.12 * low), dict.fromkeys(_HIPS, 0.0)
    air = (at - 0.2) / 0.8
    high = float(np.sin(np.pi * air))
    trunk = _moved(0, -0.42 * high) @ _scaled(1 - 0.05 * high, 1 + 0.06 * high)
    if not upright:
        trunk = trunk @ rotation(0, -0.35, -16 * float(np.cos(np.pi * air)))
    reach = 46 * high
    return trunk, {"leg0": reach, "leg2": 0.8 * reach, "leg1": -reach, "leg3": -0.8 * reach}


def lift(motion: str, phase: float) -> float:
    """How high above the ground a motion has brought its actor, in heights."""
    return -float(_leap(phase, True)[0][1, 2]) if motion == "jump" else 0.0
