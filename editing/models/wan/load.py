"""Wan's folders, on disk or from the hub. Safetensors only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn

from regrain.editing.diffusion.flow import FlowSchedule
from regrain.editing.errors import shorten
from regrain.editing.models.files.config_keys import (
    class_in_index,
)
from regrain.editing.models.files.configs import TransformerConfig, wan_factor
from regrain.editing.models.files.facts import EXPERTS, LEVELS, ModelFacts
from regrain.editing.models.files.offers import CONTROLLED, WAN, Family
from regrain.editing.models.files.schedulers import shift_of
from regrain.editing.models.wan.condition import channels_of
from regrain.editing.models.wan.experts import (
    check_alike,
    high_from,
    loras_of,
    notes_on,
)
from regrain.editing.models.wan.model import Wan
from regrain.editing.models.wan.network import read_network
from regrain.editing.models.wan.packed_text import read_packed_encoder
from regrain.editing.models.wan.text import PromptReader
from regrain.editing.models.weights.folder import (
    check_fit,
    check_folders,
    read_tokenizer,
)
from regrain.editing.models.weights.lora import add_loras
from regrain.editing.models.weights.small import EightBitLinear, PackedLinear
from regrain.editing.storage.memory import (
    bytes_of,
    count_weights,
    free_memory,
    takes_turns,
    weights_dtype,
)
from regrain.editing.storage.safetensors_files import (
    packed_file,
    read_weights,
    state_of,
)
from regrain.editing.storage.texts import Json

_TEXT = "text_encoder"
_PARTS = ("vae", _TEXT, "tokenizer", "scheduler")
_SHIFT = 3.0  # as the 1.3B model is sampled at 480 pixels


def load_wan(
    facts: ModelFacts,
    loras: Sequence[str],
    device: torch.device,
    dtype: torch.dtype | None,
) -> Wan:
    """Load Wan 2.1 or 2.2, or a VACE of it.

    Raises:
        ModelError: A part or some of its weights are missing, or its parts do not fit
            together.
    """
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    id = facts.id
    folder = facts.folder
    named = [part for part in EXPERTS if class_in_index(facts.index, part)]
    check_folders(folder, _PARTS if facts.source.file else (*named, *_PARTS), id)
    level = high_from(facts)
    network_config = _check_configs(facts)
    notes = facts.notes(loras, "flow", False)
    notes += notes_on(loras, facts.networks)
    facts.config(LEVELS)  # which must be there
    dtype = dtype or _usual_dtype(facts, device)
    text_dtype = dtype if dtype != torch.float64 else torch.float32
    reader = _prompt_reader(facts, text_dtype)
    networks = _read_networks(facts, network_config, device, dtype)
    for part, network in networks.items():
        own = loras_of(part, loras, facts.networks)
        add_loras(own, {"transformer": network})
    family = facts.family or Family("Wan", WAN)
    for part, files in facts.files.items():
        said = f"{files[-1].title} is read as {family.title}"
        notes.append(said + _understood(facts, networks[part]))
    autoencoder = read_weights(AutoencoderKLWan, folder / "vae", id, torch.float32)
    weights = bytes_of(networks | {"vae": autoencoder})
    packed = packed_file(folder / _TEXT, id)
    weights[_TEXT] = (
        packed.stat().st_size
        if packed
        else text_dtype.itemsize * count_weights(folder / _TEXT)
    )
    return Wan(
        id=id,
        networks=networks,
        vae=autoencoder,
        reader=reader,
        schedule=FlowSchedule(shift_of(facts.scheduler) or _SHIFT),
        device=device,
        dtype=dtype,
        high_from=level,
        sample_size=network_config.get("sample_size"),
        defaults=facts.recommended(loras),
        takes_turns=takes_turns(device, weights, free_memory(device)),
        notes=tuple(notes),
        loras=tuple(loras),
        offers=family.offers,
    )


def _usual_dtype(facts: ModelFacts, device: torch.device) -> torch.dtype:
    """Return the precision of the weights where nobody asks for one: on a GPU the one in
    which they were trained."""
    if device.type != "cpu":
        return torch.bfloat16
    numbers = 0
    for part in facts.networks:
        for one in facts.files.get(part, ()):
            numbers += sum(map(prod, one.shapes.values()))
        if part not in facts.files:
            numbers += count_weights(facts.folder / part)
    return weights_dtype(device, numbers, free_memory(device))


def _prompt_reader(facts: ModelFacts, dtype: torch.dtype) -> PromptReader:
    """Return what encodes prompts; its weights are not read yet."""
    from transformers import AutoTokenizer
    from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

    tokenizer = read_tokenizer(facts.folder / "tokenizer", facts.id, AutoTokenizer)
    folder = facts.folder / _TEXT
    load = partial(read_weights, UMT5EncoderModel, folder, facts.id, dtype)
    if packed := packed_file(folder, facts.id):
        config = facts.known_config(f"{_TEXT}/config.json")
        load = partial(read_packed_encoder, packed, config, dtype)
    identity = repr([(size, date) for _, size, date in state_of(folder)])
    return PromptReader(tokenizer, load, identity, facts.words)


def _read_networks(
    facts: ModelFacts, config: Json, device: torch.device, dtype: torch.dtype
) -> dict[str, nn.Module]:
    """Read the transformers, by their folders."""
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
    from diffusers.models.transformers.transformer_wan_vace import (
        WanVACETransformer3DModel,
    )

    is_controlled = config.get("_class_name") == CONTROLLED
    kind = WanVACETransformer3DModel if is_controlled else WanTransformer3DModel
    has_small = device.type != "mps"  # as PyTorch has it
    networks = {}
    for part in facts.networks:
        files = facts.files.get(part)
        if files:
            network = read_network(kind, config, files, dtype, has_small)
        else:
            network = read_weights(kind, facts.folder / part, facts.id, dtype)
        networks[part] = network
    return networks


def _check_configs(facts: ModelFacts) -> Json:
    """Read the configurations of the parts, check that the parts fit together, and
    return that of the transformers."""
    network, *_ = [facts.known_config(f"{part}/config.json") for part in facts.networks]
    check_alike(facts)
    config = TransformerConfig.model_validate(network)
    vae = facts.known_config("vae/config.json")
    text = facts.known_config(f"{_TEXT}/config.json")
    colours = 3 * (vae.get("patch_size") or 1) ** 2
    fits = {
        f"{key} and patch_size of vae/": vae.get(key, 3) == colours
        for key in ("in_channels", "out_channels")
    }
    latents, width = config.in_channels, config.text_dim
    fits["z_dim of vae/, in_channels of transformer/"] = vae.get("z_dim", 16) == latents
    read = text.get("d_model")
    fits["d_model of text_encoder/, text_dim of transformer/"] = read == width
    if network.get("_class_name") == CONTROLLED:
        shown = channels_of(latents, wan_factor(vae))
        fits["vace_in_channels and in_channels of transformer/, stages of vae/"] = (
            config.vace_in_channels == shown
        )
    check_fit(facts.id, fits)
    return network


def _understood(facts: ModelFacts, network: nn.Module) -> str:
    """Say what files with the names of Wan's authors were taken for."""
    config: Any = network.config
    width = config.num_attention_heads * config.attention_head_dim
    said = f": {config.num_layers} layers of width {width}"
    if "vace_layers" in config:
        said += f", control blocks after {shorten(config.vace_layers)}"
    small = {type(layer): layer for layer in network.modules()}
    if EightBitLinear in small:
        said += ", in 8 bits, in 16 where a LoRA changes them"
    if PackedLinear in small:
        said += ", packed, in 16 bits where a LoRA changes them"
    return f"{said}. Its other parts are those of {shorten(facts.folder.name)}."
