"""LoRA files: low-rank changes of a model's weights, added once when it is loaded.

Hu et al. 2021, arXiv:2106.09685: W + weight * alpha / rank * up @ down. Read are the
names that diffusers, peft and kohya's trainers write, for linear layers and
convolutions of UNet, transformer and text encoder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.location import LoraSpec, parse_lora
from regrain.editing.models.files.lora_file import find_lora
from regrain.editing.models.files.tensors import opened

# Endings of tensor names after the layer that they change.
_ENDS = {
    r"[._](?:lora_A|lora\.down|lora_down|lora_linear_layer\.down)(?:\.\w+)?\.weight": "down",
    r"[._](?:lora_B|lora\.up|lora_up|lora_linear_layer\.up)(?:\.\w+)?\.weight": "up",
    r"\.alpha": "alpha",
}
_PREFIXES = {
    "transformer.": "transformer",
    "diffusion_model.": "transformer",
    "unet.": "unet",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}
# Of a layer in the original layout, as kohya's trainers name it for SDXL: block, place,
# and the rest.
_ORIGINAL = re.compile(r"(input|middle|output)_blocks?_(\d+)_(?:(\d+)_)?(.+)")
_RESNET = {
    "in_layers_2": "conv1",
    "out_layers_3": "conv2",
    "emb_layers_1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
    "op": "conv",
}
# Endings of the layers of Wan in the original layout.
_WAN = {
    "self_attn_([qkv])": r"attn1_to_\2",
    "self_attn_o": "attn1_to_out_0",
    "cross_attn_([qkv])": r"attn2_to_\2",
    "cross_attn_o": "attn2_to_out_0",
    "ffn_0": "ffn_net_0_proj",
    "ffn_2": "ffn_net_2",
    "(text|time)_embedding_0": r"condition_embedder_\2_embedder_linear_1",
    "(text|time)_embedding_2": r"condition_embedder_\2_embedder_linear_2",
    "time_projection_1": "condition_embedder_time_proj",
    "head_head": "proj_out",
}


class _Layer(NamedTuple):
    """A layer that a file changes, as the file names it."""

    part: str  # unet, transformer, text_encoder or text_encoder_2
    name: str


_Changes = dict[_Layer, dict[str, Tensor]]  # by role: down, up, alpha


@torch.no_grad()
def add_loras(specs: Sequence[str], parts: Mapping[str, nn.Module]) -> None:
    """Add LoRA files to the weights of a model that is not shared yet.

    Args:
        specs: See `parse_lora`.
        parts: UNet or transformer, and text encoders, by their names; changed in place.
    Raises:
        ModelError: A file is missing, is not a LoRA, or was made for another kind or
            size of model.
    """
    weights = {name: _weights(part) for name, part in parts.items()}
    for text in specs:
        spec = parse_lora(text)
        changes, facts = _read(spec.model)
        for layer, change in changes.items():
            part, name = _locate(layer, parts)
            title = f"{part}.{layer.name}"
            weight = weights.get(part, {}).get(name)
            if weight is None:
                raise _misfit(spec, f"the model has no layer {title}")
            alpha, by_root = _scaling(facts, part, layer.name)
            delta = _delta(change, alpha, by_root)
            if delta is None:
                where = f"{shorten(spec.model)}: layer {shorten(layer.name)}"
                raise ModelError("loras", f"{where} is incomplete. Download it again.")
            if name == "conv_in" and part == "unet":
                weight = _widened(parts["unet"], delta, spec)
            _check_size(spec, title, delta, weight)
            weight += (spec.weight * delta).view_as(weight).to(weight)


def _widened(unet: Any, delta: Tensor, spec: LoraSpec) -> Tensor:
    """Return the weight of a UNet's first layer, after giving it the further channels
    that a LoRA has: those of an inpainting model, a mask and latents."""
    old = unet.conv_in
    channels = old.in_channels
    area = old.weight[0, 0].numel()
    wanted, odd = divmod(delta.shape[1], area)
    if odd or wanted != 2 * channels + 1:
        return old.weight
    if spec.weight != 1:
        raise _misfit(spec, "it turns the model into one for inpainting, at weight 1")
    wide: Any = nn.Conv2d(
        wanted, old.out_channels, old.kernel_size, padding=old.padding
    )
    wide = wide.to(old.weight)
    wide.weight.zero_()
    wide.weight[:, :channels] = old.weight
    wide.bias.copy_(old.bias)
    unet.conv_in = wide
    unet.register_to_config(in_channels=wanted)
    return wide.weight


def _check_size(spec: LoraSpec, title: str, delta: Tensor, weight: Tensor) -> None:
    """Refuse a change, [out, in * kernel], that is not as large as the weight of its
    layer."""
    rows, columns = delta.shape
    needed_rows, needed_columns = weight.flatten(1).shape
    if (rows, columns) != (needed_rows, needed_columns):
        sizes = f"{rows} x {columns}, but {needed_rows} x {needed_columns} in the model"
        raise _misfit(spec, f"{title} is {sizes}")


def _locate(layer: _Layer, parts: Mapping[str, nn.Module]) -> tuple[str, str]:
    """Return part and name of a layer in the model, with underscores as `_weights` has
    them."""
    name = layer.name.replace(".", "_")
    if "transformer" in parts:  # which kohya's trainers name unet
        part = "transformer" if layer.part == "unet" else layer.part
        return part, _of_wan(name)
    if layer.part == "unet":
        per_level = parts["unet"].config.layers_per_block  # for all levels, or each
        most = per_level if isinstance(per_level, int) else max(per_level)
        return "unet", _in_diffusers(name, most)
    return layer.part, name


def _misfit(spec: LoraSpec, reason: str) -> ModelError:
    said = f"{shorten(spec.model)} does not fit: {reason}"
    return ModelError("loras", f"{said}. Use a LoRA made for this model.")


def _scaling(facts: Mapping[str, object], part: str, name: str) -> tuple[object, bool]:
    """Return the alpha of a layer by peft's configuration, and whether the root of its
    rank divides it."""
    alpha = facts.get(f"{part}.lora_alpha")
    pattern = facts.get(f"{part}.alpha_pattern")
    if isinstance(pattern, dict):
        for end, value in pattern.items():
            if f".{name}".endswith(f".{end}"):
                alpha = value
    return alpha, facts.get(f"{part}.use_rslora") is True


def _delta(change: Mapping[str, Tensor], alpha: object, by_root: bool) -> Tensor | None:
    """Compute the change at weight 1, [out, in * kernel]; None if factors are missing
    or do not match."""
    if "up" not in change or "down" not in change:
        return None
    factors = (change["up"], change["down"])
    if not all(_is_factor(factor) for factor in factors):
        return None
    up, down = (factor.float().flatten(1) for factor in factors)
    if "alpha" in change:
        if change["alpha"].numel() != 1:
            return None
        alpha = change["alpha"].item()
    rank = len(down)
    if up.shape[1] != rank:
        return None
    scale = 1.0
    if isinstance(alpha, int | float):
        scale = alpha / rank ** (0.5 if by_root else 1)
    delta = scale * (up @ down)
    return delta if bool(delta.isfinite().all()) else None


def _is_factor(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and 2 <= tensor.ndim <= 4 and tensor.numel() > 0


def _in_diffusers(name: str, per_level: int) -> str:
    """Return the name in diffusers' layout of a UNet's layer that may be named as in
    the original one."""
    original = _ORIGINAL.fullmatch(name)
    if not original:
        return name
    way, number, place, rest = original.groups()
    number = int(number)
    inner = _RESNET.get(rest, rest)
    if way == "middle":
        part = "attentions_0" if number == 1 else f"resnets_{number // 2}"
        return f"mid_block_{part}_{inner}"
    kind = "attentions" if int(place or 0) > 0 else "resnets"
    if way == "output":
        level, layer = divmod(number, per_level + 1)
        if rest == "conv":
            return f"up_blocks_{level}_upsamplers_0_conv"
        return f"up_blocks_{level}_{kind}_{layer}_{inner}"
    level, layer = divmod(number - 1, per_level + 1)  # the first is conv_in
    if layer == per_level:
        return f"down_blocks_{level}_downsamplers_0_{inner}"
    return f"down_blocks_{level}_{kind}_{layer}_{inner}"


def _of_wan(name: str) -> str:
    """Return the name in diffusers' layout of a layer of Wan that may be named as in
    the original one."""
    for original, ours in _WAN.items():
        name = re.sub(rf"(^|_){original}$", rf"\1{ours}", name)
    return name


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Return weights by layer, dots as underscores, with and without the outer name of
    a text encoder."""
    weights = {
        name.replace(".", "_"): module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    outer = "text_model_"
    inner = {name.removeprefix(outer): weight for name, weight in weights.items()}
    return weights | inner | {outer + name: weight for name, weight in inner.items()}


def _read(id: str) -> tuple[_Changes, Mapping[str, object]]:
    """Read the changes in a file, and its metadata."""
    path = find_lora(id)
    changes: _Changes = {}
    with opened(path, "loras", id) as file:
        metadata = file.metadata() or {}
        facts = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        for key in [*file.keys()]:
            layer, role = _role(key, id)  # before a large file that is no LoRA is read
            changes.setdefault(layer, {})[role] = file.get_tensor(key)
    if not changes:
        raise ModelError("loras", f"{shorten(id)} is empty. Download it again.")
    return changes, facts if isinstance(facts, dict) else {}


def _role(key: str, id: str) -> tuple[_Layer, str]:
    """Return the layer that a tensor is of, and its role."""
    known = key.replace(".processor.to_out_lora.", ".to_out.0.lora.")
    known = re.sub(r"\.processor\.(to_[a-z]+)_lora\.", r".\1.lora.", known)
    for end, role in _ENDS.items():
        match = re.fullmatch(f"(.+?){end}", known)
        name = match[1] if match else ""
        for prefix, part in _PREFIXES.items():
            if name.startswith(prefix):
                return _Layer(part, name.removeprefix(prefix)), role
    said = f"{shorten(id)} is not a plain LoRA: it has {shorten(key)}"
    advice = "Use another; kinds such as LoHa and DoRA are not supported."
    raise ModelError("loras", f"{said}. {advice}")
