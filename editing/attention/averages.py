"""Attention averaged over a run, as results carry it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32

PICTURE = "picture"
"""Name of the attention map of the whole frame's picture; a region's is called "picture
of NAME"."""


StepAreas = Mapping[int, Bool[np.ndarray, "frames grid_height grid_width"]]
"""The area that was edited in each step."""
GridMaps = Float32[np.ndarray, "frames grid_height grid_width"]
NamedMaps = Mapping[str, GridMaps]
"""Maps by name of region or word."""


@dataclass(frozen=True, eq=False)
class RegionAttention:
    """Attention of each pixel to a region's words, before and after modulation.

    Averaged over heads, layers and modulated steps; 0..1.

    Attributes:
        before: Before modulation.
        after: After modulation.
        parts: Averages over the thirds of the schedule, named "early", "middle" and
            "late". Thirds without an averaged step are left out; empty for clips that
            are edited in several windows.
    """

    before: GridMaps
    after: GridMaps
    parts: Heat = field(default_factory=dict)


Heat = Mapping[str, RegionAttention]
"""Attention by name of region, word or third of the schedule."""


@dataclass(frozen=True, eq=False)
class WordAttention:
    """Where each word of the two prompts looks before any change, averaged over the
    run; 0..1.

    Articles and prepositions are left out.

    Attributes:
        source: Words of the source prompt, while the source is inverted.
        edit: Words of the prompt, while it is edited.
    """

    source: NamedMaps
    edit: NamedMaps
