"""vace written out: what every call of the model should be given, and what becomes of
its answers."""

import numpy as np
import torch
from flow_regions_formulas import (
    BOUND_ROWS,
    COND,
    Heat,
    check_layers,
    check_text,
    halves,
    levels,
    parts,
)
from made_models import seeded
from wiring import MODULATED, SHORT, Case, Row, Run, any_in, frames_of, near

from regrain.editing.diffusion.flow import UniPC
from regrain.editing.models.wan.condition import condition
from regrain.editing.models.wan.keep import kept_of

CASE = Case(
    base=SHORT | MODULATED | {"match": False},
    rows=BOUND_ROWS
    | {
        "preset": "fast",
        "solver": "euler",
        "keep": "grey",
        "match": Row(True, shown=frames_of),
    },
    # held in test_vace_method.py
    elsewhere={"span", "mask", "picture_binding", "overlap"},
    heat={"left", "right"},
)


def check(run: Run) -> None:
    """The whole run, by the formulas of the paper and the parameters given."""
    params = run.params
    request = run.request
    clean = run.clean
    frames = request.clip.read(0, run.frames)
    mask = np.asarray(request.edited_mask)
    inside = any_in(mask, clean.shape[2:])
    gate = torch.stack([inside[part].amax(0) for part in parts(run)])
    kept = frames if params.keep == "nothing" else kept_of(frames, [], params.keep)
    seen = np.float32(
        kept if params.keep != "nothing" else np.full_like(kept, 0) + 127.5
    )
    seen = np.where(mask[..., None], seen, np.float32(frames))
    context = condition(run.model.encode, seen, np.float32(mask))
    fresh = seeded(request.seed)

    def draw():
        return torch.randn(clean.shape, generator=fresh)

    sigmas = levels(run)
    x = draw()
    if params.strength < 1:
        x = (1 - sigmas[0]) * clean + sigmas[0] * x
    calls = iter(run.of("editing"))
    solver = UniPC()
    heat = Heat(run)
    for sigma, lower in zip(sigmas, sigmas[1:], strict=False):
        answers = []
        scale = params.guidance_scale
        for half in halves(scale):
            call = next(calls)
            near(call.x, x, "x", atol=1e-4)
            assert abs(call.step.noise - sigma) < 1e-6
            check_text(run, call, "a panda and a fox on the grass", half)
            near(call.change.context, context, "context", atol=1e-5)
            check_layers(run, call, half == COND, heat if half == COND else None)
            answers.append(call.x0)
        *without, x0 = answers
        for one in without:
            x0 = one + scale * (x0 - one)
        if params.blend:
            x0 = gate * x0 + (1 - gate) * clean
        if params.solver == "euler":
            x = x + (lower - sigma) * (x - x0) / sigma
        elif params.solver == "unipc":
            x = solver.advance(x, x0, call.step)
        else:
            x = (1 - lower) * x0 + lower * draw()
    assert next(calls, None) is None
    near(run.decoded[0], x, "last latents", atol=1e-4)
    heat.check()
