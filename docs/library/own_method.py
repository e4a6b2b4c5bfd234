"""A method of another package: noise the clip a little, denoise it with the prompt."""

import regrain
from regrain.editing.params.base import WindowedParams
from regrain.editing.params.written import parameter


class GentleParams(WindowedParams):
    """The parameters that every method has, and one more."""

    amount: float = parameter(
        0.4, "Amount", "Share of the steps that are run.", (0.05, 1)
    )


def run(backbone, request, params, window=None):
    """See CONTRIBUTING.md, *How to add a method*."""
    import torch

    from regrain.editing.attention.batch import Batch
    from regrain.editing.diffusion.schedule import add_noise, advance
    from regrain.editing.recipe.window import WindowResult, working_clip

    yield regrain.Stage("editing")
    with torch.no_grad():
        source = backbone.encode(working_clip(backbone, request, window).frames)
        batch = Batch.of(len(source), edits=1)
        uncond, cond = backbone.embed([request.negatives, request.targets[0]])
        text = batch.texts({"uncond": uncond, "cond/0": cond})
        noise = torch.randn(
            source.shape[1:], generator=torch.Generator().manual_seed(request.seed)
        )
        steps = [
            s
            for s in backbone.schedule.sampling(params.steps)
            if not s.within(1 - params.amount)
        ]
        x = add_noise(source, noise.expand_as(source), steps[0])
        for step in steps:
            x0, eps = backbone.predict(batch.join({"uncond": x, "cond": x}), step, text)
            x = advance(*batch.guide((x0, eps), params.guidance_scale), step)
    return WindowResult(x.split(len(source)))


# In pyproject.toml, under [project.entry-points."regrain.methods"]:
# gentle = "own_method:gentle"
stages = ("editing", "decoding")
gentle = regrain.Method(
    "gentle", "Gentle", "own", GentleParams, frozenset(), stages, f"{__name__}:run"
)
