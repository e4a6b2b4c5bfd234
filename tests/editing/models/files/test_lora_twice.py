"""What a LoRA's header says of its scale, and what is said twice."""

import json

import pytest
import torch
from safetensors.torch import save_file

from regrain.editing.errors import ModelError
from regrain.editing.models.weights.lora import add_loras

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
SIDE = 8
START, KOHYA = f"unet.{QUERY}", f"lora_unet_{QUERY.replace('.', '_')}"


def halves(stem=START, down="lora_A.weight", up="lora_B.weight", rank=2):
    return {
        f"{stem}.{down}": torch.ones(rank, SIDE),
        f"{stem}.{up}": torch.ones(SIDE, rank),
    }


@pytest.fixture
def added(small, tmp_path):
    """What a file adds to the numbers of a layer."""
    from copy import deepcopy

    def add(tensors, header=None, facts=None):
        more = {"lora_adapter_metadata": json.dumps(facts)} if facts else {}
        save_file(tensors, file := tmp_path / "a.safetensors", (header or {}) | more)
        unet = deepcopy(small.unet).double()
        before = unet.get_submodule(QUERY).weight.clone()
        add_loras((str(file),), {"unet": unet})
        return unet.get_submodule(QUERY).weight - before

    return add


HEADERS = [
    ({"unet.lora_alpha": "1", "unet.r": "2"}, 0.5),
    ({"lora_alpha": "1", "r": "2"}, 0.5),
    ({"transformer.lora_alpha": "1", "transformer.r": "2"}, 0.5),
    ({"alpha": "1.0", "rank": "2"}, 0.5),
    ({"lora_alpha": "0"}, 0),
    ({"lora_alpha": "1", "unet.lora_alpha": "1.0"}, 0.5),
    ({"lora_alpha": "1", "use_rslora": "True"}, 0.5**0.5),
    ({"lora_alpha": "9", "alpha_pattern": '{"to_q": 1}'}, 0.5),
    ({"alpha_pattern": json.dumps({f"^{QUERY}": 1, "to_q": 9})}, 0.5),
    ({"alpha_pattern": json.dumps({f"^{QUERY[1:]}": 1})}, 1),
    ({"lora_alpha": "1", "alpha_pattern": '{"o_q": 9}'}, 0.5),
    ({"lora_alpha": "1", "r": "9", "rank_pattern": '{"attn1.to_q": 2}'}, 0.5),
    ({"text_encoder.lora_alpha": "1", "title": "r: 9", "ss_network_alpha": "9"}, 1),
    ({"lora_alpha": "None"}, "no number"),
    ({"alpha_pattern": "5"}, "no number"),
    ({"rank_pattern": '{"to_q": "many"}'}, "no number"),
    ({"lora_alpha": "1", "unet.lora_alpha": "2"}, "has an alpha of 1 and of 2"),
    ({"r": "4"}, "has a rank of 2 and of 4"),
    ({"rank_pattern": '{"to_q": 4}'}, "has a rank of 2 and of 4"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "scale"), HEADERS, ids=str)
def test_the_header_alone_may_say_the_scale(added, header, scale):
    if isinstance(scale, str):
        with pytest.raises(ModelError, match=f"^loras: .*{scale}"):
            added(halves(), header)
        return
    found = added(halves(), header)
    torch.testing.assert_close(found, torch.full_like(found, 2 * scale))


def alpha_of(number):
    return {f"{START}.alpha": torch.tensor(number)}


@pytest.mark.parametrize(
    ("tensors", "header", "facts", "said"),
    [
        (alpha_of(1.0), {"lora_alpha": "4"}, None, "has an alpha of 4 and of 1.0"),
        (alpha_of(1.0), {}, {"unet.lora_alpha": 4}, "has an alpha of 4 and of 1.0"),
        (alpha_of(1.0), {"r": "9"}, None, "has a rank of 2 and of 9"),
        ({}, {"unet.r": "2"}, {"unet.r": 3}, "says {'unet.r': 2} and {'unet.r': 3} of"),
        (
            halves(KOHYA),
            {},
            None,
            "'lora_unet_down...ormer_blocks_0_attn1_to_q.lora_A.weight' and 'unet.down_bloc",
        ),
        (halves(QUERY), {}, None, "' and 'unet.down_bloc..."),
        (
            halves("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q"),
            {},
            None,
            "'lora_unet_inpu...",
        ),
        (
            halves(down="lora_A.default.weight", up="lora_B.default.weight"),
            {},
            None,
            "to_q.lora_A.default.weight' and 'unet.down_bloc",
        ),
        (
            {
                f"{START}.dora_scale": torch.ones(SIDE, 1),
                f"{START}.lora_magnitude_vector": torch.ones(SIDE),
            },
            {},
            None,
            "to_q.dora_scale' and 'unet.down_bloc",
        ),
        ({f"{START}.hada_w1_a": torch.ones(SIDE, 2)}, {}, None, "factors of two kinds"),
        ({f"{START}.lokr_w1": torch.ones(2, 2)}, {}, None, "factors of two kinds"),
    ],
)
def test_what_is_said_twice_is_refused_with_both(added, tensors, header, facts, said):
    with pytest.raises(ModelError) as caught:
        added(halves() | tensors, header, facts)
    assert said in caught.value.message


def test_what_is_said_twice_and_equally_is_no_error(added):
    found = added(halves() | alpha_of(1.0), {"unet.lora_alpha": "1"}, {"unet.r": 2})
    torch.testing.assert_close(found, torch.ones_like(found))


def test_a_factor_beside_the_whole_is_not_left_out(added):
    whole = {"lokr_w1": torch.ones(2, 2), "lokr_w2": torch.ones(4, 4)}
    tensors = {f"{START}.{name}": tensor for name, tensor in whole.items()}
    found = added(tensors)
    torch.testing.assert_close(found, torch.ones_like(found))
    with pytest.raises(ModelError, match="factors of two kinds"):
        added(tensors | {f"{START}.lokr_w2_a": torch.ones(4, 1)})
