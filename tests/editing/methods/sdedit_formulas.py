"""SDEdit written out: what every call of the model should be given, and what becomes of its answers."""

from fractions import Fraction

import torch
from vid2vid_zero_formulas import check_own_frame
from wiring import FINEST, FRAMES, GRIDS, Run, answers, any_in, guided, has_text, near

from regrain.editing.diffusion.schedule import Step


def check(run: Run) -> None:
    """The whole run, by the formulas of the paper and the parameters given."""
    params, request, model = run.params, run.request, run.model
    clean = model.encode(request.clip.read(0, FRAMES))
    noise = torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(request.seed))
    inside = any_in(request.edited_mask, GRIDS[FINEST]) if params.blend and request.edited else None
    steps = steps_taken(model.schedule.sampling(params.steps), params.strength)
    edits, texts = len(request.targets), model.embed(request.targets).vectors
    xs = [steps[0].signal * clean + steps[0].noise * noise] * edits
    assert [(call.stage, call.step) for call in run.calls] == [("editing", step) for step in steps]
    for call, step in zip(run.calls, steps, strict=True):
        check_own_frame(call)
        for i in range(edits):
            near(call.x[call.branch(i)], xs[i], "x, without the prompt")
            near(call.x[call.branch(edits + i)], xs[i], "x, with it")
            assert has_text(call, i, model.embed([request.negatives]).vectors)
            assert has_text(call, edits + i, texts[i : i + 1])
            xs[i] = guided(answers(call, i), answers(call, edits + i), params.guidance_scale, step)
            if inside is not None:
                known = step.signal_next * clean + step.noise_next * noise
                xs[i] = inside * xs[i] + (1 - inside) * known
    for found, expected in zip(run.decoded, xs, strict=True):
        near(found, expected, "last latents")


def steps_taken(steps: tuple[Step, ...], strength: float) -> list[Step]:
    """The last share of the schedule; a step that is in it in part is in it."""
    skipped = int((1 - Fraction(str(strength))) * len(steps))
    return list(steps[skipped:])
