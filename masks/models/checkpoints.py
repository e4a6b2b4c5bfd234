"""Published SAM 2 and SAM 3 checkpoints in the folder $REGRAIN_MODELS: config.json,
safetensors, processor.

A folder answers clicks and may follow masks through a clip, with one set of weights.
Transformers and torch are imported when a network is first loaded.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, Literal, NamedTuple

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.storage.devices import choose_device
from regrain.editing.storage.local_models import find_local, local_entries
from regrain.editing.storage.memory import count_weights
from regrain.editing.storage.safetensors_files import (
    LOADING,
    read_weights,
    state_of,
    without_marks,
)
from regrain.editing.storage.texts import read_text

logger = logging.getLogger(__name__)


class Kind(NamedTuple):
    """Abilities of a type of checkpoint: prefixes of classes in transformers, None
    where it lacks one."""

    clicks: str
    tracking: str | None


Use = Literal["clicks", "tracking"]
"""Answering points, boxes and masks on a frame; following masks through a clip."""


KINDS = {  # by `model_type` of config.json
    "sam2": Kind("Sam2", None),
    "sam2_video": Kind("Sam2", "Sam2Video"),
    "sam3_tracker": Kind("Sam3Tracker", None),
    "sam3_tracker_video": Kind("Sam3Tracker", "Sam3TrackerVideo"),
    "sam3_video": Kind("Sam3Tracker", "Sam3TrackerVideo"),
}
# A network for video does what the one for pictures does, with these parts of it.
_SHARED = (
    "shared_image_embedding",
    "vision_encoder",
    "prompt_encoder",
    "mask_decoder",
    "no_memory_embedding",
)
_CONFIGS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk; nothing of it is loaded.

    Attributes:
        name: Of its folder in $REGRAIN_MODELS.
        folder: Where it is.
        kind: Its abilities.
        side: Pixels of the square in which it sees a frame; 1024 where the folder does
            not say.
        parameters: Numbers in its weights.
    """

    name: str
    folder: Path
    kind: Kind
    side: int
    parameters: int


def title_of(name: str) -> str:
    """Return the title of a checkpoint: `sam2.1-hiera-tiny` is "SAM 2.1 tiny"; other
    names stay."""
    title = re.sub(r"^sam", "SAM ", name.replace("hiera-", ""), flags=re.IGNORECASE)
    if title == name:
        return name
    return " ".join(re.split(r"[-_ ]+", title))


class Network(NamedTuple):
    """A network and what prepares its inputs, both of transformers."""

    model: Any
    processor: Any


def checkpoints() -> list[Checkpoint]:
    """Return the checkpoints in $REGRAIN_MODELS that this module can load, the smallest
    first."""
    found = []
    for folder in local_entries():
        try:
            found.append(read(folder))
        except ModelError:  # other models, and broken folders, which `find` explains
            continue
    return sorted(
        found, key=lambda checkpoint: (checkpoint.parameters, checkpoint.name)
    )


def find(name: str) -> Checkpoint | None:
    """Find a checkpoint by its name in $REGRAIN_MODELS; None if there is no folder with
    a config.json.

    Raises:
        ModelError: The folder holds another model, or is damaged.
    """
    folder = find_local(name)
    return read(folder) if folder and is_published(folder) else None


def is_published(folder: Path) -> bool:
    """Tell whether a folder has the published layout, whatever its model."""
    return os.path.isfile(folder / "config.json")  # unlike Path.is_file, does not raise


def read(folder: Path) -> Checkpoint:
    """Read the description of a checkpoint's folder.

    Raises:
        ModelError: It has no such model, no safetensors, or is damaged.
    """
    return _read(folder, state_of(folder))


@lru_cache(maxsize=64)
def _read(folder: Path, _state: object) -> Checkpoint:
    """Read a folder; `_state` is that of its files, which the cache compares."""
    name = folder.name
    weights = sorted(folder.glob("*.safetensors"))
    said = f"{name!r} has no config.json with a model_type. Download the model again."
    with boundary("model", said, ModelError):
        config = json.loads(read_text(folder / "config.json"))
        stated = str(config["model_type"])
    if stated not in KINDS:
        raise ModelError(
            "model",
            f"{name!r} is {shorten(stated)} in transformers' form, which is not read. Use "
            f"{', '.join(KINDS)}, or for the first SAM sam_vit_b_01ec64.pth.",
        )
    kind = KINDS[stated]
    if not weights:
        raise ModelError(
            "model", f"{name!r} has no .safetensors weights. Download the model again."
        )
    try:
        parameters = sum(map(count_weights, weights))
    except ModelError as error:
        raise ModelError("model", f"{name!r}: {error.message}") from error
    tracker = config.get("tracker_config") or config
    prompts = tracker.get("prompt_encoder_config") or {}
    side = prompts.get("image_size") or tracker.get("image_size") or 1024
    side = int(side[0] if isinstance(side, list) else side)
    return Checkpoint(name, folder, kind, side, parameters)


def load(checkpoint: Checkpoint, use: Use) -> Network:
    """Load the network for a use, and keep it for the process.

    Raises:
        ModelError: The checkpoint is not made for it, or is broken.
    """
    prefix = getattr(checkpoint.kind, use)
    if prefix is None:
        raise ModelError(
            "model", f"{checkpoint.name!r} is not made for {use}. Choose another model."
        )
    with _loading:
        if use == "clicks" and checkpoint.kind.tracking:
            return _clicks_of(checkpoint, load(checkpoint, "tracking"))
        folder = checkpoint.folder
        return _loaded(folder, state_of(folder), prefix)


def is_loaded(checkpoint: Checkpoint) -> bool:
    """Tell whether a network of a checkpoint is in memory."""
    return checkpoint.folder in _in_memory


_loading = RLock()
_in_memory: set[Path] = set()


@lru_cache(maxsize=3)
def _loaded(folder: Path, _state: object, prefix: str) -> Network:
    import torch
    import transformers

    began = time.perf_counter()
    model_class = getattr(transformers, f"{prefix}Model")
    processor_class = getattr(transformers, f"{prefix}Processor")
    model = read_weights(model_class, folder, folder.name, torch.float32)
    said = (
        f"{folder.name!r} lacks files of its processor, such as processor_config.json. "
        "Download the model again."
    )
    with boundary("model", said, ModelError), without_marks(folder) as place:
        processor = processor_class.from_pretrained(place, local_files_only=True)
    model = model.eval().requires_grad_(False).to(choose_device())
    _in_memory.add(folder)
    logger.info("loaded %sModel in %.1f s", prefix, time.perf_counter() - began)
    return Network(model, processor)


@lru_cache(maxsize=2)
def _clicks_of(checkpoint: Checkpoint, video: Network) -> Network:
    """Make the network for pictures from one for video: the same weights, in memory
    once."""
    import torch
    import transformers

    model_class = getattr(transformers, f"{checkpoint.kind.clicks}Model")
    processor_class = getattr(transformers, f"{checkpoint.kind.clicks}Processor")
    configs = {part: getattr(video.model.config, part).to_dict() for part in _CONFIGS}
    with LOADING, torch.device("meta"):
        model = model_class(model_class.config_class(**configs))
    for part in _SHARED:
        setattr(model, part, getattr(video.model, part))
    processor = processor_class(
        video.processor.image_processor, target_size=video.processor.target_size
    )
    return Network(model.eval(), processor)
