"""A CLIP model (Radford et al. 2021, arXiv:2103.00020) that tells how near pictures are
to phrases, and maybe how cleanly they are drawn. Importing this module loads no
torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, Field

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.media.lazy_frames import Rgb
from regrain.editing.models.files.configs import read_config, read_json
from regrain.editing.models.files.download import READER_FILES, obtain
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.location import (
    BUILT_IN_MODEL,
    BUILT_IN_READER,
    about,
)
from regrain.editing.models.files.words import read_groups, with_article
from regrain.editing.storage.local_models import ASSETS
from regrain.editing.storage.safetensors_files import (
    TRANSFORMERS,
    read_weights,
    weight_files,
)

if TYPE_CHECKING:
    import torch
    from transformers import CLIPImageProcessor, CLIPModel, PreTrainedTokenizerBase

    Loaded = tuple[CLIPModel, CLIPImageProcessor, PreTrainedTokenizerBase]

FIELD = "reader"
CONFIG = "config.json"
_ORDER = {"input_data_format": "channels_last", "return_tensors": "pt"}
_LARGEST = 1024  # pixels a side of what a model sees


class Rule(BaseModel):
    """When a region is there, as rule.json beside the weights says it.

    Attributes:
        margin: Mean cosine, above that of the best other phrase, that is needed.
        frames: Share of frames that is needed; None is more than half.
        clear: Mean score of `CropReader.clear` that is needed.
        mush: Mean score below which nothing is there, whatever it is nearest to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    margin: float = 0.0
    frames: float | None = Field(None, gt=0, le=1)
    clear: float = 0.0
    mush: float = 0.0

    def holds(
        self, share: float, margin: float, clear: float | None = None
    ) -> bool | None:
        """Tell whether a region is there, by its share of frames, its mean margin and, if
        that is known, how clear it is; None where the margin is too small, or it is
        neither clear nor mush."""
        enough = share > 0.5 if self.frames is None else share >= self.frames
        clear = 1.0 if clear is None else clear
        if not enough or clear < self.mush:
            return False
        return (margin >= self.margin and clear >= self.clear) or None


class CropReader:
    """A CLIP model as it is in a folder; its weights are read by `cosines` and kept
    only as long as this.

    Attributes:
        id: Its name, as it was asked for.
        rule: When a region is there.
        kinds, places: Phrases that it knows beside what a request names, such as "a fox"
            and "the grass".
        styles: Words that it cannot tell, such as "pencil" for "in pencil".
    """

    def __init__(self, id: str) -> None:
        """Find a model, and read what is beside its weights.

        Raises:
            ModelError: It is missing, a pickle, or no CLIP model.
        """
        self.id = id
        with about(FIELD):
            self._folder = obtain(id, BUILT_IN_READER, READER_FILES)
            if self._folder.is_file():
                raise ModelError(
                    FIELD, f"{shorten(id)} is a file. Use the folder of a CLIP model."
                )
            kind = read_config(self._folder / CONFIG, id, FIELD).get("model_type")
            if kind != "clip" or not weight_files(self._folder, TRANSFORMERS):
                raise ModelError(
                    FIELD,
                    f"{shorten(id)} has no CLIP model with .safetensors weights. Use "
                    "the folder of one.",
                )
            groups = read_groups(self._folder) or {}
            if not groups and id == BUILT_IN_READER:
                groups = facts_of(BUILT_IN_MODEL).groups or {}
            rule = self._folder / "rule.json"
            self.rule = Rule()
            if rule.exists():
                said = "rule.json has other values than margin, frames, clear and mush. Correct it."
                with boundary(FIELD, said, ModelError):
                    self.rule = Rule.model_validate(read_json(rule, rule.name))
        known = {title.lower(): words for title, words in groups.items()}
        self.kinds = [with_article(noun) for noun in known.get("kinds", ())]
        self.places = [
            re.sub("^(in|on|at) ", "", text) for text in known.get("places", ())
        ]
        self.styles = known.get("styles", ())

    def check(self) -> None:
        """Ask it once, about a small picture on the processor.

        Raises:
            ModelError: It cannot do its work.
        """
        import torch

        crops = [np.zeros((8, 8, 3), np.uint8)]
        self.cosines(crops, ["a"], torch.device("cpu"))
        self.clear(crops, torch.device("cpu"))

    def cosines(
        self,
        crops: Sequence[Rgb],
        phrases: Sequence[str],
        device: torch.device,
    ) -> Float32[np.ndarray, "crops phrases"]:
        """Return the cosine of each picture and each phrase.

        Raises:
            ModelError: The files cannot be loaded, or memory does not suffice.
        """
        import torch

        model, pictures, texts = self._loaded
        said = f"{shorten(self.id)} does not fit into memory, or its own files."
        with boundary(FIELD, f"{said} Use another.", ModelError), torch.no_grad():
            most = model.text_model.config.max_position_embeddings
            how = {"padding": True, "truncation": True, "max_length": most}
            words = texts([*phrases], return_tensors="pt", **how)
            seen = pictures([*crops], **_ORDER).to(device)
            found = model.to(device)(**words.to(device), **seen)
            return (found.image_embeds @ found.text_embeds.T).cpu().numpy()

    def clear(self, crops: Sequence[Rgb], device: torch.device) -> float | None:
        """Return how surely pictures are drawn cleanly, 0 to 1 in the mean; None if nothing
        beside the weights can tell.

        Raises:
            ModelError: The files cannot be loaded, or memory does not suffice.
        """
        import torch
        from transformers.models.clip.modeling_clip import CLIPForImageClassification

        pictures = self._loaded[1]
        folder = self._folder / "clear"
        if not folder.is_dir():
            return None
        with about(FIELD):
            critic = read_weights(
                CLIPForImageClassification, folder, self.id, torch.float32
            )
        said = "The reader's folder clear/ does not fit the reader. Remove that folder."
        with boundary(FIELD, said, ModelError), torch.no_grad():
            seen = pictures([*crops], **_ORDER).to(device)
            return float(critic.to(device)(**seen).logits.sigmoid().mean())

    @cached_property
    def _loaded(self) -> Loaded:
        """The model, and what makes tensors of pictures and of texts."""
        import torch
        from transformers.models.clip.image_processing_clip import CLIPImageProcessor
        from transformers.models.clip.modeling_clip import CLIPModel

        from regrain.editing.models.weights.folder import read_tokenizer

        with about(FIELD):
            model = read_weights(CLIPModel, self._folder, self.id, torch.float32)
            texts = read_tokenizer(self._folder, self.id)
        said = f"{shorten(self.id)} has no preprocessor_config.json that fits. Add it."
        with boundary(FIELD, said, ModelError):
            pictures = CLIPImageProcessor.from_pretrained(self._folder)
            sides = {**dict(pictures.size), **dict(pictures.crop_size or {})}
            if max(filter(None, sides.values())) > _LARGEST:
                raise ValueError(sides)
        return cast("CLIPModel", model.eval()), pictures, texts


def reader_of(asked: str, model: str) -> str:
    """Return the name of what looks at an edit: what was asked for or, of the built-in
    model, its own, if that is here; empty for nothing."""
    if asked or model != BUILT_IN_MODEL:
        return asked
    return BUILT_IN_READER if (ASSETS / BUILT_IN_READER).is_dir() else ""
