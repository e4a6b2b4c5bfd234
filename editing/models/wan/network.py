"""A Wan's transformer from files in which its weights have the names that its authors
gave them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.wan_file import WanFiles, weight_in_diffusers
from regrain.editing.models.weights.eight_bits import EightBitLinear
from regrain.editing.storage.beside_weights import multiplied, read_scaled
from regrain.editing.storage.by_name import Tensors
from regrain.editing.storage.ready import check_finite
from regrain.editing.storage.safetensors_files import LOADING, check_read, opened
from regrain.editing.storage.texts import Json


def read_network(
    kind: Any,
    config: Json,
    parts: Sequence[WanFiles],
    dtype: torch.dtype,
    small: bool,
) -> nn.Module:
    """Read a transformer as diffusers does, but for linear layers of its blocks: those
    of 8 bits stay so, if `small`.

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
            said = (
                f"{title} has {shorten(own, 90)}, which is not known, or read already"
            )
            raise ModelError("model", f"{said}. Use another file.")
        place, _, _ = name.rpartition(".")
        layer = network.get_submodule(place)
        may_be_small = small and type(layer) is nn.Linear and "blocks" in place
        if may_be_small and weight.itemsize == 1 and name.endswith("weight"):
            network.set_submodule(place, EightBitLinear(layer, scale))
            weights[name] = weight
            continue
        whole = weight if scale is None else multiplied(weight, scale)
        is_precise = not {*name.split(".")}.isdisjoint(kind._keep_in_fp32_modules)
        weights[name] = whole.to(torch.float32 if is_precise else dtype)
    title = parts[-1].title
    check_read(missing.values(), title)
    with boundary("model", f"{title} is damaged. Download it again.", ModelError):
        network.load_state_dict(weights, strict=False, assign=True)
    check_finite(network, title)
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
