"""Visits that files of steps tell, in a real Chromium with a made-up editor."""

from pathlib import Path

import numpy as np
import pytest
from browser import PHONE
from canvas import film, noise, write_film
from page_steps import Steps, read_visits

pytestmark = [pytest.mark.full, pytest.mark.browser]
LOOKS = {
    "phone": PHONE,
    "fresh phone": PHONE | {"settings": False},
    "fresh desk": {"viewport": {"width": 1440, "height": 900}, "settings": False},
    "wide": {"viewport": {"width": 2560, "height": 1080}},
    "new": {},
}
FILES = {
    "320x180.mp4": lambda path: film(path, 320, 180),
    "200x200.mp4": lambda path: film(path, 200, 200),
    "180x320.mp4": lambda path: film(path, 180, 320),
    "own.mp4": lambda path: film(path, 128, 96),
    "broken.mp4": lambda path: path.write_bytes(b"no video at all" * 99),
    "sixty.mp4": lambda path: write_film(path, noise(60)),
    "long.mp4": lambda path: write_film(path, np.full((150, 96, 128, 3), 100, "u1")),
}
VISITS = [*read_visits(Path(__file__).with_name("visits"))]


@pytest.mark.parametrize(
    ("look", "steps"),
    [pytest.param(look, steps, id=title) for title, look, steps in VISITS],
)
def test_visit(look, steps, server, open_page, request, tmp_path):
    if look:
        page = open_page(server, **LOOKS[look])
    else:
        page = request.getfixturevalue("page")
    taking = Steps(page, server, tmp_path, FILES)
    with taking.held:
        for line in steps:
            taking.take(line)
