"""SDEdit: noise the clip part of the way, denoise it with the prompt (Meng et al. 2022,
arXiv:2108.01073)."""

from collections.abc import Generator

import torch

from regrain.editing.attention.batch import Batch
from regrain.editing.diffusion.blending import blend_latents
from regrain.editing.diffusion.samplers import Sampling, draw_like, noised
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.params.sdedit import SDEditParams
from regrain.editing.recipe.events import Event, Progress, Stage
from regrain.editing.recipe.inpainting import beside_latents
from regrain.editing.recipe.preview import Previews
from regrain.editing.recipe.window import WindowFrames, WindowResult, working_clip
from regrain.editing.request.edit_request import EditRequest


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: SDEditParams,
    piece: WindowFrames | None = None,
) -> Generator[Event, None, WindowResult]:
    """Edit a clip, or a piece of it; yields events, returns the latents."""
    working = working_clip(backbone, request, piece)
    edits = len(request.targets)
    fields = ["negative_prompt", "prompt", *["more_prompts"] * (edits - 1)]
    uncond, *conds = backbone.embed([request.negatives, *request.targets], fields)
    scale = params.guidance_scale
    told = (scale,) if backbone.told_guidance else ()
    if told:
        scale = 1.0
    batch = Batch.of(len(working.frames), edits=edits, scale=scale)
    named = {f"cond/{i}": cond for i, cond in enumerate(conds)}
    text = batch.texts({"uncond": uncond} | named)
    sampling = Sampling(
        backbone.schedule, params.sampler, params.steps, params.strength
    )

    yield Stage("editing")
    source = backbone.encode(working.frames)
    beside = beside_latents(backbone, working, source, params.shown)
    change = Intervention(beside=beside, guidance=told)
    inside = working.inside() if params.blend else None
    fresh = torch.Generator().manual_seed(request.seed)
    noise = draw_like(source, fresh)
    previews = Previews(source, working, params.preview_every)
    copies = (edits, 1, 1, 1)
    x = noised(source, noise, sampling.steps).repeat(copies)
    for done, step in enumerate(sampling.steps, 1):
        rows = batch.join({"uncond": x, "cond": x})
        answer = backbone.predict(rows, step, text, change)
        x0, eps = batch.guide(answer, scale)
        added = draw_like(source, fresh) if sampling.random else noise
        x = sampling.advance(x, x0, eps, step, added.repeat(copies))
        if inside is not None:
            known = sampling.known(source, added, step)
            x = blend_latents(x, known.repeat(copies), inside.repeat(copies))
        yield from previews(step, x0[: batch.frames], lambda _: {})
        yield Progress("editing", done, len(sampling.steps), None)
    return WindowResult(x.split(batch.frames))
