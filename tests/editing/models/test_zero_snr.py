"""Models whose last level has no signal (zero terminal SNR), beside diffusers."""

import pytest
import torch
from damaged_models import refusal, rewrite
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from made_models import SCHEDULER, load_double, randn, write_small_model
from pipelines import PROMPT, in_double, pipeline_of, sampled_by
from single_files import load_file_of, original_layout
from wiring import PLAIN_UNETS, drive, requested

from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.diffusion.schedule import Schedule, advance, split
from regrain.editing.params.registry import METHODS

ZERO = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
ZERO |= {"prediction_type": "v_prediction"}
pytestmark = [pytest.mark.full, pytest.mark.usefixtures("own_cache", "no_grad")]


def write(place, sdxl=False):
    write_small_model(place, sdxl=sdxl)
    rewrite(place / "scheduler" / "scheduler_config.json", **ZERO)
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture(scope="module")
def model(folder):
    return load_double(folder)


def ddim_in_double(config):
    """Diffusers' DDIM, its levels computed by its own function in double precision."""
    scheduler = DDIMScheduler.from_config(config)
    ends = config["beta_start"] ** 0.5, config["beta_end"] ** 0.5
    betas = torch.linspace(*ends, 1000, dtype=torch.float64) ** 2
    betas = rescale_zero_terminal_snr(betas)
    scheduler.alphas_cumprod = torch.cumprod(1 - betas, 0)
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    return scheduler


@pytest.fixture(scope="module", params=[False, True], ids=["sd", "sdxl"])
def pair(request, tmp_path_factory):
    """A model, and diffusers' pipeline of the same weights."""
    folder = write(tmp_path_factory.mktemp("models") / "pair", request.param)
    pipeline = in_double(pipeline_of(folder))
    pipeline.scheduler = ddim_in_double(SCHEDULER | ZERO)
    return load_double(folder), pipeline


@pytest.mark.parametrize("steps", [1, 4, 25])
def test_a_sampled_picture_is_the_pipelines(pair, steps):
    model, pipeline = pair
    x = randn(1, 4, 8, 16, seed=1, dtype=torch.float64)
    theirs = sampled_by(pipeline, x, steps)
    text = model.embed([PROMPT])
    for step in model.schedule.sampling(steps):
        x = advance(*model.predict(x, step, text), step)
    far = (x - theirs).abs().max() / theirs.abs().max()
    assert float(far) < 1e-6


BY_SIGMA = {
    "euler": EulerDiscreteScheduler,
    "euler_ancestral": EulerAncestralDiscreteScheduler,
}


@pytest.mark.parametrize("sampler", BY_SIGMA)
def test_samplers_by_sigma_start_where_diffusers_do(sampler, monkeypatch):
    """With a little signal, where a run from pure noise would have none."""
    theirs = BY_SIGMA[sampler].from_config(SCHEDULER | ZERO)
    theirs.set_timesteps(4)
    start, *added = randn(5, 1, 4, 8, 16, seed=4, dtype=torch.float64)
    drawn = iter(added)
    module = "diffusers.schedulers.scheduling_euler_ancestral_discrete"
    monkeypatch.setattr(f"{module}.randn_tensor", lambda *_, **__: next(drawn))
    sampling = Sampling(Schedule.from_config(SCHEDULER | ZERO), sampler, 4)
    x = start * float(theirs.init_noise_sigma) * sampling.steps[0].signal
    y = start * theirs.init_noise_sigma
    for t, step, noise in zip(theirs.timesteps, sampling.steps, added, strict=True):
        y = theirs.step(theirs.scale_model_input(y, t).sin(), t, y).prev_sample
        answer = split(x.sin(), x, step.signal, step.noise, "v_prediction")
        x = sampling.advance(x, *answer, step, noise)
    assert sampling.steps[0].signal ** 2 == 2**-24
    # theirs takes sigmas of thousands in single precision
    torch.testing.assert_close(x, y, rtol=0, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 7, 50, 1000])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_an_inversion_ends_at_the_last_level_with_signal(steps, spacing):
    schedule = Schedule.from_config(SCHEDULER | ZERO | {"timestep_spacing": spacing})
    for convention in ("paper", "fatezero"):
        up = schedule.inversion(steps, convention)
        down = schedule.sampling(steps, inverted=True)
        assert (up[-1].signal_next, up[-1].noise_next) == (
            down[0].signal,
            down[0].noise,
        )
        assert min(step.signal for step in (*up, *down)) > 0
        assert min(step.signal_next for step in up) > 0
    if spacing == "trailing":
        assert schedule.sampling(steps)[0].signal == 0
        assert schedule.levels(steps, inverted=True)[-1] == 998


@pytest.mark.parametrize("method", PLAIN_UNETS)
def test_every_method_edits_and_inverts_to_latents_with_signal(model, method, tmp_path):
    given = {"steps": 4, "tune_steps": 2, "preview_every": 0, "strength": 1.0}
    known = METHODS[method].Params.model_fields
    given = {name: value for name, value in given.items() if name in known}
    run = drive(model, requested(method), tmp_path, **given)
    assert all(latents.isfinite().all() for latents in run.decoded)
    signals = [call.step.signal for call in run.of("inverting") + run.of("editing")]
    inverts = "inversion" in METHODS[method].needs
    assert (min(signals) > 0) == inverts


def test_a_single_file_says_so_by_two_empty_tensors(tmp_path, tiny):
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    weights = original_layout(tiny)
    found = load_file_of(weights | marks, tmp_path / "noob.safetensors")
    assert found.prediction == "v_prediction"
    assert found.schedule.reaches_pure_noise
    assert found.schedule.spacing == "trailing"
    assert found.offers == tiny.offers
    said = {"ss_zero_terminal_snr": "True", "ss_v_parameterization": "True"}
    found = load_file_of(weights, tmp_path / "kohya.safetensors", said)
    assert found.prediction == "v_prediction"
    assert found.schedule.reaches_pure_noise
    with pytest.raises(Exception, match="predicts epsilon, but its last level"):
        load_file_of(weights | {"ztsnr": torch.zeros(0)}, tmp_path / "odd.safetensors")


def test_a_network_that_predicts_noise_has_no_such_level(folder):
    rewrite(folder / "scheduler" / "scheduler_config.json", prediction_type="epsilon")
    assert "predicts epsilon, but its last level has no signal" in refusal(folder)
    rewrite(folder / "scheduler" / "scheduler_config.json", **ZERO)
