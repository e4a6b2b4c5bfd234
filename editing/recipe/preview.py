"""Events of the steps of a run, with cheap previews: the clean frames that the model
expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from regrain.editing.diffusion.schedule import FrameLatents, Step
from regrain.editing.media.lazy_frames import Numbers, RgbFrames, evenly
from regrain.editing.recipe.events import Preview, Progress, Steps
from regrain.editing.recipe.window import ResizedClip

_SHOWN = 8


class LatentPreview:
    """Convert latents to small RGB frames by a linear map, fitted once to a clip and
    its latents.

    Least squares from latent channels (and 1) to the frames averaged over the cells of
    the latents' grid. Far cheaper than the decoder, and good enough for a preview.
    """

    def __init__(
        self,
        latents: FrameLatents,
        frames: RgbFrames,
        zoom: int = 4,
    ) -> None:
        pixels = torch.from_numpy(frames).movedim(-1, 1).float() / 255
        _, _, height, width = latents.shape
        cells = F.adaptive_avg_pool2d(pixels, (height, width))
        colors = cells.movedim(1, -1).reshape(-1, 3)
        rows = self._rows(latents)
        # Ridge: a still clip has few distinct cells.
        gram = rows.T @ rows + 1e-3 * len(rows) * torch.eye(rows.shape[1])
        self._map = torch.linalg.solve(gram, rows.T @ colors)
        self._zoom = zoom

    @staticmethod
    def _rows(latents: Tensor) -> Tensor:
        flat = latents.detach().float().cpu().movedim(1, -1).flatten(0, 2)
        return torch.cat([flat, torch.ones(len(flat), 1)], 1)

    def __call__(
        self, x0: FrameLatents
    ) -> UInt8[np.ndarray, "frames small_height small_width 3"]:
        """Convert latents to frames with `zoom` pixels per latent cell."""
        n, _, h, w = x0.shape
        colors = (self._rows(x0) @ self._map).reshape(n, h, w, 3)
        small = colors.clamp(0, 1).mul(255).byte().numpy()
        size = (w * self._zoom, h * self._zoom)
        return np.stack(
            [cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in small]
        )


def shown_frames(count: int) -> Numbers:
    """Choose the frames of a live preview: indices of up to 8 of `count`, evenly
    spaced, ends included."""
    return evenly(count, _SHOWN)


class StepEvents:
    """Events of the steps of a stage: a preview every few steps, progress after each."""

    def __init__(
        self,
        latents: FrameLatents,
        working: ResizedClip,
        every: int,
        total: int,
        stage: str = "editing",
    ) -> None:
        """Fit previews to the frames of a window and their clean latents.

        Args:
            every: Steps between previews; 0 shows none.
            total: Steps of the stage.
        """
        self._done = 0
        self._total = total
        self._stage = stage
        last = {
            latent: frame for frame, latent in enumerate(working.latents)
        }  # frame of each latent
        self._colors = (
            LatentPreview(latents, working.frames[[*last.values()]]) if every else None
        )
        self._every = every
        # Anchors were shown with their own window.
        own = range(working.window.anchors, len(working.window))
        shown = [own[place] for place in shown_frames(len(own))]
        self._numbers = tuple(working.window.numbers[place] for place in shown)
        self._latents = tuple(working.latents[place] for place in shown)

    def __call__(
        self,
        step: Step,
        x0: FrameLatents,
        heat: Callable[[Sequence[int]], Mapping] = lambda _: {},
    ) -> Steps[None]:
        """Yield the events of a step that was taken; `heat` gives the maps of the chosen
        latents."""
        if self._colors is not None and step.index % self._every == 0:
            yield Preview(
                self._colors(x0[list(self._latents)]),
                self._numbers,
                heat(self._latents),
            )
        self._done += 1
        yield Progress(self._stage, self._done, self._total)
