"""Transformers of Wan in files of packed weights (GGUF): they answer as the same weights
unpacked by `gguf`'s numpy, and are told, listed and refused by their heads."""

import shutil

import pytest
import torch
from damaged_models import refusal
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from json_files import read_json, write_json
from made_models import loaded, randn, write_wan
from safetensors.torch import load_file, save_file
from wan_names import SCALES, original, packed_numbers, write_packed

from regrain.editing.models.files.facts import EXPERTS, facts_of
from regrain.editing.models.files.offers import VACE, WAN
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.loading.load import local_models
from regrain.editing.models.weights.small import PackedLinear

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
CONFIG = "transformer/config.json"
KINDS = (
    *("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
)


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    """A VACE for diffusers as wide as a block of packed numbers."""
    folder = tmp_path_factory.mktemp("models") / "vace"
    sizes = {"num_attention_heads": 2, "attention_head_dim": 128, "num_layers": 4}
    write_wan(folder, vace=True, ffn_dim=256, **sizes)
    config = read_json(folder / CONFIG)
    del config["sample_size"]
    write_json(folder / CONFIG, config)
    return folder


@pytest.fixture(scope="module")
def whole(wan):
    return load_file(wan / WEIGHTS)


@pytest.fixture
def place(wan, tmp_path):
    """A copy without the transformer, for files."""
    copy = shutil.copytree(wan, tmp_path / "place")
    shutil.rmtree(copy / "transformer")
    return copy


def answer(model):
    """What a model says of a condition."""
    change = Intervention(context=randn(3, 96, 4, 6, seed=2))
    step = model.schedule.sampling(25)[7]
    return model.predict(randn(3, 16, 4, 6), step, model.embed(["a cat"]), change)


def unpacked_file(whole, path):
    """A file of the same weights as numpy unpacks them, with the authors' names."""
    tensors = {original(name): torch.tensor(x) for name, x in whole.items()}
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_file_answers_as_its_numbers_do(kind, whole, place):
    numbers = write_packed(whole, place / "packed.gguf", kind)
    other = loaded(unpacked_file(numbers, place / "plain.safetensors"))
    model = loaded(place / "packed.gguf")
    layer = model.transformer.vace_blocks[1].ffn.net[2]
    assert isinstance(layer, PackedLinear) == (kind not in ("F32", "F16", "BF16"))
    for found, expected in zip(answer(model), answer(other), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_it_stays_packed_in_memory(whole, place):
    write_packed(whole, place / "packed.gguf", "Q4_0", start="model.diffusion_model.")
    model = loaded(place / "packed.gguf", dtype=torch.float32)
    block = model.transformer.blocks[1]
    for layer in (block.attn1.to_q, block.attn2.to_out[0], block.ffn.net[0].proj):
        numbers = layer.in_features * layer.out_features
        assert layer.weight.nbytes == numbers // 32 * 18  # bytes of a block
    assert block.norm2.weight.dtype == torch.float32
    (note,) = model.notes
    said = "'packed.gguf' is read as Wan 2.1 VACE: 4 layers of width 256"
    assert note.startswith(said)
    assert "packed, in 16 bits where a LoRA changes them" in note


def test_a_lora_changes_the_numbers(whole, place):
    """Also one that adds as much as it is, where packed weights lie."""
    numbers = write_packed(whole, place / "packed.gguf", "Q5_1")
    plain = unpacked_file(numbers, place / "plain.safetensors")
    tensors = {
        "diffusion_model.blocks.1.self_attn.q.lora_A.weight": randn(2, 256),
        "diffusion_model.blocks.1.self_attn.q.lora_B.weight": randn(256, 2, seed=1),
        "diffusion_model.blocks.2.ffn.2.diff": randn(256, 256),
    }
    save_file(tensors, place / "lora.safetensors")
    loras = [f"{place / 'lora.safetensors'}@0.5"]
    found = loaded(place / "packed.gguf", loras=loras)
    for one, other in zip(
        answer(found), answer(loaded(plain, loras=loras)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    before = answer(loaded(place / "packed.gguf"))
    assert not torch.allclose(answer(found)[0], before[0], atol=1e-3)
    assert found.transformer.blocks[1].attn1.to_k.weight.dtype == torch.int8


def test_a_folder_may_have_its_transformer_packed(whole, place, wan):
    """With its own configuration, or without one; and control blocks may be added."""
    folder = place / "transformer"
    folder.mkdir()
    base = {name: x for name, x in whole.items() if not name.startswith("vace_")}
    module = {name: x for name, x in whole.items() if name.startswith("vace_")}
    write_packed(base, folder / "any.gguf", "Q8_0")
    assert facts_of(str(place)).family == ("Wan 2.1", WAN)
    assert isinstance(loaded(place).transformer.blocks[0].attn1.to_q, PackedLinear)
    write_packed(module, place / "module.gguf", "Q4_1")
    model = loaded(place / "module.gguf")
    assert model.offers == VACE
    assert model.transformer.vace_blocks[0].attn1.to_q.kind == "Q4_1"
    assert model.transformer.blocks[0].attn1.to_q.kind == "Q8_0"


def test_both_experts_may_be_packed(whole, place):
    """Each in its folder, with a name that would be refused where one is alone."""
    base = {name: x for name, x in whole.items() if not name.startswith("vace_")}
    index = {"_class_name": "WanPipeline", "boundary_ratio": 0.875}
    write_json(place / "model_index.json", index)
    files = {}
    for noise, part in (("High", "transformer"), ("Low", "transformer_2")):
        (place / part).mkdir()
        files[part] = place / part / f"Wan2.2-T2V-A14B-{noise}Noise-Q4_0.gguf"
        write_packed(base, files[part], "Q4_0")
        base = {name: 0.9 * x for name, x in base.items()}
    assert facts_of(str(place)).family == ("Wan 2.2", WAN)
    model = loaded(place)
    layers = [
        network.blocks[0].attn1.to_q.weight for network in model.networks.values()
    ]
    assert [layer.dtype for layer in layers] == [torch.int8] * 2
    assert not torch.equal(*layers)
    assert [note.partition(" is read as ")[2][:16] for note in model.notes] == [
        "Wan 2.2: 4 layer"
    ] * 2
    for part, other in zip(EXPERTS, EXPERTS[::-1], strict=True):
        files[part].rename(place / part / files[other].name)
    said = (
        "transformer/ has 'Wan2.2-T2V-A14B-LowNoise-Q4_0.gguf', by its name the expert"
    )
    assert said in refusal(place)


def test_files_are_listed_by_the_folder_that_has_their_other_parts(
    whole, place, monkeypatch
):
    monkeypatch.setenv("REGRAIN_MODELS", str(place.parent))
    write_packed(whole, place / "packed.gguf")
    write_packed(whole, place.parent / "alone.gguf")
    assert local_models() == ["place/packed.gguf"]
    assert loaded("place/packed").offers == VACE
    assert "put a Wan's transformer beside text_encoder/ in a folder of Wan" in refusal(
        "alone.gguf"
    )


# --- Damages, each of which is one line


def head_of(content):
    """Where the head of a file ends: before the first of its numbers."""
    return content.index(b"patch_embedding.weight")


def put(at, more):
    """Return what writes bytes over others."""
    return lambda content: content[:at] + more + content[at + len(more) :]


def counted(number):
    return number.to_bytes(8, "little")


def instead(old, new):
    return lambda content: content.replace(old, new, 1)


def lying(content):
    """A text that is said to be longer than the file."""
    at = content.index(b"general.architecture") - 8
    return content[:at] + counted(1 << 40) + content[at + 8 :]


IS_DAMAGED = "is damaged or not a GGUF file. Download it again."
DAMAGES = {
    "empty": (lambda content: b"", IS_DAMAGED),
    "a magic word alone": (lambda content: content[:4], IS_DAMAGED),
    "another magic word": (put(0, b"GGML"), IS_DAMAGED),
    "an older version": (put(4, b"\x01"), IS_DAMAGED),
    "a version to come": (put(4, b"\x09"), IS_DAMAGED),
    "no tensors": (put(8, counted(0)), IS_DAMAGED),
    "more tensors than bytes": (put(8, counted(1 << 60)), IS_DAMAGED),
    "more texts than bytes": (put(16, counted(1 << 60)), IS_DAMAGED),
    "a text longer than the file": (lying, IS_DAMAGED),
    "cut in its head": (lambda content: content[:300], IS_DAMAGED),
    "cut at the end of its head": (
        lambda content: content[: head_of(content)],
        IS_DAMAGED,
    ),
    "cut in its numbers": (lambda content: content[:-5000], IS_DAMAGED),
    "cut by a byte": (lambda content: content[:-33], IS_DAMAGED),
    "a name twice": (
        instead(b"blocks.1.self_attn.q.weight", b"blocks.0.self_attn.q.weight"),
        IS_DAMAGED,
    ),
    "a name that is no text": (
        instead(b"blocks.1.self_attn.q.weight", b"\xff\xfeocks.1.self_attn.q.weight"),
        IS_DAMAGED,
    ),
    "a name that is not known": (
        instead(b"blocks.1.self_attn.q.weight", b"blocks.1.self_mind.q.weight"),
        "has 'blocks.1.self_mind.q.weight', which is not known, or read already",
    ),
    "another page": (lambda content: b"<!doctype html>" + content, IS_DAMAGED),
}


@pytest.fixture(scope="module")
def packed(whole, tmp_path_factory):
    file = tmp_path_factory.mktemp("packed") / "packed.gguf"
    write_packed(whole, file, "Q8_0")
    return file.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_a_line(damage, packed, place):
    change, said = DAMAGES[damage]
    (place / "mine.gguf").write_bytes(change(packed))
    assert said in refusal(place / "mine.gguf")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] not in "FB"])
def test_scales_that_are_no_numbers_are_refused(kind, whole, place):
    """Each of a block: the last of the weight."""
    name = "blocks.1.attn1.to_q.weight"
    blocks = packed_numbers(whole[name].numpy(), kind)
    _, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    for at in SCALES.get(kind, (0,)):
        write_packed(whole, place / "mine.gguf", kind)
        content = bytearray((place / "mine.gguf").read_bytes())
        start = content.index(blocks.tobytes()) + blocks.nbytes - size + at
        content[start : start + 2] = b"\x00\x7e"
        (place / "mine.gguf").write_bytes(content)
        said = refusal(place / "mine.gguf")
        assert "'mine.gguf' has NaN or Inf in blocks." in said
        assert f"byte {at} of a block. Download it again, or use another model" in said


LIES = {
    "of a language model": (
        {"architecture": "llama"},
        "says that it is of 'llama', not of wan",
    ),
    "of nothing": ({"architecture": ""}, "says that it is of '', not of wan"),
    "another rule of packing": (
        {"texts": {"general.quantization_version": "3"}},
        "says quantization_version 3, which is not known",
    ),
    "one of several": (
        {"texts": {"split.count": "2"}},
        "says 'split.count', which is not known",
    ),
    "a setting": (
        {"texts": {"wan.block_count": "2"}},
        "says 'wan.block_count', which is not known",
    ),
    "a shape of no tensor": (
        {"texts": {"comfy.gguf.orig_shape.nothing": "2"}},
        IS_DAMAGED,
    ),
    "a type that is not read": (
        {"kind": "TQ1_0"},
        "of TQ1_0, which is not read. Use a file of Q8_0",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_head_says_is_honoured_or_refused(lie, whole, place, monkeypatch):
    how, said = LIES[lie]
    write_packed(whole, place / "mine.gguf", **how)
    monkeypatch.setattr("regrain.editing.models.wan.load.read_network", None)
    assert said in refusal(place / "mine.gguf")


def test_a_shape_of_another_network_is_refused(whole, place):
    wide = whole | {"blocks.1.attn1.to_q.weight": randn(256, 512)}
    write_packed(wide, place / "mine.gguf")
    assert "'mine.gguf' is damaged" in refusal(place / "mine.gguf")


def test_a_head_of_values_without_end_is_given_up(place, monkeypatch):
    """An array of more values than any tokenizer has; its length is a lie that the size
    of the file allows."""
    monkeypatch.setattr("regrain.editing.storage.packed._MAX_VALUES", 5000)
    writer = GGUFWriter(place / "mine.gguf", "wan")
    writer.add_array("general.tags", ["a"] * 6000)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert IS_DAMAGED in refusal(place / "mine.gguf")
