"""Stable Diffusion XL on narrow random weights, beside diffusers' own pipeline."""

import shutil
from pathlib import Path

import pytest
import torch
from damaged_models import damage, refusal, rewrite
from diffusers import (
    ControlNetModel,
)
from json_files import read_json
from made_clips import noise
from made_models import loaded, randn, write_control_net, write_sdxl
from pipelines import pipeline_of
from safetensors.torch import load_file, save_file
from single_files import assert_same, load_file_of, original_layout

from regrain.editing.models.intervention import Intervention
from regrain.editing.models.unet.control_net import ControlNets
from regrain.editing.params.written import ControlSpec

PROMPTS = ["a cat on a mat", "", "a red fox"]
pytestmark = [pytest.mark.full, pytest.mark.usefixtures("no_grad")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sdxl(tmp_path_factory.mktemp("models") / "sdxl")


@pytest.fixture(scope="module")
def model(folder):
    return loaded(folder)


@pytest.fixture(scope="module")
def pipeline(folder):
    return pipeline_of(folder)


@pytest.fixture
def latents():
    return randn(3, 4, 8, 16)


def test_vectors_and_pooled_text_are_the_pipelines(model, pipeline):
    text = model.embed(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        negative = prompt or None
        _, vectors, _, pooled = pipeline.encode_prompt(
            "a",
            negative_prompt=negative,
            do_classifier_free_guidance=True,
            num_images_per_prompt=1,
        )
        torch.testing.assert_close(text.vectors[row : row + 1], vectors)
        torch.testing.assert_close(text.pooled[row : row + 1], pooled)
    assert text.vectors[1].abs().max() == 0 < text.vectors[0].abs().min()
    assert text[2].pooled.equal(text.pooled[2:])


def test_padding_and_an_empty_prompt_are_as_the_folder_says(
    folder, tmp_path, pipeline, monkeypatch
):
    copy = shutil.copytree(folder, tmp_path / "other")
    (copy / "model_index.json").write_text('{"force_zeros_for_empty_prompt": false}')
    other = type(pipeline.tokenizer_2).from_pretrained(
        folder / "tokenizer_2", pad_token="a"
    )
    other.save_pretrained(copy / "tokenizer_2")
    monkeypatch.setattr(pipeline, "tokenizer_2", other)
    text = loaded(copy).embed([""])
    vectors, _, pooled, _ = pipeline.encode_prompt(
        "", do_classifier_free_guidance=False
    )
    torch.testing.assert_close((text.vectors, text.pooled), (vectors, pooled))


def test_all_weights_count_in_the_fingerprint(folder, model, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "other")
    path = copy / "text_encoder_2" / "model.safetensors"
    weights = load_file(path)
    weights["text_projection.weight"] += 1
    save_file(weights, path, {"format": "pt"})
    assert loaded(copy).fingerprint != model.fingerprint


def test_a_single_file_equals_its_folder(model, tmp_path, latents):
    read = load_file_of(original_layout(model, "sdxl"), tmp_path / "xl.safetensors")
    assert_same(read, model, model.parts)
    assert (read.size, read.prediction) == (1024, "epsilon")
    step = model.schedule.sampling(4)[0]
    answers = [
        one.predict(latents, step, one.embed(PROMPTS))[1] for one in (read, model)
    ]
    torch.testing.assert_close(*answers)


REFUSED = read_json(Path(__file__).with_name("sdxl_refused.json"))
"""By what is said, damages to a folder."""


@pytest.mark.parametrize("said", REFUSED)
def test_damaged_folders_are_one_line(folder, tmp_path, said):
    copy = shutil.copytree(folder, tmp_path / "other")
    damage(copy, REFUSED[said])
    assert said in refusal(copy)


def test_a_pooled_text_of_another_width_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "other")
    path = copy / "text_encoder_2" / "model.safetensors"
    weights = load_file(path)
    name = "text_projection.weight"
    save_file(weights | {name: weights[name].repeat(2, 1)}, path, {"format": "pt"})
    rewrite(copy / "text_encoder_2" / "config.json", projection_dim=48)
    assert "fit together: projection_dim of text_encoder_2/" in refusal(copy)


def test_a_control_network_is_told_pooled_text_and_sizes(model, tmp_path, latents):
    place = write_control_net(tmp_path / "net", model.unet, 0.02)
    frames = noise(3, 64, 128, 3)
    nets = ControlNets(
        [ControlSpec(kind="canny", model=str(place), weight=0.7)], frames, model
    )
    text, step = model.embed(PROMPTS), model.schedule.sampling(4)[1]
    ours = model.predict(latents, step, text, Intervention(control=nets.reading(text)))[
        1
    ]
    net = ControlNetModel.from_pretrained(place)
    hint = torch.from_numpy(nets.maps).movedim(-1, 1).float() / 255
    added = {
        "text_embeds": text.pooled,
        "time_ids": torch.tensor([[64, 128, 0, 0, 64, 128]] * 3),
    }
    told = {"added_cond_kwargs": added, "return_dict": False}
    down, middle = net(
        latents, step.t, text.vectors, hint, conditioning_scale=0.7, **told
    )
    told |= {
        "down_block_additional_residuals": down,
        "mid_block_additional_residual": middle,
    }
    (theirs,) = model.unet(latents, step.t, text.vectors, **told)
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours, model.predict(latents, step, text)[1], atol=1e-3)
