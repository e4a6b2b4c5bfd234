"""Noise levels against diffusers and the references; updates undone; the three parametrisations agree."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from regrain.editing.diffusion.schedule import Schedule, add_noise, advance, ddpm_step, guide, split

SD = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
}


@pytest.fixture
def schedule():
    return Schedule.from_config(SD)


@pytest.fixture
def tensors():
    return torch.randn(
        2, 3, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).unbind()


def test_alphas_of_stable_diffusion(schedule):
    """The values of the references' schedule."""
    known = {0: 0.999150, 1: 0.998296, 21: 0.980381, 481: 0.302296, 961: 0.007282, 981: 0.005776}
    for t, alpha in known.items():
        assert schedule.alphas_cumprod[t] == pytest.approx(alpha, abs=1e-6)


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_alphas_equal_diffusers(beta_schedule):
    config = SD | {"beta_schedule": beta_schedule}
    ours = Schedule.from_config(config).alphas_cumprod
    theirs = DDIMScheduler.from_config(config).alphas_cumprod.double().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-7)


def test_fifty_steps_visit_981_to_1(schedule):
    steps = schedule.sampling(50)
    assert [step.t for step in steps] == list(range(981, 0, -20))
    assert [step.index for step in steps] == list(range(50))
    assert {step.total for step in steps} == {50}
    assert (steps[-1].signal_next, steps[-1].noise_next) == pytest.approx(
        (0.999150**0.5, 0.00085**0.5), abs=1e-6
    )


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 2, 4, 10, 20, 25, 50, 100])
def test_levels_equal_diffusers(steps, spacing):
    config = SD | {"timestep_spacing": spacing}
    theirs = DDIMScheduler.from_config(config)
    theirs.set_timesteps(steps)
    assert [step.t for step in Schedule.from_config(config).sampling(steps)] == theirs.timesteps.tolist()


@pytest.mark.parametrize("steps", [1, 3, 7, 30, 333, 700, 999, 1000])
def test_any_number_of_steps_is_a_falling_walk(schedule, steps):
    walk = [step.t for step in schedule.sampling(steps)]
    assert len(walk) == steps
    assert all(a > b for a, b in zip(walk, walk[1:], strict=False))
    assert walk[-1] in (0, 1)
    assert walk[0] >= 1000 - 1000 / steps - 1
    assert walk[0] < 1000


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_step_counts_are_refused(schedule, steps):
    with pytest.raises(ValueError, match="1 to 1000"):
        schedule.sampling(steps)


@pytest.mark.parametrize("steps", [1, 5, 50])
def test_neighbouring_steps_share_a_level(schedule, steps):
    for walk in (schedule.sampling(steps), schedule.inversion(steps), schedule.inversion(steps, "fatezero")):
        for step, after in zip(walk, walk[1:], strict=False):
            assert (step.signal_next, step.noise_next) == (after.signal, after.noise)
        for step in walk:
            assert step.signal**2 + step.noise**2 == pytest.approx(1)


@pytest.mark.parametrize("convention", ["paper", "videograin", "fatezero"])
def test_inversion_ends_where_sampling_starts(schedule, convention):
    last, first = schedule.inversion(50, convention)[-1], schedule.sampling(50)[0]
    assert (last.signal_next, last.noise_next) == (first.signal, first.noise)


def test_inversion_mirrors_sampling(schedule):
    """Latent k of the N + 1 is at the level that sampling reaches after N - k steps."""
    for convention in ("paper", "fatezero"):
        up, down = schedule.inversion(50, convention), schedule.sampling(50)
        for a, b in zip(up, reversed(down), strict=True):
            assert (a.signal, a.noise) == (b.signal_next, b.noise_next)
            assert (a.signal_next, a.noise_next) == (b.signal, b.noise)


def test_inversion_conventions(schedule):
    """What each reference tells its network: see 1.5 of VideoGrain's and 0.4 of FateZero's description."""
    assert [step.t for step in schedule.inversion(50, "videograin")] == list(range(1, 962, 20))
    assert [step.t for step in schedule.inversion(50, "fatezero")] == list(range(1, 982, 20))
    assert [step.t for step in schedule.inversion(50)] == [1, *range(1, 962, 20)]
    assert schedule.inversion(50, "videograin")[0].signal == pytest.approx(0.998296**0.5, abs=1e-6)
    assert schedule.inversion(50)[0].signal == pytest.approx(0.999150**0.5, abs=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_parametrisations_agree(schedule, tensors, prediction):
    """One denoiser, asked in three ways, gives one (x0, eps)."""
    x0, eps = tensors
    for step in schedule.sampling(10):
        x = add_noise(x0, eps, step)
        output = {"epsilon": eps, "sample": x0, "v_prediction": step.signal * eps - step.noise * x0}[
            prediction
        ]
        found = split(output, x, step.signal, step.noise, prediction)
        torch.testing.assert_close(found, (x0, eps), atol=1e-12, rtol=1e-12)


def test_advance_is_undone_by_the_reversed_step(schedule, tensors):
    """With the same eps, one step up and one step down meet where they started."""
    x, eps = tensors
    for up, down in zip(schedule.inversion(50), reversed(schedule.sampling(50)), strict=True):
        higher = advance(split(eps, x, up.signal, up.noise, "epsilon")[0], eps, up)
        back = advance(split(eps, higher, down.signal, down.noise, "epsilon")[0], eps, down)
        torch.testing.assert_close(back, x, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_advance_equals_diffusers(schedule, tensors, prediction):
    theirs = DDIMScheduler.from_config(SD | {"prediction_type": prediction})
    theirs.set_timesteps(20)
    x, output = tensors
    for step in schedule.sampling(20):
        x0, eps = split(output, x, step.signal, step.noise, prediction)
        expected = theirs.step(output, step.t, x).prev_sample
        torch.testing.assert_close(advance(x0, eps, step), expected, atol=1e-4, rtol=1e-4)


def test_ddpm_step_equals_diffusers(schedule, tensors):
    """All but the last step: diffusers' DDPM ends at a clean level and adds nothing there."""
    theirs = DDPMScheduler.from_config(SD | {"variance_type": "fixed_small", "timestep_spacing": "leading"})
    theirs.set_timesteps(20)
    x, eps = tensors
    for step in schedule.sampling(20)[:-1]:
        fresh = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(step.t))
        expected = theirs.step(eps, step.t, x, generator=torch.Generator().manual_seed(step.t)).prev_sample
        x0, _ = split(eps, x, step.signal, step.noise, "epsilon")
        torch.testing.assert_close(ddpm_step(x0, eps, step, fresh), expected, atol=1e-4, rtol=1e-4)


def test_ddpm_step_keeps_the_level(schedule):
    """Right x0 and eps lead to latents with the next level's amount of noise."""
    x0, eps, fresh = torch.randn(3, 100_000, dtype=torch.float64).unbind()
    for step in schedule.sampling(10):
        noise = ddpm_step(x0, eps, step, fresh) - step.signal_next * x0
        assert noise.std().item() == pytest.approx(step.noise_next, rel=0.02)


def test_guide(tensors):
    uncond, cond = tensors
    torch.testing.assert_close(guide(uncond, cond, 1.0), cond)
    torch.testing.assert_close(guide(uncond, cond, 0.0), uncond)
    torch.testing.assert_close(guide(uncond, cond, 7.5), 7.5 * cond - 6.5 * uncond)


def test_guiding_x0_is_guiding_eps(schedule, tensors):
    uncond, cond = tensors
    step, x = schedule.sampling(10)[4], uncond + 2 * cond
    pairs = [split(eps, x, step.signal, step.noise, "epsilon") for eps in (uncond, cond)]
    x0, eps = (guide(a, b, 7.5) for a, b in zip(*pairs, strict=True))
    torch.testing.assert_close(split(eps, x, step.signal, step.noise, "epsilon")[0], x0)


@pytest.mark.parametrize(
    "bad", [{"beta_schedule": "sigmoid"}, {"timestep_spacing": "random"}, {"rescale_betas_zero_snr": True}]
)
def test_unknown_schedules_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Schedule.from_config(SD | bad)
