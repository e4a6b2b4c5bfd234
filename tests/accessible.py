"""Checks of a page in the browser: axe's, a name for everything, and room for
fingers."""

import json
from importlib.resources import files

from browser import PHONE, overflow

LOOKS = {"desktop": {}, "phone": PHONE}
DARK = "document.body.classList.toggle('dark')"
FINGER = 44  # pixels
TOUCHED = "button, a.rg-tool, select, summary, #result label, [role=slider], input:not([type=range])"
SMALL = """([all, least]) => [...document.querySelectorAll(all)]
  .filter(e => e.checkVisibility({ visibilityProperty: true }) && !e.closest('footer'))
  .map(e => e.matches('[type=radio], [type=checkbox]') ? e.closest('label') ?? e : e)
  .map(e => [e.ariaLabel ?? e.innerText, e.className, e.getBoundingClientRect()])
  .filter(([, , box]) => box.width && (Math.min(box.width, box.height) < least - 0.5 || box.left < 0))
  .map(([name, kind, box]) => `${name} (${kind}): ${JSON.stringify(box)}`)"""
NAMELESS = """() => {
  const kinds = "button, input, select, a[href], [role=slider], canvas[tabindex]";
  const all = [...document.querySelectorAll(kinds)].filter((node) => node.checkVisibility());
  const labelled = (node) => [...(node.labels ?? [])].some((label) => label.innerText.trim());
  const named = (node) => node.getAttribute("aria-label") || node.innerText?.trim() || node.title;
  return all.filter((node) => !named(node) && !labelled(node)).map((node) => node.outerHTML);
}"""


# A button that is just enabled has a colour in between.
AT_REST = "!document.getAnimations().some(a => a instanceof CSSTransition && a.playState === 'running')"


def assert_clean(page, state: str, **only):
    found = page.evaluate(
        "only => axe.run(only)", {"resultTypes": ["violations"]} | only
    )["violations"]
    said = [{one["id"]: [node["html"][:200] for node in one["nodes"]]} for one in found]
    assert said == [], f"{state}: {json.dumps(said, indent=1)}"


def check(page, state: str):
    """axe's best practices and all levels of WCAG that it knows."""
    page.wait_for_function(AT_REST)
    if not page.evaluate("'axe' in window"):
        page.evaluate(
            files("axe_playwright_python")
            .joinpath("axe.min.js")
            .read_text(encoding="utf-8")
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
        small = page.evaluate(SMALL, [TOUCHED, FINGER])
        assert small == [], f"{state}: {small}"
