"""Models: the protocol that recipes use, and how to find and load one by id.

Importing this module loads no torch; `load_backbone` does.
"""

import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from editing.adapters import local_adapters
from editing.errors import ModelError, shorten
from editing.local_models import ASSETS, MODELS_VARIABLE, find_local, local_entries

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from editing.attention.sites import Grid, Site
    from editing.backbones.patches import Change
    from editing.diffusion import Prediction, Schedule, Step
    from editing.text import Text

logger = logging.getLogger(__name__)

# The model and the control network that ship with the code.
BUILT_IN_IDS = ("storybook", "storybook/canny")
KEPT_IN_MEMORY = 2
_MAX_LORA = 4.0
_MAX_TEXT = 1000  # characters of a model's id
_WEIGHT = r"-?(?=\.?\d)\d{0,6}(?:\.\d{1,20})?"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_UNET = "unet/config.json"
_PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}


@runtime_checkable
class Backbone(Protocol):
    """A loaded model. Holds weights and facts, nothing about a run.

    Latents are float32 [(branch frame), channels, grid height, grid width]. See `StableDiffusion` for units.
    """

    id: str
    size: int
    coarsest: int
    multiple: int
    token_limit: int
    defaults: Mapping[str, Mapping[str, object]]
    words: frozenset[str] | None
    offers: frozenset[str]
    prediction: "Prediction"
    schedule: "Schedule"
    sites: "tuple[Site, ...]"
    device: "torch.device"
    dtype: "torch.dtype"

    @property
    def fingerprint(self) -> str:
        """Identifies the weights; part of every cache key."""
        ...

    @property
    def sketch(self) -> tuple[float, ...]:
        """A few numbers by which adapters know the weights they were tuned on, in any dtype, anywhere."""
        ...

    def fit(self, width: int, height: int, size: int | None = None) -> tuple[int, int]:
        """Choose the working size for a clip of this size; both are (width, height) in pixels."""
        ...

    def grid(self, frames: int, height: int, width: int) -> "Grid":
        """The grid of the latents of a clip of this working size in pixels."""
        ...

    def encode(self, frames: "np.ndarray") -> "Tensor":
        """Encode frames, uint8 [f, h, w, 3], to latents."""
        ...

    def decode(self, latents: "Tensor") -> "np.ndarray":
        """Decode latents to frames, uint8 [f, h, w, 3]."""
        ...

    def embed(self, prompts: Sequence[str], fields: Sequence[str] | None = None) -> "Text":
        """Encode prompts; errors name the field of each."""
        ...

    def check_prompts(self, prompts: Sequence[str], fields: Sequence[str]) -> object:
        """Refuse prompts that cannot be encoded, by their fields; nothing is encoded yet."""
        ...

    def tunable_shapes(self, rank: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of those weights."""
        ...

    def untuned(self, rank: int, fresh: "torch.Generator") -> "dict[str, Tensor]":
        """The weights that Tune-A-Video tunes, before the first step; see `temporal.untuned`."""
        ...

    def activations_fit(self, frames: int, height: int, width: int) -> bool:
        """Whether all activations of a call fit until its backward pass; height and width in latents."""
        ...

    def activation_bytes(self, frames: int, height: int, width: int) -> int:
        """Memory of those activations in bytes."""
        ...

    def halves_fit(self, frames: int, height: int, width: int) -> bool:
        """Whether both halves of guidance fit into one call; height and width in latents."""
        ...

    def window_frames(self, rows: int, height: int, width: int) -> int:
        """How many frames of a long clip are edited together; see `editing.memory.window_frames`."""
        ...

    def predict(
        self, x: "Tensor", step: "Step", text: "Text", change: "Change" = ..., *, recompute: bool = False
    ) -> "tuple[Tensor, Tensor]":
        """Predict (x0, eps) from noisy latents."""
        ...


@dataclass(frozen=True)
class Source:
    """The location of a model: a diffusers folder, a .safetensors file, or a repository on the hub."""

    kind: Literal["folder", "file", "hub"]
    location: str


@dataclass(frozen=True)
class LoraSpec:
    """A LoRA file (hub id, name in $REGRAIN_MODELS, folder or file) and its weight, -4..4."""

    model: str
    weight: float = 1.0


def parse_lora(text: str) -> LoraSpec:
    """Read `FILE@WEIGHT`; the weight, -4 to 4, may be left out.

    Raises:
        ModelError: The text has another form, or the weight is out of range.
    """
    file, at, weight = (part.strip() for part in text.partition("@"))
    known = re.fullmatch(_WEIGHT, weight, re.ASCII) if at else True
    if not file or len(text) > _MAX_TEXT or not known or abs(float(weight or 1)) > _MAX_LORA:
        expected = f"FILE@WEIGHT with a weight from {-_MAX_LORA:g} to {_MAX_LORA:g}"
        raise ModelError("loras", f"Expected {expected}, got {shorten(text)}.")
    return LoraSpec(file, float(weight or 1))


def find(id: str, config: str = _UNET) -> Source:
    """Find a model by id without loading it; takes at most a tenth of a second.

    Tries, in this order: built-in models; a name in the folder $REGRAIN_MODELS (".safetensors" may be left
    out); a path; a hub id "owner/name". A folder must contain `config`.

    Raises:
        ModelError: The id is unknown, or the file could run code when opened.
    """
    if len(id) > _MAX_TEXT or not id.isprintable():
        raise ModelError("model", f"{shorten(id)} was not found. Use storybook, a hub id or a path.")
    if id in BUILT_IN_IDS:
        return _check(ASSETS / id, id, config)
    if Path(id).suffix.lower() in _PICKLES:
        raise ModelError(
            "model",
            f"{shorten(id)} is a pickle and could run code when opened. Use its .safetensors version.",
        )
    if path := find_local(id, ".safetensors"):
        return _check(path, id, config)
    if id and os.path.exists(id):  # unlike Path.exists, does not raise
        return _check(Path(id), id, config)
    if _HUB_ID.fullmatch(id):
        return Source("hub", id)
    raise ModelError(
        "model",
        f"{shorten(id)} was not found. Use storybook, a hub id like owner/name, a name in "
        f"${MODELS_VARIABLE}, a diffusers folder or a .safetensors file.",
    )


def on_shelf() -> list[str]:
    """Names of the models in $REGRAIN_MODELS: diffusers folders, .safetensors files with a whole model."""
    adapters = local_adapters()
    return [
        entry.name
        for entry in local_entries()
        if (entry / "unet" / "config.json").is_file()
        or (
            entry.suffix.lower() == ".safetensors"
            and not entry.name.startswith("raft_")
            and entry.stem not in adapters
        )
    ]


def _check(path: Path, id: str, config: str) -> Source:
    if path.is_file():
        if path.suffix.lower() != ".safetensors":
            raise ModelError(
                "model", f"{shorten(id)} is not a .safetensors file. Use one, or a diffusers folder."
            )
        return Source("file", str(path.resolve()))
    # Other families of models have no UNet; `family_of` tells what they are.
    names = (config, "model_index.json") if config == _UNET else (config,)
    if not any((path / name).is_file() for name in names):
        raise ModelError(
            "model", f"{shorten(id)} has no {config}. Use a diffusers folder or a .safetensors file."
        )
    return Source("folder", str(path.resolve()))


_loaded: OrderedDict[tuple, Backbone] = OrderedDict()
_loading = threading.Lock()


def load_backbone(
    id: str,
    loras: Sequence[str] = (),
    *,
    device: "str | torch.device | None" = None,
    dtype: "torch.dtype | None" = None,
) -> Backbone:
    """Load a model, or return the loaded one; the last two stay loaded and are shared by all callers.

    Args:
        id: See `find`.
        loras: Files to add, `FILE@WEIGHT`; part of the model's identity. See `lora.add_loras`.
        device: Default: the first CUDA device, else the CPU.
        dtype: Default: float16 on CUDA; elsewhere float32 if it fits, else bfloat16.
    Raises:
        ModelError: The id is unknown, weights are missing or unsafe, the architecture is not Stable Diffusion
            1.x or 2.x, the hub cannot be reached, the repository is gated, or a LoRA does not fit.
    """
    source = find(id)
    key = _key(source, loras, device, dtype)
    with _loading:
        if key not in _loaded:
            from editing.backbones.loading import load

            while len(_loaded) >= KEPT_IN_MEMORY:
                _loaded.popitem(last=False)
            _loaded[key] = load(source, id, loras, device=device, dtype=dtype)
        _loaded.move_to_end(key)
        return _loaded[key]


def loaded_backbone(id: str, loras: Sequence[str] = ()) -> Backbone | None:
    """The model that `load_backbone` would return without loading anything; None if it is not in memory.

    Raises:
        ModelError: The id is unknown.
    """
    return _loaded.get(_key(find(id), loras, None, None))


def _key(source: Source, loras: Sequence[str], device: object, dtype: object) -> tuple:
    return source, tuple(loras), str(device), str(dtype)
