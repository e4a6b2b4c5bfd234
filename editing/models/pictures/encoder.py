"""Pictures as a model sees them, and what its image encoder makes of them."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from regrain.editing.errors import ModelError, ResourceError
from regrain.editing.models.loading.configs import read_config
from regrain.editing.models.loading.picture_file import FIELD, PictureFile
from regrain.editing.models.pictures.tokens import Weights, drawn, full, projected, resampled
from regrain.editing.storage import cache
from regrain.editing.storage.memory import is_out_of_memory
from regrain.editing.storage.safetensors_files import read_weights

DRAWN = 64  # pixels a side that the reader of the built-in model's adapter sees
# Of the encoder's pictures (CLIP, Radford et al. 2021, arXiv:2103.00020).
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
Pair = tuple[Float[Tensor, "1 tokens cross"], Float[Tensor, "1 tokens cross"]]
"""The tokens of a picture, and those of no picture."""


class PictureEncoder:
    """Makes tokens of pictures; the image encoder is loaded when it is needed, released with this."""

    def __init__(self, file: PictureFile, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
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
        key = {"kind": "picture", "files": stats, "picture": picture.tobytes(), "how": repr(self._place)}
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
        pixels = (2 * pixels - 1 if self._folder is None else (pixels - mean) / deviation).to(**self._place)
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
            try:
                model = read_weights(kind, self._folder, self._file.id, dtype)
            except ModelError as error:
                raise ModelError(FIELD, error.message) from error
            self._model = model.eval().requires_grad_(False).to(self._place["device"])
        return self._model
