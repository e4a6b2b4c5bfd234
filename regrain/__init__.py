"""Edit a video region by region, each region with its own words.

Offers the public names of `regrain.editing` and `regrain.masks`, and others that
programs need. Names are loaded when first used: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.2.0"

if not (Path(__file__).parent / "editing").is_dir():
    # A wheel has the packages inside, a checkout has links to them; some systems have
    # no links.
    __path__.append(str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from regrain.editing import *  # noqa: F403
    from regrain.editing.attention import layers
    from regrain.editing.attention.regions import (
        modulated_attention as modulated_attention,
    )
    from regrain.editing.media.writing import write_video as write_video
    from regrain.editing.params.registry import METHODS as METHODS
    from regrain.editing.params.registry import Method as Method
    from regrain.editing.pipeline.metrics import measure as measure
    from regrain.editing.pipeline.outputs import write_outputs as write_outputs
    from regrain.masks import *  # noqa: F403

    attention = layers

_HOME = {
    "METHODS": "editing.params.registry",
    "Method": "editing.params.registry",
    "measure": "editing.pipeline.metrics",
    "modulated_attention": "editing.attention.regions",
    "write_outputs": "editing.pipeline.outputs",
    "write_video": "editing.media.writing",
}


def __getattr__(name: str) -> object:
    if name == "attention":
        return import_module("regrain.editing.attention.layers")
    if name in _HOME:
        return getattr(import_module(f"regrain.{_HOME[name]}"), name)
    if not name.startswith("_"):
        for package in ("editing", "masks"):
            module = import_module(f"regrain.{package}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    names = {*_HOME, "attention"}
    for package in ("editing", "masks"):
        names.update(import_module(f"regrain.{package}").__all__)
    return sorted(names)
