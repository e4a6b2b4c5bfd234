"""Wan 2.2 with two experts: runs beside diffusers, which expert answers, memory
and LoRA files."""

import shutil
from pathlib import Path

import pytest
import torch
from damaged_models import damage
from diffusers import WanTransformer3DModel
from double_library import FromText, double, drawn, drawn_by_library, pipeline_of
from json_files import read_json
from made_models import load_double, loaded, randn, seeded, write_wan
from safetensors.torch import save_file

from regrain.editing.diffusion.flow import FlowSchedule
from regrain.editing.models.files.download import PIPELINE_FILES, matches
from regrain.editing.models.files.facts import EXPERTS, facts_of
from regrain.editing.models.files.offers import VACE, WAN
from regrain.editing.models.wan.experts import loras_of, notes_on

INDEX = "model_index.json"
pytestmark = pytest.mark.usefixtures("no_grad")


def without(folder, part, ratio, copy):
    """A copy of a folder without one of its experts, and another ratio."""
    place = shutil.copytree(folder, copy)
    damage(place, {INDEX: {"boundary_ratio": ratio, part: [None, None]}, part: None})
    return place


@pytest.fixture(scope="module")
def pairs(pair_folder, tmp_path_factory):
    """The model in double precision with both experts, or with one of them alone."""
    copies = tmp_path_factory.mktemp("copies")
    low = without(pair_folder, "transformer", 1.0, copies / "low")
    high = without(pair_folder, "transformer_2", 0.0, copies / "high")
    folders = {"both": pair_folder, "low alone": low, "high alone": high}
    return {name: load_double(folder) for name, folder in folders.items()}


def library_of(model, folder, ratio):
    """The library's for the same experts."""
    networks = [
        double(WanTransformer3DModel, folder / part) if part in model.networks else None
        for part in ("transformer", "transformer_2")
    ]
    return pipeline_of(FromText, model.vae, networks, ratio)


RATIOS = {"both": 0.875, "low alone": 1.0, "high alone": 0.0}


@pytest.mark.full(but="both")
@pytest.mark.parametrize("experts", RATIOS)
def test_a_run_is_the_librarys(pairs, pair_folder, own_cache, experts):
    """With the solver's history across the switch."""
    model = pairs[experts]
    text = model.embed(["a cat", "ugly"])
    x = randn(3, 4, 4, 6, dtype=torch.float64, seed=4)
    how = {"num_inference_steps": 6}
    how |= {"height": 16, "width": 32}  # of which it takes no notice
    library = library_of(model, pair_folder, RATIOS[experts])
    expected = drawn_by_library(library, text, x, **how)
    steps = FlowSchedule(5.0).sampling(6, "diffusers")
    assert 0 < sum(step.t < 875 for step in steps) < 6
    found = drawn(model, x, 6, lambda *_: 5.0)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_a_pair_is_told_by_its_parts(pairs, pair_folder, tmp_path):
    assert facts_of(str(pair_folder)).family == ("Wan 2.2", WAN)
    vace = write_wan(tmp_path / "vace", vace=True, experts=True)
    assert facts_of(str(vace)).family == ("Wan 2.2 VACE", VACE)
    offers = [model.offers for model in pairs.values()]
    assert offers == [WAN, WAN, WAN]
    assert pairs["both"].parts.keys() == {"transformer", "transformer_2", "vae"}
    assert len({model.fingerprint for model in pairs.values()}) == 3


def test_a_ratio_belongs_to_the_weights(pairs, pair_folder, tmp_path):
    copy = shutil.copytree(pair_folder, tmp_path / "copy")
    damage(copy, {INDEX: {"boundary_ratio": 0.5}})
    assert load_double(copy).fingerprint != pairs["both"].fingerprint


# --- LoRA files


def test_a_lora_goes_to_the_expert_that_it_is_named_for(pairs, pair_folder, tmp_path):
    """By alpha, which is not the rank; without such a name to both."""
    fresh = seeded(1)
    down = torch.randn(2, 24, generator=fresh)
    up = torch.randn(24, 2, generator=fresh)
    layer = "diffusion_model.blocks.0.self_attn.q"
    files = []
    for times, named in enumerate(("x_HIGH_noise", "wan2.2-low-noise", "x_both"), 1):
        weights = {
            f"{layer}.lora_down.weight": times * down,
            f"{layer}.lora_up.weight": up,
            f"{layer}.alpha": torch.tensor(0.25),
        }
        files.append(str(tmp_path / f"{named}.safetensors"))
        save_file(weights, files[-1])
    high, low, both = files
    model = loaded(pair_folder, loras=(high, f"{low}@0.5", both), dtype=torch.float64)
    change = (0.25 / 2 * up @ down).double()
    for part, times in {"transformer": 1 + 3, "transformer_2": 0.5 * 2 + 3}.items():
        found, plain = (
            one.networks[part].get_parameter("blocks.0.attn1.to_q.weight")
            for one in (model, pairs["both"])
        )
        torch.testing.assert_close(found, plain + times * change)
    for note, noise in zip(model.notes, ("high", "low"), strict=True):
        assert f"changes the expert for {noise} noise alone, as its name says." in note


FIRST, _ = EXPERTS


NAMES = read_json(Path(__file__).with_name("expert_names.json"))
"""A file, another beside it, the noise of the experts that it is for, what is said."""


@pytest.mark.parametrize(("file", "beside", "noise", "said"), NAMES)
def test_two_words_or_a_pair_say_which_expert_a_file_is_for(file, beside, noise, said):
    loras = [file, beside] if beside else [file]
    is_for = [file in loras_of(part, loras, EXPERTS) for part in EXPERTS]
    assert is_for == [level in noise for level in ("high", "low")]
    notes = notes_on(loras, EXPERTS)
    assert (said in notes[0]) if said else not notes
    assert notes_on(loras, [FIRST]) == []
    assert loras_of(FIRST, loras, [FIRST]) == loras


def test_both_experts_are_fetched():
    for part in EXPERTS:
        for end in (".safetensors.index.json", "-00001-of-00003.safetensors"):
            name = f"{part}/diffusion_pytorch_model{end}"
            assert matches(name, PIPELINE_FILES)
