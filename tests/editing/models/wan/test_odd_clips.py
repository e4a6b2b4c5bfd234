"""Clips of odd lengths and sizes that VACE edits."""

import numpy as np
import pytest
from cases import BASES
from made_clips import noise

from regrain.editing import ArrayClip, EditRequest, Region, edit

pytestmark = pytest.mark.usefixtures("own_cache", "no_grad")
BASE = BASES["vace"] | {"steps": 1, "self_strength": 0.0, "preview_every": 0}


def asked_for(frames=5, height=32, width=48, regions=2):
    """A clip of noise with boxes in rows of eight."""
    labels = np.zeros((frames, height, width), np.uint8)
    found = []
    for number in range(regions):
        row, column = divmod(number, 8)
        top = height // 8 + row * (height // 8)
        left = 2 + column * (width // 9)
        labels[:, top : top + height // 12 + 1, left : left + width // 12 + 1] = (
            number + 1
        )
        found.append(Region(f"r{number}", number + 1, "a fox", "a cat", margin=0))
    given = {"source_prompt": "a cat", "method": "vace", "seed": 3, "params": BASE}
    clip = ArrayClip(noise(frames, height, width, 3, seed=1), fps=8)
    return EditRequest(clip, labels, tuple(found), **given)


SIZES = {
    "one frame": {"frames": 1},
    "4k frames": {"frames": 4},
    "more than 4k and one": {"frames": 7},
    "odd sides": {"height": 37, "width": 51},
    "upright": {"height": 48, "width": 32},
    "forty regions": {"height": 160, "width": 240, "regions": 40},
}


@pytest.mark.parametrize("what", SIZES)
def test_an_odd_clip_is_edited_inside_and_the_source_outside(vace, what):
    asked = asked_for(**SIZES[what])
    *_, last = edit(asked, vace)
    result = last.result
    frames = np.asarray(result.frames)
    source = asked.clip.read(0, len(asked.clip))
    assert frames.shape == source.shape
    away = np.asarray(result.matte) == 0
    assert np.array_equal(frames[away], source[away])
    assert not np.array_equal(frames, source)
