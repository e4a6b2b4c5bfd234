"""FRESCO: redraws a clip so that frames agree where the clip's own frames do.

Yang et al. 2024, arXiv:2403.12962. A batch of key frames is noised part of the way and
denoised with the prompt (SDEdit, ancestral sampling). Inputs of the decoder's blocks
are optimised to follow the optical flow and to be as self-similar as in the source; the
decoder's self-attention is guided by the source, by content that frames share, and by
the motion. With regions that have words, VideoGrain's modulation binds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property, partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.averages import Heat, NamedMaps
from regrain.editing.attention.batch import Batch, guide_calls, guided_calls
from regrain.editing.attention.feature_optimization import neighbours, optimize_features
from regrain.editing.attention.layers import AttentionLayer, plain
from regrain.editing.diffusion.blending import Area, blend_latents
from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.diffusion.schedule import (
    Answer,
    FrameLatents,
    RowLatents,
    Step,
    add_noise,
    advance,
    ddpm_step,
    generator,
)
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, entering_up_blocks
from regrain.editing.models.unet.control_net import ControlNets
from regrain.editing.motion.correspondence import around, smooth_background
from regrain.editing.params.fresco import FrescoParams
from regrain.editing.recipe.attention_recorder import AttentionRecorder, HeatScope
from regrain.editing.recipe.beside import beside_latents
from regrain.editing.recipe.events import Stage, Steps
from regrain.editing.recipe.guided import GuidedAttention
from regrain.editing.recipe.layout import lay_out
from regrain.editing.recipe.modulation import Modulation
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.prompts import embed_halves, guidance_of
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    pooled,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest

# The release's, at 512 pixels: the box by which foreground and occluded pixels grow
# before backgrounds are smoothed. Its 7 for the foreground are pixels of a map of half
# the size.
_GROWTH, _OF_SIDE = 13, 512
# Shares of the steps between which the background is smoothed in pixels, too.
_SMOOTH_FROM, _SMOOTH_UNTIL = 0.8, 0.9


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: FrescoParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it; yields events, returns the latents."""
    working = working_clip(backbone, request, window)
    model = FrescoModel(backbone, request, params, working)

    yield Stage("editing")
    model.look_at_source()
    told = StepEvents(model.source, working, params.preview_every, len(model.steps))
    pure = bool(backbone.beside) and params.strength == 1
    x = model.start(pure)
    inside = working.inside() if params.blend and backbone.beside != "hole" else None
    for step in model.steps:
        x = working.window.pin_anchors("edit", step.index, x)
        x0, eps = model.predict_guided(x, step)
        x0, eps = model.smoothed(x0, eps, x, step)
        x = model.stepped(x, x0, eps, step)
        if inside is not None:
            x = blend_latents(x, model.outside(step), inside)
        yield from told(step, x0, model.heat)
    return WindowResult((x,), model.maps(), control=model.control.maps)


class FrescoModel:
    """The model as a run calls it: guided by the motion of the frames and by features
    of the source.

    Attributes:
        source: Latents of the frames at the working size.
        steps: The steps that are run: all of the schedule or, with less strength, its
            last ones.
        control: Control networks of the run.
        modulation: Binds regions to their words; None if no region has words.
    """

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        params: FrescoParams,
        working: ResizedClip,
    ) -> None:
        self._backbone = backbone
        self._params = params
        self._frames = working.frames
        self._grid = working.grid
        self._seed = request.seed
        self._numbers = working.window.numbers
        self._sampling = Sampling(
            backbone.schedule, params.sampler, params.steps, params.strength
        )
        self.steps: Sequence[Step] = self._sampling.steps
        self.control = ControlNets(params.control, working.frames, backbone)
        # Control networks read words of regions in their sentence.
        self._plain_text = embed_halves(backbone, request)
        self._text = self._plain_text
        self.modulation = None
        if request.edited:
            layout, self._text = lay_out(backbone, request, working.grid)
            recorder = AttentionRecorder(HeatScope.choose(self._grid, backbone.sites))
            self.modulation = Modulation(layout, params, "own", recorder)
        self.source = backbone.encode(working.frames)
        self._scale, self._told = guidance_of(backbone, params.guidance_scale)
        self._beside = beside_latents(backbone, working, self.source)
        self._background = None
        # Latents outside an edited area are the clip's, and need no smoothing.
        keeps = params.blend and working.edited is not None
        if request.regions and not keeps:
            self._background = find_background(request, working)

    def look_at_source(self) -> None:
        """Estimate the motion of the frames, and read features of the source."""
        backbone = self._backbone
        params = self._params
        self._motion = around(self._frames, params.flow)
        self._motion_at = cache(lambda size: self._motion.at(size).to(backbone.device))
        # made where it does not wait for the device
        circular = params.flow_loss == "circular"
        self._links_at = cache(
            lambda size: neighbours(self._motion.at(size), circular).to(backbone.device)
        )
        self._attention = GuidedAttention(
            self._frames,
            self._motion,
            self._grid,
            backbone.sites,
            self.modulation,
        )
        fits = backbone.halves_fit(*self._grid)
        self._calls = guided_calls(len(self._frames), fits, self._scale)
        self._features = [self._read_source(call) for call in self._calls]

    def _noise(self, draw: int, own: bool) -> FrameLatents:
        """Draw noise from the seed, the number of the draw and the frame, so that
        batches change nothing.

        With `own`, every frame gets its own noise; otherwise all get the same.
        """
        shape = self.source.shape[1:]
        noise = []
        for number in self._numbers:
            fresh = generator(self._seed, draw, number if own else 0)
            noise.append(torch.randn(shape, generator=fresh))
        return torch.stack(noise).to(self.source)

    @cached_property
    def first_noise(self) -> FrameLatents:
        """The noise that the clip is mixed with, the same in all frames."""
        return self._noise(0, own=False)

    def start(self, pure: bool) -> FrameLatents:
        """Return the latents that the first step starts from; see `Sampling.noised`."""
        return self._sampling.noised(self.source, self.first_noise, pure)

    def stepped(
        self, x: FrameLatents, x0: FrameLatents, eps: FrameLatents, step: Step
    ) -> FrameLatents:
        """Return the latents after a step. Ancestral sampling ends clean, whatever the
        schedule."""
        params = self._params
        if params.sampler == "ddim" and params.step_noise == "none":
            return advance(x0, eps, step)
        fresh = self._noise(step.index + 1, params.step_noise == "own")
        if params.sampler != "ddim":
            return self._sampling.advance(x, x0, eps, step, fresh)
        return x0 if step.index + 1 == step.total else ddpm_step(x0, eps, step, fresh)

    def outside(self, step: Step) -> FrameLatents:
        """Return the clip's own latents after a step."""
        return self._sampling.known(self.source, self.first_noise, step)

    def heat(self, frames: Sequence[int]) -> NamedMaps:
        """Return this step's maps of some frames, for a preview."""
        return {} if self.modulation is None else self.modulation.now(frames)

    def maps(self) -> Heat:
        """Return the maps over the run; none if no region has words, or no step is
        run."""
        if self.modulation is None or not self.steps:
            return {}
        return self.modulation.maps()

    def predict_guided(self, x: FrameLatents, step: Step) -> Answer:
        """Predict guided (x0, eps)."""
        params = self._params
        if self.modulation is not None:
            self.modulation.heat.begin(step)
        spatial = step.index == self.steps[0].index
        optimises = step.within(params.optimise_until)
        answers = []
        for call, (entering, looks) in zip(self._calls, self._features, strict=True):
            attend = self._attention.attend(step, call, looks if spatial else None)
            agree = partial(self._agree, entering)
            patches = (entering_up_blocks(agree),) if optimises else ()
            control = self.control.reading(call.texts(self._plain_text))
            change = Intervention(
                attend,
                patches,
                control,
                beside=self._beside,
                guidance=self._told,
            )
            rows = call.join({"uncond": x, "cond": x})
            text = call.texts(self._text)
            answers.append(self._backbone.predict(rows, step, text, change))
        return guide_calls(answers, self._calls, self._scale)

    def _agree(
        self, source: Mapping[int, Tensor], block: int, x: RowLatents
    ) -> RowLatents:
        """Optimise the input of an up block by that of the source, and smooth its
        background."""
        size = tuple(x.shape[2:])
        links = self._links_at(size) if self._params.flow_weight else None
        x = optimize_features(x, source[block], links, self._params)
        background = self._background_at(size, x)
        if background is None:
            return x
        motion = self._motion_at(size)
        halves = x.split(len(self._frames))
        return torch.cat(
            [smooth_background(half, motion, background) for half in halves]
        )

    def _background_at(self, size: Sequence[int], like: Tensor) -> Area | None:
        """Return the background of these frames at some size; None if it is not
        smoothed."""
        if self._background is None:
            return None
        return F.interpolate(
            self._background, tuple(size), mode="bilinear", align_corners=False
        ).to(like)

    def smoothed(
        self, x0: FrameLatents, eps: FrameLatents, x: FrameLatents, step: Step
    ) -> Answer:
        """Smooth the background of the expected frames in pixels, in a few late
        steps."""
        due = step.within(_SMOOTH_UNTIL) and not step.within(_SMOOTH_FROM)
        if self._background is None or not due:
            return x0, eps
        frames = self._backbone.decode(x0)
        pixels = torch.from_numpy(frames).movedim(-1, 1).float()
        size = pixels.shape[2:]
        background = self._background_at(size, pixels)
        pixels = smooth_background(pixels, self._motion, background, _growth(size))
        frames = pixels.round().clamp(0, 255).byte().movedim(1, -1).numpy()
        x0 = self._backbone.encode(frames).to(x0)
        return x0, (x - step.signal * x0) / step.noise

    def _read_source(
        self, call: Batch
    ) -> tuple[dict[int, Tensor], dict[str, tuple[Tensor, Tensor]]]:
        """Read features of the clip itself, almost without noise: at the level where
        the last step starts.

        Returns:
            The input of each up block, and queries and keys of the guided layers.
        """
        entering: dict[int, Tensor] = {}
        looks: dict[str, tuple[Tensor, Tensor]] = {}
        if not self.steps:
            return entering, looks

        def look(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.name in self._attention.sites:
                looks[site.name] = (q, k)
            return plain(q, k, v, site)

        def enter(block: int, x: Tensor) -> Tensor:
            entering[block] = x
            return x

        step = self.steps[-1]
        released = self._params.details == "released"
        noise = self._noise(0, own=True) if released else self.first_noise
        x = add_noise(self.source, noise, step)
        change = Intervention(
            look, (entering_up_blocks(enter),), beside=self._beside, guidance=self._told
        )
        rows = call.join({"uncond": x, "cond": x})
        self._backbone.predict(rows, step, call.texts(self._text), change)
        return entering, looks


def find_background(
    request: EditRequest, working: ResizedClip
) -> Float[Tensor, "frames 1 height width"]:
    """Measure how much of each pixel of the working size no region covers."""
    size = working.frames.shape[1:3]
    side = _growth(size)

    def pool(part: Tensor) -> Tensor:
        return F.adaptive_max_pool2d((part > 0).float()[:, None], size)

    covered = pooled(request.areas, pool)
    return 1 - F.max_pool2d(covered, side, stride=1, padding=side // 2)


def _growth(size: Sequence[int]) -> int:
    """Return the odd side of the box for frames of this size."""
    return 2 * round(_GROWTH * min(size) / _OF_SIDE / 2 - 0.5) + 1
