"""SDEdit: noise the clip part of the way, denoise it with the prompt (Meng et al. 2022,
arXiv:2108.01073)."""

import torch

from regrain.editing.attention.batch import Batch
from regrain.editing.diffusion.blending import blend_edits
from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.diffusion.schedule import common_noise
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.params.sdedit import SDEditParams
from regrain.editing.recipe.beside import beside_latents
from regrain.editing.recipe.events import Stage, Steps
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.prompts import embed_targets, guidance_of
from regrain.editing.recipe.window import WindowFrames, WindowResult, working_clip
from regrain.editing.request.edit_request import EditRequest


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: SDEditParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it; yields events, returns the latents."""
    working = working_clip(backbone, request, window)
    uncond, conds = embed_targets(backbone, request)
    scale, told_scale = guidance_of(backbone, params.guidance_scale)
    batch = Batch.of(len(working.frames), edits=len(conds), scale=scale)
    text = batch.guided_texts(uncond, conds)
    sampling = Sampling(
        backbone.schedule, params.sampler, params.steps, params.strength
    )

    yield Stage("editing")
    source = backbone.encode(working.frames)
    beside = beside_latents(backbone, working, source)
    change = Intervention(beside=beside, guidance=told_scale)
    # An inpainting model is shown what is outside, and keeps it by itself.
    inside = working.inside() if params.blend and backbone.beside != "hole" else None
    fresh = torch.Generator().manual_seed(request.seed)
    noise = common_noise(source, fresh)
    told = StepEvents(source, working, params.preview_every, len(sampling.steps))
    copies = (len(conds), 1, 1, 1)
    pure = bool(backbone.beside) and params.strength == 1
    x = sampling.noised(source, noise, pure).repeat(copies)
    for step in sampling.steps:
        rows = batch.join({"uncond": x, "cond": x})
        answer = backbone.predict(rows, step, text, change)
        x0, eps = batch.guide(answer, scale)
        added = common_noise(source, fresh) if sampling.random else noise
        x = sampling.advance(
            x,
            x0,
            eps,
            step,
            added.repeat(copies),
        )
        if inside is not None:
            known = sampling.known(source, added, step)
            x = blend_edits(x, known, inside)
        yield from told(step, x0[: batch.frames])
    return WindowResult(x.split(batch.frames))
