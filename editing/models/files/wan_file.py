"""Files of Wan's transformer with the names that its authors give to weights: what they
are, by names, types and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import TransformerConfig
from regrain.editing.models.files.offers import CONTROLLED, Family, check_family
from regrain.editing.storage.safetensors_files import read_shapes
from regrain.editing.storage.texts import Json

_BEGINNINGS = ("", "model.diffusion_model.", "diffusion_model.")
# A weight of every whole transformer, and one of everything with control blocks.
_WHOLE = "head.modulation"
_CONTROL = "vace_blocks.0.after_proj.weight"
_HEAD = 128  # width of a head of all that are published
_WAN_2_2 = re.compile(r"wan[-_. ]?2[-_. ]2|(high|low)[-_. ]?noise")
_COARSE = 48  # channels of the latents of Wan 2.2 with 5 billion weights
# Of other kinds, a piece of names of weights that only they have.
_OTHERS = {
    "img_emb.": "a Wan that reads a first picture (I2V)",
    "control_adapter.": "a Wan-Fun that a camera controls",
    "ref_conv.": "a Wan-Fun that reads a picture",
    "face_adapter.": "Wan Animate",
    "casual_audio_encoder.": "Wan S2V, which reads sound",
    "audio_proj.": "a Wan that reads sound",
    "patch_embedding_pose.": "a Wan that reads poses",
    "weight_scale_2": "a Wan of 4 bits, nvfp4",
}
# Endings of its layers, dots as underscores, and what diffusers calls them.
_LAYERS = {
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
    "before_proj": "proj_in",
    "after_proj": "proj_out",
}


def layer_in_diffusers(name: str) -> str:
    """Return the name in diffusers' layout of a layer that may be named as by Wan's
    authors, dots as underscores in both."""
    for original, ours in _LAYERS.items():
        name = re.sub(rf"(^|_){original}$", rf"\1{ours}", name)
    return name


def weight_in_diffusers(name: str) -> str:
    """Return the name in diffusers' layout of a weight that may be named as by Wan's
    authors; the result has underscores for dots."""
    layer, _, end = name.rpartition(".")
    end = end.replace("modulation", "scale_shift_table")
    return f"{layer_in_diffusers(layer.replace('.', '_'))}_{end}".lstrip("_")


def beginning(names: Collection[str]) -> str | None:
    """Return how the names of tensors begin before those of Wan's authors, which is
    mostly empty; None if they are not theirs."""
    found = (
        start
        for start in _BEGINNINGS
        if not {start + _WHOLE, start + _CONTROL}.isdisjoint(names)
    )
    return next(found, None)


class WanFiles(NamedTuple):
    """The files of a transformer, or of control blocks alone.

    Attributes:
        paths: One, or the shards of one.
        start: See `beginning`.
        shapes: Of its tensors, by names without that beginning.
        metadata: Its texts by key.
        is_of_pair: Whether it lies in the folder of one of two experts.
    """

    paths: tuple[Path, ...]
    start: str | None
    shapes: Mapping[str, Sequence[int]]
    metadata: Mapping[str, str]
    is_of_pair: bool = False

    @property
    def title(self) -> str:
        """Its name in messages."""
        return shorten(self.paths[0].name)

    @property
    def is_whole(self) -> bool:
        """True if it has more than control blocks."""
        return _WHOLE in self.shapes

    @property
    def other_kind(self) -> Family | None:
        """Its kind, if that is not supported."""
        for piece, title in _OTHERS.items():
            if any(piece in name for name in self.shapes):
                return Family(f"{title} ({piece.strip('.')})")
        _, channels, *_ = [*self.shapes.get("patch_embedding.weight", ()), 0, 0]
        if channels == _COARSE:
            return Family("Wan 2.2 5B in a file of its own")
        said = any(_WAN_2_2.search(path.name.lower()) for path in self.paths)
        title = "by its name an expert of Wan 2.2 in a file of its own"
        return Family(title) if said and not self.is_of_pair else None


def read_wan(paths: Sequence[Path], is_of_pair: bool = False) -> WanFiles:
    """Read the heads of files; a ModelError if one is damaged."""
    shapes = {}
    metadata = {}
    for path in paths:
        found, texts = read_shapes(path, "transformer")
        shapes |= found
        metadata |= texts
    start = beginning(shapes)
    named = {name.removeprefix(start or ""): shapes[name] for name in shapes}
    return WanFiles(tuple(paths), start, named, metadata, is_of_pair)


def config_of(parts: Sequence[WanFiles], told: Json) -> Json:
    """Return what transformer/config.json would say of files.

    Args:
        parts: A transformer, and control blocks alone that are added to it.
        told: What that file says, if there is one.
    Raises:
        ModelError: They are of a kind that is not supported, lack weights, do not fit
            together, or are not what `told` says.
    """
    added = parts[-1]
    for one in parts:
        check_family(one.other_kind, one.paths[0].name if one.paths else "")
    shapes = {name: shape for one in parts for name, shape in one.shapes.items()}
    with boundary(
        "model", f"{added.title} is not a whole Wan. Download it again.", ModelError
    ):
        found = _whole(shapes) if _WHOLE in shapes else {}
        if not added.is_whole:
            told = {**told, "_class_name": CONTROLLED}
        config = TransformerConfig.model_validate(told | found)
        width = config.num_attention_heads * config.attention_head_dim
        blocks = count_parts(shapes, "vace_blocks.")
        if blocks:
            own, channels, *_ = shapes["vace_patch_embedding.weight"]
            step = max(1, config.num_layers // blocks)
            layers = [*range(0, config.num_layers, step)]
            found |= {"vace_layers": layers, "vace_in_channels": channels}
            if len(layers) != blocks or own != width:
                raise ModelError(
                    "model",
                    f"{added.title} has {blocks} control blocks for a width of {own}, "
                    f"but there are {config.num_layers} layers of {width}. Use the "
                    "file for that size.",
                )
    for key in told.keys() & found.keys():
        if told[key] != found[key]:
            raise ModelError(
                "model",
                f"{added.title} has {key} {found[key]}, but config.json says "
                f"{shorten(told[key])}. Remove config.json.",
            )
    return told | found


def _whole(shapes: Mapping[str, Sequence[int]]) -> Json:
    """Return what a whole transformer's configuration would say, by the shapes of its
    weights."""
    *_, width = shapes[_WHOLE]
    _, channels, *patch = shapes["patch_embedding.weight"]
    is_controlled = _CONTROL in shapes
    return {
        "_class_name": CONTROLLED if is_controlled else "WanTransformer3DModel",
        "num_attention_heads": width // _HEAD,
        "attention_head_dim": _HEAD,
        "in_channels": channels,
        "out_channels": shapes["head.head.weight"][0] // prod(patch),
        "patch_size": patch,
        "num_layers": count_parts(shapes, "blocks."),
        "ffn_dim": shapes["blocks.0.ffn.0.weight"][0],
        "text_dim": shapes["text_embedding.0.weight"][1],
        "freq_dim": shapes["time_embedding.0.weight"][1],
    }


def count_parts(names: Collection[str], start: str) -> int:
    """Count the numbered parts whose names begin so."""
    inside = [name.removeprefix(start) for name in names if name.startswith(start)]
    return len({name.split(".")[0] for name in inside})
