"""Pictures and words bound to regions by a trained VACE, which does not know by itself
which square is meant."""

import numpy as np
import pytest
import two_squares
from PIL import Image
from running import finish
from two_squares import COLOURS, SIDE

from regrain.editing import ArrayClip, EditRequest, Region
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

    def right(scenes, **more):
        """Share of the squares that got their colour; what changed outside them."""
        params, _ = resolve_params("vace", SHORT | more, {})
        found, outside = [], []
        for number in range(scenes):
            fresh = np.random.default_rng(1000 + number)
            one, other, *others = fresh.permutation([*COLOURS])
            wanted = others[1::-1] if exchanged else others[:2]
            frames, labels = two_squares.scene(fresh, one, other)
            pixels = ((frames + 1) * 127.5).round().astype(np.uint8)
            regions = [
                Region(f"square {label}", label, margin=0, **given(colour))
                for label, colour in enumerate(wanted, 1)
            ]
            how = {"method": "vace", "seed": number}
            asked = EditRequest(ArrayClip(pixels, 8), labels, tuple(regions), **how)
            latents = finish(vace.run(model, asked, params)).edits[0]
            shown = latents.permute(0, 2, 3, 1).numpy()
            outside.append(np.abs(shown - frames)[labels == 0].max())
            for label, colour in enumerate(wanted, 1):
                off = np.abs(shown[labels == label].mean(0) - [*COLOURS.values()])
                found.append([*COLOURS][off.sum(1).argmin()] == colour)
        return np.mean(found), max(outside)

    free = {"picture_binding": 0.0}
    least = 0.95
    if by == "words":
        free = {"cross_strength": 0.0}
        least = 0.75  # it learned words that no others colour
    share, outside = right(12)
    assert share >= least
    assert outside < 0.01
    assert right(10, **free)[0] <= 0.6
