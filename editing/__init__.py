"""Edit a video region by region, each region with its own words.

All names but the errors are loaded when first used: importing this package loads no
torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from regrain.editing.errors import (
    ClipError,
    DivergedError,
    EditingError,
    MaskError,
    ModelError,
    PromptError,
    RequestError,
    ResourceError,
)

if TYPE_CHECKING:
    from regrain.editing.attention.averages import RegionAttention, WordAttention
    from regrain.editing.media.clip import ArrayClip, Clip
    from regrain.editing.media.reading import open_clip
    from regrain.editing.models.adapters import Adapter, load_adapter, save_adapter
    from regrain.editing.models.loading.load import load_backbone
    from regrain.editing.pipeline.runner import edit, tune
    from regrain.editing.recipe.events import (
        EditResult,
        Event,
        Finished,
        Losses,
        OtherEdit,
        Preview,
        Progress,
        Stage,
        Tuned,
    )
    from regrain.editing.request.edit_request import EditRequest
    from regrain.editing.request.project import load_project, save_project
    from regrain.editing.request.region import Region

_MODULES = {
    "regrain.editing.attention.averages": ("RegionAttention", "WordAttention"),
    "regrain.editing.media.clip": ("ArrayClip", "Clip"),
    "regrain.editing.media.reading": ("open_clip",),
    "regrain.editing.models.adapters": ("Adapter", "load_adapter", "save_adapter"),
    "regrain.editing.models.loading.load": ("load_backbone",),
    "regrain.editing.pipeline.runner": ("edit", "tune"),
    "regrain.editing.recipe.events": (
        *("EditResult", "Event", "Finished", "Losses", "OtherEdit"),
        *("Preview", "Progress", "Stage", "Tuned"),
    ),
    "regrain.editing.request.edit_request": ("EditRequest",),
    "regrain.editing.request.project": ("load_project", "save_project"),
    "regrain.editing.request.region": ("Region",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Adapter",
    "ArrayClip",
    "Clip",
    "ClipError",
    "DivergedError",
    "EditRequest",
    "EditResult",
    "EditingError",
    "Event",
    "Finished",
    "Losses",
    "MaskError",
    "ModelError",
    "OtherEdit",
    "Preview",
    "Progress",
    "PromptError",
    "Region",
    "RegionAttention",
    "RequestError",
    "ResourceError",
    "Stage",
    "Tuned",
    "WordAttention",
    "edit",
    "load_adapter",
    "load_backbone",
    "load_project",
    "open_clip",
    "save_adapter",
    "save_project",
    "tune",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
