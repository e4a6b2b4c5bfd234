"""Every scheduler of diffusers that a model may name is here, or is said not to be."""

from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from json_files import read_json, write_json
from made_models import SCHEDULER, loaded, write_small_model
from running import finish
from safetensors.torch import save_file
from wiring import requested

from regrain.editing.cli.doctor import examine
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.errors import ModelError, RequestError
from regrain.editing.models.files.config_keys import with_defaults
from regrain.editing.models.files.offers import family_of_configs
from regrain.editing.models.files.schedulers import (
    NEAREST,
    other_scheduler,
    usual_sampler,
)
from regrain.editing.models.loading.load import loaded_backbone
from regrain.editing.pipeline.runner import edit


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "SomebodysScheduler"])
def test_a_model_of_another_kind_is_refused_by_name(name):
    family = family_of_configs({}, {"in_channels": 4}, {"_class_name": name})
    assert not family.offers
    assert name in family.title


SAMPLERS = read_json(Path(__file__).with_name("samplers.json"))
"""Configurations of schedulers, their samplers, and whether these are the same."""


@pytest.mark.parametrize(("config", "sampler", "is_here"), SAMPLERS)
def test_an_ordinary_models_sampler_is_the_nearest(config, sampler, is_here):
    assert usual_sampler(config) == sampler
    other = other_scheduler(config)
    assert (other is None) == is_here
    if other is not None:
        assert other.sampler == sampler
        assert config["_class_name"] in other.title


LEVELS = ("beta_start", "beta_end", "beta_schedule", "steps_offset", "timestep_spacing")
WHOLE = SCHEDULER | {"timestep_spacing": "trailing"}
HERE = [name for name in NEAREST if not hasattr(getattr(diffusers, name), "_backends")]


@pytest.mark.parametrize("name", HERE)
def test_what_a_file_leaves_out_is_as_its_class_of_diffusers_has_it(name):
    """All keys, and each alone."""
    theirs = getattr(diffusers, name)()
    usual = {"timestep_spacing": "linspace", **theirs.config}
    found = with_defaults({"_class_name": name}, "it")
    ours = Schedule.from_config(found)
    assert np.abs(ours.alphas_cumprod - theirs.alphas_cumprod.numpy()).max() < 1e-6
    assert ours.spacing == usual["timestep_spacing"]
    assert ours.offset == usual.get("steps_offset", 0)
    assert ours.ends_clean == usual.get("set_alpha_to_one", True)
    assert found["prediction_type"] == usual["prediction_type"]
    for key in LEVELS:
        said = {one: WHOLE[one] for one in LEVELS if one != key}
        found = with_defaults({"_class_name": name, **said}, "it")
        assert found.get(key) == usual.get(key)
        assert found.items() >= said.items()


@pytest.mark.parametrize("said", [{}, {"_class_name": None}])
def test_a_scheduler_without_a_class_is_ddim(said):
    found = with_defaults(said, "it")
    usual = with_defaults({"_class_name": "DDIMScheduler"}, "it")
    assert [found.get(key) for key in LEVELS] == [usual.get(key) for key in LEVELS]


@pytest.mark.parametrize("name", [name for name in NEAREST if name not in HERE])
def test_a_class_that_is_not_here_must_say_its_levels(name):
    with pytest.raises(
        ModelError, match=f"it has no levels, but '{name}', .* Add beta_start"
    ):
        with_defaults({"_class_name": name}, "it")
    given = {key: SCHEDULER[key] for key in LEVELS[:3]}
    assert with_defaults({"_class_name": name, **given}, "it").items() >= given.items()


def test_a_model_is_loaded_with_the_levels_of_its_class(tmp_path):
    folder = write_small_model(tmp_path / "model")
    path = folder / "scheduler" / "scheduler_config.json"
    write_json(path, {"_class_name": "HeunDiscreteScheduler"})
    found = loaded(folder).schedule
    theirs = diffusers.HeunDiscreteScheduler().alphas_cumprod.numpy()
    assert np.abs(found.alphas_cumprod - theirs).max() < 1e-6
    assert found.spacing == "linspace"


def with_scheduler(place, name):
    folder = write_small_model(place / "model")
    path = folder / "scheduler" / "scheduler_config.json"
    write_json(path, SCHEDULER | {"_class_name": name})
    return folder


def request_for(model, method="sdedit", **params):
    given = {"steps": 2, "preview_every": 0, **params}
    return replace(requested(method), model=str(model), params=given)


def warnings_of(request):
    *_, last = edit(request)
    said = last.report["warnings"]
    return [text for text in said if "UniPCMultistepScheduler" in text]


@pytest.mark.usefixtures("own_cache")
def test_a_run_says_what_is_used_for_a_scheduler_that_is_not_here(tmp_path, own_models):
    folder = with_scheduler(tmp_path, "UniPCMultistepScheduler")
    (said,) = warnings_of(request_for(folder))
    assert "is not here; the nearest sampler is used, dpmpp_2m. Set sampler" in said
    # Chosen by hand, or where the method's paper says how to step, there is no more to
    # say.
    assert not warnings_of(request_for(folder, sampler="dpmpp_2m"))
    assert not warnings_of(request_for(folder, method="infedit"))
    named = "model (Stable Diffusion, dpmpp_2m for its UniPCMultistepScheduler)"
    assert named in dict(examine())["models"]


@pytest.mark.usefixtures("own_cache")
def test_a_recommendation_of_the_model_or_a_few_step_lora_counts_for_more(tmp_path):
    folder = with_scheduler(tmp_path, "UniPCMultistepScheduler")
    assert loaded(folder).other_scheduler.sampler == "dpmpp_2m"
    (folder / "defaults.json").write_text('{"sdedit": {"sampler": "euler"}}')
    other = folder.rename(tmp_path / "other")
    assert not warnings_of(request_for(other))
    few = loaded(other.rename(tmp_path / "made_lcm_4step"))
    assert few.other_scheduler is None


@pytest.mark.parametrize(
    ("params", "most"),
    [
        ({"sampler": "lcm", "steps": 31}, 30),
        ({"sampler": "tcd", "steps": 51, "strength": 1.0}, 50),
        ({"sampler": "lcm"}, 30),  # of 50
    ],
)
def test_too_many_steps_are_refused_before_loading(
    small_folder, monkeypatch, params, most
):
    loading = "regrain.editing.models.loading.load.load_backbone"
    monkeypatch.setattr(loading, lambda *_, **__: pytest.fail("loaded"))
    request = replace(requested("sdedit"), model=str(small_folder), params=params)
    with pytest.raises(RequestError, match=f"^params.steps: Expected at most {most}"):
        finish(edit(request))


def test_steps_that_the_model_recommends_are_not_too_many(tmp_path):
    """Alone, 50 steps of SDEdit would be."""
    folder = with_scheduler(tmp_path, "LCMScheduler")
    given = {"preview_every": 0, "sampler": "lcm"}
    request = replace(requested("sdedit"), model=str(folder), params=given)
    *_, last = edit(request)
    assert last.report["params"]["steps"]["value"] == 4


@pytest.mark.usefixtures("own_cache")
def test_a_run_tells_the_model_what_it_predicts_and_says_what_its_lora_says(tmp_path):
    folder = write_small_model(tmp_path / "model")
    path = folder / "scheduler" / "scheduler_config.json"
    levels = {key: SCHEDULER[key] for key in SCHEDULER if key != "prediction_type"}
    write_json(path, levels)
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{layer}.lora_down.weight": torch.zeros(2, 8),
        f"{layer}.lora_up.weight": torch.zeros(8, 2),
    }
    ink = tmp_path / "ink.safetensors"
    save_file(tensors, ink, {"ss_clip_skip": "2"})
    request = replace(request_for(folder), prediction="v_prediction", loras=(str(ink),))
    *_, last = edit(request)
    assert any("trained with clip skip 2" in text for text in last.report["warnings"])
    used = loaded_backbone(str(folder), request.loras, "v_prediction")
    assert used.prediction == "v_prediction"
    assert loaded_backbone(str(folder), request.loras) is None
