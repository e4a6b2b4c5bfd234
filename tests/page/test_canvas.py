"""Masks on the page, in a real Chromium: what a new user would do, and what nobody
should be able to do."""

import pytest
from browser import (
    ROOT,
    drag,
    fill_number,
    prompt,
    report,
    unfold,
    wait,
    wait_for_result,
)
from canvas import (
    RIGHT,
    all_loaded,
    click,
    describe,
    mask,
    press_at_picture,
    press_until,
    spot,
    start_empty,
    state,
    until,
)

from regrain.editing import load_project
from regrain.masks.draw import deepest

pytestmark = [pytest.mark.full, pytest.mark.browser]
# not what the built-in model recommends, and long enough for two previews to be seen
STEPS = "6"


def test_what_a_click_would_make_is_shown_at_once(page):
    page.locator(".rg-card-line").nth(1).click()  # takes clicks on its own mask
    with page.expect_request(lambda one: '"preview"' in (one.post_data or "")) as asked:
        page.mouse.move(*spot(page, RIGHT))
    assert "queue" not in asked.value.url  # which looks now and then
    page.wait_for_function("document.querySelector('.rg-editor').editor.preview")


def test_scrubbing_waits_for_nobody(server, open_page):
    # a shared one may just tell the server that it is still there
    page = open_page(server)
    all_loaded(page)
    asked = []
    # Whether the server was restarted is asked now and then.
    page.on("request", lambda one: one.url.endswith("/app_id") or asked.append(one.url))

    def quiet() -> bool:
        asked.clear()
        page.wait_for_timeout(3000)
        return not asked

    wait(quiet, "a page that was just opened asks nothing more")
    page.locator(".rg-ruler").scroll_into_view_if_needed()
    box = page.locator(".rg-ruler").bounding_box()
    drag(
        page,
        (box["x"] + 3, box["y"] + 9),
        (box["x"] + box["width"] - 3, box["y"] + 9),
        steps=20,
    )
    assert state(page)["frame"] == 8
    for key, frame in ((",", 7), ("Home", 1), (".", 2), ("ArrowRight", 3), ("End", 8)):
        press_at_picture(page, key)
        assert state(page)["frame"] == frame
    press_until(page, " ", lambda s: s["frame"] not in (8,), "it plays")
    page.keyboard.press(" ")
    assert asked == []


def test_two_clicks_become_an_edit_on_the_built_in_model(real_server, open_page):
    """Nothing is made up here: the example's frames, the built-in SAM, tracking, the
    built-in model."""
    truth = load_project(
        ROOT / "assets" / "examples" / "01_two_animals"
    ).labels  # exactly the two animals
    size = truth.shape[1]
    page = open_page(real_server)
    start_empty(page)
    for label, words, source in ((1, "a fox", "a cat"), (2, "a panda", "a rabbit")):
        if label > 1:
            press_until(
                page, "n", lambda s, label=label: label in s["labels"], "another region"
            )
        click(page, deepest(truth[0] == label), size)
        until(page, lambda s, n=str(label): s["area"][0].get(n), "SAM answers")
        describe(page, label, words, source)
        page.locator(".rg-canvas-stage canvas").focus()
    page.click(".rg-track")
    until(
        page,
        lambda s: all(len(frame) == 2 for frame in s["area"]),
        "both are tracked",
    )
    page.wait_for_selector(".rg-editor[data-tracking=false]")
    for label in (1, 2):
        for t in (0, 7):
            found = mask(page, t, label, size)
            want = truth[t] == label
            assert (found & want).sum() / (found | want).sum() > 0.6
    assert prompt(page).startswith("1 a fox and 2 a panda")
    unfold(page, "#settings")
    fill_number(page, page.locator("#rg-set-steps"), STEPS)
    # Previews may come and go between two questions: the page itself notes them.
    page.evaluate(
        """() => { window.seen = new Set(); new MutationObserver(() => {
        const img = document.querySelector('.rg-coming img[src]'); if (img) window.seen.add(img.src); })
        .observe(document.body, { subtree: true, childList: true, attributes: true }); }"""
    )
    page.keyboard.press("Control+Enter")
    wait_for_result(page)
    assert page.evaluate("window.seen.size") >= 2
    made = report(page)
    assert made["prompt_used"].startswith("a fox and a panda")
    assert made["metrics"]["outside_psnr"] >= 38
