"""Tune-A-Video: tune the model on the clip, then edit the clip by words.

Wu et al. 2022, arXiv:2212.11565. The image model gets attention over time and sees
other frames; a few of its weights learn to draw this one clip (`tuning`). The clip is
inverted to noise through the tuned model with an empty prompt, and denoised from there
with another prompt: same motion, other looks.

An adapter of the request takes the place of the tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from regrain.editing.attention.batch import Batch
from regrain.editing.diffusion.blending import blend_edits, mix_noise
from regrain.editing.diffusion.schedule import (
    FrameLatents,
    advance,
)
from regrain.editing.methods.tuning import learn_clip, sparse_causal
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.models.unet.control_net import ControlNets
from regrain.editing.models.unet.tuned import tuned
from regrain.editing.params.tune_a_video import TuneAVideoParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    HeatScope,
    Look,
    new_columns,
    watched,
)
from regrain.editing.recipe.events import Stage, Steps
from regrain.editing.recipe.inversion import invert_cached
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.prompts import embed_targets
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: TuneAVideoParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it, with a tuned model; yields events, returns the
    latents."""
    working = working_clip(backbone, request, window)
    frames = len(working.frames)
    uncond, conds = embed_targets(backbone, request)
    batch = Batch.of(frames, edits=len(conds), scale=params.guidance_scale)
    text = batch.guided_texts(uncond, conds)
    heat = AttentionRecorder(HeatScope.of(working.grid, backbone.sites))
    words = new_columns(request.description, conds[0])
    patches = (joint_norm(frames),)
    control = ControlNets(params.control, working.frames, backbone, patches)
    look = [Look(heat, "cond/0")]
    attend = watched(sparse_causal(frames, backbone.device), batch, lambda _: look)
    change = Intervention(attend, patches, control.reading(text))

    yield Stage("inverting")
    fresh = torch.Generator().manual_seed(request.seed)
    source = yield from invert(backbone, working, params, control)
    x = mix_noise(source[-1], working.inside(), params.variation, fresh)

    yield Stage("editing")
    told = StepEvents(source[0], working, params.preview_every, params.steps)
    inside = working.inside() if params.blend else None
    x = x.repeat(len(conds), 1, 1, 1)
    for step in backbone.schedule.sampling(params.steps, inverted=True):
        x = working.window.pin_anchors("edit", step.index, x)
        heat.begin(step)
        rows = batch.join({"uncond": x, "cond": x})
        answer = backbone.predict(rows, step, text, change)
        x0, eps = batch.guide(answer, params.guidance_scale)
        x = advance(x0, eps, step)
        if inside is not None:
            x = blend_edits(x, source[step.total - 1 - step.index], inside)
        yield from told(step, x0[:frames], partial(heat.now, words))
    return WindowResult(x.split(frames), heat.maps(words), control=control.maps)


def prepare(
    backbone: Backbone, request: EditRequest, params: TuneAVideoParams
) -> Steps[Backbone]:
    """Return the model to edit with: tuned on the clip, unless the request brings an
    adapter."""
    if request.adapter:
        return backbone
    yield Stage("tuning")
    adapter = yield from learn_clip(backbone, request, params)
    return tuned(backbone, adapter)


def invert(
    backbone: Backbone,
    working: ResizedClip,
    params: TuneAVideoParams,
    control: ControlNets,
) -> Steps[Sequence[FrameLatents]]:
    """Invert the clip through the tuned model with an empty prompt; return its latents
    from clean to noise; cached."""
    frames = len(working.frames)
    (empty,) = backbone.embed([""])
    patches = (joint_norm(frames),)
    change = Intervention(
        sparse_causal(frames, backbone.device), patches, control.reading(empty)
    )
    return (
        yield from invert_cached(
            backbone,
            working,
            partial(backbone.predict, text=empty, change=change),
            backbone.schedule.inversion(params.steps, "fatezero"),
            preview_every=params.preview_every,
            steps=params.steps,
            control=control.fingerprint,
            method="tune_a_video",
        )
    )
