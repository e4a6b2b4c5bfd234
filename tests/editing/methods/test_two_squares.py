"""Pictures and words bound to regions by a trained VACE, which does not know by itself
which square is meant."""

import pytest
import two_squares
from PIL import Image
from running import finish
from two_squares import COLOURS, SIDE

from regrain.editing import EditRequest, Region
from regrain.editing.methods import vace
from regrain.editing.params.registry import resolve_params

pytestmark = [pytest.mark.usefixtures("own_cache", "no_grad"), pytest.mark.full]
SHORT = {"steps": 10, "preview_every": 0, "mask": "exact", "shift": 3.0}
SHORT |= {"guidance_scale": 1.0}


@pytest.fixture(scope="module")
def model():
    return two_squares.load()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A picture of each colour."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, colour in COLOURS.items():
        pixels = tuple(round((value + 1) * 127.5) for value in colour)
        Image.new("RGB", (SIDE, SIDE), pixels).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("by", ["pictures", "words"])
def test_every_square_gets_the_colour_of_its_picture_or_words(
    model, pictures, by, exchanged
):
    def given(colour):
        if by == "words":
            return {"prompt": f"a {colour} square"}
        return {"picture": str(pictures / f"{colour}.png")}

    def choose(colours):
        return colours[:2], colours[3:1:-1] if exchanged else colours[2:4]

    def right(scenes, **more):
        params, _ = resolve_params("vace", SHORT | more, {})

        def edited(number, clip, labels, _, wanted):
            regions = [
                Region(f"square {label}", label, margin=0, **given(colour))
                for label, colour in enumerate(wanted, 1)
            ]
            how = {"method": "vace", "seed": number}
            asked = EditRequest(clip, labels, tuple(regions), **how)
            return finish(vace.run(model, asked, params)).edits[0]

        return two_squares.right(scenes, choose, edited)

    free = {"picture_binding": 0.0}
    least = 0.95
    if by == "words":
        free = {"cross_strength": 0.0}
        least = 0.75  # it learned words that no others colour
    share, outside = right(12)
    assert share >= least
    assert outside < 0.01
    assert right(10, **free)[0] <= 0.6
