"""Models on one's own machine: those to fetch, a path or an id, what one predicts, and a
file that is dropped."""

import shutil

import pytest
from accessible import LOOKS, check
from browser import (
    drop,
    run,
    serving,
    unfold,
    wait,
    write,
)
from safetensors.torch import save_file
from torch import zeros

pytestmark = [pytest.mark.full, pytest.mark.browser]
NAMES = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "first_stage_model.encoder.conv_in.weight",
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A page with a folder of models, and no way to the hub."""
    folder = tmp_path_factory.mktemp("served")
    own = {"REGRAIN_MODELS": str(folder / "models")}
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
    # A key pressed twice fetches nothing.
    assert page.evaluate("document.activeElement.localName") == "h2"
    dialog.get_by_text("Others", exact=True).click()
    about = dialog.get_by_role("row", name="LCM Dreamshaper").inner_text()
    for fact in ("SimianLuo/", "Edits in 4 steps", "4.3 GB", "at least 3.4 GB", "mit"):
        assert fact in about
    assert dialog.get_by_role("button", name="Fetch").count() == 7
    check(page, "Get a model")
    dialog.get_by_role("button", name="Fetch LCM Dreamshaper").click()
    dialog.get_by_text("the hub cannot be reached").wait_for()

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


def test_a_lora_that_is_dropped_on_the_page_is_used(own, page, tmp_path):
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


def test_the_model_field_takes_a_path_and_an_id(own, page, tiny_folder):
    unfold(page, "#settings")
    field = page.locator("#model input")
    field.fill(str(tiny_folder))
    field.press("Enter")
    page.wait_for_selector("#words", state="hidden")  # what the built-in one knows
    field.fill("owner/other")
    field.press("Enter")
    dialog = page.locator("dialog.rg-real-model[open]")
    dialog.get_by_text("'owner/other' is not on this machine yet.").wait_for()
    dialog.get_by_role("button", name="Fetch owner/other").click()
    dialog.get_by_text("the hub cannot be reached").wait_for()
    assert field.input_value() == "owner/other"
