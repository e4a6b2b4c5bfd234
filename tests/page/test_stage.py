"""The stage in a real Chromium: how large the picture is, how few tools are in sight,
zoom, words at the thing, and what stays while a run goes on."""

import pytest
from browser import (
    CONTROLS,
    wait,
)

pytestmark = [pytest.mark.full, pytest.mark.browser]
DESK = {"viewport": {"width": 1440, "height": 900}}
PICTURE = """() => { const stage = document.body.dataset.stage;
  const node = document.querySelector(stage === 'edit' ? '.rg-stage' : '.rg-canvas-stage canvas');
  const { top, bottom, height, width } = node.getBoundingClientRect();
  return { top, bottom, height, width }; }"""


def test_a_model_is_loaded_while_words_are_written(server, page):
    before = server.output.read_text().count("loaded ahead: storybook")
    page.fill("#rg-source", "a cat")
    wait(
        lambda: server.output.read_text().count("loaded ahead: storybook") > before,
        "loaded ahead",
    )


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
