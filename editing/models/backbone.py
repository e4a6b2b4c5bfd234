"""The protocol of a model, as recipes use it. Importing this module loads no torch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from regrain.editing.errors import ModelError, shorten
from regrain.editing.media.lazy_frames import Numbers, Size
from regrain.editing.storage.texts import Json, Values

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from regrain.editing.attention.layers import AttentionLayer, Grid
    from regrain.editing.diffusion.schedule import Prediction, Schedule, Step
    from regrain.editing.diffusion.text import PromptEmbedding
    from regrain.editing.models.files.offers import Beside
    from regrain.editing.models.files.schedulers import OtherScheduler
    from regrain.editing.models.intervention import Intervention


Shapes = dict[str, Numbers]
"""Shapes of weights by name."""


@runtime_checkable
class Backbone(Protocol):
    """A loaded model. Holds weights and facts, nothing about a run.

    Latents are float32 [(branch frame), channels, grid height, grid width]; those of a
    video model have a latent for the first frame and one for each further
    `frames_per_latent`. See `StableDiffusion` for units.
    """

    id: str
    size: int
    frames_per_latent: int
    multiple: int
    token_limit: int
    defaults: Mapping[str, Values]
    words: frozenset[str] | None
    few_step: str
    other_scheduler: "OtherScheduler | None"
    notes: tuple[str, ...]
    loras: tuple[str, ...]
    beside: "Beside"
    told_guidance: bool
    offers: frozenset[str]
    prediction: "Prediction"
    schedule: "Schedule"
    sites: "tuple[AttentionLayer, ...]"
    device: "torch.device"
    dtype: "torch.dtype"

    @property
    def fingerprint(self) -> str:
        """Identifies the weights; part of every cache key."""
        ...

    @property
    def sketch(self) -> tuple[float, ...]:
        """A few numbers by which adapters know the weights they were tuned on, in any
        dtype, anywhere."""
        ...

    def fit(self, width: int, height: int, size: int | None = None) -> Size:
        """Choose the working size for a clip of this size; both are (width, height) in
        pixels."""
        ...

    def grid(self, frames: int, height: int, width: int) -> "Grid":
        """Return the grid of the latents of a clip of this working size in pixels."""
        ...

    def encode(self, frames: "np.ndarray") -> "Tensor":
        """Encode frames, uint8 or, of an image model, also float32 [f, h, w, 3], 0..255,
        to latents."""
        ...

    def unscaled(self, latents: "Tensor") -> "Tensor":
        """Return latents as the autoencoder gives them, not scaled to unit
        deviation."""
        ...

    def decode(self, latents: "Tensor") -> "np.ndarray":
        """Decode latents to frames, uint8 [f, h, w, 3]."""
        ...

    def embed(
        self, prompts: Sequence[str], fields: Sequence[str] = ()
    ) -> "PromptEmbedding":
        """Encode prompts; errors name the field of each, by default `prompt`."""
        ...

    def check_prompts(self, prompts: Sequence[str], fields: Sequence[str]) -> object:
        """Refuse prompts that cannot be encoded, by their fields; nothing is encoded
        yet."""
        ...

    def read_by(self, x: "Tensor", text: "PromptEmbedding") -> Json:
        """Return the inputs of the network beside its latents `x`, by the name of the
        argument."""
        ...

    # Sizes in latents from here on.

    def activation_bytes(self, frames: int, height: int, width: int) -> int | None:
        """Return the memory of a call's activations in bytes, None if they do not fit
        until its backward pass."""
        ...

    def halves_fit(self, frames: int, height: int, width: int) -> bool:
        """Tell whether both halves of guidance fit into one call."""
        ...

    def window_frames(self, rows: int, height: int, width: int) -> int:
        """Choose how many frames of a long clip are edited together; see
        `storage.memory.window_frames`."""
        ...

    def predict(
        self,
        x: "Tensor",
        step: "Step",
        text: "PromptEmbedding",
        change: "Intervention" = ...,
        *,
        recompute: bool = False,
    ) -> "tuple[Tensor, Tensor]":
        """Predict (x0, eps) from noisy latents."""
        ...


def misfit(field: str, id: str, backbone: Backbone, reason: str) -> ModelError:
    """Return the error of what was made for another model."""
    return ModelError(
        field,
        f"{shorten(id)} does not fit {shorten(backbone.id)}: {reason}. Use one that was "
        "made for this model.",
    )
