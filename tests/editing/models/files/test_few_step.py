"""Few-step models are recognised by what their files say, and settings are proposed."""

import shutil

import pytest
from json_files import write_json
from made_models import SCHEDULER, loaded, write_small_model

from regrain.editing.models.files.schedulers import (
    by_name,
    by_scheduler,
    proposed,
)

NAMES = {
    "lcm-lora-sdv1-5.safetensors": ("LCM", "lcm", 4, 1.0),
    "SDXL-Lightning-8step-lora": ("Lightning", "euler", 8, 1.0),
    "sdxl_lightning_2steps": ("Lightning", "euler", 2, 1.0),
    "ByteDance/Hyper-SD-8steps": ("Hyper-SD", "ddim_trailing", 8, 1.0),
    "Hyper-SD15-12steps-CFG-lora": ("Hyper-SD", "ddim_trailing", 12, 5.0),
    "Hyper-SDXL-1step-lora": ("Hyper-SD", "tcd", 1, 1.0),
    "TCD-SD15-LoRA": ("TCD", "tcd", 4, 1.0),
    "dmd2_sdxl_4step_lora": ("DMD2", "lcm", 4, 1.0),
    "stabilityai/sdxl-turbo": ("Turbo", "euler_ancestral", 4, 1.0),
    "pcm_sd15_smallcfg_2step": ("PCM", "ddim_trailing", 2, 1.0),
    "flash-sd": ("Flash Diffusion", "lcm", 4, 1.0),
}


@pytest.mark.parametrize(("name", "kind"), NAMES.items())
def test_a_name_says_what_a_file_wants(name, kind):
    found = by_name(name)
    assert (found.title, found.sampler, found.steps, found.guidance_scale) == kind


@pytest.mark.parametrize(
    "name", ["film-grain", "hyperrealism", "turbocharged", "storybook", "flashlight"]
)
def test_an_ordinary_name_says_nothing(name):
    assert by_name(name) is None


def test_metadata_says_what_a_name_does_not():
    found = by_name("mine", {"ss_output_name": "my_lcm_4step"})
    assert (found.sampler, found.steps) == ("lcm", 4)


@pytest.mark.parametrize(
    ("config", "sampler"),
    [
        ({"_class_name": "LCMScheduler"}, "lcm"),
        ({"_class_name": "TCDScheduler"}, "tcd"),
        (
            {
                "_class_name": "EulerDiscreteScheduler",
                "timestep_spacing": "trailing",
            },
            "euler",
        ),
        (
            {
                "_class_name": "EulerAncestralDiscreteScheduler",
                "timestep_spacing": "trailing",
            },
            "euler_ancestral",
        ),
        ({"_class_name": "EulerDiscreteScheduler"}, None),
        ({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"}, None),
        ({}, None),
    ],
)
def test_a_scheduler_says_what_a_folder_wants(config, sampler):
    found = by_scheduler(config)
    assert (found.sampler if found else None) == sampler


def test_settings_are_proposed_for_methods_that_do_not_invert():
    found = proposed(SCHEDULER, by_name("sdxl_lightning_4step"))
    settings = {"steps": 4, "guidance_scale": 1.0}
    assert found == {
        "fresco": settings | {"sampler": "euler"},
        "sdedit": settings | {"sampler": "euler"},
        "infedit": settings,
        "flow_regions": settings | {"source_guidance": 1.0},
    }
    assert proposed(SCHEDULER, None) == {}


def test_a_video_model_brings_its_shift_and_few_steps_without_guidance():
    kind = by_name("Wan21_T2V_lightx2v_cfg_step_distill_lora_rank32")
    found = proposed({"flow_shift": 8.0}, kind)
    few = {"steps": 4, "guidance_scale": 1.0, "source_guidance": 1.0}
    assert found["flow_regions"] == {"shift": 8.0, **few}
    assert proposed({}, None) == {}


def test_a_folder_with_such_a_scheduler_brings_its_settings(tmp_path):
    folder = write_small_model(tmp_path / "model")
    path = folder / "scheduler" / "scheduler_config.json"
    write_json(path, SCHEDULER | {"_class_name": "LCMScheduler"})
    model = loaded(folder)
    assert model.few_step == "LCM"
    assert "inversion" not in model.offers
    assert model.defaults["sdedit"]["sampler"] == "lcm"

    (folder / "defaults.json").write_text('{"sdedit": {"steps": 6}}')
    other = loaded(shutil.copytree(folder, tmp_path / "other"))
    assert other.defaults["sdedit"]["steps"] == 6
    assert other.defaults["sdedit"]["sampler"] == "lcm"
