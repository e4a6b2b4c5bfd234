"""The page in a real Chromium, with a made-up editor; at the end with a narrow SDXL and
a narrow Wan."""

import json

import pytest
from browser import (
    PREVIEW,
    ROOT,
    Server,
    choose_model,
    open_card,
    plays,
    press_run,
    report,
    run,
    wait,
    wait_for_result,
    write,
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
COPIES = """(() => { const { src } = document.querySelector('.rg-coming img');
  return [...document.images].filter((image) => image.src === src).length; })()"""
IN_STEP = """(count) => { const times = [...document.querySelectorAll('video')].map(v => v.currentTime);
  const apart = times.map(t => Math.abs(t - times[0])).map(d => Math.min(d, Math.abs(1 - d)));
  return times.length == count && Math.max(...apart) < 0.06; }"""


def test_run_shows_what_happens_and_then_the_result(server, page):
    write(page, "#rg-prompt-0", "a robot")
    with server.hold("editing", 6):
        with server.hold("inverting", 6):
            page.keyboard.press("Control+Enter")
            page.wait_for_selector(".rg-coming-said:text-is('The clip turns to noise')")
            assert page.get_attribute(PREVIEW, "src").startswith("data:image/jpeg")
            assert page.locator(".rg-strip").count() == 0
        # Expected frames on the stage, and there alone; a heat map per region.
        page.wait_for_function("document.querySelectorAll('.rg-strip').length == 2")
        assert page.locator(".rg-strip").first.locator("img").count() == 8
        page.wait_for_selector(".rg-coming-said:text-is('Preview')")
        assert page.evaluate(COPIES) == 1
        assert "Attention on “a robot”" in page.inner_text(".rg-live")
        page.wait_for_selector("text=/step 6 of 12, about 2 s of editing left/")
    wait_for_result(page)
    assert page.locator(".rg-live").count() == 0
    page.wait_for_function(IN_STEP, arg=2)
    assert "Unchanged outside" in page.inner_text(".rg-facts")
    assert page.locator(".rg-inspector-names button").count() == 2
    page.click("#tabs >> text=Side by side")
    page.click(".rg-bar >> text=Reconstruction")
    wait(lambda: plays(page, "reconstruction"), "the reconstruction plays")
    wait(lambda: plays(page, "source"), "the source plays")
    page.click("#tabs >> text=Wipe")
    wipe = page.locator(".rg-stage").bounding_box()
    cut = "parseFloat(document.querySelector('.rg-stage').style.getPropertyValue('--cut'))"
    page.mouse.move(
        wipe["x"] + page.evaluate(cut) / 100 * wipe["width"], wipe["y"] + 20
    )
    page.mouse.down()
    page.mouse.move(wipe["x"] + 0.8 * wipe["width"], wipe["y"] + 20)
    page.mouse.up()
    page.wait_for_function(f"{cut} > 70")
    page.click("#tabs >> text=Masks")  # where nobody sees the videos
    assert page.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
    page.click("#tabs >> text=Edit")  # as it was looked at
    page.click("#tabs >> text=Edit")
    wait(lambda: plays(page, "edited"), "the edit plays again")
    page.locator(".rg-stage").scroll_into_view_if_needed()
    wipe = page.locator(".rg-stage").bounding_box()
    page.mouse.move(wipe["x"] + 50, wipe["y"] + 50)
    page.mouse.down()
    page.wait_for_selector(".rg-edited", state="hidden")
    page.mouse.up()
    page.wait_for_selector(".rg-edited", state="visible")


@pytest.mark.full
def test_several_edits_of_the_whole_frame_side_by_side(page):
    page.select_option(".rg-method select", "fatezero")
    page.wait_for_selector("#rg-whole", state="visible")
    used = page.locator(".rg-uses li").all_inner_texts()
    assert used == ["regions", "clip description", "several prompts", "seed"]
    lines = ["a panda in the snow", "a fox <img src=x onerror=alert(1)>", "a robot"]
    page.get_by_label("It should show").fill("\n".join(lines))
    page.wait_for_function("document.querySelectorAll('.rg-prompt').length == 3")
    run(page)
    page.wait_for_selector(".rg-before >> text=Last time here: 3 s.")
    page.click("#tabs >> text=Side by side")
    captions = ".rg-pane:not([hidden]) figcaption"
    asked = [line if "panda" in line else line + ", a panda" for line in lines]
    asked = [line + ", a fox" if "fox" not in line else line for line in asked]
    assert page.locator(captions).all_inner_texts() == ["Source", *asked]
    assert page.locator("figcaption img").count() == 0
    page.wait_for_function(IN_STEP, arg=4)
    names = page.eval_on_selector_all(
        ".rg-downloads a", "all => all.map(a => a.dataset.file)"
    )
    assert names[:3] == ["edited.mp4", "edited_2.mp4", "edited_3.mp4"]
    # Two of them at a time.
    page.click("#tabs >> text=Wipe")
    assert page.locator(captions).all_inner_texts() == ["Source", asked[0]]
    page.get_by_label("Edit 3: a robot").click()
    assert page.locator(captions).all_inner_texts() == ["Source", asked[2]]
    page.click(".rg-bar >> text=Reconstruction")
    assert page.locator(captions).all_inner_texts() == ["Reconstruction", asked[2]]
    page.click("#tabs >> text=Side by side")
    assert page.locator(captions).all_inner_texts() == [
        "Source",
        "Reconstruction",
        *asked,
    ]
    # Words of source and edit, and the area at the steps, follow the player.
    page.click(".rg-figures summary")
    words = page.get_by_role("list", name="Source").locator("li")
    assert words.all_inner_texts() == [
        "a",
        "cat",
        "and",
        "dog",
        "walk",
        "on",
        "the",
        "grass",
    ]
    assert page.get_by_role("list", name="Edit").locator("li").first.inner_text() == "a"
    assert page.get_by_text("step 12").count() == 1
    page.locator(".rg-seek").fill(
        "1"
    )  # while it plays it may show the last frame's picture by chance
    before = words.first.locator("img").get_attribute("src")
    page.locator(".rg-seek").fill("8")
    page.wait_for_function(
        "src => document.querySelector('.rg-words-row img').src != src", arg=before
    )


@pytest.fixture(scope="module")
def sdxl_server(tmp_path_factory):
    """The real editor with an SDXL and a Wan on the shelf, which recommend very little
    work."""
    folder = tmp_path_factory.mktemp("sdxl")
    model = write_sdxl(folder / "models" / "narrow")
    config = "unet/config.json"
    (model / config).write_text(
        json.dumps(json.loads((model / config).read_text()) | {"sample_size": 16})
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
