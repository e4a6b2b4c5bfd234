"""Rectified flow: the levels of diffusers, and UniPC where the flow is known."""

import pytest
import torch
from diffusers import UniPCMultistepScheduler
from made_models import randn

from regrain.editing.diffusion.flow import FlowSchedule, UniPC
from regrain.editing.diffusion.schedule import advance

DEVIATION = 0.4


@pytest.mark.parametrize("shift", [1.0, 3.0, 8.0, 16.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 30, 50, 1000])
def test_levels_of_diffusers(steps, shift):
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    scheduler.set_timesteps(steps)
    found = FlowSchedule(shift).sampling(steps, "diffusers")
    assert [step.t for step in found] == scheduler.timesteps.tolist()
    sigmas = [step.noise for step in found] + [found[-1].noise_next]
    assert sigmas == scheduler.sigmas.tolist()
    assert all(step.signal == 1 - step.noise for step in found)


def solved(steps, take):
    """Latents of data of one deviation, from pure noise, by the exact estimate."""
    x = randn(1000, seed=2, dtype=torch.float64)
    for step in FlowSchedule(3.0).sampling(steps):
        variance = (step.signal * DEVIATION) ** 2 + step.noise**2
        x0 = step.signal * DEVIATION**2 / variance * x
        x = take(x, x0, step)
    return (x / randn(1000, seed=2, dtype=torch.float64)).mean().item()


def euler(x, x0, step):
    return advance(x0, (x - step.signal * x0) / step.noise, step)


def test_unipc_follows_a_known_flow_from_pure_noise():
    """Where the noisiest level has no signal at all: the error falls faster than with
    the steps, and is far below that of Euler's rule."""
    off = {}
    for steps in (80, 160):
        off[steps] = abs(solved(steps, UniPC().advance) - DEVIATION)
        assert off[steps] < abs(solved(steps, euler) - DEVIATION) / 8
    assert off[160] < 0.4 * off[80]


@pytest.mark.parametrize("skipped", [0, 2])
def test_unipc_takes_an_estimate_that_stays(skipped):
    """Also where a run begins late."""
    x0 = randn(5, dtype=torch.float64)
    noise = randn(5, seed=1, dtype=torch.float64)
    steps = FlowSchedule(5.0).sampling(6)[skipped:]
    x = steps[0].signal * x0 + steps[0].noise * noise
    solver = UniPC()
    for step in steps:
        torch.testing.assert_close(x, step.signal * x0 + step.noise * noise)
        x = solver.advance(x, x0, step)
    assert torch.equal(x, x0)


def test_levels_that_are_given_are_taken_as_they_are():
    """As timesteps, whatever the shift and the number of steps."""
    steps = FlowSchedule(5.0).sampling(50, (1000.0, 757.4, 522.0))
    assert [step.t for step in steps] == [1000, 757, 522]
    assert [step.noise for step in steps] == [1.0, 0.7574, 0.522]
    assert [step.noise_next for step in steps] == [0.7574, 0.522, 0.0]
    assert [step.total for step in steps] == [3] * 3
