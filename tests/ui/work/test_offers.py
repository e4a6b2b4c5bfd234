"""Published models for a clip and a machine: what is said of each, and which one is
recommended."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from benchmarks.edit_cost import request_for
from regrain.editing.media.clip import ArrayClip
from regrain.editing.models.files.hub import PIPELINE_FILES, matches
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage import memory
from regrain.ui.values.offered_models import OFFERED, WISHES
from regrain.ui.views.model_views import offers_view
from regrain.ui.work import offers

SD, LCM, XL, WAN, VACE, VACE_14 = OFFERED
CLIP = ArrayClip(np.zeros((8, 64, 64, 3), np.uint8), Fraction(8))
REQUEST = EditRequest(CLIP, None, (), prompt="a fox", source_prompt="a cat")


@pytest.fixture
def machine(monkeypatch):
    """Sets what is free in GB."""

    def be(free):
        for module in (memory, offers):
            monkeypatch.setattr(module, "free_memory", lambda _: free * 1e9)
            monkeypatch.setattr(module, "choose_device", lambda: torch.device("cpu"))

    return be


def all_offered():
    return [offers.consider(one, REQUEST) for one in OFFERED.values()]


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        # Everything fits: the best for each wish.
        (200, [WAN, VACE, LCM, LCM]),
        # Wan's text encoder alone takes more.
        (20, [SD, SD, LCM, LCM]),
        # Nothing fits, which is said.
        (1, [WAN, VACE, LCM, LCM]),
    ],
)
def test_what_is_recommended_depends_on_wish_and_machine(machine, free, expected):
    machine(free)
    chosen = offers.recommended(all_offered())
    assert [one.offered.id for one in chosen.values()] == expected
    for one in chosen.values():
        said = "Does not fit" if free == 1 else ""
        assert one.trouble.startswith(said)
        assert bool(one.trouble) == bool(said)


def test_facts_are_said_of_every_model(machine):
    """Also without network, where the hub cannot be asked."""
    machine(20)
    shown = offers_view(all_offered(), "/my models")
    for offer in shown["offers"]:
        facts = offer.facts
        assert facts["Licence"] == OFFERED[offer.id].licence != ""
        assert facts["Memory"].endswith("; 20.0 GB are free here")
        fetched = "at least 15.9 GB (counted)" if offer.id == VACE else "GB"
        assert fetched in facts["To fetch"]
        assert offer.command.startswith(f"hf download {offer.id} ")
        assert offer.command.endswith(f'"/my models/{offer.id.split("/")[1]}"')
    assert [wish.title for wish in shown["wishes"]] == [
        title for title, _ in WISHES.values()
    ]
    better = {wish.name: wish.better for wish in shown["wishes"]}
    assert better["fast"] == ""
    assert better["steady"].startswith("Wan 2.1, 1.3B would suit it more. Does not fit")


def test_memory_is_that_of_the_run_which_fits(machine):
    long = request_for("videograin", 32, 512)
    machine(200)
    sd = offers.consider(OFFERED[SD], long)
    assert sd.taken == f"{sd.memory / 1e9:.1f} GB"
    assert sd.memory == OFFERED[SD].need.memory(32)
    assert offers.consider(OFFERED[SD], None).memory == sd.least
    machine((sd.least + sd.memory) / 2e9)
    cut = offers.consider(OFFERED[SD], long)
    assert cut.trouble == ""
    assert cut.taken == f"{sd.least / 1e9:.1f} GB in short windows"
    (offer, *_) = offers_view([cut, *all_offered()[1:]], "")["offers"]
    assert offer.facts["Memory"].startswith(f"{cut.taken}; ")


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [
        ("unet/config.json", True),
        ("unet/diffusion_pytorch_model.safetensors", True),
        ("text_encoder_2/model.safetensors", True),
        ("text_encoder/model-00001-of-00005.safetensors", True),
        ("tokenizer/merges.txt", True),
        ("unet/diffusion_pytorch_model.non_ema.safetensors", False),
        ("v1-5-pruned.safetensors", False),
        ("vae/diffusion_pytorch_model.bin", False),
    ],
)
def test_the_command_takes_what_a_fetch_takes(name, is_taken):
    patterns = OFFERED[SD].command("").split('"')[1:-2:2]
    assert matches(name, patterns) == matches(name, PIPELINE_FILES) == is_taken
