"""What is outside stays the source's."""

import numpy as np
import pytest
import torch
from running import composite

from regrain.editing.diffusion.blending import blend_latents, mask_from_attention
from regrain.editing.media.labels import fade_inwards

RNG = np.random.default_rng(0)
SOURCE, EDITED = RNG.integers(0, 256, (2, 2, 24, 24, 3), dtype=np.uint8)
MASK = np.zeros((2, 24, 24), bool)
MASK[0, 8:16, 8:16] = True


@pytest.mark.parametrize("reach", range(4))
def test_composite_is_exact_inside_and_beyond_the_feather(reach):
    out, near = composite(SOURCE, EDITED, MASK, float(reach)), np.zeros_like(MASK)
    near[0, 8 - reach : 16 + reach, 8 - reach : 16 + reach] = True
    assert np.array_equal(out[MASK], EDITED[MASK])
    assert np.array_equal(out[~near], SOURCE[~near])


def test_blend_latents_takes_each_side():
    mask = torch.zeros(2, 1, 3, 3)
    mask[0, 0, 1, 1] = 1
    blended = blend_latents(torch.full((2, 4, 3, 3), 3.0), torch.ones(2, 4, 3, 3), mask)
    assert torch.equal(blended, 1 + 2 * mask.expand(2, 4, 3, 3))


def test_mask_from_attention_is_widened_scaled_per_frame_and_strict():
    mass = torch.zeros(3, 4, 4)
    mass[0, 0, 0], mass[0, 3, 3] = 1.0, 0.5
    mass[1, 1, 2] = 1e-6
    mask = mask_from_attention(mass, (8, 8), 0.5)[:, 0]
    expected = torch.zeros(3, 8, 8)
    expected[0, :4, :4] = (
        # a cell and its neighbours, each two pixels wide; half the maximum is not above
        1
    )
    expected[1, :6, 2:] = 1  # weak, but its frame's strongest
    assert torch.equal(mask, expected)
    assert not mask_from_attention(mass, (4, 4), 1.0).any()
    assert torch.equal(
        mask_from_attention(mass, (2, 2), 0.0)[1, 0], torch.tensor([[0.0, 1.0]] * 2)
    )


def test_feather_fades_from_edit_to_source_outside_and_opacity_inside():
    white, black = np.full_like(SOURCE, 255), np.zeros_like(SOURCE)
    row = composite(black, white, MASK, 3.0)[0, 12, 3:9, 0].astype(int)
    assert (row[0], row[-1]) == (0, 255)
    assert (np.diff(row) >= 0).all()
    assert 0 < row[-2] < 255
    opacity = fade_inwards(MASK.astype(np.uint8), {1: 4}, [1])
    row = composite(black, white, MASK, 3.0, opacity)[0, 12, :, 0].astype(int)
    assert (np.diff(row[:12]) >= 0).all()
    assert row[11] > 200  # the middle shows the edit
    assert 0 < row[8] < 60  # its edge hardly
    assert row[:8].max() <= row[8]
    assert np.array_equal(composite(SOURCE, EDITED, MASK, 0.0, opacity * 0), SOURCE)


def test_regions_that_touch_do_not_fade_towards_each_other():
    labels = np.ones((1, 10, 20), np.uint8)
    labels[:, :, 10:] = 2
    assert (fade_inwards(labels, {1: 5, 2: 5}, [1, 2]) == 1).all()
    assert fade_inwards(labels, {1: 5}, [1])[0, 5, 9] < 0.2
