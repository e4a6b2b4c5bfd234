"""UNets of Stable Diffusion in files of packed weights (GGUF): they answer as the same
weights unpacked by `gguf`'s numpy, and are refused by their heads."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from damaged_models import refusal
from json_files import read_json, write_json
from made_models import loaded, randn, write_sdxl
from safetensors.torch import load_file, save_file
from single_files import NAMES, unet_key
from wan_names import write_packed

from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.unet.temporal import tunable_shapes, untuned
from regrain.editing.models.weights.small import PackedLinear
from regrain.editing.storage.memory import count_weights

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
XL_NAMES = NAMES | {"up_blocks.0.upsamplers.0": "output_blocks.2.2"}
NAMED = {
    "sd1": partial(unet_key, names=NAMES),
    "sdxl": partial(unet_key, names=XL_NAMES),
}
START = "model.diffusion_model."
pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture(scope="module")
def folders(tiny_folder, tmp_path_factory):
    """Of each version, a folder for diffusers."""
    models = tmp_path_factory.mktemp("models")
    return {"sd1": tiny_folder, "sdxl": write_sdxl(models / "sdxl")}


@pytest.fixture
def pack(folders, tmp_path):
    """Makes two copies of a folder: its UNet packed, and as numpy unpacks that."""

    def make(version, kind="Q8_0", architecture="", **how):
        for copy in ("packed", "plain"):
            shutil.copytree(folders[version], tmp_path / copy)
        whole = load_file(folders[version] / WEIGHTS)
        (tmp_path / "packed" / WEIGHTS).unlink()
        numbers = write_packed(
            whole,
            tmp_path / "packed/unet/mine.gguf",
            kind,
            architecture or version,
            named=how.pop("named", NAMED[version]),
            **how,
        )
        tensors = {name: torch.tensor(x) for name, x in numbers.items()}
        save_file(tensors, tmp_path / "plain" / WEIGHTS)
        return tmp_path / "packed", tmp_path / "plain"

    return make


def answer(model):
    """What a model says of noise and words."""
    step = model.schedule.sampling(25)[7]
    return model.predict(randn(2, 4, 16, 16), step, model.embed(["a cat"]))


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0", "Q5_1"])
@pytest.mark.parametrize("version", ["sd1", "sdxl"])
def test_a_packed_unet_answers_as_its_numbers_do(version, kind, pack):
    packed, plain = pack(version, kind, start=START if kind == "Q4_0" else "")
    model = loaded(packed)
    other = loaded(plain)
    linear = {
        name: kind != "F16" and "block" in name
        for name, layer in other.unet.named_modules()
        if isinstance(layer, torch.nn.Linear)
    }
    assert len(linear) > 100
    for name, is_packed in linear.items():
        assert isinstance(model.unet.get_submodule(name), PackedLinear) == is_packed
    for found, expected in zip(answer(model), answer(other), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_it_is_told_counted_and_known_by_its_numbers(pack):
    """And tuning begins at them."""
    packed, plain = (loaded(folder) for folder in pack("sd1", "Q4_0"))
    assert facts_of(packed.id).family == facts_of(plain.id).family
    folders = Path(packed.id), Path(plain.id)
    assert len({count_weights(folder / "unet") for folder in folders}) == 1
    assert packed.sketch == pytest.approx(plain.sketch, abs=1e-6)
    assert tunable_shapes(packed.unet) == tunable_shapes(plain.unet)
    begin = [untuned(model.unet, 0, torch.Generator()) for model in (packed, plain)]
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    one, other = (weights[layer] for weights in begin)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_lora_changes_its_numbers(pack, tmp_path):
    """Of a layer that has no bias by which to know how wide it should be."""
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {
        f"{layer}.lora_A.weight": randn(2, 64),
        f"{layer}.lora_B.weight": randn(64, 2, seed=1),
    }
    save_file(tensors, tmp_path / "lora.safetensors")
    loras = [f"{tmp_path / 'lora.safetensors'}@0.5"]
    packed, plain = pack("sd1", "Q5_1")
    found, expected = (loaded(folder, loras=loras) for folder in (packed, plain))
    for one, other in zip(answer(found), answer(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert not torch.allclose(answer(found)[0], answer(loaded(packed))[0], atol=1e-3)


REFUSED = {
    "of another version": (
        {"architecture": "sdxl"},
        "'mine.gguf' is of sdxl, but unet/config.json of another version. Use the "
        "folder of that.",
    ),
    "of a video model": (
        {"architecture": "wan"},
        "says that it is of 'wan', not of sd1 or sdxl. Use another file.",
    ),
    "with the names of diffusers": (
        {"named": str},
        "'mine.gguf' lacks 684 weights, such as conv_in.bias. Download it again.",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_not_its_unet_is_refused(why, pack):
    how, said = REFUSED[why]
    packed, _ = pack("sd1", **how)
    assert said in refusal(packed)


def test_weights_that_nothing_reads_are_refused(pack, folders):
    packed, _ = pack("sd1")
    whole = load_file(folders["sd1"] / WEIGHTS) | {"nothing.weight": randn(4, 4)}
    write_packed(
        whole,
        packed / "unet/mine.gguf",
        architecture="sd1",
        named=lambda name: name if name.startswith("nothing") else NAMED["sd1"](name),
    )
    said = "'mine.gguf' has 'nothing.weight', which nothing here reads."
    assert said in refusal(packed)


def test_of_several_packed_files_none_is_chosen(pack):
    packed, _ = pack("sd1")
    shutil.copy(packed / "unet/mine.gguf", packed / "unet/other.gguf")
    assert "unet/ has several files of weights" in refusal(packed)


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_other_parts_are_refused_packed(part, folders, tmp_path):
    folder = shutil.copytree(folders["sd1"], tmp_path / "mine")
    for file in (folder / part).glob("*.safetensors"):
        file.unlink()
    some = {"blocks.0.norm.weight": randn(4)}
    write_packed(some, folder / part / "mine.gguf", architecture="t5encoder")
    said = refusal(folder)
    assert "'mine.gguf' is a GGUF, packed weights: put" in said


def test_a_width_of_another_network_is_refused(pack):
    packed, _ = pack("sd1")
    config = read_json(packed / "unet/config.json")
    write_json(packed / "unet/config.json", config | {"norm_num_groups": 16})
    assert answer(loaded(packed))
    write_json(packed / "unet/config.json", config | {"in_channels": 9})
    assert "'mine.gguf' is damaged. Download it again." in refusal(packed)
