"""The box that is edited, on the picture, in a real Chromium: chosen, dragged by mouse,
finger and keys, and kept."""

from fractions import Fraction

import numpy as np
import pytest
from browser import (
    CONTROLS,
    PHONE,
    drag,
    open_refine,
    overflow,
    project_of,
    refine,
    wait,
    write,
)
from canvas import all_loaded, state, until

from regrain.editing.media.writing import write_video

pytestmark = [pytest.mark.full, pytest.mark.browser]
WIDTH = 320
HEIGHT = 240
THING = 120, 90, 40, 36  # left, top, width, height
# Where the boxes are drawn, in pixels of the clip: left, top, width, height.
OUTLINES = """() => {
  const { view, clip, editor } = window.regrain;
  const { left, top } = document.querySelector('.rg-canvas-stage canvas').getBoundingClientRect();
  return [...document.querySelectorAll('.rg-box:not([hidden])')].map((node) => {
    const box = node.getBoundingClientRect();
    const x = (box.left - left) / editor.scale + view.x * clip.width;
    const y = (box.top - top) / editor.scale + view.y * clip.height;
    return [x, y, box.width / editor.scale, box.height / editor.scale].map(Math.round); }); }"""


def film(path, frames=6):
    """A red thing that rests on noise."""
    noise = np.random.default_rng(0).integers(90, 110, (1, HEIGHT, WIDTH, 3))
    pictures = noise.astype(np.uint8).repeat(frames, 0)
    left, top, width, height = THING
    pictures[:, top : top + height, left : left + width] = (220, 40, 40)
    write_video(path, pictures, Fraction(8))
    return path


def open_thing(page, folder):
    """A clip of one's own with a small thing, which is masked and becomes another."""
    page.set_input_files("#upload", film(folder / "thing.mp4"))
    page.wait_for_selector(f".rg-facts-line:has-text('{WIDTH}×{HEIGHT}')")
    all_loaded(page)
    stage = page.locator(".rg-canvas-stage canvas").bounding_box()
    at = (THING[0] + THING[2] / 2) / WIDTH, (THING[1] + THING[3] / 2) / HEIGHT
    page.mouse.click(
        stage["x"] + at[0] * stage["width"], stage["y"] + at[1] * stage["height"]
    )
    until(page, lambda s: s["area"][0].get("1"), "the thing is masked")
    write(page, "#rg-prompt-0", "a fox")


def is_chosen(page, how):
    button = f"[data-part=Focus] [data-key={how}][aria-pressed=true]"
    return page.locator(button).count() == 1


def chosen(page, how):
    """Wait until this is chosen."""
    wait(lambda: is_chosen(page, how), f"it is {how}")


def choose(page, how):
    refine(page, f"[data-part=Focus] [data-key={how}]")
    chosen(page, how)


def says(page, text):
    """Wait until the words below the choices say so."""
    words = page.locator("[data-part=Focus] p", has_text=text)
    wait(lambda: words.count() == 1, f"it says “{text}”")


def boxes_when(page, test, what):
    """The boxes that are drawn, once they are as they should be."""
    boxes = []

    def are_so():
        boxes[:] = page.evaluate(OUTLINES)
        return test(boxes)

    wait(are_so, what)
    return boxes


def boxes_are(page, count, what):
    """Wait until so many boxes are drawn."""
    boxes_when(page, lambda boxes: len(boxes) == count, what)


def box_when(page, test, what):
    """The one box that is drawn, once it is as it should be."""
    return boxes_when(page, lambda boxes: len(boxes) == 1 and test(boxes[0]), what)[0]


def settled(page, place, off=2):
    """The box, once the server has found it at a place."""
    page.wait_for_selector(".rg-moved", state="detached")
    return box_when(page, lambda box: is_near(box, place, off), f"it is at {place}")


def is_near(box, other, off=2):
    return np.abs(np.subtract(box, other)).max() <= off


def edge(page, box, where):
    """A place of the screen on the outline of a box."""
    scale = page.evaluate("window.regrain.editor.scale")
    stage = page.locator(".rg-canvas-stage canvas").bounding_box()
    left, top, width, height = box
    x, y = {"left": (left, top + height / 2), "se": (left + width, top + height)}[where]
    return stage["x"] + x * scale, stage["y"] + y * scale


def test_a_box_is_found_dragged_and_saved(server, open_page, tmp_path):
    page = open_page(server, settings=False)
    open_thing(page, tmp_path)
    box_when(page, lambda _: True, "clips of one's own begin with Auto")
    chosen(page, "auto")
    choose(page, "on")
    found = box_when(page, lambda _: True, "a box is found")
    left, top, width, height = THING
    assert found[0] <= left - 32
    assert found[1] <= top - 32
    assert found[0] + found[2] >= left + width + 32
    assert found[1] + found[3] >= top + height + 32
    assert found[2] < WIDTH / 2
    gain = HEIGHT / min(found[2:])
    page.wait_for_selector(
        f".rg-box-grip:text-is('Focus {gain:.1f}×')", state="attached"
    )
    says(page, f"{gain:.1f}× larger")
    # Few controls are in sight while words are typed; then those of the box are.
    assert len(page.evaluate(CONTROLS)) <= 20, page.evaluate(CONTROLS)
    assert page.is_hidden(".rg-box-grip")
    page.press("#rg-prompt-0", "Escape")  # the words go back to their card
    page.wait_for_selector(".rg-box-grip", state="visible")
    assert len(page.evaluate(CONTROLS)) <= 20, page.evaluate(CONTROLS)
    assert project_of(page, tmp_path)["focus"] == "on"

    # By its edge it is moved, by its corner it changes its size.
    x, y = edge(page, found, "left")
    scale = page.evaluate("window.regrain.editor.scale")
    drag(page, (x, y), (x + 30 * scale, y - 20 * scale))
    moved = [found[0] + 30, found[1] - 20, *found[2:]]
    box_when(page, lambda box: is_near(box, moved, 1), "it is moved")
    settled(page, moved, 1)
    wait(lambda: not is_chosen(page, "on"), "its choice is its place")
    x, y = edge(page, moved, "se")
    drag(page, (x, y), (x + 25 * scale, y + 10 * scale))
    larger = [*moved[:2], moved[2] + 25, moved[3] + 10]
    box_when(page, lambda box: is_near(box, larger, 1), "it is larger")
    settled(page, larger, 1)

    # By keys: those that go through the clip elsewhere.
    page.focus(".rg-box-grip")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    by_keys = [larger[0] + 4, larger[1] + 2, larger[2] + 2, larger[3]]
    box_when(page, lambda box: is_near(box, by_keys, 1), "it went with the keys")
    kept = settled(page, by_keys, 1)
    assert state(page)["frame"] == 1

    # What was dragged is saved, and still there after a reload.
    x, y, width, height = kept
    path = project_of(page, tmp_path)["focus"]
    size, *place = path.split("+")
    written = [int(n) for n in (*place, *size.split("x"))]
    assert is_near(written, kept, 1)
    page.reload()
    page.wait_for_function("window.regrain?.restored")
    box_when(page, lambda box: is_near(box, written, 1), "it came back")
    says(page, "Auto finds it anew")

    # Auto and Off stand beside it while it is held or pointed at.
    assert page.locator(".rg-box-head button:visible").count() == 1
    page.hover(".rg-box-grip")
    page.click(".rg-box-head >> text=Auto")
    box_when(page, lambda box: is_near(box, found), "it is found anew")
    page.hover(".rg-box-grip")
    page.click(".rg-box-head >> text=Off")
    boxes_are(page, 0, "the box is gone")
    chosen(page, "off")
    assert project_of(page, tmp_path)["focus"] == "off"


def test_a_finger_drags_the_box_on_a_phone(server, open_page, tmp_path):
    page = open_page(server, **PHONE)
    open_thing(page, tmp_path)
    choose(page, "on")
    found = box_when(page, lambda _: True, "a box is found")
    page.evaluate("document.querySelector('.rg-canvas-stage').scrollIntoView()")
    assert overflow(page) <= 0
    scale = page.evaluate("window.regrain.editor.scale")
    x, y = edge(page, found, "se")
    assert page.locator(".rg-box-corner").first.bounding_box()["width"] >= 44
    finger = page.context.new_cdp_session(page)
    kinds = ("touchStart", 0), ("touchMove", 12), ("touchMove", 30), ("touchEnd", None)
    for kind, by in kinds:
        at = [] if by is None else [{"x": x + by * scale, "y": y + by * scale}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
    larger = [*found[:2], found[2] + 30, found[3] + 30]
    box_when(page, lambda box: is_near(box, larger), "it is larger")
    settled(page, larger)
    open_refine(page)
    sizes = page.locator("[data-part=Focus] button").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 24, sizes
