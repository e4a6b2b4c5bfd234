"""Where the regions of a request are on every attention grid, and which tokens are theirs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from editing.attention.regions import grid_labels
from editing.attention.sites import Grid, Site

if TYPE_CHECKING:
    from editing.request import EditRequest


class Layout:
    """Where the regions are on every attention grid, and their tokens: 0 background, i + 1 region i.

    Attributes:
        names: Of the regions.
        words: Region of every token of the prompt, -1 where it is none's.
        grid: Of the latents.
        strength: Of the background, 1, and of every region.
        has_words: 1 for regions with words, else 0; their pixels keep their cross-attention: flattening it
            would only erase them.
        columns: By name of a region its column in `indicator`.
        indicator: [tokens, regions], 1 where a token is a region's.
    """

    def __init__(self, request: EditRequest, grid: Grid, words: Int[Tensor, "tokens"]) -> None:
        self.names = tuple(region.name for region in request.regions)
        self.words, self.grid = words, grid
        codes = np.zeros(256, np.uint8)  # a byte a pixel of the source, on the device
        codes[[region.label for region in request.regions]] = np.arange(1, len(request.regions) + 1)
        device = words.device
        self.strength = torch.tensor([1.0, *[region.strength for region in request.regions]], device=device)
        self.has_words = torch.tensor(
            [float((words == code).any()) for code in range(len(self.strength))], device=device
        )
        labels = torch.from_numpy(codes[request.areas]).to(device)
        self.columns = {name: (i,) for i, name in enumerate(self.names)}
        regions = torch.arange(1, len(self.names) + 1, device=device)
        self.indicator = (words[:, None] == regions).float()
        self._cells = cache(lambda h, w: grid_labels(labels, h, w, len(self.strength)))

    def codes(self, site: Site) -> Int[Tensor, "frames tokens"]:
        """Region of every token of a layer."""
        return self._cells(*self.grid.at(site).size)

    def size_term(
        self, codes: Int[Tensor, "rows tokens"], keys: Int[Tensor, "rows keys"] | None = None
    ) -> Float[Tensor, "rows tokens"]:
        """1 - S: the share of the keys of its row that are not of a token's own region.

        Args:
            codes: Region of each query. keys: Region of each key; default: the queries' own tokens.
        """
        share = F.one_hot(codes if keys is None else keys, len(self.strength)).float().mean(1)
        return 1 - share.gather(1, codes)
