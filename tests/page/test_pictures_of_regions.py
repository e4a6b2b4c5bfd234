"""Pictures of regions in a real Chromium: with an adapter and without, by every way
that one comes."""

import base64
import shutil
from pathlib import Path

import pytest
from accessible import LOOKS, check
from browser import open_card, overflow, serving, wait
from PIL import Image

pytestmark = [pytest.mark.full, pytest.mark.browser]
GIVEN = """(card, [kind, name, text]) => { const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  data.items.add(new File([bytes], name, { type: 'image/png' }));
  const how = { bubbles: true, cancelable: true };
  const event = kind === 'drop' ? new DragEvent(kind, { ...how, dataTransfer: data })
    : new ClipboardEvent(kind, { ...how, clipboardData: data });
  card.querySelector('input').dispatchEvent(event); }"""
LACK = "No picture adapter for this model is here."


@pytest.fixture(scope="module")
def shelved(tmp_path_factory):
    """A page with a made-up editor and a shelf of its own."""
    root = tmp_path_factory.mktemp("pictures")
    yield from serving(root, REGRAIN_MODELS=str(root / "models"))


@pytest.fixture
def own_server(shelved):
    """The page, whose shelf is empty."""
    shutil.rmtree(shelved.folder / "models", ignore_errors=True)
    return shelved


def toy(folder: Path, colour, size=(60, 90)) -> Path:
    """A disc of a colour on white."""
    image = Image.new("RGB", size, "white")
    image.paste(colour, (15, 30, 45, 60))
    image.save(path := folder / f"{colour}.png")
    return path


def give(card, path: Path, kind: str = "drop"):
    card.evaluate(
        GIVEN, [kind, path.name, base64.b64encode(path.read_bytes()).decode()]
    )


def shown(card) -> str:
    image = card.locator(".rg-picture-cut img")
    return image.get_attribute("src") if image.is_visible() else ""


def changed(card, before: str) -> str:
    wait(lambda: shown(card) != before, "another picture is shown")
    return shown(card)


def cut_out(page, card, whole: str):
    """Cut the disc out by a click, and take some of it away; undo brings it back."""
    card.locator(".rg-picture-cut").click()
    dialog = page.locator("dialog.rg-cutout[open]")
    large = dialog.locator(".rg-cutout-picture")
    large.wait_for()
    assert large.bounding_box()["width"] >= 300
    assert not dialog.locator(".rg-cutout-veil").is_visible()
    large.click()
    cut = changed(card, whole)
    dialog.locator(".rg-cutout-veil").wait_for()
    assert dialog.locator(".rg-cutout-point").all_inner_texts() == ["+"]
    check(page, "a picture is cut out")
    dialog.get_by_role("button", name="A click takes away what is there").click()
    box = large.bounding_box()
    large.click(position={"x": 0.1 * box["width"], "y": 0.1 * box["height"]})
    dialog.locator(".rg-cutout-point.rg-minus").wait_for()
    dialog.get_by_role("button", name="Undo click").click()
    wait(lambda: dialog.locator(".rg-cutout-point").count() == 1, "one is left")
    dialog.get_by_role("button", name="Whole picture").click()
    assert changed(card, cut) == whole
    large.press("ArrowLeft")
    large.press("Enter")
    cut = changed(card, whole)
    dialog.get_by_role("button", name="Close").click()
    page.keyboard.press("Control+z")
    assert changed(card, cut) == whole


@pytest.mark.parametrize("look", LOOKS)
def test_a_picture_waits_for_its_adapter_and_comes_every_way(
    own_server, open_page, tmp_path, look
):
    page = open_page(own_server, **LOOKS[look])
    one = page.locator(".rg-card").nth(0)
    two = page.locator(".rg-card").nth(1)
    assert not one.locator(".rg-picture").is_visible()
    red = toy(tmp_path, "red")
    blue = toy(tmp_path, "blue")
    open_card(page, 2)
    two.locator(".rg-details summary").click()  # on a phone nothing can be dropped
    two.get_by_text(LACK).wait_for()
    two.locator(".rg-details summary").click()
    give(one, red)
    one.get_by_text(LACK).wait_for()
    assert not one.get_by_role("button", name="Choose").is_visible()
    assert not two.locator(".rg-picture").is_visible()
    check(page, "a card asks for an adapter")
    adapter = own_server.folder / "models" / "pictures" / "plus.safetensors"
    adapter.parent.mkdir(parents=True)
    adapter.write_bytes(b"")
    page.locator(".rg-method select").select_option("instruct_pix2pix")
    dropped = changed(one, "")  # what was dropped has waited
    assert not one.get_by_text(LACK).is_visible()
    # its usual LoRA would make a pattern of it
    page.wait_for_function("window.regrain.method.name === 'videograin'")
    check(page, "a picture of a region")
    two.locator("input[type=file]").set_input_files(blue)
    changed(two, "")
    cut_out(page, one, dropped)
    one.get_by_role("button", name="Same picture as right disc").click()
    assert changed(one, dropped) == shown(two)
    give(one, red, "paste")
    pasted = changed(one, shown(two))
    assert pasted == dropped
    one.get_by_role("button", name="This frame").click()
    changed(one, pasted)
    before = shown(one)
    (bad := tmp_path / "bad.png").write_bytes(b"not a picture")
    give(one, bad)
    one.get_by_text("is not a readable image").wait_for()
    assert shown(one) == before
    assert overflow(page) <= 0
    one.get_by_title("Remove the picture").click()
    changed(one, before)
