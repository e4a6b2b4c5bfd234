"""Every key that diffusers knows is honoured, or refused by name."""

import inspect
import json
import shutil

import diffusers
import pytest
from damaged_models import config, refusal, rewrite
from made_models import write_control_net

from regrain.editing.errors import ModelError
from regrain.editing.models.files.config_keys import KEYS, SCHEDULER
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.schedulers import NEAREST
from regrain.editing.models.unet.control_net import load_control_net

UNET, VAE = "unet/config.json", "vae/config.json"
LEVELS = "scheduler/scheduler_config.json"


def keys_of(name):
    """The keys of a class of diffusers; of one that needs a package more, none."""
    kind = getattr(diffusers, name)
    taken = inspect.signature(kind.__init__).parameters.values()
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {one.name for one in taken if one.kind is plain and one.name != "self"}


@pytest.mark.parametrize("name", KEYS)
def test_the_keys_are_those_of_diffusers(name):
    keys = KEYS[name]
    assert keys.honoured | keys.allowed.keys() == keys_of(name)
    assert not keys.honoured & keys.allowed.keys()


def test_the_keys_of_schedulers_are_those_of_diffusers():
    found = set().union(*(keys_of(name) for name in NEAREST))
    assert SCHEDULER.honoured | SCHEDULER.allowed.keys() == found
    assert not SCHEDULER.honoured & SCHEDULER.allowed.keys()


def test_a_scheduler_of_diffusers_with_betas_is_known_or_refused():
    """CogVideoX shifts its levels, RePaint is for pixels."""
    refused = {"CogVideoXDDIMScheduler", "CogVideoXDPMScheduler", "RePaintScheduler"}
    names = [name for name in dir(diffusers) if name.endswith("Scheduler")]
    with_betas = {name for name in names if "beta_start" in keys_of(name)}
    assert with_betas - NEAREST.keys() == refused


@pytest.mark.parametrize("name", KEYS)
def test_the_defaults_of_diffusers_are_allowed(name):
    defaults = inspect.signature(getattr(diffusers, name).__init__).parameters
    for key, allowed in KEYS[name].allowed.items():
        default = defaults[key].default
        for one in default if isinstance(default, tuple) else [default]:
            assert one in allowed, key


# The refusal by the damage to a small model's folder.
REFUSED = {
    "class_embed_type 'projection'": config(UNET, class_embed_type="projection"),
    "num_class_embeds 10": config(UNET, num_class_embeds=10),
    "encoder_hid_dim_type 'image_proj'": config(
        UNET, encoder_hid_dim_type="image_proj"
    ),
    "addition_embed_type 'image'": config(UNET, addition_embed_type="image"),
    "down_block_types ['SimpleCrossAttnDownBlock2D'": config(
        UNET, down_block_types=["SimpleCrossAttnDownBlock2D"] * 3
    ),
    "mid_block_type 'UNetMidBlock2DSimpleCrossAttn'": config(
        UNET, mid_block_type="UNetMidBlock2DSimpleCrossAttn"
    ),
    "only_cross_attention [False, True": config(
        UNET, only_cross_attention=[False, True, False]
    ),
    "attention_type 'gated'": config(UNET, attention_type="gated"),
    "is of 'UNet3DConditionModel'": config(UNET, _class_name="UNet3DConditionModel"),
    "in_channels 1, which": config(VAE, in_channels=1),
    "is of 'AutoencoderTiny'": config(VAE, _class_name="AutoencoderTiny"),
    "latents_mean: Expected 4 numbers": config(VAE, latents_mean=[0.0, 0.1]),
    "latents_std: Expected numbers above 0": config(
        VAE, latents_std=[1.0, 0.0, 1.0, 1.0]
    ),
    "is of an EDM model": config(LEVELS, _class_name="EDMEulerScheduler"),
    "is of a flow model": config(LEVELS, _class_name="FlowMatchEulerDiscreteScheduler"),
    "is of 'SomeScheduler'": config(LEVELS, _class_name="SomeScheduler"),
    "thresholding True": config(LEVELS, thresholding=True),
    "timestep_type 'continuous'": config(LEVELS, timestep_type="continuous"),
    "use_flow_sigmas True": config(LEVELS, use_flow_sigmas=True),
    "predicts 'flow_prediction'": config(LEVELS, prediction_type="flow_prediction"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_run_is_refused_before_any_weights_are_read(
    small_folder, tmp_path, message
):
    folder = shutil.copytree(small_folder, tmp_path / "m")
    REFUSED[message](folder)
    for weights in folder.glob("*/*.safetensors"):
        weights.unlink()
    assert message in refusal(folder)


def test_a_control_network_is_refused_by_name(small, tmp_path):
    folder = write_control_net(tmp_path / "net", small.unet, 0.05, (8, 8))
    for change in (
        {"global_pool_conditions": True},
        {"conditioning_channels": 4},
        {"class_embed_type": "timestep"},
    ):
        before = json.loads((folder / "config.json").read_text())
        rewrite(folder / "config.json", **change)
        with pytest.raises(
            ModelError, match=f"^params.control: .*{next(iter(change))}"
        ):
            load_control_net(str(folder), small)
        rewrite(folder / "config.json", **before)
    load_control_net(str(folder), small)


def test_keys_of_others_pass(small_folder, tmp_path):
    """Trainers write more, as of an average of weights."""
    folder = shutil.copytree(small_folder, tmp_path / "m")
    config(UNET, decay=0.9999, optimization_step=1)(folder)
    assert read_config(folder / UNET, "m")["decay"] == 0.9999
