"""Correspondence between frames: motion with its occlusions, tokens that follow it,
shots, and background.

Displacements are (dx, dy) in pixels of their own grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regrain.editing.media.lazy_frames import RgbFrames, Shape
from regrain.editing.motion.flow import (
    FlowMethod,
    estimate_both,
    nearest_track,
    targets_of,
    warp,
    with_new_tracks,
)

PairFlow = Float[Tensor, "pairs 2 height width"]
Unseen = Bool[Tensor, "pairs height width"]
"""Pixels of one frame of each pair that the other does not show."""
# How far flows may be from cancelling: share of their lengths, and pixels.
_CONSISTENT_SHARE, _CONSISTENT_PIXELS = 0.01, 0.5
# mean difference of the colours beyond which two pixels are not the same
_DIFFERENT = 0.25 * 255
# Occluded share of two frames times what motion leaves of their contrast. Measured on
# drawn and real clips: at most 0.27 within 4200 pairs of a shot, above 0.3 in all but
# one of 1300 cuts.
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

    forward: PairFlow
    backward: PairFlow
    hidden: Unseen
    appeared: Unseen

    def __getitem__(self, pairs: slice) -> Motion:
        """Return the motion of some of the pairs."""
        return self._each(lambda x: x[pairs])

    def to(self, device: torch.device | str) -> Motion:
        """Copy the motion to another device."""
        return self._each(lambda x: x.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Motion:
        parts = (self.forward, self.backward, self.hidden, self.appeared)
        return Motion(*map(change, parts))

    def at(self, size: Shape) -> Motion:
        """Return the motion on a coarser grid, whose height and width divide those of this
        one: flow is interpolated; cells with occluded pixels are occluded."""
        height, width = self.hidden.shape[1:]
        rows, columns = size
        if size == (height, width):
            return self
        scale = self.forward.new_tensor([columns / width, rows / height]).view(
            1, 2, 1, 1
        )
        cells = (height // rows, width // columns)
        return Motion(
            forward=_resampled(self.forward, size) * scale,
            backward=_resampled(self.backward, size) * scale,
            hidden=_any_in(self.hidden, cells),
            appeared=_any_in(self.appeared, cells),
        )


def find_motion(
    frames: RgbFrames, targets: RgbFrames, method: FlowMethod = "auto"
) -> Motion:
    """Estimate the motion from each frame to its target and back.

    A pixel is occluded if the flows there do not cancel, or if the pixel they lead to
    has another colour. Method and errors are those of `estimate_flow`.

    Source: Yang et al. 2024, arXiv:2403.12962, and its released code; the test of
    consistency after Sundaram et al. 2010.
    """
    forward, backward = estimate_both(frames, targets, method)
    hidden = []
    appeared = []
    for i in range(len(frames)):  # a pair at a time, for memory
        a = planes(frames[i : i + 1])
        b = planes(targets[i : i + 1])
        there = forward[i : i + 1]
        back = backward[i : i + 1]
        hidden.append(_unseen(a, b, there, back))
        appeared.append(_unseen(b, a, back, there))
    return Motion(forward, backward, torch.cat(hidden), torch.cat(appeared))


def _unseen(
    a: Float[Tensor, "pairs 3 height width"],
    b: Float[Tensor, "pairs 3 height width"],
    there: PairFlow,
    back: PairFlow,
) -> Unseen:
    """Find the pixels of a that b does not show."""
    allowed = _CONSISTENT_SHARE * (_length(there) + _length(back)) + _CONSISTENT_PIXELS
    inconsistent = _length(there + warp(back, there, "zero")) > allowed
    different = (a - warp(b, there, "zero")).abs().mean(1) > _DIFFERENT
    return inconsistent | different


def around(frames: RgbFrames, method: FlowMethod = "auto") -> Motion:
    """Estimate the motion from each frame to the next and from the last to the first.

    A single frame forms a pair with itself, without motion. Method and errors are those
    of `estimate_flow`.
    """
    if len(frames) == 1:
        flow = torch.zeros(1, 2, *frames.shape[1:3])
        unseen = torch.zeros(1, *frames.shape[1:3], dtype=torch.bool)
        return Motion(flow, flow, unseen, unseen)
    return find_motion(frames, np.roll(frames, -1, axis=0), method)


def planes(frames: RgbFrames) -> Float[Tensor, "frames 3 height width"]:
    """Turn frames into planes of colour, 0..255."""
    return rearrange(torch.from_numpy(frames).float(), "frames h w c -> frames c h w")


def is_cut(before: RgbFrames, after: RgbFrames) -> bool:
    """Tell whether a shot ends between two frames, each [1, height, width, 3]: motion
    explains too little of them, by occlusion and by the colours that it misses.

    The motion is estimated by DIS, for which the threshold was measured.
    """
    motion = find_motion(before, after, "dis")
    a = planes(before)
    b = planes(after)
    missed = (a - warp(b, motion.forward)).abs()
    missed_back = (b - warp(a, motion.backward)).abs()
    left = _mean_of(missed, missed_back)
    contrast = _mean_of(_contrast(a), _contrast(b))
    lost = _mean_of(motion.hidden.float(), motion.appeared.float())
    return lost * left > _CUT * max(contrast, 1.0)


def _mean_of(a: Tensor, b: Tensor) -> float:
    return float(a.mean() + b.mean()) / 2


def _contrast(
    x: Float[Tensor, "frames 3 height width"],
) -> Float[Tensor, "frames 3 height width"]:
    """Return how far each value is from the mean of its frame and channel."""
    return (x - x.mean((2, 3), keepdim=True)).abs()


def token_maps(
    backward: PairFlow,
    appeared: Unseen,
    colours: Float[Tensor, "frames height width 3"],
) -> tuple[Int[Tensor, "pairs tokens"], Bool[Tensor, "pairs tokens"]]:
    """Map the tokens of each frame to those of the next, one to one, along the motion.

    A token of the next frame that is not occluded leads back to one of this frame. Of
    several that lead to the same, the nearest in colour counts, or the first in a tie.
    Tokens that none leads to are not linked and get the tokens that are left, both row
    by row.

    Args:
        backward: From the next frame to this one, in tokens.
        appeared: Tokens of the next frame that this one does not show.
        colours: Of the tokens, in any unit.
    Returns:
        The place of each token in the next frame, a permutation; True where the motion
        led there.

    Source: Yang et al. 2024, arXiv:2403.12962, Sec. 3.2, and its released code.
    """
    pairs, height, width = appeared.shape
    tokens = height * width
    # Tokens of all pairs stand in one row, numbered through: those of next frames that
    # come from one of the frame before, and those they come from.
    column, row = targets_of(backward).round().long().unbind(1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    is_found = inside & ~appeared
    found = is_found.flatten().nonzero()[:, 0]
    place = row * width + column
    first = found // tokens * tokens  # token of its pair
    origin = place.flatten()[found] + first
    flat = colours.flatten(0, 2)
    # Summed one by one: `sum` may round otherwise.
    gap = flat[found + tokens] - flat[origin]
    red, green, blue = gap.square().unbind(-1)
    off = red + green + blue
    winner, linked = nearest_track(origin, off, found, pairs * tokens)
    # Without a link they get those that are left, as many in every pair.
    taken = found[winner]
    free = torch.ones_like(linked).index_fill_(0, taken, False)
    maps = torch.empty_like(linked, dtype=torch.long)
    maps[linked] = taken
    maps[~linked] = free.nonzero()[:, 0]
    return maps.view(pairs, tokens) % tokens, linked.view(pairs, tokens)


def track_ids(
    maps: Int[Tensor, "pairs tokens"], linked: Bool[Tensor, "pairs tokens"]
) -> Int[Tensor, "pairs+1 tokens"]:
    """Number the tracks of tokens along the links of `token_maps`, from 0 without gaps
    as they start.

    A token keeps its track along a link, and starts a new one without.
    """
    begun = maps.shape[1]
    own = torch.arange(begun, device=maps.device)
    ids = [own]
    for places, kept in zip(maps, linked, strict=True):
        there = torch.full_like(own, -1)
        there[places[kept]] = own[kept]
        own = with_new_tracks(there, begun)
        begun += int((there < 0).sum())
        ids.append(own)
    return torch.stack(ids)


def newly_seen(motion: Motion, size: Shape) -> Bool[Tensor, "frames tokens"]:
    """Find the tokens of each frame that the frame before does not show; all tokens of
    the first frame.

    `motion` is that from each frame to the next, at full size; `size` is height and
    width of the grid.

    Source: the released code of Yang et al. 2024, arXiv:2403.12962.
    """
    seen = _resampled(motion.appeared[:, None].float(), size).flatten(1) > 0.5
    return torch.cat([seen.new_ones(1, size[0] * size[1]), seen])


def smooth_background(
    x: Float[Tensor, "frames c height width"],
    motion: Motion,
    background: Float[Tensor, "frames 1 height width"],
    dilate: int = 0,
) -> Float[Tensor, "frames c height width"]:
    """Let the background follow the motion: each frame takes it from the smoothed frame
    before it.

    At the end the last frame takes it from the first once more.

    Args:
        x: Features or pixels.
        motion: See `around`; at the size of `x`.
        background: How much of each pixel is background, 0..1.
        dilate: Odd side in pixels of the box by which occluded areas grow, 0 for none.

    Source: the released code of Yang et al. 2024, arXiv:2403.12962.
    """
    smoothed = list(x.split(1))
    shares = background.split(1)
    # Each frame, the one it takes the background from, the flow to that one, and the
    # pixels hidden there.
    appeared = _grown(motion.appeared, dilate)
    moves = []
    for frame in range(1, len(smoothed)):
        pair = slice(frame - 1, frame)
        moves.append((frame, frame - 1, motion.backward[pair], appeared[pair]))
    if moves:
        hidden = _grown(motion.hidden[-1:], dilate)
        moves.append((len(smoothed) - 1, 0, motion.forward[-1:], hidden))
    for frame, source, flow, unseen in moves:
        moved = warp(shares[source], flow, "zero")
        in_both = ~unseen[:, None] * shares[frame] * moved
        other = warp(smoothed[source], flow, "zero")
        smoothed[frame] = torch.lerp(
            smoothed[frame],
            other,
            in_both.to(x.dtype),
        )
    return torch.cat(smoothed)


def _grown(pixels: Unseen, side: int) -> Unseen:
    """Grow areas by a box of some odd side; 0 changes nothing."""
    if not side:
        return pixels
    return (
        F.max_pool2d(pixels[:, None].float(), side, stride=1, padding=side // 2)[:, 0]
        > 0
    )


def _any_in(pixels: Unseen, cells: Shape) -> Bool[Tensor, "pairs new_h new_w"]:
    """Check if any pixel of each cell is set; `cells` is their height and width."""
    return F.max_pool2d(pixels[:, None].float(), cells)[:, 0] > 0


def _resampled(
    x: Float[Tensor, "frames c height width"], size: Shape
) -> Float[Tensor, "frames c new_h new_w"]:
    """Resize bilinearly without antialiasing, so that of a large cell only its middle
    counts."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _length(
    flow: Float[Tensor, "frames 2 height width"],
) -> Float[Tensor, "frames height width"]:
    return flow.square().sum(1).sqrt()
