"""What a page keeps of its runs, in a real Chromium with a made-up editor."""

import pytest
from browser import (
    open_example,
    plays,
    run_own,
    wait,
)

pytestmark = [pytest.mark.full, pytest.mark.browser]
PICTURES = ".rg-run-picture"
MORE = ".rg-history .rg-menu > button"


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
