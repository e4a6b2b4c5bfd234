"""LoRA files: small changes of a model's weights, added once when it is loaded.

Read are the names that diffusers, peft, kohya's trainers, LyCORIS and DiffSynth write,
for every layer of UNet, transformer and text encoders. What a file changes in a layer
is computed in `lora_change.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_json
from regrain.editing.models.files.location import LoraSpec, about, parse_lora
from regrain.editing.models.files.lora_file import PEFT_CONFIG, PEFT_FILE, find_lora
from regrain.editing.models.files.schedulers import Content
from regrain.editing.models.weights.lora_change import (
    MAGNITUDES,
    Change,
    Damage,
    Misfit,
    Scaling,
    apply,
)
from regrain.editing.storage.safetensors_files import opened

# Endings of tensor names after the layer that they change, by the role of the tensor.
_NAMED = r"(?:\.\w+)?"  # an adapter's name, of peft
_ENDS = {
    rf"[._](?:lora_A|lora\.down|lora_down|lora_linear_layer\.down){_NAMED}\.weight": "down",
    rf"[._](?:lora_B|lora\.up|lora_up|lora_linear_layer\.up){_NAMED}\.weight": "up",
    rf"[._](?:lora_B|lora_up){_NAMED}\.bias": "up_bias",
    r"\.lora_mid\.weight": "mid",
    r"\.alpha": "alpha",
    rf"\.lora_magnitude_vector{_NAMED}(?:\.weight)?": "magnitude",
    r"\.dora_scale(?:\.weight)?": "dora_scale",
    rf"\.(hada_[wt][12](?:_[ab])?|lokr_[wt][12](?:_[ab])?){_NAMED}": "",
    r"\.(?:diff|w_norm)": "diff",
    r"\.(?:diff_b|b_norm)": "diff_b",
    r"\.diff_m": "diff_m",
}
# Kinds that are not read, by a word in the names of their tensors.
_OTHERS = {
    "motion_modules": "a motion LoRA, which changes a motion adapter",
    "oft_": "an OFT",
    "boft": "a BOFT",
    "ia3": "an IA3",
    "on_input": "an IA3",
    "glora": "a GLoRA",
    ".a1.weight": "a GLoRA",
    "emb_params": "a textual inversion",
    "bundle_emb": "a LoRA and a textual inversion in one",
    "controlnet": "a Control-LoRA",
    "lora_controlnet": "a Control-LoRA",
    "image_proj": "a picture adapter",
}
_INVERSIONS = ("clip_l", "clip_g")  # vectors of textual inversions for SDXL
# Of peft: starts of weights that change the model, too; what is added is not all.
_OTHER_STARTS = ("pissa", "olora", "corda", "loftq", "lora_ga")
_PREFIX = re.compile(
    r"(?:(?:base_model\.model|model|diffusion_model|pipe\.dit|transformer|unet|text_encoder|"
    r"text_encoder_2)\.)+|lora_(?:unet|te|te1|te2)_|lycoris_"
)
_PARTS = {  # by a piece of the prefix; the first counts
    "text_encoder_2.": "text_encoder_2",
    "lora_te2_": "text_encoder_2",
    "text_encoder.": "text_encoder",
    "lora_te": "text_encoder",
    "unet": "network",
    "transformer.": "network",
    "diffusion_model.": "network",
    "dit.": "network",
}
# Names that older versions of diffusers wrote.
_OLD = {
    r"\.processor\.(to_[qkv])_lora\.": r".\1.lora.",
    r"\.processor\.to_out_lora\.": ".to_out.0.lora.",
    r"\.self_attn\.to_(q|k|v|out)_lora\.": r".self_attn.\1_proj.lora.",
}
# Of a layer in the original layout, as kohya's trainers name it for SDXL: block, place,
# and the rest.
_ORIGINAL = re.compile(r"(input|middle|output)_blocks?_(\d+)_(?:(\d+)_)?(.+)")
_ENDS_OF_UNET = {
    "input_blocks_0_0": "conv_in",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
}
_RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "emb_layers_1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
    "op": "conv",
}
# Endings of the layers of Wan in the original layout.
_WAN = {
    "self_attn_([qkv])": r"attn1_to_\2",
    "self_attn_o": "attn1_to_out_0",
    "self_attn_norm_([qk])": r"attn1_norm_\2",
    "cross_attn_([qkv])": r"attn2_to_\2",
    "cross_attn_o": "attn2_to_out_0",
    "cross_attn_norm_([qk])": r"attn2_norm_\2",
    "norm3": "norm2",
    "ffn_0": "ffn_net_0_proj",
    "ffn_2": "ffn_net_2",
    "(text|time)_embedding_0": r"condition_embedder_\2_embedder_linear_1",
    "(text|time)_embedding_2": r"condition_embedder_\2_embedder_linear_2",
    "time_projection_1": "condition_embedder_time_proj",
    "head_head": "proj_out",
    "head": "",  # with the table of the whole network
}


class _Layer(NamedTuple):
    """A layer that a file changes, as the file names it.

    Attributes:
        part: text_encoder, text_encoder_2, network (UNet or transformer), or empty if
            the file does not say.
        name: Its name in the part.
    """

    part: str
    name: str


_Changes = dict[_Layer, dict[str, Tensor]]  # by role; see `lora_change`


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
    layers = {name: _layers(part) for name, part in parts.items()}
    for text in specs:
        spec = parse_lora(text)
        changes, facts = _read(spec.model)
        for layer, change in changes.items():
            part, module = _locate(layer, parts, layers, spec)
            if part == "unet" and module is parts["unet"].conv_in:
                module = _widened(parts["unet"], change, spec)
                layers = layers | {"unet": _layers(parts["unet"])}
            scaling = _scaling(facts, part, layer.name)
            try:
                apply(change, module, spec.weight, scaling)
            except Misfit as wrong:
                raise _misfit(spec, f"{part}.{layer.name} {wrong}") from wrong
            except Damage as wrong:
                raise ModelError(
                    "loras",
                    f"{shorten(spec.model)}: {part}.{layer.name} {wrong}. "
                    "Download it again.",
                ) from wrong


def _widened(unet: Any, change: Change, spec: LoraSpec) -> nn.Module:
    """Return a UNet's first layer, after giving it the further channels that a LoRA
    has: those of an inpainting model, a mask and latents."""
    old = unet.conv_in
    channels = old.in_channels
    wanted = 2 * channels + 1
    down = change.get("down")
    if down is None or down.ndim != 4 or down.shape[1] != wanted:
        return old
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
    return wide


def _locate(
    layer: _Layer,
    parts: Mapping[str, nn.Module],
    layers: Mapping[str, Mapping[str, nn.Module]],
    spec: LoraSpec,
) -> tuple[str, nn.Module]:
    """Find part and module of a layer in the model; of one without a part, the part
    that has it."""
    for part in parts:
        kind = "network" if part in ("unet", "transformer") else part
        if layer.part in ("", kind):
            name = _in_diffusers(layer.name.replace(".", "_"), part, parts[part])
            module = layers[part].get(name)
            if module is not None:
                return part, module
    title = ".".join(text for text in layer if text)
    raise _misfit(spec, f"the model has no layer {title}")


def _in_diffusers(name: str, part: str, model: Any) -> str:
    """Return the name in diffusers' layout of a layer that may be named as in the
    original one, dots as underscores."""
    if part == "transformer":
        for original, ours in _WAN.items():
            name = re.sub(rf"(^|_){original}$", rf"\1{ours}", name)
        return name
    if part == "unet":
        per_level = model.config.layers_per_block  # for all levels, or each
        most = per_level if isinstance(per_level, int) else max(per_level)
        return _ENDS_OF_UNET.get(name) or _in_blocks(name, most)
    return name.removeprefix("text_model_")


def _in_blocks(name: str, per_level: int) -> str:
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


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return all modules with weights of their own by name, dots as underscores,
    without the outer name of a text encoder."""
    return {
        name.removeprefix("text_model.").replace(".", "_"): module
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    }


def _misfit(spec: LoraSpec, reason: str) -> ModelError:
    return ModelError(
        "loras",
        f"{shorten(spec.model)} does not fit: {reason}. Use a LoRA made for this "
        "model.",
    )


def _scaling(facts: Content, part: str, name: str) -> Scaling:
    """Return how peft's configuration scales a layer."""

    def said(key: str) -> object:
        return facts.get(f"{part}.{key}", facts.get(key))

    alpha = said("lora_alpha") or said("alpha")
    rank = said("r")
    pattern = said("alpha_pattern")
    if isinstance(pattern, dict):
        for end, value in pattern.items():
            if f".{name}".endswith(f".{end}"):
                alpha = value
    return Scaling(
        float(alpha) if isinstance(alpha, int | float) else None,
        said("use_rslora") is True,
        rank if isinstance(rank, int) and rank > 0 else None,
    )


def _read(id: str) -> tuple[_Changes, Content]:
    """Read a LoRA, and the facts of peft's configuration."""
    path = find_lora(id)
    changes: _Changes = {}
    with opened(path, "loras", id, "pt") as file:
        facts = _facts(path, id, file.metadata() or {})
        for key in [*file.keys()]:
            layer, role = _role(key, id)  # before a large file that is no LoRA is read
            changes.setdefault(layer, {})[role] = file.get_tensor(key)
    if not changes:
        raise ModelError("loras", f"{shorten(id)} is empty. Download it again.")
    has_norms = any(change.keys() & MAGNITUDES for change in changes.values())
    if facts.get("use_dora") is True and not has_norms:
        raise ModelError(
            "loras",
            f"{shorten(id)} says that it is a DoRA, but has no magnitudes. "
            "Download it again.",
        )
    return changes, facts


def _facts(path: Path, id: str, metadata: Mapping[str, str]) -> Content:
    """Read peft's configuration, from a file's metadata or from the file beside it."""
    beside = path.with_name(PEFT_CONFIG)
    facts: Any = {}
    if path.name == PEFT_FILE and beside.exists():
        with about("loras"):
            facts = read_json(beside, f"{shorten(id)}: {beside.name}")
    elif "lora_adapter_metadata" in metadata:
        with boundary("loras", f"{shorten(id)} is damaged. Use another.", ModelError):
            facts = json.loads(metadata["lora_adapter_metadata"])
    if not isinstance(facts, dict):
        raise ModelError("loras", f"{shorten(id)} is damaged. Use another.")
    kind = facts.get("peft_type", "LORA")
    if kind not in ("LORA", "LOHA", "LOKR"):
        raise ModelError(
            "loras",
            f"{shorten(id)} is of peft's kind {shorten(kind)}, which is not "
            "supported. Use a LoRA, LoHa or LoKr.",
        )
    start = str(facts.get("init_lora_weights")).lower()
    if start.startswith(_OTHER_STARTS) or facts.get("layer_replication"):
        raise ModelError(
            "loras",
            f"{shorten(id)} also changes the model ({PEFT_CONFIG}). Convert it to "
            "an ordinary LoRA with peft.",
        )
    for key, value in facts.items():
        is_scale = key.rpartition(".")[2] in ("r", "lora_alpha", "alpha")
        if is_scale and not isinstance(value, int | float | None):
            said = f"{shorten(id)} says {shorten(key)} {shorten(value)}, which is no number"
            raise ModelError("loras", f"{said}. Use another.")
    return facts


def _role(key: str, id: str) -> tuple[_Layer, str]:
    """Return the layer that a tensor is of, and its role."""
    titles = [title for word, title in _OTHERS.items() if word in key]
    if key in _INVERSIONS:
        titles.append(_OTHERS["emb_params"])
    if titles:
        raise ModelError(
            "loras",
            f"{shorten(id)} is {titles[0]}, not a LoRA of a model. Use another.",
        )
    known = key
    for old, new in _OLD.items():
        known = re.sub(old, new, known)
    for end, role in _ENDS.items():
        match = re.fullmatch(f"(.*?){end}", known)
        if match:
            name = match[1]
            prefix = _PREFIX.match(f"{name}.")
            if not prefix:
                return _Layer("", name), role or match[2]
            found = (part for piece, part in _PARTS.items() if piece in prefix[0])
            layer = _Layer(next(found, ""), name[prefix.end() :])
            return layer, role or match[2]
    raise ModelError(
        "loras",
        f"{shorten(id)} has ...{key[-40:]!r}, which no known LoRA has. Use a "
        "LoRA, DoRA, LoHa or LoKr.",
    )
