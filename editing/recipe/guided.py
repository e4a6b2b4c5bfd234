"""FRESCO's self-attention: guided by the source, by content that frames share, and by
the motion of the clip.

Yang et al. 2024, arXiv:2403.12962, Sec. 3.3. It works in the last two blocks of the
decoder; with regions that have words, VideoGrain's modulation works in all layers and
binds regions in these, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import TrackOrder, across_shared, tracks
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, Grid, plain
from regrain.editing.attention.regions import partitioned_attention
from regrain.editing.diffusion.schedule import Step
from regrain.editing.motion.correspondence import (
    Motion,
    newly_seen,
    token_maps,
    track_ids,
)
from regrain.editing.params.fresco import FrescoParams
from regrain.editing.recipe.modulation import Modulation, PixelBinding, fade, once

Looks = Mapping[str, tuple[Tensor, Tensor]]
"""Queries and keys of the source, by layer."""
# the last up blocks: 32 x 32 and 64 x 64 tokens in Stable Diffusion at 512 pixels
_BLOCKS = 2


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
        frames: UInt8[np.ndarray, "frames h w 3"],
        motion: Motion,
        grid: Grid,
        sites: Sequence[AttentionLayer],
        params: FrescoParams,
        modulation: Modulation | None,
    ) -> None:
        self.sites = guided_sites(sites)
        self._params = params
        self._modulation = modulation
        self._grid = grid
        pairs = motion[: len(frames) - 1]
        self._tracks = cache(partial(_tracks, frames, pairs))
        self._shared = cache(partial(_shared, pairs, params))
        self._bindings: dict[tuple[int, ...], PixelBinding] = {}

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
            guided = q if source is None else self._like_source(q, *source[site.name])
            if self._params.cross_frame == "own":
                out = others(guided, k, v, site)
            else:
                out = self._across(guided, k, v, site, step, batch)
            if not step.within(self._params.temporal_until):
                return out
            return self._along_tracks(q, k, out, site)

        return attend

    def _along_tracks(
        self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer
    ) -> Tensor:
        """Compute attention along the motion."""
        order = self._tracks(self._grid.at(site).size, q.device)
        scale = self._params.temporal_sharpness * q.shape[-1] ** -0.5
        return tracks(q, k, v, order, scale)

    def _like_source(self, q: Tensor, source_q: Tensor, source_k: Tensor) -> Tensor:
        """Replace every query by a mean of those of places that look alike in the
        source."""
        scale = self._params.spatial_sharpness * q.shape[-1] ** -0.5
        return attention(source_q.to(q), source_k.to(q), q, scale)

    def _across(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        step: Step,
        batch: Batch,
    ) -> Tensor:
        """Compute efficient cross-frame attention; one half is modulated, if any region
        has words."""
        shared = self._shared(self._grid.at(site).size, q.device)
        modulation = self._modulation
        out = []
        for branch in batch.branches:
            rows = batch.rows(branch)
            attend = attention
            if modulation is not None and branch == modulation.params.guidance_half:
                bind = partial(_bind, modulation, shared)
                binding = once(self._bindings, site, bind)
                attend = partial(
                    partitioned_attention,
                    partition=binding.partition,
                    strength=binding.at(fade(modulation.params, step)),
                )
            one = (q[rows], k[rows], v[rows])
            out.append(across_shared(*one, batch.frames, shared, attend))
        return torch.cat(out)


def _bind(
    modulation: Modulation, shared: Int[Tensor, "shared"], site: AttentionLayer
) -> PixelBinding:
    """Bind all tokens of a clip to those that are shared."""
    codes = modulation.layout.codes(site).flatten()
    return modulation.apart(codes[None], codes[shared][None], site)


def _tracks(
    frames: UInt8[np.ndarray, "frames h w 3"],
    pairs: Motion,
    size: tuple[int, int],
    device: torch.device,
) -> TrackOrder:
    """Return the tokens on a grid of some height and width, in the order of their
    tracks."""
    pixels = torch.from_numpy(frames).movedim(-1, 1).float()
    # Of each cell the middle counts, as released: if any occluded pixel did, tracks
    # would be shorter.
    colours = F.interpolate(pixels, size, mode="bilinear").movedim(1, -1)
    appeared = newly_seen(pairs, size)[1:].unflatten(1, size)
    maps, linked = token_maps(pairs.at(size).backward, appeared, colours)
    return TrackOrder.of(track_ids(maps, linked), device)


def _shared(
    pairs: Motion, params: FrescoParams, size: tuple[int, int], device: torch.device
) -> Int[Tensor, "shared"]:
    """Find the tokens, on a grid of some height and width, that all frames see."""
    seen = newly_seen(pairs, size)
    if params.cross_frame == "first":
        seen[1:] = False
    return seen.flatten().nonzero().flatten().to(device)
