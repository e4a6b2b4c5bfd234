"""Optical flow: estimation, warping, occlusion, tracks. Displacements are (dx, dy) in
pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from regrain.editing.errors import ModelError, ResourceError
from regrain.editing.media.lazy_frames import Rgb, RgbFrames, RgbPair, Shape
from regrain.editing.motion.known_flows import once
from regrain.editing.motion.raft import estimate_raft_flow, find_raft, load_raft
from regrain.editing.storage.local_models import absent
from regrain.editing.storage.memory import is_out_of_memory
from regrain.editing.storage.threads import each

Flows = Float[Tensor, "frames 2 height width"]
Flow = Float32[np.ndarray, "height width 2"]
Picture = Float32[np.ndarray, "height width 3"]
Plane = Float32[np.ndarray, "height width"]
Estimate = Float32[Tensor, "frames 2 height width"]
FlowMethod = Literal["auto", "dis", "raft"]
# smaller frames are enlarged if their motion is to move pictures
_LEAST_MOVED_SIDE = 256
# smaller frames are enlarged first: DIS matches patches of 8 pixels on a pyramid
_LEAST_SIDE = 128


def estimate_flow(
    frames: RgbFrames, targets: RgbFrames, method: FlowMethod = "auto"
) -> Estimate:
    """Estimate how far each pixel of an RGB frame moves to its place in the target
    frame.

    `method` is "raft", a network whose weights are in `$REGRAIN_MODELS` (see
    `find_raft`); "dis", which needs none; or "auto", RAFT if its weights are present.

    Returns:
        (dx, dy) with frames[y, x] ~ targets[y + dy, x + dx]: `warp(targets, flow)`
        resembles `frames`.

    Raises:
        ModelError: RAFT is chosen, but its weights are missing, or the file holds those
            of another model.
        ResourceError: Memory does not suffice for RAFT.

    Source: DIS: Kroeger et al. 2016, arXiv:1603.03590, as in OpenCV, on grey values.
    """
    path = None if method == "dis" else find_raft()
    if path is not None:
        try:
            return estimate_raft_flow(load_raft(path), frames, targets)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            height, width = frames.shape[1:3]
            raise ResourceError(
                "params.flow",
                f"Out of memory for RAFT on frames of {width} x {height} pixels. Use flow=dis.",
            ) from error
    if method == "raft":
        raise ModelError(
            "flow",
            "The weights of RAFT are missing. Put raft_large.safetensors into "
            f"$REGRAIN_MODELS, or use dis.{absent()}",
        )
    return _estimate_dis_flow(frames, targets)


def _estimate_dis_flow(frames: RgbFrames, targets: RgbFrames) -> Estimate:
    pairs = zip(frames, targets, strict=True)
    flows = each(lambda pair: once(pair, _dis_flow), pairs)
    height, width = frames.shape[1:3]
    return torch.from_numpy(np.array(flows, np.float32).reshape(-1, 2, height, width))


def _dis_flow(frame: Rgb, target: Rgb) -> Float32[np.ndarray, "2 height width"]:
    height, width = frame.shape[:2]
    scale = max(1.0, _LEAST_SIDE / min(height, width))
    large_size = (round(width * scale), round(height * scale))
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = _grey(frame, large_size)
    large = estimator.calc(grey, _grey(target, large_size), None)
    return _shrunk(large, (width, height)).transpose(2, 0, 1)


def estimate_both(
    frames: RgbFrames, targets: RgbFrames, method: FlowMethod = "auto"
) -> tuple[Estimate, Estimate]:
    """Call `estimate_flow` from frames to targets, on the frames' grid, and back, on
    the targets' grid."""
    there = estimate_flow(frames, targets, method)
    return there, estimate_flow(targets, frames, method)


def warp(
    x: Float[Tensor, "frames c height width"],
    flow: Flows,
    outside: Literal["border", "zero"] = "border",
) -> Float[Tensor, "frames c height width"]:
    """Sample `x` at positions displaced by `flow` (backward warping, bilinear), in
    float32.

    Args:
        x: Any channels, any range, any dtype, which the result has.
        flow: Displacement in pixels of this grid, (dx, dy); out[y, x] = x[y + dy, x +
            dx].
        outside: Values outside `x`: its border, repeated, or zero.

    Raises:
        ValueError: `flow` and `x` differ in frames or grid.

    Source: Jaderberg et al. 2015, arXiv:1506.02025, Sec. 3.3.
    """
    if x.shape[0] != flow.shape[0] or x.shape[2:] != flow.shape[2:]:
        raise ValueError(
            f"flow {tuple(flow.shape)} does not fit frames {tuple(x.shape)}"
        )
    # -1 and 1 are the centres of pixels at the border.
    height, width = flow.shape[2:]
    positions = targets_of(flow.float())
    spans = positions.new_tensor([max(width - 1, 1), max(height - 1, 1)])
    positions.mul_(2).div_(spans.view(2, 1, 1)).sub_(1)
    out = grid_sample(
        x.float(),
        positions.permute(0, 2, 3, 1),
        mode="bilinear",
        padding_mode="border" if outside == "border" else "zeros",
        align_corners=True,
    )
    return out.to(x.dtype)


def occlusion(forward: Flows, backward: Flows) -> Bool[Tensor, "frames height width"]:
    """Find the pixels of the first frame that the second does not show, from the flow
    to it and back.

    These are where the flows do not cancel, or the target is outside the frame.

    Source: Sundaram et al. 2010, "Dense point trajectories by GPU-accelerated large
    displacement optical flow", Eq. 5.
    """
    back = warp(backward, forward)
    mismatch = (forward + back).square_().sum(1)
    allowed = forward.square().sum(1).add_(back.square_().sum(1)).mul_(0.01).add_(0.5)
    hidden = mismatch > allowed
    height, width = forward.shape[2:]
    x, y = targets_of(forward).unbind(1)
    for outside in (x < 0, x > width - 1, y < 0, y > height - 1):
        hidden |= outside
    return hidden


def occluded_once(
    pair: RgbPair, there: Flows, back: Flows, method: FlowMethod
) -> Bool[np.ndarray, "h w"]:
    """Return the `occlusion` of the flows of a pair of frames by some method, which
    tracks and metrics of a run share."""
    return once(pair, lambda *_: occlusion(there, back)[0].numpy(), method)


def trajectories(
    forward: Float[Tensor, "pairs 2 height width"],
    occluded: Bool[Tensor, "pairs height width"],
    grid: Shape,
) -> Int[Tensor, "pairs+1 grid_h grid_w"]:
    """Follow the cells of a grid through a clip; every cell of every frame is on
    exactly one track.

    A track keeps its position in fractions of a cell, so slow motion accumulates, and
    occupies the nearest cell. It ends where it leaves the frame or is occluded, and
    where another track is nearer to the centre of the same cell; a cell that no track
    reaches starts a new one. A track has at most one cell per frame.

    Args:
        forward: From each frame to the next, (dx, dy) in pixels of its own grid.
        occluded: The result of `occlusion` for the same pairs.
        grid: Height and width of the grid, in cells.

    Returns:
        Track of every cell, numbered from 0 without gaps in the order of their start.

    Source: after FLATTEN, arXiv:2310.05922, Sec. 3.2, which rounds at every frame and
        breaks ties by chance.
    """
    height, width = grid
    sizes = forward.new_tensor([width, height])
    centres = _pixels(height, width, forward.device).flatten(1).T.to(forward)
    frame_height, frame_width = forward.shape[2:]
    frame_sizes = forward.new_tensor([frame_width, frame_height]).view(2, 1, 1)

    positions = centres  # of this frame's tracks, in cells, by the cell they are in
    begun = height * width
    ids = torch.arange(begun, device=forward.device)
    out = [ids]
    for flow, gone in zip(forward / frame_sizes, occluded.to(forward), strict=True):
        moved, target, alive = _moved(positions, flow, gone, sizes)
        moved = moved[alive]
        target = target[alive]
        own = ids[alive]
        # Each cell gets the nearest track that reached it; where none did, its centre
        # and -1.
        off = (moved - centres[target]).square().sum(1)
        winner, taken = nearest_track(target, off, own, len(centres))
        positions = centres.clone()
        positions[taken] = moved[winner]
        kept = own.new_full((len(centres),), -1)
        kept[taken] = own[winner]
        ids = with_new_tracks(kept, begun)
        begun += int((kept < 0).sum())
        out.append(ids)
    return torch.stack(out).view(-1, height, width)


def _moved(
    positions: Float[Tensor, "cells 2"],
    flow: Float[Tensor, "2 height width"],
    gone: Float[Tensor, "height width"],
    sizes: Float[Tensor, "2"],
) -> tuple[Float[Tensor, "cells 2"], Int[Tensor, "cells"], Bool[Tensor, "cells"]]:
    """Move positions along the flow, as a share of the frame; both are (x, y).

    Returns:
        The new positions, the cells nearest to them, and False where they are outside
        or occluded.
    """
    # Displacement and occlusion are sampled together.
    planes = torch.cat([flow, gone[None]])[None]
    at = (2 * (positions + 0.5) / sizes - 1)[None, None]
    sampled = grid_sample(planes, at, padding_mode="border", align_corners=False)
    shift = sampled[0, :2, 0].T
    hidden = sampled[0, 2, 0]
    moved = positions + shift * sizes
    nearest = (moved + 0.5).floor()
    alive = (hidden <= 0.5) & (nearest >= 0).all(1) & (nearest < sizes).all(1)
    columns, rows = nearest.unbind(1)
    return moved, (rows * sizes[0] + columns).long(), alive


def with_new_tracks(kept: Int[Tensor, "cells"], begun: int) -> Int[Tensor, "cells"]:
    """Start new tracks, numbered from `begun`, in the cells that have none, -1."""
    free = kept < 0
    out = kept.clone()
    out[free] = torch.arange(begun, begun + int(free.sum()), device=kept.device)
    return out


def nearest_track(
    target: Int[Tensor, "tracks"],
    off: Float[Tensor, "tracks"],
    ids: Int[Tensor, "tracks"],
    cells: int,
) -> tuple[Int[Tensor, "taken"], Bool[Tensor, "cells"]]:
    """Find which track gets each cell that tracks reach: the nearest, or that of the
    lowest id in a tie.

    Args:
        target: The cell that each track reaches.
        off: Distance of each track from that cell, in any unit.
        ids: Number of each track.
        cells: Number of cells.
    Returns:
        Index of the track of each cell that is taken, in the order of cells; True for
        cells that are taken.
    """
    least = off.new_full((cells,), torch.inf).scatter_reduce_(0, target, off, "amin")
    tied = (off == least[target]).nonzero()[:, 0]
    first = ids.new_full((cells,), torch.iinfo(ids.dtype).max)
    first.scatter_reduce_(0, target[tied], ids[tied], "amin")
    won = tied[ids[tied] == first[target[tied]]]
    winner = torch.full((cells,), -1, device=ids.device)
    winner[target[won]] = won
    taken = winner >= 0
    return winner[taken], taken


def enlarged(frames: RgbFrames) -> UInt8[np.ndarray, "frames large_h large_w 3"]:
    """Enlarge frames until they are large enough for their motion to be estimated."""
    height, width = frames.shape[1:3]
    scale = _LEAST_MOVED_SIDE / min(height, width)
    if scale <= 1:
        return frames
    size = (round(width * scale), round(height * scale))
    return np.stack(
        [cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in frames]
    )


def shrunk(
    flows: Float32[Tensor, "pairs 2 large_h large_w"], size: Shape
) -> Float32[np.ndarray, "pairs height width 2"]:
    """Shrink flows to a size (height, width), in its pixels."""
    height, width = size
    large = rearrange(flows.numpy(), "pairs c h w -> pairs h w c")
    return np.stack([_shrunk(flow, (width, height)) for flow in large])


def _shrunk(flow: Float32[np.ndarray, "large_h large_w 2"], size: Shape) -> Flow:
    """Shrink a flow to a size (width, height), in its pixels."""
    width, height = size
    large_height, large_width = flow.shape[:2]
    if (large_width, large_height) == size:
        return flow
    scale = np.float32([width / large_width, height / large_height])
    return cv2.resize(flow * scale, size, interpolation=cv2.INTER_AREA)


def sampled(
    x: Shaped[np.ndarray, "height width *c"],
    flow: Flow,
    interpolation: int,
    border: int = cv2.BORDER_REPLICATE,
) -> Shaped[np.ndarray, "height width *c"]:
    """Sample `x` at positions displaced by `flow`, (dx, dy) in pixels.

    `interpolation` and `border`, the rule for positions outside, are OpenCV's.
    """
    height, width = flow.shape[:2]
    pixels = _pixels(height, width, torch.device("cpu"))
    positions = pixels.permute(1, 2, 0).numpy() + flow
    read = cv2.remap(x, positions, None, interpolation, borderMode=border)
    return read.reshape(height, width, *x.shape[2:])  # OpenCV drops a single channel


def follow(
    frames: RgbFrames,
    size: Shape,
    method: FlowMethod = "auto",
    breaks: Sequence[int] = (),
) -> Int[Tensor, "frames tokens"] | None:
    """Follow a clip on an attention grid of some height and width: the track of every
    token; None of a single frame.

    Tokens are the cells of a grid, row by row. Every track begins anew in the frames of
    `breaks`, from 1. Method and errors are those of `estimate_flow`.
    """
    if len(frames) < 2:
        return None
    forward, backward = estimate_both(frames[:-1], frames[1:], method)
    flows = zip(pairwise(frames), forward.split(1), backward.split(1), strict=True)
    used = method if find_raft() else "dis"
    found = each(lambda pair: occluded_once(*pair, used), flows)
    occluded = torch.from_numpy(np.array(found))
    occluded[[frame - 1 for frame in breaks]] = True
    return trajectories(forward, occluded, size).flatten(1)


def targets_of(flow: Flows) -> Flows:
    """Return the position that each pixel moves to, (x, y)."""
    return _pixels(*flow.shape[2:], flow.device) + flow


@lru_cache(maxsize=2)
def _pixels(height: int, width: int, device: torch.device) -> Float32[Tensor, "2 h w"]:
    """Return x and y of every pixel."""
    rows = torch.arange(float(height), device=device)
    columns = torch.arange(float(width), device=device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y])


def _grey(frame: Rgb, size: Shape) -> UInt8[np.ndarray, "new_h new_w"]:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC)
