"""How many presses a person needs from a clip to its masks and to its edit, counted by
the page itself in a real Chromium."""

import pytest
from browser import PHONE, plays, wait_for_result, write
from canvas import LEFT, RIGHT, all_loaded, click, spot, until
from fake_app import write_examples

pytestmark = pytest.mark.browser
COUNTED = """window.presses = 0;
addEventListener('pointerdown', (event) => event.isTrusted && window.presses++, true);"""
TRACKED = ".rg-editor[data-tracking=false]"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The clip of an example, as a file of one's own."""
    examples = write_examples(tmp_path_factory.mktemp("examples"))
    return next(examples.glob("01_*/clip.*"))


def presses(page):
    return page.evaluate("window.presses")


def points(page, label, count):
    until(page, lambda s: s["points"][0].get(label) == count, f"{count} on {label}")


def tracked(page):
    until(page, lambda s: all(len(frame) == 2 for frame in s["area"]), "both tracked")
    page.wait_for_selector(TRACKED)


def beside(at):
    """A place on the edge of a disc."""
    return at[0] + 30, at[1]


def test_two_things_with_a_correction_each_take_six_clicks(server, open_page, clip):
    page = open_page(server)
    page.evaluate(COUNTED)
    with page.expect_file_chooser() as chooser:
        page.click(".rg-opener")
        page.click("text=Your own clip")
    chooser.value.set_files(clip)
    page.wait_for_function("window.regrain.clip.own")
    all_loaded(page)
    for label, at in (("1", LEFT), ("2", RIGHT)):
        click(page, at)
        points(page, label, 1)
        click(page, beside(at), button="right")
        points(page, label, 2)
        write(page, f"#rg-prompt-{int(label) - 1}", "a fox")
    page.locator(".rg-canvas-stage canvas").focus()
    page.keyboard.press("t")
    tracked(page)
    assert presses(page) <= 6


def edit(page, press, at):
    """Mask a thing, say what it is and becomes, try it, and run."""
    press(at)
    points(page, "1", 1)
    write(page, "#rg-source-0", "a cat")
    write(page, "#rg-prompt-0", "a fox")
    page.keyboard.press("Enter")
    page.wait_for_selector(".rg-still:has-text('Try')")


def test_a_drawn_clip_is_edited_with_eight_clicks_and_two_texts(
    server, open_page, clip
):
    page = open_page(server)
    page.evaluate(COUNTED)
    with page.expect_file_chooser() as chooser:
        page.click(".rg-opener")
        page.click("text=Your own clip")
    chooser.value.set_files(clip)
    page.wait_for_function("window.regrain.clip.own")
    all_loaded(page)
    edit(page, lambda at: click(page, at), LEFT)
    page.click("#run")
    wait_for_result(page)
    assert plays(page, "edited")
    assert presses(page) <= 8


def test_on_a_phone_twelve_taps_are_enough(server, open_page, clip):
    page = open_page(server, **PHONE)
    page.evaluate(COUNTED)
    with page.expect_file_chooser() as chooser:
        page.tap(".rg-opener")
        page.tap("text=Your own clip")
    chooser.value.set_files(clip)
    page.wait_for_function("window.regrain.clip.own")
    all_loaded(page)
    edit(page, lambda at: page.touchscreen.tap(*spot(page, at)), LEFT)
    page.tap("#run")
    wait_for_result(page)
    assert plays(page, "edited")
    assert presses(page) <= 12
