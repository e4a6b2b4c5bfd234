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
from regrain.editing.models.files.wan_file import layer_in_diffusers
from regrain.editing.models.weights.eight_bits import EightBitLinear
from regrain.editing.models.weights.lora_change import (
    MAGNITUDES,
    Change,
    Damage,
    Misfit,
    Scaling,
    agreed,
    apply,
)
from regrain.editing.storage.by_name import Modules
from regrain.editing.storage.safetensors_files import opened
from regrain.editing.storage.texts import Values

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
# What decides the scale of layers, of all parts or of one.
_SETTING = re.compile(
    r"(?:(?:unet|transformer|text_encoder|text_encoder_2)\.)?"
    r"(?:r|rank|lora_alpha|alpha|use_rslora|rank_pattern|alpha_pattern)"
)
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


class _Layer(NamedTuple):
    """A layer that a file changes, as the file names it.

    Attributes:
        part: text_encoder, text_encoder_2, network (UNet or transformer), or empty if
            the file does not say.
        name: Its name in the part.
    """

    part: str
    name: str


_Tensors = dict[str, tuple[_Layer, str, Tensor]]
"""Of each tensor of a file, its layer and its role; see `lora_change`."""


@torch.no_grad()
def add_loras(specs: Sequence[str], parts: Modules) -> None:
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
        tensors, facts = _read(spec.model)
        changes, keys = {}, {}
        for key, (layer, role, tensor) in tensors.items():
            part, module = _locate(layer, parts, layers, spec)
            known = "magnitude" if role in MAGNITUDES else role
            _check_once(spec.model, key, keys.setdefault((module, known), key))
            changes.setdefault(module, (part, layer.name, {}))[2][role] = tensor
        for module, (part, name, change) in changes.items():
            if part == "unet" and module is parts["unet"].conv_in:
                module = _widened(parts["unet"], change, spec)
                layers = layers | {"unet": _layers(parts["unet"])}
            if isinstance(module, EightBitLinear):
                module.widen()
            try:
                apply(change, module, spec.weight, _scaling(facts, part, name))
            except Misfit as wrong:
                raise _misfit(spec, f"{part}.{name} {wrong}") from wrong
            except Damage as wrong:
                said = f"has a layer {part}.{name} that {wrong}"
                raise _refused(
                    spec.model, f"{said}. Download it again, or use another."
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
    parts: Modules,
    layers: Mapping[str, Modules],
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
        return layer_in_diffusers(name)
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
    return _refused(
        spec.model, f"does not fit: {reason}. Use a LoRA made for this model."
    )


def _refused(id: str, said: str) -> ModelError:
    return ModelError("loras", f"{shorten(id)} {said}")


def _check_once(id: str, one: object, other: object) -> None:
    """Refuse a file that says the same thing twice, unless it is said equally."""
    if one != other:
        both = [
            text if len(text) < 60 else f"{text[:15]}...{text[-40:]}"
            for text in map(repr, (other, one))
        ]
        raise _refused(id, f"says {' and '.join(both)} of one thing. Use another.")


def _scaling(facts: Values, part: str, name: str) -> Scaling:
    """Return how peft's configuration scales a layer."""

    of_network = ("unet.", "transformer.")
    places = of_network if f"{part}." in of_network else (f"{part}.",)

    def said(*keys: str) -> list[Any]:
        return [facts.get(of + key) for key in keys for of in ("", *places)]

    def of_layer(key: str, usual: float | None) -> float | None:
        for pattern in filter(None, said(key)):
            for end, value in pattern.items():
                if f".{name}".endswith(f".{end}") or end == f"^{name}":
                    return value
        return usual

    return Scaling(
        of_layer("alpha_pattern", agreed("an alpha", *said("lora_alpha", "alpha"))),
        True in said("use_rslora"),
        of_layer("rank_pattern", agreed("a rank", *said("r", "rank"))) or None,
    )


def _read(id: str) -> tuple[_Tensors, Values]:
    """Read a LoRA, and the facts of peft's configuration."""
    path = find_lora(id)
    with opened(path, "loras", id, "pt") as file:
        facts = _facts(path, id, file.metadata() or {})
        roles = {key: _role(key, id) for key in [*file.keys()]}
        # now, as a large file may be no LoRA
        tensors = {key: (*roles[key], file.get_tensor(key)) for key in roles}
    if not tensors:
        raise _refused(id, "is empty. Download it again.")
    has_norms = any(role in MAGNITUDES for _, role in roles.values())
    if facts.get("use_dora") is True and not has_norms:
        raise _refused(
            id, "says that it is a DoRA, but has no magnitudes. Download it again."
        )
    return tensors, facts


def _facts(path: Path, id: str, metadata: Mapping[str, str]) -> Values:
    """Read peft's configuration, from the file beside a LoRA, from its metadata, or
    from metadata by the names of settings."""
    import yaml

    beside = path.with_name(PEFT_CONFIG)
    facts: Any = {}
    if path.name == PEFT_FILE and beside.exists():
        with about("loras"):
            facts = read_json(beside, f"{shorten(id)}: {beside.name}")
    with boundary("loras", f"{shorten(id)} is damaged. Use another.", ModelError):
        named = {
            key: yaml.safe_load(text)  # also what Python writes
            for key, text in metadata.items()
            if _SETTING.fullmatch(key)
        }
        for more in (json.loads(metadata.get("lora_adapter_metadata", "{}")), named):
            for key in facts.keys() & more.keys():
                _check_once(id, {key: facts[key]}, {key: more[key]})
            facts |= more
    kind = facts.get("peft_type", "LORA")
    if kind not in ("LORA", "LOHA", "LOKR"):
        raise _refused(
            id,
            f"is of peft's kind {shorten(kind)}, which is not supported. Use a LoRA, "
            "LoHa or LoKr.",
        )
    start = str(facts.get("init_lora_weights")).lower()
    if start.startswith(_OTHER_STARTS) or facts.get("layer_replication"):
        raise _refused(
            id,
            f"also changes the model ({PEFT_CONFIG}). Convert it to an ordinary LoRA "
            "with peft.",
        )
    for key, value in facts.items():
        numbers = value.values() if isinstance(value, dict) else [value]
        is_known = value is None or isinstance(value, dict) == key.endswith("pattern")
        is_known &= all(isinstance(one, int | float | None) for one in numbers)
        if _SETTING.fullmatch(key) and not is_known:
            said = f"{shorten(key)} {shorten(value)}, which is no number"
            raise _refused(id, f"says {said}. Use another.")
    return facts


def check_lora(path: Path) -> None:
    """Refuse a file that is no LoRA, by the names of its tensors alone; a ModelError
    says what it is."""
    with opened(path, "loras", path.name, "pt") as file:
        for key in [*file.keys()]:
            _role(key, path.name)


def _role(key: str, id: str) -> tuple[_Layer, str]:
    """Return the layer that a tensor is of, and its role."""
    titles = [title for word, title in _OTHERS.items() if word in key]
    if key in _INVERSIONS:
        titles.append(_OTHERS["emb_params"])
    if titles:
        raise _refused(id, f"is {titles[0]}, not a LoRA of a model. Use another.")
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
    raise _refused(
        id,
        f"has ...{key[-40:]!r}, which no known LoRA has. Use a LoRA, DoRA, LoHa or "
        "LoKr.",
    )
