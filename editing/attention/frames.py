"""Whose keys a frame sees.

In image models a row of q, k, v is one frame, ordered (branch frame): all frames of the first branch, then
all of the next. Each function here rearranges keys across the frames of a branch, computes attention with
`attend` (plain by default; a modulated one fits too) and returns the rows in their order. Branches never mix.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from editing.attention.backends import attention

Rows = Float[Tensor, "rows heads tokens dim"]
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Selector = int | Literal["first", "middle", "last", "previous", "own"]
# Gathering all tracks at once would copy q, k and v of the whole clip.
_TRACKS_AT_ONCE = 4096


def fold_frames(x: Rows, frames: int) -> Float[Tensor, "branch heads clip_tokens dim"]:
    """Lay a branch's frames side by side: [(branch frame), heads, n, d] -> [branch, heads, (frame n), d]."""
    return rearrange(x, "(branch frame) heads n dim -> branch heads (frame n) dim", frame=frames)


def unfold_frames(x: Float[Tensor, "branch heads clip_tokens dim"], frames: int) -> Rows:
    """Undo `fold_frames`."""
    return rearrange(x, "branch heads (frame n) dim -> (branch frame) heads n dim", frame=frames)


def own_frame(q: Rows, k: Tensor, v: Tensor, frames: int, attend: Attend = attention) -> Rows:
    """Each frame sees itself only: the image model as it was trained. `frames` plays no part."""
    return attend(q, k, v)


def all_frames(q: Rows, k: Rows, v: Rows, frames: int, attend: Attend = attention) -> Rows:
    """Each frame sees every frame of its branch (full-frame attention).

    Args:
        q: Queries, rows (branch frame).
        k: Keys, same rows.
        v: Values, same rows.
        frames: Frames in a branch.
        attend: Called once with the folded q, k, v: [branch, heads, (frame tokens), dim].
    Source: VideoGrain, arXiv:2502.17258, Sec. 3.1.
    """
    return unfold_frames(attend(*(fold_frames(x, frames) for x in (q, k, v))), frames)


def sparse_causal(
    q: Rows,
    k: Rows,
    v: Rows,
    frames: int,
    selectors: Sequence[Selector] = ("first", "previous"),
    attend: Attend = attention,
) -> Rows:
    """Each frame sees the frames its `selectors` name, concatenated in that order.

    Args:
        q: Queries, rows (branch frame).
        k: Keys, same rows.
        v: Values, same rows.
        frames: Frames in a branch.
        selectors: "first", "middle" (the lower of two) and "last" name a frame of the clip; "own" is the
            frame itself, "previous" the one before it, kept inside the clip; so is an int, any offset.
        attend: Called once with q as it is and keys and values [(branch frame), heads, (selector tokens),
            dim].
    Raises:
        ValueError: No selector given.
    Source: Tune-A-Video, arXiv:2212.11565, Eq. 2: the first and the previous frame.
    """
    if not selectors:
        raise ValueError("selectors: a frame must see at least one frame")
    named = {"first": 0, "middle": (frames - 1) // 2, "last": frames - 1}
    offsets = [{"own": 0, "previous": -1}.get(s, s) for s in selectors]
    seen = [
        [named[s] if isinstance(s, str) else min(max(frame + s, 0), frames - 1) for s in offsets]
        for frame in range(frames)
    ]
    index = torch.tensor(seen, device=k.device)

    def gather(x: Tensor) -> Tensor:
        by_frame = rearrange(x, "(branch frame) heads n dim -> branch frame heads n dim", frame=frames)
        return rearrange(by_frame[:, index], "branch frame s heads n dim -> (branch frame) heads (s n) dim")

    return attend(q, gather(k), gather(v))


def tracks(
    q: Rows, k: Rows, v: Rows, frames: int, ids: Int[Tensor, "frames tokens"], attend: Attend = attention
) -> Rows:
    """Each token sees the tokens of its own track, itself among them.

    Args:
        q: Queries, rows (branch frame).
        k: Keys, same rows.
        v: Values, same rows.
        frames: Frames in a branch.
        ids: Track of every token; a track has at most one token a frame (`editing.flow.trajectories`).
        attend: Called for tracks of equal length together: [(branch track), heads, length, dim].
    Source: FLATTEN, arXiv:2310.05922, Sec. 3.3, without the neighbourhood.
    """
    by_track = torch.sort(ids.flatten(), stable=True).indices  # tokens of a track follow each other
    _, track, lengths = torch.unique_consecutive(
        ids.flatten()[by_track], return_inverse=True, return_counts=True
    )
    q, k, v = (
        rearrange(fold_frames(x, frames), "branch heads n dim -> branch n heads dim") for x in (q, k, v)
    )
    out = v.clone()  # what a token alone in its track sees
    for length in range(2, int(lengths.max()) + 1):
        tokens = by_track[lengths[track] == length].view(-1, length)
        for some in tokens.split(max(1, _TRACKS_AT_ONCE // len(q))):
            rows = (
                rearrange(x[:, some], "branch t l heads dim -> (branch t) heads l dim") for x in (q, k, v)
            )
            seen = attend(*rows)
            out[:, some] = rearrange(seen, "(branch t) heads l dim -> branch t l heads dim", branch=len(out))
    return unfold_frames(rearrange(out, "branch n heads dim -> branch heads n dim"), frames)


def arrange(
    see: Callable[..., Tensor], labels: Int[Tensor, "frames tokens"]
) -> tuple[Int[Tensor, "rows queries"], Int[Tensor, "rows keys"]]:
    """Labels of tokens in the order in which `see` (one of the functions above) lays out queries and keys."""
    laid: list[Tensor] = []

    def keep(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        laid.extend((q[:, 0, :, 0].long(), k[:, 0, :, 0].long()))
        return q

    rows = labels.float()[:, None, :, None]
    see(rows, rows, rows, len(labels), attend=keep)
    return laid[0], laid[1]
