"""What corresponds between frames: motion with its occlusions, tokens that follow it, shots, and background.

Displacements are (dx, dy) in pixels of their own grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from regrain.editing.motion.flow import (
    FlowMethod,
    Frames,
    estimate_both,
    nearest_track,
    targets_of,
    warp,
)

_CONSISTENT = (
    0.01,
    0.5,
)  # how far flows may be from cancelling: share of their lengths, and pixels
_DIFFERENT = 0.25 * 255  # mean difference of the colours beyond which two pixels are not the same
# Occluded share of two frames times what motion leaves of their contrast. Measured on drawn and real
# clips: at most 0.27 within 4200 pairs of a shot, above 0.3 in all but one of 1300 cuts.
_CUT = 0.29


@dataclass(frozen=True, eq=False)
class Motion:
    """Flow both ways between the frames a and b of some pairs.

    Attributes:
        forward: From a to b, on a's grid: `warp(b, forward, "zero")` resembles a.
        backward: From b to a, on b's grid: `warp(a, backward, "zero")` resembles b.
        hidden: Pixels of a that b does not show.
        appeared: Pixels of b that a does not show.
    """

    forward: Float32[Tensor, "pairs 2 h w"]
    backward: Float32[Tensor, "pairs 2 h w"]
    hidden: Bool[Tensor, "pairs h w"]
    appeared: Bool[Tensor, "pairs h w"]

    def __getitem__(self, pairs: slice) -> Motion:
        """The motion of some of the pairs."""
        return Motion(
            self.forward[pairs], self.backward[pairs], self.hidden[pairs], self.appeared[pairs]
        )

    def to(self, device: torch.device | str) -> Motion:
        """The same on another device."""
        return Motion(
            *(x.to(device) for x in (self.forward, self.backward, self.hidden, self.appeared))
        )

    def at(self, size: tuple[int, int]) -> Motion:
        """The motion on a coarser grid: flow is interpolated, and a cell with any occluded pixel is occluded.

        Raises:
            ValueError: Height and width do not divide those of this grid.
        """
        height, width = self.hidden.shape[1:]
        if height % size[0] or width % size[1]:
            raise ValueError(f"cells of a grid of {size} do not divide {(height, width)} pixels")
        if size == (height, width):
            return self
        scale = self.forward.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
        flows = (_resampled(flow, size) * scale for flow in (self.forward, self.backward))
        cells = (height // size[0], width // size[1])
        unseen = (
            F.max_pool2d(x[:, None].float(), cells)[:, 0] > 0 for x in (self.hidden, self.appeared)
        )
        return Motion(*flows, *unseen)


def find_motion(frames: Frames, targets: Frames, method: FlowMethod = "auto") -> Motion:
    """Estimate the motion from each frame to its target and back.

    A pixel is occluded if the flows there do not cancel, or if the pixel they lead to has another colour.
    Method and errors are those of `estimate_flow`.

    Source: Yang et al. 2024, arXiv:2403.12962, and its released code; the test of consistency after
    Sundaram et al. 2010.
    """
    forward, backward = estimate_both(frames, targets, method)
    hidden, appeared = [], []
    for i in range(len(frames)):
        a, b, there, back = (x[i : i + 1] for x in (frames, targets, forward, backward))
        hidden.append(_unseen(planes(a), planes(b), there, back))
        appeared.append(_unseen(planes(b), planes(a), back, there))
    return Motion(forward, backward, torch.cat(hidden), torch.cat(appeared))


def _unseen(
    a: Float[Tensor, "pairs 3 h w"],
    b: Float[Tensor, "pairs 3 h w"],
    there: Float32[Tensor, "pairs 2 h w"],
    back: Float32[Tensor, "pairs 2 h w"],
) -> Bool[Tensor, "pairs h w"]:
    """The pixels of a that b does not show."""
    share, pixels = _CONSISTENT
    allowed = share * (_length(there) + _length(back)) + pixels
    inconsistent = _length(there + warp(back, there, "zero")) > allowed
    return inconsistent | ((a - warp(b, there, "zero")).abs().mean(1) > _DIFFERENT)


def around(frames: Frames, method: FlowMethod = "auto") -> Motion:
    """Estimate the motion from each frame to the next and from the last to the first.

    A single frame forms a pair with itself, without motion. Method and errors are those of `estimate_flow`.
    """
    if len(frames) == 1:
        flow = torch.zeros(1, 2, *frames.shape[1:3])
        unseen = torch.zeros(1, *frames.shape[1:3], dtype=torch.bool)
        return Motion(flow, flow, unseen, unseen)
    return find_motion(frames, np.roll(frames, -1, axis=0), method)


def planes(frames: Frames) -> Float[Tensor, "frames 3 h w"]:
    """Turn frames into planes of colour, 0..255."""
    return rearrange(torch.from_numpy(frames).float(), "frames h w c -> frames c h w")


def find_cuts(frames: Frames, motion: Motion) -> tuple[int, ...]:
    """Find where the clip is cut: the first frame of each shot but the first, rising.

    `motion` is that from each frame to the next; pairs beyond these, as in `around`, do not count.
    """
    cuts = []
    for frame in range(1, len(frames)):
        pair = motion[frame - 1 : frame]
        a, b = (planes(frames[i : i + 1]).to(pair.forward.device) for i in (frame - 1, frame))
        left = _mean_of((a - warp(b, pair.forward)).abs(), (b - warp(a, pair.backward)).abs())
        contrast = _mean_of(*((x - x.mean((2, 3), keepdim=True)).abs() for x in (a, b)))
        lost = _mean_of(pair.hidden.float(), pair.appeared.float())
        if lost * left > _CUT * max(contrast, 1.0):
            cuts.append(frame)
    return tuple(cuts)


def scan_cuts(frames: UInt8[np.ndarray, "frames h w 3"]) -> tuple[int, ...]:
    """Find where a clip is cut, from its frames alone, a pair at a time; see `find_cuts`.

    The motion is estimated by DIS, for which the threshold was measured.
    """
    pairs = ((frame, frames[frame - 1 : frame + 1]) for frame in range(1, len(frames)))
    return tuple(
        frame for frame, pair in pairs if find_cuts(pair, find_motion(pair[:1], pair[1:], "dis"))
    )


def _mean_of(a: Tensor, b: Tensor) -> float:
    return float(a.mean() + b.mean()) / 2


def token_maps(
    backward: Float[Tensor, "pairs 2 h w"],
    appeared: Bool[Tensor, "pairs h w"],
    colours: Float[Tensor, "frames h w 3"],
) -> tuple[Int[Tensor, "pairs tokens"], Bool[Tensor, "pairs tokens"]]:
    """Map the tokens of each frame to those of the next, one to one, along the motion.

    A token of the next frame that is not occluded leads back to one of this frame. Of several that lead to
    the same, the nearest in colour counts, or the first in a tie. Tokens that none leads to are not linked
    and get the tokens that are left, both row by row.

    `backward` leads from the next frame to this one, in tokens; `appeared` are those of the next frame that
    this one does not show; `colours` are in any unit.

    Returns:
        Where each token is in the next frame, a permutation; whether the motion led there.

    Source: Yang et al. 2024, arXiv:2403.12962, Sec. 3.2, and its released code.
    """
    pairs, height, width = appeared.shape
    tokens = height * width
    column, row = targets_of(backward).round().long().unbind(1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    # Tokens of all pairs in one row, numbered through.
    found = (inside & ~appeared).flatten().nonzero()[:, 0]
    pair = found // tokens
    origin = (row * width + column).flatten()[found] + pair * tokens
    flat = colours.flatten(0, 2)
    # Summed one by one: `sum` may round otherwise.
    red, green, blue = (flat[found + tokens] - flat[origin]).square().unbind(-1)
    winner, linked = nearest_track(origin, red + green + blue, found, pairs * tokens)
    maps = torch.empty_like(linked, dtype=torch.long)
    maps[linked] = found[winner]
    left = torch.ones_like(linked).index_fill_(0, found[winner], False)
    maps[~linked] = left.nonzero()[:, 0]  # as many in every pair as have no link
    return maps.view(pairs, tokens) % tokens, linked.view(pairs, tokens)


def track_ids(
    maps: Int[Tensor, "pairs tokens"], linked: Bool[Tensor, "pairs tokens"]
) -> Int[Tensor, "pairs+1 tokens"]:
    """Number the tracks of tokens along the links of `token_maps`, from 0 without gaps as they start.

    A token keeps its track along a link, and starts a new one without.
    """
    tokens = maps.shape[1]
    ids = [torch.arange(tokens, device=maps.device)]
    begun = tokens
    for places, kept in zip(maps, linked, strict=True):
        there = torch.full_like(ids[-1], -1)
        there[places[kept]] = ids[-1][kept]
        new = there < 0
        there[new] = torch.arange(begun, begun + int(new.sum()), device=maps.device)
        begun += int(new.sum())
        ids.append(there)
    return torch.stack(ids)


def newly_seen(motion: Motion, size: tuple[int, int]) -> Bool[Tensor, "frames tokens"]:
    """Find the tokens of each frame that the frame before does not show; all tokens of the first frame.

    `motion` is that from each frame to the next, at full size; `size` is height and width of the grid.

    Source: the released code of Yang et al. 2024, arXiv:2403.12962.
    """
    seen = _resampled(motion.appeared[:, None].float(), size).flatten(1) > 0.5
    return torch.cat([seen.new_ones(1, size[0] * size[1]), seen])


def smooth_background(
    x: Float[Tensor, "frames c h w"],
    motion: Motion,
    background: Float[Tensor, "frames 1 h w"],
    dilate: int = 0,
) -> Float[Tensor, "frames c h w"]:
    """Let the background follow the motion: each frame takes it from the smoothed frame before it.

    At the end the last frame takes it from the first once more.

    `motion` is that of `around`, at the size of `x`, features or pixels; `background` is how much of a pixel
    is that, 0..1; `dilate` is the odd side in pixels of the box by which occluded areas grow, 0 for none.

    Source: the released code of Yang et al. 2024, arXiv:2403.12962.
    """
    appeared, hidden = (_grown(pixels, dilate) for pixels in (motion.appeared, motion.hidden[-1:]))
    fused = list(x.split(1))
    last = len(fused) - 1
    steps = [(i, i + 1, motion.backward[i : i + 1], appeared[i : i + 1]) for i in range(last)]
    if last:
        steps.append((0, last, motion.forward[-1:], hidden))
    for source, frame, flow, unseen in steps:
        share = ~unseen[:, None] * background[frame] * warp(background[source, None], flow, "zero")
        fused[frame] = torch.lerp(
            fused[frame], warp(fused[source], flow, "zero"), share.to(x.dtype)
        )
    return torch.cat(fused)


def _grown(pixels: Bool[Tensor, "pairs h w"], side: int) -> Bool[Tensor, "pairs h w"]:
    if not side:
        return pixels
    return F.max_pool2d(pixels[:, None].float(), side, stride=1, padding=side // 2)[:, 0] > 0


def _resampled(
    x: Float[Tensor, "frames c h w"], size: tuple[int, int]
) -> Float[Tensor, "frames c new_h new_w"]:
    """Bilinear, without antialiasing: of a large cell only its middle counts."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _length(flow: Float[Tensor, "frames 2 h w"]) -> Float[Tensor, "frames h w"]:
    return flow.square().sum(1).sqrt()
