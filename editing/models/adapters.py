"""Adapters: the weights tuned on one clip, as files, and the facts by which a wrong one
is refused.

A .safetensors file with the tuned weights alone; its header says what they belong to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, RequestError, ResourceError, shorten
from regrain.editing.media.lazy_frames import Numbers, RgbFrames, Size, evenly
from regrain.editing.models.files.location import check_packed
from regrain.editing.storage.folders import replacing
from regrain.editing.storage.local_models import (
    MODELS_VARIABLE,
    absent,
    find_local,
    local_entries,
)
from regrain.editing.storage.packages import program
from regrain.editing.storage.safetensors_files import opened

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone, Shapes
    from regrain.editing.storage.by_name import Weights

_KEY = "regrain_adapter"
_LONGEST_NAME = 100
_SAME = 0.005  # most by which sketches of the same weights differ
_SAME_CLIP = 1.0  # and those of the same clip, of 255
MOST_LEARNED = 32  # frames on which a model is tuned
_SHOWN, _CELLS = 4, 4  # frames of a clip in its sketch, and cells per side of each


class AdapterFacts(BaseModel):
    """Facts of an adapter: the model and clip it belongs to, and how it was made; its
    file's header.

    Attributes:
        sketch, clip: See `Backbone.sketch` and `clip_sketch`.
        width, height: Working size in pixels.
        words: The prompt it was tuned with, by the settings that follow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: int = Field(1, ge=1, le=1)
    name: str = Field("", max_length=_LONGEST_NAME)
    model: str = Field(max_length=1000)
    sketch: tuple[float, ...] = Field(max_length=64)
    clip: tuple[float, ...] = Field(max_length=64)
    frames: int = Field(ge=1)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    words: str = Field(max_length=10_000)
    steps: int = Field(ge=0)
    learning_rate: float
    seed: int
    joint_norm: Literal[True] = True
    positions: Literal[False] = False
    rank: int = Field(ge=0)


@dataclass(frozen=True, eq=False)
class Adapter:
    """Tuned weights by name, as in `editing.models.unet.temporal`, and their facts."""

    facts: AdapterFacts
    weights: Weights

    def digest(self, base: str) -> str:
        """Identify a model with this adapter; `base` is the model's fingerprint."""
        content = sha256(base.encode())
        for name, weight in sorted(self.weights.items()):
            numbers = weight.detach().float().cpu().numpy()
            content.update(name.encode() + numbers.tobytes())
        return content.hexdigest()


def save_adapter(adapter: Adapter, path: str | Path) -> None:
    """Write an adapter as a .safetensors file, completely or not at all.

    Raises:
        RequestError: The name does not end with .safetensors.
        ResourceError: The disk is full or cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    check_adapter_path(path)
    weights = {
        name: weight.detach().cpu().contiguous()
        for name, weight in adapter.weights.items()
    }
    try:
        with replacing(path) as partial:
            partial.write_bytes(save(weights, {_KEY: adapter.facts.model_dump_json()}))
    except OSError as error:
        raise ResourceError(
            "--out",
            f"{path.name!r} cannot be written ({error.strerror or error}). Free "
            "some space or choose another place; what was learned is kept.",
        ) from error


def check_adapter_path(path: Path) -> None:
    """Check that an adapter may be written to a path.

    Raises:
        RequestError: It is a folder, does not end with .safetensors, or is a file but
            no adapter; the field is `--out`.
    """
    if path.suffix != ".safetensors" or os.path.isdir(path):
        raise RequestError(
            "--out", f"{shorten(path.name)} must be a file that ends with .safetensors."
        )
    if os.path.isfile(path):  # maybe the model itself
        try:
            read_facts(path)
        except ModelError:
            said = f"{shorten(path.name)} exists, and is no adapter"
            raise RequestError("--out", f"{said}. Choose another name.") from None


def check_name(field: str, name: str) -> None:
    """Check that an adapter may be listed by a name; `field` is where it was given.

    Raises:
        RequestError: It is empty, too long, or has characters that cannot be seen.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise RequestError(
            field,
            f"Expected 1 to {_LONGEST_NAME} visible characters, got "
            f"{shorten(name)}. Choose another name.",
        )


def find_adapter(name: str) -> Path:
    """Find an adapter by its name in $REGRAIN_MODELS or its path.

    Raises:
        ModelError: There is none.
    """
    check_packed(name, "adapter")
    # With the ending first: a model of the same name is a folder.
    path = find_local(f"{name}.safetensors") or find_local(name) or Path(name)
    is_file = os.path.isfile(path)  # unlike Path.is_file, does not raise
    if is_file and path.suffix == ".safetensors":
        return path
    raise ModelError(
        "adapter",
        f"{shorten(name)} was not found. Give a .safetensors file made by "
        f"`{program()} tune`, or its name in ${MODELS_VARIABLE}.{absent()}",
    )


def read_facts(path: str | Path) -> AdapterFacts:
    """Read the facts of an adapter, from its header alone.

    Raises:
        ModelError: The file is not an adapter.
    """
    try:
        with opened(Path(path), "adapter", str(path)) as file:
            return AdapterFacts.model_validate(json.loads(file.metadata()[_KEY]))
    except ModelError:
        raise _not_an_adapter(path) from None


def load_adapter(path: str | Path) -> Adapter:
    """Load an adapter.

    Raises:
        ModelError: The file is not an adapter.
    """
    from safetensors.torch import load_file

    facts = read_facts(path)
    with boundary("adapter", _not_an_adapter(path).message, ModelError):
        weights = load_file(path)
    if not all(
        weight.is_floating_point() and weight.itemsize > 1
        for weight in weights.values()
    ):
        raise _not_an_adapter(path)
    # Copies: a mapped file can change, and CPU kernels round differently at unaligned
    # addresses.
    return Adapter(facts, {name: weight.clone() for name, weight in weights.items()})


def local_adapters() -> list[str]:
    """List the names of the adapters in $REGRAIN_MODELS."""
    names = []
    for entry in local_entries():
        if entry.suffix == ".safetensors" and entry.is_file():
            with suppress(ModelError):
                read_facts(entry)
                names.append(entry.stem)
    return names


def learned_frames(frames: int) -> Numbers:
    """Choose the frames of a clip on which a model is tuned: all, or 32 that are evenly
    spread."""
    return evenly(frames, MOST_LEARNED)


def check_frames(facts: AdapterFacts, frames: int) -> None:
    """Check that an adapter was tuned on as many frames as a clip of this length gives.

    Raises:
        ModelError: It was not.
    """
    if facts.frames != len(learned_frames(frames)):
        raise ModelError(
            "adapter",
            f"It was tuned on {facts.frames} frames, but the clip has {frames}. "
            f"Use {facts.frames} frames, or tune anew.",
        )


def check_fits(
    adapter: Adapter, backbone: Backbone, shapes: Shapes, size: Size
) -> None:
    """Check that an adapter was tuned on this model, of whose weights these shapes are
    tuned, and working size, (width, height) in pixels.

    Raises:
        ModelError: It was not; names what differs.
    """
    own = {name: tuple(weight.shape) for name, weight in adapter.weights.items()}
    if own != shapes:
        raise _other_model(adapter.facts, backbone)
    check_facts(adapter.facts, backbone, size)
    if not all(bool(weight.isfinite().all()) for weight in adapter.weights.values()):
        raise ModelError("adapter", "It contains NaN or Inf. Tune anew.")


def check_facts(facts: AdapterFacts, backbone: Backbone, size: Size) -> None:
    """Check an adapter as `check_fits` does, as far as its header goes."""
    if not _close(facts.sketch, backbone.sketch, _SAME):
        raise _other_model(facts, backbone)
    if (facts.width, facts.height) != size:
        raise ModelError(
            "adapter",
            f"It was tuned at {facts.width} x {facts.height} pixels, but the "
            f"working size is {size[0]} x {size[1]}. Set size to "
            f"{min(facts.width, facts.height)}, or tune anew.",
        )


def _other_model(facts: AdapterFacts, backbone: Backbone) -> ModelError:
    return ModelError(
        "adapter",
        f"It was tuned on {shorten(facts.model)}, not on these weights of "
        f"{shorten(backbone.id)}. Use that model with the same LoRAs, or tune "
        "anew.",
    )


def clip_sketch(
    frames: RgbFrames,
) -> tuple[float, ...]:
    """Return a few numbers that tell a clip from others: the brightness of 4 x 4 cells
    of four frames.

    Not a digest, since decoders on other machines round colours differently.
    """
    shown = np.linspace(0, len(frames) - 1, _SHOWN).round().astype(int)
    sketch = []
    for frame in frames[shown]:
        for row in np.array_split(frame, _CELLS):
            cells = np.array_split(row, _CELLS, 1)
            sketch += [round(float(cell.mean()), 3) for cell in cells]
    return tuple(sketch)


def is_of_clip(facts: AdapterFacts, frames: RgbFrames) -> bool:
    """Tell whether an adapter was tuned on these frames, at the working size."""
    return _close(facts.clip, clip_sketch(frames), _SAME_CLIP)


def _close(a: Sequence[float], b: Sequence[float], most: float) -> bool:
    return len(a) == len(b) and np.allclose(a, b, rtol=0, atol=most)


def _not_an_adapter(path: str | Path) -> ModelError:
    return ModelError(
        "adapter",
        f"{shorten(Path(path).name)} is not an adapter. Make one with "
        f"`{program()} tune`.",
    )
