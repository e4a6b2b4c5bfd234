"""Visits that files of steps tell, in a real Chromium with a made-up editor."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from browser import PHONE, _opening
from canvas import film, noise, write_film
from fake_app import tuned_model
from page_steps import Steps, read_visits

from regrain.editing.media.writing import write_video
from regrain.editing.models.adapters import save_adapter

QUICK = "results: a run shows what happens and then the result"
pytestmark = pytest.mark.browser


def write_thing(path):
    """A red thing that rests on noise."""
    pictures = np.random.default_rng(0).integers(90, 110, (1, 240, 320, 3))
    pictures[:, 90:126, 120:160] = (220, 40, 40)
    write_video(path, pictures.astype(np.uint8).repeat(6, 0), Fraction(8))


def write_shots(path, frames, cuts):
    """A disc that walks over a textured ground, which is another one in every shot."""
    rng = np.random.default_rng(0)
    film = np.empty((frames, 96, 128, 3), np.uint8)
    y, x = np.mgrid[:96, :128]
    for start, stop in pairwise((0, *cuts, frames)):
        ground = rng.integers(60, 200, (12, 16, 3), np.uint8)
        film[start:stop] = ground.repeat(8, 0).repeat(8, 1)
        for frame in range(start, stop):
            disc = (x - 20 - (frame - start) % 80) ** 2 + (y - 48) ** 2 < 14**2
            film[frame][disc] = 220, 40, 40
    write_video(path, film, Fraction(24))


LOOKS = {
    "phone": PHONE,
    "fresh phone": PHONE | {"settings": False},
    "fresh desk": {"viewport": {"width": 1440, "height": 900}, "settings": False},
    "wide": {"viewport": {"width": 2560, "height": 1080}},
    "desk": {"viewport": {"width": 1280, "height": 720}},
    "still": {"reduced_motion": "reduce"},
    "new": {},
    "fresh": {"settings": False},
    # that of no other page: a browser that has fetched nothing before
    "first": {"locale": "en-US"},
}
FILES = {
    "320x180.mp4": lambda path: film(path, 320, 180),
    "200x200.mp4": lambda path: film(path, 200, 200),
    "180x320.mp4": lambda path: film(path, 180, 320),
    "own.mp4": lambda path: film(path, 128, 96),
    "broken.mp4": lambda path: path.write_bytes(b"no video at all" * 99),
    "first.mp4": lambda path: film(path, 128, 96),
    "second.mp4": lambda path: film(path, 120, 90),
    "thing.mp4": write_thing,
    "notes.safetensors": lambda path: path.write_bytes(b"no weights"),
    "long.safetensors": lambda path: save_adapter(tuned_model(frames=16), path),
    "shots.mp4": lambda path: write_shots(path, 60, (24, 40)),
    "more shots.mp4": lambda path: write_shots(path, 120, (40,)),
    "my <b>film.mp4": lambda path: write_film(path, noise(60)),
    "long.mp4": lambda path: write_film(path, np.full((150, 96, 128, 3), 100, "u1")),
}


@pytest.fixture(scope="module")
def shared_page(browser, _contexts, server):
    """A page that the visits of a file share."""
    with _opening(_contexts) as open_page:
        yield open_page(server)


VISITS = [*read_visits(Path(__file__).with_name("visits"))]


@pytest.mark.full(but=QUICK)
@pytest.mark.parametrize(
    ("shared_page", "look", "steps"),
    [
        pytest.param(title.partition(":")[0], look, steps, id=title)
        for title, look, steps in VISITS
    ],
    indirect=["shared_page"],
    scope="module",
)
@pytest.mark.usefixtures("shared_page")
def test_visit(look, steps, open_page, request, tmp_path):
    is_real = look.startswith("real ")
    server = request.getfixturevalue("real_server" if is_real else "server")
    opened = LOOKS.get(look.removeprefix("real "))
    shared = opened is None
    page = request.getfixturevalue("page") if shared else open_page(server, **opened)
    taking = Steps(page, server, tmp_path, FILES)
    try:
        for line in steps:
            taking.take(line)
    finally:
        taking.release()
