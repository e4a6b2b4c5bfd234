"""A picture adapter on a model: pictures as tokens, and what they add to a cross-attention layer.

IP-Adapter, Ye et al. 2023, arXiv:2308.06721, Eq. 5: attention to the tokens of a picture, by keys and values
of their own, is added to the attention to the text.
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
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.files.location import PictureSpec
from regrain.editing.models.pictures.encoder import Pair, PictureEncoder
from regrain.editing.models.pictures.picture_file import FIELD, PictureFile

# InstantStyle, Wang et al. 2024, arXiv:2404.02733: the blocks of SDXL that carry looks and places.
_BLOCKS = {"style": "up_blocks.0.attentions.1.", "layout": "down_blocks.2.attentions.1."}
_PALETTE = 128  # pixels a side of what colours are read from
Half = Literal["uncond", "cond"]


@dataclass(frozen=True, eq=False)
class SeenPicture:
    """A picture as it was read.

    Attributes:
        asked: What named it. scale: The scale that it has.
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
        warnings: What was left out.
    """

    seen: Sequence[SeenPicture]
    weights: Mapping[str, tuple[Tensor, Tensor]]
    fingerprint: str
    warnings: Sequence[str] = ()
    _known: dict[tuple[str, str, int], tuple[Tensor, Tensor]] = field(default_factory=dict)
    _palettes: dict[int, Float[Tensor, "places c"]] = field(default_factory=dict)

    @property
    def key(self) -> list[object]:
        """All that an edit depends on."""
        return [self.fingerprint, *([p.asked.name, p.fingerprint, p.scale] for p in self.seen)]

    def term(
        self, q: Float[Tensor, "rows heads tokens dim"], layer: str, half: Half, number: int
    ) -> Float[Tensor, "rows heads tokens dim"]:
        """What a layer's queries find in a picture, at scale 1."""
        if (at := (layer, half, number)) not in self._known:
            tokens = self.seen[number].tokens[half == "uncond"]
            found = (
                F.linear(tokens, w).unflatten(-1, (q.shape[1], -1)) for w in self.weights[layer]
            )
            self._known[at] = tuple(x.transpose(1, 2) for x in found)
        k, v = (x.to(q).expand(len(q), -1, -1, -1) for x in self._known[at])
        return attention(q, k, v)

    def palette(self, number: int, backbone: Backbone) -> Float[Tensor, "places c"]:
        """The latents of a picture, of its opaque places alone."""
        if number not in self._palettes:
            asked = self.seen[number].asked
            colors, opaque = thing(asked.path, _PALETTE, asked.field)
            latents = backbone.encode(colors[None])
            cells = F.adaptive_avg_pool2d(
                torch.from_numpy(opaque)[None], latents.shape[2:]
            ).flatten()
            self._palettes[number] = latents[0].flatten(1).T[cells >= 0.9 * cells.max()]
        return self._palettes[number]

    def acting(self, blocks: str) -> frozenset[str]:
        """The layers that see pictures: all, or those of the blocks of style or of layout."""
        start = _BLOCKS.get(blocks, "")
        return frozenset(name for name in self.weights if name.startswith(start))


def load_pictures(
    id: str, asked: Sequence[PictureSpec], backbone: Backbone, blocks: str = "all"
) -> Pictures | None:
    """Read pictures by an adapter for a model; None if all scales are 0.

    Raises:
        ModelError: The adapter or its encoder is missing or does not fit, or the model has no such blocks.
        RequestError: A picture cannot be read.
    """
    if "image_unet" not in backbone.offers:
        said = f"{shorten(backbone.id)} cannot see pictures"
        raise ModelError(FIELD, f"{said}. Use a Stable Diffusion or SDXL model, or words.")
    wide = backbone.unet.config.cross_attention_dim
    file = PictureFile(id, wide)
    if file.cross != wide:
        raise _misfit(file, backbone, f": it reads text of {file.cross} numbers, the model {wide}")
    names = [site.name for site in backbone.sites if site.kind == "cross"]
    if blocks != "all" and not all(
        any(n.startswith(start) for n in names) for start in _BLOCKS.values()
    ):
        said = (
            f"{shorten(backbone.id)} has no blocks of {blocks}. Choose all, or use an SDXL model."
        )
        raise ModelError("params.picture_blocks", said)
    _ = file.encoder  # which must fit, too, before any weights are read
    tensors = file.read()
    weights, warnings = _by_layer(file, tensors, backbone), list[str]()
    reader = {
        n.removeprefix("image_proj."): w for n, w in tensors.items() if n.startswith("image_proj.")
    }
    encoder, seen = PictureEncoder(file, reader, backbone.device, backbone.dtype), []
    for one in asked:
        scale = file.scale if one.scale is None else one.scale
        if scale:
            picture = shown(one.path, encoder.side, one.field, warnings.append)
            of_file = hashlib.sha256(one.path.read_bytes()).hexdigest()
            seen.append(SeenPicture(one, scale, of_file, encoder.tokens(picture)))
    sums = [(name, float(tensor.double().sum())) for name, tensor in sorted(tensors.items())]
    fingerprint = hashlib.sha256(repr(sums).encode()).hexdigest()
    return Pictures(seen, weights, fingerprint, warnings) if seen else None


def _by_layer(
    file: PictureFile, tensors: Mapping[str, Tensor], backbone: Backbone
) -> dict[str, tuple[Tensor, Tensor]]:
    """Keys and values by layer: odd numbers count those of the model's processors, the middle the last."""
    unet, weights = backbone.unet, {}
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    names = [name for name in names if unet.get_submodule(name).is_cross_attention]
    left = {name for name in tensors if name.startswith("ip_adapter.")}
    for number, name in enumerate(names):
        shape, found = unet.get_parameter(f"{name}.to_k.weight").shape, []
        for key in (f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight" for part in "kv"):
            if key not in left or tensors[key].shape != shape:
                raise _misfit(file, backbone, f" at {key}")
            left.remove(key)
            found.append(tensors[key].to(backbone.device, backbone.dtype))
        weights[name] = tuple(found)
    if left:
        raise _misfit(file, backbone, f" at {min(left)}")
    return weights


def _misfit(file: PictureFile, backbone: Backbone, reason: str) -> ModelError:
    said = f"{shorten(file.id)} does not fit {shorten(backbone.id)}{reason}"
    return ModelError(FIELD, f"{said}. Use an adapter made for this model.")
