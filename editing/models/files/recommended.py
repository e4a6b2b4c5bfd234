"""The settings that suit a model with its LoRA files, known before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from regrain.editing.models.files.configs import read_config, read_defaults
from regrain.editing.models.files.few_step import (
    GUIDED_LCM,
    FewStep,
    by_name,
    by_scheduler,
    proposed,
    proposed_flow,
)
from regrain.editing.models.files.lora_file import lora_defaults, lora_kind

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
    configs = {}
    for name in ("scheduler/scheduler_config.json", "unet/config.json"):
        path = folder / name
        configs[name] = read_config(path, id) if path.is_file() else {}
    scheduler, unet = configs.values()
    kind = kind_of(id, scheduler, unet, loras)
    return recommended(
        kind, scheduler, read_defaults(folder / "defaults.json", id), loras
    )
