"""Inversion with a denoiser that is exact: the data are Gaussian, so the best answer
has a formula."""

from unittest import mock

import numpy as np
import pytest
import torch
from made_models import SCHEDULER, randn

from regrain.editing.diffusion.schedule import Schedule, advance
from regrain.editing.models.backbone import Backbone
from regrain.editing.recipe.inversion import clip_key, ddim_walk

SCHEDULE = Schedule.from_config(SCHEDULER)
MEAN, SPREAD = 0.3, 0.5


def gaussian(x, step):
    """E[x0 | x] for x0 ~ N(MEAN, SPREAD^2), knowing only the level the network is
    told."""
    signal, noise = SCHEDULE.level(step.t)
    gain = signal * SPREAD**2 / (signal**2 * SPREAD**2 + noise**2)
    eps = (x - signal * (MEAN + gain * (x - signal * MEAN))) / noise
    return (x - step.noise * eps) / step.signal, eps


def data():
    return MEAN + SPREAD * randn(4, 4, 16, 16, dtype=torch.float64)


def round_trip_error(steps, convention):
    """Relative error of sampling from the inverted latents."""
    clean = data()
    *_, (_, latents) = ddim_walk(clean, gaussian, SCHEDULE.inversion(steps, convention))
    for step in SCHEDULE.sampling(steps):
        latents = advance(*gaussian(latents, step), step)
    return ((latents - clean).norm() / (clean - MEAN).norm()).item()


@pytest.mark.parametrize("convention", ["paper", "videograin", "fatezero"])
def test_error_falls_as_one_over_steps(convention):
    errors = [round_trip_error(steps, convention) for steps in (10, 50, 250)]
    assert errors[0] < 0.5
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert 3.5 < coarse / fine < 7


def test_yields_each_step_with_its_latents_one_at_a_time():
    steps, again, asked = SCHEDULE.inversion(7), data(), []

    def predict(x, step):
        asked.append(step)
        return gaussian(x, step)

    for step, latents in ddim_walk(data(), predict, steps):
        again = advance(*gaussian(again, step), step)
        assert torch.equal(again, latents)
        assert asked == [*steps[: step.index + 1]]  # no more than was yielded
    assert asked == [*steps]


def test_what_is_kept_of_a_clip_is_found_by_all_its_frames():
    model = mock.Mock(Backbone, fingerprint="a model")
    black = np.zeros((2, 4, 4, 3), np.uint8)
    spot = black.copy()
    spot[1, 3, 3, 2] = 1
    assert clip_key(model, black) == clip_key(model, black[::-1])
    assert clip_key(model, black) != clip_key(model, spot)
