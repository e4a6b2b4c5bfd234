"""How every recipe begins and ends: the clip at the size worked on, and frames from the last latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from editing.attention.sites import Grid
from editing.blending import composite
from editing.clip import resize
from editing.events import EditResult, OtherEdit, RegionAttention, WordAttention

if TYPE_CHECKING:
    from editing.backbones import Backbone
    from editing.request import EditRequest


class EditedCells:
    """Where the edit is, on any grid: a cell counts if the edited regions touch it. Pooled once per grid."""

    def __init__(self, mask: Bool[np.ndarray, "frames height width"], device: torch.device) -> None:
        pixels = torch.from_numpy(mask).float()[:, None]
        self.on = cache(lambda size: F.adaptive_max_pool2d(pixels, size).to(device))
        """(height, width) -> [frames, 1, height, width], 1 inside, else 0."""


@dataclass(frozen=True, eq=False)
class Working:
    """A clip as a recipe works on it.

    Attributes:
        frames: At the working size.
        grid: Of its latents.
        edited: The edited regions; None where the whole frame is edited.
    """

    frames: UInt8[np.ndarray, "frames height width 3"]
    grid: Grid
    edited: EditedCells | None

    def inside(self) -> Float[Tensor, "frames 1 h w"] | None:
        """The edited regions on the grid of the latents."""
        return None if self.edited is None else self.edited.on(self.grid.size)


def working_clip(backbone: Backbone, request: EditRequest) -> Working:
    """The clip of a request at the size its model works on."""
    source = request.clip.read(0, len(request.clip))
    frames = resize(source, backbone.fit(*request.clip.size, request.size))
    edited = EditedCells(request.edited_mask, backbone.device) if request.edited else None
    return Working(frames, backbone.grid(*frames.shape[:3]), edited)


def finish(
    backbone: Backbone,
    request: EditRequest,
    edits: Sequence[Float[Tensor, "frames c h w"]],
    feather: float,
    attention: Mapping[str, RegionAttention],
    *,
    reconstruction: Float[Tensor, "frames c h w"] | None = None,
    words: WordAttention | None = None,
    areas: Mapping[int, np.ndarray] | None = None,
    control: UInt8[np.ndarray, "frames height width 3"] | None = None,
) -> EditResult:
    """Decode the edits and lay them over the source.

    Args:
        backbone: The model.
        request: What was asked for.
        edits: Clean latents of every edit, in the order of `request.targets`.
        feather: Pixels of the source over which an edit fades into it.
        attention: See `EditResult`.
        reconstruction: Clean latents of the source rebuilt.
        words: See `EditResult`.
        areas: See `EditResult`.
        control: See `EditResult`.
    """
    source, mask = request.clip.read(0, len(request.clip)), request.edited_mask

    def decode(latents: Tensor) -> UInt8[np.ndarray, "frames height width 3"]:
        return resize(backbone.decode(latents), request.clip.size)

    decoded = [decode(latents) for latents in edits]
    first, *others = (composite(source, edit, mask, feather) for edit in decoded)
    return EditResult(
        first,
        decoded[0],
        source,
        mask,
        attention,
        reconstruction=None if reconstruction is None else decode(reconstruction),
        control=control,
        others=tuple(
            OtherEdit(prompt, edit, alone)
            for prompt, edit, alone in zip(request.targets[1:], others, decoded[1:], strict=True)
        ),
        words=words,
        areas=areas or {},
    )
