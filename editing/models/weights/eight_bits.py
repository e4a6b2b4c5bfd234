"""Linear layers whose weights stay in 8 bits in memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regrain.editing.storage.beside_weights import multiplied


class EightBitLinear(nn.Linear):
    """A linear layer whose weight is multiplied by its scale whenever it is used."""

    def __init__(self, layer: nn.Linear, scale: Tensor | None) -> None:
        super().__init__(layer.in_features, layer.out_features, device="meta")
        self.scale = nn.Parameter(torch.ones(1) if scale is None else scale.float())

    def forward(self, input: Tensor) -> Tensor:
        """Run the layer in the precision of its input."""
        return F.linear(input, self._product().to(input.dtype), self.bias)

    def _product(self) -> Tensor:
        is_small = self.weight.itemsize == 1
        return multiplied(self.weight, self.scale) if is_small else self.weight

    def widen(self) -> None:
        """Keep the weight as wide as the bias, so that it can be changed."""
        self.weight = nn.Parameter(self._product().to(self.bias.dtype))
        self.scale = nn.Parameter(torch.ones_like(self.scale))
