"""Transformers of Wan in files with its authors' names of weights: read as diffusers'
folders of the same weights are, told apart by their heads alone, and refused by name."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from damaged_models import refusal, reweighted
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from json_files import read_json, write_json
from made_models import loaded, randn, without_control, write_wan
from safetensors.torch import load_file, save_file
from single_files import EIGHT, in_eight_bits
from wan_names import TABLES, original

from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.offers import VACE, WAN
from regrain.editing.models.files.wan_file import WanFiles, config_of
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.loading.load import local_models
from regrain.editing.models.wan.network import read_network

CONFIG = "transformer/config.json"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def vace_folder(tmp_path_factory):
    """A VACE for diffusers, a head of which is as wide as those of all published."""
    folder = tmp_path_factory.mktemp("models") / "vace"
    sizes = {"num_attention_heads": 1, "attention_head_dim": 128, "num_layers": 4}
    write_wan(folder, vace=True, **sizes)
    config = read_json(folder / CONFIG)
    del config["sample_size"]
    write_json(folder / CONFIG, config)
    return folder


@pytest.fixture(scope="module")
def whole(vace_folder):
    """Its weights."""
    return load_file(vace_folder / WEIGHTS)


@pytest.fixture(scope="module")
def base_folder(vace_folder, tmp_path_factory):
    """The Wan of its base layers, for diffusers."""
    return without_control(vace_folder, tmp_path_factory.mktemp("models") / "base")


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


@pytest.mark.parametrize(
    ("kind", "start"),
    [("vace", ""), ("vace", "model.diffusion_model."), ("base", "diffusion_model.")],
)
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
    said = f"'my_{kind}.safetensors' is read as {title}: 4 layers of width 128"
    assert note == f"{said}{layers}. Its other parts are those of 'place'."


@pytest.mark.parametrize("kind", TABLES["sizes"])
def test_published_sizes_are_told_by_shapes(kind):
    width, wide, depth, control = TABLES["sizes"][kind]
    shapes = {
        "head.modulation": [1, 2, width],
        "head.head.weight": [64, width],
        "patch_embedding.weight": [width, 16, 1, 2, 2],
        "text_embedding.0.weight": [width, 4096],
        "time_embedding.0.weight": [width, 256],
    }
    shapes |= {f"blocks.{place}.ffn.0.weight": [wide, width] for place in range(depth)}
    for place in range(len(control)):
        shapes[f"vace_blocks.{place}.after_proj.weight"] = [width, width]
        shapes["vace_patch_embedding.weight"] = [width, 96, 1, 2, 2]
    found = config_of([WanFiles((Path("a.safetensors"),), "", shapes, {})], {})
    sizes = found["num_attention_heads"], found["ffn_dim"], found["num_layers"]
    assert sizes == (width // 128, wide, depth)
    assert found.get("vace_layers", []) == [*control]
    named = "WanVACETransformer3DModel" if control else "WanTransformer3DModel"
    assert (found["_class_name"], found["freq_dim"]) == (named, 256)


def test_a_title_in_its_head_says_that_it_draws_in_few_steps(whole, place):
    metadata = {"modelspec.title": "causvid dance"}
    file = written(whole, place / "mine.safetensors", metadata=metadata)
    assert any("says CausVid" in note for note in facts_of(str(file)).guesses())


# --- Folders, and control blocks in a file of their own


def shards(weights, folder):
    """Files as diffusers calls shards, without an index."""
    for path in folder.glob("diffusion_pytorch_model*"):
        path.unlink()
    for number in (0, 1):
        half = {name: weights[name] for name in [*weights][number::2]}
        name = f"diffusion_pytorch_model-0000{number + 1}-of-00002.safetensors"
        written(half, folder / name)


@pytest.mark.parametrize("has_config", [True, False])
@pytest.mark.parametrize("in_shards", [True, False])
def test_a_folder_with_the_authors_names_is_read(
    whole, place, base_folder, in_shards, has_config
):
    (place / WEIGHTS).unlink()
    write = shards if in_shards else lambda *given: written(*given)
    write(
        base_of(whole), place / "transformer" / ("" if in_shards else "any.safetensors")
    )
    if not has_config:
        (place / CONFIG).unlink()
    assert_same(loaded(place), loaded(base_folder))
    file = written(module_of(whole), place / "module.safetensors")
    assert loaded(file).offers == VACE


@pytest.mark.parametrize("named", [True, False])
def test_control_blocks_are_added_to_the_folder(whole, place, vace_folder, named):
    """Whose weights may have either names."""
    if named:
        (place / WEIGHTS).unlink()
        written(
            base_of(whole),
            place / "transformer" / "t2v.safetensors",
            "diffusion_model.",
        )
    file = written(module_of(whole), place / "module.safetensors", "diffusion_model.")
    model = loaded(file)
    assert_same(model, loaded(vace_folder))
    assert answer(model)[1].equal(answer(loaded(vace_folder))[1])
    assert "control blocks after [0, 2]" in model.notes[0]
    assert facts_of(str(file)).family == ("Wan 2.1 VACE", VACE)
    assert facts_of(str(place)).family == ("Wan 2.1", WAN)


def answer(model):
    """What a model says of a condition."""
    change = Intervention(context=randn(3, 96, 4, 6, seed=2))
    step = model.schedule.sampling(25)[7]
    return model.predict(randn(3, 16, 4, 6), step, model.embed(["a cat"]), change)


def test_files_are_listed_with_the_folder_that_has_their_other_parts(
    whole, place, monkeypatch
):
    monkeypatch.setenv("REGRAIN_MODELS", str(place.parent))
    written(module_of(whole), place / "module.safetensors")
    written(module_of(whole), place.parent / "alone.safetensors")
    assert local_models() == ["alone.safetensors", "place", "place/module.safetensors"]
    assert loaded("place/module").offers == VACE
    said = (
        "Put it into a folder of Wan for diffusers, beside text_encoder/, and name it"
    )
    assert said in refusal("alone")
    title = "the transformer of a Wan alone"
    assert facts_of("alone").family == (title, frozenset())


# --- What is refused, before weights are read


OTHERS = read_json(Path(__file__).with_name("other_files.json"))
"""By what is said, other weights than those of a VACE."""
READ = ("lacks", "has 'blocks")  # what is found out by reading


@pytest.mark.parametrize("said", OTHERS)
def test_other_files_are_refused_by_their_names(said, whole, place, monkeypatch):
    weights = reweighted(whole, **OTHERS[said])
    file = written(weights, place / "mine.safetensors")
    if not said.startswith(READ):
        monkeypatch.setattr("regrain.editing.models.wan.load.read_network", None)
    assert said in refusal(file)
    family = facts_of(str(file)).family
    if said.endswith(", which") and not said.startswith("has"):
        assert family == (said.removesuffix(", which"), frozenset())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "wan2.2_t2v_high_noise_14B_fp8.safetensors",
            "by its name an expert of Wan 2.2",
        ),
        ("Wan2_1-T2V-1_3B-Self-Forcing-DMD.safetensors", "Self-Forcing, which draws"),
        ("wan.gguf", "'wan.gguf' is damaged or not a GGUF file"),
        ("wan.pth", "'wan.pth' is a pickle"),
    ],
)
def test_kinds_that_names_alone_tell_are_refused(whole, place, monkeypatch, name, said):
    written(whole, place / name)
    monkeypatch.setenv("REGRAIN_MODELS", str(place))
    assert said in refusal(name)


def test_files_that_do_not_fit_together_are_refused(
    whole, place, vace_folder, tmp_path
):
    module = module_of(whole)
    wide = reweighted(module, {"vace_patch_embedding.weight": "256 96 1 2 2"})
    file = written(wide, place / "module.safetensors")
    assert (
        "2 control blocks for a width of 256, but there are 4 layers of 128"
        in refusal(file)
    )
    two = shutil.copytree(vace_folder, tmp_path / "two")
    file = written(module, two / "module.safetensors")
    assert (
        "has 'vace_blocks.0.after_proj.bias', which is not known, or read already"
        in refusal(file)
    )
    (place / WEIGHTS).unlink()
    written(whole, place / "transformer" / "a.safetensors")
    said = "'a.safetensors' has _class_name WanVACETransformer3DModel, but config.json says"
    assert said in refusal(place)


# --- Weights of 8 bits


def unscaled(weights):
    """All matrices in 8 bits, without scales; and what they should be read as."""
    found = {
        name: one.to(EIGHT) if one.ndim > 1 else one for name, one in weights.items()
    }
    return found, {name: one.float() for name, one in found.items()}


@pytest.fixture(params=[unscaled, in_eight_bits])
def eight_bits(request, whole, place):
    """A file of 8 bits, and one of its products."""
    found, products = request.param(whole)
    said = {"layers": {"blocks.0.ffn.0": {"format": "float8_e4m3fn"}}}
    metadata = {"_quantization_metadata": json.dumps(said)}
    small = written(found, place / "small.safetensors", metadata=metadata)
    return small, written(whole | products, place / "products.safetensors")


def test_weights_of_8_bits_stay_so_and_act_as_their_products(eight_bits):
    small, products = (loaded(file, dtype=torch.bfloat16) for file in eight_bits)
    assert all(map(torch.equal, answer(small), answer(products)))
    layers = (small.transformer.blocks[3].ffn.net[2], small.transformer.vace_blocks[1])
    assert layers[0].weight.dtype == layers[1].proj_out.weight.dtype == EIGHT
    numbers = small.transformer.condition_embedder.time_proj.weight
    assert numbers.dtype == torch.bfloat16
    assert "in 8 bits" in small.notes[0]
    assert "8 bits" not in products.notes[0]
    facts, kind = facts_of(str(eight_bits[0])), type(small.transformer)
    config = facts.config(CONFIG)
    wide = read_network(
        kind, config, facts.files["transformer"], torch.bfloat16, small=False
    )
    expected = products.transformer.state_dict()
    for name, weight in wide.state_dict().items():
        assert torch.equal(weight, expected[name]), name


def test_a_lora_changes_the_products(eight_bits, place):
    """Also one that lies where transformers do."""
    tensors = {
        "diffusion_model.blocks.1.self_attn.q.lora_A.weight": randn(2, 128),
        "diffusion_model.blocks.1.self_attn.q.lora_B.weight": randn(128, 2, seed=1),
        "diffusion_model.blocks.2.ffn.2.diff_b": randn(128),
    }
    save_file(tensors, place / "lora.safetensors")
    loras = [f"{place / 'lora.safetensors'}@0.5"]
    small, products = (loaded(file, loras=loras) for file in eight_bits)
    assert all(map(torch.equal, answer(small), answer(products)))
    plain = loaded(eight_bits[0])
    assert not torch.equal(answer(small)[0], answer(plain)[0])
    assert small.transformer.blocks[1].attn1.to_k.weight.dtype == EIGHT


def test_models_whose_scales_alone_differ_are_told_apart(whole, place):
    found, _ = in_eight_bits(whole)
    one = loaded(written(found, place / "one.safetensors"))
    mark = max(name for name in found if name.endswith("scale_weight"))
    found[mark] *= 2
    other = loaded(written(found, place / "other.safetensors"))
    assert one.fingerprint != other.fingerprint
    file = written(found | {mark: found[mark] * torch.nan}, place / "bad.safetensors")
    assert "has NaN or Inf in vace_blocks.1" in refusal(file)
