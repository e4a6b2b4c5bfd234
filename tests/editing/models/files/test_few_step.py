"""Few-step models are recognised by what their files say, and never by a word alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from json_files import read_json, write_json
from made_models import SCHEDULER, write_configs, write_small_model
from running import finish
from safetensors.torch import save_file
from wiring import requested

from regrain.editing.errors import ModelError
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.schedulers import (
    by_name,
    proposed,
)
from regrain.editing.params.registry import resolve_params
from regrain.editing.pipeline.runner import edit

# As their makers, or those who convert them, publish them.
PUBLISHED = r"""
lcm-lora-sdv1-5.safetensors                          LCM             lcm              4 1
latent-consistency/lcm-lora-ssd-1b                   LCM             lcm              4 1
LCM_LoRA_Weights_SD15                                LCM             lcm              4 1
sdxl_lcm_lora.safetensors                            LCM             lcm              4 1
AnimateLCM_sd15_t2v_lora                             AnimateLCM      lcm              6 2
AnimateLCM_sd15_t2v.safetensors                      AnimateLCM      lcm              6 2
AnimateLCM_sd15_i2v_lora                             AnimateLCM      lcm              6 2
wangfuyun/AnimateLCM                                 AnimateLCM      lcm              6 2
SDXL-Lightning-8step-lora                            Lightning       euler            8 1
loras/sdxl_lightning_2steps                          Lightning       euler            2 1
C:\models\sdxl_lightning_4step.safetensors           Lightning       euler            4 1
my_sdxl_lightning_4step_v2                           Lightning       euler            4 1
ByteDance/Hyper-SD-8steps                            Hyper-SD        ddim_trailing    8 1
Hyper-SD15-12steps-CFG-lora                          Hyper-SD        ddim_trailing   12 5
Hyper-SDXL-1step-lora                                Hyper-SD        tcd              1 1
sdxl_hyper_sd_4step_lora                             Hyper-SD        ddim_trailing    4 1
TCD-SD15-LoRA                                        TCD             tcd              4 1
TCD-SDXL-LoRA.safetensors                            TCD             tcd              4 1
dmd2_sdxl_4step_lora_fp16                            DMD2            lcm              4 1
stabilityai/sdxl-turbo                               Turbo           euler_ancestral  4 1
sd_xl_turbo_1.0_fp16.safetensors                     Turbo           euler_ancestral  4 1
sd-turbo                                             Turbo           euler_ancestral  4 1
sd_xl_turbo_lora_v1                                  Turbo           euler_ancestral  4 1
pcm_sd15_smallcfg_2step_converted                    PCM             ddim_trailing    2 1
pcm_sdxl_normalcfg_16step                            PCM             ddim_trailing   16 1
pcm_sd15_lcmlike_lora_converted                      PCM             ddim_trailing    4 1
jasperai/flash-sd                                    Flash_Diffusion lcm              4 1
flash-sdxl                                           Flash_Diffusion lcm              4 1
Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank32  LightX2V        lcm              4 1
lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16 LightX2V        lcm              4 1
lightx2v/Wan2.1-T2V-14B-StepDistill-CfgDistill       LightX2V        lcm              4 1
wan2.1_t2v_14b_lightx2v_4step                        LightX2V        lcm              4 1
Wan21_CausVid_14B_T2V_lora_rank32_v2                 CausVid         lcm              8 1
Wan21_CausVid_bidirect2_T2V_1_3B_lora_rank32         CausVid         lcm              8 1
Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1.1         Lightning_for_Wan lcm            4 1
Wan2.2-T2V-A14B-4steps-lora-250928_low_noise_model   Lightning_for_Wan lcm            4 1
Wan2.2-Lightning_T2V-v1.1-A14B-4steps-lora_HIGH_fp16 Lightning_for_Wan lcm            4 1
Wan22_A14B_T2V_LOW_Lightning_4steps_lora_250928      Lightning_for_Wan lcm            4 1
FastVideo/FastWan2.1-T2V-1.3B-Diffusers              FastWan         lcm              3 1
Wan21_AccVid_T2V_14B_lora_rank32_fp16                AccVideo        lcm              8 1
Wan2.1_T2V_14B_FusionX_LoRA                          FusionX         lcm              8 1
Wan2.1_Text_to_Video_14B_FusionX_LoRA                FusionX         lcm              8 1
vrgamedevgirl84/Wan14BT2VFusioniX                    FusionX         lcm              8 1
self_forcing_dmd                                     Self_Forcing    lcm              4 1
Wan2.2-T2V-A14B-4steps-250928-dyno                   Lightning_for_Wan lcm            4 1
models/sdxl_lightning_8step/                         Lightning       euler            8 1
"""
# Of each word, names in which it means something else.
INNOCENT = {
    "lcm": "lcm_math_blackboard, leica-lcm-tones, lcm landscape co, style_lcm_v2, lcm-logo-2024, "
    "mr.lcm, house_of_lcm, lcm_1000steps, lcm2_character, LCM, lcm-lora-of-lena, lcm_sdxl_style",
    "animatelcm": "for_animatelcm_dancers, animatelcm-style, my AnimateLCM walk, animatelcm_v2, "
    "dance (animatelcm), AnimateLCM_sd15, girl.animatelcm, animatelcm-faces, animatelcm_ink, to animatelcm",
    "tcd": "tcd_dublin_campus, tcd-doppler-scan, tcd rugby, style_tcd, TCD, tcd.1978, tcd-logo, "
    "tcd_v3, book of kells tcd, tcd_sd15, artist-tcd-8steps, tcd_sdxl_style",
    "hyper": "hyper_realistic_v5, hyper-detail, hyper drive ships, hyper_color, hyper.pop, hyper-sd, "
    "hyper_real_sdxl, hyper-light-drifter, hyper_8_bit, hyper_sdxl_detail, hyper-20steps, my hyper sd15",
    "dmd": "dmd_micromirror, dmd-2d-art, dmd display pinball, dmd2_character, dmd_style, DMD, "
    "dmd-doctor, dmd2, team dmd, dmd_sdxl, dmd_v4, dmd2_sdxl_style",
    "lightning": "dark-lightning-fantasy, lightning_storm_style, lightning mcqueen, ball-lightning, "
    "lightning_bolt_500steps, sdxl_lightning, lightning.bug, thor-lightning-v2, sdxl-lightning-storm, "
    "white lightning, lightning_8_ball, lightning-20steps",
    "turbo": "turbo_granny, turbo-charger, porsche turbo s, turbo_snail, turbo-pascal-ui, sdxl_turbo_cars, "
    "my-sd-turbo, turbo_2step_antilag, engine.turbo, turbo_sdxl, turbo man, saab-900-turbo",
    "pcm": "pcm_audio_waves, pcm-material, phase change pcm, pcm_style, pcm.v2, PCM, pcm_sd15, "
    "pcm-sdxl-look, artist_pcm, pcm 4step dance, pcm_1bit, pcm-manga",
    "flash": "flash_photography, camera-flash, the flash hero, flash-gordon, flash.tattoo, flash_sd_style, "
    "ring flash, my-flash-sd, flash-sdxl-look, xenon_flash, flash_2000s_party, flash-4steps",
    "lightx2v": "lightx2v, trained_on_lightx2v, lightx2v-style, my lightx2v, lightx2v_dance, lightx2v.v2, "
    "lightx2v_girl, to-lightx2v, lightx2v_2000steps, anime lightx2v",
    "causvid": "causvid, for_causvid_dancers, causvid-style, my causvid, causvid_v2, wan21_causvid_dance, "
    "causvid.test, causvid_lora_rank32, to-causvid, anime causvid",
    "accvid": "accvid, accvid_style, my accvid, accvideo-girl, accvid.v2, wan21_accvid_dance, "
    "for-accvid, accvideo, accvid_lora_rank32, anime accvid",
    "fastwan": "fastwan, fastwan_style, my fastwan, fastwan-girl, fastwan.v2, to-fastwan, anime fastwan, "
    "fastwan_lora, for_fastwan_dancers, fastwan (8 steps)",
    "fusionx": "fusionx, fusionx_fashion, my fusionx, fusionx-reactor, fusionx.v2, wan_fusionx_walk, "
    "ford fusionx, fusionx_lora, for-fusionx, anime fusionx",
    "self forcing": "self_forcing, self-forcing-style, my self forcing, selfforcing, self_forcing_v2, "
    "self.forcing.dance, for-self-forcing, anime self forcing, self_forcing_lora, self forcing girl",
}
KEYS = ("ss_output_name", "modelspec.title")


@pytest.mark.parametrize("line", PUBLISHED.strip().splitlines())
def test_a_published_name_says_what_a_file_wants(line):
    name, title, sampler, steps, scale = line.split()
    kind = (title.replace("_", " "), sampler, int(steps), float(scale), "")
    for said in (by_name(name, {}), *(by_name("mine", {key: name}) for key in KEYS)):
        assert said == kind


def test_a_folder_and_a_file_say_it_together():
    folder = "loras/Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1.1"
    for part in ("high_noise_model", "low_noise_model"):
        kind = by_name(f"{folder}/{part}.safetensors", {})
        assert (kind.title, kind.steps, kind.sign) == ("Lightning for Wan", 4, "")
    split = by_name(r"sdxl_lightning\8step_lora.safetensors", {})
    assert (split.title, split.steps, split.sign) == ("Lightning", 8, "")
    assert by_name("lightning/ink.safetensors", {}).sign == "The name 'lightning-ink'"
    assert by_name("lightning/ink", {}) is None


@pytest.mark.parametrize("end", ["", ".safetensors", "/model.safetensors"])
def test_a_name_above_says_it(end):
    for part in ("high_noise_model", "low_noise_model"):
        kind = by_name(f"a/Wan2.2-T2V-A14B-4steps-250928-dyno/{part}{end}", {})
        assert (kind.title, kind.steps, kind.sign) == ("Lightning for Wan", 4, "")


@pytest.mark.parametrize(
    ("name", "title", "steps"),
    [
        ("my_film_6steps", "few steps", 6),
        ("ink-8-step.safetensors", "few steps", 8),
        ("ink_12steps/high_noise_model", "few steps", 12),
        ("ink 2step/a/model.safetensors", "few steps", 2),
        ("artist-tcd-8steps", "TCD", 8),
        ("my_turbo_2step", "Turbo", 2),
    ],
)
def test_a_number_before_step_is_a_proposal(name, title, steps):
    kind = by_name(name, {})
    assert (kind.title, kind.steps) == (title, steps)
    assert f"--set steps={steps} " in kind.guess


@pytest.mark.parametrize("word", INNOCENT)
def test_a_word_is_no_more_than_a_proposal(word):
    names = [name.strip() for name in INNOCENT[word].split(",")]
    assert len(names) >= 10
    for name in names:
        found = by_name(name, {})
        assert found.sign == f"The name {name!r}"
        for key in KEYS:
            assert by_name("mine", {key: name}) == found


def test_other_names_say_nothing():
    """Nor does the model that a LoRA was trained on."""
    trained = {"ss_sd_model_name": "sdxl_lightning_4step.safetensors"}
    for name in [
        "film-grain",
        "hyperrealism",
        "turbocharged",
        "storybook",
        "flashlight",
        "ink_1000steps",
        "rank4steps",
        "4footsteps",
        "two steps",
    ]:
        assert by_name(name, trained) is None


SIGNS = read_json(Path(__file__).with_name("few_step.json"))
"""Names and configurations (scheduler, UNet), and what is said or taken by them."""


def test_settings_are_proposed_for_methods_that_do_not_invert():
    found = proposed(SCHEDULER, by_name("sdxl_lightning_4step", {}))
    settings = {"steps": 4, "guidance_scale": 1.0}
    assert found == {
        "fresco": settings | {"sampler": "euler"},
        "sdedit": settings | {"sampler": "euler"},
        "infedit": settings,
        "instruct_pix2pix": settings | {"sampler": "euler", "source_guidance": 1.0},
        "flow_regions": settings | {"source_guidance": 1.0},
        "vace": settings | {"solver": "lcm"},
    }
    assert proposed(SCHEDULER, None) == {}


def test_a_video_model_brings_its_shift_and_few_steps_without_guidance():
    kind = by_name("Wan21_T2V_lightx2v_cfg_step_distill_lora_rank32", {})
    found = proposed({"flow_shift": 8.0}, kind)
    few = {"steps": 4, "guidance_scale": 1.0, "shift": 5.0}
    assert found["flow_regions"] == few | {"source_guidance": 1.0}
    assert found["vace"] == few | {"solver": "lcm"}
    fast = proposed({"flow_shift": 8.0}, by_name("FastWan2.1-T2V-1.3B-Diffusers", {}))
    params, _ = resolve_params("vace", {}, fast["vace"])
    assert (params.steps, params.levels) == (3, (1000, 757, 522))
    assert proposed({"flow_shift": 8.0}, None)["vace"] == {"shift": 8.0}
    assert proposed({}, None) == {}


def facts(place, name="mine", scheduler=None, unet=None):
    """Facts of a folder without weights."""
    unet = {"in_channels": 4, **(unet or {})}
    scheduler = SCHEDULER | (scheduler or {})
    return facts_of(str(write_configs(place / name, unet, scheduler=scheduler)))


def lora(place, name, metadata=None, **defaults):
    """A LoRA that changes nothing, in a folder of its own."""
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    weights = {
        f"{layer}.lora_A.weight": torch.zeros(2, 8),
        f"{layer}.lora_B.weight": torch.zeros(8, 2),
    }
    (place / name).mkdir()
    save_file(weights, place / name / "pytorch_lora_weights.safetensors", metadata)
    if defaults:
        write_json(place / name / "defaults.json", defaults)
    return str(place / name)


@pytest.mark.parametrize(("name", "scheduler", "said"), SIGNS["one sign"])
def test_one_sign_changes_nothing(tmp_path, name, scheduler, said):
    found = facts(tmp_path, name, scheduler)
    plain = facts(tmp_path, "plain", scheduler | {"timestep_spacing": "leading"})
    assert found.few_step() is None
    assert found.recommended() == plain.recommended()
    assert found.family == plain.family
    assert "inversion" in found.family.offers
    (first,) = [text for text in found.guesses() if said in text]
    assert "If it is: --set steps=" in first
    assert {*found.guesses()} <= {*found.doubts}
    assert not plain.guesses()


@pytest.mark.parametrize(("name", "scheduler", "unet", "kind"), SIGNS["enough signs"])
def test_two_signs_or_a_sure_one_are_enough(tmp_path, name, scheduler, unet, kind):
    found = facts(tmp_path, name, scheduler, unet)
    assert found.few_step().sampler == kind
    assert found.recommended()["sdedit"]["sampler"] == kind
    assert "inversion" not in found.family.offers
    assert found.guesses() == []


def test_a_lora_comes_before_the_folder_and_the_folder_before_the_scheduler(tmp_path):
    found = facts(tmp_path, scheduler={"_class_name": "TCDScheduler"})
    write_json(tmp_path / "mine" / "defaults.json", {"sdedit": {"steps": 9}})
    found = facts_of(str(tmp_path / "mine"))
    usual = {"guidance_scale": 1.0, "sampler": "tcd"}
    assert found.recommended()["sdedit"] == usual | {"steps": 9}
    ink = lora(tmp_path, "turbo_granny")
    assert found.recommended([ink])["sdedit"] == usual | {"steps": 9}
    few = lora(tmp_path, "sdxl_lightning_2step_lora")
    of_few = {"guidance_scale": 1.0, "sampler": "euler", "steps": 2}
    assert found.recommended([few])["sdedit"] == of_few
    own = lora(tmp_path, "sdxl_lightning_8step", sdedit={"steps": 5})
    assert found.recommended([own])["sdedit"] == of_few | {"steps": 5}


def test_the_built_in_lora_says_what_it_is_for():
    found = facts_of("storybook")
    fast = found.recommended(["storybook/fast"])["instruct_pix2pix"]
    assert (fast["steps"], fast["guidance_scale"]) == (8, 2.0)
    assert "source" in found.family_with(["storybook/fast"]).offers
    assert found.guesses(["storybook/fast"]) == []
    assert found.few_step(["storybook/fast"]) is None
    assert "inversion" in found.family.offers


@pytest.fixture(scope="module")
def guessed(tmp_path_factory):
    """A model and a LoRA of ordinary kinds, whose names say otherwise."""
    place = tmp_path_factory.mktemp("models")
    model = write_small_model(place / "hyper_realistic_v5")
    return str(model), lora(place, "turbo_granny", {"ss_output_name": "granny"})


@pytest.mark.usefixtures("own_cache")
def test_a_run_inverts_and_says_what_the_names_say(guessed):
    model, ink = guessed
    params = {"steps": 2, "preview_every": 0}
    asked = replace(requested("fatezero"), model=model, loras=(ink,), params=params)
    *_, last = edit(asked)
    of_lora, of_model, *_ = last.report["warnings"]
    assert "The name 'hyper_realistic_v5' says Hyper-SD" in of_model
    assert "--set steps=8 --set guidance_scale=1 (" in of_model
    assert "sampler=ddim_trailing where" in of_model
    assert "The name 'turbo_granny' says Turbo" in of_lora
    assert last.report["params"]["guidance_scale"]["value"] == 7.5


def test_a_lora_that_is_one_is_not_inverted_with(guessed, tmp_path):
    model, _ = guessed
    few = lora(tmp_path, "lcm-lora-sdv1-5")
    asked = replace(requested("fatezero"), model=model, loras=(few,))
    with pytest.raises(ModelError, match=r"not .* \(LCM\).*infedit"):
        finish(edit(asked))
