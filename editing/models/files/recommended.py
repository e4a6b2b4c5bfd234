"""The settings that suit a model with its LoRA files, known before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from regrain.editing.errors import ModelError
from regrain.editing.models.files.configs import read_config, read_defaults
from regrain.editing.models.files.few_step import (
    GUIDED_LCM,
    FewStep,
    by_name,
    by_scheduler,
    proposed,
    proposed_flow,
)
from regrain.editing.models.files.location import ModelLocation
from regrain.editing.models.files.lora_file import lora_defaults, lora_kind
from regrain.editing.models.files.schedulers import OtherScheduler, other_scheduler

ByMethod = Mapping[str, Mapping[str, object]]
"""Parameters by method and name."""


def kind_of(
    id: str,
    scheduler: Mapping[str, object],
    unet: Mapping[str, object],
    loras: Sequence[str] = (),
) -> FewStep | None:
    """Recognise a model that draws in few steps: by a LoRA, by the configuration of its
    UNet or scheduler, or by its name."""
    kinds = [lora_kind(text) for text in loras]
    if unet.get("time_cond_proj_dim"):
        kinds.append(GUIDED_LCM)
    kinds += [by_scheduler(scheduler), by_name(id)]
    return next((kind for kind in kinds if kind is not None), None)


def recommended(
    kind: FewStep | None,
    scheduler: Mapping[str, object],
    defaults: ByMethod,
    loras: Sequence[str] = (),
) -> dict[str, dict[str, object]]:
    """Return the settings that suit a model, by method.

    Those of a LoRA come before those of the model's folder, and these before those of
    its scheduler.

    Args:
        kind: See `kind_of`.
        scheduler: Its scheduler_config.json.
        defaults: Its defaults.json.
        loras: Files that are added, as `parse_lora` reads them.
    """
    own = proposed(scheduler, kind) | proposed_flow(scheduler, kind)
    layers = [own, defaults]
    if any(lora_kind(text) for text in loras):
        layers.append(own)
    layers += [lora_defaults(text) for text in loras]
    merged: dict[str, dict[str, object]] = {}
    for layer in layers:
        for method, values in layer.items():
            merged[method] = merged.get(method, {}) | dict(values)
    return merged


def of_folder(
    folder: Path, id: str, loras: Sequence[str] = ()
) -> dict[str, dict[str, object]]:
    """Return the settings that suit the model of a folder, by method, without loading
    it; a ModelError if a file is damaged."""
    scheduler, unet = _configs(folder, id)
    kind = kind_of(id, scheduler, unet, loras)
    return recommended(
        kind, scheduler, read_defaults(folder / "defaults.json", id), loras
    )


def scheduler_words(source: ModelLocation) -> list[str]:
    """Say in a few words that a model names a scheduler that is not here, and what is
    used for it; nothing if it is here, or not known without loading."""
    place = Path(source.location)
    with suppress(ModelError):  # loading it says what is wrong
        scheduler, unet = _configs(place, place.name)
        kind = kind_of(place.name, scheduler, unet)
        other = missing_scheduler(kind, scheduler)
        if unet and other is not None:
            return [f"{other.sampler} for its {other.title}"]
    return []


def missing_scheduler(
    kind: FewStep | None, scheduler: Mapping[str, object]
) -> OtherScheduler | None:
    """Return the scheduler that a model names, if it is not here; a few-step model's
    kind names its sampler."""
    return None if kind else other_scheduler(scheduler)


def _configs(folder: Path, id: str) -> list[dict[str, object]]:
    """Read the configurations of scheduler and UNet; empty without the file."""
    found = []
    for name in ("scheduler/scheduler_config.json", "unet/config.json"):
        path = folder / name
        found.append(read_config(path, id) if path.is_file() else {})
    return found
