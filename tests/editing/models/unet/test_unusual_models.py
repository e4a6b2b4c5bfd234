"""Checkpoints that are unlike the usual ones: pruned, in half precision alone, with
channels that are scaled, without a word of what they predict."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from damaged_models import refusal, reweighted, rewrite
from diffusers import AutoencoderKL, UNet2DConditionModel
from json_files import read_json, write_json
from made_clips import black, noise, off
from made_models import SDXL, load_double, loaded, randn, write_small_model
from safetensors.torch import load_file, save_file
from single_files import assert_same, original_layout
from tables import rows

from regrain.editing.errors import ModelError
from regrain.editing.models.loading.load import loaded_backbone
from regrain.editing.pipeline.beforehand import working_size_of
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.memory import count_weights
from regrain.editing.storage.safetensors_files import choose_weights

UNET = "unet/diffusion_pytorch_model.safetensors"
LEVELS = "scheduler/scheduler_config.json"
pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture
def copy(small_folder, tmp_path):
    return shutil.copytree(small_folder, tmp_path / "copy")


@pytest.fixture
def same(copy, small):
    """Checks that the copy is still read as what it is a copy of."""
    return lambda: assert_same(loaded(copy), small)


def frames():
    return noise(2, 16, 24, 3)


SCALES = read_json(Path(__file__).with_name("scales.json"))
"""What an autoencoder says of its latents."""


@pytest.mark.parametrize("scales", SCALES)
def test_latents_are_scaled_by_channel_as_diffusers_pipelines_do(copy, scales):
    said = SCALES[scales]
    rewrite(copy / "vae" / "config.json", **said)
    model = loaded(copy)
    vae = AutoencoderKL.from_pretrained(copy / "vae")
    middle = torch.tensor(said.get("latents_mean", [0.12] * 4))[:, None, None]
    deviation = torch.tensor(said.get("latents_std", [1.0] * 4))[:, None, None]
    pixels = torch.from_numpy(frames()).movedim(-1, 1).float() / 127.5 - 1
    raw = vae.encode(pixels).latent_dist.mean
    latents = (raw - middle) * vae.config.scaling_factor / deviation
    torch.testing.assert_close(model.encode(frames()), latents)
    colors = ((vae.decode(raw).sample + 1) * 127.5).round().clamp(0, 255)
    assert off(model.decode(latents), colors.movedim(1, -1).numpy()).max() <= 1


# Blocks with other numbers of layers, as SSD-1B; none in the middle, as BK-SDM.
PRUNED = {
    "nested": SDXL
    | {
        "transformer_layers_per_block": [1, [1], [2]],
        "reverse_transformer_layers_per_block": [[2, 1], [1, 2], 1],
    },
    "without a middle": {"mid_block_type": None, "cross_attention_dim": 32},
}


@pytest.mark.parametrize("pruned", PRUNED)
def test_pruned_models_draw_what_diffusers_draws(tmp_path, pruned):
    config = PRUNED[pruned]
    folder = write_small_model(
        tmp_path / "m", sdxl="addition_embed_type" in config, **config
    )
    model = load_double(folder)
    theirs = UNet2DConditionModel.from_pretrained(folder / "unet").double()
    x = randn(2, 4, 8, 8, dtype=torch.float64)
    text = model.embed(["a cat", "a dog"])
    step = model.schedule.sampling(4)[1]
    given = model.read_by(x, text)
    eps = theirs(x, step.t, **given).sample
    assert float((model.predict(x, step, text)[1] - eps).abs().max()) < 1e-6


def test_a_size_of_two_numbers_counts_by_its_short_side(copy):
    rewrite(copy / "unet" / "config.json", sample_size=[8, 12])
    assert loaded(copy).size == 8 * 2


# --- files of weights


def renamed(folder, ending):
    for file in folder.glob("*/*.safetensors"):
        file.rename(file.with_name(file.name.replace(".safetensors", ending)))


@pytest.mark.parametrize("ending", [".fp16.safetensors", ".bf16.safetensors"])
def test_a_variant_is_read_where_there_is_nothing_else(copy, ending, same):
    count = count_weights(copy)
    renamed(copy, ending)
    same()
    assert count_weights(copy) == count


def test_shards_are_read_without_their_index_and_missed_by_their_number(copy, same):
    unet = UNet2DConditionModel.from_pretrained(copy / "unet")
    (copy / UNET).unlink()
    unet.save_pretrained(copy / "unet", max_shard_size="60KB")
    (index,) = (copy / "unet").glob("*.index.json")
    index.unlink()
    same()
    shards = sorted((copy / "unet").glob("*.safetensors"))
    shards[-1].unlink()
    said = f"unet/ has {len(shards) - 1} of {len(shards)} shards. Download the others"
    assert said in refusal(copy)
    for shard in shards[1:-1]:
        shard.unlink()
    assert f"has 1 of {len(shards)} shards" in refusal(copy)


def test_several_files_of_unknown_names_are_named(copy):
    (copy / UNET).rename(copy / "unet" / "a.safetensors")
    shutil.copy(copy / "unet" / "a.safetensors", copy / "unet" / "b.safetensors")
    said = "has several files of weights ('a.safetensors', 'b.safetensors'). Keep one"
    assert said in refusal(copy)


def test_names_in_capitals_and_files_of_programs_on_windows_are_read(copy, same):
    renamed(copy, ".SAFETENSORS")
    for config in [*copy.glob("*/config.json"), copy / LEVELS]:
        text = config.read_text().replace("\n", "\r\n")
        config.write_bytes(text.encode("utf-8-sig"))
    same()


def test_files_are_chosen_by_their_names():
    stem = "diffusion_pytorch_model"
    shards = [f"{stem}.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for names, expected in (
        ([*shards, f"{stem}.non_ema.safetensors"], shards),
        ([f"{stem}.non_ema.safetensors"], [f"{stem}.non_ema.safetensors"]),
        (
            ["model.safetensors", f"{stem}.fp16.safetensors"],
            [f"{stem}.fp16.safetensors"],
        ),
        ([f"{stem}.safetensors", f"{stem}.fp16.safetensors"], [f"{stem}.safetensors"]),
        ([f"{stem}-00001-of-00001.fp16.safetensors"] * 1, None),
    ):
        assert choose_weights(names) == (expected or names)
    assert choose_weights(["pytorch_lora_weights.safetensors"]) == []


def test_what_was_replaced_under_its_name_is_read_again(copy):
    first = loaded(copy)
    assert loaded(copy) is first is loaded_backbone(str(copy))
    weights = load_file(copy / UNET)
    changed = {key: value + 0.5 for key, value in weights.items()}
    save_file(changed, copy / UNET, {"format": "pt"})
    assert loaded_backbone(str(copy)) is None
    second = loaded(copy)
    assert second.fingerprint != first.fingerprint
    os.utime(copy / LEVELS, ns=(1, 1))
    assert loaded(copy) is not second


# --- what a network predicts


@pytest.fixture(scope="module")
def original(tiny):
    """The weights of a single file."""
    return original_layout(tiny)


@pytest.fixture
def file(original, tmp_path):
    save_file(original, path := tmp_path / "v1.5 [x].safetensors")
    return path


def test_one_who_knows_says_what_a_file_predicts(file):
    assert loaded(file, prediction="v_prediction").prediction == "v_prediction"
    assert loaded(file).prediction == "epsilon"


def test_a_yaml_beside_a_file_that_does_not_say_is_refused(file, original):
    file.with_suffix(".yml").write_text("parameterization: v")
    assert "is not read. Say `--prediction v_prediction` where" in refusal(file)
    assert loaded(file, prediction="v_prediction").prediction == "v_prediction"
    save_file(original, file, {"modelspec.prediction_type": "epsilon"})
    assert loaded(file).prediction == "epsilon"


def test_a_folder_that_says_is_believed(copy):
    with pytest.raises(ModelError, match="^prediction: .*Leave it out"):
        loaded(copy, prediction="sample")
    said = read_json(copy / LEVELS)
    del said["prediction_type"]
    write_json(copy / LEVELS, said)
    assert loaded(copy, prediction="sample").prediction == "sample"


REFUSED = read_json(Path(__file__).with_name("single_files_refused.json"))
"""By what is said, other weights of a file, or what it says of itself."""


@pytest.mark.parametrize(("said", "other"), rows(REFUSED))
def test_other_files_are_refused_by_what_they_say(file, original, said, other):
    weights = dict(other)
    metadata = weights.pop("metadata", None)
    save_file(reweighted(original, **weights), file, metadata)
    assert said in refusal(file)


def test_predictions_of_other_kinds_are_refused(file):
    with pytest.raises(ModelError, match=r"^prediction: Expected epsilon or .*got 'x'"):
        loaded(file, prediction="x")


@pytest.mark.parametrize("layer", ["", "1", "2"])
def test_metadata_say_which_layer_of_the_text_encoder_is_read(
    file, original, tiny, layer
):
    said = {"modelspec.encoder_layer": layer} if layer else None
    save_file(original, file, said)
    model = loaded(file)
    rows = torch.tensor([tiny.tokenizer("a cat", padding="max_length").input_ids])
    text = tiny.text_encoder
    all_layers = text(rows, output_hidden_states=True).hidden_states
    normed = (text.text_model if hasattr(text, "text_model") else text).final_layer_norm
    expected = normed(all_layers[-2 if layer == "2" else -1])
    assert torch.allclose(model.text_encoder(rows).last_hidden_state, expected)


@pytest.mark.full(but="1344x768-768")
@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("1344x768", 768),
        ("640 x 1024", 640),
        ("768", 768),
    ],
)
def test_metadata_say_the_size_at_which_a_model_works(file, original, said, size):
    save_file(original, file, {"modelspec.resolution": said})
    assert loaded(file).size == size
    clip = black(1, 64, 96)
    facts = {"model": str(file), "method": "sdedit", "prompt": "a cat"}
    request = EditRequest(clip=clip, labels=None, regions=(), **facts)
    assert working_size_of(request).side == size


def test_metadata_of_the_same_kind_pass(file, original):
    said = {"architecture": "stable-diffusion-v1", "timestep_range": "0,999"}
    said |= {"title": "x", "usage_hint": "y", "merged_from": "z"}
    facts = {f"modelspec.{key}": value for key, value in said.items()}
    save_file(original, file, facts | {"ss_noise_offset": "0.1"})
    assert loaded(file).prediction == "epsilon"
