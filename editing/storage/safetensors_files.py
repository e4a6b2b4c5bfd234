"""Heads of .safetensors files, checked before a library reads them: a length of 8
bytes, then JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ModelError, shorten

if TYPE_CHECKING:
    import torch
    from torch import nn

_MAX_HEAD = 16_000_000  # bytes; checkpoints of Stable Diffusion have less than one
_MAX_TENSORS = 50_000  # they have about 1,100


def check_head(path: Path, field: str) -> None:
    """Refuse a file with ModelError whose head is missing, or too large to be that of a
    model."""
    check_regular(path, field, ModelError)
    damaged = f"{shorten(path.name)} is damaged or not a .safetensors file. Download it again."
    with boundary(field, damaged, ModelError), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(min(length, _MAX_HEAD))
    if not head.lstrip().startswith(b"{") or len(head) < length <= _MAX_HEAD:
        raise ModelError(field, damaged)
    if length > _MAX_HEAD or head.count(b'"dtype"') > _MAX_TENSORS:
        said = (
            f"{shorten(path.name)} has a head too large for a model. Use another file."
        )
        raise ModelError(field, said)


def read_weights(kind: Any, folder: Path, id: str, dtype: torch.dtype) -> nn.Module:
    """Read one diffusers or transformers model from its folder.

    Raises:
        ModelError: There are no safetensors, or weights are missing.
    """
    files = list(folder.glob("*.safetensors"))
    if not files:
        hint = ", only pickles, which can run code" if any(folder.glob("*.bin")) else ""
        lacks = f"{shorten(id)} has no .safetensors weights in {folder.name}/{hint}."
        raise ModelError("model", f"{lacks} Download them.")
    for file in files:
        check_head(file, "model")
    said = f"{shorten(id)}: {folder.name}/ cannot be loaded. Its files are damaged, or of several models."
    with boundary("model", f"{said} Download it again.", ModelError):
        model, report = kind.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    missing = report["missing_keys"]
    if missing:
        lacks = (
            f"lacks {len(missing)} weights, such as {min(missing)}. Download it again."
        )
        raise ModelError("model", f"{shorten(id)}: {folder.name}/ {lacks}")
    return model
