"""Times that a visitor of the page waits, measured in a real browser."""

from __future__ import annotations

import json
import statistics
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks.served import SHARED, VIEWPORT

_PLAYS = (
    "(v => v?.readyState >= 2 && !v.paused)(document.querySelector('video.edited'))"
)
_EDITOR = "document.querySelector('.rg-editor').editor"
# Clicks for a region that is yet to be made wait for it.
_ANSWERED = f"(e => !e.pending.length && !e.adding)({_EDITOR})"
_LOADED = "(e => e?.clip && e.loaded === e.clip.count)(document.querySelector('.rg-editor')?.editor)"
_PRESSED = """name => new Promise((done) => {
  const card = document.querySelector(`[data-name='${name}']`), since = performance.now();
  const seen = () => requestAnimationFrame(() => done(performance.now() - since));
  new MutationObserver((_, all) => { all.disconnect(); seen(); }).observe(card,
    { attributes: true, attributeFilter: ["aria-pressed"] });
  card.click();
})"""
_WATCH = """() => {
  const editor = document.querySelector(".rg-editor").editor, seen = (window.bench = { clicks: [], previews: [] });
  let since = 0;
  document.querySelector(".rg-canvas-stage canvas").addEventListener("pointerup", () => { since = performance.now(); }, true);
  // Two frames on, what the first of them painted is on the screen.
  const shown = (act) => requestAnimationFrame(() => requestAnimationFrame(act));
  regrain.on("masks", () => {
    if (!since || editor.pending.length || editor.adding) return;
    const clicked = since;
    since = 0; // more may be told before the next frame
    shown(() => seen.clicks.push(performance.now() - clicked));
  });
  let last = "";
  regrain.on("live", (live) => {
    const picture = live?.frames[0] ?? "";
    if (!picture || picture === last) return;
    last = picture;
    shown(() => seen.previews.push([picture, Date.now()]));
  });
}"""  # noqa: E501
_PATIENCE = 120_000  # milliseconds
_LONG = 1_200_000  # milliseconds, for a whole run


def measure_opening(browser: Any, url: str) -> float:
    """Return seconds from opening the page, in a browser that has not seen it, to a
    result that plays."""
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    began = time.monotonic()
    page.goto(url)
    page.wait_for_function(_PLAYS)
    seconds = time.monotonic() - began
    context.close()
    return seconds


def open_page(browser: Any, url: str) -> Any:
    """Return a new page whose first result plays."""
    page = browser.new_page(viewport=VIEWPORT)
    page.add_init_script(SHARED)
    page.set_default_timeout(_PATIENCE)
    page.goto(url)
    page.wait_for_function(_PLAYS)
    return page


def measure_choice(page: Any) -> dict[str, float]:
    """Measure seconds from choosing an example to its result, and milliseconds until it
    is acknowledged."""
    source = page.evaluate("document.querySelector('video.edited').src")
    name = page.evaluate("document.querySelectorAll('.rg-example')[1].dataset.name")
    began = time.monotonic()
    acknowledged = page.evaluate(_PRESSED, name)
    _wait_for_result(page, "!==", source)
    seconds = time.monotonic() - began
    page.click(".rg-opener")
    page.locator(".rg-example").first.click()
    _wait_for_result(page, "===", source)
    return {"choice_s": seconds, "acknowledged_ms": acknowledged}


def _wait_for_result(page: Any, compared: str, source: str) -> None:
    shown = f"document.querySelector('video.edited').src {compared} src"
    page.wait_for_function(f"src => {_PLAYS} && {shown}", arg=source)


def measure_clicks(page: Any, clicks: int) -> dict[str, Any]:
    """Measure milliseconds from a click until its mask is painted, and how many fast
    clicks are kept."""
    page.click("#tabs >> text=Masks")
    page.wait_for_function(_LOADED)
    _delete_regions(page)
    page.evaluate(_WATCH)
    entry = f"{_EDITOR}.masks[0][regrain.active]"
    answered = set()
    for number in range(clicks):
        _click(page, number, clicks)
        page.wait_for_function(f"bench.clicks.length === {number + 1}")
        answered.add(page.evaluate(f"{entry}?.by"))
        page.keyboard.press("Control+z")
        page.wait_for_function(f"{_ANSWERED} && !{entry}?.points.length")
    first, *rest = page.evaluate("bench.clicks")
    for number in range(10):
        _click(page, number, 10)
    page.wait_for_function(_ANSWERED)
    points = page.evaluate(f"{entry}?.points.length ?? 0")
    _undo_all(page)
    return {
        "answered_by": sorted(filter(None, answered)),
        "first_click_ms": first,
        "click_ms": statistics.median(rest),
        "points_of_10": points,
    }


def _delete_regions(page: Any) -> None:
    """Leave no mask that a click would choose instead of adding a point."""
    count = page.evaluate(f"{_EDITOR}.labels.length")
    for left in reversed(range(count)):
        page.locator(".rg-card-line").first.click()
        page.locator("[data-act=delete]").first.click()
        page.wait_for_function(f"{_EDITOR}.labels.length === {left}")


def _click(page: Any, number: int, of: int) -> None:
    """Click a place of the frame, another one for each number below `of`."""
    box = page.locator(".rg-canvas-stage canvas").bounding_box()
    across = 0.2 + 0.6 * ((number * 0.618) % 1)
    down = 0.25 + 0.5 * (number + 0.5) / of
    x = box["x"] + across * box["width"]
    y = box["y"] + down * box["height"]
    page.mouse.click(x, y)


def _undo_all(page: Any) -> None:
    while page.evaluate(f"{_EDITOR}.undo"):
        rev = page.evaluate(f"{_EDITOR}.rev")
        page.keyboard.press("Control+z")
        page.wait_for_function(f"{_EDITOR}.rev > {rev}")


def measure_tries(page: Any) -> dict[str, float]:
    """Measure seconds from Enter in the words at a mask until the edited frame stands
    in its place: the first, which may load the model, and another."""
    _click(page, 0, 1)
    page.wait_for_function(f"!{_EDITOR}.pending.length")
    prompt = page.locator(".rg-bubble [data-key=prompt]")
    seconds = []
    for wish in ("a pig", "a robot"):
        prompt.fill(wish)
        began = time.monotonic()
        prompt.press("Enter")
        page.wait_for_selector(".rg-still:has-text('Try')")
        seconds.append(time.monotonic() - began)
        page.wait_for_selector("#stop", state="hidden", timeout=_LONG)
    _undo_all(page)
    first, other = seconds
    return {"first_try_s": first, "try_s": other}


def measure_previews(page: Any, log: Path, steps: int) -> dict[str, Any]:
    """Measure milliseconds from a preview of the editor until the page shows it, over a
    run.

    `log` is what `page.serve` writes; `measure_clicks` comes before, since it watches
    the page.
    """
    set_steps(page, steps)
    page.click("#run")
    page.wait_for_selector("#stop")
    page.wait_for_selector("#stop", state="hidden", timeout=_LONG)
    made = dict(json.loads(line) for line in log.read_text().splitlines())
    shown = page.evaluate("bench.previews")
    delays = [at - made[picture] for picture, at in shown if picture in made]
    return {
        "preview_ms": statistics.median(delays) if delays else None,
        "previews_made": len(made),
        "previews_shown": len(delays),
    }


def set_steps(page: Any, steps: int) -> None:
    """Set the number of steps of the next run."""
    if page.is_hidden("#how-body"):
        page.click(".rg-how")
    field = page.locator("#rg-set-steps")
    field.fill(str(steps))
    field.press("Tab")
    page.wait_for_timeout(500)


# Open the card in which a field is, unless it is open or the field stands at its mask.
OPEN_CARD = """(field) => { const card = document.querySelector(field)?.closest('.rg-card');
  if (card?.querySelector('.rg-card-body').hidden) card.querySelector('.rg-card-line').click(); }"""


def measure_own(
    browser: Any, url: str, folder: Path, steps: int | None
) -> dict[str, Any]:
    """Measure the way from a drawn clip of one's own to an edit, as fast as a script
    can type.

    It takes one click on each of two actors, the key N between them, five texts, and
    one click on Run. `steps` None leaves them as they are.
    """
    import storybook
    from regrain.editing.media.writing import write_video

    scene = storybook.sample_scene(30_003, plain=True)
    film = storybook.render(scene, size=256)
    write_video(folder / "own.mp4", film.frames, Fraction(8))
    page = open_page(browser, url)
    began = time.monotonic()
    page.set_input_files("#upload", folder / "own.mp4")
    page.wait_for_function(f"{_LOADED} && !regrain.regions.length")
    _click_actor(page, film.labels[0], 1)
    page.keyboard.press("n")
    _click_actor(page, film.labels[0], 2)
    page.fill("#rg-source", scene.caption)
    for row, wish in enumerate(("a robot", "a panda")):
        actor = scene.actors[1 - row]  # the last region is the first row
        for field, text in (("source", actor.phrase), ("prompt", wish)):
            page.evaluate(OPEN_CARD, f"#rg-{field}-{row}")
            page.fill(f"#rg-{field}-{row}", text)
    if steps:
        set_steps(page, steps)
    ready = time.monotonic()
    page.click(".rg-anyway" if page.is_visible(".rg-anyway") else "#run")
    page.wait_for_selector(".rg-download", timeout=_LONG)
    ended = time.monotonic()
    return {"own_clicks": 3, "own_ready_s": ready - began, "own_edit_s": ended - began}


def _click_actor(page: Any, labels: Any, number: int) -> None:
    """Click the deepest point of an actor, and wait for its mask in a region of its
    own."""
    from regrain.masks.draw import deepest

    box = page.locator(".rg-canvas-stage canvas").bounding_box()
    x, y = deepest(labels == number)
    side = box["width"] / labels.shape[1]  # of a pixel, on the screen
    page.mouse.click(box["x"] + (x + 0.5) * side, box["y"] + (y + 0.5) * side)
    masked = f"{_EDITOR}.masks[0][regrain.active]?.points.length"
    alone = f"regrain.regions.length === {number}"
    page.wait_for_function(f"!{_EDITOR}.pending.length && {masked} && {alone}")
