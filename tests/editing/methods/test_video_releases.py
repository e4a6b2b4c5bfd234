"""Tune-A-Video, vid2vid-zero and FRESCO beside numbers of their authors' code: of the
same model, latents and draws, no value differs by a millionth of the largest."""

import pytest
import torch
from infedit_release import CAT, fill, is_released, load_tiny, request
from json_files import read_json
from running import finish
from video_releases import (
    FRAMES,
    GUIDANCE,
    LAYER,
    LEVEL,
    NUMBERS,
    PROMPTS,
    ROUNDS,
    STEPS,
    TOKENS,
    TRIES,
    background,
    features,
    flows,
    joined,
    kept,
    noise,
    pixels,
)

from regrain.editing.attention.batch import Batch
from regrain.editing.attention.feature_optimization import neighbours, optimize_features
from regrain.editing.attention.layers import Grid
from regrain.editing.methods import tuning
from regrain.editing.models.unet.temporal import untuned
from regrain.editing.models.unet.tuned import tuned
from regrain.editing.motion import correspondence
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.recipe.guided import GuidedAttention
from regrain.editing.recipe.window import working_clip

pytestmark = [pytest.mark.processors, pytest.mark.usefixtures("own_cache", "no_grad")]
RELEASED = read_json(NUMBERS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_tiny(tmp_path_factory.mktemp("models"), "CrossAttn", FRAMES)


@pytest.fixture(autouse=True)
def _double(tiny, monkeypatch):
    """Put double precision in the place of single."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def as_released(method, **more):
    presets = METHODS[method].Params.PRESETS
    more |= {"steps": STEPS, "guidance_scale": GUIDANCE, "preview_every": 0}
    return check_params(method, presets.get("released", {}) | more)


@pytest.mark.full
def test_tune_a_video_learns_and_edits_as_released(tiny, monkeypatch):
    asked = request(CAT, PROMPTS["replaced"], FRAMES)
    params = as_released("tune_a_video")
    plan = tuning.Tuning(tiny, asked, working_clip(tiny, asked), params)
    weights = untuned(tiny.unet, 0, torch.Generator())
    fill(weights)
    weights = {name: weight.double() for name, weight in weights.items()}
    learner = tuning.Learner(weights, [], params.learning_rate)
    model = tuned(tiny, plan.adapter(learner))
    (edit,) = finish(METHODS["tune_a_video"].run(model, asked, params)).edits
    is_released(kept(edit), RELEASED["tuned"])
    draw = (tiny.schedule.at(LEVEL), noise())
    monkeypatch.setattr(tuning, "drawn", lambda *_: draw)
    loss, gradients = plan.gradients(learner)
    assert [loss] == pytest.approx(RELEASED["loss"])
    is_released(kept(joined(gradients)), RELEASED["gradients"])


@pytest.mark.full
@pytest.mark.parametrize("name", PROMPTS)
def test_vid2vid_zero_edits_as_released(tiny, name):
    params = as_released("vid2vid_zero", inner_steps=TRIES)
    asked = request(CAT, PROMPTS[name], FRAMES)
    (edit,) = finish(METHODS["vid2vid_zero"].run(tiny, asked, params)).edits
    is_released(kept(edit), RELEASED[name])


def test_fresco_changes_features_and_attends_as_released(tiny, monkeypatch):
    monkeypatch.setattr(correspondence, "estimate_both", lambda *_: flows())
    motion = correspondence.around(pixels())
    here = motion.at(TOKENS)
    now, source = (features(seed) for seed in (14, 15))
    links = neighbours(here, circular=True)
    params = as_released("fresco", optimise_rounds=ROUNDS)
    optimised = optimize_features(now, source, links, params)
    half = correspondence.smooth_background(now[:FRAMES], here, background())
    guided = GuidedAttention(pixels(), motion, Grid(FRAMES, *TOKENS), tiny.sites, None)
    layer = tiny.unet.get_submodule(LAYER)
    now, source = (x.flatten(2).mT for x in (now, source))
    looks = {}

    def look(q, k, v, site):
        looks[site.name] = (q, k)
        return v

    layer(source, attend=look)
    first = tiny.schedule.sampling(STEPS)[0]
    attend = guided.attend(first, Batch(FRAMES, ("uncond", "cond")), looks)
    found = {
        "optimised": optimised,
        "smoothed": half,
        "attended": layer(now, attend=attend),
    }
    for name, x in found.items():
        is_released(kept(x), RELEASED[name])
