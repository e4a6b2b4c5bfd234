"""A clip that is opened after another shows nothing of it."""

import re

import pytest
from browser import open_example, press_run, run, wait, write

pytestmark = [pytest.mark.full, pytest.mark.browser]

# Everything that can be read or is marked, but for what opened the page.
SEEN = """() => {
  const shown = (node) => node.checkVisibility({ visibilityProperty: true });
  const marks = [...document.querySelectorAll('[aria-invalid=true], [role=alert], .rg-still, .rg-alarm')];
  const fields = [...document.querySelectorAll('#cards input[type=text], #cards textarea, select')];
  return [
    document.body.innerText,
    ...marks.filter(shown).map((node) => 'marked ' + node.className + node.textContent),
    ...fields.filter(shown).map((node) => node.id + '=' + node.value),
    'stage ' + document.body.dataset.stage + ' useless ' + window.regrain.useless,
    'preview ' + Boolean(window.regrain.live),
  ].join('\\n'); }"""
OTHER = "02_discs_and_lawn"
FOLD = "Of other clips ("
# Of results of other clips, and times, which the machine has learnt.
LEFT_OUT = re.compile(rf"{re.escape(FOLD)}|Press A on one result|\d+ steps")


def own_lines(page):
    """What is seen of a clip."""
    lines = page.evaluate(SEEN).splitlines()
    return [line for line in lines if line and not LEFT_OUT.search(line)]


def opened(page):
    """What the page shows once the second example is there."""
    before = page.evaluate("window.regrain.editor.id")
    open_example(page, OTHER)
    there = (
        "id => (e => e.id !== id && e.loaded === e.clip.count)(window.regrain.editor)"
    )
    page.wait_for_function(there, arg=before)
    page.click("#tabs >> text=Masks")
    page.mouse.move(1, 1)
    page.wait_for_timeout(600)
    return own_lines(page)


@pytest.fixture(scope="module")
def first(shared_page):
    """What is shown where no other clip was open before."""
    return opened(shared_page)


def say_a_wrong_word(page):
    write(page, "#rg-prompt-1", "a unicorn")
    press_run(page)
    page.wait_for_selector("[role=alert] [dir=auto] >> text=unicorn")


def try_a_frame(page):
    page.click("text=Quick try")
    assert page.evaluate("document.activeElement.id") == "run"  # it has to go away
    page.wait_for_selector(".rg-still:not([hidden])")
    page.wait_for_selector("#history li")


@pytest.mark.parametrize("act", [say_a_wrong_word, try_a_frame, run])
def test_a_clip_after_another_looks_as_if_it_were_the_first(act, first, page):
    act(page)
    opened(page)
    wait(lambda: own_lines(page) == first, f"the page shows {first}")
    kept = act in (try_a_frame, run)
    assert page.locator(f"text={FOLD}").count() == kept
