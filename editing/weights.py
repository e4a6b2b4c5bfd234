"""Weights of models in folders of the published layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from editing.boundary import boundary
from editing.errors import ModelError, shorten
from editing.safetensors_files import check_head

if TYPE_CHECKING:
    import torch
    from torch import nn


def read_weights(kind: Any, folder: Path, id: str, dtype: torch.dtype) -> nn.Module:
    """Read one diffusers or transformers model from its folder.

    Raises:
        ModelError: There are no safetensors, or weights are missing.
    """
    if not any(folder.glob("*.safetensors")):
        hint = ", only pickles, which can run code" if any(folder.glob("*.bin")) else ""
        raise ModelError(
            "model", f"{shorten(id)} has no .safetensors weights in {folder.name}/{hint}. Download them."
        )
    for file in folder.glob("*.safetensors"):
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
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            "model",
            f"{shorten(id)}: {folder.name}/ lacks {len(missing)} weights, such as {missing[0]}. Download it "
            "again.",
        )
    return model
