"""A picture adapter on a model: pictures as tokens, and what they add to a
cross-attention layer.

IP-Adapter, Ye et al. 2023, arXiv:2308.06721, Eq. 5: attention to the tokens of a
picture, by keys and values of their own, is added to the attention to the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.errors import ModelError, shorten
from regrain.editing.media.images import shown, thing
from regrain.editing.models.backbone import Backbone, misfit
from regrain.editing.models.files.location import PictureSpec
from regrain.editing.models.pictures.encoder import Pair, PictureEncoder
from regrain.editing.models.pictures.picture_file import FIELD, PictureFile
from regrain.editing.models.pictures.picture_heads import of_reader
from regrain.editing.models.weights.tensors import identity_of
from regrain.editing.storage.by_name import Weights

_PALETTE = 128  # pixels a side of what colours are read from
Half = Literal["uncond", "cond"]
KeysValues = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class SeenPicture:
    """A picture as it was read.

    Attributes:
        asked: The part of the request that names it.
        scale: Weight of its term in attention.
        fingerprint: Of its file: colours are read from more of it than the model sees.
        tokens: Its tokens, and those of no picture.
    """

    asked: PictureSpec
    scale: float
    fingerprint: str
    tokens: Pair


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a run, and the weights by which layers read them.

    Attributes:
        seen: The pictures that act.
        weights: Keys and values of each cross-attention layer, by its name.
        fingerprint: Of the adapter.
        warnings: Parts of pictures that were left out.
    """

    seen: Sequence[SeenPicture]
    weights: Mapping[str, KeysValues]
    fingerprint: str
    warnings: Sequence[str]
    _known: dict[tuple[str, str, int], KeysValues] = field(default_factory=dict)
    _palettes: dict[int, Float[Tensor, "places c"]] = field(default_factory=dict)

    @property
    def key(self) -> list[object]:
        """Identifies adapter and pictures, for cache keys."""
        pictures = [
            [seen.asked.name, seen.fingerprint, seen.scale] for seen in self.seen
        ]
        return [self.fingerprint, *pictures]

    def term(
        self,
        q: Float[Tensor, "rows heads tokens dim"],
        layer: str,
        half: Half,
        number: int,
    ) -> Float[Tensor, "rows heads tokens dim"]:
        """Attend from a layer's queries to the tokens of a picture, at scale 1."""
        place = (layer, half, number)
        if place not in self._known:  # [1, heads, tokens, dim], computed once
            given, empty = self.seen[number].tokens
            tokens = empty if half == "uncond" else given
            k, v = (F.linear(tokens, weight) for weight in self.weights[layer])
            heads = (q.shape[1], -1)
            k, v = (x.unflatten(-1, heads).transpose(1, 2) for x in (k, v))
            self._known[place] = k, v
        k, v = self._known[place]
        rows = (len(q), -1, -1, -1)
        return attention(q, k.to(q).expand(rows), v.to(q).expand(rows))

    def palette(self, number: int, backbone: Backbone) -> Float[Tensor, "places c"]:
        """Return the latents of a picture, of its opaque places alone."""
        if number not in self._palettes:
            asked = self.seen[number].asked
            colors, opaque = thing(asked.path, _PALETTE, asked.field)
            latents = backbone.encode(colors[None])
            shares = F.adaptive_avg_pool2d(
                torch.from_numpy(opaque)[None], latents.shape[2:]
            )
            shares = shares.flatten()
            self._palettes[number] = (
                latents[0].flatten(1).T[shares >= 0.9 * shares.max()]
            )
        return self._palettes[number]


def load_pictures(
    id: str, asked: Sequence[PictureSpec], backbone: Backbone
) -> Pictures | None:
    """Read pictures by an adapter for a model; None if all scales are 0.

    Raises:
        ModelError: The adapter or its encoder is missing or does not fit.
        RequestError: A picture cannot be read.
    """
    if "image_unet" not in backbone.offers:
        raise ModelError(
            FIELD,
            f"{shorten(backbone.id)} cannot see pictures. Use a Stable Diffusion "
            "or SDXL model, or words.",
        )
    wide = backbone.unet.config.cross_attention_dim
    file = PictureFile(id, wide)
    if file.cross != wide:
        said = f"it reads text of {file.cross} numbers, the model {wide}"
        raise misfit(FIELD, id, backbone, said)
    _ = file.encoder  # which must fit, too, before any weights are read

    tensors = file.read()
    weights = _by_layer(file, tensors, backbone)
    reader = of_reader(tensors)
    encoder = PictureEncoder(file, reader, backbone.device, backbone.dtype)
    seen = []
    warnings: list[str] = []
    for one in asked:
        scale = file.scale if one.scale is None else one.scale
        if scale:
            picture = shown(one.path, encoder.side, one.field, warnings.append)
            digest = hashlib.sha256(one.path.read_bytes()).hexdigest()
            seen.append(SeenPicture(one, scale, digest, encoder.tokens(picture)))
    if not seen:
        return None
    return Pictures(seen, weights, identity_of(tensors), warnings)


def _by_layer(
    file: PictureFile, tensors: Weights, backbone: Backbone
) -> dict[str, KeysValues]:
    """Sort keys and values by layer.

    In files they have odd numbers, in the order of the model's processors, those of the
    middle block last.
    """
    unet = backbone.unet
    processors = [name.removesuffix(".processor") for name in unet.attn_processors]
    layers = [
        name for name in processors if unet.get_submodule(name).is_cross_attention
    ]
    left = {name for name in tensors if name.startswith("ip_adapter.")}

    def take(key: str, shape: torch.Size) -> Tensor:
        if key not in left or tensors[key].shape != shape:
            raise misfit(FIELD, file.id, backbone, f"its {key}")
        left.remove(key)
        return tensors[key].to(backbone.device, backbone.dtype)

    weights = {}
    for number, layer in enumerate(layers):
        own = unet.get_submodule(f"{layer}.to_k")
        shape = torch.Size((own.out_features, own.in_features))
        prefix = f"ip_adapter.{2 * number + 1}"
        k = take(f"{prefix}.to_k_ip.weight", shape)
        v = take(f"{prefix}.to_v_ip.weight", shape)
        weights[layer] = (k, v)
    if left:
        raise misfit(FIELD, file.id, backbone, f"its {min(left)}")
    return weights
