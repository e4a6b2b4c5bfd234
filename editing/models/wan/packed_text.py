"""The text encoder of Wan, umT5, from a file of packed weights."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.weights.small import PackedLinear
from regrain.editing.storage.by_name import Tensors
from regrain.editing.storage.packed import PackedTensor, check_scales, read_packed
from regrain.editing.storage.ready import check_finite
from regrain.editing.storage.safetensors_files import LOADING, check_read
from regrain.editing.storage.texts import Json

_KIND = "t5encoder"
# What such a file says of its network, and what config.json calls that; nothing of what
# an encoder alone does not read.
_SETTINGS = {
    "embedding_length": "d_model",
    "feed_forward_length": "d_ff",
    "block_count": "num_layers",
    "vocab_size": "vocab_size",
    "attention.head_count": "num_heads",
    "attention.key_length": "d_kv",
    "attention.value_length": "d_kv",
    "attention.relative_buckets_count": "relative_attention_num_buckets",
    "attention.layer_norm_rms_epsilon": "layer_norm_epsilon",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
    "context_length": "",
    "decoder_start_token_id": "",
}


def read_packed_encoder(path: Path, config: Json, dtype: torch.dtype) -> nn.Module:
    """Read umT5's encoder, whose linear layers stay packed.

    Args:
        path: The file, with the names that `gguf` has for an encoder of T5.
        config: Its config.json.
        dtype: Of all other weights.
    Raises:
        ModelError: The file is damaged, says something else than `config`, or lacks
            weights.
    """
    from gguf import MODEL_ARCH, get_tensor_name_map
    from transformers.models.umt5.configuration_umt5 import UMT5Config
    from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

    title = shorten(path.name)
    settings = {f"{_KIND}.{key}": name for key, name in _SETTINGS.items()}
    tensors, texts = read_packed(path, (_KIND,), settings)
    with LOADING, init_empty_weights():
        network = UMT5EncoderModel(UMT5Config(**config))
    for key, name in settings.items():
        if name and key in texts:
            _check_setting(title, key, texts[key], getattr(network.config, name))
    names = get_tensor_name_map(MODEL_ARCH.T5ENCODER, network.config.num_layers)
    weights: Tensors = {}
    missing = []
    for name in network.state_dict():
        theirs = names.get_name(name, try_suffixes=(".weight",)) or name
        tensor = tensors.pop(theirs, None)
        if tensor is None and name != "encoder.embed_tokens.weight":
            missing.append(name)
        elif tensor is not None:
            check_scales(tensor, theirs, title)
            weights[name] = _placed(network, name, tensor, dtype)
    check_read(missing, title)
    if tensors:
        said = f"{title} has {shorten(min(tensors), 90)}, which nothing here reads"
        raise ModelError("model", f"{said}. Use another file.")
    with boundary("model", f"{title} is damaged. Download it again.", ModelError):
        network.load_state_dict(weights, strict=False, assign=True)
        network.encoder.set_input_embeddings(network.shared)
    check_finite(network, title)
    return network.eval().requires_grad_(False)


def _placed(
    network: nn.Module, name: str, tensor: PackedTensor, dtype: torch.dtype
) -> Tensor:
    """Return a weight as it is kept, and make room for one that stays packed."""
    place, _, _ = name.rpartition(".")
    layer = network.get_submodule(place)
    is_linear = type(layer) is nn.Linear and tensor.is_packed
    if not is_linear or tensor.shape != layer.weight.shape:
        return tensor.unpacked(dtype)
    network.set_submodule(place, PackedLinear(layer, tensor))
    return tensor.stored()


def _check_setting(title: str, key: str, found: str, expected: float) -> None:
    """Refuse a setting that config.json does not have."""
    if abs(float(found) - expected) > 1e-3 * expected:
        raise ModelError(
            "model",
            f"{title} says {key} {found}, but config.json {expected}. Use the file "
            "for that encoder.",
        )
