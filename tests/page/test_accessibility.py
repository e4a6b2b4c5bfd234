"""axe finds nothing on the page in any state, and fingers can hit everything; the editor is made up."""

import json
from importlib.resources import files
from io import BytesIO

import pytest
from browser import PHONE, overflow, wait_for_result
from PIL import Image

pytestmark = pytest.mark.browser
LOOKS = {"desktop": {}, "phone": PHONE}
DARK = "document.body.classList.toggle('dark')"
FINGER = 44  # pixels
TOUCHED = (
    "button, a.rg-tool, select, summary, #result label, [role=slider], input:not([type=range])"
)
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
AT_REST = (
    "!document.getAnimations().some(a => a instanceof CSSTransition && a.playState === 'running')"
)


def assert_clean(page, state: str, **only):
    found = page.evaluate("only => axe.run(only)", {"resultTypes": ["violations"]} | only)[
        "violations"
    ]
    said = [{one["id"]: [node["html"][:200] for node in one["nodes"]]} for one in found]
    assert said == [], f"{state}: {json.dumps(said, indent=1)}"


def check(page, state: str):
    """axe's best practices and all levels of WCAG that it knows."""
    page.wait_for_function(AT_REST)
    if not page.evaluate("'axe' in window"):
        page.evaluate(
            files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        )
    assert_clean(page, state)
    if page.viewport_size["width"] > 500:  # in the dark, colours alone are others
        assert page.evaluate(DARK)
        page.wait_for_function(AT_REST)
        assert_clean(page, f"{state}, dark", runOnly=["color-contrast"])
        page.evaluate(DARK)
    assert page.evaluate(NAMELESS) == [], state
    assert overflow(page) <= 0, state
    if page.viewport_size["width"] < 500:
        assert page.evaluate(SMALL, [TOUCHED, FINGER]) == [], state


def check_queue(page, several: bool):
    """Runs that wait, as many as may and one more or one alone; then none."""
    waiting = ("a fox", "a panda", "a dog", "a green fox", "a green dog")[: 5 if several else 1]
    for number, words in enumerate(waiting):
        page.fill("#rg-prompt-0", words)
        page.click("#run")
        page.wait_for_selector(f"#queue li >> nth={number}")
    check(page, "a queue")
    if several:
        page.fill("#rg-prompt-0", "a green panda")
        page.click("#run")
        page.wait_for_selector("#queue [role=status] >> text=/./")
        check(page, "one too many")
    for number in reversed(range(len(waiting))):
        page.locator("[aria-label^='Remove from the queue']").first.click()
        page.wait_for_selector(f"#queue li >> nth={number}", state="detached")


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(server, open_page, look):
    page = open_page(server, **LOOKS[look])
    check(page, "opened")
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
        check_queue(page, several)
    page.wait_for_function(
        "n => document.querySelectorAll('.rg-run-picture').length == n", arg=1 + several
    )
    page.wait_for_selector("#run:text-is('Run')")
    wait_for_result(page)
    if several:
        page.click(".rg-figures summary")
        assert "Motion error of the source" in page.inner_text(".rg-figures")
    check(page, "a result")


def test_the_ring_of_a_button_in_a_group_is_whole(server, open_page):
    page = open_page(server, **PHONE)
    page.tap("#tabs >> text=Masks")
    page.tap(".rg-canvas-stage canvas")
    undo = page.get_by_role("button", name="Undo")
    page.wait_for_function("document.querySelector('[title^=Undo]').disabled === false")
    page.keyboard.press("Tab")
    undo.focus()
    page.wait_for_function(AT_REST)
    box, shown = undo.bounding_box(), Image.open(BytesIO(page.screenshot())).convert("RGB")
    x, y, right, below = box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]
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
    box, shown = canvas.bounding_box(), Image.open(BytesIO(page.screenshot())).convert("RGB")
    x, y = round(box["x"]), round(box["y"] + box["height"] / 2)
    assert {shown.getpixel((x + n, y)) for n in range(2)} == ring


def test_every_control_shows_its_focus_in_the_dark_too(server, open_page):
    page = open_page(server, color_scheme="dark")
    assert page.evaluate("document.body.classList.contains('dark')")
    page.locator("#open").focus()
    bare = []
    for _ in range(12):
        page.keyboard.press("Tab")
        bare.append(page.evaluate(BARE))
    assert bare == [None] * 12
