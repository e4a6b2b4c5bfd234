"""Projects of one's own machine: a server that is killed at any stage loses nothing
that was whole."""

from fractions import Fraction

import numpy as np
import pytest
from browser import (
    PREVIEW,
    fill_number,
    plays,
    press_run,
    report,
    serving,
    unfold,
    wait,
    wait_for_result,
    write,
)
from canvas import click, until

from regrain.editing import load_project
from regrain.editing.media.clip import DRAWN
from regrain.editing.media.writing import write_video

pytestmark = [pytest.mark.full, pytest.mark.browser]
WORDS = ".rg-card-words [data-key=prompt]"  # in the card or at the mask
STEPS = "#rg-set-steps"
HAS_FOCUS = "selector => document.activeElement.matches(selector)"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A page that keeps projects in a folder of its own; each test has one of another
    name."""
    folder = tmp_path_factory.mktemp("served")
    own = {"REGRAIN_PROJECTS": str(folder / "Regrain")}
    yield from serving(folder, GRADIO_SERVER_NAME="127.0.0.1", **own)


def write_disc(file, comment=""):
    """A disc on a grey ground, 128 pixels wide."""
    y, x = np.mgrid[:128, :128]
    frames = np.full((8, 128, 128, 3), 100, np.uint8)
    frames[:, (x - 60) ** 2 + (y - 50) ** 2 < 22**2] = (220, 40, 40)
    write_video(file, frames, Fraction(8), comment=comment)
    return file


def show_clips(page):
    """Open the menu of clips, if it is not open."""
    if page.locator("#recent").is_hidden():
        page.click(".rg-opener")
    page.wait_for_selector("#recent", state="visible")


def open_path(page, path):
    show_clips(page)
    before = page.evaluate("window.regrain.editor.id")
    page.fill(".rg-recent-path input", str(path))
    page.click("text=Open path")
    ready = (
        "id => (e => e.id !== id && e.loaded === e.clip.count)(window.regrain.editor)"
    )
    page.wait_for_function(ready, arg=before)
    # a clip without edits is shown with its masks, and no choice of another look
    page.wait_for_selector("body[data-stage=masks]")


def come_back(server, page):
    """Kill the server and start it again; the page comes back by itself."""
    before = page.evaluate("window.gradio_config.app_id")
    server.kill()
    server.start()
    page.wait_for_function(
        "id => window.gradio_config?.app_id !== id && window.regrain?.restored"
        " && window.regrain.editor?.loaded",
        arg=before,
    )


def pages(server):
    return [
        file.read_text() for file in (server.folder / "Regrain").glob("*/page.json")
    ]


def is_kept(server, *texts):
    what = f"{texts} are kept"
    wait(lambda: any(all(t in page for t in texts) for page in pages(server)), what)


def has_words(page, words):
    wait(lambda: page.input_value(WORDS) == words, f"the words are {words}")


def area(page):
    return until(page, lambda s: s["loaded"] == s["count"], "frames")["area"][0]


def test_a_server_that_is_killed_at_each_stage_loses_nothing(kept, open_page, tmp_path):
    page = open_page(kept)
    open_path(page, write_disc(tmp_path / "red disc.mp4", DRAWN))
    show_clips(page)
    page.wait_for_selector("#recent:has-text('stay in')")
    page.keyboard.press("Escape")
    click(page, (60, 50), 128)
    masked = until(page, lambda s: s["area"][0].get("1"), "masked")["area"][0]["1"]
    write(page, WORDS, "a fox")
    unfold(page, "#settings")
    fill_number(page, page.locator(STEPS).first, "7")
    is_kept(kept, "a fox", '"steps": 7')
    with kept.hold("tracking", 4):
        page.click(".rg-track")
        page.wait_for_selector(".rg-chip:has-text('Tracking frame 4 of 8')")
        come_back(kept, page)  # with words and settings, while it is tracked
    page.wait_for_selector(".rg-facts-line:has-text('red disc.mp4')")
    # The list of projects comes with the menu, not with the page.
    assert b"red disc.mp4" not in kept.get("/config")[1]
    show_clips(page)
    page.wait_for_selector(".rg-recent-open:has-text('red disc.mp4')", state="attached")
    page.keyboard.press("Escape")
    has_words(page, "a fox")
    assert area(page)["1"] == masked
    page.wait_for_selector(".rg-editor[data-tracking=false]")
    page.wait_for_selector(".rg-track.rg-due")  # what is left to be followed

    with kept.hold("editing", 3):
        press_run(page)
        wait(lambda: "editing 3" in kept.steps(), "it is edited")
        page.wait_for_selector(PREVIEW)  # whose script comes with the first
        kept.kill()
        page.wait_for_selector("#progress .rg-detail", state="hidden")
        wait(lambda: page.title() == "Regrain", "no step is under way")
        come_back(kept, page)  # in a run, which alone is lost
    page.wait_for_selector("#progress [role=alert] >> text=The run was interrupted")
    has_words(page, "a fox")
    assert area(page)["1"] == masked
    unfold(page, "#settings")
    wait(lambda: page.locator(STEPS).first.input_value() == "7", "its settings")

    press_run(page)
    wait_for_result(page)
    is_kept(kept, '"results": ["')
    made = report(page)
    come_back(kept, page)  # after a run
    wait(lambda: plays(page, "edited") and plays(page, "source"), "both play")
    assert report(page) == made
    wait(lambda: page.locator("#history li").count() == 1, "its result is listed")
    request = load_project(kept.folder / "Regrain" / "red disc")
    assert request.regions[0].prompt == "a fox"
    assert request.params["steps"] == 7


def test_recent_projects_are_opened_and_deleted(kept, open_page, tmp_path):
    page = open_page(kept)
    open_path(page, write_disc(tmp_path / "another.mp4"))
    page.wait_for_selector("#useless >> text=would make nonsense")
    click(page, (60, 50), 128)
    until(page, lambda s: s["area"][0].get("1"), "masked")
    write(page, WORDS, "a panda")
    is_kept(kept, "a panda")
    show_clips(page)
    page.wait_for_selector(r"#recent-projects >> text=/Recent \(\d\)/")
    page.close()

    page = open_page(kept)
    show_clips(page)
    page.click("#recent-projects summary")
    page.click(".rg-recent-open:has-text('another.mp4')")
    page.wait_for_function("window.regrain.editor.clip.own")
    page.wait_for_function(f"document.querySelector('{WORDS}')?.value === 'a panda'")
    show_clips(page)
    page.click("#recent-projects summary")
    page.click("#recent-projects summary")
    page.click("[aria-label='Delete “another.mp4”']")
    page.click("dialog[open] button:has-text('Delete it')")
    page.wait_for_selector("#recent [role=alert]:has-text('It is open')")
    page.click("[data-name='01_two_discs']")
    page.wait_for_function("!window.regrain.editor.clip.own")
    # The example's own project: the clip that is open already.
    write(page, "#rg-prompt-0", "a striped fox")
    is_kept(kept, "a striped fox")
    show_clips(page)
    page.press(".rg-recent-open:has-text('Two discs')", "Enter")
    page.wait_for_selector("#recent", state="hidden")
    page.wait_for_function("!window.regrain.opening")  # which closes the menu again
    page.wait_for_function(HAS_FOCUS, arg=".rg-opener")
    show_clips(page)
    page.press("[aria-label='Delete “another.mp4”']", "Enter")
    page.press("dialog[open]", "Escape")
    page.wait_for_function(HAS_FOCUS, arg="[aria-label='Delete “another.mp4”']")
    page.click("[aria-label='Delete “another.mp4”']")
    asked = page.inner_text("dialog[open] p")
    assert "masks, words and results" in asked
    assert "kB" in asked or "MB" in asked
    page.click("text=Keep it")
    assert (kept.folder / "Regrain" / "another").is_dir()
    page.click("[aria-label='Delete “another.mp4”']")
    page.click("dialog[open] button:has-text('Delete it')")
    wait(lambda: not (kept.folder / "Regrain" / "another").exists(), "deleted")
    page.wait_for_function(HAS_FOCUS, arg="#recent-projects summary")
    for path, said in (("/nowhere.mp4", "is not there"), ("nowhere", "whole path")):
        page.fill(".rg-recent-path input", path)
        page.keyboard.press("Enter")
        page.wait_for_selector(".rg-recent-path input")
        page.wait_for_selector(f"#recent [role=alert]:has-text('{said}')")
