"""SDEdit written out: what every call of the model should be given, and what becomes of
its answers."""

import torch
from made_models import seeded
from torch import Tensor
from wiring import SHORT, Case, Run, check_edits

from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.diffusion.schedule import Step

CASE = Case(
    base=SHORT | {"strength": 1.0},
    rows={"sampler": "lcm"},
    # held in test_wiring.py
    elsewhere={"flow"},
)


def check(run: Run) -> None:
    """The whole run, by the formulas of the paper and the parameters given; where a
    sampler draws noise anew, the clip outside has the same."""
    params = run.params
    clean = run.clean
    fresh = seeded(run.request.seed)

    def draw() -> Tensor:
        return torch.randn(clean.shape[1:], generator=fresh).expand_as(clean)

    sampling = Sampling(
        run.model.schedule, params.sampler, params.steps, params.strength
    )
    steps = sampling.steps
    assert [(call.stage, call.step) for call in run.calls] == [
        ("editing", step) for step in steps
    ]
    noise = draw()
    draws_anew = params.sampler in ("lcm", "tcd", "euler_ancestral")
    added = {step: draw() if draws_anew else noise for step in steps}

    def known(step: Step) -> Tensor:
        if step == steps[-1]:
            return clean
        return step.signal_next * clean + step.noise_next * added[step]

    def take(x: Tensor, x0: Tensor, eps: Tensor, step: Step) -> Tensor:
        return sampling.advance(x, x0, eps, step, added[step])

    start = steps[0].signal * clean + steps[0].noise * noise
    check_edits(run, run.calls, start, known, "own", take)
