"""FRESCO's self-attention: guided by the source, by what frames share, and by the motion of the clip.

Yang et al. 2024, arXiv:2403.12962, Sec. 3.3. It works in the last two blocks of the decoder; with regions
that have words, VideoGrain's modulation works in all layers and binds regions in these, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import across_shared, tracks
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, Grid, plain
from regrain.editing.attention.regions import modulated_attention
from regrain.editing.diffusion.schedule import Step
from regrain.editing.motion.correspondence import Motion, newly_seen, token_maps, track_ids
from regrain.editing.params.fresco import FrescoParams
from regrain.editing.recipe.modulation import Modulation, fade

Looks = Mapping[str, tuple[Tensor, Tensor]]
"""Queries and keys of the source, by layer."""
_BLOCKS = 2  # the last up blocks: 32 x 32 and 64 x 64 tokens in Stable Diffusion at 512 pixels


def guided_sites(sites: Sequence[AttentionLayer]) -> frozenset[str]:
    """Names of the layers that are guided: self-attention in the last two blocks of the decoder."""
    numbers = {
        site.name: int(site.block.split(".")[1]) for site in sites if site.block.startswith("up_")
    }
    first = max(numbers.values()) - _BLOCKS + 1
    return frozenset(
        site.name for site in sites if site.kind == "self" and numbers.get(site.name, -1) >= first
    )


class GuidedAttention:
    """The attention of a batch of frames, RGB at the working size.

    `motion` are their circular pairs, `grid` is that of their latents. `modulation` binds regions to their
    words, if any has some.
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
        self._params, self._modulation, self._grid = params, modulation, grid
        pairs = motion[: len(frames) - 1]

        def ids(size: tuple[int, int], device: torch.device) -> Int[Tensor, "frames tokens"]:
            pixels = torch.from_numpy(frames).movedim(-1, 1).float()
            # Of each cell the middle counts, as released: if any occluded pixel did, tracks would be shorter.
            colours = F.interpolate(pixels, size, mode="bilinear").movedim(1, -1)
            appeared = newly_seen(pairs, size)[1:].unflatten(1, size)
            return track_ids(*token_maps(pairs.at(size).backward, appeared, colours)).to(device)

        def shared(size: tuple[int, int], device: torch.device) -> Bool[Tensor, "frames tokens"]:
            seen = newly_seen(pairs, size)
            if params.cross_frame == "first":
                seen[1:] = False
            return seen.to(device)

        self._ids, self._shared = cache(ids), cache(shared)

    def attend(self, step: Step, batch: Batch, source: Looks | None) -> AttentionFn:
        """The attention of one denoising step for the halves of guidance in `batch`.

        `source` is what places looked like in the source, for spatial guidance; None is without it.
        """
        others = plain if self._modulation is None else self._modulation.attend(step, batch)

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.name not in self.sites:
                return others(q, k, v, site)
            guided = q
            if source is not None:
                # Spatial-guided: every query becomes a mean of those of places alike in the source.
                source_q, source_k = (x.to(q) for x in source[site.name])
                scale = self._params.spatial_sharpness * q.shape[-1] ** -0.5
                guided = attention(source_q, source_k, q, scale)
            if self._params.cross_frame == "own":
                out = others(guided, k, v, site)
            else:
                out = self._across(guided, k, v, site, step, batch)
            if not step.within(self._params.temporal_until):
                return out
            ids = self._ids(self._grid.at(site).size, q.device)
            scale = self._params.temporal_sharpness * q.shape[-1] ** -0.5
            return tracks(q, k, out, batch.frames, ids, scale)

        return attend

    def _across(
        self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer, step: Step, batch: Batch
    ) -> Tensor:
        """Efficient cross-frame attention; one half is modulated, if any region has words."""
        shared, out = self._shared(self._grid.at(site).size, q.device), []
        for branch in batch.branches:
            one = (x[batch.rows(branch)] for x in (q, k, v))
            if self._modulation is None or branch != self._modulation.params.guidance_half:
                out.append(across_shared(*one, shared))
                continue
            codes = self._modulation.layout.codes(site)
            xi = fade(self._modulation.params, step)
            labels, keys, a = self._modulation.apart(
                codes.flatten()[None], codes[shared][None], site, xi
            )
            bound = partial(modulated_attention, query_label=labels, key_label=keys, strength=a)
            out.append(across_shared(*one, shared, bound))
        return torch.cat(out)
