"""Tensors of .safetensors files of strangers. Loads torch only with the first file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.storage.safetensors_files import check_head

if TYPE_CHECKING:
    from safetensors import safe_open
    from torch import Tensor


@contextmanager
def opened(path: Path, field: str, title: str) -> Iterator[safe_open]:
    """Open a file; every failure is one line, which names the file by its title.

    Raises:
        ModelError: It is missing or damaged, or the code inside the `with` fails.
    """
    from safetensors import safe_open

    check_head(path, field)
    with (
        boundary(
            field,
            f"{shorten(title)} is damaged or not a .safetensors file. Download it "
            "again.",
            ModelError,
        ),
        safe_open(path, "pt") as file,
    ):
        yield file


def read_tensors(file: safe_open) -> dict[str, Tensor]:
    """Read all tensors of an opened file, by name."""
    names = [*file.keys()]
    return {name: file.get_tensor(name) for name in names}


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
