"""Models that are told their guidance, words without it, and InfEdit's round trip."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from made_models import load_double, write_small_model
from running import edit_clip, finish, note_calls
from wiring import FRAMES, requested

from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.params.registry import check_params
from regrain.editing.pipeline.runner import edit

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A consistency model that is told the scale of guidance."""
    place = tmp_path_factory.mktemp("models") / "lcm"
    return write_small_model(place, time_cond_proj_dim=16)


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
    embedding = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    told = embedding(None, scales - 1, model.unet.config.time_cond_proj_dim).double()
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
