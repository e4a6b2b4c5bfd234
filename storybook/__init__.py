"""The drawn world and its training scripts. Nothing at run time imports this package."""

from storybook.world import (
    ACCESSORIES,
    BACKGROUNDS,
    COLORS,
    KINDS,
    STYLES,
    Actor,
    Rendered,
    Scene,
    render,
    replace,
    sample_scene,
)

__all__ = [
    "ACCESSORIES",
    "BACKGROUNDS",
    "COLORS",
    "KINDS",
    "STYLES",
    "Actor",
    "Rendered",
    "Scene",
    "render",
    "replace",
    "sample_scene",
]
