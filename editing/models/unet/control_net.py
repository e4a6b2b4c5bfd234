"""Control networks for one run, from diffusers folders; they add residuals to a UNet's forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.errors import ModelError, ResourceError
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.download import PART_FILES, obtain
from regrain.editing.models.files.location import about
from regrain.editing.models.intervention import ControlFn, Patch, patched
from regrain.editing.models.unet.control_maps import CONTROL_MAPS
from regrain.editing.params.written import ControlSpec
from regrain.editing.storage.memory import is_out_of_memory
from regrain.editing.storage.safetensors_files import read_weights

FIELD = "params.control"


class ControlNets:
    """The control networks of one run, and their input.

    Attributes:
        maps: Their input, side by side, RGB; None without networks.
        fingerprint: Identifies networks, kinds and weights, for cache keys.
    """

    def __init__(
        self,
        specs: Sequence[ControlSpec],
        frames: UInt8[np.ndarray, "frames height width 3"],
        backbone: Backbone,
        patches: Sequence[Patch] = (),
    ) -> None:
        """Load the networks and draw their maps; `patches` are entered on each network for each forward.

        Raises:
            ModelError: See `load_control_net`; or a map cannot be drawn.
        """
        self._patches, self._nets, drawn, self.fingerprint = patches, [], [], []
        self._read_by = backbone.read_by
        for spec in specs:
            net, lock = load_control_net(spec.model, backbone)
            drawn.append(CONTROL_MAPS[spec.kind](frames))
            hint = (
                torch.from_numpy(drawn[-1]).movedim(-1, 1).to(backbone.device, backbone.dtype) / 255
            )
            self._nets.append((net, lock, spec.weight, hint))
            weights = sum(float(p.double().sum()) for p in net.parameters())
            self.fingerprint.append((spec.kind, spec.weight, weights))
        self.maps = np.concatenate(drawn, 2) if drawn else None

    def reading(self, text: PromptEmbedding) -> ControlFn | None:
        """Make the `control` of an `Intervention`; `text` is what the networks read, one per branch."""
        if not self._nets:
            return None

        def control(x: Tensor, t: Tensor) -> tuple[Sequence[Tensor], Tensor]:
            read = self._read_by(x, text)
            down: list[Tensor] = []
            middle = torch.zeros((), device=x.device, dtype=x.dtype)
            for net, lock, weight, hint in self._nets:
                rows = hint.repeat(len(x) // len(hint), 1, 1, 1)
                with lock, patched(net, self._patches):
                    some, mid = net(
                        x,
                        t,
                        **read,
                        controlnet_cond=rows,
                        conditioning_scale=weight,
                        return_dict=False,
                    )
                down = [a + b for a, b in zip(down, some, strict=True)] if down else list(some)
                middle = middle + mid
            return down, middle

        return control


def load_control_net(id: str, backbone: Backbone) -> tuple[nn.Module, Lock]:
    """Load a control network for this backbone, on its device, with the lock to hold while it is patched.

    Backbones of one kind share the network, so their own locks do not separate its users.

    Raises:
        ModelError: It is missing, not safetensors, not a ControlNet, or made for another family of models.
        ResourceError: Memory does not suffice.
    """
    try:
        with about(FIELD):
            folder = obtain(id, "config.json", PART_FILES)
            if folder.is_file():
                raise ModelError(
                    FIELD, f"{id!r} is a file. Use a ControlNet folder in diffusers format."
                )
            _check_family(read_config(folder / "config.json", id), id, backbone)
            return _load(folder, id, backbone.device, backbone.dtype)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        said = f"Out of memory while loading {id!r}. Use fewer control networks."
        raise ResourceError(FIELD, said) from error


def _check_family(config: Mapping[str, object], id: str, backbone: Backbone) -> None:
    if (kind := config.get("_class_name", "model of unknown kind")) != "ControlNetModel":
        raise ModelError(FIELD, f"{id!r} is a {kind}. Use a ControlNetModel.")
    unet = backbone.unet.config
    for fact in ("cross_attention_dim", "block_out_channels", "in_channels"):
        given, needed = config.get(fact), unet[fact]
        needed = list(needed) if isinstance(needed, tuple) else needed  # as JSON has it
        if given is not None and given != needed:
            said = f"{id!r} does not fit {backbone.id!r}: its {fact} is {given}, the model's is {needed}"
            raise ModelError(FIELD, f"{said}. Use a ControlNet made for this model.")


@lru_cache(maxsize=3)
def _load(
    folder: Path, id: str, device: torch.device, dtype: torch.dtype
) -> tuple[nn.Module, Lock]:
    from diffusers.models.controlnets.controlnet import ControlNetModel

    net = read_weights(ControlNetModel, folder, id, dtype)
    return net.eval().requires_grad_(False).to(device), Lock()
