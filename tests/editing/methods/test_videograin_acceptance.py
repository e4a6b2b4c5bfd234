"""VideoGrain where regions, words and layouts are unusual; `test_wiring` holds its steps to
the formulas."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import BASES
from wiring import check_free_words, drive, has_text, requested

from regrain.editing import Region, edit
from regrain.editing.diffusion.text import spans
from regrain.editing.params.videograin import VideoGrainParams
from regrain.editing.request.compose import compose

pytestmark = pytest.mark.usefixtures("own_cache")
SHORT = BASES["videograin"] | {"steps": 2}


def test_regions_without_words_leave_attention_to_words_alone(small, tmp_path):
    asked = requested("videograin")
    plain = [
        replace(region, prompt="", source="", negative="") for region in asked.regions
    ]
    prompt = "a panda on the moon"
    asked = replace(asked, regions=tuple(plain), source_prompt="a clip", prompt=prompt)
    found = drive(small, asked, tmp_path, **SHORT | {"blend": False})
    for call in found.of("editing"):
        assert has_text(call, 1, small.embed([prompt]).vectors)
        check_free_words(call)
    assert found.result.attention == {}  # nobody asks where their words look


def test_a_phrase_that_is_no_whole_word_is_appended_and_bound(tiny):
    """The release drops "man" silently: "spiderman" is one token."""
    prompt = "Spiderman and Polar Bear are jogging under cherry trees"
    man = Region("left", 1, prompt="man")
    composed = compose("", prompt, [man])
    assert composed.text == f"{prompt}, man"
    assert spans(tiny.embed([composed.text]), *composed.spans[1]) == (11,)
    asked = requested("videograin")
    params = {"steps": 1, "preview_every": 0}
    regions = (replace(man, margin=0), replace(asked.regions[1], prompt=""))
    *_, last = edit(replace(asked, prompt=prompt, regions=regions, params=params), tiny)
    assert any(
        "'left': 'man' does not match whole words of the prompt" in warning
        for warning in last.report["warnings"]
    )


def absent(labels):
    labels[1:, :, :12] = 0
    return labels


def tiny_part(labels):
    labels[labels == 2] = 0
    labels[:, 14, 22] = 2
    return labels


@pytest.mark.parametrize("uncovered", ["region", "repelled"])
@pytest.mark.parametrize("change", [absent, tiny_part, np.ones_like])
def test_odd_layouts_stay_finite(small, tmp_path, change, uncovered):
    asked = requested("videograin")
    labels = change(np.array(asked.labels))
    there = [region for region in asked.regions if (labels == region.label).any()]
    asked = replace(asked, labels=labels, regions=tuple(there))
    more = {"uncovered": uncovered, "guidance_half": "both"}
    found = drive(small, asked, tmp_path, **SHORT | more)
    for call in found.of("editing"):
        assert all(torch.isfinite(layer.out).all() for layer in call.layers)


def test_never_all_steps_are_taken_again():
    for steps, redraw, again in ((20, 0.4, 8), (20, 0.0, 0), (10, 0.9, 9), (1, 0.9, 0)):
        assert VideoGrainParams(steps=steps, redraw=redraw).steps_again == again
