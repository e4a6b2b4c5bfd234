"""The beginning and end of every recipe: the clip at its working size, and frames from the final latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import lcm
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from editing.attention.sites import Grid
from editing.blending import composite
from editing.clip import resize
from editing.events import EditResult, OtherEdit, RegionAttention, WordAttention
from editing.memory import FRAMES_AT_ONCE
from editing.spool import Spool, frames_of, windows

if TYPE_CHECKING:
    from editing.backbones import Backbone
    from editing.request import EditRequest

ReadFrames = Callable[[int, int], UInt8[np.ndarray, "frames height width 3"]]
"""(first frame, the frame after the last) -> RGB."""

# Cut here, the frames that the autoencoder takes at once are those it takes of the whole clip.
_DECODED = lcm(*range(1, FRAMES_AT_ONCE + 1))


class EditedCells:
    """The edited area on any grid: every cell that the edited regions touch. Each grid is pooled once."""

    def __init__(self, request: EditRequest, device: torch.device) -> None:
        def pool(size: tuple[int, int]) -> Float[Tensor, "frames 1 h w"]:
            masks = (request.read_edited_mask(*window) for window in windows(len(request.clip)))
            pixels = (torch.from_numpy(mask).float()[:, None] for mask in masks)
            return torch.cat([F.adaptive_max_pool2d(part, size) for part in pixels]).to(device)

        self.on = cache(pool)
        """(height, width) -> [frames, 1, height, width], 1 inside, else 0."""


@dataclass(frozen=True, eq=False)
class Working:
    """A clip at its working size.

    Attributes:
        frames: RGB at the working size.
        grid: Grid of its latents.
        edited: The edited regions; None if the whole frame is edited.
    """

    frames: UInt8[np.ndarray, "frames height width 3"]
    grid: Grid
    edited: EditedCells | None

    def inside(self) -> Float[Tensor, "frames 1 h w"] | None:
        """The edited regions on the grid of the latents, 1 inside; None if the whole frame is edited."""
        return None if self.edited is None else self.edited.on(self.grid.size)


def working_clip(backbone: Backbone, request: EditRequest) -> Working:
    """Read the clip of a request at the working size of the model.

    Raises:
        ClipError: A frame cannot be decoded.
    """
    clip = request.clip
    width, height = backbone.fit(*clip.size, request.size)
    frames = np.empty((len(clip), height, width, 3), np.uint8)
    for start, stop in windows(len(clip)):
        frames[start:stop] = resize(clip.read(start, stop), (width, height))
    edited = EditedCells(request, backbone.device) if request.edited else None
    return Working(frames, backbone.grid(*frames.shape[:3]), edited)


def finish(
    backbone: Backbone,
    request: EditRequest,
    edits: Sequence[Float[Tensor, "frames c h w"] | ReadFrames],
    feather: float,
    attention: Mapping[str, RegionAttention],
    *,
    reconstruction: Float[Tensor, "frames c h w"] | None = None,
    words: WordAttention | None = None,
    step_areas: Mapping[int, np.ndarray] | None = None,
    control: UInt8[np.ndarray, "frames height width 3"] | None = None,
) -> EditResult:
    """Decode the edits and composite them over the source, one window at a time; results are kept on disk.

    Args:
        edits: Clean latents of every edit, in the order of `request.targets`, or what reads its frames.
        feather: Pixels of the source over which an edit fades into it.
        attention: See `EditResult`, as for `words`, `step_areas` and `control`.
        reconstruction: Clean latents of the reconstructed source.
    """
    clip, (width, height) = request.clip, request.clip.size

    def drawn(edit: Tensor | ReadFrames, start: int, stop: int) -> UInt8[np.ndarray, "frames h w 3"]:
        some = backbone.decode(edit[start:stop]) if isinstance(edit, Tensor) else edit(start, stop)
        return resize(some, (width, height))

    frames, uncomposited = ([Spool(height, width) for _ in edits] for _ in range(2))
    rebuilt = None if reconstruction is None else Spool(height, width)
    for start, stop in windows(len(clip), _DECODED):
        source, mask = clip.read(start, stop), request.read_edited_mask(start, stop)
        for edit, whole, alone in zip(edits, frames, uncomposited, strict=True):
            decoded = drawn(edit, start, stop)
            alone.append(decoded)
            whole.append(composite(source, decoded, mask, feather))
        if rebuilt is not None and reconstruction is not None:
            rebuilt.append(drawn(reconstruction, start, stop))
    others = zip(request.targets[1:], frames[1:], uncomposited[1:], strict=True)
    return EditResult(
        frames[0],
        uncomposited[0],
        frames_of(clip),
        request.edited_mask,
        attention,
        reconstruction=rebuilt,
        control=control,
        others=tuple(OtherEdit(*other) for other in others),
        words=words,
        step_areas=step_areas or {},
    )
