"""Noise levels against diffusers and the references; updates undone; the three
parametrisations agree."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from made_models import SCHEDULER, randn, seeded

from regrain.editing.diffusion.flow import FlowSchedule
from regrain.editing.diffusion.schedule import (
    Schedule,
    add_noise,
    advance,
    combine,
    ddpm_step,
    split,
)

SD = {key: value for key, value in SCHEDULER.items() if key != "prediction_type"}


@pytest.fixture
def schedule():
    return Schedule.from_config(SD)


@pytest.fixture
def tensors():
    return noise(0, 2, 3, 4, 8, 8).unbind()


def noise(seed, *shape):
    return randn(*shape, seed=seed, dtype=torch.float64)


@pytest.mark.parametrize(
    "beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"]
)
def test_alphas_equal_diffusers(beta_schedule):
    config = SD | {"beta_schedule": beta_schedule}
    ours = Schedule.from_config(config).alphas_cumprod
    theirs = DDIMScheduler.from_config(config).alphas_cumprod.double().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-7)
    if (
        beta_schedule == "scaled_linear"
    ):  # the values of the references' schedule, of Stable Diffusion
        known = {
            0: 0.999150,
            1: 0.998296,
            21: 0.980381,
            481: 0.302296,
            961: 0.007282,
            981: 0.005776,
        }
        assert ours[[*known]] == pytest.approx([*known.values()], abs=1e-6)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_levels_equal_diffusers(spacing):
    config = SD | {"timestep_spacing": spacing}
    ours, theirs = Schedule.from_config(config), DDIMScheduler.from_config(config)
    for steps in (1, 2, 4, 10, 20, 25, 50, 100):
        theirs.set_timesteps(steps)
        assert [step.t for step in ours.sampling(steps)] == theirs.timesteps.tolist()


def test_levels_that_have_signal_are_inverted_to_the_last():
    ours = Schedule.from_config(SD | {"timestep_spacing": "trailing"})
    assert ours.levels(4, inverted=True) == ours.levels(4)
    assert max(ours.levels(4)) == 999


def test_any_number_of_steps_is_a_falling_walk(schedule):
    for steps in (1, 3, 7, 30, 333, 700, 999, 1000):
        walk = [step.t for step in schedule.sampling(steps)]
        assert len(walk) == steps
        assert walk == sorted({*walk}, reverse=True)
        assert walk[-1] in (0, 1)
        assert 1000 - 1000 / steps - 1 <= walk[0] < 1000


def test_inversion_mirrors_sampling(schedule):
    """Latent k of the N + 1 is at the level that sampling reaches after N - k steps."""
    for convention in ("paper", "fatezero"):
        up, down = schedule.inversion(50, convention), schedule.sampling(50)
        for a, b in zip(up, reversed(down), strict=True):
            assert (a.signal, a.noise) == (b.signal_next, b.noise_next)
            assert (a.signal_next, a.noise_next) == (b.signal, b.noise)
    last = schedule.inversion(50, "videograin")[-1]
    assert (last.signal_next, last.noise_next) == (down[0].signal, down[0].noise)


def test_inversion_conventions(schedule):
    """What each reference tells its network: see 1.5 of VideoGrain's and 0.4 of
    FateZero's description."""
    assert [step.t for step in schedule.inversion(50, "videograin")] == list(
        range(1, 962, 20)
    )
    assert [step.t for step in schedule.inversion(50, "fatezero")] == list(
        range(1, 982, 20)
    )
    assert [step.t for step in schedule.inversion(50)] == [1, *range(1, 962, 20)]
    assert schedule.inversion(50, "videograin")[0].signal == pytest.approx(
        0.998296**0.5, abs=1e-6
    )
    assert schedule.inversion(50)[0].signal == pytest.approx(0.999150**0.5, abs=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow"])
def test_parametrisations_agree(schedule, tensors, prediction):
    """One denoiser, asked in four ways, gives one (x0, eps)."""
    x0, eps = tensors
    if prediction == "flow":
        schedule = FlowSchedule(5.0)
    for step in schedule.sampling(10):
        x = add_noise(x0, eps, step)
        outputs = {
            "epsilon": eps,
            "sample": x0,
            "v_prediction": step.signal * eps - step.noise * x0,
            "flow": eps - x0,
        }
        both = split(outputs[prediction], x, step.signal, step.noise, prediction)
        torch.testing.assert_close(both, (x0, eps), atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(
            combine(*both, step, prediction), outputs[prediction]
        )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_advance_equals_diffusers(schedule, tensors, prediction):
    theirs = DDIMScheduler.from_config(SD | {"prediction_type": prediction})
    theirs.set_timesteps(20)
    x, output = tensors
    for step in schedule.sampling(20):
        x0, eps = split(output, x, step.signal, step.noise, prediction)
        expected = theirs.step(output, step.t, x).prev_sample
        torch.testing.assert_close(
            advance(x0, eps, step), expected, atol=1e-4, rtol=1e-4
        )


def test_ddpm_step_equals_diffusers(schedule, tensors):
    """All but the last step: diffusers' DDPM ends at a clean level and adds nothing
    there."""
    theirs = DDPMScheduler.from_config(
        SD | {"variance_type": "fixed_small", "timestep_spacing": "leading"}
    )
    theirs.set_timesteps(20)
    x, eps = tensors
    for step in schedule.sampling(20)[:-1]:
        fresh = noise(step.t, *x.shape)
        expected = theirs.step(eps, step.t, x, generator=seeded(step.t)).prev_sample
        x0, _ = split(eps, x, step.signal, step.noise, "epsilon")
        torch.testing.assert_close(
            ddpm_step(x0, eps, step, fresh), expected, atol=1e-4, rtol=1e-4
        )


def test_unknown_schedules_and_impossible_step_counts_are_refused(schedule):
    bad = {
        "beta_schedule": "sigmoid",
        "timestep_spacing": "random",
    }
    for key, value in bad.items():
        with pytest.raises(ValueError, match=key):
            Schedule.from_config(SD | {key: value})
    for steps in (0, -1, 1001):
        for one in (schedule, FlowSchedule(1.0)):
            with pytest.raises(ValueError, match="1 to 1000"):
                one.sampling(steps)
