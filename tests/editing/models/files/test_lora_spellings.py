"""LoRA files as trainers write them, beside diffusers and peft, on random weights."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers import (
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from json_files import read_json
from made_models import seeded, write_small_model, write_wan
from peft import LoHaConfig, LoKrConfig, LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from pipelines import pipeline_of
from safetensors.torch import save_file

from regrain.editing.errors import ModelError
from regrain.editing.models.files.lora_file import (
    find_lora,
    locate_lora,
    lora_facts,
)
from regrain.editing.models.weights.lora import add_loras

WEIGHT = 0.7
ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"
QUERY, OUT = f"{ATTENTION}.to_q", f"{ATTENTION}.to_out.0"
CONV = "down_blocks.1.resnets.0.conv1"
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
        "wan": wan_of(write_wan(folder / "wan"), WanPipeline, WanTransformer3DModel),
        "vace": wan_of(
            write_wan(folder / "vace", vace=True),
            WanVACEPipeline,
            WanVACETransformer3DModel,
        ),
    }
    for pipeline in made.values():
        for part in parts_of(pipeline).values():
            part.double()
    return made


def wan_of(folder, kind, network_kind):
    network = network_kind.from_pretrained(folder / "transformer")
    nothing = dict.fromkeys(("tokenizer", "text_encoder", "vae", "scheduler"))
    return WanPipeline(**nothing, transformer=network)


def parts_of(pipeline):
    names = ("unet", "transformer", "text_encoder", "text_encoder_2")
    parts = {name: getattr(pipeline, name, None) for name in names}
    return {name: part for name, part in parts.items() if part is not None}


class Draw:
    """Random tensors, of the same seed in every test."""

    def __init__(self, pipeline):
        self.fresh = seeded(0)
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


PEFT = (".lora_A.weight", ".lora_B.weight")
KOHYA = (".lora_down.weight", ".lora_up.weight")


def layer(draw, part, name, stem, ends=PEFT, alpha=None):
    """Both halves of a layer, by their names in a file, and its scale."""
    down, up = draw.halves(part, name)
    found = {stem + ends[0]: down, stem + ends[1]: up}
    if alpha:
        found[f"{stem}.alpha"] = torch.tensor(alpha)
    return found


def by_peft(draw):
    found = {}
    for part, name in (("unet", QUERY), ("unet", CONV), ("text_encoder", WORDS)):
        found |= layer(draw, part, name, f"{part}.{name}")
    return found


def by_processors(draw):
    stem = f"unet.{ATTENTION}.processor"
    ends = ("_lora.down.weight", "_lora.up.weight")
    found = layer(draw, "unet", QUERY, f"{stem}.to_q", ends)
    found |= layer(draw, "unet", OUT, f"{stem}.to_out", ends)
    stem = f"text_encoder.{WORDS}.lora_linear_layer"
    return found | layer(draw, "text_encoder", WORDS, stem, OLD)


OLD = (".down.weight", ".up.weight")


def by_old_names(draw):
    return layer(draw, "unet", QUERY, f"unet.{QUERY}.lora", OLD)


def by_kohya(draw):
    found = {}
    layers = [("unet", name) for name in (QUERY, OUT, CONV)]
    layers += [("text_encoder", name) for name in (WORDS, WORDS_OUT)]
    for part, name in layers:
        start = "lora_te_" if part == "text_encoder" else "lora_unet_"
        stem = start + name.replace(".", "_")
        found |= layer(draw, part, name, stem, KOHYA, 0.5)
    return found


def by_kohya_of_sdxl(draw):
    """Blocks as in the original layout; a layer each is 2 input blocks a level here."""
    found = {}
    for block, theirs in (
        ("mid_block.attentions.0", "middle_block_1"),
        ("down_blocks.1.attentions.0", "input_blocks_3_1"),
        ("up_blocks.0.attentions.1", "output_blocks_1_1"),
    ):
        name = f"{block}.transformer_blocks.0.attn1.to_q"
        stem = f"lora_unet_{theirs}_transformer_blocks_0_attn1_to_q"
        found |= layer(draw, "unet", name, stem, KOHYA, 1.0)
    for start, part in (("lora_te1_", "text_encoder"), ("lora_te2_", "text_encoder_2")):
        for name in (WORDS, WORDS_OUT):
            stem = start + name.replace(".", "_")
            found |= layer(draw, part, name, stem, KOHYA, 2.0)
    return found


NAMES = read_json(Path(__file__).with_name("lora_names.json"))
"""The authors' names of layers, what peft writes beside its own, and what is said of
what files say."""
OF_WAN, OF_VACE, ORIGINAL = (NAMES[kind] for kind in ("Wan", "VACE", "original"))


def by_wan(start, ends, alpha=None, bias=False):
    """A spelling of those names: how they begin and end."""

    def write(draw):
        found = {}
        for name, theirs in OF_WAN.items():
            stem = start + theirs
            own = alpha if BLOCK in name else None  # diffusers reads no other
            found |= layer(draw, "transformer", name, stem, ends, own)
            if bias:
                found[f"{stem}.diff_b"] = draw.of(len(found[stem + ends[1]]))
        return found

    return write


def by_diffusers_wan(draw):
    found = {}
    for name in (f"{BLOCK}.attn1.to_q", "proj_out", "patch_embedding"):
        found |= layer(draw, "transformer", name, f"transformer.{name}")
    return found


def by_diffusers_vace(draw):
    found = {}
    for name in OF_VACE:
        found |= layer(draw, "transformer", name, f"transformer.{name}")
    return found


def with_whole_head(draw):
    """As distilled ones have, beside factors of other layers."""
    head = draw.weight("transformer", "proj_out")
    return by_wan("diffusion_model.", KOHYA, alpha=0.25)(draw) | {
        "diffusion_model.head.head.diff": draw.of(*head.shape),
        "diffusion_model.head.head.diff_b": draw.of(len(head)),
    }


def whole_musubi(draw):
    """All layers, without which diffusers does not read it."""
    names = {"ffn_0": "ffn.net.0.proj", "ffn_2": "ffn.net.2"}
    for theirs, ours in zip("qkvo", ("q", "k", "v", "out.0"), strict=True):
        names[f"self_attn_{theirs}"] = f"attn1.to_{ours}"
        names[f"cross_attn_{theirs}"] = f"attn2.to_{ours}"
    found = {}
    for block in (0, 1):
        for theirs, ours in names.items():
            stem = f"lora_unet_blocks_{block}_{theirs}"
            name = f"blocks.{block}.{ours}"
            found |= layer(draw, "transformer", name, stem, KOHYA, 4.0)
    return found


# By the name of a spelling: family, tensors, and metadata.
SPELLINGS = {
    "peft": ("sd", by_peft, {}),
    "peft, scales in the metadata": ("sd", by_peft, NAMES["metadata"]),
    "processors": ("sd", by_processors, {}),
    "old names": ("sd", by_old_names, {}),
    "kohya": ("sd", by_kohya, {}),
    "peft of SDXL": ("sdxl", by_peft, {}),
    "kohya of SDXL": ("sdxl", by_kohya_of_sdxl, {}),
    "Wan": ("wan", by_diffusers_wan, {}),
    "Wan's original": ("wan", by_wan("diffusion_model.", PEFT), {}),
    "Wan's original with scales": (
        "wan",
        by_wan("diffusion_model.", KOHYA, alpha=1.0),
        {},
    ),
    "Wan's original with biases": (
        "wan",
        by_wan("diffusion_model.", KOHYA, bias=True),
        {},
    ),
    "kohya of Wan": ("wan", whole_musubi, {}),
    "Wan's, on VACE": ("vace", by_wan("diffusion_model.", KOHYA, 0.25, True), {}),
    "VACE": ("vace", by_diffusers_vace, {}),
    "a whole head": ("vace", with_whole_head, {}),
}


def written(tensors, path, facts=None):
    metadata = {"format": "pt"}
    if facts:
        metadata["lora_adapter_metadata"] = json.dumps(facts)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, path, metadata)
    return path


@pytest.fixture
def changed(pipelines, tmp_path):
    """Makes a copy of a part of a pipeline to which a file of these tensors was added."""

    def change(tensors, family="sd", part="unet", weight=1.0, facts=None):
        path = written(tensors, tmp_path / "a.safetensors", facts)
        ours = deepcopy(getattr(pipelines[family], part))
        add_loras((f"{path}@{weight}",), {part: ours})
        return ours

    return change


def product(up, down):
    """What both halves add to a layer."""
    return (up.flatten(1) @ down.flatten(1)).view(len(up), -1, *down.shape[2:])


def near(found, expected):
    return float((found - expected).abs().max()) < 1e-9


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


@pytest.mark.full(but="kohya")
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
    biases = sum(name.endswith((".diff", ".diff_b")) for name in tensors)
    assert assert_equal(ours, theirs, before) == layers + biases


# What diffusers does not read of Stable Diffusion, or reads in part: written by peft.
BY_PEFT = {
    "DoRA": LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=[QUERY, CONV]),
    "bias": LoraConfig(r=3, lora_alpha=5, lora_bias=True, target_modules=[OUT]),
    "LoHa with cores": LoHaConfig(
        r=3, alpha=5, use_effective_conv2d=True, target_modules=[QUERY, CONV]
    ),
    "LoKr of factors": LoKrConfig(
        r=1, alpha=5, decompose_both=True, target_modules=[QUERY, CONV]
    ),
}
STARTS = ("base_model.model.", "unet.base_model.model.", "unet.unet.", "unet.", "")


@pytest.mark.full(but="LoRA")
@pytest.mark.parametrize("kind", BY_PEFT)
def test_a_file_of_peft_changes_what_it_changes_there(pipelines, tmp_path, kind):
    unet = pipelines["sd"].unet
    config = BY_PEFT[kind]
    theirs = inject_adapter_in_model(config, deepcopy(unet))
    fresh = seeded(1)
    for name, weight in theirs.named_parameters():
        if "lora_" in name or "hada" in name or "lokr" in name:
            weight.add_(torch.randn(weight.shape, generator=fresh).to(weight) / 4)
    start = STARTS[[*BY_PEFT].index(kind) % len(STARTS)]
    tensors = {
        start + name: tensor
        for name, tensor in get_peft_model_state_dict(theirs).items()
    }
    path = written(tensors, tmp_path / "adapter_model.safetensors")
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


def same_weights(one, other):
    found, usual = one.state_dict(), other.state_dict()
    return all(torch.equal(found[key], usual[key]) for key in usual)


@pytest.mark.parametrize("form", ["original", "kohya"])
def test_control_blocks_have_the_names_of_the_authors_too(pipelines, changed, form):
    def stems(theirs):
        if form == "kohya":
            return stem_of(theirs), KOHYA
        return f"diffusion_model.{theirs}", PEFT

    names = {ours: stems(theirs) for ours, theirs in OF_VACE.items()}
    means_the_same(pipelines, changed, "vace", "transformer", names)


@pytest.mark.parametrize(
    ("clip", "part", "ends"),
    [
        ("clip_l", "text_encoder", KOHYA),
        ("clip_g", "text_encoder_2", KOHYA),
        ("clip_l", "text_encoder", PEFT),
    ],
)
def test_text_encoders_have_comfyuis_names_too(pipelines, changed, clip, part, ends):
    stem = f"text_encoders.{clip}.transformer.{WORDS}"
    means_the_same(pipelines, changed, "sdxl", part, {WORDS: (stem, ends)})


def means_the_same(pipelines, changed, family, part, stems):
    """By other names of layers, a file changes what it changes by ours."""
    draws = [Draw(pipelines[family]) for _ in range(2)]
    theirs, ours = {}, {}
    for name, spelled in stems.items():
        theirs |= layer(draws[0], part, name, *spelled)
        ours |= layer(draws[1], part, name, f"{part}.{name}")
    assert same_weights(*(changed(one, family, part) for one in (theirs, ours)))


def test_plain_differences_are_added(pipelines, changed):
    """Diffusers leaves these out."""
    (old, *_) = pipelines["wan"].transformer.blocks
    draw = Draw(pipelines["wan"])
    width = len(old.norm2.bias)
    tensors = {
        "diffusion_model.blocks.0.self_attn.q.diff": draw.of(width, width),
        "diffusion_model.blocks.0.norm3.diff_b": draw.of(width),
        "diffusion_model.blocks.0.diff_m": draw.of(*old.scale_shift_table.shape),
    }
    (new, *_) = changed(tensors, "wan", "transformer", WEIGHT).blocks
    names = ("attn1.to_q.weight", "norm2.bias", "scale_shift_table")
    for name, tensor in zip(names, tensors.values(), strict=True):
        before, after = (dict(one.named_parameters())[name] for one in (old, new))
        assert near(after - before, WEIGHT * tensor)


DIFFSYNTH = (".lora_A.default.weight", ".lora_B.default.weight")


@pytest.mark.parametrize(
    ("start", "ends"),
    [
        ("", DIFFSYNTH),
        ("pipe.dit.", DIFFSYNTH),
        ("base_model.model.", PEFT),
        ("transformer.", PEFT),
    ],
)
def test_diffsynths_names_are_those_of_the_original(pipelines, changed, start, ends):
    stems = {ours: (start + theirs, ends) for ours, theirs in OF_WAN.items()}
    means_the_same(pipelines, changed, "wan", "transformer", stems)


def stem_of(name):
    return f"lora_unet_{name.replace('.', '_')}"


def test_layers_of_sdxl_have_names_in_the_original_layout(pipelines, changed):
    draw = Draw(pipelines["sdxl"])
    layers = {
        name: layer(draw, "unet", name, stem_of(theirs), KOHYA, 2.0)
        for name, theirs in ORIGINAL.items()
    }
    tensors = {key: x for one in layers.values() for key, x in one.items()}
    ours = changed(tensors, "sdxl")
    for name, one in layers.items():
        down, up, _ = one.values()
        old = draw.weight("unet", name)
        assert near(ours.get_submodule(name).weight - old, product(up, down))


@pytest.mark.full
def test_every_layer_has_a_scale_of_its_own(pipelines, changed):
    """Diffusers mixes them up where attention and other layers differ."""
    draw = Draw(pipelines["sd"])
    layers = {
        name: layer(draw, "unet", name, stem_of(name), KOHYA, alpha)
        for name, alpha in {QUERY: 0.5, OUT: 1, CONV: 2.5}.items()  # one is whole
    }
    tensors = {key: x for one in layers.values() for key, x in one.items()}
    ours = changed(tensors, weight=WEIGHT)
    for name, one in layers.items():
        down, up, alpha = one.values()
        added = ours.get_submodule(name).weight - draw.weight("unet", name)
        assert near(added, WEIGHT * float(alpha) / 2 * product(up, down))


def test_a_folder_of_peft_is_a_lora(tmp_path):
    (folder := tmp_path / "ink").mkdir()
    file = written({QUERY: torch.ones(1)}, folder / "adapter_model.safetensors")
    assert find_lora(str(folder)) == file
    assert locate_lora(str(folder)).kind == "folder"
    with pytest.raises(ModelError, match="^loras: .* has no pytorch_lora_weights"):
        find_lora(str(tmp_path))


@pytest.mark.parametrize(
    ("metadata", "prediction", "reads_last", "said"), NAMES["said"]
)
def test_what_a_file_says_of_its_training_is_said(
    metadata, prediction, reads_last, said, tmp_path
):
    save_file({"a": torch.ones(1)}, file := tmp_path / "a.safetensors", metadata)
    notes = lora_facts(str(file)).notes(prediction, reads_last)
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))


def test_a_size_beside_layers_that_say_theirs_is_nothing_to_say(tmp_path):
    size = {"ss_network_alpha": "1", "ss_network_dim": "4"}
    save_file({"a.alpha": torch.ones(1)}, file := tmp_path / "a.safetensors", size)
    assert not lora_facts(str(file)).notes("epsilon", True)
