"""LoRA files in the ways they are named, on the tiny model."""

import json
from copy import deepcopy
from unittest.mock import patch

import pytest
import torch
from made_models import load_double, loaded, randn
from safetensors.torch import save_file
from torch.nn.functional import conv2d

from regrain.editing import load_backbone
from regrain.editing.errors import ModelError
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


CONV = "down_blocks.1.resnets.0.conv1"
ONES, WHOLE = torch.ones(2, 2), torch.ones(2, 2, dtype=torch.int8)
STEM, DOWN = f"unet.{QUERY}", f"unet.{QUERY}.lora_A.weight"
# Beside the tensors of a layer, what a file says of itself, and what is said of that.
REFUSED = {
    "another size": ({DOWN: torch.ones(2, 7)}, {}, "does not fit: the shapes"),
    "factors of a linear layer": (
        {f"unet.{CONV}.lora_A.weight": ONES, f"unet.{CONV}.lora_B.weight": ONES + 1},
        {},
        f"'{CONV}' has linear factors for a convolution, or the reverse. Use a LoRA",
    ),
    "factors of a convolution": (
        {DOWN: torch.ones(2, 8, 1, 1)},
        {},
        f"does not fit: ...'{QUERY[-50:]}' has linear factors for a convolution, or the",
    ),
    "another layer": ({f"{STEM}7.diff": ONES}, {}, "the model has no layer .*to_q7"),
    "another part": ({"lora_te2_x.diff": ONES}, {}, "no layer 'lora_te2_x'"),
    "NaN": ({DOWN: torch.full((2, 8), torch.nan)}, {}, "has NaN or Inf"),
    "whole numbers": ({DOWN: WHOLE}, {}, "no numbers, in .*lora_A"),
    "half a layer": ({f"{STEM}.diff_b": ONES}, {}, "does not fit: the shapes"),
    "a plain size": ({f"{STEM}.diff": ONES}, {}, "does not fit: the shapes"),
    "twice": ({f"{QUERY}.lora_down.weight": ONES}, {}, "says what .* is twice"),
    "a motion LoRA": ({"motion_modules.x.diff": ONES}, {}, "which is not read. Use a"),
    "a core": ({f"{STEM}.lora_mid.weight": ONES}, {}, "which is not read. Use a LoRA,"),
    "LyCORIS' norms": ({f"{STEM}.dora_scale": ONES}, {}, "which is not read. Use a"),
    "LyCORIS' LoHa": (
        {f"{STEM}.hada_w1_a": ONES},
        {},
        "has hada_w1_a, but no configuration of peft",
    ),
    "an OFT": ({f"{STEM}.oft_R.weight": ONES}, {}, "to_q.oft_R.weight', which is not"),
    "a header": (
        {},
        {"unet.lora_alpha": "1"},
        "'unet.lora_alpha' in its header, which",
    ),
    "two scales": ({f"{STEM}.alpha": ONES[0, 0]}, {"r": 2}, "in tensors and in peft's"),
    "another part's": ({}, {"vae.r": 2}, "does not fit: it changes a 'vae'"),
    "another rank": ({}, {"r": 3}, "does not fit: the shapes"),
    "a wrong scale": ({}, {"r": 2, "lora_alpha": "8"}, "does not fit: the shapes"),
    "a missing norm": ({}, {"r": 2, "use_dora": True}, "lacks .*lora_magnitude_vector"),
    "a pattern": ({}, {"rank_pattern": {"(a+)+": 2}}, "of a kind of peft that is not"),
    "another start": (
        {},
        {"init_lora_weights": "olora"},
        "of a kind of peft that is not",
    ),
    "another kind": ({}, {"peft_type": "VERA"}, "of a kind of peft that is not read"),
    "more layers": (
        {},
        {"layer_replication": [[0, 4]]},
        "of a kind of peft that is not",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_added_is_refused_in_one_line(tiny, tmp_path, kind):
    tensors, facts, message = REFUSED[kind]
    metadata = {"lora_adapter_metadata": json.dumps(facts)}
    if kind == "a header":
        metadata = facts
    file = tmp_path / "a.safetensors"
    save_file(query_of(tiny) | tensors, file, metadata)
    with pytest.raises(ModelError, match=f"^loras: .*{message}"):
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
    assert (model.inpaints, plain.inpaints) == (True, False)
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


@pytest.mark.parametrize(
    ("channels", "weight", "message"),
    [
        (8, "", "does not fit: the shapes or factors of its unet"),
        (9, "@0.5", "turns the model into one for inpainting, at weight 1 alone"),
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
