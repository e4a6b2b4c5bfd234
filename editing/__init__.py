"""Edit a video region by region, each region with its own words.

Names are loaded when first used: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from editing.adapters import Adapter, load_adapter, save_adapter
    from editing.backbones import load_backbone
    from editing.clip import ArrayClip, Clip, open_clip
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
    from editing.events import (
        EditResult,
        Event,
        Finished,
        Losses,
        OtherEdit,
        Preview,
        Progress,
        RegionAttention,
        Stage,
        Tuned,
        WordAttention,
    )
    from editing.project import load_project, save_project
    from editing.request import EditRequest, Region
    from editing.runner import edit, tune

_MODULES = {
    "editing.adapters": ("Adapter", "load_adapter", "save_adapter"),
    "editing.backbones": ("load_backbone",),
    "editing.clip": ("ArrayClip", "Clip", "open_clip"),
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
    "editing.events": (
        "EditResult",
        "Event",
        "Finished",
        "Losses",
        "OtherEdit",
        "Preview",
        "Progress",
        "RegionAttention",
        "Stage",
        "Tuned",
        "WordAttention",
    ),
    "editing.project": ("load_project", "save_project"),
    "editing.request": ("EditRequest", "Region"),
    "editing.runner": ("edit", "tune"),
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
