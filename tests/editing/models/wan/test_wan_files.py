"""Transformers of Wan in files with its authors' names of weights: read as diffusers'
folders of the same weights are, told apart by their heads alone, and refused by name."""

import json
import shutil

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from made_models import loaded, write_wan
from safetensors.torch import load_file, save_file

from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.offers import VACE, WAN

CONFIG = "transformer/config.json"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
# Of each piece of a name of diffusers', that of the authors; the first that fits counts.
PIECES = {
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "attn1.to_out.0": "self_attn.o",
    "attn2.to_out.0": "cross_attn.o",
    **{
        f"{ours}.{start}{letter}": f"{theirs}.{own}{letter}"
        for ours, theirs in (("attn1", "self_attn"), ("attn2", "cross_attn"))
        for start, own in (("to_", ""), ("norm_", "norm_"))
        for letter in "qkv"
    },
    "norm2": "norm3",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "proj_in": "before_proj",
}


def original(name):
    """The authors' name of a weight."""
    for ours, theirs in PIECES.items():
        if ours in name:
            return name.replace(ours, theirs)
    is_control = name.startswith("vace_")
    name = name.replace("proj_out", "after_proj" if is_control else "head.head")
    end = "modulation" if "." in name else "head.modulation"
    return name.replace("scale_shift_table", end)


@pytest.fixture(scope="module")
def vace_folder(tmp_path_factory):
    """A VACE for diffusers, a head of which is as wide as those of all published."""
    folder = tmp_path_factory.mktemp("models") / "vace"
    sizes = {"num_attention_heads": 1, "attention_head_dim": 128, "num_layers": 4}
    write_wan(folder, vace=True, **sizes)
    config = json.loads((folder / CONFIG).read_text())
    del config["sample_size"]
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def whole(vace_folder):
    """Its weights."""
    return load_file(vace_folder / WEIGHTS)


@pytest.fixture(scope="module")
def base_folder(vace_folder, whole, tmp_path_factory):
    """The Wan of its base layers, for diffusers."""
    folder = tmp_path_factory.mktemp("models") / "base"
    shutil.copytree(vace_folder, folder)
    save_file(base_of(whole), folder / WEIGHTS, {"format": "pt"})
    config = json.loads((folder / CONFIG).read_text())
    kept = {key: config[key] for key in config if not key.startswith("vace_")}
    kept["_class_name"] = "WanTransformer3DModel"
    (folder / CONFIG).write_text(json.dumps(kept))
    return folder


def base_of(weights):
    return {name: x for name, x in weights.items() if not name.startswith("vace_")}


def module_of(weights):
    return {name: x for name, x in weights.items() if name.startswith("vace_")}


@pytest.fixture
def place(base_folder, tmp_path):
    """A copy of that folder, for files."""
    return shutil.copytree(base_folder, tmp_path / "place")


def written(weights, path, start="", metadata=None):
    """A file of weights with the authors' names."""
    named = {start + original(name): x for name, x in weights.items()}
    save_file(named, path, metadata)
    return path


def assert_same(one, other):
    """Two models have the same weights, bit for bit."""
    found, expected = (model.transformer.state_dict() for model in (one, other))
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        assert weight.dtype == expected[name].dtype, name
        assert torch.equal(weight, expected[name]), name


def test_names_are_the_librarys_there_and_back(whole):
    named = {original(name): x for name, x in whole.items()}
    assert convert_wan_transformer_to_diffusers(dict(named)).keys() == whole.keys()
    assert len(named) == len(whole)
    assert "vace_blocks.0.before_proj.weight" in named
    assert "blocks.3.cross_attn.norm_k.weight" in named


@pytest.mark.parametrize("start", ["", "model.diffusion_model.", "diffusion_model."])
@pytest.mark.parametrize("kind", ["vace", "base"])
def test_a_file_is_read_as_its_folder_is(
    kind, start, whole, place, vace_folder, base_folder
):
    weights = whole if kind == "vace" else base_of(whole)
    shutil.rmtree(place / "transformer")
    file = written(weights, place / f"my_{kind}.safetensors", start)
    folder = vace_folder if kind == "vace" else base_folder
    for dtype in (torch.float32, torch.bfloat16):
        assert_same(loaded(file, dtype=dtype), loaded(folder, dtype=dtype))
    facts, other = facts_of(str(file)), facts_of(str(folder))
    title, offers = ("Wan 2.1 VACE", VACE) if kind == "vace" else ("Wan 2.1", WAN)
    assert facts.family == other.family == (title, offers)
    told = other.config(CONFIG)
    assert facts.config(CONFIG).items() <= told.items()
    (note,) = loaded(file).notes
    layers = ", control blocks after [0, 2]" if kind == "vace" else ""
    said = f"'my_{kind}.safetensors' is read as {title}: 4 layers of 128 channels"
    assert note == f"{said}{layers}. Its other parts are those of 'place'."
