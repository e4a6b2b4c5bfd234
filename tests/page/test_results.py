"""What a page keeps of its runs, in a real Chromium with a made-up editor."""

import json
from functools import partial

import pytest
from browser import (
    fill_number,
    open_example,
    pixel_of,
    plays,
    press_run,
    report,
    run,
    run_own,
    saved,
    unfold,
    wait,
    write,
)

pytestmark = [pytest.mark.full, pytest.mark.browser]
PICTURES = ".rg-run-picture"
MORE = ".rg-history .rg-menu > button"
HOLE = """() => { let hole = 0, end = Infinity;
  const boxes = [...document.querySelector('#run').closest('.rg-columns > .column').querySelectorAll('*')]
    .filter((node) => !node.childElementCount && node.checkVisibility() && !node.closest('.rg-run'))
    .map((node) => node.getBoundingClientRect()).sort((a, b) => a.top - b.top);
  for (const { top, bottom, height } of boxes) {
    if (!height) continue;
    hole = Math.max(hole, top - end);
    end = end === Infinity ? bottom : Math.max(end, bottom);
  }
  return hole; }"""


@pytest.fixture(scope="module")
def shown(shared_page):
    """A page that shows a result."""
    run(shared_page)
    return shared_page


@pytest.fixture(scope="module")
def seeded(shown):
    """The same page with a method whose seed always acts."""
    page = shown
    page.select_option(".rg-method select", "fresco")
    unfold(page, "#settings")
    page.wait_for_selector(".rg-variants:not([hidden])")
    return page


def test_downloads_are_named_for_a_person(shown, tmp_path):
    panel = shown.locator(".rg-downloads")
    stem = "01_two_discs-videograin-seed0"
    names = [
        "Video",
        "Report",
        "Reconstruction",
        "Save",
        "PNG frames",
        "ProRes 4444",
        "Matte",
        "Masks",
    ]

    def take(name):
        shown.click(".rg-download")
        panel.get_by_text(name, exact=True).click()

    paths = [saved(shown, partial(take, name), tmp_path) for name in names]
    endings = [
        ".mp4",
        "_report.json",
        "_reconstruction.mp4",
        "_project.zip",
        "_png.zip",
        ".mov",
        "_matte.zip",
        "_masks.zip",
    ]
    assert [path.name for path in paths] == [stem + ending for ending in endings]
    assert json.loads(paths[1].read_text())["version"] == 1


def pixel(page, which: int, x: float, y: float) -> list[int]:
    """Colour of a canvas of the inspector, at shares of its sides."""
    return pixel_of(page.locator(".rg-inspector canvas").nth(which), x, y)


def test_attention_is_inspected_by_region_step_and_frame(shown):
    page = shown
    page.click(".rg-figures summary")
    assert (
        page.evaluate(HOLE) < 100
    )  # in the column of words, which the result makes as long as it is
    page.locator(".rg-seek").fill("1")
    left = (70 / 256, 120 / 256)
    right = (180 / 256, 150 / 256)
    page.wait_for_function(
        "document.querySelectorAll('.rg-inspector canvas').length == 2"
    )
    label = page.locator(".rg-inspector canvas").nth(1)
    wait(
        lambda: "All steps, frame 1" in (label.get_attribute("aria-label") or ""),
        "the map is drawn",
    )
    wait(
        lambda: sum(pixel(page, 1, *left)[:3]) > sum(pixel(page, 1, *right)[:3]) + 100,
        "left is hot",
    )
    # guided, and on its own
    assert sum(pixel(page, 1, *left)) > sum(pixel(page, 0, *left))
    # By keyboard: the other region, and the first steps, in which little has been
    # found.
    page.get_by_role("group", name="Attention of").get_by_role(
        "button", name="right disc"
    ).focus()
    page.keyboard.press("Enter")
    wait(
        lambda: sum(pixel(page, 1, *right)[:3]) > sum(pixel(page, 1, *left)[:3]),
        "right is hot",
    )
    late = sum(pixel(page, 1, *right)[:3])
    steps = page.get_by_role("group", name="Steps of the run")
    assert (
        page.inner_text(".rg-inspector").count(
            "Late: no map, since attention is recorded only"
        )
        == 1
    )
    steps.get_by_role("button", name="Early").focus()
    page.keyboard.press("Enter")
    wait(
        lambda: sum(pixel(page, 1, *right)[:3]) < late - 30,
        "the early map is weaker",
    )
    assert page.evaluate("document.activeElement.innerText") == "Early"
    assert (
        label.get_attribute("aria-label")
        == "Attention on “a fox”, guided by the masks, Early, frame 1"
    )
    # Without opacity the clip is seen alone.
    page.get_by_label("Opacity").fill("0")
    wait(lambda: pixel(page, 0, *right) == pixel(page, 1, *right), "no map")
    page.locator(".rg-seek").fill("8")
    wait(
        lambda: "frame 8" in label.get_attribute("aria-label"),
        "it follows the player",
    )


def begin_variants(page, count: int):
    page.get_by_role("group", name="Variants").get_by_text(
        str(count), exact=True
    ).click()
    press_run(page)


def run_variants(page, count: int):
    before = page.locator(PICTURES).count()
    begin_variants(page, count)
    page.wait_for_function(
        f"document.querySelectorAll('{PICTURES}').length == {before + count}"
    )
    page.wait_for_selector("#run:text-is('Run')")


def titles(page) -> list[str]:
    labels = page.locator(PICTURES).evaluate_all("all => all.map((n) => n.ariaLabel)")
    return [label.removeprefix("Show ").split(":")[0] for label in labels]


def source_of(page, name: str) -> str:
    return page.eval_on_selector(f"video.{name}", "video => video.src")


def test_variants_are_kept_and_compared(server, seeded):
    page = seeded
    with server.hold("editing", 6):
        begin_variants(page, 2)
        page.wait_for_selector("text=/variant 1 of 2, step 6 of 12/")
    page.wait_for_function(f"document.querySelectorAll('{PICTURES}').length == 3")
    page.wait_for_selector("#run:text-is('Run')")
    assert titles(page)[:2] == ["FRESCO, seed 1", "FRESCO, seed 0"]
    shown = "all => all.map(one => one.getAttribute('aria-pressed'))"
    assert page.eval_on_selector_all(PICTURES, shown) == ["true", "false", "false"]
    second = source_of(page, "edited")
    page.locator(PICTURES).nth(1).click()
    page.wait_for_function(
        "was => document.querySelector('video.edited').src != was", arg=second
    )
    first = source_of(page, "edited")
    page.wait_for_function(
        f"(all => all[1].ariaPressed == 'true')(document.querySelectorAll('{PICTURES}'))"
    )
    # Two edits in the place of source and edit, in step.
    page.get_by_role("button", name="Compare: FRESCO, seed 1").click()
    page.wait_for_function(
        "src => document.querySelector('video.source').src == src", arg=first
    )
    assert source_of(page, "edited") == second
    captions = page.locator(".rg-pane:not([hidden]) figcaption").all_inner_texts()
    assert captions == ["A: FRESCO, seed 0", "B: FRESCO, seed 1"]
    assert page.locator(".rg-result").count() == 0
    wait(lambda: plays(page, "source") and plays(page, "edited"), "both edits play")
    page.click("#tabs >> text=Edit")
    assert (
        page.inner_text(".rg-edited figcaption") == "B: FRESCO, seed 1; hold to see A"
    )
    # What is pressed again leads back to one result.
    page.get_by_role("button", name="Compare: FRESCO, seed 1", pressed=True).click()
    page.wait_for_selector(".rg-download")
    assert source_of(page, "edited") == first


def test_stop_keeps_the_variants_that_are_finished(server, seeded):
    page = seeded
    before = server.steps().count("closed")
    older = len(titles(page))
    with server.hold("editing", 6):
        begin_variants(page, 4)
        page.wait_for_selector("text=/variant 1 of 4, step 6 of 12/")
        # The inversion has such a step, too.
        wait(lambda: server.steps()[-1] == "editing 6", "the first is edited")
    with server.hold("inverting", 3):
        page.wait_for_selector(f"{PICTURES} >> nth={older}")
        page.wait_for_selector("text=/variant [23] of 4, step 3 of 12/")
        page.click("#stop")
        page.wait_for_selector(
            "text=/Stopped in variant [23] of 4. Finished variants are kept./"
        )
        page.wait_for_selector("#run:text-is('Run')")
    kept = len(titles(page)) - older
    assert 1 <= kept < 4
    wait(
        lambda: server.steps().count("closed") == before + kept + 1,
        "the last one is closed",
    )
    assert page.locator(".rg-download").count() == 1


def test_settings_of_a_result_come_back(seeded):
    page = seeded
    write(page, "#rg-prompt-0", "a robot")
    strength = page.locator("#rg-set-strength")
    fill_number(page, strength, "0.6")
    strength.fill("")  # not the least that is allowed
    page.keyboard.press("Tab")
    wait(lambda: strength.input_value() == "0.6", "what was emptied comes back")
    run_variants(page, 2)
    page.locator(PICTURES).nth(1).click()
    write(page, "#rg-prompt-0", "snow")
    page.select_option(".rg-method select", "videograin")
    page.wait_for_function("!document.querySelector('#rg-set-strength')")
    page.locator(PICTURES).first.click()
    page.wait_for_function(
        f"document.querySelector('{PICTURES}').ariaPressed == 'true'"
    )
    page.click(MORE)
    page.click("text=Use these settings")
    page.wait_for_function("document.querySelector('#rg-prompt-0').value == 'a robot'")
    page.wait_for_function(
        "document.querySelector('.rg-method select').value == 'fresco'"
    )
    wait(
        lambda: strength.is_visible() and strength.input_value() == "0.6",
        "its strength",
    )
    # The same again, from the seed of the one that was chosen.
    run_variants(page, 1)
    assert titles(page)[0] == "FRESCO, seed 1"
    made = report(page)
    assert made["prompt_used"] == "a robot and a fox walk on the grass"
    assert made["params"] == {"steps": {"value": 20}, "strength": {"value": 0.6}}


def test_a_result_outlives_its_clip_and_can_be_removed(server, open_page):
    page, own = run_own(server, open_page)
    open_example(page, "02_discs_and_lawn")
    page.wait_for_selector(".rg-card[data-label='3']")
    page.click("#tabs >> text=Edit")
    page.click(".rg-history summary:text-is('Of other clips (1)')")
    page.click(PICTURES)
    page.wait_for_selector(".rg-download")
    wait(lambda: plays(page, "source") and plays(page, "edited"), "both videos play")
    page.click(MORE)
    page.click(".rg-history >> text=Remove")
    page.wait_for_selector(PICTURES, state="detached")
    assert page.locator(".rg-download").count() == 0
    assert [
        entry for entry in own.iterdir() if not entry.name.startswith("clip-")
    ] == []
    wait(lambda: plays(page, "source"), "the open clip plays")
