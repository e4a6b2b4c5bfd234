"""Masks leave the page as files and come back, in a real Chromium."""

import re

import numpy as np
import pytest
from browser import drop, saved
from canvas import SIDE, mask, press_at_picture, start_empty, until

pytestmark = [pytest.mark.full, pytest.mark.browser]


def export(page, form, folder):
    press_at_picture(page, "m")
    page.wait_for_selector(".rg-mask-files[open]")
    return saved(page, lambda: page.click(f"[data-form={form}]"), folder)


def all_masks(page, label):
    return np.stack([mask(page, frame, label, SIDE) for frame in range(8)])


def load(page, *files):
    page.set_input_files("input[type=file][multiple]", [str(file) for file in files])


def two_regions(page):
    """Wait for two regions, which are on the last frame, too."""
    until(
        page, lambda s: s["labels"] == [1, 2] and len(s["area"][7]) == 2, "two regions"
    )


@pytest.mark.parametrize("form", ["png", "coco", "mkv"])
def test_masks_come_back_as_they_were(page, tmp_path, form):
    before = [all_masks(page, label) for label in (1, 2)]
    path = export(page, form, tmp_path)
    start_empty(page)
    (drop if form == "png" else load)(page, path)
    two_regions(page)
    assert all(
        (all_masks(page, label) == one).all()
        for label, one in zip((1, 2), before, strict=True)
    )
    said = page.inner_text(".rg-say")
    assert "Imported masks of" in said
    assert re.search(
        r"Read: 2 regions: \d+ % and \d+ % of the picture, on 8 of 8", said
    )
    if form == "coco":  # names come along
        names = page.evaluate("window.regrain.regions.map(({ name }) => name)")
        assert names == ["left disc", "right disc"]
    page.keyboard.press("Control+z")
    until(page, lambda s: s["labels"] == [], "one step undoes it")


def test_a_project_without_its_folder_is_not_taken_for_masks(page, tmp_path):
    (tmp_path / "project.json").write_text("{}")
    drop(page, tmp_path / "project.json")
    page.wait_for_selector(".rg-upload:has-text('Pack its whole folder as a zip file')")
