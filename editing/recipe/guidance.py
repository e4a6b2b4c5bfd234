"""Guidance by a second row without words, or by a network that is told its scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone


class Guidance(NamedTuple):
    """How a run is guided.

    Attributes:
        scale: Scale of the guidance that two rows make; 1 is none, and one row.
        told: Scale for the network, empty if it takes none; see `Intervention`.
    """

    scale: float
    told: tuple[float, ...]

    @classmethod
    def of(cls, backbone: Backbone, scale: float) -> Guidance:
        """Return the way in which a model is guided."""
        if backbone.told_guidance:
            return cls(1.0, (scale,))
        return cls(scale, ())
