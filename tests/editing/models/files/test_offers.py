"""What a model offers is told from its configuration, and compared with what a method
needs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from json_files import read_json
from made_clips import black
from made_models import loaded, write_configs
from safetensors.torch import save_file

from regrain.editing import EditRequest, Region, edit
from regrain.editing.errors import ModelError
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.offers import FIRST, STABLE_DIFFUSION, VACE, WAN
from regrain.editing.params.registry import METHODS, OFFERS, SUPPORTED, check_needs


def request(model, method="videograin", **params) -> EditRequest:
    clip, labels = (
        black(2, 64, 64),
        np.zeros((2, 64, 64), np.uint8),
    )
    labels[:, 16:48, 16:48] = 1
    thing = Region("thing", 1, prompt="a fox", source="a cat")
    return EditRequest(
        clip, labels, (thing,), "a cat", method=method, model=str(model), params=params
    )


def test_a_models_folder_tells_what_it_offers(tiny, tiny_folder):
    family = facts_of(str(tiny_folder)).family
    assert family == ("Stable Diffusion", STABLE_DIFFUSION)
    assert tiny.offers == STABLE_DIFFUSION == set(OFFERS) - VACE - FIRST - {"source"}
    assert facts_of("storybook").family == family


XL, REFINER = (
    {"addition_embed_type": "text_time"},
    {"_class_name": "x", "text_encoder": [None, None]},
)
OFFERED = {
    "all": STABLE_DIFFUSION,
    "no inversion": STABLE_DIFFUSION - {"inversion"},
    "sees": STABLE_DIFFUSION - {"inversion"} | {"source"},
    "none": frozenset(),
}
FOLDERS = read_json(Path(__file__).with_name("offers.json"))
"""A title, what is offered, and configurations: UNet, index, scheduler."""


@pytest.mark.parametrize(("title", "offers", "configs"), FOLDERS)
def test_a_folder_is_told_by_its_configurations(tmp_path, title, offers, configs):
    folder = write_configs(tmp_path / "model", *configs)
    assert facts_of(str(folder)).family == (title, OFFERED[offers])


@pytest.mark.parametrize(
    ("keys", "title", "said"),
    [
        (["0.model.token_embedding.weight"], "the refiner of SDXL", "refiner of SDXL"),
        (["0.x", "1.x"], "SDXL", "has no UNet"),
        ([], "Stable Diffusion", "has no UNet"),
    ],
)
def test_a_file_is_told_by_its_keys(tmp_path, keys, title, said):
    tensors = {f"conditioner.embedders.{key}": torch.zeros(1) for key in keys}
    save_file(tensors | {"x": torch.zeros(1)}, path := tmp_path / "a.safetensors")
    family = facts_of(str(path)).family
    assert family == (title, frozenset() if "refiner" in title else STABLE_DIFFUSION)
    with pytest.raises(ModelError, match=said):
        loaded(path)


def test_what_is_not_here_is_not_guessed(tmp_path):
    assert facts_of("nobody/no-such-model").family is None
    broken = write_configs(tmp_path / "broken", {"x": 1})
    (broken / "unet" / "config.json").write_text("{")
    assert facts_of(str(broken)).family is None


@pytest.mark.parametrize("method", METHODS)
def test_a_model_of_another_family_is_refused_before_it_is_loaded(method, tmp_path):
    path = write_configs(tmp_path / "model", XL, REFINER)
    said = (
        rf"^model: .* is the refiner of SDXL, which is not supported. Use {SUPPORTED}.$"
    )
    with pytest.raises(ModelError, match=said):
        next(edit(request(path, method)))


def test_a_model_without_what_the_method_needs_is_refused():
    needs = r"^model: “VideoGrain” needs noise levels .* and a UNet .*, not 'flow'. Use another"
    with pytest.raises(ModelError, match=needs):
        check_needs("videograin", {}, {"control"}, "flow")
    needs = "^model: “VACE” needs the control blocks of VACE, not 'plain'"
    with pytest.raises(ModelError, match=needs):
        check_needs("vace", {}, WAN, "plain")
    for method in METHODS:
        fits, other = STABLE_DIFFUSION, WAN
        if "image_unet" not in METHODS[method].needs:
            fits, other = other, fits
        if "vace" in METHODS[method].needs:
            fits = VACE
        if "source" in METHODS[method].needs:
            fits = OFFERED["sees"]
        check_needs(method, {}, fits, "tiny")
        with pytest.raises(
            ModelError,
            match=rf"^model: “{METHODS[method].title}” needs .*, not 'tiny'",
        ):
            check_needs(method, {}, other, "tiny")


def test_a_parameter_that_asks_too_much_is_refused_by_its_name():
    for name, given, rest in (
        ("control", "canny=storybook/canny", ""),
        ("inject_until", 0.1, 0.0),
    ):
        offers = STABLE_DIFFUSION - {METHODS["videograin"].Params.NEEDS[name]}
        with pytest.raises(
            ModelError,
            match=rf"^params.{name}: 'plain' does not have .*. Remove it or use",
        ):
            check_needs("videograin", {name: given}, offers, "plain")
        check_needs("videograin", {name: rest}, offers, "plain")


def test_control_for_a_loaded_model_that_takes_none_is_refused_before_the_recipe_begins(
    tiny, monkeypatch
):
    monkeypatch.setattr(tiny, "offers", tiny.offers - {"control"})
    events = edit(request("tiny", steps=2, control="canny=storybook/canny"), tiny)
    assert next(events).name == "loading"
    with pytest.raises(
        ModelError, match=r"^params.control: .* does not have control networks"
    ):
        next(events)
