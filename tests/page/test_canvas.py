"""Masks on the page, in a real Chromium: what a new user would do, and what nobody
should be able to do."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from browser import (
    PHONE,
    ROOT,
    choose_in_menu,
    drag,
    fill_number,
    fill_until,
    open_card,
    open_example,
    open_refine,
    overflow,
    plays,
    press,
    press_run,
    prompt,
    refine,
    report,
    run,
    saved,
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
    describe,
    mask,
    mask_disc,
    noise,
    paint,
    pixel,
    press_at_picture,
    press_until,
    spot,
    start_empty,
    state,
    until,
    write_film,
)

from regrain.editing import load_project
from regrain.editing.media.writing import write_video
from regrain.masks.draw import deepest

pytestmark = [pytest.mark.full, pytest.mark.browser]
# not what the built-in model recommends, and long enough for two previews to be seen
STEPS = "6"


def test_what_a_new_user_does(server, page, open_page):
    other = open_page(server)
    start_empty(page)
    assert abs(mask_disc(page) - 42**2 * 3.14159) < 60
    press_until(page, "n", lambda s: len(s["labels"]) == 2, "a second region")
    click(page, RIGHT)
    until(page, lambda s: s["area"][0].get("2"), "the right disc is masked")
    for label, words, source in ((1, "a robot", "a cat"), (2, "a fox", "a dog")):
        describe(page, label, words, source)
    wait(
        lambda: prompt(page) == "1 a robot and 2 a fox walk on the grass",
        "the words are composed",
    )
    page.locator(".rg-canvas-stage canvas").focus()
    with server.hold("tracking", 4):
        page.click(".rg-track")
        seen = until(
            page,
            lambda s: sum("2" in frame for frame in s["area"]) == 4,
            "masks arrive one by one",
        )
    tracked = until(
        page, lambda s: all(len(frame) == 2 for frame in s["area"]), "both are tracked"
    )
    assert tracked["rev"] > seen["rev"]
    page.wait_for_selector(".rg-editor[data-tracking=false]")
    assert tracked["score"][7] < 0.5
    doubtful = page.locator(".rg-lane[data-label='1'] .rg-is-doubtful")
    wait(lambda: doubtful.count() == 3, "three frames are doubtful")
    # The other page has the example as it came.
    untouched = state(other)
    assert (untouched["rev"], untouched["labels"]) == (0, [1, 2])
    click(other, LEFT)
    assert until(other, lambda s: s["points"][0].get("1"), "its own point")["rev"] == 1
    assert other.input_value("#rg-prompt-0") == "a panda"


def test_ten_fast_clicks_are_ten_points(page):
    start_empty(page)
    for number in range(10):
        click(page, (40 + 7 * number, 110 + 10 * (number % 3)))
    until(
        page, lambda s: s["points"][0].get("1") == 10 and not s["waiting"], "ten points"
    )
    click(page, (40, 110))
    until(
        page, lambda s: s["points"][0].get("1") == 9, "a click on a point takes it back"
    )
    press_until(page, "Control+z", lambda s: s["points"][0].get("1") == 10, "undone")


def test_a_click_right_after_a_new_region_was_wanted_is_its_own(page):
    before = state(page)
    page.evaluate("document.body.focus()")
    press_at_picture(page, "n")
    click(page, (40, 40))
    made = until(
        page, lambda s: len(s["labels"]) == 3 and not s["waiting"], "a third region"
    )
    label = next(label for label in made["labels"] if label not in before["labels"])
    points = until(page, lambda s: s["points"][0].get(str(label)), "its point")[
        "points"
    ][0]
    old = before["points"][0]
    assert {**points, str(label): 0} == {**old, str(label): 0}


def test_what_a_click_would_make_is_shown_at_once(page):
    with page.expect_request(lambda one: '"preview"' in (one.post_data or "")) as asked:
        page.mouse.move(*spot(page, RIGHT))
    assert "queue" not in asked.value.url  # which looks now and then
    page.wait_for_function("document.querySelector('.rg-editor').editor.preview")


def test_brush_eraser_undo_and_what_is_seen(page):
    assert pixel(page, (200, 40))[0] < 150
    area = state(page)["area"][0]["1"]
    press_at_picture(page, "b")
    paint(page, (190, 40), (215, 40))
    painted = until(
        page, lambda s: s["area"][0]["1"] > area + 300 and not s["waiting"], "painted"
    )
    more = painted["area"][0]["1"]
    page.mouse.move(5, 5)
    wait(lambda: pixel(page, (200, 40))[0] > 150, "the yellow mask is seen")
    press_at_picture(page, "e")
    paint(page, (190, 40), (215, 40))
    until(page, lambda s: s["area"][0]["1"] < area + 60, "erased")
    press_until(page, "Control+z", lambda s: s["area"][0]["1"] == more, "undone")
    press_until(page, "Control+z", lambda s: s["area"][0]["1"] == area, "undone twice")
    press_until(
        page, "Control+Shift+z", lambda s: s["area"][0]["1"] == more, "done again"
    )
    page.mouse.move(5, 5)
    press_at_picture(page, "h")
    wait(lambda: pixel(page, (200, 40))[0] < 150, "masks are hidden")


def test_regions_are_named_recoloured_reordered_and_restored(page):
    evil = "${alert(1)} <img src=x onerror=alert(2)>"
    for label in (1, 2):
        open_card(page, label)
    write(page, "#rg-prompt-0", evil)
    page.locator(".rg-card[data-label='1'] input[type=color]").evaluate(
        "node => { node.value = '#ff00ff'; node.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    said = page.locator(".rg-card[data-label='1'] .rg-card-line")
    wait(lambda: evil in said.inner_text(), "said as it is")
    assert (
        page.get_by_role("button", name="right disc: Delete this region").count() == 1
    )
    # Which one is above matters where their masks overlap.
    order = page.locator("#cards >> text=Upper regions cover lower ones.")
    assert order.is_hidden()
    press_at_picture(page, "b")
    paint(page, LEFT, RIGHT)
    order.wait_for()
    page.click(".rg-card[data-label='2'] >> text=Move up")
    assert page.locator(".rg-card").first.get_attribute("data-label") == "2"
    color = "document.querySelector('.rg-words').style.getPropertyValue('--region')"
    page.wait_for_function(f"{color} === '#ff00ff'")
    page.click(".rg-card[data-label='1'] [data-act=delete]")
    until(page, lambda s: s["labels"] == [2], "deleted")
    page.wait_for_selector("#cards >> text=Upper regions", state="hidden")
    page.locator(".rg-canvas-stage canvas").focus()
    press_until(
        page, "Control+z", lambda s: sorted(s["labels"]) == [1, 2], "it is back"
    )
    page.wait_for_selector(".rg-card[data-label='1']")
    assert evil in said.inner_text()
    assert page.locator("#cards img[src='x'], #canvas .rg-time img").count() == 0
    write(page, ".rg-card-words[data-label='1'] [data-key=prompt]", "a robot")
    run(page)


def test_tracking_stops_when_asked_and_run_tracks_what_was_drawn_on_one_frame(
    server, page
):
    start_empty(page)
    mask_disc(page)
    with server.hold("tracking", 4):
        page.click(".rg-track")
        until(page, lambda s: sum(bool(frame) for frame in s["area"]) == 4, "tracking")
        page.wait_for_selector(".rg-chip:has-text('Tracking frame 4 of 8')")
        assert page.inner_text(".rg-track") == "Cancel"
        points = state(page)["points"]
        click(page, LEFT)  # a correction is wanted here
        page.wait_for_selector("text=Tracking stopped.")
        stopped = state(page)
        assert (stopped["frame"], stopped["points"]) == (4, points)
    # told after the notice
    until(page, lambda s: s["stale"] == [1], "still to be tracked")
    assert sum(bool(frame) for frame in state(page)["area"]) < 8
    write(page, "#rg-prompt-0", "a robot")
    with server.hold("tracking", 4):
        press_run(page)
        page.wait_for_selector("text=/Tracking a robot/")
    wait_for_result(page)
    assert all("1" in frame for frame in state(page)["area"])
    assert state(page)["frame"] == 4  # where the run found it


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


LONG = """(() => { const e = document.querySelector('.rg-editor').editor; return {
  whole: Object.keys(e.bitmaps).length, small: Object.keys(e.thumbs).length, film: e.film.length,
  masks: Object.keys(e.masks).length, wanted: [...e.wanted], lane: e.lanes[1] ?? '',
  runs: e.masks[e.frame]?.[1]?.runs ?? '', shown: Boolean(e.bitmaps[e.frame]) }; })()"""


IN_SIGHT = """(parts) => { const bar = document.querySelector('.rg-run').getBoundingClientRect();
  return parts.filter((part) => { const node = document.querySelector(part),
    box = node.getBoundingClientRect(),
    above = !node.closest('.rg-run') && bar.left < box.right && bar.right > box.left,
    end = above ? bar.top : innerHeight;
    return !(box.height > 9 && box.top >= 0 && box.bottom <= end + 1); }); }"""
TIMELINE = [".rg-canvas-stage canvas", ".rg-knobs", ".rg-ruler", ".rg-lane"]


def use_frames(page, first, last, stride=1):
    """Choose a stretch of one's own file, numbered from 1, by the keys."""
    if not page.is_visible(".rg-trim-track"):
        choose_in_menu(page, "Frames")
    page.locator(".rg-trim select").select_option(str(stride))
    for name, frame in (
        ("Last frame", last),
        ("First frame", first),
        ("Last frame", last),
    ):
        handle = page.get_by_role("slider", name=name)
        handle.focus()
        at = lambda one=handle: int(one.get_attribute("aria-valuenow"))  # noqa: E731
        page.keyboard.press("End" if frame > at() else "Home")
        while by := frame - at():
            keys = (
                ("PageUp", "PageDown") if abs(by) >= 10 else ("ArrowRight", "ArrowLeft")
            )
            page.keyboard.press(keys[by < 0])
    page.click("text=Use these frames")


def test_a_long_clip_is_loaded_as_it_is_shown(page, tmp_path):
    film = write_film(tmp_path / "long.mp4", np.full((150, 96, 128, 3), 100, np.uint8))
    page.locator("#upload").set_input_files(film)
    until(page, lambda s: s["count"] == 32 and s["loaded"] == 32, "the clip is thinned")
    use_frames(page, 1, 150)
    until(page, lambda s: s["count"] == 150, "all of it")
    long = lambda: page.evaluate(LONG)  # noqa: E731
    wait(lambda: long()["small"] == long()["film"] > 1, "the film shows small frames")
    assert long()["whole"] < 64
    page.mouse.click(*spot(page, (128, 128)))
    until(
        page,
        lambda s: s["labels"] and not s["waiting"] and s["area"][0].get("1"),
        "masked",
    )
    page.click(".rg-track")
    wait(
        lambda: (
            long()["lane"].count(" ") == 0 and page.query_selector("text=Region 1”: ")
        ),
        "tracked",
    )
    assert long()["masks"] < 150  # those around the frames that were shown
    assert "lost from frame" in page.inner_text(".rg-say")
    assert 2 <= page.locator(".rg-cell").count() < 150
    page.keyboard.press("End")
    wait(
        lambda: long()["shown"] and 149 not in long()["wanted"],
        "the last frame comes with its masks",
    )
    assert long()["runs"]
    page.keyboard.press("PageUp")
    assert state(page)["frame"] == 140
    # masks that come leave what is said
    assert "lost from frame" in page.inner_text(".rg-say")
    write(page, ".rg-card-words [data-key=prompt]", "a robot")
    use_frames(page, 101, 120)  # the click was on frame 1
    page.click("text=Keep the frames")
    assert state(page)["count"] == 150
    page.click(".rg-trim >> text=Use these frames")
    assert "masks of 130 frames will be lost" in page.inner_text(".rg-ask[open]")
    page.click(".rg-ask[open] >> text=Use these frames")
    until(page, lambda s: s["count"] == 20 and s["area"][0].get("1"), "its masks stay")
    assert page.input_value(".rg-card-words [data-key=prompt]") == "a robot"
    use_frames(page, 1, 150)
    until(page, lambda s: s["count"] == 150, "all of it again")
    for frame in range(0, 150, 25):
        page.evaluate(
            "frame => document.querySelector('.rg-editor').editor.go(frame)", frame
        )
        wait(lambda: long()["shown"], "a frame is shown")
    assert long()["whole"] <= 64


def test_own_clip_saved_project_and_the_way_back(page, tmp_path):
    field = page.locator("#upload")
    field.set_input_files(write_film(tmp_path / "my <b>film.mp4", noise(60)))
    page.click("#useless >> text=Get a model")
    page.click("dialog.rg-real-model[open] >> text=Close")
    said = "The built-in model knows drawings only: of this clip it would make nonsense. Masks work."
    assert page.inner_text("#useless p") == said
    assert page.evaluate(IN_SIGHT, ["#useless"]) == []
    assert page.is_hidden("#run")
    said = "For better masks on real clips: start with REGRAIN_MODELS=/your/folder, then fetch SAM 2.1"
    assert page.inner_text("#fetch").startswith(said)
    loaded = until(
        page,
        lambda s: s["labels"] == [] and s["loaded"] == s["count"],
        "the clip is loaded",
    )
    assert loaded["count"] == 32
    assert "of 60" in page.inner_text(".rg-say")
    use_frames(page, 11, 25, stride=2)
    until(page, lambda s: s["count"] == 8 and s["loaded"] == 8, "eight frames of it")
    page.mouse.click(*spot(page, (128, 128)))
    until(page, lambda s: s["area"][0].get("1", 0) > 1000, "masked")
    for width, height in ((1440, 900), (1024, 768), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        wait(
            lambda: page.evaluate(IN_SIGHT, TIMELINE) == [],
            f"in sight at {width} x {height}",
        )
    write(page, "#rg-prompt-0", "a fox")
    set_keys(page, "0, 2", [0, 2, 7])
    project = saved(page, lambda: choose_in_menu(page, "Save"), tmp_path)
    open_example(page, "01_two_discs")
    until(page, lambda s: s["labels"] == [1, 2], "the example")
    page.wait_for_selector(".rg-notice", state="detached")
    assert page.is_visible("#run")
    says(page, "all")
    field.set_input_files(project)
    until(
        page,
        lambda s: s["labels"] == [1] and s["area"][0].get("1", 0) > 1000,
        "the project is back",
    )
    assert page.input_value("#rg-prompt-0") == "a fox"
    says(page, "0, 2")
    wait(lambda: keys(page) == [0, 2, 7], "marked as in the project")
    run(page)


def test_what_cannot_be_opened_changes_nothing(page, tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"no video at all" * 99)
    page.locator("#upload").set_input_files(tmp_path / "no.mp4")
    page.wait_for_selector(".rg-upload[data-state=failed] >> text=Clip: 'no.mp4'")
    assert page.locator(".rg-say.rg-alarm").count() == 0
    assert state(page)["labels"] == [1, 2]
    click(page, LEFT)
    until(page, lambda s: s["points"][0].get("1") == 1, "the example still works")


KEYS, CUTS = (
    f"#set-long-clips .rg-set:has(label:has-text('{name}')) input"
    for name in ("Key frames", "Cuts")
)


def test_keys_move_a_cursor_and_click(page):
    page.locator(".rg-canvas-stage canvas").focus()
    press(page, "2", *["Shift+ArrowRight"] * 20, "Enter")
    until(page, lambda s: s["points"][0].get("2") == 1, "Enter clicks")
    area = until(page, lambda s: not s["waiting"], "quiet")["area"][0]["2"]
    caret = "document.activeElement.dataset.key === 'prompt'"
    page.wait_for_function(caret)  # the next letters are its words
    press_at_picture(page, "b")
    press(page, *["Shift+ArrowUp"] * 12, "Enter")
    until(page, lambda s: s["area"][0]["2"] > area + 50, "with the brush it paints")
    page.keyboard.press("?")
    page.wait_for_selector(".rg-help[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector(".rg-help[open]", state="hidden")


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


def set_keys(page, text, frames):
    """Type which frames are keys; those are marked then."""
    unfold(page, "#settings", "#set-long-clips")
    fill_until(page, page.locator(KEYS), text, lambda: keys(page) == frames)


def keys(page):
    """The frames that are marked, from 0."""
    return page.eval_on_selector_all(
        ".rg-key-mark", "all => all.map(mark => Number(mark.dataset.frame))"
    )


def says(page, text):
    unfold(page, "#settings", "#set-long-clips")
    wait(lambda: page.input_value(KEYS) == text, f"the field says {text}")


def drag_key(page, frame, to):
    track = page.locator(".rg-keys .rg-marks-track")
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    begin, end = (box["x"] + (at + 0.5) / 8 * box["width"] for at in (frame, to))
    drag(
        page,
        (begin + 3, box["y"] + box["height"] / 2),
        (end, box["y"] + box["height"] / 2),
    )


def test_key_frames_are_marked_and_move(page):
    set_keys(page, "all", [])
    open_refine(page)
    page.wait_for_selector("text=Every frame is edited. Mark key frames to edit fewer.")
    page.click(".rg-refine")
    set_keys(page, "every 3", [0, 3, 6, 7])
    drag_key(page, 3, 5)
    says(page, "0, 5, 6, 7")
    assert state(page)["frame"] == 6
    drag_key(page, 5, 1)
    says(page, "0, 1, 6, 7")
    drag_key(page, 7, 5)  # the last frame stays one
    assert keys(page) == [0, 1, 6, 7]
    page.fill(KEYS, "auto")
    page.wait_for_selector("text=Chosen by how much changes when the run begins")
    page.fill(KEYS, "every other")
    page.wait_for_selector(".rg-keys[data-kind=wrong]")
    press_run(page)
    # at once: it does not stay
    page.wait_for_selector("[role=alert]:has-text('Keyframes')")
    page.click("#tabs >> text=Masks")
    set_keys(page, "0, 4", [0, 4, 7])
    press_run(page)
    page.wait_for_selector("[role=alert]", state="detached")  # of what was wrong before
    wait_for_result(page)
    params = report(page)["params"]
    assert params.keys() == {"steps", "keyframes"}
    assert params["keyframes"] == {"value": "0, 4"}
    # They are the clip's, whatever the method.
    page.click("#tabs >> text=Masks")
    page.select_option(".rg-method select", "sdedit")
    page.wait_for_selector("text=How much to change")
    assert page.input_value(KEYS) == "0, 4"
    assert keys(page) == [0, 4, 7]


def test_key_frames_are_moved_by_keys(page):
    set_keys(page, "0, 4", [0, 4, 7])
    page.locator(".rg-key-mark[role=slider]").focus()
    page.keyboard.press("ArrowRight")
    says(page, "0, 5, 7")
    assert state(page)["frame"] == 6
    page.keyboard.press("Home")
    says(page, "0, 1, 7")
    page.keyboard.press("Delete")
    says(page, "0, 7")


def write_shots(path, frames, cuts):
    """A disc that walks over a textured ground, which is another one in every shot."""
    rng = np.random.default_rng(0)
    film = np.empty((frames, 96, 128, 3), np.uint8)
    y, x = np.mgrid[:96, :128]
    for start, stop in pairwise((0, *cuts, frames)):
        ground = np.kron(rng.integers(60, 200, (12, 16, 3)), np.ones((8, 8, 1))).astype(
            np.uint8
        )
        for frame in range(start, stop):
            film[frame] = ground
            film[frame][
                (x - 20 - (frame - start) % 80) ** 2 + (y - 48) ** 2 < 14**2
            ] = (
                220,
                40,
                40,
            )
    write_video(path, film, Fraction(24))


def open_shots(page, path, first, count):
    """Open a clip and take so many frames of it, every one."""
    page.locator("#upload").set_input_files(path)
    until(page, lambda s: s["count"] == 32 and s["loaded"] == 32, "the clip is thinned")
    wait(lambda: page.evaluate(IN_SIGHT, TIMELINE[:1]) == [], "it is in sight")
    use_frames(page, first, first + count - 1)
    until(page, lambda s: s["count"] == count, "all of it")


def cuts_of(page):
    """The first frames of shots that are marked, from 0."""
    return page.eval_on_selector_all(
        ".rg-cut-mark", "all => all.map(mark => Number(mark.dataset.frame))"
    )


def test_cuts_are_found_and_corrected(page, tmp_path):
    write_shots(tmp_path / "shots.mp4", 60, (24, 40))
    assert page.locator(".rg-cuts").is_hidden()  # of a short example
    open_shots(page, tmp_path / "shots.mp4", 1, 60)
    wait(lambda: cuts_of(page) == [24, 40], "the cuts are found")
    assert page.inner_text(".rg-cut-words") == "3 shots; cut before frames 25 and 41"
    assert page.locator(".rg-cut-lines i").count() == 2
    set_keys(page, "every 30", [0, 23, 24, 39, 40, 59])
    # By keys: one removed, one moved; what was found is auto again.
    page.locator(".rg-cut-mark").nth(1).focus()
    page.keyboard.press("Delete")
    wait(lambda: page.input_value(CUTS) == "24", "the field says so")
    wait(lambda: keys(page) == [0, 23, 24, 54, 59], "the key frames follow")
    page.evaluate("window.regrain.editor.go(40)")
    page.locator(".rg-canvas-stage canvas").focus()
    press_at_picture(page, "d")
    wait(lambda: page.input_value(CUTS) == "auto", "as it was found")
    # By the mouse.
    box = page.locator(".rg-cuts .rg-marks-track").bounding_box()
    drag(
        page,
        *(
            (box["x"] + at / 60 * box["width"], box["y"] + box["height"] / 2)
            for at in (24, 30)
        ),
    )
    wait(lambda: page.input_value(CUTS) == "30, 40", "it was dragged")
    page.fill(CUTS, "none")
    wait(lambda: cuts_of(page) == [], "one shot")
    assert page.inner_text(".rg-cuts .rg-marks-quiet") == "One shot"


def test_touch_and_the_small_screen(server, open_page):
    page = open_page(server, **PHONE)
    all_loaded(page)
    page.locator(".rg-canvas-stage canvas").scroll_into_view_if_needed()
    page.touchscreen.tap(*spot(page, LEFT))
    until(page, lambda s: s["points"][0].get("1") == 1, "a tap is a point")
    set_keys(page, "0, 3", [0, 3, 7])
    assert overflow(page) <= 0
    for part in (".rg-keys .rg-marks-track", KEYS):
        assert page.locator(part).bounding_box()["height"] >= 44, part
    page.evaluate("window.regrain.editor.go(5)")
    refine(page, ">> text=Key frame")
    says(page, "0, 3, 5, 7")
    # A finger that comes down beside a mark takes it along.
    track = page.locator(".rg-keys .rg-marks-track")
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    x = box["x"] + 3.5 / 8 * box["width"] - 15
    y = box["y"] + 30
    to = box["x"] + 1.5 / 8 * box["width"]
    finger = page.context.new_cdp_session(page)
    for kind, dx in (
        ("touchStart", 0),
        ("touchMove", -10),
        ("touchMove", to - x),
        ("touchEnd", None),
    ):
        points = [] if dx is None else [{"x": x + dx, "y": y}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    says(page, "0, 1, 5, 7")
    column, card = (
        page.locator(one).first.bounding_box() for one in ("#tabs", ".rg-card")
    )
    assert (card["x"], card["width"]) == (column["x"], column["width"])


def test_a_long_clip_shows_its_first_frames_while_it_runs(server, page, tmp_path):
    write_shots(tmp_path / "shots.mp4", 120, (40,))
    open_shots(page, tmp_path / "shots.mp4", 11, 96)
    wait(lambda: cuts_of(page) == [30], "the cut is found")
    page.select_option(".rg-method select", "sdedit")
    page.wait_for_selector("#rg-whole", state="visible")
    page.get_by_label("It should show").fill("a robot")
    with server.hold("window_2", 3):
        press_run(page)
        page.wait_for_selector("text=/window 2 of 3, step 3 of 12, about 16 s left/")
        assert page.inner_text(".rg-windows") == "1 of 3 windows done"
        page.wait_for_selector("text=Frames 1–32 of 96, more to come")
        wait(lambda: plays(page, "edited"), "what is finished plays")
        assert page.get_attribute(".rg-seek", "max") == "32"
        page.click("#stop")
        page.wait_for_selector(
            "text=Finished windows are kept; Run goes on from there."
        )
    page.wait_for_selector("#run:text-is('Run')")
    before = server.steps().count("window 1 editing 12")
    run(page)
    assert server.steps().count("window 1 editing 12") == before
    assert page.locator(".rg-pane figcaption").all_inner_texts() == ["Source", "Edited"]
    assert report(page)["whole"] == {
        "file": "whole.mp4",
        "start": 10,
        "stop": 106,
        "frames": 120,
    }
    assert "your file with frames 11 to 106 edited" in page.inner_text(".rg-result")
