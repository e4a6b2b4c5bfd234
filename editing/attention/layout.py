"""Where the regions of a request are on every attention grid, and which tokens are theirs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from editing.attention.maps import grid_at
from editing.attention.regions import grid_labels

if TYPE_CHECKING:
    from editing.request import EditRequest


class Layout:
    """Where the regions are on every attention grid, and their tokens: 0 background, i + 1 region i."""

    def __init__(self, request: EditRequest, grid: tuple[int, int], words: Int[Tensor, "tokens"]) -> None:
        self.names = tuple(region.name for region in request.regions)
        self.words = words
        codes = np.zeros(256, np.uint8)  # a byte a pixel of the source, on the device
        codes[[region.label for region in request.regions]] = np.arange(1, len(request.regions) + 1)
        device = words.device
        self.frames, self.grid = len(request.clip), grid
        self.clip_size = request.clip.size[::-1]
        self.strength = torch.tensor([1.0, *[region.strength for region in request.regions]], device=device)
        # Pixels whose region has no words keep their cross-attention: flattening it would only erase them.
        self.bound = torch.tensor(
            [float((words == code).any()) for code in range(len(self.strength))], device=device
        )
        labels = torch.from_numpy(codes[request.areas]).to(device)
        self.cells = cache(lambda h, w: grid_labels(labels, h, w, len(self.strength)))
        edited = torch.from_numpy(request.edited_mask).float()[:, None]
        self.blend_mask = F.adaptive_max_pool2d(edited, grid).to(device)

    def at(self, tokens: int) -> tuple[int, int]:
        """Height and width of the attention grid with this many tokens a frame."""
        return grid_at(tokens, self.grid)

    def codes(self, tokens: int) -> Int[Tensor, "frames tokens"]:
        """Region of every token of a layer."""
        return self.cells(*self.at(tokens))

    def spare(
        self, codes: Int[Tensor, "rows tokens"], keys: Int[Tensor, "rows keys"] | None = None
    ) -> Float[Tensor, "rows tokens"]:
        """The size term 1 - S: the share of the keys of its row that are not of a token's own region.

        Args:
            codes: Region of each query. keys: Region of each key; default: the queries' own tokens.
        """
        share = F.one_hot(codes if keys is None else keys, len(self.strength)).float().mean(1)
        return 1 - share.gather(1, codes)
