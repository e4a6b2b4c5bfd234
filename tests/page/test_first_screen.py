"""The first screen in a real Chromium: examples and their results, what is always in
sight, what is wrong."""

from fractions import Fraction

import numpy as np
import pytest
from browser import (
    wait,
)

from regrain.editing.media.writing import write_video

pytestmark = [pytest.mark.full, pytest.mark.browser]


def film(path, frames, color=(220, 40, 40)):
    """A disc on a grey ground."""
    y, x = np.mgrid[:96, :128]
    pictures = np.full((frames, 96, 128, 3), 100, np.uint8)
    pictures[:, (x - 60) ** 2 + (y - 50) ** 2 < 22**2] = color
    write_video(path, pictures, Fraction(24))
    return path


def title(page):
    return page.inner_text(".rg-facts-line span:first-child")


def test_an_upload_tells_how_far_it_is_and_can_fail(page, tmp_path):
    page.click(".rg-opener")
    assert "without their consent" in page.inner_text(".rg-clips")
    # Where nothing is kept, it says so; on one's own machine, files are opened by their
    # path all the same.
    page.wait_for_selector("#recent:has-text('this session only')")
    assert page.locator("#recent-projects").is_hidden()
    page.wait_for_selector(".rg-recent-path", state="visible")
    page.click(".rg-opener")
    page.route("**/upload", lambda route: route.abort())
    page.set_input_files("#upload", film(tmp_path / "disc.mp4", 8))
    page.wait_for_selector(".rg-upload[data-state=failed]")
    assert "connection was lost" in page.inner_text(".rg-upload")
    page.unroute("**/upload")
    held = []
    page.route("**/upload", lambda route: held.append(route))
    page.set_input_files("#upload", tmp_path / "disc.mp4")
    page.wait_for_selector(".rg-upload[data-state=sending]")
    assert "disc.mp4" in page.inner_text(".rg-upload")
    page.click(".rg-upload >> text=Cancel")
    page.wait_for_selector(".rg-upload[data-state=idle]", state="attached")
    page.unroute("**/upload")
    page.set_input_files("#upload", tmp_path / "disc.mp4")
    wait(lambda: title(page) == "disc.mp4", "the clip is open")
    page.wait_for_selector(".rg-upload[data-state=idle]", state="attached")
