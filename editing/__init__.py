"""Edit a video region by region, each region with its own words.

Names are loaded when first used: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from editing.attention.averages import RegionAttention, WordAttention
    from editing.errors import (
        ClipError,
        DivergedError,
        EditingError,
        MaskError,
        ModelError,
        PromptError,
        RequestError,
        ResourceError,
    )
    from editing.media.clip import ArrayClip, Clip
    from editing.media.reading import open_clip
    from editing.models.adapters import Adapter, load_adapter, save_adapter
    from editing.models.load import load_backbone
    from editing.pipeline.runner import edit, tune
    from editing.recipe.events import (
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
    from editing.request.edit_request import EditRequest
    from editing.request.project import load_project, save_project
    from editing.request.region import Region

_MODULES = {
    "editing.attention.averages": ("RegionAttention", "WordAttention"),
    "editing.errors": (
        "ClipError",
        "DivergedError",
        "EditingError",
        "MaskError",
        "ModelError",
        "PromptError",
        "RequestError",
        "ResourceError",
    ),
    "editing.media.clip": ("ArrayClip", "Clip"),
    "editing.media.reading": ("open_clip",),
    "editing.models.adapters": ("Adapter", "load_adapter", "save_adapter"),
    "editing.models.load": ("load_backbone",),
    "editing.pipeline.runner": ("edit", "tune"),
    "editing.recipe.events": (
        "EditResult",
        "Event",
        "Finished",
        "Losses",
        "OtherEdit",
        "Preview",
        "Progress",
        "Stage",
        "Tuned",
    ),
    "editing.request.edit_request": ("EditRequest",),
    "editing.request.project": ("load_project", "save_project"),
    "editing.request.region": ("Region",),
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
