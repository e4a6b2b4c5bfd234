"""FRESCO: redraws a clip so that frames agree where the clip's own frames do.

Yang et al. 2024, arXiv:2403.12962. A batch of key frames is noised part of the way and
denoised with the prompt (SDEdit, ancestral sampling). Inputs of the decoder's blocks
are optimised to follow the optical flow and to be as self-similar as in the source; the
decoder's self-attention is guided by the source, by content that frames share, and by
the motion. With regions that have words, VideoGrain's modulation binds them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.attention.batch import Batch, guide_calls, guided_calls
from regrain.editing.attention.feature_optimization import (
    Agreement,
    neighbours,
    optimize_features,
)
from regrain.editing.attention.frames import frames_seen
from regrain.editing.attention.layers import AttentionLayer, plain
from regrain.editing.diffusion.blending import blend_latents
from regrain.editing.diffusion.samplers import Sampling, noised
from regrain.editing.diffusion.schedule import (
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
from regrain.editing.params.base import ModulatedParams, ModulationVariants
from regrain.editing.params.fresco import FrescoParams
from regrain.editing.recipe.attention_recorder import AttentionRecorder, HeatScope
from regrain.editing.recipe.events import Event, Progress, Stage
from regrain.editing.recipe.guidance import Guidance
from regrain.editing.recipe.guided import GuidedAttention
from regrain.editing.recipe.inpainting import beside_latents
from regrain.editing.recipe.layout import lay_out
from regrain.editing.recipe.modulation import Modulation
from regrain.editing.recipe.preview import Previews
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


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: FrescoParams,
    piece: WindowFrames | None = None,
) -> Generator[Event, None, WindowResult]:
    """Edit a clip, or a piece of it; yields events, returns the latents."""
    working = working_clip(backbone, request, piece)
    clip = FrescoState(backbone, request, params, working)

    yield Stage("editing")
    model = FrescoModel(clip)
    previews = Previews(clip.source, working, params.preview_every)
    x = clip.start()
    inside = working.inside() if params.blend and not backbone.inpaints else None
    for done, step in enumerate(clip.steps, 1):
        x = working.piece.pin_anchors("edit", step.index, x)
        x0, eps = model.predict_guided(x, step)
        x0, eps = model.smoothed(x0, eps, x, step)
        x = clip.stepped(x, x0, eps, step)
        if inside is not None:
            x = blend_latents(x, clip.outside(step), inside)
        yield from previews(step, x0, model.heat)
        yield Progress("editing", done, len(clip.steps), None)
    return WindowResult((x,), model.maps(), control=clip.control.maps)


class FrescoState:
    """Everything decided before the first step, and the noise.

    Attributes:
        source: Latents of the frames at the working size.
        steps: The steps that are run: all of the schedule or, with less strength, its
            last ones.
        plain_text: The negative prompt and the prompt, as control networks read them.
        text: The negative prompt and the prompt as the model reads them, with words of
            regions encoded alone.
        layout: Regions and words; None if no region has words.
        guidance: How the run is guided.
        beside: Further channels of an inpainting model.
        background: How much of a pixel no region covers; None if the background is not
            smoothed.
    """

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        params: FrescoParams,
        working: ResizedClip,
    ) -> None:
        self.backbone = backbone
        self.params = params
        self.frames = working.frames
        self.grid = working.grid
        self._seed = request.seed
        self._numbers = working.piece.numbers
        self._sampling = Sampling(
            backbone.schedule, params.sampler, params.steps, params.strength
        )
        self.steps: Sequence[Step] = self._sampling.steps
        if params.sampler == "ddim":
            skipped = round(params.steps * (1 - params.strength))
            self.steps = backbone.schedule.sampling(params.steps)[skipped:]
        self.control = ControlNets(params.control, working.frames, backbone)
        prompts = [request.negatives, request.composed.text]
        uncond, cond = backbone.embed(prompts, ["negative_prompt", "prompt"])
        self.plain_text = {"uncond": uncond, "cond": cond}
        self.layout = None
        self.text = self.plain_text
        if request.edited:
            self.layout, self.text = lay_out(backbone, request, working.grid)
        self.source = backbone.encode(working.frames)
        self.guidance = Guidance.of(backbone, params.guidance_scale)
        self.beside = beside_latents(backbone, working, self.source, params.shown)
        self.background = None
        if _smooths(request, params, working):
            self.background = find_background(request, working)

    def noise(self, draw: int, own: bool) -> Float[Tensor, "frames c h w"]:
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

    def first_noise(self) -> Float[Tensor, "frames c h w"]:
        """Draw the noise that the clip is mixed with."""
        return self.noise(0, self.params.first_noise == "own")

    def start(self) -> Float[Tensor, "frames c h w"]:
        """Return the latents that enter the first step; the clip's own, if none is
        run."""
        pure = self.backbone.inpaints and self.params.strength == 1
        return noised(self.source, self.first_noise(), self.steps, pure)

    def stepped(
        self, x: Tensor, x0: Tensor, eps: Tensor, step: Step
    ) -> Float[Tensor, "frames c h w"]:
        """Return the latents after a step. Ancestral sampling ends clean, whatever the
        schedule."""
        if self.params.sampler != "ddim":
            own = self.params.step_noise == "own"
            fresh = self.noise(step.index + 1, own)
            return self._sampling.advance(x, x0, eps, step, fresh)
        if self.params.step_noise == "none":
            return advance(x0, eps, step)
        fresh = self.noise(step.index + 1, self.params.step_noise == "own")
        return x0 if step.index + 1 == step.total else ddpm_step(x0, eps, step, fresh)

    def outside(self, step: Step) -> Float[Tensor, "frames c h w"]:
        """Return the clip's own latents after a step."""
        if step.index + 1 == step.total:
            return self.source
        return advance(self.source, self.first_noise(), step)


def _smooths(request: EditRequest, params: FrescoParams, working: ResizedClip) -> bool:
    """Check if the background is smoothed."""
    # Latents outside an edited area are the clip's, and need no smoothing.
    keeps = params.blend and working.edited is not None
    return params.smooth_background and not keeps and bool(request.regions)


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


class Reference(NamedTuple):
    """Features of the source: the input of each up block, and queries and keys of the
    guided layers."""

    entering: dict[int, Tensor]
    looks: dict[str, tuple[Tensor, Tensor]]


class FrescoModel:
    """Predictions for the frames of a piece, guided by their motion and by features of
    the source."""

    def __init__(self, clip: FrescoState) -> None:
        backbone = clip.backbone
        params = clip.params
        self._clip = clip
        self._motion = around(clip.frames, params.flow)
        self._motion_at = cache(lambda size: self._motion.at(size).to(backbone.device))
        # made where it does not wait for the device
        circular = params.flow_loss == "circular"
        self._links_at = cache(
            lambda size: neighbours(self._motion.at(size), circular).to(backbone.device)
        )
        self.modulation = self._make_modulation()
        self._attention = GuidedAttention(
            clip.frames,
            self._motion,
            clip.grid,
            backbone.sites,
            params,
            self.modulation,
        )
        fits = backbone.halves_fit(*clip.grid)
        calls = guided_calls(len(clip.frames), fits, clip.guidance.scale)
        self._calls = [(call, self._read_source(call)) for call in calls]

    def heat(
        self, frames: Sequence[int]
    ) -> dict[str, Float32[np.ndarray, "shown h w"]]:
        """Return this step's maps of some frames, for a preview."""
        return {} if self.modulation is None else self.modulation.now(frames)

    def maps(self) -> dict[str, RegionAttention]:
        """Return the maps over the run; none if no region has words, or no step is
        run."""
        if self.modulation is None or not self._clip.steps:
            return {}
        return self.modulation.maps()

    def predict_guided(
        self, x: Float[Tensor, "frames c h w"], step: Step
    ) -> tuple[Float[Tensor, "frames c h w"], Float[Tensor, "frames c h w"]]:
        """Predict guided (x0, eps)."""
        if self.modulation is not None:
            self.modulation.begin(step)
        answers = [self._predict(x, step, call, source) for call, source in self._calls]
        batches = [call for call, _ in self._calls]
        return guide_calls(answers, batches, self._clip.guidance.scale)

    def _predict(
        self, x: Tensor, step: Step, call: Batch, source: Reference
    ) -> tuple[Tensor, Tensor]:
        clip = self._clip
        params = self._clip.params
        spatial = step.index < clip.steps[0].index + params.spatial_steps
        attend = self._attention.attend(step, call, source.looks if spatial else None)
        optimises = step.within(params.optimise_until)
        patches = (entering_up_blocks(self._agreeing(source)),) if optimises else ()
        control = clip.control.reading(call.texts(clip.plain_text))
        change = Intervention(
            attend,
            patches,
            control,
            beside=clip.beside,
            guidance=clip.guidance.told,
        )
        rows = call.join({"uncond": x, "cond": x})
        return clip.backbone.predict(rows, step, call.texts(clip.text), change)

    def _agreeing(self, source: Reference) -> Callable[[int, Tensor], Tensor]:
        """Return the function that optimises the input of an up block and smooths its
        background."""
        params = self._clip.params
        wanted = Agreement(
            flow=params.flow_weight,
            similarity=params.similarity_weight,
            circular=params.flow_loss == "circular",
            distance=params.similarity_loss,
            rounds=params.optimise_rounds,
            learning_rate=params.learning_rate,
            restore=params.restore_statistics,
            released=params.details == "released",
        )

        def enter(
            block: int, x: Float[Tensor, "rows c h w"]
        ) -> Float[Tensor, "rows c h w"]:
            size = tuple(x.shape[2:])
            links = self._links_at(size) if wanted.flow else None
            x = optimize_features(x, source.entering[block], links, wanted)
            background = self._background(x.shape[2:], x)
            if background is None:
                return x
            motion = self._motion_at(size)
            halves = x.split(len(self._clip.frames))
            return torch.cat(
                [smooth_background(half, motion, background) for half in halves]
            )

        return enter

    def _background(
        self, size: Sequence[int], like: Tensor
    ) -> Float[Tensor, "frames 1 h w"] | None:
        """Return the background of these frames at some size; None if it is not
        smoothed."""
        whole = self._clip.background
        if whole is None:
            return None
        return F.interpolate(
            whole, tuple(size), mode="bilinear", align_corners=False
        ).to(like)

    def smoothed(
        self, x0: Tensor, eps: Tensor, x: Tensor, step: Step
    ) -> tuple[Tensor, Tensor]:
        """Smooth the background of the expected frames in pixels, in a few late
        steps."""
        clip = self._clip
        params = self._clip.params
        due = step.within(params.smooth_until) and not step.within(params.smooth_from)
        if clip.background is None or not due:
            return x0, eps
        frames = self._smoothed_frames(clip.backbone.decode(x0))
        x0 = clip.backbone.encode(frames).to(x0)
        return x0, (x - step.signal * x0) / step.noise

    def _smoothed_frames(
        self, frames: UInt8[np.ndarray, "frames h w 3"]
    ) -> UInt8[np.ndarray, "frames h w 3"]:
        """Let the background of frames follow the motion."""
        pixels = torch.from_numpy(frames).movedim(-1, 1).float()
        size = pixels.shape[2:]
        background = self._background(size, pixels)
        pixels = smooth_background(pixels, self._motion, background, _growth(size))
        return pixels.round().clamp(0, 255).byte().movedim(1, -1).numpy()

    def _make_modulation(self) -> Modulation | None:
        clip = self._clip
        params = self._clip.params
        if clip.layout is None:
            return None
        shared = params.model_dump(include=set(ModulatedParams.__annotations__))
        rules = ModulationVariants(**shared)
        scope = HeatScope.choose(clip.grid, clip.backbone.sites)
        own = frames_seen(("own",), len(clip.frames))
        return Modulation(clip.layout, rules, own, AttentionRecorder(scope))

    def _read_source(self, call: Batch) -> Reference:
        """Read features of the clip itself, almost without noise: at the level where
        the last step starts."""
        clip = self._clip
        found = Reference({}, {})
        if not clip.steps:
            return found

        def look(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.name in self._attention.sites:
                found.looks[site.name] = (q, k)
            return plain(q, k, v, site)

        def enter(block: int, x: Tensor) -> Tensor:
            found.entering[block] = x
            return x

        step = clip.steps[-1]
        released = clip.params.details == "released"
        noise = clip.noise(0, own=True) if released else clip.first_noise()
        x = add_noise(clip.source, noise, step)
        change = Intervention(
            look,
            (entering_up_blocks(enter),),
            beside=clip.beside,
            guidance=clip.guidance.told,
        )
        rows = call.join({"uncond": x, "cond": x})
        clip.backbone.predict(rows, step, call.texts(clip.text), change)
        return found


def _growth(size: Sequence[int]) -> int:
    """Return the odd side of the box for frames of this size."""
    return 2 * round(_GROWTH * min(size) / _OF_SIDE / 2 - 0.5) + 1
