"""The first screen in a real Chromium: examples and their results, what is always in
sight, what is wrong."""

from fractions import Fraction

import numpy as np
import pytest
from browser import (
    PHONE,
    PREVIEW,
    choose_in_menu,
    drag,
    drop,
    open_example,
    plays,
    press,
    press_run,
    unfold,
    wait,
    wait_for_result,
    write,
)

from regrain.editing.media.writing import write_video

pytestmark = [pytest.mark.full, pytest.mark.browser]
MOVING = """[...document.querySelectorAll('.rg-gallery video')]
  .filter(v => !v.paused && v.currentTime > 0).length"""
LOADED = """['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
  .reduce((sum, { transferSize }) => sum + transferSize, 0)"""  # bytes
COUNTING = """() => { const next = window.requestAnimationFrame.bind(window); window.asked = 0;
  window.requestAnimationFrame = (callback) => { window.asked += 1; return next(callback); }; }"""
ASKED = """() => new Promise((done) => { window.asked = 0; setTimeout(() => done(window.asked), 1000); })"""
KEPT_AND_DROPPED = """() => { document.querySelector('dialog[open] [value=no]').click();
  const how = { dataTransfer: window.again, bubbles: true, cancelable: true };
  document.dispatchEvent(new DragEvent('drop', how)); }"""
DESK = {"viewport": {"width": 1280, "height": 720}}
IN_SIGHT = """(top) => { scrollTo(0, top);
  const box = document.querySelector('.rg-run').getBoundingClientRect(),
    on = (x) => document.elementFromPoint(box.left + x * box.width, box.top + 6).closest('.rg-run');
  return box.height > 40 && box.top >= 0 && box.bottom <= innerHeight + 1 && on(0.1) && on(0.9); }"""


def film(path, frames, color=(220, 40, 40)):
    """A disc on a grey ground."""
    y, x = np.mgrid[:96, :128]
    pictures = np.full((frames, 96, 128, 3), 100, np.uint8)
    pictures[:, (x - 60) ** 2 + (y - 50) ** 2 < 22**2] = color
    write_video(path, pictures, Fraction(24))
    return path


def title(page):
    return page.inner_text(".rg-facts-line span:first-child")


def test_results_that_ship_show_at_once_and_examples_move(real_server, open_page):
    # Of an option that no other page has: a browser that has fetched nothing before.
    page = open_page(real_server, locale="en-US")
    wait(
        lambda: plays(page, "edited") and plays(page, "source"),
        "the first result plays",
    )
    assert 300_000 < page.evaluate(LOADED) <= 560_000
    assert page.inner_text(".rg-made").startswith("Click a thing in the picture")
    said = page.inner_text(".rg-facts")
    assert "Its motion error is 0.7 times the source’s." in said
    unfold(page, "#settings")
    page.wait_for_selector("#rg-set-seed")
    # the first run begins with it
    wait(lambda: page.input_value("#rg-set-seed") == "5", "the result's seed")
    page.wait_for_selector(".rg-result .rg-facts", state="attached")
    # A click on a thing in the picture opens its words, one on the boundary moves that.
    box = page.locator(".rg-stage").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.6 * box["height"])
    page.wait_for_function("document.activeElement.value === 'a panda'")
    page.click("#tabs >> text=Edit")  # under a wipe, as it was
    # Whatever was scrolled to, a clip is opened from its top.
    page.evaluate("scrollTo(0, 200)")
    open_example(page, "04_style")
    page.wait_for_function("document.querySelectorAll('video.edited').length === 2")
    wait(lambda: page.evaluate("scrollY") == 0, "scrolled back")
    wait(lambda: plays(page, "edited"), "both edits of the next play")
    assert "FateZero" in page.inner_text(".rg-how")
    links = page.eval_on_selector_all(".rg-result a", "all => all.map(a => a.href)")
    assert [real_server.get(url.removeprefix(real_server.url))[0] for url in links] == [
        200
    ] * 3
    # Examples move while they are pointed at or focused.
    page.click(".rg-opener")
    assert page.locator(".rg-gallery > *").count() == 9
    page.hover("[data-name='02_one_animal']")
    wait(lambda: page.evaluate(MOVING) == 2, "before and after move")
    page.mouse.move(5, 5)
    page.wait_for_selector(".rg-gallery video", state="detached")
    # One stop of the Tab key; the arrow keys go from one to the next.
    page.locator("[data-name='01_two_animals']").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.name") == "02_one_animal"
    wait(lambda: page.evaluate(MOVING) == 2, "it moves while it has the focus")
    assert page.locator(".rg-gallery > [tabindex='0']").count() == 1
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.name") == "13_by_a_tuned_model"
    # Names and captions say in few words what changes, and none is cut off.
    said = page.locator(".rg-change").all_inner_texts()
    few = [
        "cat → fox, rabbit → panda",
        "in watercolor / in pencil",
        "red / blue",
    ]
    assert {*few} <= {*said}
    texts = ".rg-gallery :is(strong, .rg-change)"
    cut = "all => all.filter(n => n.scrollWidth > n.clientWidth || n.clientHeight > 34).map(n => n.innerText)"
    assert page.eval_on_selector_all(texts, cut) == []


def test_a_page_at_rest_asks_for_no_frames(page):
    """Though its videos play; each would have the browser go over the whole page."""
    page.click("#tabs >> text=Edit")
    wait(lambda: plays(page, "source"), "the source plays")
    page.evaluate(COUNTING)
    wait(lambda: page.evaluate(ASKED) < 5, "it rests")


def test_nothing_moves_by_itself_where_less_motion_is_wanted(real_server, open_page):
    page = open_page(real_server, reduced_motion="reduce")
    page.wait_for_function("document.querySelector('video.edited')?.readyState >= 2")
    open_example(page, "02_one_animal")
    page.wait_for_function(
        "document.querySelector('.rg-facts-line').innerText.startsWith('One animal')"
    )
    page.wait_for_function("document.querySelector('video.edited')?.readyState >= 2")
    page.click("#tabs >> text=Masks")
    page.click("#tabs >> text=Edit")
    assert page.evaluate(
        "[...document.querySelectorAll('video')].every(v => v.paused && !v.autoplay)"
    )
    page.get_by_label("Play", exact=True).click()
    wait(
        lambda: page.evaluate("!document.querySelector('video.edited').paused"),
        "it plays if asked",
    )


@pytest.mark.parametrize("options", [DESK, PHONE], ids=["desk", "phone"])
def test_run_and_what_it_says_are_always_in_sight(server, open_page, options):
    page = open_page(server, **options)
    assert page.is_visible(".rg-head h1")
    page.click("#words summary")
    page.click(".rg-how")

    def seen() -> bool:
        return all(
            page.evaluate(IN_SIGHT, top) for top in (0, *range(300, 900, 40), 10_000)
        )

    wait(seen, "Run is in sight before")
    with server.hold("editing", 6):
        press_run(page)
        page.wait_for_selector(PREVIEW)
        wait(seen, "and while it goes on")
        assert page.locator("#stop").is_visible()
    wait_for_result(page)
    wait(seen, "and after it")
    write(page, "#rg-prompt-0", "a unicorn")
    press_run(page)
    page.wait_for_selector(".rg-wrong[dir=auto] >> text=unicorn")
    wait(
        lambda: page.is_visible("[role=alert]") == (options is DESK),
        "said beside Run, or once",
    )
    wait(seen, "and where it failed")
    write(page, "#rg-prompt-0", "a cat")
    page.wait_for_selector("[role=alert], .rg-wrong", state="hidden")


def test_an_upload_tells_how_far_it_is_and_can_fail(page, tmp_path):
    page.click(".rg-opener")
    assert "without their consent" in page.inner_text(".rg-clips")
    # Where nothing is kept, it says so; on one's own machine, files are opened by their
    # path all the same.
    page.wait_for_selector("#recent:has-text('this session only')")
    assert page.locator("#recent-projects").is_hidden()
    page.wait_for_selector(".rg-recent-path", state="visible")
    page.click(".rg-opener")
    page.route("**/upload", lambda route: route.abort())
    page.set_input_files("#upload", film(tmp_path / "disc.mp4", 8))
    page.wait_for_selector(".rg-upload[data-state=failed]")
    assert "connection was lost" in page.inner_text(".rg-upload")
    page.unroute("**/upload")
    held = []
    page.route("**/upload", lambda route: held.append(route))
    page.set_input_files("#upload", tmp_path / "disc.mp4")
    page.wait_for_selector(".rg-upload[data-state=sending]")
    assert "disc.mp4" in page.inner_text(".rg-upload")
    page.click(".rg-upload >> text=Cancel")
    page.wait_for_selector(".rg-upload[data-state=idle]", state="attached")
    page.unroute("**/upload")
    page.set_input_files("#upload", tmp_path / "disc.mp4")
    wait(lambda: title(page) == "disc.mp4", "the clip is open")
    page.wait_for_selector(".rg-upload[data-state=idle]", state="attached")


def test_a_second_clip_of_ones_own_is_asked_for(page, tmp_path):
    page.set_input_files("#upload", film(tmp_path / "first.mp4", 8))
    wait(lambda: title(page) == "first.mp4", "the first is open")
    second = film(tmp_path / "second.mp4", 8, (40, 40, 220))
    drop(page, second, kind="dragenter")
    assert page.locator("body.rg-dropping").count() == 1
    drop(page, second)
    page.wait_for_selector("dialog[open]")
    # runs nothing behind the question, in which Keep has the focus
    press(page, "Control+Enter")
    assert page.is_hidden("#stop")
    press(page, "Enter")
    page.wait_for_selector("dialog[open]", state="detached")
    assert page.locator("body.rg-dropping").count() == 0
    assert title(page) == "first.mp4"
    page.evaluate(
        "addEventListener('drop', (event) => (window.again = event.dataTransfer), { once: true })"
    )
    drop(page, second, tmp_path / "first.mp4")
    page.wait_for_selector("dialog[open]")
    page.evaluate(
        KEPT_AND_DROPPED
    )  # the next question comes before the last has told that it closed
    page.click("dialog >> text=Open the new one")
    wait(lambda: title(page) == "second.mp4", "the second is open")
    page.wait_for_selector(".rg-upload:has-text('“first.mp4” was left out')")


def test_the_trim_bar_by_mouse(page, tmp_path):
    page.set_input_files("#upload", film(tmp_path / "long.mp4", 60))
    choose_in_menu(page, "Frames")
    page.wait_for_function("document.querySelector('.rg-trim img').naturalWidth > 500")
    page.select_option(".rg-trim select", "1")
    box = page.locator(".rg-trim-track").bounding_box()
    at = lambda share: (box["x"] + share * box["width"], box["y"] + box["height"] / 2)  # noqa: E731
    last = page.get_by_role("slider", name="Last frame")
    handle = last.bounding_box()
    drag(page, (handle["x"] + handle["width"] / 2, at(0)[1]), at(0.4))
    assert abs(int(last.get_attribute("aria-valuenow")) - 25) <= 1
    assert "of 60" in last.get_attribute("aria-valuetext")
    drag(page, at(0.2), at(0.5))
    first = page.get_by_role("slider", name="First frame")
    assert abs(int(first.get_attribute("aria-valuenow")) - 19) <= 1
    count = (
        int(last.get_attribute("aria-valuenow"))
        - int(first.get_attribute("aria-valuenow"))
        + 1
    )
    assert f"{count} frames" in page.inner_text(".rg-trim-said")
    page.click("text=Use these frames")
    page.wait_for_function(f"window.regrain.editor.clip.count === {count}")


def test_a_whole_edit_by_keyboard(server, open_page):
    page = open_page(server)

    def tab_to(selector):
        for _ in range(120):
            if page.evaluate(
                "selector => document.activeElement.matches(selector)", selector
            ):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"the Tab key does not reach {selector}")

    tab_to(".rg-opener")
    press(page, "Enter")
    page.wait_for_selector(".rg-gallery", state="visible")
    # Its cards are one stop; behind it the focus would be below what is open.
    tab_to(".rg-gallery > *")
    press(page, "Tab")
    page.wait_for_selector(".rg-gallery", state="hidden")
    press(page, "Shift+Tab", "Enter")
    tab_to(".rg-gallery > *")
    press(page, "End", "Enter")
    page.wait_for_function("document.activeElement.matches('.rg-opener')")
    page.wait_for_selector(
        "[data-name='02_discs_and_lawn'][aria-pressed=true]", state="attached"
    )
    page.wait_for_function("window.regrain.editor?.clip?.title === 'Discs and lawn'")
    tab_to(".rg-canvas-stage canvas")
    press(page, *["Shift+ArrowLeft"] * 25, "Enter")
    page.wait_for_function("window.regrain.editor.masks[0][1].points.length === 1")
    page.wait_for_function("document.activeElement.matches('#rg-prompt-0')")
    page.keyboard.type("a robot")
    tab_to("#run")
    page.keyboard.press("Enter")
    page.wait_for_selector(".rg-download, [role=alert]")
    assert page.locator("[role=alert]").count() == 0
    tab_to(".rg-download")
    tab_to(".rg-card-line")
    press(page, "Enter")
    tab_to("[data-act=delete]")
    press(page, "Enter")  # the focus does not vanish with what had it
    page.wait_for_function("document.activeElement.innerText === 'Regions'")
