"""FRESCO's self-attention: guided by the source, by content that frames share, and by
the motion of the clip.

Yang et al. 2024, arXiv:2403.12962, Sec. 3.3. It works in the last two blocks of the
decoder; with regions that have words, VideoGrain's modulation works in all layers and
binds regions in these, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import (
    TrackOrder,
    fold_frames,
    tracks,
    unfold_frames,
)
from regrain.editing.attention.layers import (
    AttentionFn,
    AttentionLayer,
    Grid,
    Size,
    plain,
)
from regrain.editing.attention.regions import partitioned_attention
from regrain.editing.diffusion.schedule import Step
from regrain.editing.media.lazy_frames import RgbFrames
from regrain.editing.motion.correspondence import (
    Motion,
    newly_seen,
    token_maps,
    track_ids,
)
from regrain.editing.recipe.modulation import (
    Bindings,
    Modulation,
    PixelBinding,
    fade,
    once,
)

Looks = Mapping[str, tuple[Tensor, Tensor]]
"""Queries and keys of the source, by layer."""
# the last up blocks: 32 x 32 and 64 x 64 tokens in Stable Diffusion at 512 pixels
_BLOCKS = 2
# Factor on the logits of attention in space and along the motion; and the share of the
# schedule, from pure noise, with the latter. As released.
_SHARPNESS = 0.2
_ALONG_MOTION_UNTIL = 0.65


def guided_sites(sites: Sequence[AttentionLayer]) -> frozenset[str]:
    """Return the names of the guided layers: self-attention in the last two blocks of
    the decoder."""
    decoder = [site for site in sites if site.block.startswith("up_")]
    numbers = {site.name: int(site.block.split(".")[1]) for site in decoder}
    first = max(numbers.values()) - _BLOCKS + 1
    return frozenset(
        site.name
        for site in decoder
        if site.kind == "self" and numbers[site.name] >= first
    )


class GuidedAttention:
    """The attention of a batch of frames, RGB at the working size.

    `motion` holds their circular pairs, `grid` is that of their latents. `modulation`
    binds regions to their words; None if no region has words.
    """

    def __init__(
        self,
        frames: RgbFrames,
        motion: Motion,
        grid: Grid,
        sites: Sequence[AttentionLayer],
        modulation: Modulation | None,
    ) -> None:
        self.sites = guided_sites(sites)
        self._modulation = modulation
        self._grid = grid
        self._frames = frames
        self._pairs = motion[: len(frames) - 1]
        self._tracks = cache(self._find_tracks)
        self._shared = cache(self._find_shared)
        self._bindings: Bindings = {}

    def attend(self, step: Step, batch: Batch, source: Looks | None) -> AttentionFn:
        """Return the attention of one denoising step for the halves of guidance in
        `batch`.

        `source` is for spatial guidance; None is without it.
        """
        others = plain
        if self._modulation is not None:
            others = self._modulation.attend(step, batch)

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.name not in self.sites:
                return others(q, k, v, site)
            scale = q.shape[-1] ** -0.5
            guided = q
            if source is not None:
                # a mean of queries of places that look alike in the source
                old_q, old_k = (x.to(q) for x in source[site.name])
                guided = attention(old_q, old_k, q, _SHARPNESS * scale)
            out = self._across(
                guided,
                k,
                v,
                site,
                step,
                batch,
            )
            if not step.within(_ALONG_MOTION_UNTIL):
                return out
            order = self._tracks(self._grid.at(site).size, q.device)
            return tracks(
                q,
                k,
                out,
                order,
                _SHARPNESS * scale,
            )

        return attend

    def _across(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        step: Step,
        batch: Batch,
    ) -> Tensor:
        """Compute efficient cross-frame attention, in which every frame of a branch
        sees the same tokens of it; one half is modulated, if any region has words."""
        shared = self._shared(self._grid.at(site).size, q.device)
        modulation = self._modulation
        out = []
        for branch in batch.branches:
            rows = batch.rows(branch)
            attend = attention
            if modulation is not None and branch == "cond":
                binding = once(
                    self._bindings, site, partial(self._bind, modulation, shared)
                )
                attend = partial(
                    partitioned_attention,
                    partition=binding.partition,
                    strength=binding.at(fade(modulation.params, step)),
                )
            frames = batch.frames
            folded = [fold_frames(x[rows], frames) for x in (q, k, v)]
            queries, *others = folded
            keys, values = (x[:, :, shared] for x in others)
            out.append(unfold_frames(attend(queries, keys, values), frames))
        return torch.cat(out)

    @staticmethod
    def _bind(
        modulation: Modulation, shared: Int[Tensor, "shared"], site: AttentionLayer
    ) -> PixelBinding:
        """Bind all tokens of a clip to those that are shared."""
        codes = modulation.layout.codes(site).flatten()
        return modulation.apart(codes[None], codes[shared][None], site)

    def _find_tracks(self, size: Size, device: torch.device) -> TrackOrder:
        """Return the tokens on a grid of some height and width, in the order of their
        tracks."""
        pixels = torch.from_numpy(self._frames).movedim(-1, 1).float()
        # Of each cell the middle counts, as released: if any occluded pixel did, tracks
        # would be shorter.
        colours = F.interpolate(pixels, size, mode="bilinear").movedim(1, -1)
        appeared = newly_seen(self._pairs, size)[1:].unflatten(1, size)
        backward = self._pairs.at(size).backward
        return TrackOrder.of(
            track_ids(*token_maps(backward, appeared, colours)), device
        )

    def _find_shared(self, size: Size, device: torch.device) -> Int[Tensor, "shared"]:
        """Find the tokens, on a grid of some height and width, that all frames see."""
        seen = newly_seen(self._pairs, size)
        return seen.flatten().nonzero().flatten().to(device)
