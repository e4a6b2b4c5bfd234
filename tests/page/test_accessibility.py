"""axe finds nothing on the page in any state, and fingers can hit everything; the editor is made up."""

import json
from importlib.resources import files

import pytest
from browser import PHONE, overflow, wait_for_result

pytestmark = pytest.mark.browser
LOOKS = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}
FINGER = 44  # pixels
TOUCHED = "button, a.rg-tool, select, summary, #result label, [role=slider], input:not([type=range])"
SMALL = """([all, least]) => [...document.querySelectorAll(all)]
  .filter(e => e.checkVisibility({ visibilityProperty: true }) && !e.closest('footer'))
  .map(e => e.matches('[type=radio], [type=checkbox]') ? e.closest('label') ?? e : e)
  .map(e => [e.ariaLabel ?? e.innerText, e.className, e.getBoundingClientRect()])
  .filter(([, , box]) => box.width && (box.width < least - 0.5 || box.height < least - 0.5))
  .map(([name, kind, box]) => `${name} (${kind}): ${Math.round(box.width)} x ${Math.round(box.height)}`)"""
NAMELESS = """() => {
  const kinds = "button, input, select, a[href], [role=slider], canvas[tabindex]";
  const all = [...document.querySelectorAll(kinds)].filter((node) => node.offsetParent);
  const labelled = (node) => [...(node.labels ?? [])].some((label) => label.innerText.trim());
  const named = (node) => node.getAttribute("aria-label") || node.innerText?.trim() || node.title;
  return all.filter((node) => !named(node) && !labelled(node)).map((node) => node.outerHTML);
}"""
BARE = """() => getComputedStyle(document.activeElement).outlineStyle === 'none'
  ? document.activeElement.outerHTML.slice(0, 200) : null"""

# A button that is just enabled has a colour in between.
AT_REST = "!document.getAnimations().some(a => a instanceof CSSTransition && a.playState === 'running')"


def check(page, state: str):
    """axe's best practices and all levels of WCAG that it knows."""
    page.wait_for_function(AT_REST)
    if not page.evaluate("'axe' in window"):
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    # In the dark, colours alone are others.
    dark = page.evaluate("document.body.classList.contains('dark')")
    only = {"runOnly": ["color-contrast"]} if dark else {}
    found = page.evaluate("only => axe.run(only)", only)["violations"]
    said = [{one["id"]: [node["html"][:200] for node in one["nodes"]]} for one in found]
    assert said == [], f"{state}: {json.dumps(said, indent=1)}"
    assert page.evaluate(NAMELESS) == [], state
    assert overflow(page) <= 0, state
    if page.viewport_size["width"] < 500:
        assert page.evaluate(SMALL, [TOUCHED, FINGER]) == [], state


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(server, open_page, look):
    page = open_page(server, **LOOKS[look])
    check(page, "opened")
    assert page.evaluate("document.body.classList.contains('dark')") == (look == "dark")
    page.click("#tabs >> text=Masks")
    page.click(".rg-canvas-stage canvas")
    page.wait_for_function("document.querySelector('.rg-editor').editor.pending.length == 0")
    check(page, "masks")
    with server.hold("tracking", 4):
        page.click(".rg-track")
        page.wait_for_selector(".rg-chip:has-text('Tracking frame 4 of 8')")
        check(page, "tracking")
        page.click(".rg-canvas-stage canvas")
        page.wait_for_selector("[data-tracking=false]")
    page.click("#settings button")
    page.wait_for_selector("#settings input[type=number]")
    for more in page.locator(".rg-card summary").all():
        more.click()
    check(page, "settings")
    page.fill("#rg-prompt-0", "a rabot")
    page.click("#run")
    page.wait_for_selector(".rg-wrong")
    check(page, "an error")
    page.fill("#rg-prompt-0", "a robot")
    several = look == "phone"
    if several:
        page.select_option(".rg-method select", "fresco")  # its seed acts
        page.get_by_role("group", name="Variants").get_by_text("2", exact=True).click()
    with server.hold("editing", 6):
        page.click("#run")
        page.wait_for_selector(".rg-strip img")
        page.fill("#rg-prompt-0", "a fox")
        page.click("#run")
        page.wait_for_selector("#queue li")
        check(page, "a queue")
        page.click("#queue button")
        page.wait_for_selector("#queue li", state="detached")
    page.wait_for_function("n => document.querySelectorAll('.rg-run-picture').length == n", arg=1 + several)
    page.wait_for_selector("#run:text-is('Run')")
    wait_for_result(page)
    if several:
        page.click(".rg-figures summary")
        assert "Motion error of the source" in page.inner_text(".rg-figures")
    check(page, "a result")


def test_every_control_shows_its_focus(server, open_page):
    page = open_page(server)
    page.locator("#open").focus()
    bare = []
    for _ in range(12):
        page.keyboard.press("Tab")
        bare.append(page.evaluate(BARE))
    assert bare == [None] * 12
