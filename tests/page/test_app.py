"""The page in a real Chromium, with a made-up editor; at the end with a narrow SDXL and
a narrow Wan."""

import json

import pytest
from browser import (
    ROOT,
    Server,
    choose_model,
    open_card,
    press_run,
    report,
    wait,
    wait_for_result,
)
from diffusers import UNet2DConditionModel
from fake_app import write_examples
from made_models import write_sdxl, write_wan
from made_pictures import write_encoder, write_picture, write_picture_adapter

from regrain.editing.params.registry import METHODS

pytestmark = pytest.mark.browser
# Very little work by each method, and hard edges.
FEW = {name: {"steps": 2, "preview_every": 0, "feather": 0} for name in METHODS}
FEW["vid2vid_zero"]["inner_steps"] = FEW["tune_a_video"]["tune_steps"] = FEW["fresco"][
    "optimise_rounds"
] = 1


# So many videos, all at one time of a loop of a second.
@pytest.fixture(scope="module")
def sdxl_server(tmp_path_factory):
    """The real editor with an SDXL and a Wan on the shelf, which recommend very little
    work."""
    folder = tmp_path_factory.mktemp("sdxl")
    model = write_sdxl(folder / "models" / "narrow")
    config = "unet/config.json"
    (model / config).write_text(
        json.dumps(json.loads((model / config).read_text()) | {"sample_size": 8})
    )
    (model / "defaults.json").write_text(json.dumps(FEW))
    unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet")
    write_picture_adapter(
        write_encoder(model.parent / "pictures") / "ip.safetensors", unet, "plus"
    )
    film = write_wan(model.parent / "film")
    (film / "defaults.json").write_text(json.dumps(FEW))
    transformer = film / "transformer" / "config.json"
    small = json.loads(transformer.read_text()) | {"sample_size": 4}  # latents
    transformer.write_text(json.dumps(small))
    places = {
        "REGRAIN_EXAMPLES": write_examples(folder / "examples"),
        "REGRAIN_MODELS": model.parent,
    }
    server = Server(
        [ROOT / "app.py"],
        folder,
        **{name: str(place) for name, place in places.items()},
    )
    yield server
    server.stop()


def reported(page, model, method):
    """The report of a run with a model and a method, outside of which not a bit
    differs."""
    found = report(page)
    assert (found["request"]["model"], found["request"]["method"]) == (model, method)
    assert found["metrics"]["outside_psnr"] == 100
    return found


@pytest.mark.full
def test_a_chosen_sdxl_binds_two_regions_and_a_video_model_too(
    sdxl_server, open_page, tmp_path
):
    page = open_page(sdxl_server)
    card = page.locator(".rg-card").first
    open_card(page, 1)
    card.locator("input[type=file]").set_input_files(
        write_picture(tmp_path / "toy.png", size=(60, 90))
    )
    card.locator(".rg-picture img").wait_for()
    choose_model(page, "narrow")
    page.wait_for_selector("text=/8 frames, 2 steps.*about [0-9.]+ GB of memory/")
    press_run(page)
    wait_for_result(page)
    found = reported(page, "narrow", "videograin")
    assert [(one["region"], one["scale"]) for one in found["pictures"]] == [
        ("left disc", 0.6)
    ]
    edited = found["metrics"]["inside_psnr_by_region"]
    assert edited.keys() == {"left disc", "right disc"}
    assert max(edited.values()) < 60
    flow = page.locator(".rg-method option[value=flow_regions]")
    assert flow.is_disabled()
    card.get_by_title("Remove the picture").click()  # such a model cannot look at it
    card.locator(".rg-picture img").wait_for(state="hidden")
    choose_model(page, "film")
    wait(lambda: not flow.is_disabled(), "the video model can be used with it")
    page.wait_for_function("window.regrain.method.name === 'flow_regions'")
    press_run(page)
    wait_for_result(page)
    found = reported(page, "film", "flow_regions")
    assert "repeated once for film" in " ".join(found["warnings"])
