"""Weights of models in folders of the published layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from editing.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn


def read_weights(kind: Any, folder: Path, id: str, dtype: torch.dtype) -> nn.Module:
    """Read one diffusers or transformers model from its folder.

    Raises:
        ModelError: There are no safetensors, or weights are missing.
    """
    from safetensors import SafetensorError

    if not any(folder.glob("*.safetensors")):
        hint = ", only pickles, which can run code" if any(folder.glob("*.bin")) else ""
        raise ModelError(
            "model", f"{id!r} has no .safetensors weights in {folder.name}/{hint}. Download them."
        )
    try:
        model, report = kind.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise ModelError(
            "model", f"{id!r}: {folder.name}/ cannot be loaded ({reason}). Download it again."
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            "model",
            f"{id!r}: {folder.name}/ lacks {len(missing)} weights, such as {missing[0]}. Download it again.",
        )
    return model
