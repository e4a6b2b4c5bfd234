"""axe finds nothing on the page in any state, and fingers can hit everything; the
editor is made up."""

from io import BytesIO

import pytest
from accessible import AT_REST, FINGER, LOOKS, check
from browser import (
    PHONE,
    PREVIEW,
    choose_in_menu,
    open_card,
    open_refine,
    press_run,
    unfold,
    wait_for_result,
    write,
)
from canvas import LEFT, film, spot
from PIL import Image

pytestmark = [pytest.mark.full, pytest.mark.browser]
BARE = """() => getComputedStyle(document.activeElement).outlineStyle === 'none'
  ? document.activeElement.outerHTML.slice(0, 200) : null"""


def check_queue(page, several: bool):
    """Runs that wait, as many as may and one more or one alone; then none."""
    waiting = ("a fox", "a panda", "a dog", "a green fox", "a green dog")[
        : 5 if several else 1
    ]
    for number, words in enumerate(waiting):
        write(page, "#rg-prompt-0", words)
        press_run(page)
        page.wait_for_selector(f"#queue li >> nth={number}")
    check(page, "a queue")
    if several:
        write(page, "#rg-prompt-0", "a green panda")
        press_run(page)
        page.wait_for_selector("#queue [role=status] >> text=/./")
        check(page, "one too many")
    for number in reversed(range(len(waiting))):
        page.locator("[aria-label^='Remove from the queue']").first.click()
        page.wait_for_selector(f"#queue li >> nth={number}", state="detached")


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(server, open_page, tmp_path, look):
    page = open_page(server, **LOOKS[look])
    check(page, "opened")
    for opener in (".rg-opener", ".rg-clip-menu"):
        page.click(opener)
        page.wait_for_selector(f"{opener}[aria-expanded=true]")
        check(page, f"the menu of {opener}")
        page.keyboard.press("Escape")
    page.click("#tabs >> text=Masks")
    page.mouse.click(*spot(page, LEFT))
    page.wait_for_function(
        "document.querySelector('.rg-editor').editor.pending.length == 0"
    )
    page.wait_for_selector(".rg-bubble", state="visible")
    check(page, "masks, and words at one")
    open_refine(page)
    check(page, "the Refine menu")
    page.click(".rg-refine")
    with server.hold("tracking", 4):
        page.click(".rg-track")
        page.wait_for_selector(".rg-chip:has-text('Tracking frame 4 of 8')")
        check(page, "tracking")
        page.click(".rg-canvas-stage canvas")
        page.wait_for_selector("[data-tracking=false]")
    unfold(page, "#settings")
    page.wait_for_selector("#rg-set-steps")
    for label in (1, 2):
        open_card(page, label)
    for more in page.locator(".rg-card summary").all():
        more.click()
    check(page, "settings")
    write(page, "#rg-prompt-0", "a rabot")
    press_run(page)
    page.wait_for_selector(".rg-wrong")
    check(page, "an error")
    write(page, "#rg-prompt-0", "a robot")
    several = look == "phone"
    if several:
        page.select_option(".rg-method select", "fresco")  # its seed acts
        page.get_by_role("group", name="Variants").get_by_text("2", exact=True).click()
    with server.hold("editing", 6):
        press_run(page)
        page.wait_for_selector(PREVIEW)
        check_queue(page, several)
    page.wait_for_function(
        "n => document.querySelectorAll('.rg-run-picture').length == n", arg=1 + several
    )
    page.wait_for_selector("#run:text-is('Run')")
    wait_for_result(page)
    if several:
        page.click(".rg-figures summary")
        assert "Motion error of the source" in page.inner_text(".rg-figures")
        box = page.get_by_role("button", name="Compare").bounding_box()
        assert box["x"] + box["width"] <= PHONE["viewport"]["width"] - FINGER
    check(page, "a result")
    if several:
        page.set_viewport_size({"width": 320, "height": 700})
        page.click(".rg-history .rg-menu > button")
        check(page, "the menu of a result on the smallest screen")
        page.keyboard.press("Escape")
        page.set_viewport_size(PHONE["viewport"])
    choose_in_menu(page, "Full screen")
    for name in ("Masks", "Edit"):
        page.click(f"#tabs >> text={name}")
        check(page, f"{name} on the full screen")
    page.keyboard.press("l")
    for name in ("Edit", "Side by side"):
        page.click(f"#tabs >> text={name}")
        check(page, name)
    page.set_input_files("#upload", film(tmp_path / "own.mp4", 180, 320))
    page.wait_for_selector(".rg-facts-line:has-text('own.mp4')")
    check(page, "a clip of one's own")


def test_the_ring_of_a_button_in_a_group_is_whole(server, open_page):
    page = open_page(server, **PHONE)
    page.tap("#tabs >> text=Masks")
    page.tap(".rg-canvas-stage canvas")
    undo = page.get_by_role("button", name="Undo")
    page.wait_for_function("document.querySelector('[title^=Undo]').disabled === false")
    page.keyboard.press("Tab")
    undo.focus()
    page.wait_for_function(AT_REST)
    box = undo.bounding_box()
    shown = Image.open(BytesIO(page.screenshot())).convert("RGB")
    x = box["x"]
    y = box["y"]
    right = box["x"] + box["width"]
    below = box["y"] + box["height"]
    middle = (x + right) / 2, (y + below) / 2
    around = [
        (x - 3, middle[1]),
        (right + 2, middle[1]),
        (middle[0], y - 3),
        (middle[0], below + 2),
    ]
    ring = {shown.getpixel((round(left), round(top))) for left, top in around}
    assert len(ring) == 1
    assert ring != {shown.getpixel((round(x - 6), round(y - 6)))}
    # That of the frame lies within it, whose surroundings are cut off.
    canvas = page.locator(".rg-canvas-stage canvas")
    canvas.focus()
    box = canvas.bounding_box()
    shown = Image.open(BytesIO(page.screenshot())).convert("RGB")
    x = round(box["x"])
    y = round(box["y"] + box["height"] / 2)
    assert {shown.getpixel((x + n, y)) for n in range(2)} == ring


def test_every_control_shows_its_focus_in_the_dark_too(server, open_page):
    page = open_page(server, color_scheme="dark")
    assert page.evaluate("document.body.classList.contains('dark')")
    page.locator(".rg-opener").focus()
    bare = []
    for _ in range(12):
        page.keyboard.press("Tab")
        bare.append(page.evaluate(BARE))
    assert bare == [None] * 12
