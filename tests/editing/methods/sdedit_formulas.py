"""SDEdit written out: what every call of the model should be given, and what becomes of
its answers."""

from fractions import Fraction

import torch
from made_models import seeded
from wiring import SHORT, Case, Run, check_edits

from regrain.editing.diffusion.schedule import Step

CASE = Case(
    base=SHORT | {"strength": 1.0},
    rows={},
    # held in test_few_steps.py and test_wiring.py
    elsewhere={"sampler", "flow"},
)


def check(run: Run) -> None:
    """The whole run, by the formulas of the paper and the parameters given."""
    params = run.params
    request = run.request
    clean = run.clean
    fresh = seeded(request.seed)
    noise = torch.randn(clean.shape[1:], generator=fresh).expand_as(clean)
    steps = steps_taken(run.steps, params.strength)
    assert [(call.stage, call.step) for call in run.calls] == [
        ("editing", step) for step in steps
    ]

    def known(step: Step) -> torch.Tensor:
        if step == steps[-1]:
            return clean
        return step.signal_next * clean + step.noise_next * noise

    check_edits(
        run, run.calls, steps[0].signal * clean + steps[0].noise * noise, known, "own"
    )


def steps_taken(steps: tuple[Step, ...], strength: float) -> list[Step]:
    """The last share of the schedule; a step that is in it in part is left out."""
    run = max(1, int(Fraction(str(strength)) * len(steps)))
    return list(steps[-run:])
