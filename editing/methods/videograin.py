"""VideoGrain: edits several regions of a clip together; modulated attention binds each
to its own words.

Yang et al. 2025, arXiv:2502.17258. The clip is inverted to noise with the source
prompt; on the way back, during the first steps, cross-attention ties the pixels of each
region to the words of that region (Eq. 6) and self-attention keeps each region among
its own pixels in all frames (Eq. 5). Attention along the flow (FLATTEN), features of
the source (Plug-and-Play) and control networks keep the motion. Outside the edited
regions, latents come from the inversion. The finished edit can be noised and its last
steps taken again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import guide_calls, guided_calls
from regrain.editing.attention.frames import (
    Selectors,
    TrackOrder,
    across_frames,
    frames_seen,
)
from regrain.editing.attention.layers import AttentionLayer, Size
from regrain.editing.diffusion.blending import blend_latents, mix_noise
from regrain.editing.diffusion.schedule import (
    Answer,
    Convention,
    FrameLatents,
    Step,
    add_noise,
    advance,
    common_noise,
    own_noise,
)
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.models.unet.control_net import ControlNets
from regrain.editing.models.unet.features import Features, injecting, recording
from regrain.editing.motion.flow import follow
from regrain.editing.params.videograin import VideoGrainParams
from regrain.editing.recipe.attention_recorder import AttentionRecorder, HeatScope
from regrain.editing.recipe.events import Stage, Steps
from regrain.editing.recipe.inversion import invert_cached
from regrain.editing.recipe.layout import lay_out
from regrain.editing.recipe.modulation import Modulation, Variants, along_tracks
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.prompts import embed_halves
from regrain.editing.recipe.redraw import calmed
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest

_CONVENTIONS: dict[str, Convention] = {"paper": "paper", "released": "videograin"}
_SPANS: dict[str, Selectors] = {
    "full": "all",
    "sparse_causal": ("first", "previous"),
    "own_frame": ("own",),
}


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: VideoGrainParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it; yields events, returns the latents."""
    working = working_clip(backbone, request, window)
    scope = HeatScope.choose(working.grid, backbone.sites)

    yield Stage("inverting")
    model = VideoGrainModel(backbone, working, request, params)
    inverted = yield from invert(model, working)
    layout, text = lay_out(backbone, request, working.grid)
    modulation = Modulation(
        layout,
        params,
        model.seen,
        AttentionRecorder(scope),
        model.tracks,
        Variants(
            half=params.guidance_half,
            skips_finest=params.levels == "coarse",
            repels=params.uncovered == "repelled",
            over_frames=params.size_over_frames,
        ),
        before_text=backbone.sites[0].name if model.source.pooled is None else "",
    )

    yield Stage("editing")
    inside = working.inside()
    fresh = torch.Generator().manual_seed(request.seed)

    def blended(x: FrameLatents, step: Step) -> FrameLatents:
        """Return latents after a step: with blending, the source's outside the edited
        regions."""
        if not params.blend:
            return x
        known = outside(inverted, step, params.blend_with, fresh)
        return blend_latents(x, known, inside)

    x = mix_noise(inverted[-1], inside, params.variation, fresh)
    steps = backbone.schedule.sampling(params.steps, inverted=True)
    again = steps[len(steps) - params.steps_again :]
    told = StepEvents(
        inverted[0], working, params.preview_every, len(steps) + len(again)
    )
    for number, step in enumerate((*steps, *again)):
        if number == len(steps):
            # Averaged along the motion, and noised alike in all frames.
            calm = calmed(backbone, working, x, params.flow)
            x = add_noise(calm, common_noise(x, fresh), step)
            x = blended(x, steps[step.index - 1])
        x = working.window.pin_anchors("edit", number, x)
        modulation.heat.begin(step)
        features = model.source_features(inverted, step)
        x0, eps = model.predict_guided(
            x,
            step,
            text,
            modulation,
            features,
        )
        x = blended(advance(x0, eps, step), step)
        yield from told(step, x0, modulation.now)
    return WindowResult((x,), modulation.maps(), control=model.control.maps)


class VideoGrainModel:
    """The backbone as a run calls it, in inversion and in denoising.

    Attributes:
        seen: The frames whose keys a frame sees.
        tracks: Tracks of the tokens along the flow, on the finest grid; `tracks_key`
            stands for them in cache keys.
        calls: Rows of each call of a denoising step: both halves of guidance in one, or
            one after the other.
    """

    def __init__(
        self,
        backbone: Backbone,
        working: ResizedClip,
        request: EditRequest,
        params: VideoGrainParams,
    ) -> None:
        self.backbone = backbone
        self.params = params
        self.grid = working.grid
        frames = working.grid.time
        span = _SPANS[params.attention_span]
        self.seen = frames_seen(span, frames, backbone.device)
        finest = min(site.stride for site in backbone.sites if site.kind == "self")
        size = working.grid.over(finest).size
        ids = follow(working.frames, size, params.flow, working.window.breaks)
        self.tracks: dict[Size, TrackOrder] = {}
        self.tracks_key = b""
        if ids is not None:
            self.tracks[size] = TrackOrder.of(ids, backbone.device)
            # The tracks themselves, not the `flow` setting: weights of RAFT may be added
            # or removed.
            self.tracks_key = ids.numpy().tobytes()

        self._patches = (joint_norm(frames),) if params.joint_norm else ()
        self.control = ControlNets(
            params.control, working.frames, backbone, self._patches
        )

        self.source = backbone.embed([request.description], ["source_prompt"])
        self._controlled = embed_halves(backbone, request)
        fits = backbone.halves_fit(frames, *working.grid.size)
        scale = params.guidance_scale
        if params.guidance_half == "uncond":
            scale = 0.0  # the half that is modulated runs, whatever the scale
        self.calls = guided_calls(frames, fits, scale)

    def predict_guided(
        self,
        x: FrameLatents,
        step: Step,
        text: Mapping[str, PromptEmbedding],
        modulation: Modulation,
        features: Features | None,
    ) -> Answer:
        """Predict guided (x0, eps) under modulated attention, with the `features` of
        the source injected."""
        answers = []
        for batch in self.calls:
            control = self.control.reading(batch.texts(self._controlled))
            attend = modulation.attend(step, batch)
            change = Intervention(attend, self._patches, control)
            if features is not None:
                change = injecting(features, change)
            rows = batch.join({"uncond": x, "cond": x})
            answers.append(self.backbone.predict(rows, step, batch.texts(text), change))
        return guide_calls(answers, self.calls, self.params.guidance_scale)

    def predict_source(
        self, x: FrameLatents, step: Step, keep: Features | None = None
    ) -> Answer:
        """Predict (x0, eps) of the source clip during inversion; its features are
        written into `keep`."""
        change = Intervention(
            self.attend, self._patches, self.control.reading(self.source)
        )
        if keep is not None:
            change = recording(keep, change)
        return self.backbone.predict(x, step, self.source, change)

    def source_features(
        self, inverted: Sequence[Tensor], step: Step
    ) -> Features | None:
        """Compute the source's features at the inversion step that `step` reverses;
        None after the window.

        The release stores them for every inversion step; here they are computed anew.
        The step that reverses 961 -> 981 gets those of t = 961.
        """
        params = self.params
        told = _CONVENTIONS[params.inversion]
        steps = self.backbone.schedule.inversion(params.steps, told)
        if not step.within(params.inject_until, begun=True) or step.index >= len(steps):
            return None
        undone = steps[-1 - step.index]
        features = Features()
        self.predict_source(inverted[undone.index], undone, keep=features)
        return features

    def attend(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Compute attention without modulation."""
        if site.kind == "cross":
            return attention(q, k, v)
        out = across_frames(q, k, v, self.grid.time, self.seen)
        return along_tracks(q, k, out, self.tracks.get(self.grid.at(site).size))


def invert(model: VideoGrainModel, working: ResizedClip) -> Steps[list[FrameLatents]]:
    """Invert the clip without guidance and modulation: return latents from clean to
    noise; cached."""
    backbone = model.backbone
    params = model.params
    steps = backbone.schedule.inversion(params.steps, _CONVENTIONS[params.inversion])
    return (
        yield from invert_cached(
            backbone,
            working,
            model.predict_source,
            steps,
            preview_every=params.preview_every,
            text=model.source.vectors.cpu().numpy().tobytes(),
            steps=params.steps,
            convention=params.inversion,
            attention=params.attention_span,
            tracks=model.tracks_key,
            norm=params.joint_norm,
            control=model.control.fingerprint,
            method="videograin",
        )
    )


def outside(
    inverted: Sequence[FrameLatents], step: Step, of: str, fresh: torch.Generator
) -> FrameLatents:
    """Return the source's latents after `step`: from the inversion, or as released.

    The release adds fresh noise at the level before the step, one step too noisy, even
    after the last step.
    """
    if of == "noise":
        clean = inverted[0]
        return add_noise(clean, own_noise(clean, fresh), step)
    return inverted[max(len(inverted) - 2 - step.index, 0)]
