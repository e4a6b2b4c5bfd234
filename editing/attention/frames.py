"""The frames whose keys a frame sees.

In image models a row of q, k, v is one frame, ordered (branch frame): all frames of the
first branch, then all of the next. Which frames a frame sees is data (`Seen`), which
keys, values and labels all follow. The functions compute attention with `attend` (plain
by default) and return the rows in their original order. Branches never mix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.attention.backends import RunLengths, attention, attention_in_runs
from regrain.editing.attention.layers import AttentionFn, AttentionLayer

Rows = Float[Tensor, "rows heads tokens dim"]
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Selector = Literal["first", "middle", "previous", "own"]
Selectors = Sequence[Selector] | Literal["all"]
Seen = Int[Tensor, "frames seen"] | Literal["all", "own"]
"""Frames whose keys each frame sees, in order; "all" folds the frames of a branch into
one row of tokens, of "own" each frame sees itself alone."""


def frames_seen(
    selectors: Selectors, frames: int, device: torch.device, middle: int = 0
) -> Seen:
    """List the frames that each frame of a clip sees, on the device where they are.

    Args:
        selectors: "first" and `middle` are frames of the clip, "own" is the frame
            itself, "previous" the one before it, of the first the first. Or "all", as
            in VideoGrain, arXiv:2502.17258, Sec. 3.1.
        frames: Number of frames in the clip.
        device: Where attention is computed.
        middle: Index of the frame that "middle" selects.
    """
    if selectors == "all" or tuple(selectors) == ("own",):
        return "all" if selectors == "all" else "own"
    own = torch.arange(frames, device=device)
    named = {
        "first": own * 0,
        "middle": own * 0 + middle,
        "previous": (own - 1).clamp(min=0),
        "own": own,
    }
    return torch.stack([named[selector] for selector in selectors], 1)


def fold_frames(x: Rows, frames: int) -> Float[Tensor, "branch heads clip_tokens dim"]:
    """Lay a branch's frames side by side: [(branch frame), heads, n, d] -> [branch,
    heads, (frame n), d]."""
    return rearrange(
        x, "(branch frame) heads n dim -> branch heads (frame n) dim", frame=frames
    )


def unfold_frames(
    x: Float[Tensor, "branch heads clip_tokens dim"], frames: int
) -> Rows:
    """Undo `fold_frames`."""
    return rearrange(
        x, "branch heads (frame n) dim -> (branch frame) heads n dim", frame=frames
    )


def across_frames(
    q: Rows, k: Rows, v: Rows, frames: int, seen: Seen, attend: Attend = attention
) -> Rows:
    """Compute attention in which each frame sees the frames that `seen` lists for it.

    Args:
        q, k, v, frames: Rows (branch frame), and frames in a branch.
        seen: See `frames_seen`.
        attend: Called once: for "all" with the folded q, k, v [branch, heads, (frame tokens), dim]; else with
            unchanged q and keys and values [(branch frame), heads, (seen tokens), dim].
    """
    if seen == "all":
        folded = (fold_frames(x, frames) for x in (q, k, v))
        return unfold_frames(attend(*folded), frames)
    if seen == "own":
        return attend(q, k, v)

    def gather(x: Tensor) -> Tensor:
        by_frame = rearrange(
            x, "(branch frame) heads n dim -> branch frame heads n dim", frame=frames
        )
        return rearrange(
            by_frame[:, seen],
            "branch frame s heads n dim -> (branch frame) heads (s n) dim",
        )

    return attend(q, gather(k), gather(v))


def over_frames(frames: int, seen: Seen) -> AttentionFn:
    """Return the attention in which each frame sees the text of its own row, and the
    frames that `seen` lists for it."""

    def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind == "cross":
            return attention(q, k, v)
        return across_frames(q, k, v, frames, seen)

    return attend


def labels_seen(
    labels: Int[Tensor, "frames tokens"], seen: Seen
) -> tuple[Int[Tensor, "rows queries"], Int[Tensor, "rows keys"]]:
    """Return the labels of the queries and keys that `across_frames` passes to
    `attend`, for one branch."""
    if seen == "all":
        folded = labels.reshape(1, -1)
        return folded, folded
    return labels, labels if seen == "own" else labels[seen].flatten(1)


class TrackOrder(NamedTuple):
    """The tokens of a clip, sorted so that those of a track follow each other.

    Attributes:
        frames: Frames of the clip.
        by_track: Places of the sorted tokens among (frame token).
        runs: Lengths of the tracks.
    """

    frames: int
    by_track: Int[Tensor, "tokens"]
    runs: RunLengths

    @classmethod
    def of(cls, ids: Int[Tensor, "frames tokens"], device: torch.device) -> TrackOrder:
        """Sort the tokens for attention on a device.

        `ids` is the track of every token; a track has at most one token per frame
        (`flow.trajectories`).
        """
        own, by_track = torch.sort(ids.flatten().cpu(), stable=True)
        lengths = torch.unique_consecutive(own, return_counts=True)[1]
        return cls(len(ids), by_track.to(device), RunLengths(lengths, device))


def tracks(
    q: Rows, k: Rows, v: Rows, order: TrackOrder, scale: float | None = None
) -> Rows:
    """Compute attention in which each token sees the tokens of its own track, including
    itself.

    Args:
        q, k, v: Rows (branch frame). order: The tokens of a branch by their tracks.
        scale: Factor on q k^T; default dim ** -0.5.
    Source: FLATTEN, arXiv:2310.05922, Sec. 3.3, without the neighbourhood.
    """
    frames, by_track, runs = order
    q, k, v = (
        rearrange(fold_frames(x, frames), "branch heads n dim -> branch n heads dim")
        for x in (q, k, v)
    )
    out = torch.empty_like(v)
    out[:, by_track] = attention_in_runs(
        q[:, by_track],
        k[:, by_track],
        v[:, by_track],
        runs,
        scale,
    )
    return unfold_frames(
        rearrange(out, "branch n heads dim -> branch heads n dim"), frames
    )
