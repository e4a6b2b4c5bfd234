"""Words and settings in a real Chromium: checked at their fields, before any work; kept
whole; inserted."""

import pytest
from browser import (
    unfold,
    wait,
)

pytestmark = [pytest.mark.full, pytest.mark.browser]


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
