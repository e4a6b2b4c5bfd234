"""Guidance by a second row without words, or by a network that is told its scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone


def guidance_of(backbone: Backbone, scale: float) -> tuple[float, tuple[float, ...]]:
    """Return how a model is guided at a scale.

    Returns:
        The scale of the guidance that two rows make, 1 for none and one row; and the
        scale for the network, empty if it takes none (see `Intervention`).
    """
    if backbone.told_guidance:
        return 1.0, (scale,)
    return scale, ()
