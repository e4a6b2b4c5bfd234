"""Models: what a recipe needs of one, and how an id becomes one.

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

from editing.errors import ModelError, shorten
from editing.local_models import MODELS_VARIABLE, find_local, local_entries

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from editing.attention.sites import Grid, Site
    from editing.backbones.patches import Change
    from editing.diffusion import Schedule, Step
    from editing.text import Text

logger = logging.getLogger(__name__)

ASSETS = Path(__file__).parents[2] / "assets"
# The model that comes with the program, and its control network.
BUILT_IN = ("storybook", "storybook/canny")
KEPT_IN_MEMORY = 2
_MAX_LORA = 4.0
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
    schedule: "Schedule"
    sites: "tuple[Site, ...]"
    device: "torch.device"
    dtype: "torch.dtype"

    @property
    def fingerprint(self) -> str:
        """Tells its weights from any others; what is cached is kept under it."""
        ...

    def fit(self, width: int, height: int, size: int | None = None) -> tuple[int, int]:
        """The size to work at for a clip of this size."""
        ...

    def grid(self, frames: int, height: int, width: int) -> "Grid":
        """The grid of the latents of a clip of this working size in pixels."""
        ...

    def encode(self, frames: "np.ndarray") -> "Tensor":
        """Frames uint8 [f, h, w, 3] to latents."""
        ...

    def decode(self, latents: "Tensor") -> "np.ndarray":
        """Latents to frames uint8 [f, h, w, 3]."""
        ...

    def embed(self, prompts: Sequence[str], fields: Sequence[str] | None = None) -> "Text":
        """Prompts to vectors; errors name the field each stands in."""
        ...

    def check_prompts(self, prompts: Sequence[str], fields: Sequence[str]) -> object:
        """Refuse prompts that cannot be encoded, by their fields; nothing is encoded yet."""
        ...

    def halves_fit(self, frames: int, height: int, width: int) -> bool:
        """Whether both halves of guidance fit into one call; height and width in latents."""
        ...

    def predict(
        self, x: "Tensor", step: "Step", text: "Text", change: "Change" = ..., *, recompute: bool = False
    ) -> "tuple[Tensor, Tensor]":
        """What the model makes of noisy latents: (x0, eps)."""
        ...


@dataclass(frozen=True)
class Source:
    """Where a model's weights are: a diffusers folder, one .safetensors file, or a repository on the hub."""

    kind: Literal["folder", "file", "hub"]
    location: str


@dataclass(frozen=True)
class LoraSpec:
    """A LoRA file: hub id, name in $REGRAIN_MODELS, folder or file, and a factor on what it changes."""

    model: str
    weight: float = 1.0


def parse_lora(text: str) -> LoraSpec:
    """Read `FILE@WEIGHT`; the weight, -4 to 4, may be left out.

    Raises:
        ModelError: Another form, or a weight out of range.
    """
    match = re.fullmatch(r"\s*([^@]+?)\s*(?:@\s*(-?\d*\.?\d+)\s*)?", text)
    if not match or abs(float(match[2] or 1)) > _MAX_LORA:
        allowed = f"allowed is FILE@WEIGHT with a weight of {-_MAX_LORA:g} to {_MAX_LORA:g}"
        raise ModelError("loras", f"{shorten(text)} was given; {allowed}; change it")
    return LoraSpec(match[1], float(match[2] or 1))


def find(id: str, config: str = _UNET) -> Source:
    """Find a model by id without loading anything; a tenth of a second at most.

    In this order: what is built in; a name in the folder $REGRAIN_MODELS (".safetensors" may be left out);
    a path; a hub id "owner/name". A folder is one that holds `config`.

    Raises:
        ModelError: Nothing by that id, or a file that could run code when opened.
    """
    if id in BUILT_IN:
        return _check(ASSETS / id, id, config)
    if Path(id).suffix.lower() in _PICKLES:
        raise ModelError(
            "model", f"{id!r} is a pickle, which can run code when opened; use its .safetensors version"
        )
    if path := find_local(id, ".safetensors"):
        return _check(path, id, config)
    if id and os.path.exists(id):  # unlike Path.exists, quiet about impossible names
        return _check(Path(id), id, config)
    if _HUB_ID.fullmatch(id):
        return Source("hub", id)
    raise ModelError(
        "model",
        f"{id!r} is not known; give storybook, a hub id like owner/name, a name in ${MODELS_VARIABLE}, "
        "a diffusers folder or a .safetensors file that exists",
    )


def on_shelf() -> list[str]:
    """Names of the models in $REGRAIN_MODELS: diffusers folders, .safetensors files that are not RAFT's."""
    return [
        entry.name
        for entry in local_entries()
        if (entry / "unet" / "config.json").is_file()
        or (entry.suffix.lower() == ".safetensors" and not entry.name.startswith("raft_"))
    ]


def _check(path: Path, id: str, config: str) -> Source:
    if path.is_file():
        if path.suffix.lower() != ".safetensors":
            raise ModelError(
                "model", f"{id!r} is not a .safetensors file; only those and diffusers folders are opened"
            )
        return Source("file", str(path.resolve()))
    # Other families of models have no UNet; `family_of` tells what they are.
    names = (config, "model_index.json") if config == _UNET else (config,)
    if not any((path / name).is_file() for name in names):
        raise ModelError("model", f"{id!r} holds no {config}; give a diffusers folder or a .safetensors file")
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
    """Load a model, or return the one already loaded; the last two stay in memory, shared by all callers.

    Args:
        id: See `find`.
        loras: Files to add, `FILE@WEIGHT`; part of the model's identity. See `lora.add_loras`.
        device: Default: the first CUDA device, else the CPU.
        dtype: Default: float16 on CUDA; elsewhere float32 where it fits, else bfloat16.
    Raises:
        ModelError: Unknown id, missing or unsafe weights, an architecture that is not Stable Diffusion 1.x or
            2.x, a hub that cannot be reached, a gated repository, a LoRA that does not fit.
    """
    source = find(id)
    key = (source, tuple(loras), str(device), str(dtype))
    with _loading:
        if key not in _loaded:
            from editing.backbones.loading import load

            while len(_loaded) >= KEPT_IN_MEMORY:
                _loaded.popitem(last=False)
            _loaded[key] = load(source, id, loras, device=device, dtype=dtype)
        _loaded.move_to_end(key)
        return _loaded[key]
