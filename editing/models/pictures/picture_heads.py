"""Heads of picture adapters: their kind by the names of their weights, and their
encoder's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeVar

from regrain.editing.errors import ModelError, shorten
from regrain.editing.media.lazy_frames import Numbers

T = TypeVar("T")
FIELD = "picture_adapter"
ENCODER = "image_encoder"
# The width of the text of models that published adapters are made for: Stable Diffusion
# and SDXL.
SEEING = (768, 2048)
FACES = "needs faces found by InsightFace, whose models are for research alone"
Kind = Literal["plain", "plus", "full", "drawn"]
_OWN = "image_proj."  # of the weights that make tokens of a picture
_KEYS_AND_VALUES = re.compile(r"ip_adapter\.\d+\.to_[kv]_ip\.weight")
# Of each kind, a weight that the kinds after it do not have.
_TOLD_BY: dict[Kind, str] = {
    "plain": "proj.weight",
    "drawn": "reader.0.weight",
    "plus": "latents",
    "full": "proj.3.weight",
}
# And the weight whose last side is as wide as the encoder.
_AS_WIDE: dict[Kind, str] = {
    "plain": "proj.weight",
    "drawn": "proj_in.weight",
    "plus": "proj_in.weight",
    "full": "proj.0.weight",
}

# And what its tokens are made by.
_RESAMPLED = (
    r"((proj_in|proj_out|norm_out|reader\.\d+|layers\.\d+\.1\.[013]"
    r"|layers\.\d+\.0\.(norm[12]|to_(q|kv|out)))\.(weight|bias))|latents|places"
)
_READ: dict[Kind, str] = {
    "plain": r"(proj|norm)\.(weight|bias)",
    "drawn": _RESAMPLED,
    "plus": _RESAMPLED,
    "full": r"proj\.[023]\.(weight|bias)",
}


class Head(NamedTuple):
    """Facts of an adapter, from the names and shapes of its weights."""

    kind: Kind
    width: int  # of what the encoder gives
    cross: int  # width of the text that the model reads

    @property
    def encodes(self) -> str:
        """The setting of an encoder that says how wide it is."""
        return "projection_dim" if self.kind == "plain" else "hidden_size"


def of_reader(facts: Mapping[str, T]) -> dict[str, T]:
    """Return facts of the weights that make tokens of a picture, by their names in
    what reads it, from those of all weights of an adapter."""
    return {
        name.removeprefix(_OWN): fact
        for name, fact in facts.items()
        if name.startswith(_OWN)
    }


def read_head(id: str, shapes: Mapping[str, Numbers]) -> Head:
    """Recognise an adapter by the names and shapes of its weights.

    Raises:
        ModelError: It is none, or of a kind that is not supported.
    """
    own = of_reader(shapes)
    if "perceiver_resampler.proj_in.weight" in own or own.keys() >= {
        "norm.weight",
        "proj.0.weight",
    }:
        raise ModelError(
            FIELD, f"{shorten(id)} {FACES}. Use a plain, Plus or Full face adapter."
        )
    told = (kind for kind, key in _TOLD_BY.items() if key in own)
    kind = next(told, None)
    read = [name for name in shapes if _KEYS_AND_VALUES.fullmatch(name)]
    if kind is None or _AS_WIDE[kind] not in own or not read:
        raise ModelError(
            FIELD, f"{shorten(id)} is not a picture adapter. Use an IP-Adapter."
        )
    *_, cross = shapes[read[0]]
    read += [_OWN + name for name in own if re.fullmatch(_READ[kind], name)]
    for name in shapes:
        if name not in read:
            raise ModelError(
                FIELD, f"{shorten(id)} has {shorten(name)}. Use a plain IP-Adapter."
            )
    *_, width = own[_AS_WIDE[kind]]
    return Head(kind, width, cross)
