"""The samplers beside diffusers' own pipelines and schedulers: levels, noise, and whole
sampling on random weights."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from made_models import (
    SCHEDULER,
    load_double,
    randn,
    seeded,
    write_sdxl,
    write_small_model,
)
from pipelines import (
    PROMPT,
    THEIRS,
    draws_from,
    in_double,
    initial,
    pipeline_of,
    sampled_by,
    scheduler_of,
)

from regrain.editing.diffusion.samplers import Sampling, consistency_levels
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.errors import RequestError
from regrain.editing.params.base import FEW_STEP
from regrain.editing.params.sdedit import SDEditParams

pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Makes a model of a kind in double precision, and diffusers' pipeline of the same
    weights."""

    @cache
    def made(kind):
        folder = tmp_path_factory.mktemp("models") / kind
        write = write_sdxl if kind == "sdxl" else write_small_model
        write(folder)
        return load_double(folder), in_double(pipeline_of(folder))

    return made


@pytest.fixture
def noise(monkeypatch):
    """The same noise for both, in order."""

    def draws():
        fresh = seeded(5)
        while True:
            yield torch.randn(1, 4, 8, 16, generator=fresh, dtype=torch.float64)

    theirs = draws()
    draws_from(monkeypatch, theirs)
    return draws()


PAIRS = [*(("sd", sampler) for sampler in THEIRS), ("sdxl", "euler")]


@pytest.mark.full(but="sd-euler")
@pytest.mark.parametrize(("kind", "sampler"), PAIRS)
def test_a_sampled_picture_is_the_pipelines(pair, noise, kind, sampler):
    model, pipeline = pair(kind)
    scheduler, steps = scheduler_of(sampler)
    pipeline.scheduler = scheduler
    start = randn(1, 4, 8, 16, seed=1, dtype=torch.float64)
    theirs = sampled_by(pipeline, start, steps, eta=0.3 if sampler == "tcd" else 0.0)
    sampling = Sampling(model.schedule, sampler, steps)
    text = model.embed([PROMPT])
    x = start * initial(scheduler, sampling.steps[0])
    for step in sampling.steps:
        x0, eps = model.predict(x, step, text)
        random = sampling.random and step is not sampling.steps[-1]
        fresh = next(noise) if random else torch.zeros_like(x)
        x = sampling.advance(x, x0, eps, step, fresh)
    far = (x - theirs).abs().max() / theirs.abs().max()
    assert float(far) < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 15, 50])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_consistency_levels_are_diffusers(steps, strength):
    scheduler, _ = scheduler_of("lcm")
    schedule = Schedule.from_config(SCHEDULER)
    if steps > 50 * strength:
        with pytest.raises(RequestError, match="at most 25"):
            SDEditParams(sampler="lcm", steps=steps, strength=strength).check_together()
        return
    scheduler.set_timesteps(steps, strength=strength)
    ours = consistency_levels(schedule, steps, strength)
    assert list(ours) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("steps", [5, 15, 20])
def test_levels_of_the_solver_are_diffusers(spacing, steps):
    scheduler, _ = scheduler_of("dpmpp_2m", timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    schedule = Schedule.from_config(SCHEDULER | {"timestep_spacing": spacing})
    ours = [step.t for step in Sampling(schedule, "dpmpp_2m", steps).steps]
    assert ours == scheduler.timesteps.tolist()


@pytest.mark.parametrize("sampler", THEIRS)
@pytest.mark.parametrize("steps", [1, 4, 7, 10, 15, 30])
def test_as_many_steps_are_run_as_in_diffusers(sampler, steps):
    """Of those for few steps, as its pipeline of LCM does, all."""
    schedule = Schedule.from_config(SCHEDULER)
    for strength in (1.0, 0.9, 0.7, 0.66, 0.6):
        shell = SimpleNamespace(
            scheduler=SimpleNamespace(order=1, timesteps=range(steps))
        )
        of_theirs = StableDiffusionImg2ImgPipeline.get_timesteps
        kept, _ = of_theirs(shell, steps, strength, None)
        count = steps if sampler in FEW_STEP else max(1, len(kept))
        assert len(Sampling(schedule, sampler, steps, strength).steps) == count
