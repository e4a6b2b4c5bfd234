"""Linear layers whose weights stay small in memory: in 8 bits, or packed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regrain.editing.storage.beside_weights import multiplied
from regrain.editing.storage.packed import PackedTensor, unpack

PACKED = torch.int8
"""Type of the bytes of packed numbers: T5 rounds what it multiplies by weights of any
other."""


class SmallLinear(nn.Linear):
    """A linear layer whose weight is made wide whenever it is used.

    Args:
        layer: The one in whose place it stands.
        dtype: Of weights of the network that are not small.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        has_bias = layer.bias is not None
        super().__init__(layer.in_features, layer.out_features, has_bias, device="meta")
        self._usual = dtype

    def forward(self, input: Tensor) -> Tensor:
        """Run the layer in the precision of its input."""
        return F.linear(input, self.wide(input.dtype), self.bias)

    def wide(self, dtype: torch.dtype) -> Tensor:
        """Return the numbers of the weight (out, in)."""
        return self.weight.to(dtype)

    def widen(self) -> None:
        """Keep the weight wide, so that it can be changed."""
        self.weight = nn.Parameter(self.wide(self._usual), requires_grad=False)


def inner_linear(network: nn.Module, name: str) -> nn.Linear | None:
    """Return the linear layer inside a block whose weight has this name; None of other
    weights."""
    place, _, role = name.rpartition(".")
    layer = network.get_submodule(place)
    is_inner = role == "weight" and "block" in place
    return layer if is_inner and type(layer) is nn.Linear else None


def replace(network: nn.Module, name: str, layer: SmallLinear) -> None:
    """Put a layer in the place of the one whose weight has this name."""
    network.set_submodule(name.removesuffix(".weight"), layer)


def numbers_of(layer: nn.Linear) -> Tensor:
    """Return the numbers of the weight (out, in) of a layer that may be small."""
    if isinstance(layer, SmallLinear):
        return layer.wide(torch.float32)
    return layer.weight.detach()


class EightBitLinear(SmallLinear):
    """One whose weight of 8 bits is multiplied by its scale."""

    def __init__(
        self, layer: nn.Linear, scale: Tensor | None, dtype: torch.dtype
    ) -> None:
        super().__init__(layer, dtype)
        self.scale = nn.Parameter(torch.ones(1) if scale is None else scale.float())

    def wide(self, dtype: torch.dtype) -> Tensor:
        """See `SmallLinear`."""
        is_small = self.weight.itemsize == 1
        wide = multiplied(self.weight, self.scale) if is_small else self.weight
        return wide.to(dtype)

    def widen(self) -> None:
        """See `SmallLinear`; its scale is one then."""
        super().widen()
        self.scale = nn.Parameter(torch.ones_like(self.scale))


class PackedLinear(SmallLinear):
    """One whose weight is the bytes of a GGUF (rows, bytes of a row)."""

    def __init__(
        self, layer: nn.Linear, packed: PackedTensor, dtype: torch.dtype
    ) -> None:
        super().__init__(layer, dtype)
        self.kind = packed.kind
        stored = torch.empty(packed.content.shape, dtype=PACKED, device="meta")
        self.weight = nn.Parameter(stored, requires_grad=False)

    def wide(self, dtype: torch.dtype) -> Tensor:
        """See `SmallLinear`."""
        if self.weight.dtype != PACKED:
            return self.weight.to(dtype)
        return unpack(self.weight, self.kind, dtype)
