"""The stage in a real Chromium: how large the picture is, how few tools are in sight,
zoom, words at the thing, and what stays while a run goes on."""

import pytest
from browser import (
    wait,
)

pytestmark = [pytest.mark.full, pytest.mark.browser]


def test_a_model_is_loaded_while_words_are_written(server, page):
    before = server.output.read_text().count("loaded ahead: storybook")
    page.fill("#rg-source", "a cat")
    wait(
        lambda: server.output.read_text().count("loaded ahead: storybook") > before,
        "loaded ahead",
    )
