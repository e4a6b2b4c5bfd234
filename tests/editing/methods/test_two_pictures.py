"""Pictures and words bound to regions by a trained VACE, which does not know by itself
which square is meant."""

from dataclasses import replace

import numpy as np
import pytest
import two_pictures
from PIL import Image
from running import finish
from two_squares import COLOURS, SIDE, scene

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.methods.vace import run
from regrain.editing.params.registry import resolve_params

pytestmark = [pytest.mark.usefixtures("own_cache", "no_grad"), pytest.mark.slow]
SCENES = 20  # of two squares each
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
    """Share of the squares of all scenes that got the colour of their picture or of
    their words; and what changed outside them.

    `given` makes a region's part of a colour.
    """
    found = []
    outside = []
    params, _ = resolve_params("vace", SHORT | params, {})
    for number in range(scenes):
        fresh = np.random.default_rng(1000 + number)
        was, wanted = fresh.permutation([*COLOURS])[:4].reshape(2, 2)
        wanted = wanted[::-1] if exchanged else wanted
        frames, labels = scene(fresh, *was)
        pixels = ((frames + 1) * 127.5).round().astype(np.uint8)
        regions = []
        for label, colour in zip((1, 2), wanted, strict=True):
            region = Region(f"square {label}", label, margin=0)
            regions.append(replace(region, **given(colour)))
        asked = EditRequest(
            ArrayClip(pixels, fps=8),
            labels,
            tuple(regions),
            method="vace",
            seed=number,
        )
        (edited,) = finish(run(model, asked, params)).edits
        edited = edited.permute(0, 2, 3, 1).numpy()
        for label, colour in zip((1, 2), wanted, strict=True):
            mean = edited[labels == label].mean(0)
            nearest = min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())
            found.append(nearest == colour)
        outside.append(np.abs(edited - frames)[labels == 0].max())
    return np.mean(found), max(outside)


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
def test_every_square_gets_the_colour_of_its_words(model, exchanged):
    def saying(colour):
        return {"prompt": f"a {colour} square"}

    given = {"guidance_scale": 1.0, "phrases": "alone"}
    share, outside = right(model, saying, exchanged, **given)
    assert share >= 0.95
    assert outside < 0.01
    free, _ = right(model, saying, exchanged, FEW, cross_strength=0.0, **given)
    assert free <= 0.6
