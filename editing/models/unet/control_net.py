"""Control networks for one run, from diffusers folders; they add residuals to a UNet's
forward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.errors import ModelError
from regrain.editing.media.lazy_frames import RgbFrames
from regrain.editing.models.backbone import Backbone, misfit
from regrain.editing.models.files.configs import ControlConfig, read_part
from regrain.editing.models.files.download import PART_FILES, obtain
from regrain.editing.models.files.location import BUILT_IN_CONTROL, about
from regrain.editing.models.intervention import ControlFn, Patch, patched
from regrain.editing.models.unet.control_maps import CONTROL_MAPS
from regrain.editing.models.weights.tensors import sums_of
from regrain.editing.params.written import ControlSpec
from regrain.editing.storage.safetensors_files import read_weights, state_of

FIELD = "params.control"
_FACTOR = "size of a latent in pixels"
# Of the UNet, what a network must share for its residuals to fit.
_FACTS = (
    "cross_attention_dim",
    "block_out_channels",
    "in_channels",
    "layers_per_block",
    "down_block_types",
    _FACTOR,
)


class _Net(NamedTuple):
    """A control network, the lock to hold while it is patched, its weight and its
    input."""

    module: nn.Module
    lock: Lock
    weight: float
    hint: Float[Tensor, "frames 3 height width"]


class ControlNets:
    """The control networks of one run, and their input.

    Attributes:
        maps: Their input, side by side, RGB; None without networks.
        fingerprint: Identifies networks, kinds and weights, for cache keys.
    """

    def __init__(
        self,
        specs: Sequence[ControlSpec],
        frames: RgbFrames,
        backbone: Backbone,
        patches: Sequence[Patch] = (),
    ) -> None:
        """Load the networks and draw their maps; `patches` are entered on each network
        for each forward.

        Raises:
            ModelError: See `load_control_net`; or a map cannot be drawn.
        """
        self._patches = patches
        self._read_by = backbone.read_by
        self._nets: list[_Net] = []
        self.fingerprint: list[tuple[str, float, float]] = []
        drawn = []
        for spec in specs:
            module, lock = load_control_net(spec.model, backbone)
            maps = CONTROL_MAPS[spec.kind](frames)
            drawn.append(maps)
            hint = torch.from_numpy(maps).movedim(-1, 1)
            hint = hint.to(backbone.device, backbone.dtype) / 255
            self._nets.append(_Net(module, lock, spec.weight, hint))
            total = sum(sums_of(module.parameters()))  # by which they are told apart
            self.fingerprint.append((spec.kind, spec.weight, total))
        self.maps = np.concatenate(drawn, 2) if drawn else None

    def reading(self, text: PromptEmbedding) -> ControlFn | None:
        """Make the `control` of an `Intervention`; `text` is what the networks read,
        one per branch."""
        if not self._nets:
            return None

        def control(x: Tensor, t: Tensor) -> tuple[Sequence[Tensor], Tensor]:
            read = self._read_by(x, text)
            answers = []
            for net in self._nets:
                hint = net.hint.repeat(len(x) // len(net.hint), 1, 1, 1)
                given = {"controlnet_cond": hint, "conditioning_scale": net.weight}
                with net.lock, patched(net.module, self._patches):
                    answers.append(net.module(x, t, **read, **given, return_dict=False))
            downs, middles = zip(*answers, strict=True)
            down = [reduce(torch.add, parts) for parts in zip(*downs, strict=True)]
            return down, reduce(torch.add, middles)

        return control


def load_control_net(id: str, backbone: Backbone) -> tuple[nn.Module, Lock]:
    """Load a control network for this backbone, on its device, with the lock to hold
    while it is patched.

    Backbones of one kind share the network, so their own locks do not separate its
    users.

    Raises:
        ModelError: It is missing, not safetensors, not a ControlNet, or made for
            another family of models.
        ResourceError: Memory does not suffice.
    """
    with about(FIELD):
        folder = obtain(id, BUILT_IN_CONTROL, PART_FILES)
        if folder.is_file():
            raise ModelError(
                FIELD,
                f"{id!r} is a file. Use a ControlNet folder in diffusers format.",
            )
        _check_family(folder / "config.json", id, backbone)
        place = (backbone.device, backbone.dtype)
        with boundary(FIELD, f"{id!r} cannot be loaded. Use another.", ModelError):
            return _load(folder, id, *place, state_of(folder))


def _check_family(path: Path, id: str, backbone: Backbone) -> None:
    config = read_part(path, id, "control")
    unet = dict(backbone.unet.config)
    unet["in_channels"] = unet["out_channels"]  # an inpainting model reads more
    layers = ControlConfig.model_validate(config).conditioning_embedding_out_channels
    config[_FACTOR] = 2 ** (len(layers) - 1)
    unet[_FACTOR] = backbone.factor
    for fact in _FACTS:
        given = config.get(fact)
        needed = unet[fact]
        if isinstance(needed, tuple):
            needed = list(needed)  # as JSON has it
        if given is not None and given != needed:
            said = f"its {fact} is {given}, the model's is {needed}"
            raise misfit(FIELD, id, backbone, said)


@lru_cache(maxsize=3)
def _load(
    folder: Path, id: str, device: torch.device, dtype: torch.dtype, _state: object
) -> tuple[nn.Module, Lock]:
    """Load a network; `_state` is that of its files, which the cache compares."""
    from diffusers.models.controlnets.controlnet import ControlNetModel

    net = read_weights(ControlNetModel, folder, id, dtype)
    return net.eval().requires_grad_(False).to(device), Lock()
