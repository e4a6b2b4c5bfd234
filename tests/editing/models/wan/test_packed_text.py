"""The text encoder of Wan in a file of packed weights: vectors of the same weights
unpacked by `gguf`'s numpy, and what is refused."""

import shutil

import numpy as np
import pytest
import torch
from gguf import (
    MODEL_ARCH,
    GGMLQuantizationType,
    GGUFWriter,
    get_tensor_name_map,
    quants,
)
from made_models import loaded, write_wan
from safetensors.torch import load_file, save_file

from regrain.editing.errors import ModelError
from regrain.editing.models.weights.small import PackedLinear

WEIGHTS = "text_encoder/model.safetensors"
SETTINGS = {"embedding_length": 32, "block_count": 1, "attention.head_count": 2}


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    return write_wan(tmp_path_factory.mktemp("models") / "wan")


@pytest.fixture
def place(wan, tmp_path, own_cache):
    return shutil.copytree(wan, tmp_path / "place")


def pack(folder, kind="Q8_0", architecture="t5encoder", settings=(), without=()):
    """Write the encoder of a folder as a GGUF in place of its file; returns its weights
    as numpy unpacks them."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    number = GGMLQuantizationType[kind]
    names = get_tensor_name_map(MODEL_ARCH.T5ENCODER, 9)
    writer = GGUFWriter(folder / "text_encoder" / "umt5.gguf", architecture)
    for key, value in dict(settings).items():
        writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    whole = {}
    for name, weight in weights.items():
        array = weight.float().numpy()
        theirs = names.get_name(name, try_suffixes=(".weight",)) or name
        if theirs.startswith(without or "none"):
            continue
        if array.ndim == 2 and array.shape[1] % 32 == 0 and "bias" not in name:
            array = quants.quantize(array, number)
            writer.add_tensor(theirs, array, raw_dtype=number)
            array = quants.dequantize(array, number)
        else:
            writer.add_tensor(theirs, array)
        whole[name] = torch.tensor(np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return whole


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q5_0"])
def test_a_packed_encoder_reads_as_its_numbers_do(kind, place, wan, tmp_path):
    plain = shutil.copytree(wan, tmp_path / "plain")
    save_file(pack(place, kind), plain / WEIGHTS)
    model = loaded(place)
    encoder = model.reader.load()
    layers = [one for one in encoder.modules() if isinstance(one, PackedLinear)]
    assert bool(layers) == (kind != "F16")
    found = model.embed(["a cat", "a small dog"]).vectors
    expected = loaded(plain).embed(["a cat", "a small dog"]).vectors
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


REFUSED = {
    "another network": (
        {"architecture": "llama"},
        "says that it is of 'llama', not of",
    ),
    "another size": (
        {"settings": {"embedding_length": 4096}},
        "says t5encoder.embedding_length 4096, but config.json",
    ),
    "a setting that is not known": (
        {"settings": {"attention.new": 1}},
        "says 't5encoder.attention.new', which is not known",
    ),
    "without a layer": ({"without": "enc.blk.0.attn_q"}, "lacks 1 weights, such as"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_files_are_refused_by_what_they_say(what, place):
    how, said = REFUSED[what]
    pack(place, **how)
    with pytest.raises(ModelError) as caught:
        loaded(place).embed(["a cat"])
    assert said in str(caught.value)


def test_a_damaged_one_is_refused(place):
    pack(place)
    (file,) = (place / "text_encoder").glob("*.gguf")
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(ModelError, match="'umt5.gguf' is damaged or not a GGUF file"):
        loaded(place).embed(["a cat"])
