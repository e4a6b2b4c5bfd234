"""The stage in a real Chromium: how large the picture is, how few tools are in sight,
zoom, words at the thing, and what stays while a run goes on."""

from functools import partial

import pytest
from browser import (
    CONTROLS,
    ENDED,
    PHONE,
    choose_in_menu,
    drag,
    fill_number,
    open_refine,
    press,
    press_run,
    refine,
    run,
    unfold,
    wait,
    wait_for_result,
    write,
)
from canvas import (
    LEFT,
    RIGHT,
    all_loaded,
    click,
    film,
    mask_disc,
    press_at_picture,
    spot,
    start_empty,
    state,
    until,
)

pytestmark = [pytest.mark.full, pytest.mark.browser]
DESK = {"viewport": {"width": 1440, "height": 900}}
PICTURE = """() => { const stage = document.body.dataset.stage;
  const node = document.querySelector(stage === 'edit' ? '.rg-stage' : '.rg-canvas-stage canvas');
  const { top, bottom, height, width } = node.getBoundingClientRect();
  return { top, bottom, height, width }; }"""

NOTICES = """window.Notification = class {
  static permission = 'default';
  static async requestPermission() { window.asked += 1; this.permission = 'granted'; }
  constructor(title, { body }) { window.said.push(body); } };
window.said = []; window.asked = 0;"""
AWAY = "on => Object.defineProperty(document, 'hidden', { configurable: true, get: () => on })"
STEPS = "#rg-set-steps"


def open_own(page, path, width, height):
    has_own = page.evaluate("window.regrain.clip.own")
    page.set_input_files("#upload", path)
    if has_own:
        page.click("text=Open the new one")
    size = f"{width}×{height}"
    page.wait_for_selector(f".rg-facts-line:has-text('{size}')")
    all_loaded(page)


def test_the_picture_is_the_page(server, open_page, tmp_path):
    page = open_page(server, settings=False, **DESK)
    for width, height in ((320, 180), (200, 200), (180, 320)):
        path = film(tmp_path / f"{width}.mp4", width, height)
        open_own(page, path, width, height)
        said = f"a picture of {width} x {height} fills the page"
        wait(lambda: page.evaluate(PICTURE)["height"] >= 560, said)
        seen = page.evaluate(PICTURE)
        assert seen["bottom"] <= 900
        # The timeline is right below it.
        below = page.locator(".rg-ruler").bounding_box()
        assert 0 <= below["y"] - seen["bottom"] < 24
        assert below["y"] + below["height"] <= 900
    # What needs a region is not there yet, nor the words of a whole look.
    assert len(page.evaluate(CONTROLS)) <= 12
    page.mouse.click(*spot(page, (256 * 0.42, 256 * 0.42)))
    until(page, lambda s: s["area"][0].get("1"), "the box is masked")
    page.wait_for_selector(".rg-bubble", state="visible")
    # One of them is the whole frame, until the region has words.
    wait(lambda: len(page.evaluate(CONTROLS)) <= 19, "few controls are in sight")
    # It stays in sight on the longest form.
    page.click(".rg-how")
    page.evaluate("scrollTo(0, 9999)")
    wait(lambda: page.evaluate("scrollY") > 60, "the form is longer than the window")
    seen = page.evaluate(PICTURE)
    assert seen["top"] >= 0
    assert seen["bottom"] <= 900
    page.click(".rg-how")
    write(page, "#rg-prompt-0", "a robot")
    refine(page, "#rg-rest")
    page.click("[aria-expanded=true].rg-card-line")
    run(page)
    # The box that is edited is one of them.
    for stage, most in (("Edit", 20), ("Masks", 21)):
        page.click(f"#tabs >> text={stage}")
        few = partial(lambda most: len(page.evaluate(CONTROLS)) <= most, most)
        wait(few, f"few controls at {stage}")


def has_the_screen_alone(page):
    """Full screen and back, by menu, key and the browser."""
    page.click("#tabs >> text=Masks")
    before = page.evaluate(PICTURE)
    choose_in_menu(page, "Full screen")
    page.wait_for_selector(".rg-right", state="hidden")
    page.wait_for_function("document.fullscreenElement")
    wait(
        lambda: page.evaluate(PICTURE)["height"] >= before["height"],
        "it is as large",
    )
    run_off = "document.documentElement.scrollHeight - innerHeight"
    page.keyboard.press("l")
    page.wait_for_selector(".rg-right", state="visible")
    page.wait_for_function("!document.fullscreenElement")
    page.click("#tabs >> text=Edit")
    page.keyboard.press("l")
    page.wait_for_selector(".rg-right", state="hidden")
    wait(lambda: page.evaluate(run_off) <= 0, "all of it is in sight")
    page.wait_for_function("document.fullscreenElement")
    # The browser leaves it by itself.
    page.evaluate("document.exitFullscreen()")
    page.wait_for_selector(".rg-right", state="visible")
    # A letter that is written stays one.
    page.fill("#rg-source", "")
    page.focus("#rg-source")
    page.keyboard.type("l")
    assert page.input_value("#rg-source") == "l"
    assert page.is_visible(".rg-right")


def test_the_picture_has_the_screen_alone(page):
    has_the_screen_alone(page)


def test_wheel_and_keys_zoom_at_the_pointer_and_clicks_hit_what_is_seen(page):
    start_empty(page)
    x, y = spot(page, LEFT)
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -300)
    wait(lambda: page.evaluate("window.regrain.view.zoom") > 3, "it is magnified")
    # The disc's middle is still below the pointer.
    page.mouse.click(x, y)
    area = until(page, lambda s: s["area"][0].get("1"), "masked")["area"][0]["1"]
    assert abs(area - 42**2 * 3.14159) < 60
    point = page.evaluate("window.regrain.editor.masks[0][1].points[0]")
    assert abs(point[0] - LEFT[0]) < 1.5
    assert abs(point[1] - LEFT[1]) < 1.5
    # Outlines are drawn by the screen's pixels: as thin as before.
    thin = "window.regrain.editor.scale / window.regrain.editor.fitted"
    assert page.evaluate(thin) == pytest.approx(
        page.evaluate("window.regrain.view.zoom")
    )
    page.keyboard.press("Escape")  # out of its words
    page.keyboard.press("0")
    assert page.evaluate("window.regrain.view.zoom") == 1
    page.keyboard.press("+")
    assert page.evaluate("window.regrain.view.zoom") > 1
    page.keyboard.down(" ")
    drag(page, (x, y), (x - 60, y - 40))
    page.keyboard.up(" ")
    assert page.evaluate("window.regrain.view.x") > 0
    assert page.evaluate("window.regrain.editor.playing") == 0  # it was dragged instead
    assert state(page)["points"][0] == {"1": 1}
    page.mouse.dblclick(x + 150, y - 120)
    wait(lambda: page.evaluate("window.regrain.view.zoom") == 1, "fitted again")


def test_words_are_written_at_the_thing_and_tried_in_place(server, page):
    start_empty(page)
    click(page, LEFT)
    page.keyboard.type("a robot")  # while its mask is on its way, and after
    bubble = page.locator(".rg-bubble")
    bubble.wait_for()
    prompt = bubble.locator("[data-key=prompt]")
    line = page.locator(".rg-card-line")
    wait(
        lambda: line.inner_text().split() == ["1", "becomes", "a", "robot"],
        "said without what it is",
    )
    bubble.locator("[data-key=source]").fill("a cat")
    wait(
        lambda: line.inner_text().split() == ["1", "a", "cat", "→", "a", "robot"],
        "named",
    )
    page.focus("[title^=Undo]")
    press(page, "s", "Backspace")  # a letter there goes to the end of the words
    assert prompt.input_value() == "a robot"
    prompt.press("Enter")
    page.wait_for_selector(".rg-still:has-text('Try')")
    assert page.evaluate("document.body.dataset.stage") == "masks"
    page.wait_for_function(ENDED)
    assert page.inner_text(".rg-say").startswith("A quick try: frame 1, 12 steps of")
    assert page.locator(".rg-download").count() == 0  # of a try
    # The next one begins without what was seen of it.
    with server.hold("inverting", 1):
        prompt.press("Enter")
        page.wait_for_selector(".rg-still", state="hidden")
        assert "try" not in page.inner_text(".rg-say")
    page.wait_for_selector(".rg-still:has-text('Try')")
    page.wait_for_function(ENDED)
    # A click on another thing begins the next region, below the first, and says so.
    click(page, RIGHT)
    made = until(page, lambda s: len(s["labels"]) == 2 and not s["waiting"], "the next")
    assert made["labels"] == [1, 2]
    assert made["points"][0] == {"1": 1, "2": 1}
    assert "A new region" in page.inner_text(".rg-say")
    page.wait_for_function("document.activeElement.matches('#rg-prompt-1')")
    page.keyboard.press("Control+z")  # nothing is written there yet
    until(page, lambda s: not s["points"][0].get("2"), "its mask is undone")
    page.keyboard.press("Control+y")
    until(page, lambda s: s["points"][0].get("2"), "and back")
    page.wait_for_selector(".rg-bubble [data-key=prompt]")
    # One more click goes to it while that has no words.
    click(page, (RIGHT[0] + 8, RIGHT[1]))
    until(page, lambda s: s["points"][0].get("2") == 2, "it is added")
    page.keyboard.press("Escape")


def test_a_model_is_loaded_while_words_are_written(server, page):
    before = server.output.read_text().count("loaded ahead: storybook")
    page.fill("#rg-source", "a cat")
    wait(
        lambda: server.output.read_text().count("loaded ahead: storybook") > before,
        "loaded ahead",
    )


def test_the_margin_is_a_handle(page):
    margin = "window.regrain.regions.find((one) => one.label === 1).margin"
    assert page.evaluate(margin) == 0
    x, y = spot(page, (LEFT[0] - 0.5, LEFT[1] - 42))
    drag(page, (x, y), (x, y - 40))
    wait(lambda: page.evaluate(margin) > 8, "it is pulled")
    assert "beyond the mask" in page.inner_text(".rg-say")
    assert not any(state(page)["points"][0].values())  # no click was meant


def test_a_result_stays_until_there_is_another(server, page):
    run(page)
    shown = page.get_attribute("video.edited", "src")
    write(page, "#rg-prompt-0", "a robot")
    with server.hold("inverting", 4):
        press_run(page)
        page.wait_for_selector("text=/step 4 of 12/")
        assert page.get_attribute("video.edited", "src") == shown
        assert page.is_visible(".rg-download")
        assert page.is_hidden(".rg-facts")  # of the edit before
        dim = "getComputedStyle(document.querySelector('video.edited')).opacity"
        wait(lambda: float(page.evaluate(dim)) < 0.6, "it is dimmed")
    wait_for_result(page)
    page.wait_for_selector(f"video.edited:not([src='{shown}'])")
    shown = page.get_attribute("video.edited", "src")
    write(page, "#rg-prompt-0", "a crash")
    press_run(page)
    page.wait_for_selector("[role=alert]")
    assert page.get_attribute("video.edited", "src") == shown
    write(page, "#rg-prompt-0", "a robot")


def test_run_is_off_where_the_model_knows_nothing_of_the_clip(page, tmp_path):
    open_own(page, film(tmp_path / "own.mp4", 128, 96), 128, 96)
    for offered in ("#run", "text=Quick try"):
        page.wait_for_selector(offered, state="hidden")
    press(page, "Control+Enter")
    page.wait_for_function("document.activeElement.textContent === 'Get a model'")
    page.click(".rg-get")
    page.wait_for_selector(".rg-real-model[open] .rg-model-list")
    page.click(".rg-real-model >> text=Close")
    pressed = "document.querySelector('.rg-anyway').click(), document.activeElement.id"
    assert page.evaluate(pressed) == "run"  # what was pressed is gone
    page.wait_for_selector("[role=alert]")  # it is pressed, though nothing is asked
    page.wait_for_selector("#run", state="visible")
    # The offer is back with another clip.
    choose_in_menu(page, "Frames")
    page.wait_for_selector(".rg-trim-track")


def test_an_error_goes_with_its_cause_and_moves_nothing(page):
    width = lambda: page.locator("#model").bounding_box()["width"]  # noqa: E731
    before = width()
    mark = """async () => {
      const { href } = document.querySelector("link[href$='/shared/hub.js']");
      const { markWrong } = await import(href.replace("hub.js", "wrong.js"));
      await markWrong("model", "It is broken.");
    }"""

    def marked():
        page.evaluate(mark)
        return page.is_visible("text=It is broken.")

    wait(marked, "an answer to an earlier look no longer clears it")
    assert width() == before
    assert page.locator("#model ul.options").count() == 0  # its list stays closed
    page.evaluate(
        "document.querySelector('#model input').value = 'another'; window.regrain.tell('look')"
    )
    page.wait_for_selector("text=It is broken.", state="detached")


def test_few_tools_are_in_sight_and_methods_of_no_use_are_grey(real_server, open_page):
    page = open_page(real_server, settings=False, **DESK)
    page.wait_for_selector("video.edited")
    wait(lambda: len(page.evaluate(CONTROLS)) <= 16, "few controls are in sight")
    wait(lambda: page.evaluate(PICTURE)["height"] >= 560, "a large picture")
    page.click(".rg-how")
    option = page.locator(".rg-method option[value=flow_regions]")
    assert option.is_disabled()
    assert (
        option.get_attribute("title")
        == "“Flow with regions” needs the model Wan 2.1 or 2.2."
    )
    say = lambda: page.inner_text(".rg-method-say")  # noqa: E731
    said = {say()}
    for name in ("fatezero", "sdedit"):
        page.select_option(".rg-method select", name)
        page.wait_for_function(f"window.regrain.method.name === '{name}'")
        wait(lambda: say() not in said, "each says something else")
        said.add(say())
    # Methods are found by what changes; each has a picture before and after.
    assert page.locator(".rg-changes > :has(img:nth-child(2))").count() == 5
    for change, name in (("kind", "videograin"), ("colour", "fatezero")):
        page.click(f".rg-changes [data-key={change}]")
        page.wait_for_function(f"window.regrain.method.name === '{name}'")
        page.wait_for_selector(f".rg-changes [data-key={change}][aria-pressed=true]")


def test_refine_holds_the_rest_and_remembers_what_is_used(page):
    open_refine(page)
    parts = page.locator(".rg-refine-part").evaluate_all(
        "all => all.map(n => n.dataset.part)"
    )
    assert {"Mask", "Frames", "Files"} <= {*parts}
    page.click(".rg-mask-tools >> text=Next")
    assert state(page)["frame"] == 2
    assert (
        page.evaluate("JSON.parse(localStorage.getItem('regrain-refine'))[0]")
        == "Frames"
    )
    page.keyboard.press("Escape")


def open_sheet(page, at=LEFT):
    """Tap a thing on a phone; the sheet of its words."""
    page.touchscreen.tap(*spot(page, at))
    page.wait_for_selector(".rg-bubble", state="visible")
    return page.locator(".rg-bubble").bounding_box()


def test_on_a_phone_words_come_from_below_and_run_is_one_line(server, open_page):
    page = open_page(server, settings=False, **PHONE)
    all_loaded(page)
    assert page.is_visible(".rg-head p")
    has_the_screen_alone(page)
    page.fill("#rg-source", "a cat and a dog")
    page.click("#tabs >> text=Masks")
    bar = page.locator(".rg-run").bounding_box()
    assert bar["height"] <= 80
    sheet = open_sheet(page)
    assert sheet["width"] == 390
    assert abs(sheet["y"] + sheet["height"] - 844) < 2
    page.set_viewport_size({"width": 1280, "height": 844})  # turned, or not a phone
    page.wait_for_function(
        "document.querySelector('.rg-bubble').style.cssText.includes('left')"
    )
    page.set_viewport_size(PHONE["viewport"])
    assert page.locator(".rg-bubble").bounding_box() == sheet
    page.locator(".rg-bubble-try").tap()
    page.wait_for_selector(".rg-still:has-text('Try')")
    assert page.is_hidden(".rg-bubble")  # it lay over Run
    assert page.evaluate("document.activeElement.localName") == "canvas"
    page.wait_for_function(ENDED)
    open_sheet(page, RIGHT)
    page.get_by_label("Close (Esc)").tap()
    page.wait_for_selector(".rg-bubble", state="hidden")
    page.evaluate("scrollTo(0, 9999)")
    with server.hold("editing", 6):
        press_run(page)
        page.wait_for_selector("text=/step 6 of 12/")
        wait(lambda: page.evaluate(PICTURE)["top"] >= 0, "the picture is in sight")
    wait_for_result(page)

    # This browser has no keyboard: the part of the page that is seen gets smaller by one.
    page.click("#tabs >> text=Masks")
    page.evaluate("scrollTo(0, 0)")
    open_sheet(page)
    page.evaluate(
        """() => {
            Object.defineProperty(visualViewport, "height", { get: () => innerHeight - 300 });
            visualViewport.dispatchEvent(new Event("resize"));
        }"""
    )
    sheet = page.locator(".rg-bubble").bounding_box()
    assert abs(sheet["y"] + sheet["height"] - 544) < 2


def test_where_there_is_room_source_and_edit_stand_beside_each_other(server, open_page):
    """Where each is as large as one alone; what somebody has chosen stays. Results are
    right below."""
    page = open_page(server, viewport={"width": 2560, "height": 1080})
    run(page)
    shown = (
        "mode => document.querySelector('.rg-player[data-panes]').dataset.mode === mode"
    )
    page.wait_for_function(shown, arg="side")
    panes = page.locator(".rg-pane:visible")
    sizes = [pane.bounding_box() for pane in panes.all()]
    assert len(sizes) == 2
    assert sizes[0]["height"] == sizes[1]["height"] > 800
    page.set_viewport_size(DESK["viewport"])
    page.wait_for_function(shown, arg="wipe")
    alone = page.locator(".rg-bar").bounding_box()
    results = page.locator(".rg-runs").bounding_box()
    assert 0 < results["y"] - alone["y"] - alone["height"] < 24
    page.click("#tabs >> text=Side by side")
    page.reload()
    page.wait_for_selector("#tabs [aria-pressed=true]:has-text('Side by side')")
    # A desktop at twice its size.
    page.set_viewport_size({"width": 720, "height": 450})
    page.click("#tabs >> text=Masks")

    def height_in_sight() -> float:
        seen = page.evaluate(PICTURE)
        return min(seen["bottom"], 450) - seen["top"]

    wait(lambda: height_in_sight() > 240, "a small window shows the picture")


def test_small_things_are_said_and_stay_where_they_are(page):
    start_empty(page)
    mask_disc(page)
    page.mouse.move(0, 0)
    page.keyboard.type("a fox")
    page.wait_for_selector(".rg-say:has-text('“a fox” is open.')")
    change = page.locator(".rg-bubble [data-key=prompt]")
    fits = "node => { node.value = node.placeholder; return node.scrollWidth <= node.clientWidth; }"
    assert change.evaluate(fits)
    # A focus on what is outside of it does not move the picture.
    slip = """stage => { const node = document.createElement('button'); stage.append(node);
      node.style.cssText = 'position: absolute; top: 2000px'; node.focus(); const moved = stage.scrollTop;
      node.remove(); return moved; }"""
    assert page.locator(".rg-canvas-stage").evaluate(slip) == 0
    for count in range(2, 9):
        press_at_picture(page, "n")
        until(page, lambda s, count=count: len(s["labels"]) == count, "another region")
    press_at_picture(page, "n")  # which says that it is of no use
    page.wait_for_selector(".rg-say.rg-alarm:has-text('At most 8 are allowed')")


def test_the_desktop_tells_of_the_end_of_a_long_run_if_one_allows_it(server, page):
    """It is asked for once, by a press of Run that took long the last time."""
    page.evaluate(NOTICES)
    write(page, "#rg-prompt-0", "a robot")
    unfold(page, "#settings")
    fill_number(page, page.locator(STEPS).first, "100")
    page.wait_for_selector("#tries :text('100 steps')")
    run(page)
    assert page.evaluate("asked") == 0
    page.wait_for_selector("#tries :text('Last time here: 51 s.')")
    with server.hold("editing", 6):
        press_run(page)
        assert page.evaluate("asked") == 1
        page.evaluate(AWAY, True)
    wait(lambda: page.evaluate("said"), "the desktop tells")
    assert page.evaluate("said.length === 1 && said[0].startsWith('Done in')")
    wait_for_result(page)
    page.evaluate(AWAY, False)
    page.evaluate("Notification.permission = 'default'")  # as if it had been put off
    write(page, "#rg-prompt-0", "a fox")
    run(page)
    assert page.evaluate("[asked, said.length]") == [1, 1]
