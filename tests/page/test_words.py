"""Words and settings in a real Chromium: checked at their fields, before any work; kept
whole; inserted."""

import re

import pytest
from browser import (
    fill_until,
    open_card,
    press_run,
    press_stop,
    prompt,
    refine,
    report,
    run,
    unfold,
    wait,
    write,
)

pytestmark = [pytest.mark.full, pytest.mark.browser]
NOTE = ".rg-wrong"


def test_an_unknown_word_is_underlined_while_typing_and_the_nearest_put_in_by_a_click(
    page,
):
    page.click("#rg-prompt-0")
    write(page, "#rg-prompt-0", "a robat and a cat")
    page.wait_for_selector(f"{NOTE} >> text=robat")
    assert page.inner_text(".rg-copy u") == "robat"
    assert page.get_attribute("#rg-prompt-0", "aria-invalid") == "true"
    note = page.get_attribute("#rg-prompt-0", "aria-describedby")
    assert "does not know “robat”" in page.inner_text("#" + note)
    near = page.get_by_label("Replace “robat” by “robot”")
    assert near.bounding_box()["height"] < 32  # beside the words
    near.click()
    assert page.input_value("#rg-prompt-0") == "a robot and a cat"
    page.wait_for_selector(NOTE, state="detached")
    page.wait_for_selector(".rg-copy u", state="detached")
    wait(lambda: "a robot and a cat" in prompt(page), "the new word is composed")


def test_run_says_what_is_wrong_at_the_field_before_any_work(server, page):
    before = server.steps()
    write(page, "#rg-prompt-1", "a unicorn")
    page.click("#tabs >> text=Edit")
    press_run(page)
    page.wait_for_selector("[role=alert] [dir=auto] >> text=unicorn")
    page.wait_for_selector("#rg-prompt-1[aria-invalid=true]")
    page.wait_for_function("document.activeElement.id == 'rg-prompt-1'")
    note = page.get_attribute("#rg-prompt-1", "aria-describedby")
    assert "The built-in model does not know “unicorn”." in page.inner_text("#" + note)
    page.get_by_label("Replace “unicorn” by “panda”").wait_for()  # a kind that it knows
    assert server.steps() == before
    assert page.is_enabled("#run")
    write(page, "#rg-prompt-1", "a fox")
    page.wait_for_selector("[role=alert]", state="hidden")
    # At once, but for an answer to what was typed before that may be on its way.
    page.wait_for_function("!document.querySelector('[aria-invalid], .rg-wrong')")


def test_no_words_at_all_are_said_on_run_and_not_before(page):
    for number in (0, 1):
        write(page, f"#rg-prompt-{number}", "")
    page.wait_for_function("document.querySelectorAll('.rg-kept').length == 2")
    assert page.locator(NOTE).count() == 0
    assert page.get_attribute("#rg-prompt-0", "placeholder") == "stays a cat"
    press_run(page)
    page.wait_for_selector("[role=alert] >> text=Write under “Make it”")
    page.wait_for_function("document.activeElement.id == 'rg-prompt-0'")


def test_words_that_replace_nothing_say_so_and_offer_what_they_might(page):
    write(page, "#rg-source-1", "")
    page.wait_for_selector(".rg-hint >> text=only added to the prompt")
    page.click(".rg-hint >> text=a dog")
    assert page.input_value("#rg-source-1") == "a dog"
    page.wait_for_selector(".rg-hint", state="detached")
    assert prompt(page) == "1 a panda and 2 a fox walk on the grass"


def test_a_long_pasted_prompt_is_kept_whole_and_counted(page):
    write(page, "#rg-prompt-0", "")
    page.focus("#rg-prompt-0")
    page.keyboard.insert_text("a cat and a dog " * 30)
    assert len(page.input_value("#rg-prompt-0")) > 470
    page.wait_for_selector(f"{NOTE} >> text=at most")
    said = page.inner_text(NOTE)
    assert re.search(r"\d+ tokens, but at most 75 fit", said)


def test_a_setting_that_cannot_be_read_is_marked(page):
    unfold(page, "#settings", "#long-clips")
    field = page.locator("#rg-set-keyframes")
    note = page.locator(f"#long-clips {NOTE}")
    fill_until(page, field, "every other", note.is_visible)
    assert "every N" in note.inner_text()
    field.fill("every 2")
    note.wait_for(state="detached")


def test_words_of_the_model_go_where_the_cursor_was(page):
    unfold(page, "#words details")
    page.wait_for_selector(".rg-wordlist >> nth=0", state="visible")
    assert page.locator(".rg-wordlist button").count() == 18
    write(page, "#rg-prompt-1", "a and a dog")
    page.evaluate("document.querySelector('#rg-prompt-1').setSelectionRange(1, 1)")
    page.get_by_role("group", name="Kinds").get_by_text("panda").click()
    assert page.input_value("#rg-prompt-1") == "a panda and a dog"
    page.get_by_role("group", name="Places").get_by_text("in the snow").click()
    assert page.input_value("#rg-prompt-1") == "a panda in the snow and a dog"
    wait(
        lambda: "a panda in the snow and a dog" in prompt(page),
        "what was put in counts as typed",
    )


def test_the_rest_of_the_frame_has_a_card_of_its_own(page):
    refine(page, "#rg-rest")
    page.wait_for_selector("#rg-prompt-2")
    write(page, "#rg-source-2", "on the grass")
    write(page, "#rg-prompt-2", "in the snow")
    wait(lambda: prompt(page).endswith("3 in the snow"), "the rest has its words")
    wait(
        lambda: page.locator("#rg-rest[hidden]").count() == 1,
        "the rest is not asked for again",
    )
    card = page.locator(".rg-card[data-label='3']")
    assert card.locator("[aria-label*=margin]").count() == 0
    assert "no other region covers" in card.inner_text()
    run(page)


def test_strength_and_negative_words_of_a_region_reach_the_run(page):
    open_card(page, 1)
    page.locator(".rg-card .rg-details summary").first.click()
    write(page, ".rg-card[data-label='1'] [data-key=negative]", "green")
    page.fill("#rg-strength-1", "0.4")
    page.fill("#rg-avoid", "snow")
    run(page)
    assert report(page)["asked"] == {
        "negative_prompt": "snow",
        "left disc": ["green", 0.4],
    }


def test_a_quality_sets_the_steps_and_steps_of_ones_own_are_none(page):
    quality = page.locator(".rg-quality")
    said = lambda: "".join(quality.all_inner_texts()[1:2])  # noqa: E731
    wait(lambda: said().startswith("Standard\n50 steps"), "its steps are said")
    assert quality.nth(1).locator("input").is_checked()
    quality.nth(0).click()
    unfold(page, "#settings")
    steps = page.locator("#rg-set-steps")
    wait(lambda: steps.input_value() == "20", "the steps of a draft")
    assert quality.nth(0).locator("input").is_checked()
    steps.fill("33")
    steps.press("Tab")
    wait(
        lambda: page.locator(".rg-quality :checked").count() == 0,
        "no quality has 33 steps",
    )
    page.locator(".rg-method select").select_option("sdedit")
    wait(
        lambda: quality.all_inner_texts()[1].startswith("Standard"),
        "another method's steps",
    )


def test_a_look_at_the_page_waits_for_the_answer_to_the_one_before(page):
    """Answers may overtake each other: each look says what was typed when it was
    sent."""
    unfold(page, "#settings")
    steps = page.locator("#rg-set-steps")
    steps.wait_for()
    held = []
    page.route("**/run/predict*", lambda route: held.append(route))
    with page.expect_request("**/run/predict*"):
        steps.fill("20")
    steps.fill("33")
    steps.press("Tab")
    page.wait_for_timeout(1000)
    assert len(held) == 1
    held[0].continue_()
    page.unroute_all()
    wait(
        lambda: page.locator(".rg-quality :checked").count() == 0,
        "no quality has 33 steps",
    )


def test_a_control_network_is_picked_weighed_and_seen(page):
    unfold(page, "#settings", "#experiments")
    unfold(page, "#source")
    page.get_by_text("Add control network").first.click()
    text = page.locator("#rg-set-control")
    assert text.input_value() == "canny=storybook/canny@0.7"
    page.get_by_label("Weight of the control network").fill("0.5")
    assert text.input_value() == "canny=storybook/canny@0.5"
    page.get_by_title("Show what it sees of this frame").click()
    page.wait_for_selector(".rg-control-map img[src^=data]")
    assert "Canny of frame 1" in page.inner_text(".rg-control-map")
    run(page)
    assert report(page)["params"]["control"]["value"] == "canny=storybook/canny@0.5"


LCM = "SimianLuo/LCM_Dreamshaper_v7"


def test_a_real_model_is_chosen_in_a_dialog_and_fetched_with_progress(server, page):
    unfold(page, "#settings")
    page.get_by_text("Get a model").first.click()
    hub = page.locator("dialog.rg-real-model[open]")
    fetch = hub.get_by_role("button", name="Fetch LCM Dreamshaper")
    with server.hold("fetching", 3):
        fetch.click()
        hub.get_by_text("2.1 GB of 4.3 GB").wait_for()
        assert hub.locator("progress").evaluate("bar => bar.value") == 0.5
        press_stop(page, hub)
    hub.get_by_text("Stopped at 2.1 GB of 4.3 GB").wait_for()
    fetch.click()
    hub.wait_for(state="detached")
    wait(lambda: page.input_value("#model input") == LCM, "it is chosen")
    page.wait_for_selector("#words", state="hidden")  # what the built-in one knows
    write(page, "#rg-prompt-0", "a unicorn")  # this model takes any word
    wait(lambda: "a unicorn" in prompt(page), "the words are composed")
    assert page.locator(NOTE).count() == 0
