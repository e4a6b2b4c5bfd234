"""LoRA files: low-rank changes of a model's weights, added once when it is loaded.

Hu et al. 2021, arXiv:2106.09685: W + weight * alpha / rank * up @ down. Read are the names that diffusers,
peft and kohya's trainers write, for linear layers and convolutions of UNet, transformer and text encoder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.download import obtain
from regrain.editing.models.files.folder import opened
from regrain.editing.models.files.location import LoraSpec, about, parse_lora

FILE = "pytorch_lora_weights.safetensors"
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
# Of a layer in the original layout, as kohya's trainers name it for SDXL: block, place, and the rest.
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


@torch.no_grad()
def add_loras(specs: Sequence[str], parts: Mapping[str, nn.Module]) -> None:
    """Add LoRA files to the weights of a model that is not shared yet.

    Args:
        specs: See `parse_lora`.
        parts: UNet or transformer, and text encoders, by their names; changed in place.
    Raises:
        ModelError: A file is missing, is not a LoRA, or was made for another kind or size of model.
    """
    layers = {name: _layers(part) for name, part in parts.items()}
    for spec in map(parse_lora, specs):
        changes, facts = _read(spec.model)
        for (part, name), change in changes.items():
            known = name.replace(".", "_")
            if "transformer" in parts:
                part, known = "transformer" if part == "unet" else part, _of_wan(known)
            elif part == "unet":
                per_level = parts["unet"].config.layers_per_block  # for all levels, or each
                known = _in_diffusers(
                    known, per_level if isinstance(per_level, int) else max(per_level)
                )
            weight = layers.get(part, {}).get(known)
            if weight is None:
                raise _misfit(spec, f"the model has no layer {part}.{name}")
            delta = _delta(change, *_scaling(facts, part, name))
            if delta is None:
                where = f"{shorten(spec.model)}: layer {shorten(name)}"
                raise ModelError("loras", f"{where} is incomplete. Download it again.")
            given, needed = tuple(delta.shape), tuple(weight.flatten(1).shape)
            if given != needed:
                sizes = f"{given[0]} x {given[1]}, but {needed[0]} x {needed[1]} in the model"
                raise _misfit(spec, f"{part}.{name} is {sizes}")
            weight += (spec.weight * delta).view_as(weight).to(weight)


def _misfit(spec: LoraSpec, reason: str) -> ModelError:
    said = f"{shorten(spec.model)} does not fit: {reason}"
    return ModelError("loras", f"{said}. Use a LoRA made for this model.")


def _scaling(facts: Mapping[str, object], part: str, name: str) -> tuple[object, bool]:
    """The alpha of a layer by peft's configuration, and whether the root of its rank divides it."""
    pattern, alpha = facts.get(f"{part}.alpha_pattern"), facts.get(f"{part}.lora_alpha")
    for end, value in pattern.items() if isinstance(pattern, dict) else ():
        if f".{name}".endswith(f".{end}"):
            alpha = value
    return alpha, facts.get(f"{part}.use_rslora") is True


def _delta(change: Mapping[str, Tensor], alpha: object, by_root: bool) -> Tensor | None:
    """The change at weight 1, [out, in * kernel]; None if a factor is missing or they do not match."""
    if not {"up", "down"} <= set(change) or change.get("alpha", torch.ones(())).numel() != 1:
        return None
    factors = [change[role] for role in ("up", "down")]
    if not all(x.is_floating_point() and 2 <= x.ndim <= 4 and x.numel() for x in factors):
        return None
    up, down = (factor.float().flatten(1) for factor in factors)
    if "alpha" in change:
        alpha = change["alpha"].item()
    scale = alpha / len(down) ** (0.5 if by_root else 1) if isinstance(alpha, int | float) else 1.0
    if up.shape[1] != len(down):
        return None
    delta = scale * (up @ down)
    return delta if bool(delta.isfinite().all()) else None


def _in_diffusers(name: str, per_level: int) -> str:
    """The name in diffusers' layout of a UNet's layer that may be named as in the original one."""
    if not (match := _ORIGINAL.fullmatch(name)):
        return name
    way, number, place, rest = match[1], int(match[2]), int(match[3] or 0), match[4]
    inner = _RESNET.get(rest, rest)
    if way == "middle":
        return f"mid_block_{'attentions_0' if number == 1 else f'resnets_{number // 2}'}_{inner}"
    level, layer = divmod(number - (way == "input"), per_level + 1)
    block = f"{'down' if way == 'input' else 'up'}_blocks_{level}"
    if way == "input" and layer == per_level:
        return f"{block}_downsamplers_0_{inner}"
    if rest == "conv":
        return f"{block}_upsamplers_0_conv"
    return f"{block}_{('resnets', 'attentions')[min(place, 1)]}_{layer}_{inner}"


def _of_wan(name: str) -> str:
    """The name in diffusers' layout of a layer of Wan that may be named as in the original one."""
    for original, ours in _WAN.items():
        name = re.sub(rf"(^|_){original}$", rf"\1{ours}", name)
    return name


def _layers(model: nn.Module) -> dict[str, Tensor]:
    """Weights by layer, dots as underscores; those of a text encoder with and without its outer name."""
    layers = [
        (name, part)
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d)
    ]
    weights = {name.replace(".", "_"): layer.weight for name, layer in layers}
    outer = "text_model_"
    inner = {name.removeprefix(outer): weight for name, weight in weights.items()}
    return weights | inner | {outer + name: weight for name, weight in inner.items()}


def _read(id: str) -> tuple[dict[tuple[str, str], dict[str, Tensor]], Mapping[str, object]]:
    """The changes in a file by part and layer, and its metadata."""
    with about("loras"):
        place = obtain(id, FILE, (FILE,))
    changes: dict[tuple[str, str], dict[str, Tensor]] = {}
    path = place if place.is_file() else place / FILE
    if not path.is_file():
        advice = "Name a .safetensors file or another repository."
        raise ModelError("loras", f"{shorten(id)} has no {FILE}. {advice}")
    with opened(path, "loras", id) as file:
        facts = json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}"))
        for key in file.keys():  # noqa: SIM118  # it is no mapping
            part, name, role = _role(key, id)
            changes.setdefault((part, name), {})[role] = file.get_tensor(key)
    if not changes:
        raise ModelError("loras", f"{shorten(id)} is empty. Download it again.")
    return changes, facts if isinstance(facts, dict) else {}


def _role(key: str, id: str) -> tuple[str, str, str]:
    """Part, layer and role of a tensor."""
    known = key.replace(".processor.to_out_lora.", ".to_out.0.lora.")
    known = re.sub(r"\.processor\.(to_[a-z]+)_lora\.", r".\1.lora.", known)
    for end, role in _ENDS.items():
        if not (match := re.fullmatch(f"(.+?){end}", known)):
            continue
        for prefix, part in _PREFIXES.items():
            if match[1].startswith(prefix):
                return part, match[1].removeprefix(prefix), role
    said = f"{shorten(id)} is not a plain LoRA: it has {shorten(key)}"
    raise ModelError(
        "loras", f"{said}. Use another; kinds such as LoHa and DoRA are not supported."
    )
