"""Motion modules: attention over time after each block's attention (AnimateDiff,
arXiv:2307.04725).

Every place of the picture attends to itself in all frames of its branch. The modules
travel with a call, as everything that alters a forward does; the network they were
trained for does not change. What is read are folders in diffusers' format and single
files with the authors' names, as safetensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.errors import ModelError, RequestError
from regrain.editing.models.backbone import Backbone, misfit
from regrain.editing.models.intervention import Intervention, Patch, following
from regrain.editing.models.unet.temporal import attended, linear
from regrain.editing.models.unet.tuned import View
from regrain.editing.models.weights.motion import FIELD, MotionFile
from regrain.editing.models.weights.tensors import identity_of
from regrain.editing.storage.by_name import Weights

_NORM_EPS = 1e-6
# attended at once: some CUDA kernels end at 65,535 rows of batch and heads
_PLACES = 8192


@dataclass(frozen=True, eq=False)
class MotionModules:
    """The weights of an adapter, sorted by the module of the UNet that each follows.

    Attributes:
        modules: By name of the attention, or of the resnet where a block has none: its
            weights.
        heads: Heads of attention, by the same names.
        positions: Frames at most in one call: as many positions as it was trained with.
        groups: Groups of its normalisation.
        schedule: Of the model that it was trained on, where that is not the model's
            own.
    """

    modules: Mapping[str, Weights]
    heads: Mapping[str, int]
    positions: int
    groups: int
    schedule: Schedule | None

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the weights."""
        named = {
            f"{name}.{key}": weight
            for name, own in self.modules.items()
            for key, weight in own.items()
        }
        return identity_of(named)


def load_motion(id: str, backbone: Backbone) -> MotionModules:
    """Read a motion adapter for a model.

    Args:
        id: A folder in diffusers' format, a .safetensors file, a name in
            $REGRAIN_MODELS, or a hub id.
    Raises:
        ModelError: It cannot be read (see `MotionFile`), or was made for another family
            of models.
    """
    file = MotionFile(id)
    names = places(backbone.unet)
    # the middle one may be missing
    needed = {name for name in names if not name.startswith("mid")}
    unknown = sorted(file.modules.keys() - names.keys())
    others = [*unknown, *sorted(needed - file.modules.keys())]
    if others:
        raise misfit(FIELD, file.id, backbone, f"only one of them has {others[0]}")
    modules = {}
    heads = {}
    for name, weights in file.modules.items():
        place = names[name]
        modules[place] = weights
        heads[place] = _check_module(file, name, backbone)
    schedule = None
    if file.betas is not None:
        known = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": file.betas}
        known["rescale_betas_zero_snr"] = backbone.schedule.reaches_pure_noise
        alphas = Schedule.from_config(known).alphas_cumprod
        schedule = replace(backbone.schedule, alphas_cumprod=alphas)
    return MotionModules(modules, heads, file.positions, file.groups, schedule)


def _check_module(file: MotionFile, name: str, backbone: Backbone) -> int:
    """Check that a module can be computed at its place, and return its heads of
    attention."""
    channels = backbone.unet.config.block_out_channels
    way, number, *_ = name.split(".")
    level = len(channels) - 1  # the middle's
    if way == "down_blocks":
        level = int(number)
    if way == "up_blocks":
        level -= int(number)
    needed = int(channels[level])
    given = file.width(name)
    if given != needed:
        raise misfit(
            FIELD, file.id, backbone, f"{name} has {given} channels, the model {needed}"
        )
    wrong = misfit(FIELD, file.id, backbone, f"{name} cannot be computed")
    with boundary(FIELD, wrong.message, ModelError):
        heads = file.heads if isinstance(file.heads, int) else file.heads[level]
        trial = {key: weight.float() for key, weight in file.modules[name].items()}
        picture = torch.zeros(1, needed, 2, 2)
        seen_in_time(picture, trial, heads, frames=1, groups=file.groups)
    return heads


def places(unet: nn.Module) -> dict[str, str]:
    """Return the module of the UNet that each motion module follows, by its name in
    diffusers' adapters."""
    found = {}
    for way in ("down_blocks", "up_blocks"):
        for level, block in enumerate(getattr(unet, way)):
            kind = "attentions" if hasattr(block, "attentions") else "resnets"
            for layer in range(len(getattr(block, kind))):
                found[f"{way}.{level}.motion_modules.{layer}"] = (
                    f"{way}.{level}.{kind}.{layer}"
                )
    if hasattr(unet.mid_block, "attentions"):
        found["mid_block.motion_modules.0"] = "mid_block.attentions.0"
    return found


def moving(backbone: Backbone, motion: MotionModules, scale: float = 1.0) -> Backbone:
    """Return a view of a model whose every call has motion modules; the model itself
    does not change.

    `scale` is that of `between_frames`; at 0 the view is the model.
    """
    return cast("Backbone", _Moving(backbone, motion, scale)) if scale else backbone


class _Moving(View):
    def __init__(self, backbone: Backbone, motion: MotionModules, scale: float) -> None:
        super().__init__(backbone)
        place = (backbone.device, backbone.dtype)
        self._motion = motion
        self._scale = scale
        self._modules = {
            name: {key: weight.to(*place) for key, weight in own.items()}
            for name, own in motion.modules.items()
        }
        key = f"{backbone.fingerprint} {motion.fingerprint} {scale}"
        self.fingerprint = hashlib.sha256(key.encode()).hexdigest()
        self.schedule = motion.schedule or backbone.schedule

    def window_frames(self, rows: int, height: int, width: int) -> int:
        """Return the model's window, at most the adapter's positions."""
        return min(
            self._backbone.window_frames(rows, height, width), self._motion.positions
        )

    def extend(self, change: Intervention, frames: int) -> Intervention:
        """See `View.extend`."""
        motion = self._motion
        if motion.positions < frames:
            raise RequestError(
                "motion",
                f"{frames} frames are edited together, but the adapter has "
                f"{motion.positions} positions. Lower params.window, or use fewer "
                "frames.",
            )
        patch = between_frames(
            self._modules, motion.heads, frames, self._scale, motion.groups
        )
        return replace(change, patches=(*change.patches, patch))


def between_frames(
    modules: Mapping[str, Weights],
    heads: Mapping[str, int],
    frames: int,
    scale: float = 1.0,
    groups: int = 32,
) -> Patch:
    """Let each frame see the others after the attention of every block; rows are
    (branch frame).

    Each frame is normalised alone, as in the authors' code; diffusers does it over all
    frames of a branch.

    Args:
        modules, heads, groups: See `MotionModules`.
        frames: Frames per branch.
        scale: Weight of what the modules add; 0 adds nothing.
    """

    def after(name: str, _: nn.Module, __: object, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        moved = x + scale * seen_in_time(x, modules[name], heads[name], frames, groups)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    return following({name: partial(after, name) for name in modules})


def seen_in_time(
    x: Float[Tensor, "rows channels h w"],
    weights: Weights,
    heads: int,
    frames: int,
    groups: int,
) -> Float[Tensor, "rows channels h w"]:
    """Compute the term that a motion module adds to its input; see `between_frames`."""
    height, width = x.shape[-2:]
    tokens = F.group_norm(
        x, groups, weights["norm.weight"], weights["norm.bias"], _NORM_EPS
    )
    tokens = rearrange(
        tokens, "(branch frame) c h w -> (branch h w) frame c", frame=frames
    )
    out = torch.cat(
        [_transformed(some, weights, heads) for some in tokens.split(_PLACES)]
    )
    return rearrange(
        out, "(branch h w) frame c -> (branch frame) c h w", h=height, w=width
    )


def _transformed(
    tokens: Float[Tensor, "places frames channels"], weights: Weights, heads: int
) -> Float[Tensor, "places frames channels"]:
    tokens = linear(tokens, weights, "proj_in")
    # made on the device, which would wait for a copy
    positions = interleaved_sinusoids(*tokens.shape[1:], tokens.device).to(tokens)
    for block in range(blocks(weights, "transformer_blocks.")):
        own = f"transformer_blocks.{block}"
        for number in (1, 2):
            seen = normed(tokens, weights, f"{own}.norm{number}") + positions
            tokens = tokens + attended(seen, weights, f"{own}.attn{number}.", heads)
        seen = normed(tokens, weights, f"{own}.norm3")
        wide, gate = linear(seen, weights, f"{own}.ff.net.0.proj").chunk(2, -1)
        tokens = tokens + linear(wide * F.gelu(gate), weights, f"{own}.ff.net.2")
    return linear(tokens, weights, "proj_out")


def blocks(weights: Weights, prefix: str) -> int:
    """Count the numbered blocks of a name."""
    numbers = [int(name.split(".")[1]) for name in weights if name.startswith(prefix)]
    return 1 + max(numbers)


def normed(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Apply a layer's normalisation, by the name of its weights."""
    return F.layer_norm(
        x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"]
    )


def interleaved_sinusoids(
    frames: int, channels: int, device: torch.device
) -> Float[Tensor, "frames channels"]:
    """Return sinusoidal positions, a sine and a cosine in turn.

    Source: Vaswani et al. 2017, arXiv:1706.03762, Sec. 3.5.
    """
    slope = -torch.log(torch.tensor(10_000.0)) / channels
    rates = torch.exp(torch.arange(0, channels, 2, device=device) * slope)
    angles = torch.arange(frames, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
