"""SDEdit: noise the clip part of the way, denoise it with the prompt (Meng et al. 2022, arXiv:2108.01073)."""

from collections.abc import Generator

import torch

from regrain.editing.attention.batch import Batch
from regrain.editing.diffusion.blending import blend_latents
from regrain.editing.diffusion.schedule import add_noise, advance
from regrain.editing.models.backbone import Backbone
from regrain.editing.params.sdedit import SDEditParams
from regrain.editing.recipe.events import Event, Progress, Stage
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
    working, edits = working_clip(backbone, request, piece), len(request.targets)
    fields = ["negative_prompt", "prompt", *["more_prompts"] * (edits - 1)]
    uncond, *conds = backbone.embed([request.negatives, *request.targets], fields)
    batch, steps = (
        Batch.of(len(working.frames), edits=edits),
        backbone.schedule.sampling(params.steps),
    )
    text = batch.texts({"uncond": uncond} | {f"cond/{i}": cond for i, cond in enumerate(conds)})
    steps = [step for step in steps if not step.within(1 - params.strength)]

    yield Stage("editing")
    source, inside = backbone.encode(working.frames), working.inside() if params.blend else None
    fresh, copies = torch.Generator().manual_seed(request.seed), (edits, 1, 1, 1)
    noise = torch.randn(source.shape[1:], generator=fresh).to(source).expand_as(source)
    previews = Previews(source, working, params.preview_every)
    x = (add_noise(source, noise, steps[0]) if steps else source).repeat(copies)
    for done, step in enumerate(steps, 1):
        answer = backbone.predict(batch.join({"uncond": x, "cond": x}), step, text)
        x0, eps = batch.guide(answer, params.guidance_scale)
        x = advance(x0, eps, step)
        if inside is not None:
            x = blend_latents(x, advance(source, noise, step).repeat(copies), inside.repeat(copies))
        yield from previews(step, x0[: batch.frames], lambda _: {})
        yield Progress("editing", done, len(steps), None)
    return WindowResult(x.split(batch.frames))
