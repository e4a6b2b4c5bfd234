"""Published models for a clip and a machine: what is said of each, and which one is
recommended."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.edit_cost import request_for
from regrain.editing.media.clip import ArrayClip
from regrain.editing.models.files.hub import PIPELINE_FILES, matches
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage import memory
from regrain.ui.values.offered_models import CARDS, OFFERED, WISHES
from regrain.ui.views.model_views import offers_view
from regrain.ui.work import offers
from regrain.ui.work.costs import Promise

SD, LCM, XL, WAN, VACE, VACE_14 = OFFERED
CLIP = ArrayClip(np.zeros((8, 64, 64, 3), np.uint8), Fraction(8))
REQUEST = EditRequest(CLIP, None, (), prompt="a fox", source_prompt="a cat")


@pytest.fixture
def machine(monkeypatch):
    """Sets what is free in GB, the seconds of 10^12 operations, and the device."""

    def be(free, seconds=None, device="cpu"):
        def about(asked, needed):
            if seconds is None:
                return None
            total = seconds * (needed.inverting + needed.editing) / 1e12
            return Promise(total, 0.0, 3.0, 0, True)

        for module in (memory, offers):
            monkeypatch.setattr(module, "free_memory", lambda _: free * 1e9)
            monkeypatch.setattr(module, "choose_device", lambda: torch.device(device))
        return SimpleNamespace(about=about)

    return be


def all_offered(costs):
    return [offers.consider(one, REQUEST, costs) for one in OFFERED.values()]


@pytest.mark.parametrize(
    ("free", "seconds", "expected"),
    [
        # Everything fits and is fast: the best for each wish.
        (200, 0.01, [WAN, VACE, LCM, LCM]),
        # Wan's text encoder alone takes more.
        (20, 0.01, [SD, SD, LCM, LCM]),
        # Only 4 steps are done within an hour.
        (200, 10, [LCM, LCM, LCM, LCM]),
        # Nothing is; what fits is named, and said to be slow.
        (20, 1000, [SD, SD, LCM, LCM]),
        (1, 0.01, [WAN, VACE, LCM, LCM]),
    ],
)
def test_what_is_recommended_depends_on_wish_and_machine(
    machine, free, seconds, expected
):
    found = all_offered(machine(free, seconds))
    chosen = offers.recommended(found)
    assert [one.offered.id for one in chosen.values()] == expected
    slow = seconds > 100
    for one in chosen.values():
        said = "Does not fit" if free == 1 else "Too slow here: " if slow else ""
        assert one.trouble.startswith(said)
        assert bool(one.trouble) == bool(said)


def test_facts_are_said_of_every_model(machine):
    """Also without network, where the hub cannot be asked."""
    shown = offers_view(all_offered(machine(20, 10)), "/my models")
    for offer in shown["offers"]:
        facts = offer.facts
        assert facts["Licence"] == OFFERED[offer.id].licence != ""
        assert facts["Memory"].endswith("; 20.0 GB are free here")
        assert "counted" in facts["On a GPU"]
        fetched = "at least 15.9 GB (counted)" if offer.id == VACE else "GB"
        assert fetched in facts["To fetch"]
        assert ("(measured)" in facts["On a GPU"]) == (offer.id == SD)
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
    sd = offers.consider(OFFERED[SD], long, machine(200))
    assert sd.taken == f"{sd.memory / 1e9:.1f} GB"
    free = (sd.least + sd.memory) / 2e9
    costs = machine(free)
    cut = offers.consider(OFFERED[SD], long, costs)
    assert cut.trouble == ""
    assert cut.taken == f"{sd.least / 1e9:.1f} GB in short windows"
    (offer, *_) = offers_view([cut, *all_offered(costs)[1:]], "")["offers"]
    assert offer.facts["Memory"].startswith(f"{cut.taken}; ")


def test_what_takes_too_long_is_counted_with_key_frames(machine):
    costs = machine(200, 100)
    long = request_for("infedit", 32, 512)
    slow = offers.consider(OFFERED[LCM], long, costs)
    keys = {**slow.offered.params, "keyframes": "every 8"}
    fewer = replace(slow.offered, params=keys)
    assert slow.trouble == (
        f"Too slow here: {slow.here} for this clip. With every 8th frame as a key "
        f"frame: {offers.consider(fewer, long, costs).here}."
    )
    assert slow.sparse != slow.here
    assert offers.consider(OFFERED[WAN], long, costs).sparse == ""
    assert offers.consider(OFFERED[LCM], long, machine(200, 0.01)).sparse == ""
    short = request_for("infedit", 8, 512)
    assert offers.consider(OFFERED[SD], short, costs).sparse == ""


def test_a_known_card_tells_the_time_before_a_first_run(machine, monkeypatch):
    costs = machine(16, device="cuda")
    for name, known in (("NVIDIA T4", True), ("another card", False)):
        monkeypatch.setattr(offers, "device_name", lambda _, name=name: name)
        one = offers.consider(OFFERED[LCM], REQUEST, costs)
        assert (one.seconds is not None) == known
        assert one.here.startswith("about" if known else "unknown until a first run")
    assert offers.consider(OFFERED[LCM], None, costs).here.startswith("unknown")


def test_the_measured_card_does_what_was_measured():
    """VideoGrain took 12.1 s (`benchmarks.gpu`)."""
    (card,) = (card for card in CARDS if card.measured)
    asked = replace(request_for("videograin", 16, 512), params={"steps": 10})
    work, _ = offers.work_of_family(asked, OFFERED[SD].need)
    assert card.knows(OFFERED[SD])
    assert offers._seconds_on(card, OFFERED[SD], work) == pytest.approx(12.1, rel=0.15)


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
