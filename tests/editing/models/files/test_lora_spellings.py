"""LoRA files as trainers write them, beside diffusers and peft, on random weights."""

import json
from copy import deepcopy

import pytest
import torch
from damaged_models import rewrite  # noqa: F401
from diffusers import WanPipeline
from made_models import write_small_model, write_wan
from peft import LoHaConfig, LoKrConfig, LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from pipelines import pipeline_of
from safetensors.torch import save_file
from single_files import NAMES

from regrain.editing.errors import ModelError
from regrain.editing.models.files.lora_file import (
    find_lora,
    locate_lora,
    lora_facts,
)
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.weights.lora import add_loras

WEIGHT = 0.7
ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"
QUERY, OUT = f"{ATTENTION}.to_q", f"{ATTENTION}.to_out.0"
CONV = "down_blocks.1.resnets.0.conv1"
PROJECTION = "down_blocks.1.attentions.0.proj_in"
WORDS = "text_model.encoder.layers.0.self_attn.q_proj"
# Diffusers knows kohya's text encoders by it.
WORDS_OUT = "text_model.encoder.layers.0.self_attn.out_proj"
BLOCK = "blocks.1"
pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Diffusers' pipelines by family, in double precision."""
    folder = tmp_path_factory.mktemp("models")
    made = {
        "sd": pipeline_of(write_small_model(folder / "sd")),
        "sdxl": pipeline_of(write_small_model(folder / "sdxl", sdxl=True)),
        "wan": wan_of(write_wan(folder / "wan")),
    }
    for pipeline in made.values():
        for part in parts_of(pipeline).values():
            part.double()
    return made


def wan_of(folder):
    from diffusers import WanTransformer3DModel

    network = WanTransformer3DModel.from_pretrained(folder / "transformer")
    nothing = dict.fromkeys(("tokenizer", "text_encoder", "vae", "scheduler"))
    return WanPipeline(**nothing, transformer=network)


def parts_of(pipeline):
    names = ("unet", "transformer", "text_encoder", "text_encoder_2")
    parts = {name: getattr(pipeline, name, None) for name in names}
    return {name: part for name, part in parts.items() if part is not None}


class Draw:
    """Random tensors, of the same seed in every test."""

    def __init__(self, pipeline):
        self.fresh = torch.Generator().manual_seed(0)
        self.parts = parts_of(pipeline)

    def of(self, *shape):
        return torch.randn(shape, generator=self.fresh, dtype=torch.float64) / 4

    def weight(self, part, name):
        modules = dict(self.parts[part].named_modules())
        return (modules.get(name) or modules[name.removeprefix("text_model.")]).weight

    def halves(self, part, name, rank=2):
        weight = self.weight(part, name)
        down = self.of(rank, *weight.shape[1:])
        return down, self.of(len(weight), rank, *[1] * (weight.ndim - 2))


def by_peft(draw):
    found = {}
    for part, name in (("unet", QUERY), ("unet", CONV), ("text_encoder", WORDS)):
        down, up = draw.halves(part, name)
        found[f"{part}.{name}.lora_A.weight"] = down
        found[f"{part}.{name}.lora_B.weight"] = up
    return found


def by_processors(draw):
    down, up = draw.halves("unet", QUERY)
    stem = f"unet.{ATTENTION}.processor"
    found = {f"{stem}.to_q_lora.down.weight": down, f"{stem}.to_q_lora.up.weight": up}
    down, up = draw.halves("unet", OUT)
    found |= {
        f"{stem}.to_out_lora.down.weight": down,
        f"{stem}.to_out_lora.up.weight": up,
    }
    stem = f"text_encoder.{WORDS}.lora_linear_layer"
    down, up = draw.halves("text_encoder", WORDS)
    return found | {f"{stem}.down.weight": down, f"{stem}.up.weight": up}


def by_old_names(draw):
    down, up = draw.halves("unet", QUERY)
    return {
        f"unet.{QUERY}.lora.down.weight": down,
        f"unet.{QUERY}.lora.up.weight": up,
    }


def kohya(draw, part, name, stem, alpha=1.0):
    down, up = draw.halves(part, name)
    return {
        f"{stem}.lora_down.weight": down,
        f"{stem}.lora_up.weight": up,
        f"{stem}.alpha": torch.tensor(alpha),
    }


def by_kohya(draw):
    found = {}
    layers = [("unet", name) for name in (QUERY, OUT, CONV)]
    layers += [("text_encoder", name) for name in (WORDS, WORDS_OUT)]
    for part, name in layers:
        start = "lora_te_" if part == "text_encoder" else "lora_unet_"
        stem = start + name.replace(".", "_")
        found |= kohya(draw, part, name, stem, 0.5)
    return found


def by_kohya_of_sdxl(draw):
    """Blocks as in the original layout; a layer each is 2 input blocks a level here."""
    attention = "transformer_blocks_0_attn1_to_q"
    found = kohya(
        draw,
        "unet",
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
        f"lora_unet_middle_block_1_{attention}",
    )
    found |= kohya(draw, "unet", QUERY, f"lora_unet_input_blocks_3_1_{attention}")
    up = "up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q"
    found |= kohya(draw, "unet", up, f"lora_unet_output_blocks_1_1_{attention}")
    for start, part in (("lora_te1_", "text_encoder"), ("lora_te2_", "text_encoder_2")):
        for name in (WORDS, WORDS_OUT):
            found |= kohya(draw, part, name, start + name.replace(".", "_"), 2.0)
    return found


def by_wan(start, names, ends, alpha=None, bias=False):
    """A spelling of Wan's layers: how a name begins, is written, and ends."""
    layers = {
        "attn1.to_q": "self_attn.q",
        "attn1.to_out.0": "self_attn.o",
        "attn2.to_v": "cross_attn.v",
        "ffn.net.0.proj": "ffn.0",
    }

    def write(draw):
        found = {}
        for ours, theirs in layers.items():
            stem = start + names(f"{BLOCK}.{theirs}" if names else f"{BLOCK}.{ours}")
            down, up = draw.halves("transformer", f"{BLOCK}.{ours}")
            found |= {stem + ends[0]: down, stem + ends[1]: up}
            if alpha:
                found[f"{stem}.alpha"] = torch.tensor(alpha)
            if bias:
                found[f"{stem}.diff_b"] = draw.of(len(up))
        return found

    return write


def same(name):
    return name


PEFT = (".lora_A.weight", ".lora_B.weight")
KOHYA = (".lora_down.weight", ".lora_up.weight")


def by_diffusers_wan(draw):
    found = {}
    for name in (f"{BLOCK}.attn1.to_q", "proj_out", "patch_embedding"):
        down, up = draw.halves("transformer", name)
        found[f"transformer.{name}.lora_A.weight"] = down
        found[f"transformer.{name}.lora_B.weight"] = up
    return found


def whole_musubi(draw):
    """All layers, without which diffusers does not read it."""
    names = {
        f"self_attn_{a}": f"attn1.to_{b}" for a, b in zip("qkvo", OURS, strict=True)
    }
    names |= {
        f"cross_attn_{a}": f"attn2.to_{b}" for a, b in zip("qkvo", OURS, strict=True)
    }
    names |= {"ffn_0": "ffn.net.0.proj", "ffn_2": "ffn.net.2"}
    found = {}
    for block in (0, 1):
        for theirs, ours in names.items():
            stem = f"lora_unet_blocks_{block}_{theirs}"
            found |= kohya(draw, "transformer", f"blocks.{block}.{ours}", stem, 4.0)
    return found


OURS = ("q", "k", "v", "out.0")
METADATA = {
    "unet.r": 2,
    "unet.lora_alpha": 3,
    "unet.use_rslora": True,
    "unet.alpha_pattern": {CONV: 7},
    "unet.target_modules": [QUERY, CONV],
    "text_encoder.r": 2,
    "text_encoder.lora_alpha": 5,
    "text_encoder.target_modules": [WORDS.removeprefix("text_model.")],
}
# By the name of a spelling: family, tensors, and metadata.
SPELLINGS = {
    "peft": ("sd", by_peft, {}),
    "peft, scales in the metadata": ("sd", by_peft, METADATA),
    "processors": ("sd", by_processors, {}),
    "old names": ("sd", by_old_names, {}),
    "kohya": ("sd", by_kohya, {}),
    "peft of SDXL": ("sdxl", by_peft, {}),
    "kohya of SDXL": ("sdxl", by_kohya_of_sdxl, {}),
    "Wan": ("wan", by_diffusers_wan, {}),
    "Wan's original": ("wan", by_wan("diffusion_model.", same, PEFT), {}),
    "Wan's original with scales": (
        "wan",
        by_wan("diffusion_model.", same, KOHYA, alpha=1.0),
        {},
    ),
    "Wan's original with biases": (
        "wan",
        by_wan("diffusion_model.", same, KOHYA, bias=True),
        {},
    ),
    "kohya of Wan": ("wan", whole_musubi, {}),
}


def written(tensors, path, facts):
    metadata = {"format": "pt"}
    if facts:
        metadata["lora_adapter_metadata"] = json.dumps(facts)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, path, metadata)
    return path


def merged_by_diffusers(pipeline, path):
    """The parts of a pipeline after it has loaded a file."""
    parts = parts_of(pipeline)
    before = {name: deepcopy(part.state_dict()) for name, part in parts.items()}
    pipeline = deepcopy(pipeline)
    parts = parts_of(pipeline)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name)
    pipeline.fuse_lora(components=[*parts], lora_scale=WEIGHT)
    pipeline.unload_lora_weights()
    return before, {name: part.state_dict() for name, part in parts.items()}


def assert_equal(ours, theirs, before):
    changed = 0
    for name, part in ours.items():
        for key, weight in part.state_dict().items():
            far = (weight - theirs[name][key]).abs().max()
            assert float(far) < 1e-6, key
            changed += not torch.equal(weight, before[name][key])
    return changed


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_file_changes_what_it_changes_in_diffusers(pipelines, tmp_path, spelling):
    family, write, facts = SPELLINGS[spelling]
    pipeline = pipelines[family]
    tensors = write(Draw(pipeline))
    path = written(tensors, tmp_path / "pytorch_lora_weights.safetensors", facts)
    before, theirs = merged_by_diffusers(pipeline, path)
    ours = {name: deepcopy(part) for name, part in parts_of(pipeline).items()}
    add_loras((f"{path}@{WEIGHT}",), ours)
    layers = sum(
        ".up." in name or "lora_up" in name or "lora_B" in name for name in tensors
    )
    biases = sum("diff_b" in name for name in tensors)
    assert assert_equal(ours, theirs, before) == layers + biases


# What diffusers does not read of Stable Diffusion, or reads in part: written by peft.
BY_PEFT = {
    "LoRA": LoraConfig(r=3, lora_alpha=5, target_modules=[QUERY, CONV]),
    "DoRA": LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=[QUERY, CONV]),
    "root of the rank": LoraConfig(
        r=4, lora_alpha=5, use_rslora=True, target_modules=[QUERY]
    ),
    "bias": LoraConfig(r=3, lora_alpha=5, lora_bias=True, target_modules=[OUT]),
    "pattern": LoraConfig(
        r=3, lora_alpha=5, alpha_pattern={"conv1": 7}, target_modules=[QUERY, CONV]
    ),
    "LoHa": LoHaConfig(r=3, alpha=5, target_modules=[QUERY, CONV]),
    "LoHa with cores": LoHaConfig(
        r=3, alpha=5, use_effective_conv2d=True, target_modules=[CONV]
    ),
    "LoKr": LoKrConfig(r=2, alpha=5, target_modules=[QUERY, CONV]),
    "LoKr of factors": LoKrConfig(
        r=1, alpha=5, decompose_both=True, target_modules=[QUERY, CONV]
    ),
    "LoKr with cores": LoKrConfig(
        r=1, alpha=5, use_effective_conv2d=True, target_modules=[CONV]
    ),
}
STARTS = ("base_model.model.", "unet.base_model.model.", "unet.unet.", "unet.", "")


@pytest.mark.parametrize("kind", BY_PEFT)
def test_a_file_of_peft_changes_what_it_changes_there(pipelines, tmp_path, kind):
    unet = pipelines["sd"].unet
    config = BY_PEFT[kind]
    theirs = inject_adapter_in_model(config, deepcopy(unet))
    fresh = torch.Generator().manual_seed(1)
    for name, weight in theirs.named_parameters():
        if "lora_" in name or "hada" in name or "lokr" in name:
            weight.add_(torch.randn(weight.shape, generator=fresh).to(weight) / 4)
    start = STARTS[[*BY_PEFT].index(kind) % len(STARTS)]
    tensors = {
        start + name: tensor
        for name, tensor in get_peft_model_state_dict(theirs).items()
    }
    path = written(tensors, tmp_path / "adapter_model.safetensors", {})
    config.save_pretrained(tmp_path)
    for module in theirs.modules():
        if isinstance(module, BaseTunerLayer):
            module.scale_layer(WEIGHT)
            module.merge()
    ours = deepcopy(unet)
    add_loras((f"{path}@{WEIGHT}",), {"unet": ours})
    for name in config.target_modules:
        found = ours.get_submodule(name)
        base = theirs.get_submodule(name).get_base_layer()
        assert float((found.weight - base.weight).abs().max()) < 1e-6
        assert not torch.equal(found.weight, unet.get_submodule(name).weight)
        if found.bias is not None:
            assert float((found.bias - base.bias).abs().max()) < 1e-6


def difference(draw):
    table = draw.parts["transformer"].blocks[0].scale_shift_table
    query = draw.weight("transformer", "blocks.0.attn1.to_q")
    return {
        "diffusion_model.blocks.0.self_attn.q.diff": draw.of(*query.shape),
        "diffusion_model.blocks.0.norm3.diff_b": draw.of(query.shape[0]),
        "diffusion_model.blocks.0.diff_m": draw.of(*table.shape),
    }


def test_plain_differences_are_added(pipelines, tmp_path):
    """Diffusers leaves these out."""
    pipeline = pipelines["wan"]
    tensors = difference(Draw(pipeline))
    path = written(tensors, tmp_path / "a.safetensors", {})
    ours = deepcopy(pipeline.transformer)
    add_loras((f"{path}@{WEIGHT}",), {"transformer": ours})
    (block, *_), (old, *_) = ours.blocks, pipeline.transformer.blocks
    for new, before, tensor in zip(
        (block.attn1.to_q.weight, block.norm2.bias, block.scale_shift_table),
        (old.attn1.to_q.weight, old.norm2.bias, old.scale_shift_table),
        tensors.values(),
        strict=True,
    ):
        assert float((new - before - WEIGHT * tensor).abs().max()) < 1e-9


@pytest.mark.parametrize(
    ("start", "ends"),
    [
        ("", (".lora_A.default.weight", ".lora_B.default.weight")),
        ("pipe.dit.", (".lora_A.default.weight", ".lora_B.default.weight")),
        ("base_model.model.", PEFT),
        ("transformer.", PEFT),
    ],
)
def test_diffsynths_names_are_those_of_the_original(pipelines, tmp_path, start, ends):
    pipeline = pipelines["wan"]
    found = []
    for first, last in ((start, ends), ("diffusion_model.", PEFT)):
        tensors = by_wan(first, same, last)(Draw(pipeline))
        path = written(tensors, tmp_path / "a.safetensors", {})
        network = deepcopy(pipeline.transformer)
        add_loras((str(path),), {"transformer": network})
        found.append(network.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[1])


def test_a_core_between_the_factors_of_a_convolution(pipelines, tmp_path):
    """LoCon's decomposition: 1 x 1, 3 x 3, 1 x 1."""
    draw = Draw(pipelines["sd"])
    rows, columns, *kernel = draw.weight("unet", CONV).shape
    down, mid = draw.of(2, columns, 1, 1), draw.of(2, 2, *kernel)
    up = draw.of(rows, 2, 1, 1)
    stem = f"lora_unet_{CONV.replace('.', '_')}"
    tensors = {
        f"{stem}.lora_down.weight": down,
        f"{stem}.lora_mid.weight": mid,
        f"{stem}.lora_up.weight": up,
        f"{stem}.alpha": torch.tensor(1.0),
    }
    path = written(tensors, tmp_path / "a.safetensors", {})
    unet = deepcopy(pipelines["sd"].unet)
    add_loras((str(path),), {"unet": unet})
    x = draw.of(1, columns, 5, 6)
    conv = torch.nn.functional.conv2d
    inner = conv(conv(x, down), mid, padding=1)
    expected = pipelines["sd"].unet.get_submodule(CONV)(x) + conv(inner, up) / 2
    assert float((unet.get_submodule(CONV)(x) - expected).abs().max()) < 1e-9


def test_the_ends_of_a_unet_have_names_in_the_original_layout(pipelines, tmp_path):
    """As conv_in is input_blocks_0_0."""
    unet = pipelines["sdxl"].unet
    draw = Draw(pipelines["sdxl"])
    ends = ("conv_in", "conv_out", "time_embedding.linear_1", "add_embedding.linear_2")
    tensors = {}
    for name in ends:
        stem = f"lora_unet_{NAMES[name].replace('.', '_')}"
        tensors |= kohya(draw, "unet", name, stem, 2.0)
    path = written(tensors, tmp_path / "a.safetensors", {})
    ours = deepcopy(unet)
    add_loras((str(path),), {"unet": ours})
    for number, name in enumerate(ends):
        down, up, _ = [*tensors.values()][3 * number : 3 * number + 3]
        delta = (up.flatten(1) @ down.flatten(1)).view_as(
            unet.get_submodule(name).weight
        )
        found = ours.get_submodule(name).weight - unet.get_submodule(name).weight
        assert float((found - delta).abs().max()) < 1e-9


def test_every_layer_has_a_scale_of_its_own(pipelines, tmp_path):
    """Diffusers mixes them up where attention and other layers differ."""
    unet = pipelines["sd"].unet
    tensors = by_kohya(Draw(pipelines["sd"]))
    layers = (QUERY, OUT, CONV)
    stems = [f"lora_unet_{name.replace('.', '_')}" for name in layers]
    for number, stem in enumerate(stems):
        tensors[f"{stem}.alpha"] = torch.tensor(0.5 + number)
    tensors = {name: x for name, x in tensors.items() if "unet" in name}
    path = written(tensors, tmp_path / "a.safetensors", {})
    ours = deepcopy(unet)
    add_loras((f"{path}@{WEIGHT}",), {"unet": ours})
    for number, (name, stem) in enumerate(zip(layers, stems, strict=True)):
        up, down = (tensors[f"{stem}.lora_{way}.weight"] for way in ("up", "down"))
        delta = WEIGHT * (0.5 + number) / 2 * (up.flatten(1) @ down.flatten(1))
        old, new = (model.get_submodule(name).weight for model in (unet, ours))
        assert float((new - old - delta.view_as(old)).abs().max()) < 1e-9


@pytest.mark.parametrize(("end", "holds"), [("conv1", True), ("onv1", False)])
def test_a_pattern_of_scales_is_of_whole_names(pipelines, tmp_path, end, holds):
    draw = Draw(pipelines["sd"])
    down, up = draw.halves("unet", CONV)
    tensors = {f"unet.{CONV}.lora_A.weight": down, f"unet.{CONV}.lora_B.weight": up}
    facts = {"unet.lora_alpha": 2, "unet.alpha_pattern": {end: 6}}
    path = written(tensors, tmp_path / "a.safetensors", facts)
    unet = deepcopy(pipelines["sd"].unet)
    add_loras((str(path),), {"unet": unet})
    old, new = (
        model.get_submodule(CONV).weight for model in (pipelines["sd"].unet, unet)
    )
    delta = (3.0 if holds else 1.0) * (up.flatten(1) @ down.flatten(1)).view_as(old)
    assert float((new - old - delta).abs().max()) < 1e-9


REFUSED = {
    "is a motion LoRA": "down_blocks.0.motion_modules.0.x.to_q.lora_A.weight",
    "is an OFT": "unet.down_blocks.0.x.to_q.oft_R.weight",
    "is a GLoRA": "lora_unet_x.glora_a1.weight",
    "is a GLoRA, ": "lora_unet_x.a1.weight",
    "is a textual inversion": "clip_l",
    "a LoRA and a textual inversion in one": "bundle_emb.x.string_to_param.*",
    r"has \.\.\.'.*_attn1_to_q\.of_another_kind', which": "lora_unet_down_blocks_0_"
    "attentions_0_transformer_blocks_0_attn1_to_q.of_another_kind",
    "is a Control-LoRA": "lora_controlnet",
    "which no known LoRA has": f"unet.{QUERY}.weight_of_another_kind",
}


@pytest.mark.parametrize("said", REFUSED)
def test_other_kinds_are_refused_by_their_names(tmp_path, said):
    path = written({REFUSED[said]: torch.zeros(2, 2)}, tmp_path / "a.safetensors", {})
    with pytest.raises(ModelError, match=f"^loras: .*{said}"):
        add_loras((str(path),), {})


def test_a_damaged_change_leaves_one_line(pipelines, tmp_path):
    unet = pipelines["sd"].unet
    draw = Draw(pipelines["sd"])
    width = unet.get_submodule(QUERY).weight.shape[0]
    stem = f"unet.{QUERY}"
    down, up = draw.halves("unet", QUERY)
    plain = {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
    for change, said in (
        ({f"{stem}.lora_magnitude_vector": draw.of(width + 1)}, "norms of"),
        ({f"{stem}.lora_magnitude_vector": draw.of(width) * torch.nan}, "NaN"),
        ({f"{stem}.lora_B.bias": draw.of(width)}, "has no bias"),
        ({f"{stem}.diff": draw.of(3, 3)}, "incomplete|but"),
        ({f"{stem}.lora_A.weight": down.flatten()}, "incomplete"),
    ):
        path = written(plain | change, tmp_path / "a.safetensors", {})
        with pytest.raises(ModelError, match=f"^loras: .*{said}"):
            add_loras((str(path),), {"unet": deepcopy(unet)})


def test_another_kind_of_pefts_is_refused(pipelines, tmp_path):
    path = written(
        {f"{QUERY}.lora_A.weight": torch.zeros(2, 2)},
        tmp_path / "adapter_model.safetensors",
        {},
    )
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "VERA"}')
    with pytest.raises(ModelError, match="is of peft's kind 'VERA'"):
        add_loras((str(path),), {"unet": pipelines["sd"].unet})


def of_peft(folder, facts, start="base_model.model."):
    folder.mkdir(exist_ok=True)
    halves = {"lora_A": torch.ones(2, 8), "lora_B": torch.ones(8, 2)}
    tensors = {f"{start}{QUERY}.{name}.weight": one for name, one in halves.items()}
    (folder / "adapter_config.json").write_bytes(json.dumps(facts).encode("utf-8-sig"))
    return written(tensors, folder / "adapter_model.safetensors", {})


def test_a_folder_of_peft_is_a_lora(tmp_path):
    file = of_peft(tmp_path / "ink", {"peft_type": "LORA", "r": 2, "lora_alpha": 8})
    assert find_lora(str(tmp_path / "ink")) == file
    assert locate_lora(str(tmp_path / "ink")).kind == "folder"
    with pytest.raises(ModelError, match="^loras: .* has no pytorch_lora_weights"):
        find_lora(str(tmp_path))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"init_lora_weights": "pissa_niter_4"}, "also changes the model"),
        ({"init_lora_weights": "olora"}, "also changes the model"),
        ({"layer_replication": [[0, 4]]}, "also changes the model"),
        ({"use_dora": True}, "says that it is a DoRA, but has no magnitudes"),
        ({"lora_alpha": "8"}, "says 'lora_alpha' '8', which is no number"),
    ],
)
def test_what_peft_says_and_cannot_be_added_is_refused(facts, said, tmp_path):
    file = of_peft(tmp_path, {"peft_type": "LORA"} | facts)
    with pytest.raises(ModelError, match=f"^loras: .*{said}"):
        add_loras((str(file),), {})


def test_an_alpha_may_be_a_whole_number(pipelines, tmp_path):
    draw = Draw(pipelines["sd"])
    down, up = draw.halves("unet", QUERY)
    stem = "lora_unet_" + QUERY.replace(".", "_")
    halves = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
    changed = []
    for kind in (torch.int64, torch.float32):
        alpha = {f"{stem}.alpha": torch.tensor(1, dtype=kind)}
        unet = deepcopy(pipelines["sd"].unet)
        add_loras(
            (str(written(halves | alpha, tmp_path / "a.safetensors", {})),),
            {"unet": unet},
        )
        changed.append(unet.get_submodule(QUERY).weight)
    assert torch.equal(*changed)
    assert not torch.equal(changed[0], pipelines["sd"].unet.get_submodule(QUERY).weight)


@pytest.mark.parametrize("place", [QUERY, CONV])
@pytest.mark.parametrize("by_column", [False, True])
def test_the_norms_of_lycoris_are_of_rows_or_of_columns(
    pipelines, tmp_path, place, by_column
):
    draw = Draw(pipelines["sd"])
    old = pipelines["sd"].unet.get_submodule(place).weight
    down, up = draw.halves("unet", place)
    stem = "lora_unet_" + place.replace(".", "_")
    shape = [1] * old.ndim
    shape[by_column] = old.shape[by_column]
    norms = 1 + draw.of(*shape).abs()
    tensors = {
        f"{stem}.lora_down.weight": down,
        f"{stem}.lora_up.weight": up,
        f"{stem}.dora_scale": norms,
    }
    unet = deepcopy(pipelines["sd"].unet)
    add_loras((str(written(tensors, tmp_path / "a.safetensors", {})),), {"unet": unet})
    sides = [side for side in range(old.ndim) if side != by_column]
    moved = old + (up.flatten(1) @ down.flatten(1)).view_as(old)
    expected = moved * norms / moved.square().sum(sides, keepdim=True).sqrt()
    assert torch.allclose(unet.get_submodule(place).weight, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("metadata", "prediction", "reads_last", "said"),
    [
        ({"ss_clip_skip": "2"}, "epsilon", True, ["trained with clip skip 2"]),
        ({"modelspec.encoder_layer": "3"}, "epsilon", True, ["with clip skip 3"]),
        ({"ss_clip_skip": "2"}, "epsilon", False, []),
        ({"ss_clip_skip": "None"}, "epsilon", True, []),
        ({"ss_clip_skip": "1"}, "epsilon", True, []),
        ({"ss_v_parameterization": "True"}, "epsilon", True, ["predicts v_prediction"]),
        ({"ss_v_parameterization": "False"}, "epsilon", True, []),
        ({"modelspec.prediction_type": "v"}, "v_prediction", True, []),
        ({"modelspec.prediction_type": "epsilon"}, "v_prediction", True, ["epsilon"]),
    ],
)
def test_what_a_file_says_of_its_training_is_said(
    metadata, prediction, reads_last, said, tmp_path
):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", metadata)
    notes = lora_facts(str(tmp_path / "a.safetensors")).notes(prediction, reads_last)
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))


def test_a_run_reports_what_a_lora_says_of_its_training(tmp_path):
    folder = write_small_model(tmp_path / "small")
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    halves = {"lora_down": torch.zeros(2, 8), "lora_up": torch.zeros(8, 2)}
    tensors = {f"{stem}.{name}.weight": tensor for name, tensor in halves.items()}
    file = tmp_path / "ink.safetensors"
    save_file(tensors, file, {"ss_clip_skip": "2"})
    model = load_backbone(str(folder), (str(file),))
    assert "trained with clip skip 2" in model.notes[0]
    assert load_backbone(str(folder)).notes == ()
