"""Tuned models in a real Chromium: tuned, chosen, renamed, downloaded, added; the
editor is made up."""

from itertools import product

import pytest
from browser import (
    choose_in_menu,
    press_run,
    run,
    saved,
    unfold,
    wait,
    wait_for_result,
)

pytestmark = [pytest.mark.full, pytest.mark.browser]
PICK = "#rg-models-pick"


KNOWN = map(
    " and ".join, product(("a cat", "a dog", "a fox"), ("a panda", "a robot", "a cat"))
)


def choose_method(page):
    """Tune-A-Video with words of one test: what was tuned with others is not cached for
    it."""
    page.select_option(".rg-method select", "tune_a_video")
    unfold(page, "#settings")
    page.fill("#rg-source", next(KNOWN))
    page.wait_for_selector(".rg-takes")
    return page


def names(page):
    return page.eval_on_selector_all(f"{PICK} option", "all => all.map(o => o.text)")


def tuned(page):
    run(page)
    page.wait_for_selector(f"{PICK} option:nth-of-type(2)", state="attached")
    return page


def test_a_chosen_model_is_used_by_every_method_and_kept_with_the_project(
    server, open_page, tmp_path
):
    others = set(server.media())
    page = tuned(choose_method(open_page(server)))
    (mine,) = (
        folder
        for folder in set(server.media()) - others
        if list(folder.rglob("*.safetensors"))
    )
    page.select_option(PICK, label="40 steps")
    page.wait_for_selector("text=The run does not tune again.")
    page.wait_for_selector(".rg-takes", state="detached")
    page.select_option(".rg-method select", "videograin")
    page.wait_for_function(
        "!document.querySelector('.rg-models').innerText.includes('does not tune')"
    )
    assert (
        page.locator(PICK).evaluate("node => node.selectedOptions[0].text")
        == "40 steps"
    )
    before = len(server.steps())
    press_run(page)
    page.wait_for_selector(".rg-losses", state="detached")
    wait_for_result(page)
    assert not [step for step in server.steps()[before:] if step.startswith("tuning")]
    project = saved(page, lambda: choose_in_menu(page, "Save"), tmp_path)
    words = page.input_value("#rg-source")
    other = open_page(server)
    unfold(other, "#settings")
    other.wait_for_selector(PICK)
    assert names(other) == ["None"]
    other.set_input_files("#upload", project)
    other.wait_for_selector("optgroup[label='Of this project']", state="attached")
    other.wait_for_selector(f"text=/40 steps on '{words}'/")
    page.close()
    wait(lambda: not mine.exists(), "its files go with the visit")
