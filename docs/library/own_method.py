"""A method in a package of its own: noise the clip a little, denoise it with the prompt.

`[project.entry-points."regrain.methods"]` with `gentle = "own_method:gentle"` in the package's pyproject.toml
adds it to the command line (`--method gentle`), the page and the API.
"""

from pydantic import Field

import regrain
from regrain.editing.params.base import WindowedParams


class GentleParams(WindowedParams):
    """The parameters that every method has, and one more."""

    amount: float = Field(0.4, ge=0.05, le=1, title="Amount", description="Share of the steps that are run.")


def run(backbone, request, params, piece=None):
    """See CONTRIBUTING.md, *How to add a method*."""
    import torch

    from regrain.editing.attention.batch import Batch
    from regrain.editing.diffusion.schedule import add_noise, advance
    from regrain.editing.recipe.window import WindowResult, working_clip

    with torch.no_grad():
        working = working_clip(backbone, request, piece)
        source, batch = backbone.encode(working.frames), Batch.of(len(working.frames), edits=1)
        uncond, cond = backbone.embed([request.negatives, request.targets[0]])
        text = batch.texts({"uncond": uncond, "cond/0": cond})
        noise = torch.randn(source.shape[1:], generator=torch.Generator().manual_seed(request.seed))
        steps = [
            step for step in backbone.schedule.sampling(params.steps) if not step.within(1 - params.amount)
        ]
        x = add_noise(source, noise.expand_as(source), steps[0])
        for step in steps:
            answer = backbone.predict(batch.join({"uncond": x, "cond": x}), step, text)
            x = advance(*batch.guide(answer, params.guidance_scale), step)
            yield regrain.Progress("editing", step.index + 1, step.total, None)
    return WindowResult(x.split(len(source)))


gentle = regrain.Method(
    "gentle", "Gentle", "own", GentleParams, frozenset(), ("editing", "decoding"), f"{__name__}:run"
)
