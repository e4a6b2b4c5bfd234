"""How many presses a person needs from a clip to its masks and to its edit, counted by
the page itself in a real Chromium."""

from pathlib import Path

import pytest
from browser import PHONE, wait_for_result
from canvas import all_loaded, click, describe, spot, until

pytestmark = pytest.mark.browser
COUNTED = """window.presses = 0;
addEventListener('pointerdown', (event) => event.isTrusted && window.presses++, true);"""
EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
CLIP = EXAMPLES / "01_two_animals" / "clip.mp4"  # drawn, as the built-in model's world
SIZE = 128
RABBIT = 36, 88
CAT = 96, 90
TRIED = ".rg-still:has-text('Try')"


@pytest.fixture
def counted(server, open_page):
    """Open a page whose presses are counted, and a clip of one's own in it."""

    def open_clip(press, **options):
        page = open_page(server, **options)
        page.evaluate(COUNTED)
        with page.expect_file_chooser() as chooser:
            press(page.locator(".rg-opener"))
            press(page.locator("text=Your own clip"))
        chooser.value.set_files(CLIP)
        page.wait_for_function("window.regrain.clip.own")
        all_loaded(page)
        return page

    return open_clip


def presses(page):
    return page.evaluate("window.presses")


def points(page, label, count):
    until(page, lambda s: s["points"][0].get(label) == count, f"{count} on {label}")


def test_two_things_with_a_correction_each_are_masked_and_edited(counted):
    page = counted(lambda button: button.click())
    for label, at in (("1", RABBIT), ("2", CAT)):
        click(page, at, SIZE)
        points(page, label, 1)
        click(page, (at[0] + 8, at[1]), SIZE, button="right")
        points(page, label, 2)
        describe(page, label, "a fox", "a cat")
    page.keyboard.press("Enter")
    page.wait_for_selector(TRIED)
    page.click(".rg-track")
    until(page, lambda s: all(len(frame) == 2 for frame in s["area"]), "both tracked")
    page.wait_for_selector(".rg-editor[data-tracking=false]")
    assert presses(page) <= 7
    page.click("#run")
    wait_for_result(page)
    assert presses(page) <= 8


def test_a_thing_is_clicked_named_and_tried_while_its_mask_is_still_found(
    counted, server
):
    page = counted(lambda button: button.click())
    slow = server.folder / "slow"
    slow.touch()
    page.mouse.click(*spot(page, RABBIT, SIZE))
    page.keyboard.type("a fox")
    page.keyboard.press("Enter")
    assert not page.query_selector(TRIED)
    slow.unlink()
    page.wait_for_selector(TRIED)
    points(page, "1", 1)


def test_on_a_phone_a_thing_is_edited_with_few_taps(counted):
    page = counted(lambda button: button.tap(), **PHONE)
    page.touchscreen.tap(*spot(page, RABBIT, SIZE))
    points(page, "1", 1)
    describe(page, "1", "a fox", "a cat")
    page.locator(".rg-bubble-try").tap()
    page.wait_for_selector(TRIED)
    page.tap("#run")
    wait_for_result(page)
    assert presses(page) <= 12
