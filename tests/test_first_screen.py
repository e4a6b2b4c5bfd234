"""The first screen in a real Chromium: examples and their results, what is always in sight, what is wrong."""

import pytest

pytestmark = pytest.mark.browser


def test_a_wrong_field_is_marked_told_why_and_focused(server, open_page):
    page = open_page(server)
    page.fill("#rg-prompt-1", "a unicorn")
    page.click("#tabs >> text=Edit")
    page.click("#run")
    page.wait_for_selector("#rg-prompt-1[aria-invalid=true]")
    page.wait_for_function("document.activeElement.id === 'rg-prompt-1'")
    said = page.evaluate(
        "document.getElementById(document.activeElement.getAttribute('aria-describedby')).textContent"
    )
    assert said == "Unknown word 'unicorn'. Did you mean 'robot'?"
    page.fill("#rg-prompt-1", "a fox")
    assert page.locator("[aria-invalid], .rg-wrong").count() == 0


def test_a_wrong_setting_is_unfolded(server, open_page):
    page = open_page(server)
    page.click("#long-clips > button")
    page.locator(".rg-param-keyframes textarea").fill("0, 99")
    page.click("#long-clips > button")
    page.wait_for_selector(".rg-param-keyframes", state="hidden")
    page.click("#run")
    page.wait_for_selector(".rg-param-keyframes textarea[aria-invalid=true]", state="visible")
    page.wait_for_function("document.activeElement.closest('.rg-param-keyframes')")
    assert page.locator("#settings > button.open").count() == 0
    # The next run begins without marks.
    page.locator(".rg-param-keyframes textarea").fill("all")
    page.click("#run")
    page.wait_for_selector(".rg-files a")
    assert page.locator("[role=alert], .rg-wrong").count() == 0
