"""LoRA files: small changes of a model's weights, added once when it is loaded.

What a file adds is computed by peft, and layers with the names of SDXL's original layout
are found by diffusers. Here stands what these leave open: how trainers spell names, and
that nothing of a file is left out.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_json
from regrain.editing.models.files.location import LoraSpec, about, parse_lora
from regrain.editing.models.files.lora_file import PEFT_CONFIG, PEFT_FILE, find_lora
from regrain.editing.models.files.offers import kind_beside
from regrain.editing.models.files.wan_file import layer_in_diffusers
from regrain.editing.models.weights.small import SmallLinear
from regrain.editing.removed import instead
from regrain.editing.storage.beside_weights import check_numbers
from regrain.editing.storage.by_name import Modules, Tensors
from regrain.editing.storage.safetensors_files import opened, with_shards
from regrain.editing.storage.texts import Values

# Before and after the name of a layer; what its tensors are called by peft, or what is
# added as it is.
_PREFIX = (
    r"(lora_(?:unet|te[12]?)_|lycoris_|(?:(?:base_model\.model|model|diffusion_model|"
    r"pipe\.dit|transformer|unet|text_encoder(?:_2)?)\.)*)"
)
_ENDS = {
    r"[._](?:lora_A|lora[._]down|lora_linear_layer\.down)(?:\.\w+)?\.weight": "lora_A.weight",
    r"[._](?:lora_B|lora[._]up|lora_linear_layer\.up)(?:\.\w+)?\.weight": "lora_B.weight",
    r"[._]lora_(?:B|up)(?:\.\w+)?\.bias": "lora_B.bias",
    r"\.(lora_magnitude_vector|hada_\w+|lokr_\w+)(?:\.\w+)?": "",
    r"\.alpha": "alpha",
    r"\.(?:diff|w_norm)": "weight",
    r"\.(?:diff_b|b_norm)": "bias",
    r"\.diff_m": "scale_shift_table",
}
_PLAIN = ("weight", "bias", "scale_shift_table")
# Names that older versions of diffusers, and other programs, write.
_OLD = {
    r"\.processor\.(to_[qkv])_lora\.": r".\1.lora.",
    r"\.processor\.to_out_lora\.": ".to_out.0.lora.",
    r"\.self_attn\.to_(q|k|v|out)_lora\.": r".self_attn.\1_proj.lora.",
    # as ComfyUI saves them
    r"^text_encoders\.clip_l\.transformer\.": "text_encoder.",
    r"^text_encoders\.clip_g\.transformer\.": "text_encoder_2.",
}
# Of peft's configuration, what decides the size of a change.
_SIZES = {
    "r",
    "lora_alpha",
    "alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "use_dora",
    "lora_bias",
    "use_effective_conv2d",
    "decompose_both",
    "decompose_factor",
}
# Of peft: starts of weights that change the model, too; what is added is not all.
_OTHER_STARTS = ("pissa", "olora", "corda", "loftq", "lora_ga")


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
    for text in specs:
        spec = parse_lora(text)
        tensors, facts = _read(spec.model)
        of_others = {key.rpartition(".")[0] for key in facts} - {"", *parts}
        if of_others:
            raise _misfit(spec, f"it changes a {shorten(min(of_others))}")
        known = {part: _layers(module) for part, module in parts.items()}
        changes: dict[str, dict[str, Tensors]] = {}
        for key, tensor in tensors.items():
            prefix, layer, role = _role(key, spec.model)
            part, name = _locate(prefix, layer, parts, known, spec)
            change = changes.setdefault(part, {}).setdefault(name, {})
            if role in change:
                said = f"says what ...{key[-60:]!r} is twice"
                raise _refused(spec.model, f"{said}. Use another.")
            change[role] = tensor
        for part, layers in changes.items():
            if part == "unet" and "conv_in" in layers:
                _widen(parts[part], layers["conv_in"], spec)
            of_part = {
                key.removeprefix(f"{part}."): value for key, value in facts.items()
            }
            said = f"the shapes or factors of its {part}"
            with boundary("loras", _misfit(spec, said).message, ModelError):
                _add(parts[part], layers, of_part, spec)


def _add(part: Any, layers: dict[str, Tensors], facts: Values, spec: LoraSpec) -> None:
    """Add the changes of layers to a part; what remains of peft there is nothing."""
    from peft import inject_adapter_in_model, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, change in layers.items():
        layer = part.get_submodule(name)
        down = change.get("lora_A.weight")
        if down is not None and down.ndim != layer.weight.ndim:
            raise _misfit(
                spec,
                f"...{name[-50:]!r} has linear factors for a convolution, or the reverse",
            )
        if isinstance(layer, SmallLinear):
            layer.widen()
        for role in change.keys() & {*_PLAIN}:
            added = spec.weight * change.pop(role)
            parameter = layer.get_parameter(role)
            if added.shape != parameter.shape:
                raise ValueError(name)
            parameter += added.to(parameter)
    tuned = {name: change for name, change in layers.items() if change}
    if not tuned:
        return
    config = _config(tuned, facts, spec)
    factors = {
        f"{name}.{role}": factor
        for name, change in tuned.items()
        for role, factor in change.items()
        if role != "alpha"
    }
    with warnings.catch_warnings(action="ignore"):
        inject_adapter_in_model(config, part, low_cpu_mem_usage=True)
        read = set_peft_model_state_dict(part, factors, low_cpu_mem_usage=True)
    lacks = [name for name in read.missing_keys if ".default" in name]
    if lacks or read.unexpected_keys:
        wrong = shorten(min([*lacks, *read.unexpected_keys]), 90)
        raise _refused(spec.model, f"lacks {wrong}, or has it twice. Use another.")
    for name, module in [*part.named_modules()]:
        if isinstance(module, BaseTunerLayer):
            module.scale_layer(spec.weight)
            module.merge(safe_merge=True)  # which refuses NaN
            part.set_submodule(name, module.get_base_layer())
    del part.peft_config


def _config(layers: dict[str, Tensors], facts: Values, spec: LoraSpec) -> Any:
    """Return peft's configuration of changes: as the file says, else each as large as
    its factors, times their alpha if they have one."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    given = {key: facts[key] for key in _SIZES & facts.keys()}
    has_alphas = any("alpha" in change for change in layers.values())
    is_lora = all("lora_A.weight" in change for change in layers.values())
    if given and has_alphas:
        said = "says its scale in tensors and in peft's configuration"
        raise _refused(spec.model, f"{said}. Use another.")
    if not given and not is_lora:
        raise _refused(spec.model, "is incomplete. Download it again.")
    if not given:
        ranks = {}
        alphas = {}
        for name, change in layers.items():
            place = f"^{re.escape(name)}"
            ranks[place] = len(change["lora_A.weight"])
            alphas[place] = (
                change["alpha"].item() if "alpha" in change else ranks[place]
            )
        roles = {role for change in layers.values() for role in change}
        given = {
            "rank_pattern": ranks,
            "alpha_pattern": alphas,
            "use_dora": "lora_magnitude_vector" in roles,
            "lora_bias": "lora_B.bias" in roles,
        }
    given["target_modules"] = "|".join(map(re.escape, layers))
    return PEFT_TYPE_TO_CONFIG_MAPPING[facts.get("peft_type", "LORA")](**given)


def _widen(unet: Any, change: Tensors, spec: LoraSpec) -> None:
    """Give a UNet's first layer the further channels that a LoRA has: those of an
    inpainting model, or of one that sees the source."""
    old = unet.conv_in
    latents = old.in_channels
    first = change.get("lora_A.weight", change.get("weight"))
    wanted = first.shape[1] if first is not None and first.ndim == 4 else latents
    if wanted == latents or not kind_beside(wanted, latents):
        return
    if spec.weight != 1:
        raise _refused(
            spec.model,
            "makes the model read more than its latents, at weight 1 alone."
            " Set its weight to 1.",
        )
    none = (0, 0, 0, 0, 0, wanted - latents)  # on each side, the last axis first
    old.weight = nn.Parameter(F.pad(old.weight, none))
    old.in_channels = wanted
    unet.register_to_config(in_channels=wanted)


def _locate(
    prefix: str,
    layer: str,
    parts: Modules,
    known: Mapping[str, Mapping[str, str]],
    spec: LoraSpec,
) -> tuple[str, str]:
    """Find part and name of a layer in the model; layers of both text encoders have the
    same names, so the prefix tells these apart."""
    for part, names in known.items():
        if ("2" in prefix) == (part == "text_encoder_2"):
            for name in _names(layer.replace(".", "_"), parts[part]):
                if name in names:
                    return part, names[name]
    raise _misfit(spec, f"the model has no layer {shorten(prefix + layer, 90)}")


def _names(name: str, part: Any) -> Iterator[str]:
    """Yield what a layer may be called in diffusers' layout, dots as underscores."""
    yield name.removeprefix("text_model_")
    yield layer_in_diffusers(name)
    if hasattr(part.config, "layers_per_block"):
        yield _by_diffusers(name, part.config.layers_per_block).replace(".", "_")


def _by_diffusers(name: str, per_level: int | Sequence[int]) -> str:
    """Return what diffusers calls a layer of a UNet in the original layout; empty if it
    knows none of that name."""
    from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin
    from diffusers.utils import convert_unet_state_dict_to_peft

    most = per_level if isinstance(per_level, int) else max(per_level)
    halves = {
        f"lora_unet_{name}.lora_{half}.weight": torch.zeros(1, 1)
        for half in ("down", "up")
    }
    try:
        found, *_ = StableDiffusionXLLoraLoaderMixin.lora_state_dict(
            halves, unet_config=SimpleNamespace(layers_per_block=most)
        )
    except (ValueError, IndexError):
        return ""
    down, _ = convert_unet_state_dict_to_peft(found)
    return down.removeprefix("unet.").removesuffix(".lora_A.weight")


def _layers(model: nn.Module) -> dict[str, str]:
    """Return the names of all modules with weights of their own, by these names with
    dots as underscores, without the outer name of a text encoder."""
    return {
        name.removeprefix("text_model.").replace(".", "_"): name
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    }


def _misfit(spec: LoraSpec, reason: str) -> ModelError:
    return _refused(
        spec.model, f"does not fit: {reason}. Use a LoRA made for this model."
    )


def _refused(id: str, said: str) -> ModelError:
    return ModelError("loras", f"{shorten(id)} {said}")


def _read(id: str) -> tuple[Tensors, Values]:
    """Read a LoRA, and peft's configuration of it."""
    tensors: Tensors = {}
    facts: Values = {}
    for path in with_shards(find_lora(id), "loras"):
        with opened(path, "loras", id, "pt") as file:
            # before anything is read, as a large file may be no LoRA
            names, facts = _checked(file, path, id)
            for key in names:
                with about("loras"):
                    check_numbers(file, key, shorten(id), key.endswith(".alpha"))
                tensors[key] = file.get_tensor(key)
    if not tensors:
        raise _refused(id, "is empty. Download it again.")
    for key, tensor in tensors.items():
        wide = tensor if tensor.itemsize == 8 else tensor.float()
        if not tensor.numel() or not wide.isfinite().all():
            said = f"has NaN or Inf, or no numbers, in ...{key[-60:]!r}"
            raise _refused(id, f"{said}. Download it again.")
        tensors[key] = wide
    return tensors, facts


def _facts(path: Path, id: str, metadata: Mapping[str, str]) -> Values:
    """Read peft's configuration, from the file beside a LoRA or from its metadata."""
    beside = path.with_name(PEFT_CONFIG)
    with about("loras"):
        if path.name == PEFT_FILE and beside.exists():
            facts = read_json(beside, f"{shorten(id)}: {beside.name}")
        else:
            facts = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    for key in metadata:
        if key.rpartition(".")[2] in _SIZES:
            said = f"says {shorten(key)} in its header"
            raise _refused(id, f"{said}, which is not read. {instead('lora_alpha')}")
    names = [
        name
        for key, pattern in facts.items()
        if key.endswith("_pattern")
        for name in pattern or ()
    ]
    kind = facts.get("peft_type", "LORA")
    start = str(facts.get("init_lora_weights")).lower()
    # peft takes names for regular expressions
    if (
        kind not in ("LORA", "LOHA", "LOKR")
        or start.startswith(_OTHER_STARTS)
        or facts.get("layer_replication")
        or not all(re.fullmatch(r"\^?[\w.]+", name) for name in names)
    ):
        raise _refused(
            id,
            f"is of a kind of peft that is not read ({PEFT_CONFIG}). Convert it to an "
            "ordinary LoRA with peft.",
        )
    return facts


def check_lora(path: Path) -> None:
    """Refuse a file that is no LoRA, by its head alone; a ModelError says what it is."""
    with opened(path, "loras", path.name, "pt") as file:
        _checked(file, path, path.name)


def _checked(file: Any, path: Path, id: str) -> tuple[list[str], Values]:
    """Return the names of the tensors of an opened file, and peft's configuration of
    it; a ModelError if it is no LoRA, or one that peft cannot read."""
    facts = _facts(path, id, file.metadata() or {})
    names = [*file.keys()]
    for key in names:
        *_, role = _role(key, id)
        if role.startswith(("hada_", "lokr_")) and not facts:
            said = f"has {role}, but no configuration of peft"
            raise _refused(id, f"{said}. {instead('LyCORIS')}")
    return names, facts


def _role(key: str, id: str) -> tuple[str, str, str]:
    """Return the prefix and the layer of a tensor, and its role."""
    known = key
    for old, new in _OLD.items():
        known = re.sub(old, new, known)
    for end, role in _ENDS.items():
        match = re.fullmatch(f"{_PREFIX}(.*?){end}", known)
        if match and "motion_modules" not in key:
            return match[1], match[2], role or match[3]
    raise _refused(id, f"has ...{key[-40:]!r}, which is not read. {instead('LyCORIS')}")
