"""Attention of a clip's tokens to the words of a prompt, bound to regions, as explicit
maps.

Wan pads prompts to 512 tokens, and nothing masks the padding: after the text projection
it is one vector many times. Such keys count as one whose logit is larger by the
logarithm of their number, so that a few dozen keys are left, and the maps are small
beside those between tokens of the clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.attention.backends import Keys, Queries, Values
from regrain.editing.attention.regions import Partition

# Numbers of the maps that are held at once; see `attention.regions`.
_BLOCK = 1 << 20
_GPU_BLOCK = 1 << 25


@dataclass(frozen=True, eq=False)
class WordBinding:
    """A binding of the tokens of a clip to words of the prompt.

    For query i with strength a_i, words of its region move towards the row's largest
    logit, other words towards its smallest:  s' = s + a_i (max_i - s) or s + a_i (min_i
    - s), the range taken over the words. Then, by `columns`, the words of each region
    move towards the largest logit that a token inside it gives them, or outside it
    towards the smallest that one outside gives.

    Attributes:
        partition: Region of every query, 0 for none, and of every key that is no
            padding, -1 for none, in one row.
        strength: a_i, 0..1; None if all are 0.
        columns: Share of the second move, 0..1.

    Source: rows are VideoGrain, arXiv:2502.17258, Eq. 6; columns are FlowAnchor,
        arXiv:2604.22586.
    """

    partition: Partition
    strength: Float[Tensor, "queries"] | None
    columns: float = 0.0

    @property
    def codes(self) -> Int[Tensor, "queries"]:
        """Region of every query."""
        return self.partition.queries[0]

    @property
    def words(self) -> Int[Tensor, "words"]:
        """Region of every word."""
        return self.partition.keys[0]


def attend_to_words(
    q: Queries, k: Keys, v: Values, binding: WordBinding
) -> tuple[Tensor, Float[Tensor, "queries words"], Float[Tensor, "queries words"]]:
    """Compute cross-attention under a binding, of a batch of one.

    Args:
        q, k, v: Unscaled; keys after those of `binding.words` are alike.
    Returns:
        The output; and the attention to every word before and after, averaged over
        heads.
    """
    _, heads, queries, _ = q.shape
    count = len(binding.words)
    pads = k.shape[2] - count
    kept = count + min(pads, 1)
    most = _BLOCK if q.device.type == "cpu" else _GPU_BLOCK
    together = max(1, most // (queries * kept))
    parts = zip(
        q[0].split(together),
        k[0, :, :kept].split(together),
        v[0, :, :kept].split(together),
        strict=True,
    )
    precise = torch.promote_types(q.dtype, torch.float32)
    before = q.new_zeros(queries, count, dtype=torch.float32)
    after = torch.zeros_like(before)
    out = []
    for own_q, own_k, own_v in parts:
        scores = own_q.to(precise) @ own_k.to(precise).mT * q.shape[-1] ** -0.5
        changed = _bound(scores, binding)
        # The last key stands for all padding.
        for logits in (scores, changed):
            logits[..., count:] += math.log(max(pads, 1))
        given = changed.softmax(-1)
        out.append((given @ own_v.to(given)).to(v))
        before += scores.softmax(-1)[..., :count].sum(0) / heads
        after += given[..., :count].sum(0) / heads
    return torch.cat(out)[None], before, after


def _bound(scores: Float[Tensor, "heads queries keys"], binding: WordBinding) -> Tensor:
    """Return the changed logits, in a tensor of their own."""
    count = len(binding.words)
    words = scores[..., :count]
    low = words.amin(-1, keepdim=True)
    if binding.strength is None:
        return scores.clone()
    a = binding.strength.to(scores)[:, None]
    # Words of the query's region move towards the row's largest, others to the least.
    own = (binding.codes[:, None] == binding.words) & (binding.words >= 0)
    target = torch.where(own, words.amax(-1, keepdim=True), low)
    moved = words + a * (target - words)
    if binding.columns:
        _move_columns(moved, binding)
    return torch.cat([moved, scores[..., count:]], -1)


def _move_columns(
    logits: Float[Tensor, "heads queries words"], binding: WordBinding
) -> None:
    """Move, in place, the words of each region up for tokens inside it and down for
    those outside."""
    for region in binding.partition.by_region():
        columns = region.own
        if columns is None or region.elsewhere is None:
            continue
        given = logits[..., columns]
        high = given[:, region.queries].amax(1, keepdim=True)
        low = given[:, region.elsewhere].amin(1, keepdim=True)
        inside = binding.codes == region.label
        target = torch.where(inside[:, None], high, low)
        logits[..., columns] = given + binding.columns * (target - given)
