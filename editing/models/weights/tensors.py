"""Tensors of .safetensors files of strangers. Loads torch only with the first file."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from regrain.editing.errors import shorten
from regrain.editing.models.files.location import about
from regrain.editing.storage.beside_weights import read_settled
from regrain.editing.storage.ready import check_weights
from regrain.editing.storage.safetensors_files import opened

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from regrain.editing.storage.by_name import Tensors, Weights


def read_tensors(path: Path, field: str = "model", title: str = "") -> Tensors:
    """Read the weights of a file, by name; see `opened`, `read_settled` and
    `check_weights`."""
    title = title or path.name
    with opened(path, field, title, "pt") as file, about(field):
        weights = read_settled(file, shorten(title))
        check_weights(weights, shorten(title))
    return weights


def identity_of(weights: Weights) -> str:
    """Identify weights, by their names and sums."""
    sums = sums_of(weights.values())
    named = sorted(zip(weights, sums, strict=True))
    return sha256(repr(named).encode()).hexdigest()


def sums_of(weights: Iterable[Tensor]) -> list[float]:
    """Add up the numbers of each of some weights, in double precision where their
    device has it.

    A program waits for a device whenever it asks for a number, so it asks once.
    """
    import torch

    sums = []
    for weight in weights:
        precise = torch.float32 if weight.device.type == "mps" else torch.float64
        sums.append(weight.detach().sum(dtype=precise))
    devices = {total.device for total in sums}
    if len(devices) > 1:
        sums = [total.cpu() for total in sums]
    return torch.stack(sums).tolist()
