"""Words and settings in a real Chromium: checked at their fields, before any work; kept
whole; inserted."""

import pytest
from browser import (
    open_card,
    press_run,
    prompt,
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
    seed = page.locator("#rg-set-seed")
    seed.fill("")  # none, not 0
    page.locator(f"#settings {NOTE}").wait_for()
    seed.fill("3")
    page.locator(f"#settings {NOTE}").wait_for(state="detached")
    page.locator(".rg-method select").select_option("sdedit")
    wait(
        lambda: quality.all_inner_texts()[1].startswith("Standard"),
        "another method's steps",
    )
    page.wait_for_selector("#rg-set-self_strength", state="detached")
    # What is typed before the answer comes is not put back by it.
    held = []
    page.route("**/queue/join*", lambda route: held.append(route))
    with page.expect_request("**/queue/join*"):
        page.locator(".rg-method select").select_option("videograin")
    seed.fill("44")
    for route in held:
        route.continue_()
    page.unroute_all()
    page.wait_for_selector("#rg-set-self_strength", state="attached")
    assert seed.input_value() == "44"


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
    unfold(page, "#settings", "#set-experiments")
    unfold(page, "#set-source")
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
