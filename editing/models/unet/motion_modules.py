"""Motion modules: attention over time after each block's attention (AnimateDiff, arXiv:2307.04725).

Every place of the picture attends to itself in all frames of its branch. The modules travel with a call, as
everything that alters a forward does; the network they were trained for does not change. What is read are
folders in diffusers' format and single files with the authors' names, as safetensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from regrain.editing.attention.backends import attention
from regrain.editing.boundary import boundary
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.errors import ModelError, RequestError, shorten
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.files.motion import FIELD, MotionFile
from regrain.editing.models.intervention import Intervention, Patch, hooked
from regrain.editing.models.unet.tuned import View

Weights = Mapping[str, Tensor]
_NORM_EPS = 1e-6
_PLACES = 8192  # attended at once: some CUDA kernels end at 65,535 rows of batch and heads


@dataclass(frozen=True, eq=False)
class MotionModules:
    """The weights of an adapter, sorted by the module of the UNet that each follows.

    Attributes:
        modules: By name of the attention, or of the resnet where a block has none: its weights.
        heads: Heads of attention, by the same names.
        positions: Frames at most in one call: as many positions as it was trained with.
        groups: Groups of its normalisation.
        schedule: Of the model it was trained on, where that is not the model's own.
    """

    modules: Mapping[str, Weights]
    heads: Mapping[str, int]
    positions: int
    groups: int = 32
    schedule: Schedule | None = None
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        sums = [
            (n, k, float(w.double().sum()))
            for n, own in self.modules.items()
            for k, w in own.items()
        ]
        object.__setattr__(
            self, "fingerprint", hashlib.sha256(repr(sorted(sums)).encode()).hexdigest()
        )


def load_motion(id: str, backbone: Backbone) -> MotionModules:
    """Read a motion adapter for a model.

    Args:
        id: A folder in diffusers' format, a .safetensors file, a name in $REGRAIN_MODELS, or a hub id.
    Raises:
        ModelError: It cannot be read (see `MotionFile`), or was made for another family of models.
    """
    file, names = MotionFile(id), places(backbone.unet)
    misfit = f"{shorten(id)} does not fit {shorten(backbone.id)}"
    advice = "Use a motion adapter made for this model."
    needed = {name for name in names if not name.startswith("mid")}
    if extra := sorted(file.modules.keys() - names.keys()) or sorted(needed - file.modules.keys()):
        raise ModelError(FIELD, f"{misfit}: only one of them has {extra[0]}. {advice}")
    levels = [int(width) for width in backbone.unet.config.block_out_channels]
    modules, by_name = {}, {}
    for name, weights in file.modules.items():
        way, number = name.split(".")[:2]
        level = {"down_blocks": number, "up_blocks": f"-{number}"}.get(way, "0")
        level = int(level) - (way != "down_blocks")
        if file.width(name) != levels[level]:
            said = f"{name} has {file.width(name)} channels, the model {levels[level]}"
            raise ModelError(FIELD, f"{misfit}: {said}. {advice}")
        with boundary(FIELD, f"{misfit}: {name} cannot be computed. {advice}", ModelError):
            heads = file.heads if isinstance(file.heads, int) else file.heads[level]
            trial = {key: weight.float() for key, weight in weights.items()}
            seen_in_time(torch.zeros(1, levels[level], 2, 2), trial, heads, 1, file.groups)
        modules[names[name]], by_name[names[name]] = weights, heads
    schedule = None
    if file.betas is not None:
        known = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": file.betas}
        schedule = replace(
            backbone.schedule, alphas_cumprod=Schedule.from_config(known).alphas_cumprod
        )
    return MotionModules(modules, by_name, file.positions, file.groups, schedule)


def places(unet: nn.Module) -> dict[str, str]:
    """By name of a motion module as in diffusers' adapters: the module of the UNet that it follows."""
    found = {}
    for way in ("down_blocks", "up_blocks"):
        for i, block in enumerate(getattr(unet, way)):
            kind = "attentions" if hasattr(block, "attentions") else "resnets"
            for j in range(len(getattr(block, kind))):
                found[f"{way}.{i}.motion_modules.{j}"] = f"{way}.{i}.{kind}.{j}"
    if hasattr(unet.mid_block, "attentions"):
        found["mid_block.motion_modules.0"] = "mid_block.attentions.0"
    return found


def moving(backbone: Backbone, motion: MotionModules, scale: float = 1.0) -> Backbone:
    """A view of a model whose every call has motion modules; the model itself does not change.

    `scale` is that of `between_frames`; at 0 the view is the model.
    """
    return cast("Backbone", _Moving(backbone, motion, scale)) if scale else backbone


class _Moving(View):
    def __init__(self, backbone: Backbone, motion: MotionModules, scale: float) -> None:
        super().__init__(backbone)
        place = {"device": backbone.device, "dtype": backbone.dtype}
        modules = {
            n: {k: w.to(**place) for k, w in own.items()} for n, own in motion.modules.items()
        }
        self._motion, self._modules, self._scale = motion, modules, scale
        key = f"{backbone.fingerprint} {motion.fingerprint} {scale}"
        self.fingerprint = hashlib.sha256(key.encode()).hexdigest()
        self.schedule = motion.schedule or backbone.schedule

    def window_frames(self, rows: int, height: int, width: int) -> int:
        """As the model's, and no more than there are positions for."""
        return min(self._backbone.window_frames(rows, height, width), self._motion.positions)

    def extend(self, change: Intervention, frames: int) -> Intervention:
        """See `View.extend`."""
        if (most := self._motion.positions) < frames:
            said = f"{frames} frames are edited together, but the adapter has {most} positions"
            raise RequestError("motion", f"{said}. Lower params.window, or use fewer frames.")
        given = self._modules, self._motion.heads, frames, self._scale, self._motion.groups
        patch = between_frames(*given)
        return replace(change, patches=(*change.patches, patch))


def between_frames(
    modules: Mapping[str, Weights],
    heads: Mapping[str, int],
    frames: int,
    scale: float = 1.0,
    groups: int = 32,
) -> Patch:
    """Let each frame see the others after the attention of every block; rows are (branch frame).

    Each frame is normalised alone, as in the authors' code; diffusers does it over all frames of a branch.

    Args:
        modules, heads, groups: See `MotionModules`.
        frames: Frames per branch.
        scale: Weight of what the modules add; 0 adds nothing.
    """

    def after(name: str, _: nn.Module, __: object, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        moved = x + scale * seen_in_time(x, modules[name], heads[name], frames, groups)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    def register(model: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        for name in modules:
            yield model.get_submodule(name).register_forward_hook(partial(after, name))

    return lambda model: hooked(register(model))


def seen_in_time(
    x: Float[Tensor, "rows channels h w"],
    weights: Weights,
    heads: int,
    frames: int,
    groups: int = 32,
) -> Float[Tensor, "rows channels h w"]:
    """What a motion module adds to its input; see `between_frames`."""
    height, width = x.shape[-2:]
    tokens = F.group_norm(x, groups, weights["norm.weight"], weights["norm.bias"], _NORM_EPS)
    tokens = rearrange(tokens, "(branch frame) c h w -> (branch h w) frame c", frame=frames)
    out = torch.cat([_transformed(some, weights, heads) for some in tokens.split(_PLACES)])
    return rearrange(out, "(branch h w) frame c -> (branch frame) c h w", h=height, w=width)


def _transformed(
    tokens: Float[Tensor, "places frames channels"], weights: Weights, heads: int
) -> Float[Tensor, "places frames channels"]:
    tokens = linear(tokens, weights, "proj_in")
    positions = interleaved_sinusoids(tokens.shape[1], tokens.shape[2]).to(tokens)
    for block in range(blocks(weights, "transformer_blocks.")):
        own = f"transformer_blocks.{block}"
        for number in (1, 2):
            seen, layer = (
                normed(tokens, weights, f"{own}.norm{number}") + positions,
                f"{own}.attn{number}",
            )
            q, k, v = (linear(seen, weights, f"{layer}.to_{part}") for part in "qkv")
            q, k, v = (rearrange(x, "p f (h d) -> p h f d", h=heads) for x in (q, k, v))
            out = rearrange(attention(q, k, v), "p h f d -> p f (h d)")
            tokens = tokens + linear(out, weights, f"{layer}.to_out.0")
        both = linear(normed(tokens, weights, f"{own}.norm3"), weights, f"{own}.ff.net.0.proj")
        wide, gate = both.chunk(2, -1)
        tokens = tokens + linear(wide * F.gelu(gate), weights, f"{own}.ff.net.2")
    return linear(tokens, weights, "proj_out")


def blocks(weights: Weights, prefix: str) -> int:
    """How many numbered blocks there are of a name."""
    return 1 + max(int(name.split(".")[1]) for name in weights if name.startswith(prefix))


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    """A linear layer, by the name of its weights."""
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def normed(x: Tensor, weights: Weights, name: str) -> Tensor:
    """A layer's normalisation, by the name of its weights."""
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def interleaved_sinusoids(frames: int, channels: int) -> Float[Tensor, "frames channels"]:
    """Sinusoidal positions, a sine and a cosine in turn (Vaswani et al. 2017, arXiv:1706.03762, Sec. 3.5)."""
    rates = torch.exp(
        torch.arange(0, channels, 2) * (-torch.log(torch.tensor(10_000.0)) / channels)
    )
    angles = torch.arange(frames)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
