"""The mask tools of the canvas, in a real Chromium: boxes, feathering, inverting, by
hand and by keys."""

import pytest
from browser import open_refine, refine, wait
from canvas import (
    LEFT,
    SIDE,
    click,
    mask,
    paint,
    pixel,
    press_at_picture,
    press_until,
    spot,
    start_empty,
    state,
    until,
)

pytestmark = [pytest.mark.full, pytest.mark.browser]
DISC = 42**2 * 3.14159


def test_a_box_finds_what_it_holds(page):
    start_empty(page)
    press_at_picture(page, "r")
    paint(page, (25, 75), (118, 165))
    area = until(page, lambda s: s["area"][0].get("1"), "what the box holds is masked")[
        "area"
    ][0]["1"]
    assert abs(area - DISC) < 60
    press_until(page, "Control+z", lambda s: not s["area"][0].get("1"), "undone")
    # With Shift the whole rectangle is taken, with Alt it is cut out.
    page.keyboard.down("Shift")
    paint(page, (20, 20), (60, 50))
    page.keyboard.up("Shift")
    full = until(page, lambda s: s["area"][0].get("1"), "the rectangle is masked")[
        "area"
    ][0]["1"]
    assert abs(full - 40 * 30) < 120
    page.keyboard.down("Alt")
    paint(page, (20, 20), (40, 50))
    page.keyboard.up("Alt")
    left = until(page, lambda s: s["area"][0]["1"] < full, "part is cut out")["area"][
        0
    ]["1"]
    assert abs(left - 20 * 30) < 120
    # A press without a drag is nothing.
    rev = state(page)["rev"]
    page.mouse.click(*spot(page, LEFT))
    press_until(
        page,
        "Control+z",
        lambda s: s["area"][0]["1"] == full,
        "the last step was the cut",
    )
    assert state(page)["rev"] == rev + 1
    paint(page, (200, 20), (240, 60))  # around nothing
    page.wait_for_selector(".rg-say.rg-alarm")
    assert "closer around the object" in page.inner_text(".rg-say")


def test_where_a_click_is_doubtful_a_box_is_offered(server, page):
    start_empty(page)
    file = server.folder / "doubt"
    file.touch()
    click(page, LEFT)
    offer = page.locator(".rg-say >> text=Draw a box around it")
    offer.wait_for()
    file.unlink()
    page.mouse.move(*spot(page, (200, 40)))
    page.wait_for_timeout(200)
    assert page.inner_text(".rg-say").startswith("Unsure: ")
    offer.click()
    page.wait_for_selector("[data-tool=box][aria-pressed=true]")
    paint(page, (25, 75), (118, 165))
    until(page, lambda s: s["rev"] > 1 and s["area"][0].get("1"), "the box is masked")
    assert "Unsure" not in page.inner_text(".rg-say")


def test_a_box_is_drawn_by_keys(page):
    start_empty(page)
    page.locator(".rg-canvas-stage canvas").focus()
    press_at_picture(page, "r")

    def move(at):
        where = "[...(e.cursor ?? [e.clip.width / 2, e.clip.height / 2]), 4 / e.scale]"
        x, y, step = page.evaluate(f"(e => {where})(window.regrain.editor)")
        for delta, keys in (
            (at[0] - x, ("ArrowLeft", "ArrowRight")),
            (at[1] - y, ("ArrowUp", "ArrowDown")),
        ):
            for _ in range(round(abs(delta) / step)):
                page.keyboard.press(f"Shift+{keys[delta > 0]}")

    move((24, 74))
    page.keyboard.press("Enter")
    move((118, 166))
    area = press_until(page, "Enter", lambda s: s["area"][0].get("1"), "masked")[
        "area"
    ][0]["1"]
    assert abs(area - DISC) < 60


def test_invert_and_feather_are_steps_that_undo(page):
    before = state(page)["area"]
    turned = press_until(
        page, "i", lambda s: s["area"][0]["1"] != before[0]["1"], "inverted"
    )["area"]
    assert turned[0]["1"] == SIDE**2 - before[0]["1"]
    assert turned[1] == before[1]
    press_until(page, "Control+z", lambda s: s["area"] == before, "undone")
    refine(page, ">> text=All frames", "[data-reshape=invert]")
    until(
        page,
        lambda s: all(
            a["1"] == SIDE**2 - b["1"] for a, b in zip(s["area"], before, strict=True)
        ),
        "",
    )
    press_until(page, "Control+z", lambda s: s["area"] == before, "undone")
    press_at_picture(page, "w")
    until(page, lambda s: s["area"][0]["1"] > before[0]["1"], "grown")
    press_until(page, "Control+z", lambda s: s["area"] == before, "undone")
    press_at_picture(page, "q")
    until(page, lambda s: s["area"][0]["1"] < before[0]["1"], "shrunk")
    press_until(page, "Control+z", lambda s: s["area"] == before, "undone")
    # The wash fades towards the edge, and the region keeps the choice.
    chosen = lambda: page.input_value(".rg-feather select")  # noqa: E731
    edge = (LEFT[0] - 37, LEFT[1])
    page.mouse.move(5, 5)
    strong = pixel(page, edge)
    open_refine(page)
    page.select_option(".rg-feather select", "16")
    page.click(".rg-refine")
    wait(lambda: pixel(page, edge) != strong, "the edge is fainter")
    wait(
        lambda: (
            page.evaluate("document.querySelector('.rg-editor').editor.feathers[1]")
            == 16
        ),
        "kept",
    )
    for key, value in (
        ("g", "32"),
        ("Control+z", "16"),
        ("Control+z", "0"),
        ("Control+Shift+z", "16"),
    ):
        press_at_picture(page, key)
        wait(lambda value=value: chosen() == value, f"{value} after {key}")
    assert mask(page, 0, 1, SIDE).sum() == before[0]["1"], (
        "a feather leaves the mask as it is"
    )
