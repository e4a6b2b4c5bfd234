"""Samplers in the methods that do not invert, models that are told their guidance, and
InfEdit's round trip."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from made_models import load_double, seeded, write_small_model
from running import calls_by_window, edit_clip, finish, note_calls
from wiring import FRAMES, REFINED, requested

from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.diffusion.schedule import add_noise, common_noise
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.unet.stable_diffusion import guidance_embedding
from regrain.editing.params.base import Sampler
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.pipeline.runner import edit
from regrain.editing.recipe.window import working_clip

pytestmark = pytest.mark.usefixtures("own_cache")
SAMPLERS = Sampler.__args__


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A consistency model that is told the scale of guidance."""
    place = tmp_path_factory.mktemp("models") / "lcm"
    return write_small_model(place, time_cond_proj_dim=16)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sdedit_walks_as_its_sampler_says(small, no_grad, sampler):
    """Noise, blending and updates by hand, with the model's own answers."""
    request = requested("sdedit")
    given = {"steps": 4, "strength": 0.8, "guidance_scale": 1.0, "sampler": sampler}
    params = check_params("sdedit", given)
    (found,) = finish(METHODS["sdedit"].run(small, request, params)).edits

    working = working_clip(small, request)
    clean = small.encode(working.frames)
    inside = working.inside()
    text = small.embed([request.targets[0]])
    fresh = seeded(request.seed)
    noise = common_noise(clean, fresh)
    sampling = Sampling(small.schedule, sampler, 4, 0.8)
    x = add_noise(clean, noise, sampling.steps[0])
    for step in sampling.steps:
        x0, eps = small.predict(x, step, text)
        if sampler in ("lcm", "tcd", "euler_ancestral"):
            noise = common_noise(clean, fresh)
        x = sampling.advance(x, x0, eps, step, noise)
        known = step.signal_next * clean + step.noise_next * noise
        if step is sampling.steps[-1]:
            known = clean
        x = inside * x + (1 - inside) * known
    torch.testing.assert_close(found, x, atol=1e-5, rtol=1e-4)


@pytest.mark.full
def test_every_sampler_gives_another_edit_by_fresco(small):
    frames = {}
    for sampler in SAMPLERS:
        given = {"steps": 3, "preview_every": 0, "sampler": sampler}
        params = check_params("fresco", given | {"optimise_until": 0.0})
        result = finish(edit_clip(small, requested("fresco"), params))
        frames[sampler] = np.asarray(result.uncomposited).tobytes()
    assert len({*frames.values()}) == len(frames)


def test_the_embedding_of_guidance_is_diffusers():
    scales = torch.tensor([1.0, 3.5, 8.0])
    theirs = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    expected = theirs(None, scales - 1, embedding_dim=256)
    torch.testing.assert_close(guidance_embedding(scales, 256), expected)


@pytest.mark.parametrize("method", ["sdedit", "infedit", "fresco"])
def test_a_model_that_is_told_its_guidance_needs_one_row(told, monkeypatch, method):
    """The scale reaches the network, and no half without words runs."""
    model = load_backbone(str(told))
    assert model.told_guidance
    calls = []
    note_calls(
        monkeypatch,
        model,
        lambda x, step, text, change: calls.append((text.branches, change.guidance)),
    )
    more = {"optimise_until": 0.0} if method == "fresco" else {}
    given = {"steps": 2, "preview_every": 0, "guidance_scale": 8.0, **more}
    results = []
    for scale in (8.0, 2.0):
        params = check_params(method, given | {"guidance_scale": scale})
        results.append(finish(edit_clip(model, requested(method), params)))
        for branches, guidance in calls:
            assert not any("uncond" in branch for branch in branches)
            assert guidance[-1] == scale
        calls.clear()
    first, other = (np.asarray(result.uncomposited) for result in results)
    assert not np.array_equal(first, other)


def test_a_told_scale_is_that_of_each_branch(told, no_grad):
    """Of two branches of one call, beside the network itself."""
    model = load_double(told)
    step = Sampling(model.schedule, "lcm", 4).steps[1]
    x = torch.randn(2 * FRAMES, 4, 8, 12, dtype=torch.float64)
    text = model.embed(["a cat", "a fox"])
    both = model.predict(x, step, text, Intervention(guidance=(2.0, 8.0)))[1]
    scales = torch.tensor([2.0, 8.0]).repeat_interleave(FRAMES)
    told = guidance_embedding(scales, model.unet.config.time_cond_proj_dim).double()
    vectors = text.vectors.double().repeat_interleave(FRAMES, 0)
    theirs = model.unet(x, step.t, vectors, timestep_cond=told).sample
    torch.testing.assert_close(both, theirs)


def test_negative_words_without_guidance_are_told_to_do_nothing(small):
    request = replace(requested("sdedit"), negative_prompt="blurred")
    for scale, told in ((1.0, 1), (3.0, 0)):
        params = {"steps": 2, "guidance_scale": scale}
        *_, last = edit(replace(request, params=params), small)
        warnings = [w for w in last.report["warnings"] if "guidance scale of 1" in w]
        assert len(warnings) == told


def test_equal_prompts_and_guidance_give_the_clip_back(small):
    """Whatever the model says, the difference of two equal estimates is nothing."""
    request = replace(requested("infedit", "a cat on the grass"), negative_prompt="")
    given = {"steps": 6, "guidance_scale": 1.0, "preview_every": 0}
    params = check_params("infedit", given)
    result = finish(edit_clip(small, request, params))
    frames = request.clip.read(0, FRAMES)
    kept = small.decode(small.encode(frames))
    assert np.array_equal(result.uncomposited[:], kept)


@pytest.mark.full(but="source--given0-4-0")
@pytest.mark.parametrize(
    ("branch", "prompt", "given", "count", "off"),
    [
        ("source", "", {"redraw": 0.25}, 4, 0),
        ("layout", REFINED, {"blend": "words", "edit_words": "fox"}, 3, None),
    ],
)
def test_windows_agree_on_their_anchors(
    small, monkeypatch, branch, prompt, given, count, off
):
    """The source with noise is that of the window before, whose last frame hands its
    noise on to the next; so is the layout, which is walked beside an edit that is
    blended by words."""

    def noted(x, step, text, *_):
        return x.unflatten(0, (-1, FRAMES))[text.branches.index(branch)].clone()

    usual = {"steps": 4, "preview_every": 0, "window": FRAMES, "cuts": "none"}
    params = check_params("infedit", usual | {"strength": 0.75} | given)
    request = requested("infedit", prompt, frames=5)
    windows = calls_by_window(monkeypatch, small, noted, request, params)
    for before, after in pairwise(windows):
        assert len(before) == count
        for old, new in zip(before, after, strict=True):
            torch.testing.assert_close(new[:2], old[[0, -1]], rtol=off, atol=off)
