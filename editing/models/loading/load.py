"""Load a model by its id, or return the loaded one.

Importing this module loads no torch; `load_backbone` does.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from regrain.editing.errors import ModelError
from regrain.editing.models.adapters import local_adapters
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.files.facts import EXPERTS
from regrain.editing.models.files.location import (
    ModelLocation,
    about,
    find,
    parse_lora,
    takes_transformers,
)
from regrain.editing.models.files.lora_file import locate_lora
from regrain.editing.storage.devices import plain_torch
from regrain.editing.storage.local_models import local_entries
from regrain.editing.storage.packages import problems
from regrain.editing.storage.safetensors_files import LOADING, is_weights, state_of

if TYPE_CHECKING:
    import torch

KEPT_IN_MEMORY = 2
_loaded: OrderedDict[tuple, Backbone] = OrderedDict()


def local_models() -> list[str]:
    """List the models in $REGRAIN_MODELS: diffusers folders, .safetensors files with a
    whole model, or with a transformer in a folder that has the other parts."""
    adapters = local_adapters()
    names = []
    for entry in local_entries():
        is_folder = any(
            os.path.isfile(entry / part / "config.json")  # unlike Path's, never raises
            for part in ("unet", *EXPERTS)
        )
        is_file = entry.suffix.lower() == ".safetensors" and entry.is_file()
        is_other = entry.name.startswith("raft_") or entry.stem in adapters
        if is_folder or (is_file and not is_other):
            names.append(entry.name)
        if takes_transformers(entry):
            files = sorted(entry.glob("*.*"))
            names += [f"{entry.name}/{file.name}" for file in files if is_weights(file)]
    return names


def load_backbone(
    id: str,
    loras: Sequence[str] = (),
    *,
    prediction: str = "",
    device: "str | torch.device | None" = None,
    dtype: "torch.dtype | None" = None,
) -> Backbone:
    """Load a model, or return the loaded one; the last two stay loaded and are shared
    by all callers.

    Args:
        id: See `find`.
        loras: Files to add, `FILE@WEIGHT`; part of the model's identity. See
            `lora.add_loras`.
        prediction: What the network predicts, for models that do not say: "epsilon",
            "v_prediction" or "sample".
        device: Default: see `devices.choose_device`.
        dtype: Default: float16 on a graphics card; on a CPU float32 if it fits, else
            bfloat16.
    Raises:
        ModelError: The id is unknown, weights are missing or unsafe, the architecture
            is not Stable Diffusion 1.x, 2.x or XL, or Wan 2.1 or 2.2, the hub cannot
            be reached, the repository is gated, or a LoRA does not fit.
        RequestError: This machine does not have the device.
    """
    source = find(id)
    key = _key(source, loras, prediction, device, dtype)
    if sys.flags.optimize > 1:
        raise ModelError(
            "python", "Libraries read their docstrings. Run Python without -OO."
        )
    with LOADING:
        if key not in _loaded:
            from regrain.editing.models.loading.build import load

            while len(_loaded) >= KEPT_IN_MEMORY:
                _loaded.popitem(last=False)
            try:
                how = {"prediction": prediction, "device": device, "dtype": dtype}
                with plain_torch():
                    _loaded[key] = load(source, id, loras, **how)
            except ModelError as error:
                # what looks like a damaged file may be an older library
                raise ModelError(
                    error.field, " ".join((error.message, *problems()))
                ) from error
        _loaded.move_to_end(key)
        return _loaded[key]


def loaded_backbone(
    id: str, loras: Sequence[str] = (), prediction: str = ""
) -> Backbone | None:
    """Return the model that `load_backbone` would without loading anything; None if it
    is not in memory.

    Raises:
        ModelError: The id is unknown.
    """
    return _loaded.get(_key(find(id), loras, prediction, None, None))


def _key(
    source: ModelLocation,
    loras: Sequence[str],
    prediction: str,
    device: object,
    dtype: object,
) -> tuple:
    """Identify a model by its place, by what is added, and by sizes and dates of all
    its files, which may be replaced under the same names."""
    places = [source]
    for text in loras:
        with about("loras"):
            places.append(locate_lora(parse_lora(text).model))
    files = tuple(state_of(Path(one.location)) for one in places if one.kind != "hub")
    return source, tuple(loras), prediction, str(device), str(dtype), files
