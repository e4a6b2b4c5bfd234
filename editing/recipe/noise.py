"""The noise of a window's frames: the same for all, or carried along the motion."""

from __future__ import annotations

import torch
from torch import Tensor

from regrain.editing.diffusion.schedule import (
    FrameLatents,
    carried_noise,
    common_noise,
    generator,
)
from regrain.editing.motion.flow import follow
from regrain.editing.params.base import NoiseParams
from regrain.editing.recipe.window import ResizedClip

_LATER = 3  # of the seed of noise for tracks that begin after the first frame


class FrameNoise:
    """The noise of a run, which draws as often in every window of a clip."""

    def __init__(self, working: ResizedClip, params: NoiseParams, seed: int) -> None:
        self._piece = working.window
        self._seed = seed
        self._draws = 0
        self._tracks: Tensor | None = None
        if params.noise == "tracks":
            size = working.grid.size
            found = follow(working.frames, [size], params.flow, self._piece.breaks)
            self._tracks = found.get(size)  # a single frame has none

    def draw(self, like: FrameLatents, fresh: torch.Generator) -> FrameLatents:
        """Draw noise for latents: one picture for all frames or, along tracks, the
        picture for the first, of which things that move take their part along.

        Anchors keep the noise that they had, and hand it on.
        """
        self._draws += 1
        picture = common_noise(like, fresh)
        if self._tracks is None:
            return picture
        pinned = self._piece.pin_anchors("noise", self._draws, picture)
        known = pinned[: max(1, self._piece.anchors)]
        later = generator(self._seed, self._draws, _LATER)
        carried = carried_noise(known, self._tracks, later)
        return self._piece.pin_anchors("noise", self._draws, carried)
