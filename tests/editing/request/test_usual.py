"""How a model edits where nothing else is asked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from json_files import read_json, write_json
from made_clips import black
from PIL import Image

from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region
from regrain.editing.request.usual import (
    Way,
    for_method,
    for_model,
    picture_doubts,
    reference_doubts,
    usual_way,
)

OTHER = "somebody/a-model"
FAST, MOTION = "storybook/fast", "storybook/motion"
SEES = "instruct_pix2pix"


def test_a_model_edits_by_its_own_lora_with_the_method_this_was_made_for():
    assert usual_way("storybook") == Way(SEES, (FAST,))
    assert usual_way("storybook", SEES) == Way(SEES, (FAST,))
    assert usual_way("storybook", "videograin") == Way("videograin", (), MOTION)
    assert usual_way(OTHER) == Way("videograin")
    assert usual_way(OTHER, "fresco") == Way("fresco")


@pytest.mark.parametrize(
    ("part", "config", "method"),
    [
        ("unet", {}, "videograin"),
        ("unet", {"time_cond_proj_dim": 256}, "infedit"),  # draws in few steps
        ("unet", {"in_channels": 8}, SEES),
        ("transformer", {"_class_name": "WanTransformer3DModel"}, "flow_regions"),
    ],
)
def test_the_usual_method_is_one_that_the_model_can_be_used_with(
    part, config, method, tmp_path
):
    (tmp_path / part).mkdir()
    unet = {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768}
    write_json(tmp_path / part / "config.json", unet | config)
    (tmp_path / "model_index.json").write_text("{}")
    assert usual_way(str(tmp_path)) == Way(method)
    assert usual_way(str(tmp_path), "sdedit") == Way("sdedit")


TABLES = read_json(Path(__file__).with_name("usual.json"))
"""What was chosen for a model, what of it is kept for another; and what is said of
pictures: their ground, how many there are."""


@pytest.mark.parametrize(("given", "kept"), TABLES["models"])
def test_what_was_usual_for_a_model_becomes_what_is_usual_for_another(given, kept):
    assert for_model(*given) == (*kept,)


def test_another_method_has_its_own_additions():
    added = for_method([f"{FAST}@1", "ink@1"], "storybook", SEES, "videograin")
    assert added == ["ink@1", MOTION]
    assert for_method(added, "storybook", "videograin", SEES) == ["ink@1", FAST]
    assert for_method([], "storybook", "videograin", "fresco") == []
    assert for_method(["ink@1"], OTHER, "infedit", "videograin") == ["ink@1"]


def test_all_that_is_added_to_a_model_is_listed_with_what_looks():
    asked = Edit(loras=("ink@1",), motion=MOTION, picture_adapter="p", reader="r")
    assert asked.added == ["ink@1", MOTION, "p", "r"]


def test_pictures_by_the_lora_that_draws_them_as_patterns_are_doubted():
    like = Region("cat", 1, "a cat", picture="cat.png")
    fast = Edit(loras=(f"{FAST}@1",))
    (said,) = picture_doubts(fast, [Region("fox", 2), like])
    assert "picture (cat)" in said
    assert picture_doubts(fast, [Region("fox", 2)]) == []
    assert picture_doubts(Edit(loras=("loras/lcm",)), [like]) == []


@pytest.mark.parametrize(("ground", "count", "said"), TABLES["pictures"])
def test_pictures_that_a_model_may_not_heed_are_doubted(ground, count, said, tmp_path):
    pixels = np.full((8, 8, 4), ground, np.uint8)
    pixels[2:6, 2:6] = (200, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    labels = np.zeros((1, 16, 16), np.uint8)
    regions = []
    picture = str(tmp_path / "cat.png")
    for label in range(1, count + 1):
        labels[0, label] = label
        regions.append(Region(f"cat {label}", label, "a cat", picture=picture))
    asked = EditRequest(black(1, 16, 16), labels, tuple(regions), method="vace")
    asked = asked if count else replace(asked, picture=picture)
    doubts = reference_doubts(asked)
    assert len(doubts) == len(said)
    assert all(part in doubt for part, doubt in zip(said, doubts, strict=True))
    assert reference_doubts(replace(asked, method="videograin")) == []
