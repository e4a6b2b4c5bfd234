"""Colours of the page: text can be read, in light and dark (WCAG 2.2, 1.4.3 and
1.4.11)."""

import re
from pathlib import Path

import pytest

from regrain.editing.media.mask_pictures import PALETTE

STYLE = (Path(__file__).parents[2] / "ui" / "page.css").read_text()
LIGHT, DARK = (
    dict(
        re.findall(
            r"(--rg-[a-z-]+): (#[0-9a-f]{6})",
            re.search(rf"{start}[^{{]*{{(.*?)}}", STYLE, re.S | re.M)[1],
        )
    )
    for start in (r"^\.gradio-container", r"\n\.dark")
)


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_wcags():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_is_readable_on_everything_it_stands_on(theme):
    for ground in ("--rg-bg", "--rg-panel", "--rg-well"):
        for text in ("--rg-text", "--rg-soft", "--rg-bad"):
            assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
    assert contrast(theme["--rg-on-accent"], theme["--rg-accent"]) >= 4.5
    assert contrast(theme["--rg-accent"], theme["--rg-bg"]) >= 3  # focus rings, icons
    assert contrast(theme["--rg-edge"], theme["--rg-panel"]) >= 3  # the edge of a field
    assert set(LIGHT) == set(DARK)


def test_colours_of_regions_stand_out_from_grey():
    assert all(contrast(color, "#808080") >= 3 for color in PALETTE)
