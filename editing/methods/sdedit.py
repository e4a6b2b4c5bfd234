"""SDEdit: noise the clip part of the way, denoise it with the prompt (Meng et al. 2022,
arXiv:2108.01073)."""

from collections.abc import Generator

import torch

from regrain.editing.attention.batch import Batch
from regrain.editing.diffusion.blending import blend_edits
from regrain.editing.diffusion.schedule import (
    add_noise,
    advance,
    common_noise,
    late_steps,
)
from regrain.editing.models.backbone import Backbone
from regrain.editing.params.sdedit import SDEditParams
from regrain.editing.recipe.events import Event, Progress, Stage
from regrain.editing.recipe.preview import Previews
from regrain.editing.recipe.prompts import embed_targets
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
    uncond, conds = embed_targets(backbone, request)
    batch = Batch.of(len(working.frames), edits=len(conds))
    text = batch.guided_texts(uncond, conds)
    schedule = backbone.schedule.sampling(params.steps)
    steps = late_steps(schedule, params.strength)

    yield Stage("editing")
    source = backbone.encode(working.frames)
    inside = working.inside() if params.blend else None
    fresh = torch.Generator().manual_seed(request.seed)
    noise = common_noise(source, fresh)
    previews = Previews(source, working, params.preview_every)
    x = add_noise(source, noise, steps[0]) if steps else source
    x = x.repeat(len(conds), 1, 1, 1)
    for done, step in enumerate(steps, 1):
        rows = batch.join({"uncond": x, "cond": x})
        answer = backbone.predict(rows, step, text)
        x0, eps = batch.guide(answer, params.guidance_scale)
        x = advance(x0, eps, step)
        if inside is not None:
            known = advance(source, noise, step)
            x = blend_edits(x, known, inside)
        yield from previews(step, x0[: batch.frames], lambda _: {})
        yield Progress("editing", done, len(steps), None)
    return WindowResult(x.split(batch.frames))
