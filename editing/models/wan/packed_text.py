"""The text encoder of Wan, umT5, from a file of packed weights."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import nn

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.weights.packed import fill
from regrain.editing.storage.packed import read_packed
from regrain.editing.storage.safetensors_files import LOADING
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
    tensors, texts = read_packed(path, "text_encoder", settings)
    with LOADING, init_empty_weights():
        network = UMT5EncoderModel(UMT5Config(**config))
    for key, name in settings.items():
        if name and key in texts:
            _check_setting(title, key, texts[key], getattr(network.config, name))
    known = get_tensor_name_map(MODEL_ARCH.T5ENCODER, network.config.num_layers)
    names = {
        name: known.get_name(name, try_suffixes=(".weight",)) or name
        for name in network.state_dict()
        if name != "encoder.embed_tokens.weight"  # which is that of `shared`
    }
    network.encoder.set_input_embeddings(network.shared)
    fill(network, tensors, names, path, dtype)
    return network


def _check_setting(title: str, key: str, found: str, expected: float) -> None:
    """Refuse a setting that config.json does not have."""
    if abs(float(found) - expected) > 1e-3 * expected:
        raise ModelError(
            "model",
            f"{title} says {key} {found}, but config.json {expected}. Use the file "
            "for that encoder.",
        )
