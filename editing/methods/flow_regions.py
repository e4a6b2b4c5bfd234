"""FlowEdit on a video model, its words bound to regions (Kulikov et al. 2024,
arXiv:2412.08629).

Nothing is inverted. At every noise level the clip and its edit get the same noise, and
the difference of the velocities with the two prompts moves the edit. The state is that
difference: with equal prompts and guidance it stays 0. Modulated cross-attention
(VideoGrain, arXiv:2502.17258, Eq. 6) binds each region to its words, in both prompts,
so that the effect of binding itself cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regrain.editing.attention.averages import (
    Heat,
    NamedMaps,
    WordAttention,
)
from regrain.editing.diffusion.blending import over
from regrain.editing.diffusion.flow import FlowSchedule
from regrain.editing.diffusion.schedule import (
    Answer,
    FrameLatents,
    Step,
    add_noise,
    late_steps,
    own_noise,
)
from regrain.editing.media.images import read_picture
from regrain.editing.media.lazy_frames import Rgb
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.finite import checked_together
from regrain.editing.models.intervention import Intervention
from regrain.editing.params.flow_regions import FlowRegionsParams
from regrain.editing.recipe.events import Stage, Steps
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.region_words import (
    ChangeFn,
    ClipModel,
    Piece,
    RegionText,
    TokenRegions,
    WordAttending,
    by_words,
    pieces_of,
)
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.compose import compose
from regrain.editing.request.edit_request import EditRequest

_LONG = 21  # latents of a clip of 81 frames, where FlowAnchor's amplification is 1


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: FlowRegionsParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it; yields events, returns the latents."""
    working = working_clip(backbone, request, window)
    model = FlowModel(backbone, working, request, params)
    schedule = FlowSchedule(params.shift).sampling(params.steps, params.levels)
    steps = late_steps(schedule, params.strength)

    yield Stage("editing")
    source = backbone.encode(working.frames)
    first = given_first(request, working) if params.first_frame else None
    given = None if first is None else backbone.encode(first[None])
    if given is not None:
        model.hold(source[:1], given)
    gate = working.inside() if params.blend else None
    fresh = torch.Generator().manual_seed(request.seed)
    told = StepEvents(source, working, params.preview_every, len(steps))
    offset = torch.zeros_like(source)
    for step in steps:
        model.begin(step)
        # The edit expected, and the difference of the velocities of edit and source, a
        # mean over draws of noise.
        x0 = source
        change = torch.zeros_like(source)
        with checked_together(step):
            for _ in range(params.averages):
                noised = add_noise(source, own_noise(source, fresh), step)
                x0, eps = model.edited(noised + offset, step)
                old_x0, old_eps = model.source(noised, step)
                change = change + ((eps - x0) - (old_eps - old_x0)) / params.averages
        if params.amplify:
            change = amplified(change)
        if gate is not None:
            change = gate * change
        offset = offset + (step.noise_next - step.noise) * change
        yield from told(step, x0, model.now)
    edit = source + offset
    if given is not None and steps:
        edit[:1] = given
    result = WindowResult((edit,), given=working.window.anchors)
    if not steps:
        return result
    return replace(result, attention=model.maps(), words=model.word_maps())


def given_first(request: EditRequest, working: ResizedClip) -> Rgb | None:
    """Return the first frame that a window begins with: the last finished one or, of
    the clip, the picture of the whole frame where something is edited; its own without
    one. None if it is drawn, as of later shots of a clip with a picture."""
    window = working.window
    if window.finished is not None:
        return window.finished[-1]
    own = working.frames[0]
    if not request.picture:
        return own
    if window.numbers[0]:
        return None
    height, width, _ = own.shape
    picture = Image.fromarray(read_picture(Path(request.picture), "picture"))
    shown = np.asarray(picture.resize((width, height)))
    opacity = shown[..., 3] / 255 * working.drawn_anew()[0]
    return over(own, shown[..., :3], opacity)


def holding(first: FrameLatents | None) -> ChangeFn:
    """Return what alters calls by bound words, and by a first frame that is given to
    the piece with it."""

    def change(words: WordAttending | None, step: Step, part: Piece) -> Intervention:
        altered = by_words(words, step, part)
        return replace(altered, first=first if 0 in part else None)

    return change


def amplified(change: FrameLatents) -> FrameLatents:
    """Strengthen a change where it is strong, the more the longer the clip (FlowAnchor,
    arXiv:2604.22586)."""
    mean = change.mean(1, keepdim=True)
    low = mean.amin()
    high = mean.amax()
    length = log(len(change)) / log(_LONG)
    return change * (1 + length * (mean - low) / (high - low).clamp(min=1e-8))


class FlowModel:
    """The backbone as a run calls it: with the negative prompt, and with prompts bound
    to the regions."""

    def __init__(
        self,
        backbone: Backbone,
        working: ResizedClip,
        request: EditRequest,
        params: FlowRegionsParams,
    ) -> None:
        self._params = params
        self._request = request
        self._working = working
        most = 1 + (params.span - 1) // backbone.frames_per_latent
        pieces = pieces_of(working.grid.time, most)
        self._model = ClipModel(backbone, request.negatives, pieces)
        regions = TokenRegions(backbone, request, working)
        unedited = [replace(region, prompt="") for region in request.regions]
        composed = compose(request.description, request.description, unedited)
        both = params.modulated == "both"
        spoken = {"source_prompt": composed, "prompt": request.composed}
        old, new = (
            RegionText.of(backbone, request, prompt, field)
            for field, prompt in spoken.items()
        )
        self._old = WordAttending(old, regions, params, pieces, both)
        self._new = WordAttending(new, regions, params, pieces, True)
        self._changes = holding(None), holding(None)

    def hold(self, old: FrameLatents, new: FrameLatents) -> None:
        """Give the first frame, of the source and of the edit, in every call."""
        self._changes = holding(old), holding(new)

    def begin(self, step: Step) -> None:
        """Start a new step."""
        for one in (self._old, self._new):
            one.heat.begin(step)

    def source(self, x: Tensor, step: Step) -> Answer:
        """Predict guided (x0, eps) with the source prompt."""
        scale = self._params.source_guidance
        return self._model.guided(x, step, self._old, scale, self._changes[0])

    def edited(self, x: Tensor, step: Step) -> Answer:
        """Predict guided (x0, eps) with the prompt."""
        scale = self._params.guidance_scale
        return self._model.guided(x, step, self._new, scale, self._changes[1])

    def now(self, latents: Sequence[int]) -> NamedMaps:
        """Return this step's maps of some latents, for a preview."""
        return self._new.heat.now(self._new.columns(self._request), latents)

    def maps(self) -> Heat:
        """Return the maps over the run, by frame: of regions or new words."""
        return self._new.maps(self._new.columns(self._request), self._working.latents)

    def word_maps(self) -> WordAttention:
        """Return the maps over the run, by frame, of every word of both prompts."""
        latents = self._working.latents
        return WordAttention(self._old.word_maps(latents), self._new.word_maps(latents))
