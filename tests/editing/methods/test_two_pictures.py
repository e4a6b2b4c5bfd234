"""Pictures and words bound to regions by a trained VACE, which does not know by itself
which square is meant."""

from dataclasses import replace

import pytest
import two_pictures
import two_squares
from PIL import Image
from running import finish
from two_squares import COLOURS, SIDE

from regrain.editing import EditRequest, Region
from regrain.editing.methods.vace import run
from regrain.editing.params.registry import resolve_params

pytestmark = [pytest.mark.usefixtures("own_cache", "no_grad"), pytest.mark.full]
SCENES = 12  # of two squares each
FEW = 10  # where nothing is bound
SHORT = {"steps": 6, "preview_every": 0, "mask": "exact", "shift": 3.0}


@pytest.fixture(scope="module")
def model():
    return two_pictures.load()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A picture of each colour."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, colour in COLOURS.items():
        pixels = tuple(round((value + 1) * 127.5) for value in colour)
        Image.new("RGB", (SIDE, SIDE), pixels).save(folder / f"{name}.png")
    return folder


def right(model, given, exchanged, scenes=SCENES, **params):
    """See `two_squares.right`; `given` makes a region's part of a colour."""
    params, _ = resolve_params("vace", SHORT | params, {})

    def edited(number, clip, labels, _, wanted):
        regions = [
            replace(Region(f"square {label}", label, margin=0), **given(colour))
            for label, colour in zip((1, 2), wanted, strict=True)
        ]
        how = {"method": "vace", "seed": number}
        asked = EditRequest(clip, labels, tuple(regions), **how)
        return finish(run(model, asked, params)).edits[0]

    def choose(colours):
        return colours[:2], colours[3:1:-1] if exchanged else colours[2:4]

    return two_squares.right(scenes, choose, edited)


@pytest.mark.parametrize("exchanged", [False, True])
def test_every_square_gets_the_colour_of_its_picture(model, pictures, exchanged):
    def seeing(colour):
        return {"picture": str(pictures / f"{colour}.png")}

    given = {"guidance_scale": 1.0}
    share, outside = right(model, seeing, exchanged, steps=10, **given)
    assert share >= 0.95
    assert outside < 0.01  # a byte is rounded
    free, _ = right(model, seeing, exchanged, FEW, picture_binding=0.0, **given)
    assert free <= 0.6


@pytest.mark.parametrize("exchanged", [False, True])
def test_most_squares_get_the_colour_of_its_words(model, exchanged):
    def saying(colour):
        return {"prompt": f"a {colour} square"}

    given = {"guidance_scale": 1.0}
    share, outside = right(model, saying, exchanged, **given)
    assert share >= 0.75  # it learned words that no others colour
    assert outside < 0.01
    free, _ = right(model, saying, exchanged, FEW, cross_strength=0.0, **given)
    assert free <= 0.6
