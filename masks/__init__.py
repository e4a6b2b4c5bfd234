"""Masks: from files, drawn, clicked and followed through a clip.

Names are loaded when first used: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masks.files import read_labels, write_labels

_HOME = {"read_labels": "masks.files", "write_labels": "masks.files"}

__all__ = ["read_labels", "write_labels"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
