"""Frames between key frames: the edit follows the source's motion from the key frames on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from editing.correspondence import find_motion
from editing.flow import FlowMethod, warp

Read = Callable[[int, int], UInt8[np.ndarray, "frames h w 3"]]
_TOLERANCE = 8.0  # grey levels of error that halve a key frame's weight


def fill_between(
    edited: UInt8[np.ndarray, "keys h w 3"], keys: Sequence[int], read: Read, method: FlowMethod = "auto"
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Fill the frames between edited key frames along the source's motion.

    Each pixel of a frame comes from the key frames before and after it: more from the nearer one, and from
    the one whose source frame explains the source better there. Key frames stay as they are. At most the
    source between two key frames is in memory.

    Args:
        edited: The edited key frames, RGB.
        keys: Their frames in the clip, rising.
        read: Reads frames start to stop - 1 of the source, RGB of the same size.
        method: See `estimate_flow`.

    Yields:
        Every frame from the first key frame to the last.

    Raises:
        EditingError: See `estimate_flow`.
    """
    yield edited[0]
    for index, (first, last) in enumerate(pairwise(keys)):
        if last - first > 1:
            yield from _between(edited[index], edited[index + 1], read(first, last + 1), method)
        yield edited[index + 1]


def _between(
    before: UInt8[np.ndarray, "h w 3"],
    after: UInt8[np.ndarray, "h w 3"],
    source: UInt8[np.ndarray, "frames h w 3"],
    method: FlowMethod,
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Fill the frames of a span; `source` has the key frames on both sides."""
    motion = find_motion(source[:-1], source[1:], method)
    last = len(source) - 1
    pairs = range(last)
    past = _composed(motion.backward, motion.appeared, pairs)
    future = _composed(motion.forward, motion.hidden, pairs[::-1])
    for frame in range(1, last):
        sides = []
        for edit, key, (flow, lost), near in (
            (before, source[0], past[frame - 1], 1 - frame / last),
            (after, source[-1], future[last - frame - 1], frame / last),
        ):
            error = (warp(_planes(key), flow, "border") - _planes(source[frame])).abs().mean(1, keepdim=True)
            sides.append((warp(_planes(edit), flow, "border"), error, lost, near))
        yield _blended(*sides)


def _composed(
    flows: Float[Tensor, "pairs 2 h w"], lost: Bool[Tensor, "pairs h w"], pairs: Sequence[int]
) -> list[tuple[Float[Tensor, "1 2 h w"], Bool[Tensor, "1 1 h w"]]]:
    """Flow to the key frame, and the pixels it does not show, of ever more distant frames."""
    way, gone = torch.zeros_like(flows[:1]), torch.zeros_like(lost[:1, None])
    out = []
    for pair in pairs:
        step = flows[pair, None]
        way = step + warp(way, step)
        gone = lost[pair, None, None] | (warp(gone.float(), step) > 0.5)
        out.append((way, gone))
    return out


def _blended(*sides: tuple[Tensor, Tensor, Tensor, float]) -> UInt8[np.ndarray, "h w 3"]:
    """Mix the warped key frames of both sides."""
    weights = [
        near * torch.exp2(-error / _TOLERANCE) * torch.where(lost, 1e-3, 1.0)
        for _, error, lost, near in sides
    ]
    total = sum(weights) + 1e-12
    mixed = sum(picture * weight / total for (picture, *_), weight in zip(sides, weights, strict=True))
    return rearrange(mixed[0], "c h w -> h w c").round().clamp(0, 255).byte().numpy()


def _planes(frame: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
    return rearrange(torch.from_numpy(frame).float(), "h w c -> 1 c h w")
