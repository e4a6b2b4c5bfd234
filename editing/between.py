"""Frames between key frames: the edit follows the source's motion from the key frames on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from editing.correspondence import cut, find_cuts, find_motion, planes
from editing.flow import FlowMethod, warp

Read = Callable[[int, int], UInt8[np.ndarray, "frames h w 3"]]
# Chosen on drawn clips whose true edit is known, with key frames 4 and 8 frames apart.
_HALVED = 4.0  # grey levels of error that halve the weight of a pixel
_DOUBTFUL = 0.1  # weight of pixels that the key frame does not show, and of those that stay in place


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
    motion = cut(motion, find_cuts(source, motion))
    last = len(source) - 1
    past = _composed(motion.backward, motion.appeared, range(last))
    future = _composed(motion.forward, motion.hidden, range(last)[::-1])
    for frame in range(1, last):
        goal, share = planes(source[frame, None]), frame / last
        sides = (
            (before, source[0], past[frame - 1], 1 - share),
            (after, source[-1], future[last - frame - 1], share),
        )
        mixed, total = torch.zeros_like(goal), torch.zeros_like(goal[:, :1])
        for edit, key, (flow, lost), near in sides:
            # What no key frame shows is taken from where it is in them.
            moved = (flow, torch.where(lost, _DOUBTFUL, 1.0))
            for way, trust in (moved, (torch.zeros_like(flow), _DOUBTFUL)):
                error = (warp(planes(key[None]), way) - goal).abs().mean(1, keepdim=True)
                weight = near * trust * torch.exp2(-_mean_around(error) / _HALVED)
                mixed += weight * warp(planes(edit[None]), way)
                total += weight
        yield rearrange((mixed / total).round()[0], "c h w -> h w c").byte().numpy()


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


def _mean_around(error: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 h w"]:
    """Mean over 3 x 3 pixels: a single pixel may have the right colour by chance."""
    return F.avg_pool2d(F.pad(error, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
