"""Pictures as a model sees them, and the few tokens that a picture adapter makes of
them.

Ye et al. 2023, arXiv:2308.06721; the readers of its published files, by their names
there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.media.images import Square
from regrain.editing.models.files.location import about
from regrain.editing.models.pictures.picture_file import FIELD, PictureFile
from regrain.editing.models.unet.motion_modules import Weights, blocks, normed
from regrain.editing.models.unet.temporal import linear
from regrain.editing.storage import cache
from regrain.editing.storage.safetensors_files import read_weights, state_of

_HEAD = 64  # numbers of a head of the resampler
# Mean and deviation of the encoder's pictures (CLIP, Radford et al. 2021,
# arXiv:2103.00020), and of those that the built-in model's adapter reads.
_CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
_DRAWN = ([0.5], [0.5])
Pair = tuple[Float[Tensor, "1 tokens cross"], Float[Tensor, "1 tokens cross"]]
"""The tokens of a picture, and those of no picture."""


class PictureEncoder:
    """Makes tokens of pictures; the image encoder is loaded when it is needed, released
    with this.

    Attributes:
        side: Height and width in pixels of the pictures that it reads.
    """

    def __init__(
        self,
        file: PictureFile,
        weights: Weights,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Find the encoder; `weights` are those of `image_proj`.

        Raises:
            ModelError: There is none that fits.
        """
        self._file = file
        self._folder = file.encoder
        self._place = {"device": device, "dtype": dtype}
        self._weights = {
            name: weight.to(**self._place) for name, weight in weights.items()
        }
        self.side = file.side
        self._model = None

    def tokens(self, picture: Square) -> Pair:
        """Return the tokens of a picture as `shown`, cached by file, encoder and
        picture."""
        places = [self._file.path, self._folder]
        key = {
            "kind": "picture",
            "files": [state_of(place) for place in places if place],
            "picture": picture.tobytes(),
            "how": repr(self._place),
        }
        kept = cache.load(key)
        if kept is None:
            given, empty = self._read(picture)
            kept = {"given": given.cpu(), "empty": empty.cpu()}
            cache.store(key, kept)
        given, empty = (
            kept[name].clone().to(**self._place) for name in ("given", "empty")
        )
        return given, empty

    @torch.no_grad()
    def _read(self, picture: Square) -> Pair:
        from torchvision.transforms.functional import normalize

        pixels = rearrange(torch.from_numpy(picture.copy()), "h w c -> 1 c h w") / 255
        pixels = normalize(pixels, *(_CLIP if self._folder else _DRAWN))
        pixels = pixels.to(**self._place)
        said = f"{shorten(self._file.id)} cannot read a picture. Use another adapter."
        with boundary(FIELD, said, ModelError):
            tokens = self._tokens_of(pixels)
        return tokens[:1], tokens[1:]

    def _tokens_of(
        self, pixels: Float[Tensor, "1 3 side side"]
    ) -> Float[Tensor, "2 tokens cross"]:
        """Compute the tokens of a picture, and of no picture."""
        if self._file.kind == "plain":
            embeds = self._loaded()(pixels).image_embeds
            return projected(
                torch.cat([embeds, torch.zeros_like(embeds)]), self._weights
            )
        both = torch.cat([pixels, torch.zeros_like(pixels)])
        if self._file.kind == "drawn":
            return resampled(drawn(both, self._weights), self._weights)
        hidden = self._loaded()(both, output_hidden_states=True).hidden_states[-2]
        if self._file.kind == "plus":
            return resampled(hidden, self._weights)
        return full(hidden, self._weights)

    def _loaded(self) -> torch.nn.Module:
        if self._model is None:
            from transformers.models.clip.modeling_clip import (
                CLIPVisionModelWithProjection,
            )

            assert self._folder is not None
            kind = CLIPVisionModelWithProjection
            dtype = self._place["dtype"]
            with about(FIELD):
                model = read_weights(kind, self._folder, self._file.id, dtype)
            self._model = model.eval().requires_grad_(False).to(self._place["device"])
        return self._model


def projected(
    embeds: Float[Tensor, "n width"], weights: Weights
) -> Float[Tensor, "n tokens cross"]:
    """Compute tokens of the plain kind, from the encoder's vector of a whole
    picture."""
    cross = len(weights["norm.weight"])
    tokens = linear(embeds, weights, "proj").unflatten(-1, (-1, cross))
    return normed(tokens, weights, "norm")


def full(
    hidden: Float[Tensor, "n patches width"], weights: Weights
) -> Float[Tensor, "n patches cross"]:
    """Compute tokens of the Full face kind: one for each patch of the encoder."""
    wide = F.gelu(linear(hidden, weights, "proj.0"))
    return normed(linear(wide, weights, "proj.2"), weights, "proj.3")


def resampled(
    hidden: Float[Tensor, "n patches width"], weights: Weights
) -> Float[Tensor, "n tokens cross"]:
    """Compute tokens of the Plus kind: learned queries that look at the patches, and at
    each other."""
    latents = weights["latents"].expand(len(hidden), -1, -1)
    patches = linear(hidden, weights, "proj_in")
    for layer in range(blocks(weights, "layers.")):
        # from the queries to the patches and to the queries
        own = f"layers.{layer}.0"
        asking = normed(latents, weights, f"{own}.norm2")
        shown = normed(patches, weights, f"{own}.norm1")
        both = torch.cat([shown, asking], 1)
        keys_values = linear(both, weights, f"{own}.to_kv")
        k, v = keys_values.chunk(2, -1)
        q = linear(asking, weights, f"{own}.to_q")
        heads = [x.unflatten(-1, (-1, _HEAD)).transpose(1, 2) for x in (q, k, v)]
        seen = attention(*heads)
        seen = seen.transpose(1, 2).flatten(2)
        latents = latents + linear(seen, weights, f"{own}.to_out")
        own = f"layers.{layer}.1"
        entering = normed(latents, weights, f"{own}.0")
        wide = linear(entering, weights, f"{own}.1")
        latents = latents + linear(F.gelu(wide), weights, f"{own}.3")
    tokens = linear(latents, weights, "proj_out")
    return normed(tokens, weights, "norm_out")


def drawn(
    pixels: Float[Tensor, "n 3 side side"], weights: Weights
) -> Float[Tensor, "n patches width"]:
    """Make patches of small pictures, -1 to 1: the reader of the built-in model's
    adapter."""
    names = [name for name in weights if name.endswith(".weight") and "reader" in name]
    for layer in sorted(int(name.split(".")[1]) for name in names):
        weight = weights[f"reader.{layer}.weight"]
        bias = weights[f"reader.{layer}.bias"]
        pixels = F.silu(F.conv2d(pixels, weight, bias, stride=2, padding=1))
    return pixels.flatten(2).transpose(1, 2) + weights["places"]
