"""Tuned models in a real Chromium: tuned, chosen, renamed, downloaded, added; the
editor is made up."""

from itertools import product

import pytest
from browser import (
    PREVIEW,
    choose_in_menu,
    press_run,
    run,
    saved,
    unfold,
    wait,
    wait_for_result,
)
from fake_app import tuned_model

from regrain.editing.models.adapters import save_adapter

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


def are_listed(page, *models: str):
    """Wait until these are the models that can be chosen."""
    wait(lambda: names(page)[1:] == [*models], f"{models} can be chosen")


def test_a_tuning_is_watched_stopped_and_goes_on(server, open_page):
    page = choose_method(open_page(server))
    takes = "Tunes the model on this clip first: 40 steps, 0.9 GB here."
    wait(lambda: page.inner_text(".rg-takes") == takes, "what it takes is told")
    with server.hold("tuning", 24):
        press_run(page)
        page.wait_for_selector("text=/step 24 of 40, about 4 s of tuning left/")
        page.wait_for_function(
            "document.querySelector('.rg-losses').innerText.includes('after 24 of 40')"
        )
        plot = page.get_by_role(
            "img", name="Loss after 24 of 40 steps: 0.15, from 0.24."
        )
        assert plot.locator("circle").count() == 24
        page.wait_for_selector(PREVIEW)
        are_listed(page, "20 steps")
        assert page.locator(".rg-takes").is_hidden()
        page.click("#stop")
        page.wait_for_selector(
            "text=Stopped after 24 of 40 tuning steps. Run goes on from there."
        )
    page.wait_for_selector("#run:text-is('Run')")
    before = len(server.steps())
    run(page)
    later = [step for step in server.steps()[before:] if step.startswith("tuning")]
    # a few steps pass until the editor hears of the stop
    assert 24 < int(later[0].split()[1]) < 40
    page.wait_for_selector(".rg-losses:has-text('Loss after 40 of 40 steps')")
    are_listed(page, "20 steps", "40 steps")
    assert names(page)[0] == "None: tune on this clip first"
    page.click("#tabs >> text=Masks")
    assert page.is_visible(".rg-losses")  # beside the masks, too
    # Settings of the tuning are together.
    unfold(page, "#set-experiments")
    titles = page.locator("#set-experiments .rg-more > summary")
    wait(lambda: titles.count() >= 2, "the groups are shown")
    assert "Tuning" in titles.all_inner_texts()
    first = page.locator("#rg-set-tune_steps")
    assert first.input_value() == "40"
    first.fill("80")
    first.press("Tab")
    page.wait_for_selector("text=Tunes the model on this clip first: 80 steps")


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


def add_file(page, file, **facts):
    """Add a file; with facts, one of a tuned model."""
    if facts:
        save_adapter(tuned_model(**facts), file)
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Add a model, LoRA").click()
    chooser.value.set_files(file)


def test_a_file_is_added_and_what_does_not_fit_is_said_at_once(
    server, open_page, tmp_path
):
    page = open_page(server)
    unfold(page, "#settings")
    broken = tmp_path / "notes.safetensors"
    broken.write_bytes(b"no weights")
    add_file(page, broken)
    page.wait_for_selector(".rg-alarm >> text=notes.safetensors")
    assert names(page) == ["None"]
    add_file(page, tmp_path / "long.safetensors", frames=16)
    page.wait_for_selector(
        ".rg-alarm >> text=It was tuned on 16 frames, but the clip has 8."
    )
    are_listed(page, "long")
    press_run(page)
    page.wait_for_selector("[role=alert]")
    assert "TUNED MODEL" in page.inner_text("[role=alert]").upper()
    page.wait_for_selector("#run:text-is('Run')")
