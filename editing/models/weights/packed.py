"""Networks from files of packed weights, whose linear layers stay packed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.weights.small import PackedLinear, inner_linear, replace
from regrain.editing.storage.beside_weights import check_unread
from regrain.editing.storage.by_name import Tensors
from regrain.editing.storage.packed import PackedTensor, check_scales
from regrain.editing.storage.ready import check_finite
from regrain.editing.storage.safetensors_files import check_read


def fill(
    network: nn.Module,
    tensors: Mapping[str, PackedTensor],
    names: Mapping[str, str],
    path: Path,
    dtype: torch.dtype,
) -> None:
    """Give a network without weights those of a file.

    Args:
        tensors: Of the file, see `read_packed`.
        names: Of its weights in the file, by those of the network.
        dtype: Of weights that are not packed.
    Raises:
        ModelError: The file is damaged, lacks weights, or has some that are not known.
    """
    title = shorten(path.name)
    check_read([name for name in names if names[name] not in tensors], title)
    check_unread(tensors.keys() - {*names.values()}, title)
    weights: Tensors = {}
    for name, theirs in names.items():
        tensor = tensors[theirs]
        check_scales(tensor, theirs, title)
        weights[name] = kept(network, name, tensor, dtype)
    put(network, weights, title)
    network.eval().requires_grad_(False)


def put(network: nn.Module, weights: Tensors, title: str) -> None:
    """Give a network without weights those that were read; a ModelError if they have
    other shapes, NaN or Inf."""
    with boundary("model", f"{title} is damaged. Download it again.", ModelError):
        network.load_state_dict(weights, strict=False, assign=True)
    check_finite(network, title)


def kept(
    network: nn.Module, name: str, tensor: PackedTensor, dtype: torch.dtype
) -> Tensor:
    """Return a weight as a network keeps it, and make room for one that stays packed:
    that of a linear layer inside a block."""
    layer = inner_linear(network, name)
    # another shape is refused by loading
    if not tensor.is_packed or layer is None or tensor.shape != layer.weight.shape:
        return tensor.unpacked(dtype)
    replace(network, name, PackedLinear(layer, tensor, dtype))
    return tensor.stored()
