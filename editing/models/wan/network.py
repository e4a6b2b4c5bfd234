"""A Wan's transformer from files in which its weights have the names that its authors
gave them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from regrain.editing.models.files.wan_file import WanFiles, weight_in_diffusers
from regrain.editing.models.weights.packed import kept, put
from regrain.editing.models.weights.small import EightBitLinear, inner_linear, replace
from regrain.editing.storage.beside_weights import multiplied, read_scaled, refused
from regrain.editing.storage.by_name import Tensors
from regrain.editing.storage.packed import (
    PackedTensor,
    check_scales,
    is_packed,
    read_packed,
)
from regrain.editing.storage.safetensors_files import LOADING, check_read, opened
from regrain.editing.storage.texts import Json


def read_network(
    kind: Any,
    config: Json,
    parts: Sequence[WanFiles],
    dtype: torch.dtype,
    small: bool,
) -> nn.Module:
    """Read a transformer as diffusers does, but for linear layers of its blocks: packed
    ones stay so, and those of 8 bits, if `small`.

    Args:
        kind: Its class.
        config: See `config_of`.
        parts: The files of all its weights; names may also be diffusers'.
        dtype: Of weights, but for those that diffusers keeps in float32.
        small: Whether the device has numbers of 8 bits.
    Raises:
        ModelError: Weights are missing, stand in two files, have other shapes, or are
            not known.
    """
    with LOADING, init_empty_weights():
        network = kind.from_config(config)
    missing = {name.replace(".", "_"): name for name in network.state_dict()}
    weights: Tensors = {}
    for title, own, weight, scale in _tensors(parts):
        name = missing.pop(weight_in_diffusers(own), None)
        if name is None:
            raise refused(own, title, "which is not known, or read already")
        is_precise = not {*name.split(".")}.isdisjoint(kind._keep_in_fp32_modules)
        own_dtype = torch.float32 if is_precise else dtype
        if isinstance(weight, PackedTensor):
            weights[name] = kept(network, name, weight, own_dtype)
            continue
        layer = inner_linear(network, name)
        if small and layer is not None and weight.itemsize == 1:
            replace(network, name, EightBitLinear(layer, scale, dtype))
            weights[name] = weight
            continue
        whole = weight if scale is None else multiplied(weight, scale)
        weights[name] = whole.to(own_dtype)
    title = parts[-1].title
    check_read(missing.values(), title)
    put(network, weights, title)
    return network


def _tensors(
    parts: Sequence[WanFiles],
) -> Iterator[tuple[str, str, Tensor | PackedTensor, Tensor | None]]:
    """Yield all weights: the title of the file, name, weight and its scale."""
    for part in parts:
        for path in part.paths:
            weights: Mapping[str, Tensor | PackedTensor] = {}
            scales: Tensors = {}
            if is_packed(path):
                weights, _ = read_packed(path, "transformer")
            else:
                with opened(path, framework="pt") as file:
                    weights, scales = read_scaled(file, part.title)
            for name, weight in weights.items():
                if isinstance(weight, PackedTensor):
                    check_scales(weight, name, part.title)
                own = name.removeprefix(part.start or "")
                yield part.title, own, weight, scales.get(name)
