"""LoRA files in the ways they are named, on the tiny model."""

import json
from copy import deepcopy
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from damaged_models import reweighted
from huggingface_hub import save_torch_state_dict
from json_files import read_json
from made_models import load_double, loaded, randn
from safetensors.torch import save_file
from tables import rows
from torch.nn.functional import conv2d

from regrain.editing import load_backbone
from regrain.editing.errors import ModelError
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.weights.lora import add_loras

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def weight_of(model, part, name):
    return getattr(model, part).get_submodule(name).weight


def halves(weight):
    """Random `down` and `up` of rank 2 for a weight."""
    up = randn(len(weight), 2, *[1] * (weight.ndim - 2), seed=1)
    return randn(2, *weight.shape[1:]), up


def query_of(model):
    """Tensors of a file that changes one layer, as peft names them."""
    down, up = halves(weight_of(model, "unet", QUERY))
    return {f"unet.{QUERY}.lora_A.weight": down, f"unet.{QUERY}.lora_B.weight": up}


def test_a_model_with_a_file_is_another_and_is_kept(tiny, tiny_folder, tmp_path):
    save_file(query_of(tiny), file := tmp_path / "ink.safetensors")
    down, up = query_of(tiny).values()
    before = weight_of(tiny, "unet", QUERY).clone()
    changed = loaded(tiny_folder, loras=(f"{file}@0.5",))
    found = weight_of(changed, "unet", QUERY).data
    torch.testing.assert_close(found, before + 0.5 * up @ down)
    # nobody else's model changed
    assert torch.equal(weight_of(tiny, "unet", QUERY), before)
    assert changed.fingerprint != tiny.fingerprint
    assert loaded(tiny_folder, loras=(f"{file}@0.5",)) is changed


def test_several_add_up_and_a_negative_one_takes_back(tiny, tmp_path):
    save_file(query_of(tiny), file := tmp_path / "a.safetensors")
    unet = deepcopy(tiny.unet)
    add_loras((str(file), f"{file}@-1"), {"unet": unet})
    expected = weight_of(tiny, "unet", QUERY)
    torch.testing.assert_close(
        unet.get_submodule(QUERY).weight, expected, atol=1e-5, rtol=0
    )


REFUSED = read_json(Path(__file__).with_name("lora_refused.json"))
"""By what is said, tensors beside those of a layer, and what a file says of itself: in
its header, or there by peft."""


@pytest.mark.parametrize(("said", "more"), rows(REFUSED))
def test_what_is_not_added_is_refused_in_one_line(tiny, tmp_path, said, more):
    tensors = dict(more)
    facts = {"lora_adapter_metadata": json.dumps(tensors.pop("peft", {}))}
    facts = tensors.pop("header", facts)
    file = tmp_path / "a.safetensors"
    save_file(reweighted(query_of(tiny), tensors), file, facts)
    with pytest.raises(ModelError, match=f"^loras: .*{said}"):
        add_loras((str(file),), {"unet": deepcopy(tiny.unet)})


def test_one_without_factors_is_refused(tiny, tmp_path):
    first, *_ = query_of(tiny).items()
    for tensors, said in (({}, "is empty"), (dict([first]), "lacks|is incomplete")):
        save_file(tensors, file := tmp_path / "a.safetensors")
        with pytest.raises(ModelError, match=f"^loras: .*{said}"):
            add_loras((str(file),), {"unet": deepcopy(tiny.unet)})


def widening(model, channels):
    """Tensors of a file that gives the first layer so many channels, as peft names
    them."""
    width = len(weight_of(model, "unet", "conv_in"))
    down, up = halves(torch.empty(width, channels, 3, 3))
    return {"unet.conv_in.lora_A.weight": down, "unet.conv_in.lora_B.weight": up}


def test_one_with_a_mask_and_latents_makes_an_inpainting_model(small_folder, tmp_path):
    """Its first layer adds the old one, of the latents alone, and the change, of all."""
    plain = load_double(small_folder)
    save_file(tensors := widening(plain, 9), file := tmp_path / "inpaint.safetensors")
    model = load_backbone(str(small_folder), (str(file),), dtype=torch.float64)
    assert (model.beside, plain.beside) == ("hole", "")
    assert "inversion" not in model.offers

    down, up = (part.double() for part in tensors.values())
    first = plain.unet.conv_in
    x = randn(2, 4, 8, 8, seed=3, dtype=torch.float64)
    beside = randn(2, 5, 8, 8, seed=4, dtype=torch.float64)
    change = conv2d(conv2d(torch.cat([x, beside], 1), down, padding=1), up)
    given = x, model.schedule.sampling(4)[1], model.embed(["a cat"])
    _, found = model.predict(*given, Intervention(beside=beside))
    with patch.object(first, "forward", lambda x, own=first.forward: own(x) + change):
        _, expected = plain.predict(*given)
    far = (found - expected).abs().max() / expected.abs().max()
    assert float(far) < 1e-6  # the change itself is added up in single precision
    assert not torch.allclose(found, plain.predict(*given)[1], atol=1e-3)


def in_shards(folder, tensors, **metadata):
    """Write a LoRA in two files, with an index that says the rest."""
    folder.mkdir()
    size = max(tensor.nbytes for tensor in tensors.values())
    pattern = "pytorch_lora_weights{suffix}.safetensors"
    how = {"filename_pattern": pattern, "max_shard_size": size, "metadata": metadata}
    save_torch_state_dict(tensors, folder, **how)
    assert len([*folder.glob("*.safetensors")]) > 1
    return folder


def test_one_with_latents_twice_makes_a_model_that_sees_the_source(
    small_folder, tmp_path
):
    """Whole differences in several files; it works at the side that they say."""
    plain = load_double(small_folder)
    first = plain.unet.conv_in
    change = randn(*first.weight.shape[:1], 8, 3, 3, seed=1)
    bias = randn(*first.bias.shape, seed=2)
    tensors = {"unet.conv_in.diff": change, "unet.conv_in.diff_b": bias}
    said = {"modelspec.resolution": "64x64"}
    place = str(in_shards(tmp_path / "seeing", tensors, **said))
    model = load_backbone(str(small_folder), (place,), dtype=torch.float64)
    assert (model.beside, model.size, plain.size) == ("source", 64, 16)
    assert "source" in model.offers
    assert facts_of(str(small_folder)).family_with((place,)).offers == model.offers
    wide = change.double()
    wide[:, :4] += first.weight
    torch.testing.assert_close(model.unet.conv_in.weight, wide)
    torch.testing.assert_close(model.unet.conv_in.bias, first.bias + bias.double())


def test_one_without_all_its_shards_is_one_line(small_folder, tmp_path):
    tensors = widening(load_double(small_folder), 8)
    folder = in_shards(tmp_path / "seeing", tensors)
    last = sorted(folder.glob("*.safetensors"))[-1]
    last.unlink()
    with pytest.raises(ModelError, match="^loras: .* has 1 of 2 shards. Download"):
        load_backbone(str(small_folder), (str(folder),))


@pytest.mark.parametrize(
    ("channels", "weight", "message"),
    [
        (7, "", "does not fit: the shapes or factors of its unet"),
        (9, "@0.5", "makes the model read more than its latents, at weight 1 alone"),
        (8, "@0.5", "makes the model read more than its latents, at weight 1 alone"),
    ],
)
def test_one_with_other_channels_or_in_part_is_one_line(
    small, small_folder, tmp_path, channels, weight, message
):
    save_file(widening(small, channels), file := tmp_path / "wide.safetensors")
    with pytest.raises(ModelError, match=f"^loras: .*{message}"):
        load_backbone(str(small_folder), (f"{file}{weight}",))


def test_what_is_no_file_is_one_line(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    bad = {
        str(tmp_path / "bad.safetensors"): "is damaged",
        "nowhere.safetensors": "was not found",
        "a.pt": "is a pickle",
    }
    for name, message in bad.items():
        with pytest.raises(ModelError, match=f"^loras: .*{message}"):
            add_loras((name,), {})
