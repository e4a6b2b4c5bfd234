"""A Wan's transformer from files in which its weights have the names that its authors
gave them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError
from regrain.editing.models.files.wan_file import WanFiles, weight_in_diffusers
from regrain.editing.models.weights.eight_bits import EightBitLinear
from regrain.editing.storage.beside_weights import (
    check_unread,
    multiplied,
    read_scaled,
)
from regrain.editing.storage.by_name import Tensors
from regrain.editing.storage.safetensors_files import LOADING, check_read, opened
from regrain.editing.storage.texts import Json


def read_network(
    kind: Any, config: Json, parts: Sequence[WanFiles], dtype: torch.dtype
) -> nn.Module:
    """Read a transformer as diffusers does, but for linear layers of its blocks: those
    of 8 bits stay so.

    Args:
        kind: Its class.
        config: See `config_of`.
        parts: The files of all its weights; names may also be diffusers'.
        dtype: Of weights, but for those that diffusers keeps in float32.
    Raises:
        ModelError: Weights are missing, stand in two files, have other shapes, or are
            not known.
    """
    with LOADING, init_empty_weights():
        network = kind.from_config(config)
    names = {name.replace(".", "_"): name for name in network.state_dict()}
    weights: Tensors = {}
    for title, own, weight, scale in _tensors(parts):
        known = weight_in_diffusers(own)
        if known not in names:
            check_unread([own], title)
        name = names[known]
        if name in weights:
            raise ModelError(
                "model", f"{title} has {own}, as another file has. Use one of them."
            )
        place, _, _ = name.rpartition(".")
        layer = network.get_submodule(place)
        precise = not {*name.split(".")}.isdisjoint(kind._keep_in_fp32_modules)
        is_small = weight.itemsize == 1 and "blocks" in place
        if is_small and type(layer) is nn.Linear and name.endswith("weight"):
            scale = torch.ones(1) if scale is None else scale.float()
            network.set_submodule(place, EightBitLinear(layer, scale))
        else:
            whole = weight if scale is None else multiplied(weight, scale)
            weight = whole.to(torch.float32 if precise else dtype)
        weights[name] = weight
    title = parts[-1].title
    check_read({*names.values()} - weights.keys(), title)
    with boundary("model", f"{title} is damaged. Download it again.", ModelError):
        network.load_state_dict(weights, strict=False, assign=True)
    return network


def _tensors(
    parts: Sequence[WanFiles],
) -> Iterator[tuple[str, str, Tensor, Tensor | None]]:
    """Yield all weights: the title of the file, name, weight and its scale."""
    for part in parts:
        for path in part.paths:
            with opened(path, "model", path.name, "pt") as file:
                weights, scales = read_scaled(file, part.title)
            for name, weight in weights.items():
                own = name.removeprefix(part.start or "")
                yield part.title, own, weight, scales.get(name)
