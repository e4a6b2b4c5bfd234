"""Input and result of a recipe: the frames of a window at the working size, and their
edited latents.

A clip that is too long to be edited at once is edited window by window. A window begins
with anchors: frames of the windows before, whose latents follow, step by step, the path
that they took there. All frames, to a method, are those of the window and its anchors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.averages import Heat, StepAreas, WordAttention
from regrain.editing.attention.layers import Grid, Size
from regrain.editing.diffusion.blending import Area
from regrain.editing.diffusion.schedule import FrameLatents, RowLatents
from regrain.editing.media.clip import resized
from regrain.editing.media.lazy_frames import (
    LazyFrames,
    LazyRgb,
    Masks,
    Numbers,
    RgbFrames,
    windows,
)
from regrain.editing.models.backbone import Backbone
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.by_name import Tensors, Weights
from regrain.editing.storage.texts import Content
from regrain.editing.storage.threads import each


@dataclass(frozen=True, eq=False)
class WindowFrames:
    """The frames of a clip that a recipe edits together.

    Attributes:
        numbers: Their numbers in the clip, rising: the anchors, then the window's own.
        anchors: Number of anchors among them.
        breaks: Places in the window, from 1, of frames that do not follow the one before
            in the clip.
        leads: True if another window follows, for which paths are noted.
        known: By walk and step, the latents that the anchors follow, [edits, anchors,
            c, h, w].
        finished: The anchors as the window before ended with them, at the working
            size; None if they follow latents.
        paths: By walk and step, the latents of the first and the last frame of this
            window.
    """

    numbers: Numbers
    anchors: int = 0
    breaks: Numbers = ()
    leads: bool = False
    known: Weights = field(default_factory=dict)
    finished: RgbFrames | None = None
    paths: Tensors = field(default_factory=dict)

    @classmethod
    def whole(cls, frames: int) -> WindowFrames:
        """Return the window of all frames of a clip."""
        return cls(tuple(range(frames)))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def middle(self) -> int:
        """Place of the frame that stands for the whole clip: the middle one, or the
        first anchor."""
        return 0 if self.anchors else (len(self) - 1) // 2

    def pin_anchors(self, walk: str, step: int, x: RowLatents) -> RowLatents:
        """Give anchors the latents they had at this step of a walk, and note those of
        the window's ends.

        `walk` is "inversion", "edit" or another name of the recipe's; `x` has rows
        (edit frame), and is returned itself if there are no anchors.
        """
        key = f"{walk}/{step}"
        rows = x.unflatten(0, (-1, len(self)))
        if self.anchors:
            rows = rows.clone()
            rows[:, : self.anchors] = self.known[key].to(x)
            x = rows.flatten(0, 1)
        if self.leads:
            # a list as an index would wait for the device
            self.paths[key] = torch.stack((rows[:, 0], rows[:, -1]), 1)
        return x

    def pin_inversion(
        self, latents: Float[Tensor, "steps rows c h w"]
    ) -> list[RowLatents]:
        """Call `pin_anchors` for all steps of an inversion that was taken."""
        return [
            self.pin_anchors("inversion", step, x) for step, x in enumerate(latents)
        ]

    @property
    def cache_key(self) -> Content:
        """Part of an inversion's cache key that depends on the anchors; empty without
        them."""
        if not self.anchors:
            return {}
        keys = sorted(key for key in self.known if key.startswith("inversion/"))
        known = b"".join(
            self.known[key].float().cpu().numpy().tobytes() for key in keys
        )
        return {"anchors": known, "breaks": self.breaks}


def pooled(areas: LazyFrames, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `pool`, which works on the processor, to all frames of labels or masks, of
    which few are read at a time."""
    found = []
    for start, stop in windows(len(areas)):
        found += each(pool, torch.from_numpy(areas.read(start, stop)).split(1))
    return torch.cat(found)


EditedCells = Callable[[Size], Area]
"""(height, width) -> 1 in each cell that the edited regions touch, else 0."""


def edited_cells(request: EditRequest, device: torch.device) -> EditedCells:
    """Return the edited area as a function of the grid; each grid is pooled once."""

    def cells(size: Size) -> Area:
        def pool(part: Tensor) -> Tensor:
            return F.adaptive_max_pool2d(part.float()[:, None], size)

        return pooled(request.edited_mask, pool).to(device)

    return cache(cells)


@dataclass(frozen=True, eq=False)
class ResizedClip:
    """A clip at its working size.

    Attributes:
        frames: RGB at the working size.
        grid: Grid of its latents.
        edited: The edited regions; None if the whole frame is edited.
        window: The place of these frames in the clip.
        latents: The latent that each frame is in: its own or, of a video model, one for
            several.
    """

    frames: RgbFrames
    grid: Grid
    edited: EditedCells | None
    window: WindowFrames
    latents: Numbers

    def drawn_anew(self) -> Masks:
        """Return the pixels, at the working size, that an edited region touches: all
        without regions."""
        if self.edited is None:
            return np.ones(self.frames.shape[:3], bool)
        cells = self.edited(self.frames.shape[1:3])
        return cells[:, 0].cpu().numpy() > 0

    def inside(self) -> Area | None:
        """Return the edited regions on the latents' grid, 1 inside; None if the whole
        frame is edited."""
        if self.edited is None:
            return None
        cells = self.edited(self.grid.size)
        if self.grid.time == len(cells):
            return cells
        places = torch.tensor(self.latents)
        return torch.stack(
            [cells[places == latent].amax(0) for latent in range(self.grid.time)]
        )


def working_clip(
    backbone: Backbone, request: EditRequest, window: WindowFrames | None = None
) -> ResizedClip:
    """Read the clip of a request, which holds the frames of `window` alone, at the
    working size of the model.

    Raises:
        ClipError: A frame cannot be decoded.
    """
    shrunk = working_frames(backbone, request)
    frames = np.empty(shrunk.shape, np.uint8)
    for number, frame in enumerate(shrunk):
        frames[number] = frame
    edited = edited_cells(request, backbone.device) if request.edited else None
    window = window or WindowFrames.whole(len(frames))
    latents = tuple(
        -(-number // backbone.frames_per_latent) for number in range(len(frames))
    )
    return ResizedClip(
        frames,
        backbone.grid(*frames.shape[:3]),
        edited,
        window,
        latents,
    )


def working_frames(backbone: Backbone, request: EditRequest) -> LazyRgb:
    """Return the clip of a request at the working size of the model, read when it is
    needed."""
    clip = request.clip
    return resized(clip, backbone.fit(*clip.size, request.size))


@dataclass(frozen=True, eq=False)
class WindowResult:
    """The result of a recipe for the frames of a window.

    Attributes:
        edits: Clean latents of every edit, in the order of `request.targets`.
        attention, words, step_areas, control: See `EditResult`.
        given: Frames of the window before that its latents begin with.
        reconstruction: Clean latents of the reconstructed source.
    """

    edits: tuple[FrameLatents, ...]
    attention: Heat = field(default_factory=dict)
    reconstruction: FrameLatents | None = None
    words: WordAttention | None = None
    step_areas: StepAreas = field(default_factory=dict)
    control: RgbFrames | None = None
    given: int = 0
