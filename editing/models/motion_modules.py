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
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.errors import ModelError, RequestError, shorten
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, Patch, hooked
from regrain.editing.models.loading.motion import FIELD, MotionFile
from regrain.editing.models.tuned import View

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
        sums = [(n, k, float(w.double().sum())) for n, own in self.modules.items() for k, w in own.items()]
        object.__setattr__(self, "fingerprint", hashlib.sha256(repr(sorted(sums)).encode()).hexdigest())


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
    if extra := sorted(file.modules.keys() - names.keys()) or sorted(
        name for name in names if not name.startswith("mid") and name not in file.modules
    ):
        raise ModelError(FIELD, f"{misfit}: only one of them has {extra[0]}. {advice}")
    levels = [int(width) for width in backbone.unet.config.block_out_channels]
    heads = [file.heads] * len(levels) if isinstance(file.heads, int) else list(file.heads)
    modules, by_name = {}, {}
    for name, weights in file.modules.items():
        way, number = name.split(".")[:2]
        level = {"down_blocks": number, "up_blocks": f"-{number}"}.get(way, "0")
        level = int(level) - (way != "down_blocks")
        if file.width(name) != levels[level]:
            said = f"{name} has {file.width(name)} channels, the model {levels[level]}"
            raise ModelError(FIELD, f"{misfit}: {said}. {advice}")
        modules[names[name]], by_name[names[name]] = weights, heads[level]
    return MotionModules(modules, by_name, file.positions, file.groups, _schedule(file, backbone))


def _schedule(file: MotionFile, backbone: Backbone) -> Schedule | None:
    """The schedule of the model that an adapter was trained on; None where it is the model's own."""
    if file.betas is None:
        return None
    known = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": file.betas}
    alphas = Schedule.from_config(known).alphas_cumprod
    return replace(backbone.schedule, alphas_cumprod=alphas)


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


def moving(backbone: Backbone, motion: MotionModules, scale: float = 1.0, joint: bool = False) -> Backbone:
    """A view of a model whose every call has motion modules; the model itself does not change.

    `scale` and `joint` are those of `between_frames`; at scale 0 the view is the model.
    """
    return cast("Backbone", _Moving(backbone, motion, scale, joint)) if scale else backbone


class _Moving(View):
    def __init__(self, backbone: Backbone, motion: MotionModules, scale: float, joint: bool) -> None:
        super().__init__(backbone)
        place = {"device": backbone.device, "dtype": backbone.dtype}
        modules = {n: {k: w.to(**place) for k, w in own.items()} for n, own in motion.modules.items()}
        self._motion, self._modules, self._how = motion, modules, (scale, motion.groups, joint)
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
        patch = between_frames(self._modules, self._motion.heads, frames, *self._how)
        return replace(change, patches=(*change.patches, patch))


def between_frames(
    modules: Mapping[str, Weights],
    heads: Mapping[str, int],
    frames: int,
    scale: float = 1.0,
    groups: int = 32,
    joint: bool = False,
) -> Patch:
    """Let each frame see the others after the attention of every block; rows are (branch frame).

    Args:
        modules, heads: See `MotionModules`.
        frames: Frames per branch.
        scale: Weight of what the modules add; 0 adds nothing.
        groups: Groups of their normalisation.
        joint: Normalise over all frames of a branch, as diffusers does. The weights were trained with each
            frame alone, as in the authors' code.
    """

    def after(name: str, _: nn.Module, __: object, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        moved = x + scale * seen_in_time(x, modules[name], heads[name], frames, groups, joint)
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
    joint: bool = False,
) -> Float[Tensor, "rows channels h w"]:
    """What a motion module adds to its input; see `between_frames`."""
    height, width = x.shape[-2:]
    fold = "(branch frame) c h w -> branch c (frame h) w" if joint else "row c h w -> row c h w"
    unfold = "branch c (frame h) w -> (branch frame) c h w" if joint else "row c h w -> row c h w"
    sizes = {"frame": frames} if joint else {}
    norm = (weights["norm.weight"], weights["norm.bias"], _NORM_EPS)
    tokens = rearrange(F.group_norm(rearrange(x, fold, **sizes), groups, *norm), unfold, **sizes)
    tokens = rearrange(tokens, "(branch frame) c h w -> (branch h w) frame c", frame=frames)
    out = torch.cat([_transformed(some, weights, heads) for some in tokens.split(_PLACES)])
    return rearrange(out, "(branch h w) frame c -> (branch frame) c h w", h=height, w=width)


def _transformed(
    tokens: Float[Tensor, "places frames channels"], weights: Weights, heads: int
) -> Float[Tensor, "places frames channels"]:
    tokens = _linear(tokens, weights, "proj_in")
    positions = interleaved_sinusoids(tokens.shape[1], tokens.shape[2]).to(tokens)
    for block in range(1 + max(int(name.split(".")[1]) for name in weights if name.startswith("tr"))):
        own = f"transformer_blocks.{block}"
        for number in (1, 2):
            seen = _normed(tokens, weights, f"{own}.norm{number}") + positions
            q, k, v = (
                rearrange(
                    _linear(seen, weights, f"{own}.attn{number}.to_{part}"), "p f (h d) -> p h f d", h=heads
                )
                for part in "qkv"
            )
            out = rearrange(attention(q, k, v), "p h f d -> p f (h d)")
            tokens = tokens + _linear(out, weights, f"{own}.attn{number}.to_out.0")
        wide, gate = _linear(_normed(tokens, weights, f"{own}.norm3"), weights, f"{own}.ff.net.0.proj").chunk(
            2, -1
        )
        tokens = tokens + _linear(wide * F.gelu(gate), weights, f"{own}.ff.net.2")
    return _linear(tokens, weights, "proj_out")


def _linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def _normed(x: Tensor, weights: Weights, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def interleaved_sinusoids(frames: int, channels: int) -> Float[Tensor, "frames channels"]:
    """Sinusoidal positions, a sine and a cosine in turn (Vaswani et al. 2017, arXiv:1706.03762, Sec. 3.5)."""
    rates = torch.exp(torch.arange(0, channels, 2) * (-torch.log(torch.tensor(10_000.0)) / channels))
    angles = torch.arange(frames)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
