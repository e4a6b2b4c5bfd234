"""Pictures as a model sees them, and the few tokens that a picture adapter makes of them.

Ye et al. 2023, arXiv:2308.06721; the readers of its published files, by their names there.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.errors import ResourceError
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.location import about
from regrain.editing.models.pictures.picture_file import FIELD, PictureFile
from regrain.editing.models.unet.motion_modules import Weights, blocks, linear, normed
from regrain.editing.storage import cache
from regrain.editing.storage.memory import is_out_of_memory
from regrain.editing.storage.safetensors_files import read_weights

_HEAD = 64  # numbers of a head of the resampler
DRAWN = 64  # pixels a side that the reader of the built-in model's adapter sees
# Of the encoder's pictures (CLIP, Radford et al. 2021, arXiv:2103.00020).
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
Pair = tuple[Float[Tensor, "1 tokens cross"], Float[Tensor, "1 tokens cross"]]
"""The tokens of a picture, and those of no picture."""


class PictureEncoder:
    """Makes tokens of pictures; the image encoder is loaded when it is needed, released with this."""

    def __init__(
        self, file: PictureFile, weights: Weights, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Find the encoder; `weights` are those of `image_proj`.

        Raises:
            ModelError: There is none that fits.
        """
        self._file, self._folder = file, file.encoder
        self._place = {"device": device, "dtype": dtype}
        self._weights = {name: weight.to(**self._place) for name, weight in weights.items()}
        config = {} if self._folder is None else read_config(self._folder / "config.json", file.id)
        self.side = int(config.get("image_size", DRAWN))
        self._model = None

    def tokens(self, picture: UInt8[np.ndarray, "side side 3"]) -> Pair:
        """The tokens of a picture as `shown`, kept by fingerprints of file, encoder and picture."""
        files = [self._file.path, *(() if self._folder is None else sorted(self._folder.iterdir()))]
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        key = {
            "kind": "picture",
            "files": stats,
            "picture": picture.tobytes(),
            "how": repr(self._place),
        }
        kept = cache.load(key)
        if kept is None:
            given, empty = self._read(picture)
            kept = {"given": given.cpu(), "empty": empty.cpu()}
            cache.store(key, kept)
        return kept["given"].clone().to(**self._place), kept["empty"].clone().to(**self._place)

    @torch.no_grad()
    def _read(self, picture: UInt8[np.ndarray, "side side 3"]) -> Pair:
        pixels = rearrange(torch.from_numpy(picture.copy()), "h w c -> 1 c h w").float() / 255
        mean, deviation = (torch.tensor(x).view(3, 1, 1) for x in (_MEAN, _DEVIATION))
        pixels = (2 * pixels - 1 if self._folder is None else (pixels - mean) / deviation).to(
            **self._place
        )
        both = torch.cat([pixels, torch.zeros_like(pixels)])
        try:
            if self._folder is None:
                tokens = resampled(drawn(both, self._weights), self._weights)
            elif self._file.kind == "plain":
                embeds = self._loaded()(pixels).image_embeds
                tokens = projected(torch.cat([embeds, torch.zeros_like(embeds)]), self._weights)
            else:
                hidden = self._loaded()(both, output_hidden_states=True).hidden_states[-2]
                tokens = {"plus": resampled, "full": full}[self._file.kind](hidden, self._weights)
            return tokens[:1], tokens[1:]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            said = "Out of memory while a picture is read. Use a smaller adapter, or no pictures."
            raise ResourceError(FIELD, said) from error

    def _loaded(self) -> torch.nn.Module:
        if self._model is None:
            from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

            assert self._folder is not None
            kind, dtype = CLIPVisionModelWithProjection, self._place["dtype"]
            with about(FIELD):
                model = read_weights(kind, self._folder, self._file.id, dtype)
            self._model = model.eval().requires_grad_(False).to(self._place["device"])
        return self._model


def projected(
    embeds: Float[Tensor, "n width"], weights: Weights
) -> Float[Tensor, "n tokens cross"]:
    """Tokens of the plain kind, from the encoder's vector of a whole picture."""
    cross = len(weights["norm.weight"])
    return normed(linear(embeds, weights, "proj").unflatten(-1, (-1, cross)), weights, "norm")


def full(
    hidden: Float[Tensor, "n patches width"], weights: Weights
) -> Float[Tensor, "n patches cross"]:
    """Tokens of the Full face kind: one for each patch of the encoder."""
    return normed(
        linear(F.gelu(linear(hidden, weights, "proj.0")), weights, "proj.2"), weights, "proj.3"
    )


def resampled(
    hidden: Float[Tensor, "n patches width"], weights: Weights
) -> Float[Tensor, "n tokens cross"]:
    """Tokens of the Plus kind: learned queries that look at the patches, and at each other."""
    latents, seen = (
        weights["latents"].expand(len(hidden), -1, -1),
        linear(hidden, weights, "proj_in"),
    )
    for layer in range(blocks(weights, "layers.")):
        own, wide = f"layers.{layer}.0", f"layers.{layer}.1"
        asking = normed(latents, weights, f"{own}.norm2")
        both = torch.cat([normed(seen, weights, f"{own}.norm1"), asking], 1)
        k, v = linear(both, weights, f"{own}.to_kv").chunk(2, -1)
        q = linear(asking, weights, f"{own}.to_q")
        q, k, v = (x.unflatten(-1, (-1, _HEAD)).transpose(1, 2) for x in (q, k, v))
        latents = latents + linear(
            attention(q, k, v).transpose(1, 2).flatten(2), weights, f"{own}.to_out"
        )
        gelu = F.gelu(linear(normed(latents, weights, f"{wide}.0"), weights, f"{wide}.1"))
        latents = latents + linear(gelu, weights, f"{wide}.3")
    return normed(linear(latents, weights, "proj_out"), weights, "norm_out")


def drawn(
    pixels: Float[Tensor, "n 3 side side"], weights: Weights
) -> Float[Tensor, "n patches width"]:
    """What the reader of the built-in model's adapter makes of small pictures, -1 to 1: its patches."""
    numbers = (
        name.split(".")[1] for name in weights if name.endswith(".weight") and "reader" in name
    )
    for layer in sorted(map(int, numbers)):
        bias = weights[f"reader.{layer}.bias"]
        pixels = F.silu(
            F.conv2d(pixels, weights[f"reader.{layer}.weight"], bias, stride=2, padding=1)
        )
    return pixels.flatten(2).transpose(1, 2) + weights["places"]
