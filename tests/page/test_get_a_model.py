"""The dialog that gets a model on one's own machine: what each would take here, where
models lie, what one predicts, and a file that is dropped."""

import re
import shutil

import pytest
from accessible import LOOKS, check
from browser import (
    choose_model,
    drop,
    project_of,
    run,
    serving,
    unfold,
    wait,
    write,
)
from safetensors.torch import save_file
from torch import zeros

pytestmark = [pytest.mark.full, pytest.mark.browser]
SHAPES = re.compile("Stable Diffusion 1.5|Wan 2.1 VACE, 1.3B")  # as memory allows
NAMES = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "first_stage_model.encoder.conv_in.weight",
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A page with a folder of models, and no way to the hub."""
    folder = tmp_path_factory.mktemp("served")
    own = {"REGRAIN_MODELS": str(folder / "models"), "REGRAIN_TEST_OFFLINE": "1"}
    yield from serving(folder, GRADIO_SERVER_NAME="127.0.0.1", **own)


@pytest.fixture
def own(server):
    """The page, whose folder of models is empty."""
    shutil.rmtree(server.folder / "models", ignore_errors=True)
    return server


@pytest.mark.parametrize("look", LOOKS)
def test_a_model_is_got_by_hand(own, open_page, tmp_path, look):
    page = open_page(own, settings=False, **LOOKS[look])
    # The way to it needs no open fold.
    assert page.locator("#how-body").is_hidden()
    page.evaluate("window.regrain.tell('models')")  # as the button in place of Run does
    page.locator("dialog.rg-real-model").wait_for()
    page.click("dialog.rg-real-model >> text=Close")
    page.click(".rg-how")
    write(page, "#rg-prompt-0", "a robot")
    run(page)
    unfold(page, "#settings")
    page.get_by_text("Get a model").first.click()
    dialog = page.locator("dialog.rg-real-model[open]")
    best = dialog.locator(".rg-offers > .rg-offer")
    facts = r"Licence\s+mit.*4.3 GB.*[\d.]+ GB; [\d.]+ GB are free here"
    best.get_by_text("hf download SimianLuo/LCM_Dreamshaper_v7").wait_for()
    assert re.search(facts, best.inner_text(), re.DOTALL)
    assert dialog.get_by_role("button", name="Fetch").count() == 0  # nothing answers
    dialog.get_by_text("New shape").click()
    said = dialog.locator(".rg-offers > :not(details)", has_text=SHAPES)
    said.first.wait_for()
    assert str(own.folder / "models") in dialog.inner_text()
    check(page, "Get a model")

    choose = dialog.locator("input[type=file]")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"broken")
    choose.set_input_files(broken)
    dialog.get_by_text("'broken.safetensors' is damaged").wait_for()
    check(page, "a file that is no model")
    mine = tmp_path / "mine.safetensors"
    save_file({name: zeros(2) for name in NAMES}, mine)
    choose.set_input_files(mine)
    wait(
        lambda: page.input_value("#model input") == "mine.safetensors",
        "it is chosen",
    )
    dialog.wait_for(state="detached")
    assert [one.name for one in (own.folder / "models").iterdir()] == [mine.name]


def test_a_file_that_does_not_say_what_it_predicts_is_asked_for(
    own, open_page, tmp_path
):
    models = own.folder / "models"
    models.mkdir()
    for name, mark in (("silent", "a"), ("saying", "v_pred")):
        save_file({mark: zeros(1)}, models / f"{name}.safetensors")
    page = open_page(own)
    unfold(page, "#settings")
    choice = page.locator("#prediction")

    def kept():
        return project_of(page, tmp_path).get("prediction")

    assert not choice.is_visible()
    choose_model(page, "silent")
    choice.wait_for()
    choice.locator("input").click()
    page.get_by_role("option", name="Velocity (v)").click()
    wait(lambda: kept() == "v_prediction", "it is kept")
    choose_model(page, "saying")
    choice.wait_for(state="hidden")
    wait(lambda: kept() is None, "it is gone")


def test_a_lora_or_a_sam_that_is_dropped_on_the_page_is_used(own, page, tmp_path):
    lora = tmp_path / "ink.safetensors"
    save_file({"unet.x.lora_A.weight": zeros(2, 2)}, lora)
    drop(page, lora)
    page.locator(".rg-say", has_text="loras/ink: Added.").wait_for()
    page.locator("dialog.rg-real-model[open]").wait_for(state="detached")
    unfold(page, "#settings")
    page.locator(".rg-addon-title", has_text="loras/ink").wait_for()
    assert (own.folder / "models" / "loras" / "ink.safetensors").is_file()

    refused = tmp_path / "sam.pth"
    refused.write_bytes(b"any")
    drop(page, refused)
    said = "“sam.pth” may run code. Drop the same weights as .safetensors."
    page.get_by_text(said).wait_for()
    encoder = "vision_encoder.backbone"
    tensors = {f"{encoder}.blocks.{i}.bias": zeros(1) for i in range(12)}
    tensors[f"{encoder}.patch_embed.projection.weight"] = zeros(96, 1)
    sam = tmp_path / "my-sam.safetensors"
    save_file(tensors, sam)
    drop(page, sam)
    page.locator(".rg-say", has_text="my-sam: It masks from now on.").wait_for()
    chosen = "window.regrain.editor.who.choices.map(({ name }) => name)"
    wait(lambda: "my-sam" in page.evaluate(chosen), "the page knows it")


def test_a_path_is_looked_up_on_this_machine_and_not_on_the_hub(
    page, tiny_folder, tmp_path
):
    unfold(page, "#settings")
    box = page.locator("#model .container .wrap")
    box.scroll_into_view_if_needed()
    for across, down in ((0.02, 0.1), (0.8, 0.9)):  # all of the box opens it
        place = box.bounding_box()
        x, y = (
            place["x"] + across * place["width"],
            place["y"] + down * place["height"],
        )
        page.mouse.click(x, y)
        page.locator("[role=option]").first.wait_for()
        page.keyboard.press("Escape")
        page.locator("[role=option]").first.wait_for(state="detached")
        page.locator("#model input").blur()
    page.get_by_text("Get a model").first.click()
    dialog = page.locator("dialog.rg-real-model[open]")
    field = dialog.get_by_label("Models of the hub")
    field.fill(str(tmp_path))
    field.press("Enter")
    dialog.get_by_text("No model is at that path").wait_for()
    page.wait_for_timeout(1500)  # the hub, asked at the opening, has not answered
    assert dialog.get_by_text("No model is at that path").is_visible()
    field.fill(str(tiny_folder))
    field.press("Enter")
    dialog.get_by_label(f"Use {tiny_folder}").wait_for()
    assert dialog.locator(".rg-offer").count() == 6  # the published ones stay
    dialog.get_by_label(f"Use {tiny_folder}").click()
    wait(lambda: page.input_value("#model input") == str(tiny_folder), "it is chosen")
