"""Words and settings in a real Chromium: checked at their fields, before any work; kept whole; inserted."""

import re

import pytest
from browser import prompt, wait

pytestmark = pytest.mark.browser
NOTE = ".rg-wrong"


def test_an_unknown_word_is_underlined_while_typing_and_the_nearest_put_in_by_a_click(server, open_page):
    page = open_page(server)
    page.click("#rg-prompt-0")
    page.fill("#rg-prompt-0", "a robat and a cat")
    page.wait_for_selector(f"{NOTE} >> text=robat")
    assert page.inner_text(".rg-copy u") == "robat"
    assert page.get_attribute("#rg-prompt-0", "aria-invalid") == "true"
    note = page.get_attribute("#rg-prompt-0", "aria-describedby")
    assert "does not know “robat”" in page.inner_text("#" + note)
    page.get_by_label("Replace “robat” by “robot”").click()
    assert page.input_value("#rg-prompt-0") == "a robot and a cat"
    page.wait_for_selector(NOTE, state="detached")
    page.wait_for_selector(".rg-copy u", state="detached")
    wait(lambda: "a robot and a cat" in prompt(page), 60, "the new word is composed")


def test_run_says_what_is_wrong_at_the_field_before_any_work(server, open_page):
    page = open_page(server)
    before = server.steps()
    page.fill("#rg-prompt-1", "a unicorn")
    page.click("#run")
    page.wait_for_selector("[role=alert] >> text=unicorn")
    page.wait_for_function("document.activeElement.id == 'rg-prompt-1'")
    assert server.steps() == before
    assert page.is_enabled("#run")
    page.fill("#rg-prompt-1", "a fox")
    page.wait_for_selector("[role=alert]", state="hidden")


def test_no_words_at_all_are_said_on_run_and_not_before(server, open_page):
    page = open_page(server)
    for number in (0, 1):
        page.fill(f"#rg-prompt-{number}", "")
    page.wait_for_function("document.querySelectorAll('.rg-kept').length == 2")
    assert page.locator(NOTE).count() == 0
    assert page.get_attribute("#rg-prompt-0", "placeholder") == "stays a cat"
    page.click("#run")
    page.wait_for_selector("[role=alert] >> text=No region has a prompt")
    page.wait_for_function("document.activeElement.id == 'rg-prompt-0'")


def test_words_that_replace_nothing_say_so_and_offer_what_they_might(server, open_page):
    page = open_page(server)
    page.fill("#rg-source-1", "")
    page.wait_for_selector(".rg-hint >> text=only added to the prompt")
    page.click(".rg-hint >> text=a dog")
    assert page.input_value("#rg-source-1") == "a dog"
    page.wait_for_selector(".rg-hint", state="detached")
    assert prompt(page) == "1 a panda and 2 a fox walk on the grass"


def test_a_long_pasted_prompt_is_kept_whole_and_counted(server, open_page):
    page = open_page(server)
    page.fill("#rg-prompt-0", "")
    page.focus("#rg-prompt-0")
    page.keyboard.insert_text("a cat and a dog " * 30)
    assert len(page.input_value("#rg-prompt-0")) > 470
    page.wait_for_selector(f"{NOTE} >> text=at most")
    said = page.inner_text(NOTE)
    assert re.search(r"\d+ tokens, but at most 75 fit", said)


def test_a_setting_that_cannot_be_read_is_marked(server, open_page):
    page = open_page(server)
    page.click("#long-clips button")
    field = page.locator("#long-clips textarea").first
    field.fill("every other")
    page.wait_for_selector(f"#long-clips {NOTE}")
    assert "every N" in page.inner_text(f"#long-clips {NOTE}")
    field.fill("every 2")
    page.wait_for_selector(f"#long-clips {NOTE}", state="detached")


def test_words_of_the_model_go_where_the_cursor_was(server, open_page):
    page = open_page(server)
    page.click("#words button")
    page.fill("#rg-prompt-1", "a and a dog")
    page.evaluate("document.querySelector('#rg-prompt-1').setSelectionRange(1, 1)")
    page.get_by_role("group", name="Kinds").get_by_text("panda").click()
    assert page.input_value("#rg-prompt-1") == "a panda and a dog"
    page.get_by_role("group", name="Places").get_by_text("in the snow").click()
    assert page.input_value("#rg-prompt-1") == "a panda in the snow and a dog"
    wait(lambda: "a panda in the snow and a dog" in prompt(page), 60, "what was put in counts as typed")


def test_the_rest_of_the_frame_has_a_card_of_its_own(server, open_page):
    page = open_page(server)
    page.click("#rg-rest")
    page.wait_for_selector("#rg-prompt-2")
    page.fill("#rg-source-2", "on the grass")
    page.fill("#rg-prompt-2", "in the snow")
    wait(lambda: prompt(page).endswith("3 in the snow"), 60, "the rest has its words")
    assert page.locator("#rg-rest").is_hidden()
    card = page.locator(".rg-card[data-label='3']")
    assert card.locator("[aria-label*=margin]").count() == 0
    assert "no other region covers" in card.inner_text()
    page.click("#run")
    page.wait_for_selector(".rg-files a")


def test_strength_and_negative_words_of_a_region_reach_the_run(server, open_page):
    page = open_page(server)
    page.locator(".rg-details summary").first.click()
    page.fill(".rg-card[data-label='1'] [data-key=negative]", "green")
    page.fill("#rg-strength-1", "0.4")
    page.fill("#rg-avoid", "snow")
    page.click("#run")
    page.wait_for_selector(".rg-files a")
    request = page.evaluate("fetch(document.querySelectorAll('.rg-files a')[1].href).then(r => r.json())")
    assert request["asked"] == {"negative_prompt": "snow", "left disc": ["green", 0.4]}
